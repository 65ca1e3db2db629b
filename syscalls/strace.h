// What strace(1) would print of a call, for `--strace`.
#ifndef SYSCALLS_STRACE_H_
#define SYSCALLS_STRACE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "platform/api/platform.h"
#include "sentry/mm/user_memory.h"
#include "syscalls/strace_format.h"

namespace syscalls {

// One call on its way. What the call reads is formatted before it runs, what it writes afterwards;
// the line appears at the end, as one piece: `openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3`.
class StraceLine {
 public:
  StraceLine(sentry::UserMemory& mem, const platform::SyscallArgs& call);

  // The whole line. What the call wrote is read for calls that succeeded only.
  std::string Finish(const platform::Verdict& verdict);

 private:
  std::string Argument(size_t index, TraceArg kind, int64_t result);

  sentry::UserMemory& mem_;
  const platform::SyscallArgs call_;
  const TraceFormat format_;
  std::array<std::string, 6> arguments_;
};

}  // namespace syscalls

#endif  // SYSCALLS_STRACE_H_
