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
class Waiter final : public WaitListener {
 public:
  explicit Waiter(Task& task);
  ~Waiter();
  Waiter(const Waiter&) = delete;

  // nullptr queues (always ready) are allowed and ignored.
  void Watch(WaitQueue* queue, uint32_t events);
  void Watch(File& file, uint32_t events);
  // See Sleeper::Sleep.
  Status Sleep(Deadline deadline = Deadline::Never());
  void OnReady(uint32_t events) override;

 private:
  Task& task_;
  std::vector<WaitQueue*> queues_;
};

// Runs `attempt` until it answers something else than EAGAIN, waiting for `events` in between.
// kRestartSys when a signal arrives, ETIMEDOUT past the deadline.
template <typename Attempt>
auto RetryWhileBlocked(Task& task, File& file, uint32_t events, Attempt attempt,
                       Deadline deadline = Deadline::Never()) -> decltype(attempt()) {
  const auto blocked = [](const auto& r) { return !r.ok() && r.error() == Errno(EAGAIN); };
  auto result = attempt();
  if (!blocked(result) || file.nonblocking()) return result;
  Waiter waiter(task);
  waiter.Watch(file, events);  // Registers first: no lost wake-up.
  for (;;) {
    result = attempt();
    if (!blocked(result)) return result;
    TRY(waiter.Sleep(deadline));
  }
}

}  // namespace sentry

#endif  // SENTRY_TASK_WAITER_H_
