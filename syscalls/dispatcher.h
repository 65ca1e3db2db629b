// How a call of a task reaches its handler.
#ifndef SYSCALLS_DISPATCHER_H_
#define SYSCALLS_DISPATCHER_H_

#include <array>
#include <atomic>

#include "platform/api/platform.h"
#include "sentry/task/syscall_dispatch.h"
#include "syscalls/abi.h"
#include "syscalls/known_errors.h"

namespace syscalls {

// Stateless apart from what it has complained about, and what it has told of names; one per kernel.
// Thread-safe.
class LinuxDispatcher final : public sentry::SyscallDispatcher {
 public:
  platform::Verdict Dispatch(sentry::Task& task, const platform::SyscallArgs& call,
                             platform::Context* context) override;

 private:
  platform::Verdict Run(sentry::Task& task, const platform::SyscallArgs& call,
                        platform::Context* context);
  platform::Verdict Unsupported(const platform::SyscallArgs& call);

  std::array<std::atomic<bool>, platform::kMaxSyscalls> reported_{};
  ErrorHistory errors_;
};

}  // namespace syscalls

#endif  // SYSCALLS_DISPATCHER_H_
