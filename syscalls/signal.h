// Signals: actions, masks, sending, waiting, return from a handler.
#ifndef SYSCALLS_SIGNAL_H_
#define SYSCALLS_SIGNAL_H_

#include <time.h>

#include <cstddef>
#include <cstdint>

#include "sentry/task/signal.h"
#include "syscalls/syscall.h"

namespace syscalls {

// A `size` is that of a sigset_t, which must be 8.
Result<Unit> RtSigaction(Task& task, int sig, UserPtr<const sentry::SignalAction> action,
                         UserPtr<sentry::SignalAction> old, size_t size);
Result<Unit> RtSigprocmask(Task& task, int how, UserPtr<const uint64_t> set,
                           UserPtr<uint64_t> old, size_t size);
Result<Unit> RtSigpending(Task& task, UserPtr<uint64_t> set, size_t size);
Result<Unit> RtSigsuspend(Task& task, UserPtr<const uint64_t> set, size_t size);
Result<int64_t> RtSigtimedwait(Task& task, UserPtr<const uint64_t> set, UserAddr info,
                               UserPtr<const timespec> timeout, size_t size);
Result<Unit> RtSigqueueinfo(Task& task, int pid, int sig, UserAddr info);
Result<Unit> RtTgsigqueueinfo(Task& task, int tgid, int tid, int sig, UserAddr info);
// Disposition context.
Control RtSigreturn(Task& task, Context& context);
// Disposition context: the stack pointer decides whether the old stack may be left.
Result<Unit> Sigaltstack(Task& task, Context& context, UserPtr<const sentry::SignalStack> stack,
                         UserPtr<sentry::SignalStack> old);
Result<Unit> Kill(Task& task, int pid, int sig);
Result<Unit> Tkill(Task& task, int tid, int sig);
Result<Unit> Tgkill(Task& task, int tgid, int tid, int sig);
Result<Unit> Pause(Task& task);
Control RestartSyscall(Task& task);
// pidfd.cc
Result<int64_t> PidfdOpen(Task& task, int pid, uint32_t flags);
Result<Unit> PidfdSendSignal(Task& task, sentry::Fd fd, int sig, UserAddr info, uint32_t flags);
Result<int64_t> PidfdGetfd(Task& task, sentry::Fd pidfd, sentry::Fd target, uint32_t flags);

// What comes along with a signal that `task` sends itself, or a siginfo_t that it made up.
sentry::SignalInfo UserInfo(Task& task, int sig, int code);
Result<sentry::SignalInfo> ReadInfo(Task& task, UserAddr from);
// Only to itself may a process claim to be the kernel or kill(2).
bool MayClaim(Task& task, const sentry::SignalInfo& info, int target);

}  // namespace syscalls

#endif  // SYSCALLS_SIGNAL_H_
