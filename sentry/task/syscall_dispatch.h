// How the kernel reaches the handlers, which it does not know.
#ifndef SENTRY_TASK_SYSCALL_DISPATCH_H_
#define SENTRY_TASK_SYSCALL_DISPATCH_H_

#include "platform/api/platform.h"

namespace sentry {

class Task;

// Implemented by syscalls/ and handed to the kernel by runsc.
class SyscallDispatcher {
 public:
  virtual ~SyscallDispatcher() = default;
  // `context` is there for calls with disposition context, nullptr for others. The value of a
  // kReturn verdict may be a negative restart code (sentry/task/restart.h).
  virtual platform::Verdict Dispatch(Task& task, const platform::SyscallArgs& call,
                                     platform::Context* context) = 0;
};

}  // namespace sentry

#endif  // SENTRY_TASK_SYSCALL_DISPATCH_H_
