#include "sentry/time/signal_timer.h"

#include <sched.h>

#include <algorithm>

#include "base/host_cpus.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// A shorter interval would let an application keep the timer thread busy for nothing: signals that
// are not taken in between are one signal anyway, and expirations are counted exactly.
constexpr int64_t kMinSleepNs = 50'000;
constexpr int64_t kMinCpuSleepNs = 1'000'000;

int64_t SaturatingAdd(int64_t a, int64_t b) { return b > INT64_MAX - a ? INT64_MAX : a + b; }

}  // namespace

SignalTimer::SignalTimer(Kernel& kernel, ClockId clock, const CpuClock& cpu, const Target& target)
    : kernel_(kernel), clock_(clock), cpu_(cpu), target_(target) {}

int64_t SignalTimer::Now() {
  if (!cpu_clock()) return HostClockNs(clock_);
  if (cpu_.tid != 0) {
    const Ref<Task> task = kernel_.FindTask(cpu_.tid);
    return task ? static_cast<int64_t>(task->ThreadCpuNs()) : 0;
  }
  const Ref<ThreadGroup> group = kernel_.FindGroup(cpu_.tgid);
  if (!group) return 0;
  const platform::CpuTimes used = ProcessCpu(kernel_, *group);
  return static_cast<int64_t>(cpu_.user_only ? used.user_ns : used.total_ns());
}

void SignalTimer::TakeSignalBack() {
  const Ref<Task> task = target_.tid != 0 ? kernel_.FindTask(target_.tid) : Ref<Task>();
  const Ref<ThreadGroup> group = kernel_.FindGroup(target_.tgid);
  if (!target_.posix || (target_.tid != 0 ? !task : !group)) return;
  absl::MutexLock lock(&kernel_.mu());
  SignalQueue& queue = task ? task->pending_signals() : group->pending;
  queue.DiscardTimer(target_.timer_id);
}

SignalTimer::Setting SignalTimer::Set(const Setting& setting, Base base) {
  TakeSignalBack();
  const int64_t now = Now();
  absl::MutexLock lock(&mu_);
  AdvanceLocked(now);
  const Setting old = RemainingLocked(now);
  interval_ns_ = setting.interval_ns;
  overrun_ = 0;
  if (setting.value_ns == 0) {
    next_ns_ = 0;
    TimerQueue::Get().Cancel(*this);
    return old;
  }
  next_ns_ = base == Base::kAbsolute ? setting.value_ns : SaturatingAdd(now, setting.value_ns);
  ArmLocked(now, 0);
  return old;
}

void SignalTimer::Disarm() {
  absl::MutexLock lock(&mu_);
  next_ns_ = 0;
  interval_ns_ = 0;
  overrun_ = 0;
  TimerQueue::Get().Cancel(*this);
}

SignalTimer::Setting SignalTimer::Get() {
  const int64_t now = Now();
  absl::MutexLock lock(&mu_);
  // Nobody else moves a timer that sends nothing.
  if (target_.sig == 0) AdvanceLocked(now);
  return RemainingLocked(now);
}

void SignalTimer::SetOverrun(int overrun) {
  absl::MutexLock lock(&mu_);
  overrun_ = overrun;
}

int SignalTimer::overrun() {
  absl::MutexLock lock(&mu_);
  return overrun_;
}

void SignalTimer::OnAlarm() {
  const int64_t now = Now();
  int64_t expirations;
  {
    absl::MutexLock lock(&mu_);
    if (next_ns_ == 0) return;
    expirations = AdvanceLocked(now);
    if (next_ns_ != 0) ArmLocked(now, kMinSleepNs);
  }
  if (expirations > 0) Send(expirations);
}

int64_t SignalTimer::AdvanceLocked(int64_t now) {
  if (next_ns_ == 0 || now < next_ns_) return 0;
  if (interval_ns_ == 0) {
    next_ns_ = 0;
    return 1;
  }
  const int64_t expirations = 1 + (now - next_ns_) / interval_ns_;
  next_ns_ = SaturatingAdd(next_ns_, expirations * interval_ns_);
  return expirations;
}

void SignalTimer::ArmLocked(int64_t now, int64_t at_least_ns) {
  if (target_.sig == 0) return;
  int64_t left = std::max<int64_t>(next_ns_ - now, 0);
  if (cpu_clock()) left = std::max(left / HostCpuCount(), kMinCpuSleepNs);
  TimerQueue::Get().Arm(*this, SaturatingAdd(MonotonicNs(), std::max(left, at_least_ns)));
}

SignalTimer::Setting SignalTimer::RemainingLocked(int64_t now) const {
  if (next_ns_ == 0) return {.value_ns = 0, .interval_ns = interval_ns_};
  // A timer that is just going off has a nanosecond left, as in Linux: 0 would say "disarmed".
  return {.value_ns = std::max<int64_t>(next_ns_ - now, 1), .interval_ns = interval_ns_};
}

// A POSIX timer has at most one signal queued; what comes before that is taken counts as overrun.
bool SignalTimer::MergeIntoPending(int64_t expirations) {
  const int count = static_cast<int>(std::min<int64_t>(expirations, INT32_MAX));
  const Ref<Task> task = target_.tid != 0 ? kernel_.FindTask(target_.tid) : Ref<Task>();
  const Ref<ThreadGroup> group = kernel_.FindGroup(target_.tgid);
  if (target_.tid != 0 ? !task : !group) return true;  // Nobody is left to be told.
  absl::MutexLock lock(&kernel_.mu());
  SignalQueue& queue = task ? task->pending_signals() : group->pending;
  return queue.AddTimerOverrun(target_.timer_id, count);
}

void SignalTimer::Send(int64_t expirations) {
  SignalInfo info = MakeKernelSignalInfo(target_.sig);
  if (target_.posix) {
    if (MergeIntoPending(expirations)) return;
    info.si_code = SI_TIMER;
    info.si_timerid = target_.timer_id;
    info.si_overrun = static_cast<int>(std::min<int64_t>(expirations - 1, INT32_MAX));
    info.si_value.sival_ptr = reinterpret_cast<void*>(target_.value);
  }
  if (target_.tid != 0) {
    const Ref<Task> task = kernel_.FindTask(target_.tid);
    if (task) kernel_.SendTimerSignal(task->group(), task.get(), info);
    return;
  }
  const Ref<ThreadGroup> group = kernel_.FindGroup(target_.tgid);
  if (group) kernel_.SendTimerSignal(*group, nullptr, info);
}

}  // namespace sentry
