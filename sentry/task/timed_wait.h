// A futex wait with a relative timeout. The host executes it, but knows nothing of what is left of
// its time once it has been interrupted: Linux goes on for as long as was left (futex(2)).
#ifndef SENTRY_TASK_TIMED_WAIT_H_
#define SENTRY_TASK_TIMED_WAIT_H_

#include <cstdint>

#include "platform/api/registers.h"
#include "sentry/task/waiter.h"
#include "sentry/time/timer_queue.h"

namespace sentry {

class Kernel;

// The last one of a task, owned by it. Used by the task's own call-backs only, but for OnAlarm.
class TimedWait final : public Alarm {
 public:
  struct Call {
    uint64_t address = 0, timeout = 0;
    uint32_t operation = 0, value = 0;
    bool operator==(const Call&) const = default;
  };

  TimedWait(Kernel& kernel, int tid) : kernel_(kernel), tid_(tid) {}
  int tid() const { return tid_; }

  // The task makes the call: again, if it has just been put in front of it, or for `ns` from now.
  // False if it makes it again and its time is over, so that no alarm would end it.
  bool Begin(const Call& call, int64_t ns);
  // The task has been interrupted in a call, in front of which it stands, and no handler runs. If
  // it is that one it goes on, or is told ETIMEDOUT: `regs` say so when this returns.
  void Continue(platform::Registers& regs);

  // A handler runs: the same call made again is another one.
  void Forget() { goes_on_ = false; }
  // The host's wait, which has begun anew, is over: the task is interrupted.
  void OnAlarm() override;

 private:
  Kernel& kernel_;
  const int tid_;
  Call call_;
  Deadline deadline_;
  bool goes_on_ = false;  // The next call is `call_` made again.
};

}  // namespace sentry

#endif  // SENTRY_TASK_TIMED_WAIT_H_
