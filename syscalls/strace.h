// What strace(1) would print of a call, for `--strace`.
#ifndef SYSCALLS_STRACE_H_
#define SYSCALLS_STRACE_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "platform/api/platform.h"
#include "sentry/mm/user_memory.h"
#include "syscalls/abi.h"

namespace syscalls {

// One call on its way. What the call reads is formatted before it runs, what it writes afterwards;
// the line appears at the end, as one piece: `openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3`.
class StraceLine {
 public:
  StraceLine(sentry::UserMemory& mem, const platform::SyscallArgs& call);

  // The whole line. For calls that do not return, `result` is nullptr. Memory is read again only for
  // calls that succeeded.
  std::string Finish(const platform::Verdict& verdict);

 private:
  std::string FormatArgs(bool after, int64_t result);

  sentry::UserMemory& mem_;
  const platform::SyscallArgs call_;
  std::string name_;
  std::string before_;
  bool has_output_ = false;
};

// "ENOENT" and "No such file or directory"; empty for numbers that are no errno.
std::string_view ErrnoName(int code);
std::string_view ErrnoText(int code);
// "SIGINT", "SIGRT_3"; the number itself for what is no signal.
std::string SignalName(int sig);

}  // namespace syscalls

#endif  // SYSCALLS_STRACE_H_
