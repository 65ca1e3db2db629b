// RLIMIT_CPU of one process.
#ifndef SENTRY_TIME_CPU_LIMIT_H_
#define SENTRY_TIME_CPU_LIMIT_H_

#include "sentry/task/thread_group.h"
#include "sentry/time/timer_queue.h"

namespace sentry {

class Kernel;

// Shared by its ProcessTimers and, while there is a limit, the timer queue. Names its process by
// number, so that it keeps nobody alive. CPU time passes unevenly: it looks no later than the limit
// can be reached, and again until it is.
class CpuLimit final : public Alarm {
 public:
  CpuLimit(Kernel& kernel, Pid tgid) : kernel_(kernel), tgid_(tgid) {}
  // Looks at the time used and at the limits as they are now.
  void OnAlarm() override;

 private:
  Kernel& kernel_;
  const Pid tgid_;
};

}  // namespace sentry

#endif  // SENTRY_TIME_CPU_LIMIT_H_
