// Timers of a process that send signals: setitimer(2), alarm(2), timer_create(2).
#ifndef SENTRY_TIME_PROCESS_TIMERS_H_
#define SENTRY_TIME_PROCESS_TIMERS_H_

#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/task/thread_group.h"
#include "sentry/time/clocks.h"

namespace sentry {

class Kernel;
class SignalTimer;

// Owned by a ThreadGroup (its `timers` field), made when first used. Thread-safe: its lock comes
// after Kernel::mu() and before the timer queue's.
class ProcessTimers {
 public:
  // Those of the task's process.
  static std::shared_ptr<ProcessTimers> Of(Task& task);
  static std::shared_ptr<ProcessTimers> Of(Kernel& kernel, ThreadGroup& group);

  ProcessTimers(Kernel& kernel, Pid tgid);
  ~ProcessTimers();

  // Interval timers; `which` is ITIMER_*, EINVAL for others.
  Result<itimerval> GetInterval(int which) ABSL_LOCKS_EXCLUDED(mu_);
  // The old setting. EINVAL for a time that is no time.
  Result<itimerval> SetInterval(int which, const itimerval& value) ABSL_LOCKS_EXCLUDED(mu_);
  // alarm(2): seconds that were left, rounded as Linux does.
  uint32_t SetAlarm(uint32_t seconds);

  // POSIX timers. `event` as the application gave it; nullptr stands for SIGALRM with the timer's
  // id. EINVAL, EAGAIN (more than RLIMIT_SIGPENDING).
  Result<int> Create(Task& task, ClockId clock, const sigevent* event) ABSL_LOCKS_EXCLUDED(mu_);
  // EINVAL for an unknown id or a time that is no time. `flags`: TIMER_ABSTIME. The old setting.
  Result<itimerspec> SetTime(int id, int flags, const itimerspec& value) ABSL_LOCKS_EXCLUDED(mu_);
  Result<itimerspec> GetTime(int id) ABSL_LOCKS_EXCLUDED(mu_);
  Result<int> GetOverrun(int id) ABSL_LOCKS_EXCLUDED(mu_);
  // What was created, in the order of ids.
  struct Description {
    int id = 0;
    ClockId clock{};
    int notify = SIGEV_SIGNAL;  // SIGEV_*.
    int sig = SIGALRM;
    uint64_t value = 0;  // si_value.
    Pid tid = 0;         // With SIGEV_THREAD_ID.
  };
  std::vector<Description> List() ABSL_LOCKS_EXCLUDED(mu_);
  Status Delete(int id) ABSL_LOCKS_EXCLUDED(mu_);

  // Enforces RLIMIT_CPU as it is now: SIGXCPU for each second from the soft limit on, SIGKILL at
  // the hard one.
  void KeepCpuLimit() ABSL_LOCKS_EXCLUDED(mu_);

  // A signal of POSIX timer `id` has been taken from its queue. Kernel::mu() may be held.
  void OnSignalTaken(int id, int overrun) ABSL_LOCKS_EXCLUDED(mu_);

  // execve(2) keeps interval timers and deletes POSIX timers.
  void OnExec() ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing goes off any more.
  void OnExit() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Result<Ref<SignalTimer>> Find(int id) ABSL_LOCKS_EXCLUDED(mu_);
  Ref<SignalTimer> Interval(int which) ABSL_LOCKS_EXCLUDED(mu_);

  Kernel& kernel_;
  const Pid tgid_;
  absl::Mutex mu_;
  std::array<Ref<SignalTimer>, 3> intervals_ ABSL_GUARDED_BY(mu_);  // By ITIMER_*; made lazily.
  struct PosixTimer {
    Ref<SignalTimer> timer;
    Description description;
  };
  std::map<int, PosixTimer> timers_ ABSL_GUARDED_BY(mu_);
  Ref<class CpuLimit> cpu_limit_ ABSL_GUARDED_BY(mu_);  // Empty until there is a limit.
  int next_id_ ABSL_GUARDED_BY(mu_) = 0;
  bool exited_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace sentry

#endif  // SENTRY_TIME_PROCESS_TIMERS_H_
