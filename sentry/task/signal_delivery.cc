// Signals from their sending to the choice of what happens. Linux: kernel/signal.c.
#include <algorithm>

#include "sentry/fs/wake.h"
#include "sentry/task/job_control.h"
#include "sentry/task/kernel.h"
#include "sentry/task/signal_frame.h"
#include "sentry/task/timed_wait.h"
#include "sentry/time/process_timers.h"

namespace sentry {
namespace {

// How many handlers one interrupt stacks up before the thread runs again.
constexpr int kMaxFrames = 64;
// Whatever RLIMIT_SIGPENDING says: a user's queued signals, and when to forget users without any.
constexpr uint64_t kMaxQueued = 1 << 17;
constexpr size_t kManyUsers = 64;
constexpr int kFirstRealTime = 32;

bool IsIgnored(const SignalAction& action, int sig) {
  if (action.handler == reinterpret_cast<uint64_t>(SIG_IGN)) return true;
  const DefaultAction defaults = DefaultActionOf(sig);
  return action.handler == reinterpret_cast<uint64_t>(SIG_DFL) &&
         (defaults == DefaultAction::kIgnore || defaults == DefaultAction::kContinue);
}

// What timer_getoverrun(2) tells is of the signal that was taken last.
void TellTimer(const ThreadGroup& group, const std::optional<SignalInfo>& taken) {
  if (!taken.has_value() || taken->si_code != SI_TIMER || group.timers == nullptr) return;
  group.timers->OnSignalTaken(taken->si_timerid, taken->si_overrun);
}

bool IsFatal(const SignalAction& action, int sig) {
  const DefaultAction defaults = DefaultActionOf(sig);
  return action.handler == reinterpret_cast<uint64_t>(SIG_DFL) &&
         (defaults == DefaultAction::kTerminate || defaults == DefaultAction::kCore);
}

}  // namespace

void Kernel::SendTo(Task& task, const SignalInfo& info) {
  AfterUnlock after(*this);
  const WakesAfter wakes;
  absl::MutexLock lock(&mu_);
  (void)SendLocked(task.group(), &task, info, after);
}

void Kernel::SendTo(ThreadGroup& group, const SignalInfo& info) {
  AfterUnlock after(*this);
  const WakesAfter wakes;
  absl::MutexLock lock(&mu_);
  (void)SendLocked(group, nullptr, info, after);
}

void Kernel::SendTimerSignal(ThreadGroup& group, Task* only, const SignalInfo& info) {
  AfterUnlock after(*this);
  absl::MutexLock lock(&mu_);
  (void)SendLocked(group, only, info, after, Room::kPrepaid);
}

Result<SignalCharge> Kernel::ChargeTimer(ThreadGroup& group) {
  absl::MutexLock lock(&mu_);
  std::shared_ptr<UserSignals> user = SignalsOfUserLocked(group.uid);
  const uint64_t limit = std::min<uint64_t>(group.limits[RLIMIT_SIGPENDING].rlim_cur, kMaxQueued);
  if (user->queued >= limit) return Errno(EAGAIN);
  return SignalCharge(std::move(user));
}

Status Kernel::SendToProcessGroup(Pid pgid, const SignalInfo& info) {
  AfterUnlock after(*this);
  absl::MutexLock lock(&mu_);
  std::vector<ThreadGroup*> members;
  for (const auto& [id, group] : groups_) {
    if (group->group == pgid) members.push_back(group.get());
  }
  if (members.empty()) return Errno(ESRCH);
  for (ThreadGroup* member : members) (void)SendLocked(*member, nullptr, info, after);
  return kOk;
}

bool Kernel::MaySignalLocked(const Task& sender, const ThreadGroup& group, int sig) const {
  if (&sender.group() == &group) return true;
  const Credentials& from = sender.creds_;
  constexpr int kCapKill = 5;
  if (from.HasCapability(kCapKill)) return true;
  if (sig == SIGCONT && sender.group().session == group.session) return true;
  const Task* target = group.leader;
  if (target == nullptr) return from.euid == group.uid || from.uid == group.uid;
  const Credentials& to = target->creds_;
  return from.euid == to.suid || from.euid == to.uid || from.uid == to.suid || from.uid == to.uid;
}

Status Kernel::Kill(Task& sender, Pid pid, const SignalInfo& info) {
  AfterUnlock after(*this);
  absl::MutexLock lock(&mu_);
  const int sig = info.si_signo;
  std::vector<ThreadGroup*> targets;
  Status denied = Errno(EPERM);
  if (pid > 0) {
    // A thread's id names its process here.
    Task* task = FindTaskLocked(pid);
    ThreadGroup* group = task != nullptr ? &task->group() : FindGroupLocked(pid);
    if (group != nullptr) targets.push_back(group);
  } else if (pid == -1) {
    for (const auto& [id, group] : groups_) {
      if (group != init_ && group.get() != &sender.group()) targets.push_back(group.get());
    }
    // Whom the sender may not signal is passed over without a word (Linux).
    denied = kOk;
  } else {
    const Pid pgid = pid == 0 ? sender.group().group : -pid;
    for (const auto& [id, group] : groups_) {
      if (group->group == pgid) targets.push_back(group.get());
    }
  }
  if (targets.empty()) return Errno(ESRCH);
  bool sent = false;
  for (ThreadGroup* target : targets) {
    if (!MaySignalLocked(sender, *target, sig)) continue;
    Status status = kOk;
    if (sig != 0) status = SendLocked(*target, nullptr, info, after);
    if (status.ok()) sent = true;
    if (!status.ok()) denied = status;
  }
  return sent ? Status(kOk) : denied;
}

Status Kernel::KillTask(Task& sender, Pid tgid, Pid tid, const SignalInfo& info) {
  AfterUnlock after(*this);
  absl::MutexLock lock(&mu_);
  Task* task = FindTaskLocked(tid);
  if (task == nullptr || (tgid != -1 && task->group().id != tgid)) return Errno(ESRCH);
  if (!MaySignalLocked(sender, task->group(), info.si_signo)) return Errno(EPERM);
  if (info.si_signo == 0) return kOk;
  return SendLocked(task->group(), task, info, after);
}

Status Kernel::SendLocked(ThreadGroup& group, Task* only, const SignalInfo& info,
                          AfterUnlock& after, Room room) {
  const int sig = info.si_signo;
  if (!IsSignal(sig) || group.tasks.empty() || group.exiting) return kOk;
  if (only != nullptr && only->killed()) return kOk;
  const bool from_outside = info.si_code == SI_KERNEL;
  if (sig == SIGKILL) {
    if (group.unkillable && !from_outside) return kOk;
    BeginGroupExitLocked(group, SIGKILL, after);
    return kOk;
  }
  const SignalSet opposite = kStopSignals.has(sig) ? SignalSet::Of(SIGCONT)
                             : sig == SIGCONT      ? kStopSignals
                                                   : SignalSet();
  if (!opposite.empty()) {
    group.pending.Discard(opposite);
    for (Task* task : group.tasks) task->pending_.Discard(opposite);
  }
  if (sig == SIGCONT) ContinueLocked(group, after);

  const Task& probe = only != nullptr ? *only : *group.tasks.front();
  const SignalSet held = probe.signal_mask() | probe.sigwait_;
  const SignalAction& action = group.handlers->actions[static_cast<size_t>(sig)];
  if (IsIgnored(action, sig) && !held.has(sig)) return kOk;
  // sig_task_ignored() of Linux.
  const bool immune = group.unkillable && !(from_outside && sig == SIGSTOP);
  if (immune && action.handler == reinterpret_cast<uint64_t>(SIG_DFL) && !held.has(sig)) return kOk;
  SignalQueue& queue = only != nullptr ? only->pending_ : group.pending;
  TRY(QueueLocked(group, queue, info, room));
  for (Task* task : group.tasks) {
    if (only == nullptr || task == only) task->PublishPendingLocked();
  }
  signal_events_.Notify(POLLIN);
  WakeForSignalLocked(group, only, sig, after);
  return kOk;
}

Status Kernel::QueueLocked(ThreadGroup& group, SignalQueue& queue, const SignalInfo& info,
                           Room room) {
  const int sig = info.si_signo;
  const bool real_time = sig >= kFirstRealTime;
  if (!real_time && queue.pending().has(sig)) return kOk;
  if (room == Room::kPrepaid) {
    queue.Push(info);
    return kOk;
  }
  std::shared_ptr<UserSignals> user = SignalsOfUserLocked(group.uid);
  // What the kernel itself or kill(2) says about a standard signal is at most one entry a queue.
  const bool unlimited = !real_time && info.si_code >= 0;
  const uint64_t limit = std::min<uint64_t>(group.limits[RLIMIT_SIGPENDING].rlim_cur, kMaxQueued);
  if (!unlimited && user->queued >= limit) {
    if (real_time && info.si_code != SI_USER) return Errno(EAGAIN);
    queue.PushBare(sig);
    return kOk;
  }
  queue.Push(info, SignalCharge(std::move(user)));
  return kOk;
}

std::shared_ptr<UserSignals> Kernel::SignalsOfUserLocked(uint32_t uid) {
  if (user_signals_.size() > kManyUsers && !user_signals_.contains(uid)) {
    absl::erase_if(user_signals_, [](const auto& user) { return user.second->queued == 0; });
  }
  std::shared_ptr<UserSignals>& user = user_signals_[uid];
  if (user == nullptr) user = std::make_shared<UserSignals>();
  return user;
}

void Kernel::WakeForSignalLocked(ThreadGroup& group, Task* only, int sig, AfterUnlock& after) {
  Task* target = nullptr;
  for (Task* task : group.tasks) {
    if (only != nullptr && task != only) continue;
    if (task->killed() || task->parked_) continue;  // A stopped task looks when it goes on.
    if (task->sigwait_.has(sig)) task->sleeper_.Wake();
    if (task->signal_mask().has(sig)) continue;
    if (target == nullptr || task == group.leader) target = task;
  }
  if (target == nullptr) return;
  // Linux, too, ends the process at once: a task that cannot be interrupted (vfork) must not delay
  // it.
  if (IsFatal(group.handlers->actions[static_cast<size_t>(sig)], sig)) {
    BeginGroupExitLocked(group, sig, after);
    return;
  }
  InterruptLocked(*target);
}

void Kernel::InterruptLocked(Task& task) {
  task.sleeper_.Interrupt();
  if (task.thread_) task.thread_->Interrupt();
}

void Kernel::InterruptThread(Pid tid) {
  absl::MutexLock lock(&mu_);
  Task* const task = FindTaskLocked(tid);
  if (task != nullptr && task->thread_) task->thread_->Interrupt();
}

void Kernel::RecheckSignalsLocked(Task& task) {
  ThreadGroup& group = *task.group_;
  const SignalSet mask = task.signal_mask();
  if (!((task.pending_.pending() | group.pending.pending()) & ~mask).empty()) {
    InterruptLocked(task);
  }
  const SignalSet orphaned = group.pending.pending() & mask;
  if (orphaned.empty() || group.tasks.size() < 2) return;
  for (Task* other : group.tasks) {
    if (other == &task || (orphaned & ~other->signal_mask()).empty()) continue;
    InterruptLocked(*other);
  }
}

std::optional<SignalInfo> Kernel::TakeSignal(Task& task, SignalSet set) {
  absl::MutexLock lock(&mu_);
  std::optional<SignalInfo> info = task.pending_.Pop(set);
  if (!info.has_value()) info = task.group_->pending.Pop(set);
  TellTimer(*task.group_, info);
  return info;
}

Result<SignalInfo> Kernel::WaitForSignal(Task& task, SignalSet set, Deadline deadline) {
  set = set & ~SignalSet::Unmaskable();
  {
    absl::MutexLock lock(&mu_);
    task.sigwait_ = set;
  }
  Result<SignalInfo> result = Errno(EAGAIN);
  for (;;) {
    const std::optional<SignalInfo> info = TakeSignal(task, set);
    if (info.has_value()) {
      result = *info;
      break;
    }
    const Status slept = task.sleeper_.Sleep(deadline);
    if (slept.ok()) continue;
    const std::optional<SignalInfo> last = TakeSignal(task, set);
    if (last.has_value()) {
      result = *last;
    } else {
      result = slept.error() == Errno(ETIMEDOUT) ? Errno(EAGAIN) : Errno(EINTR);
    }
    break;
  }
  absl::MutexLock lock(&mu_);
  task.sigwait_ = SignalSet();
  return result;
}

std::optional<Task::Delivery> Task::NextDelivery(bool& stopped) {
  AfterUnlock after(kernel_);
  absl::MutexLock lock(&kernel_.mu());
  ThreadGroup& group = *group_;
  while (!killed()) {
    stopped = group.stopped;
    if (stopped) return std::nullopt;
    std::optional<SignalInfo> info = pending_.Pop(~signal_mask());
    if (!info.has_value()) info = group.pending.Pop(~signal_mask());
    PublishPendingLocked();
    if (!info.has_value()) {
      // It may have been chosen for a signal of the process and have blocked that since.
      if (local_signals_.load() != nullptr) kernel_.RecheckSignalsLocked(*this);
      return std::nullopt;
    }
    TellTimer(group, info);
    const int sig = info->si_signo;
    SignalAction& action = group.handlers->actions[static_cast<size_t>(sig)];
    if (IsIgnored(action, sig)) continue;
    const bool by_default = action.handler == reinterpret_cast<uint64_t>(SIG_DFL);
    if (by_default && group.unkillable && sig != SIGSTOP) continue;
    if (!by_default) {
      const Delivery delivery{*info, action};
      if ((action.flags & SA_RESETHAND) != 0) action.handler = 0;
      return delivery;
    }
    if (DefaultActionOf(sig) != DefaultAction::kStop) {
      kernel_.BeginGroupExitLocked(group, sig, after);
    } else if (sig == SIGSTOP || !IsOrphanedLocked(kernel_, group.group, nullptr)) {
      kernel_.StopLocked(group, sig);
    }
  }
  return std::nullopt;
}

void Task::Park() {
  kernel_.platform().EnterBlocking();
  {
    AfterUnlock after(kernel_);
    absl::MutexLock lock(&kernel_.mu());
    parked_ = true;
    kernel_.CheckStopCompleteLocked(*group_, after);
    while (group_->stopped && !killed()) state_cv_.Wait(&kernel_.mu());
    parked_ = false;
  }
  kernel_.platform().LeaveBlocking();
}

void Task::DeliverSignals(platform::Context& context, bool restartable) {
  for (int frames = 0; frames < kMaxFrames;) {
    bool stopped = false;
    const std::optional<Delivery> delivery = NextDelivery(stopped);
    if (killed()) return;
    if (stopped) {
      Park();
      continue;
    }
    if (!delivery.has_value()) {
      ApplyRestart(context.regs, restartable && frames == 0, nullptr);
      if (timed_wait && frames == 0 && context.cut_short) timed_wait->Continue(context.regs);
      RestoreTemporaryMask();
      return;
    }
    ApplyRestart(context.regs, restartable && frames == 0, &delivery->action);
    if (timed_wait) timed_wait->Forget();
    EnterHandler(context, *delivery);
    ++frames;
  }
  thread_->Interrupt();
}

void Task::EnterHandler(platform::Context& context, const Delivery& delivery) {
  const int sig = delivery.info.si_signo;
  const SignalSet before = saved_mask_.value_or(signal_mask());
  const Status pushed =
      PushSignalFrame(mem(), context, delivery.info, delivery.action, before, signal_stack);
  if (!pushed.ok()) {
    // No room for the frame: SIGSEGV, and when that was it, without its handler (Linux).
    if (sig == SIGSEGV) {
      absl::MutexLock lock(&kernel_.mu());
      group_->handlers->actions[SIGSEGV].handler = 0;
    }
    ForceSignal(MakeKernelSignalInfo(SIGSEGV));
    return;
  }
  saved_mask_.reset();
  SignalSet mask = signal_mask() | SignalSet(delivery.action.mask);
  if ((delivery.action.flags & SA_NODEFER) == 0) mask.Add(sig);
  SetSignalMask(mask);
}

void Task::RaiseForced(int sig) {
  ForceSignal(MakeKernelSignalInfo(sig));
  thread_->Interrupt();
}

void Task::RaiseForced(const SignalInfo& info) {
  ForceSignal(info);
  thread_->Interrupt();
}

void Task::ForceSignal(const SignalInfo& info) {
  absl::MutexLock lock(&kernel_.mu());
  const int sig = info.si_signo;
  if (!IsSignal(sig)) return;
  group_->unkillable = false;  // As in Linux: a fault ends even process 1.
  SignalAction& action = group_->handlers->actions[static_cast<size_t>(sig)];
  if (action.handler == reinterpret_cast<uint64_t>(SIG_IGN) || signal_mask().has(sig)) {
    action = SignalAction{};
    StoreSignalMask(signal_mask() & ~SignalSet::Of(sig));
  }
  pending_.Discard(SignalSet::Of(sig));
  pending_.Push(info);
  PublishPendingLocked();
}

}  // namespace sentry
