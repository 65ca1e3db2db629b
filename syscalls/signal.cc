#include "syscalls/signal.h"

#include <cstring>
#include <span>

#include "sentry/task/kernel.h"
#include "sentry/task/restart.h"
#include "sentry/task/signal_frame.h"

namespace syscalls {

using sentry::Deadline;
using sentry::File;
using sentry::Kernel;
using sentry::SignalAction;
using sentry::SignalInfo;
using sentry::SignalSet;
using sentry::SignalStack;

namespace {

constexpr size_t kSetSize = 8;
constexpr size_t kMinStack = 2048;  // MINSIGSTKSZ; larger frames fail when a signal comes.
constexpr int32_t kAutoDisarm = static_cast<int32_t>(1u << 31);
// What a handler may have; x86-64 has no tag bits to hide, so that one is remembered only.
constexpr uint64_t kRestorer = 0x04000000, kExposeTagBits = 0x800;
constexpr uint64_t kKnownFlags = SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_ONSTACK |
                                 SA_RESTART | SA_NODEFER | SA_RESETHAND | kRestorer |
                                 kExposeTagBits;

Result<SignalSet> ReadSet(Task& task, UserPtr<const uint64_t> from) {
  return SignalSet(TRY(task.mem().Read(from)));
}

}  // namespace

SignalInfo UserInfo(Task& task, int sig, int code) {
  return sentry::MakeSignalInfo(sig, code, task.tgid(), task.creds().uid);
}

Result<SignalInfo> ReadInfo(Task& task, UserAddr from) {
  SignalInfo info;
  TRY(task.mem().ReadBytes(from, std::as_writable_bytes(std::span(&info, 1))));
  return info;
}

bool MayClaim(Task& task, const SignalInfo& info, int target) {
  return (info.si_code < 0 && info.si_code != SI_TKILL) || target == task.tid();
}

// What a signal without a number that there is says of its target: nobody there comes first.
Errno NoSuchSignal(Task& task, int tgid, int tid) {
  const Ref<Task> target = task.kernel().FindTask(tid);
  return Errno(target && (tgid < 0 || target->tgid() == tgid) ? EINVAL : ESRCH);
}
bool IsSignalOrNone(int sig) { return sig >= 0 && sig <= sentry::kSignalCount; }

Result<Unit> RtSigaction(Task& task, int sig, UserPtr<const SignalAction> action,
                         UserPtr<SignalAction> old, size_t size) {
  if (size != kSetSize) return Errno(EINVAL);
  SignalAction wanted{};
  if (action) wanted = TRY(task.mem().Read(action));
  if (!sentry::IsSignal(sig) || (action && (sig == SIGKILL || sig == SIGSTOP))) {
    return Errno(EINVAL);
  }
  SignalAction before{};
  {
    absl::MutexLock lock(&task.kernel().mu());
    SignalAction& current = task.group().handlers->actions[static_cast<size_t>(sig)];
    before = current;
    if (action) {
      wanted.flags &= kKnownFlags;
      wanted.mask &= ~SignalSet::Unmaskable().bits();
      current = wanted;
      for (Task* thread : task.group().tasks) thread->PublishActionsLocked();
      // What is ignored now, pending instances included, is gone (POSIX).
      const auto defaults = sentry::DefaultActionOf(sig);
      const bool ignored =
          wanted.handler == reinterpret_cast<uint64_t>(SIG_IGN) ||
          (wanted.handler == 0 && (defaults == sentry::DefaultAction::kIgnore ||
                                   defaults == sentry::DefaultAction::kContinue));
      if (ignored) {
        task.group().pending.Discard(SignalSet::Of(sig));
        for (Task* other : task.group().tasks) {
          other->pending_signals().Discard(SignalSet::Of(sig));
        }
      }
    }
  }
  if (old) TRY(task.mem().Write(old, before));
  return kOk;
}

Result<Unit> RtSigprocmask(Task& task, int how, UserPtr<const uint64_t> set,
                           UserPtr<uint64_t> old, size_t size) {
  if (size != kSetSize) return Errno(EINVAL);
  const SignalSet before = task.signal_mask();
  if (set) {
    const SignalSet change = TRY(ReadSet(task, set));
    switch (how) {
      case SIG_BLOCK:
        task.SetSignalMask(before | change);
        break;
      case SIG_UNBLOCK:
        task.SetSignalMask(before & ~change);
        break;
      case SIG_SETMASK:
        task.SetSignalMask(change);
        break;
      default:
        return Errno(EINVAL);
    }
  }
  if (old) TRY(task.mem().Write(old, before.bits()));
  return kOk;
}

Result<Unit> RtSigpending(Task& task, UserPtr<uint64_t> set, size_t size) {
  if (size > kSetSize) return Errno(EINVAL);
  SignalSet pending;
  {
    absl::MutexLock lock(&task.kernel().mu());
    pending = (task.pending_signals().pending() | task.group().pending.pending()) &
              task.signal_mask();
  }
  const uint64_t bits = pending.bits();
  return task.mem().WriteBytes(set.addr, std::as_bytes(std::span(&bits, 1)).first(size));
}

Result<Unit> RtSigsuspend(Task& task, UserPtr<const uint64_t> set, size_t size) {
  if (size != kSetSize) return Errno(EINVAL);
  const SignalSet mask = TRY(ReadSet(task, set));
  task.SetTemporaryMask(mask);
  return Pause(task);
}

Result<Unit> Pause(Task& task) {
  for (;;) {
    const Status slept = task.sleeper().Sleep(Deadline::Never());
    if (!slept.ok()) return sentry::kRestartNoHand;
  }
}

Result<int64_t> RtSigtimedwait(Task& task, UserPtr<const uint64_t> set, UserAddr info,
                               UserPtr<const timespec> timeout, size_t size) {
  if (size != kSetSize) return Errno(EINVAL);
  const SignalSet wanted = TRY(ReadSet(task, set));
  Deadline deadline = Deadline::Never();
  if (timeout) {
    const timespec time = TRY(task.mem().Read(timeout));
    if (time.tv_sec < 0 || time.tv_nsec < 0 || time.tv_nsec >= 1'000'000'000) {
      return Errno(EINVAL);
    }
    constexpr int64_t kMaxSeconds = INT64_MAX / 1'000'000'000 - 1;
    if (time.tv_sec < kMaxSeconds) {
      deadline = Deadline::After(time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec);
    }
  }
  const SignalInfo got = TRY(task.kernel().WaitForSignal(task, wanted, deadline));
  if (info) TRY(task.mem().WriteBytes(info, std::as_bytes(std::span(&got, 1))));
  return got.si_signo;
}

Result<Unit> RtSigqueueinfo(Task& task, int pid, int sig, UserAddr info) {
  SignalInfo queued = TRY(ReadInfo(task, info));
  queued.si_signo = sig;
  if (!MayClaim(task, queued, pid)) return Errno(EPERM);
  if (pid <= 0) return Errno(ESRCH);
  if (!IsSignalOrNone(sig)) return NoSuchSignal(task, -1, pid);
  return task.kernel().Kill(task, pid, queued);
}

Result<Unit> RtTgsigqueueinfo(Task& task, int tgid, int tid, int sig, UserAddr info) {
  SignalInfo queued = TRY(ReadInfo(task, info));
  queued.si_signo = sig;
  if (tgid <= 0 || tid <= 0) return Errno(EINVAL);
  if (!MayClaim(task, queued, tid)) return Errno(EPERM);
  if (!IsSignalOrNone(sig)) return NoSuchSignal(task, tgid, tid);
  return task.kernel().KillTask(task, tgid, tid, queued);
}

Control RtSigreturn(Task& task, Context& context) {
  const auto restored = sentry::PopSignalFrame(task.mem(), context);
  if (!restored.ok()) {
    task.RaiseForced(SIGSEGV);
    return Control::Return(0);
  }
  const SignalStack& stack = restored->stack;
  const bool usable = (stack.flags & SS_DISABLE) != 0 || stack.size >= kMinStack;
  if (usable && !sentry::OnSignalStack(task.signal_stack, context.regs.rsp)) {
    task.signal_stack = stack;
  }
  task.SetSignalMask(restored->mask);
  return Control::Return(static_cast<int64_t>(context.regs.rax));
}

Result<Unit> Sigaltstack(Task& task, Context& context, UserPtr<const SignalStack> stack,
                         UserPtr<SignalStack> old) {
  SignalStack before = task.signal_stack;
  const bool active = sentry::OnSignalStack(before, context.regs.rsp);
  before.flags = (before.flags & kAutoDisarm) |
                 (before.size == 0 ? SS_DISABLE : active ? SS_ONSTACK : 0);
  before.padding = 0;
  if (stack) {
    SignalStack wanted = TRY(task.mem().Read(stack));
    if (active) return Errno(EPERM);
    const int32_t mode = wanted.flags & ~kAutoDisarm;
    if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0) return Errno(EINVAL);
    const SignalStack& now = task.signal_stack;
    if (wanted.base == now.base && wanted.size == now.size && wanted.flags == now.flags) {
      wanted = now;  // No change is none, however small the stack.
    } else if (mode == SS_DISABLE) {
      wanted = SignalStack{.flags = wanted.flags};
    } else if (wanted.size < kMinStack) {
      return Errno(ENOMEM);
    }
    wanted.padding = 0;
    task.signal_stack = wanted;
  }
  if (old) TRY(task.mem().Write(old, before));
  return kOk;
}

Result<Unit> Kill(Task& task, int pid, int sig) {
  if (pid == INT32_MIN) return Errno(ESRCH);
  if (!IsSignalOrNone(sig)) return pid > 0 ? NoSuchSignal(task, -1, pid) : Errno(EINVAL);
  return task.kernel().Kill(task, pid, UserInfo(task, sig, SI_USER));
}

Result<Unit> Tkill(Task& task, int tid, int sig) {
  if (tid <= 0) return Errno(EINVAL);
  if (!IsSignalOrNone(sig)) return NoSuchSignal(task, -1, tid);
  return task.kernel().KillTask(task, -1, tid, UserInfo(task, sig, SI_TKILL));
}

Result<Unit> Tgkill(Task& task, int tgid, int tid, int sig) {
  if (tgid <= 0 || tid <= 0) return Errno(EINVAL);
  if (!IsSignalOrNone(sig)) return NoSuchSignal(task, tgid, tid);
  return task.kernel().KillTask(task, tgid, tid, UserInfo(task, sig, SI_TKILL));
}

Control RestartSyscall(Task& task) {
  const auto block = std::exchange(task.restart_block, nullptr);
  if (!block) return Control::Fail(Errno(EINTR));
  return {block(task)};
}

}  // namespace syscalls
