// The sentry's alarm clock.
#ifndef SENTRY_TIME_TIMER_QUEUE_H_
#define SENTRY_TIME_TIMER_QUEUE_H_

#include <atomic>
#include <cstdint>
#include <set>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"

namespace sentry {

// Something that happens at a point in time. Armed in at most one queue.
class Alarm : public RefCounted {
 public:
  // Runs on the queue's thread with no lock of the queue held. It may come although the alarm has
  // just been cancelled or set to another time: look again at what is due.
  virtual void OnAlarm() = 0;

 private:
  friend class TimerQueue;
  int64_t deadline_ns_ = 0;  // Guarded by the queue; 0 when not armed.
};

// Alarms in order of time and one thread, started by the first of them, that sleeps until the next
// is due and without a limit when there is none: no armed timer, no wake-up. Thread-safe; its lock
// is a leaf, so that any lock may be held when arming.
class TimerQueue {
 public:
  // The sandbox's only one. Never destroyed, since alarms may go off until the process ends.
  static TimerQueue& Get();

  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;

  // Goes off once at `deadline_ns` (CLOCK_MONOTONIC, > 0; the past means at once). Replaces an
  // earlier time. The queue holds a reference until then.
  void Arm(Alarm& alarm, int64_t deadline_ns) ABSL_LOCKS_EXCLUDED(mu_);
  void Cancel(Alarm& alarm) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static void* ThreadMain(void* queue);
  void Loop();
  void StartThreadLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool EraseLocked(Alarm& alarm) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;  // Leaf.
  std::set<std::pair<int64_t, Alarm*>> alarms_ ABSL_GUARDED_BY(mu_);  // Each holds a reference.
  bool running_ ABSL_GUARDED_BY(mu_) = false;
  std::atomic<uint32_t> wake_{0};  // Futex: changes when the first deadline does.
};

}  // namespace sentry

#endif  // SENTRY_TIME_TIMER_QUEUE_H_
