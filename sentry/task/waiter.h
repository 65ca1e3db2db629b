// The only way a system call waits.
#ifndef SENTRY_TASK_WAITER_H_
#define SENTRY_TASK_WAITER_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/fs/file.h"
#include "sentry/fs/wait_queue.h"
#include "sentry/task/restart.h"

namespace sentry {

class Task;

// A point on CLOCK_MONOTONIC of the host, in nanoseconds.
struct Deadline {
  int64_t ns = INT64_MAX;  // INT64_MAX: never.
  static Deadline Never() { return {}; }
  static Deadline After(int64_t ns_from_now);
  bool expired() const;
};

// Where one task sleeps: woken by events, interrupted by signals. One per task, owned by it.
class Sleeper {
 public:
  explicit Sleeper(platform::Platform& platform) : platform_(platform) {}
  // From any thread; remembered when nobody sleeps.
  void Wake() { Tell(kWoken); }
  // From any thread: ends every sleep until ClearInterrupt.
  void Interrupt() { Tell(kInterrupted); }
  void ClearInterrupt() { state_.fetch_and(~kInterrupted); }
  bool interrupted() const { return (state_.load() & kInterrupted) != 0; }
  // Somebody is in Sleep and has to wait: who has been told to wake up runs already.
  bool asleep() const { return (state_.load() & ~(kOnThread | kParked)) == kAsleep; }
  // Sleeps until woken (consumes the wake-up), interrupted (kRestartSys) or past the deadline
  // (ETIMEDOUT). The platform is told through its BlockingHooks.
  Status Sleep(Deadline deadline);

 private:
  // On a thread: one of the host's waits for it, and has to be woken.
  static constexpr uint32_t kWoken = 1, kInterrupted = 2, kAsleep = 4, kOnThread = 8;
  static constexpr uint32_t kParked = platform::Platform::kParked;
  void Tell(uint32_t what);
  // Takes the wake-up; what Sleep answers for `state` when it is over.
  Status End(uint32_t state);

  platform::Platform& platform_;
  std::atomic<uint32_t> state_ = 0;  // No lock: who is woken would run into it.
};

// Registers the task with any number of queues for the duration of a wait.
//
// A wait may be exclusive: of several such tasks one is woken for each event. Whoever is woken
// answers for it: its next attempt takes what there is, or finds that somebody was faster. So
// that no event is lost, one that wakes a task which attempts no more is passed on, and after an
// attempt in vain the task asks to be told again (Rearm) before it makes the last one and sleeps.
// Requires of such a wait: one queue only, whose lock is what keeps two of them from telling it.
class Waiter final : public WaitListener {
 public:
  explicit Waiter(Task& task);
  ~Waiter();
  Waiter(const Waiter&) = delete;

  // nullptr queues (always ready) are allowed and ignored.
  void Watch(WaitQueue* queue, uint32_t events, WaitQueue::Turn turn = WaitQueue::Turn::kEverybody);
  void Watch(File& file, uint32_t events, WaitQueue::Turn turn = WaitQueue::Turn::kEverybody);
  // See Sleeper::Sleep.
  Status Sleep(Deadline deadline = Deadline::Never());
  // After an attempt in vain. True: attempt once more before sleeping.
  bool Rearm();
  void OnReady(uint32_t events) override;
  bool TakeTurn(uint32_t events) override;

 private:
  // Of exclusive waits. kTold: woken, and no attempt has begun since.
  enum State : uint8_t { kArmed, kTold, kAttempts };

  Task& task_;
  std::atomic<State> state_ = kArmed;
  std::atomic<uint32_t> told_events_ = 0;
  std::vector<WaitQueue*> queues_;
};

// Runs `attempt` until it answers something else than EAGAIN, waiting for `events` in between.
// kRestartSys when a signal arrives, ETIMEDOUT past the deadline.
template <typename Attempt>
auto RetryWhileBlocked(Task& task, File& file, uint32_t events, Attempt attempt,
                       Deadline deadline = Deadline::Never(),
                       WaitQueue::Turn turn = WaitQueue::Turn::kEverybody) -> decltype(attempt()) {
  const auto blocked = [](const auto& r) { return !r.ok() && r.error() == Errno(EAGAIN); };
  auto result = attempt();
  if (!blocked(result) || file.nonblocking()) return result;
  Waiter waiter(task);
  waiter.Watch(file, events, turn);  // Registers first: no lost wake-up.
  for (;;) {
    result = attempt();
    if (!blocked(result)) return result;
    if (waiter.Rearm()) continue;
    TRY(waiter.Sleep(deadline));
  }
}

}  // namespace sentry

#endif  // SENTRY_TASK_WAITER_H_
