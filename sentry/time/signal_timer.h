// One timer that sends a signal; see process_timers.h.
#ifndef SENTRY_TIME_SIGNAL_TIMER_H_
#define SENTRY_TIME_SIGNAL_TIMER_H_

#include <time.h>

#include <cstdint>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/task/thread_group.h"
#include "sentry/time/clocks.h"
#include "sentry/time/timer_queue.h"

namespace sentry {

class Kernel;

// Shared by its ProcessTimers and, while armed, the timer queue. Names its process and thread by
// number, so that it keeps nobody alive.
//
// Time on a CPU clock passes unevenly: such a timer looks at the clock no later than it can have
// reached the deadline, and again until it has.
class SignalTimer final : public Alarm {
 public:
  struct Target {
    Pid tgid = 0;
    Pid tid = 0;           // The signal goes to this thread only; 0: to the process.
    int sig = 0;           // 0: nobody is told (SIGEV_NONE).
    bool posix = false;    // SI_TIMER with what follows; otherwise as the kernel sends SIGALRM.
    int timer_id = 0;
    uint64_t value = 0;    // si_value.
  };
  // What a CPU clock measures: the process `tgid`, or with `tid` that thread.
  struct CpuClock {
    Pid tgid = 0;
    Pid tid = 0;
    bool user_only = false;  // Without system time (ITIMER_VIRTUAL).
  };
  // Requires: IsHostClock(clock), or `clock` is CLOCK_PROCESS_CPUTIME_ID and `cpu` says whose.
  SignalTimer(Kernel& kernel, ClockId clock, const CpuClock& cpu, const Target& target);

  // Times in nanoseconds; 0 disarms. The old setting: what is left, and the interval.
  struct Setting {
    int64_t value_ns = 0, interval_ns = 0;
  };
  enum class Base : uint8_t { kRelative, kAbsolute };
  Setting Set(const Setting& setting, Base base) ABSL_LOCKS_EXCLUDED(mu_);
  Setting Get() ABSL_LOCKS_EXCLUDED(mu_);
  // What its signal costs the user's limit, for a POSIX timer.
  void Keep(SignalCharge charge) { charge_ = std::move(charge); }
  // A signal that is still queued does not belong to the new setting, or to no timer any more.
  void TakeSignalBack();
  // Of the last signal that was taken from its queue.
  void SetOverrun(int overrun) ABSL_LOCKS_EXCLUDED(mu_);
  int overrun() ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing is sent afterwards, apart from what is being sent right now.
  // Without a look at the clock: allowed under Kernel::mu().
  void Disarm() ABSL_LOCKS_EXCLUDED(mu_);

  void OnAlarm() override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  bool cpu_clock() const { return !IsHostClock(clock_); }
  // Takes Kernel::mu() for a CPU clock: call it before locking mu_.
  int64_t Now();
  // Counts the expirations up to `now` and moves the next one behind it.
  int64_t AdvanceLocked(int64_t now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ArmLocked(int64_t now, int64_t at_least_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Setting RemainingLocked(int64_t now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Send(int64_t expirations) ABSL_LOCKS_EXCLUDED(mu_);
  bool MergeIntoPending(int64_t expirations);

  Kernel& kernel_;
  const ClockId clock_;
  const CpuClock cpu_;
  const Target target_;
  SignalCharge charge_;
  absl::Mutex mu_;
  int64_t next_ns_ ABSL_GUARDED_BY(mu_) = 0;  // On clock_; 0 when disarmed.
  int64_t interval_ns_ ABSL_GUARDED_BY(mu_) = 0;
  int overrun_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace sentry

#endif  // SENTRY_TIME_SIGNAL_TIMER_H_
