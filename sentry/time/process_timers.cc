#include "sentry/time/process_timers.h"

#include <utility>
#include <vector>

#include "sentry/task/kernel.h"
#include "sentry/task/task.h"
#include "sentry/time/cpu_limit.h"
#include "sentry/time/signal_timer.h"

namespace sentry {
namespace {

constexpr int64_t kNsPerUs = 1000;
constexpr int64_t kUsPerSecond = 1'000'000;
constexpr size_t kMaxTimers = 65536;  // Whatever RLIMIT_SIGPENDING says.

bool IsValidTimeval(const timeval& time) {
  return time.tv_sec >= 0 && time.tv_usec >= 0 && time.tv_usec < kUsPerSecond;
}

int64_t TimevalToNs(const timeval& time) {
  return ToNs({.tv_sec = time.tv_sec, .tv_nsec = time.tv_usec * kNsPerUs});
}

timeval ToTimeval(int64_t ns) {
  const int64_t us = ns / kNsPerUs + (ns > 0 && ns < kNsPerUs ? 1 : 0);
  return {.tv_sec = us / kUsPerSecond, .tv_usec = us % kUsPerSecond};
}

itimerval ToItimerval(const SignalTimer::Setting& setting) {
  return {.it_interval = ToTimeval(setting.interval_ns), .it_value = ToTimeval(setting.value_ns)};
}

itimerspec ToItimerspec(const SignalTimer::Setting& setting) {
  return {.it_interval = ToTimespec(setting.interval_ns), .it_value = ToTimespec(setting.value_ns)};
}

struct TimerClock {
  ClockId clock{CLOCK_PROCESS_CPUTIME_ID};
  SignalTimer::CpuClock cpu;
};

// Whose time a timer on `clock` counts.
Result<TimerClock> ResolveClock(Task& task, ClockId clock) {
  const int32_t raw = static_cast<int32_t>(clock);
  if (raw == CLOCK_REALTIME_ALARM || raw == CLOCK_BOOTTIME_ALARM) return Errno(EPERM);
  if (raw == CLOCK_MONOTONIC_RAW || raw == CLOCK_REALTIME_COARSE || raw == CLOCK_MONOTONIC_COARSE) {
    return Errno(EOPNOTSUPP);
  }
  constexpr int32_t kKindMask = 7, kDevice = 3;
  if (raw < 0 && (raw & kKindMask) == kDevice) return Errno(EOPNOTSUPP);  // Of a descriptor.
  if (IsHostClock(clock)) return TimerClock{.clock = clock};
  TRY(ClockNow(task, clock));  // EINVAL for what does not exist.
  TimerClock resolved;
  if (raw == CLOCK_PROCESS_CPUTIME_ID) {
    resolved.cpu.tgid = task.group().id;
  } else if (raw == CLOCK_THREAD_CPUTIME_ID) {
    resolved.cpu.tid = task.tid();
  } else {
    const Pid pid = ~(raw >> 3);
    const bool per_thread = (raw & 4) != 0;
    resolved.cpu.tid = per_thread ? (pid != 0 ? pid : task.tid()) : 0;
    resolved.cpu.tgid = pid != 0 ? pid : task.group().id;
  }
  return resolved;
}

// good_sigevent() of the kernel: who is told, and how.
Result<SignalTimer::Target> ResolveEvent(Task& task, const sigevent* event, int id) {
  SignalTimer::Target target{
      .tgid = task.group().id, .sig = SIGALRM, .posix = true, .timer_id = id};
  if (event == nullptr) {
    target.value = static_cast<uint64_t>(id);
    return target;
  }
  target.value = reinterpret_cast<uint64_t>(event->sigev_value.sival_ptr);
  target.sig = event->sigev_signo;
  switch (event->sigev_notify) {
    case SIGEV_NONE:
      target.sig = 0;
      return target;
    case SIGEV_THREAD_ID: {
      target.tid = event->_sigev_un._tid;
      const Ref<Task> other = task.kernel().FindTask(target.tid);
      if (!other || &other->group() != &task.group()) return Errno(EINVAL);
      break;
    }
    case SIGEV_SIGNAL:
    case SIGEV_THREAD:
      break;
    default:
      return Errno(EINVAL);
  }
  if (target.sig < 1 || target.sig > kSignalCount) return Errno(EINVAL);
  return target;
}

// As the application put it.
ProcessTimers::Description Describe(int id, ClockId clock, const sigevent* event) {
  constexpr int kProcessCpu = -6, kThreadCpu = -2;  // The caller's, as a clockid_t with a number.
  ProcessTimers::Description made{.id = id, .clock = clock};
  if (clock == ClockId{CLOCK_PROCESS_CPUTIME_ID}) made.clock = ClockId{kProcessCpu};
  if (clock == ClockId{CLOCK_THREAD_CPUTIME_ID}) made.clock = ClockId{kThreadCpu};
  if (event == nullptr) {
    made.value = static_cast<uint64_t>(id);
    return made;
  }
  made.notify = event->sigev_notify;
  made.sig = event->sigev_signo;
  made.value = reinterpret_cast<uint64_t>(event->sigev_value.sival_ptr);
  if (made.notify == SIGEV_THREAD_ID) made.tid = event->_sigev_un._tid;
  return made;
}

}  // namespace

std::shared_ptr<ProcessTimers> ProcessTimers::Of(Task& task) {
  return Of(task.kernel(), task.group());
}

std::shared_ptr<ProcessTimers> ProcessTimers::Of(Kernel& kernel, ThreadGroup& group) {
  absl::MutexLock lock(&kernel.mu());
  if (group.timers == nullptr) group.timers = std::make_shared<ProcessTimers>(kernel, group.id);
  return group.timers;
}

void ProcessTimers::OnSignalTaken(int id, int overrun) {
  const Result<Ref<SignalTimer>> timer = Find(id);
  if (timer.ok()) (*timer)->SetOverrun(overrun);
}

void ProcessTimers::KeepCpuLimit() {
  Ref<CpuLimit> limit;
  {
    absl::MutexLock lock(&mu_);
    if (exited_) return;
    if (!cpu_limit_) cpu_limit_ = MakeRef<CpuLimit>(kernel_, tgid_);
    limit = cpu_limit_;
  }
  limit->OnAlarm();
}

ProcessTimers::ProcessTimers(Kernel& kernel, Pid tgid) : kernel_(kernel), tgid_(tgid) {}

// May run under Kernel::mu() (the group's last reference): alarms find their process gone.
ProcessTimers::~ProcessTimers() {
  for (const Ref<SignalTimer>& timer : intervals_) {
    if (timer) TimerQueue::Get().Cancel(*timer);
  }
  for (const auto& [id, timer] : timers_) TimerQueue::Get().Cancel(*timer.timer);
  if (cpu_limit_) TimerQueue::Get().Cancel(*cpu_limit_);
}

Ref<SignalTimer> ProcessTimers::Interval(int which) {
  static constexpr int kSignals[] = {SIGALRM, SIGVTALRM, SIGPROF};
  absl::MutexLock lock(&mu_);
  Ref<SignalTimer>& timer = intervals_[which];
  if (!timer) {
    const ClockId clock{which == ITIMER_REAL ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID};
    timer = MakeRef<SignalTimer>(
        kernel_, clock, SignalTimer::CpuClock{.tgid = tgid_, .user_only = which == ITIMER_VIRTUAL},
        SignalTimer::Target{.tgid = tgid_, .sig = kSignals[which]});
  }
  return timer;
}

Result<itimerval> ProcessTimers::GetInterval(int which) {
  if (which < ITIMER_REAL || which > ITIMER_PROF) return Errno(EINVAL);
  {
    absl::MutexLock lock(&mu_);
    if (!intervals_[which]) return itimerval{};
  }
  return ToItimerval(Interval(which)->Get());
}

Result<itimerval> ProcessTimers::SetInterval(int which, const itimerval& value) {
  if (!IsValidTimeval(value.it_value) || !IsValidTimeval(value.it_interval)) return Errno(EINVAL);
  if (which < ITIMER_REAL || which > ITIMER_PROF) return Errno(EINVAL);
  {
    absl::MutexLock lock(&mu_);
    if (exited_) return itimerval{};
  }
  return ToItimerval(Interval(which)->Set(
      {.value_ns = TimevalToNs(value.it_value), .interval_ns = TimevalToNs(value.it_interval)},
      SignalTimer::Base::kRelative));
}

uint32_t ProcessTimers::SetAlarm(uint32_t seconds) {
  const auto old = SetInterval(ITIMER_REAL, {.it_value = {.tv_sec = seconds}});
  if (!old.ok()) return 0;
  // Linux rounds to the nearest second, and never down to 0.
  const timeval& left = old->it_value;
  const bool up = (left.tv_sec == 0 && left.tv_usec > 0) || left.tv_usec >= kUsPerSecond / 2;
  return static_cast<uint32_t>(left.tv_sec + (up ? 1 : 0));
}

Result<int> ProcessTimers::Create(Task& task, ClockId clock, const sigevent* event) {
  const TimerClock resolved = TRY(ResolveClock(task, clock));
  SignalCharge charge = TRY(kernel_.ChargeTimer(task.group()));
  int id;
  {
    absl::MutexLock lock(&mu_);
    if (timers_.size() >= kMaxTimers) return Errno(EAGAIN);
    id = next_id_;
    next_id_ = next_id_ == INT32_MAX ? 0 : next_id_ + 1;
  }
  const SignalTimer::Target target = TRY(ResolveEvent(task, event, id));
  absl::MutexLock lock(&mu_);
  const auto timer = MakeRef<SignalTimer>(kernel_, resolved.clock, resolved.cpu, target);
  timer->Keep(std::move(charge));
  if (exited_) return Errno(EAGAIN);
  const Description description = Describe(id, clock, event);
  if (!timers_.emplace(id, PosixTimer{timer, description}).second) return Errno(EAGAIN);
  return id;
}

std::vector<ProcessTimers::Description> ProcessTimers::List() {
  std::vector<Description> all;
  absl::MutexLock lock(&mu_);
  for (const auto& [id, timer] : timers_) all.push_back(timer.description);
  return all;
}

Result<Ref<SignalTimer>> ProcessTimers::Find(int id) {
  absl::MutexLock lock(&mu_);
  const auto it = timers_.find(id);
  if (it == timers_.end()) return Errno(EINVAL);
  return it->second.timer;
}

Result<itimerspec> ProcessTimers::SetTime(int id, int flags, const itimerspec& value) {
  if (!IsValid(value.it_value) || !IsValid(value.it_interval)) return Errno(EINVAL);
  const Ref<SignalTimer> timer = TRY(Find(id));
  const auto base =
      (flags & TIMER_ABSTIME) != 0 ? SignalTimer::Base::kAbsolute : SignalTimer::Base::kRelative;
  return ToItimerspec(
      timer->Set({.value_ns = ToNs(value.it_value), .interval_ns = ToNs(value.it_interval)}, base));
}

Result<itimerspec> ProcessTimers::GetTime(int id) { return ToItimerspec(TRY(Find(id))->Get()); }

Result<int> ProcessTimers::GetOverrun(int id) { return TRY(Find(id))->overrun(); }

Status ProcessTimers::Delete(int id) {
  const Ref<SignalTimer> timer = TRY(Find(id));
  timer->Disarm();
  timer->TakeSignalBack();
  absl::MutexLock lock(&mu_);
  return timers_.erase(id) == 1 ? Status(kOk) : Errno(EINVAL);
}

void ProcessTimers::OnExec() {
  std::map<int, PosixTimer> timers;
  {
    absl::MutexLock lock(&mu_);
    timers.swap(timers_);
  }
  for (const auto& [id, timer] : timers) timer.timer->Disarm();
}

void ProcessTimers::OnExit() {
  std::array<Ref<SignalTimer>, 3> intervals;
  {
    absl::MutexLock lock(&mu_);
    exited_ = true;
    intervals.swap(intervals_);
    if (cpu_limit_) TimerQueue::Get().Cancel(*cpu_limit_);
  }
  for (const Ref<SignalTimer>& timer : intervals) {
    if (timer) timer->Disarm();
  }
  OnExec();
}

}  // namespace sentry
