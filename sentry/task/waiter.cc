#include "sentry/task/waiter.h"

#include <time.h>

#include <algorithm>

#include "sentry/fs/wake.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

int64_t MonotonicNow() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
}

}  // namespace

Deadline Deadline::After(int64_t ns_from_now) {
  const int64_t now = MonotonicNow();
  if (ns_from_now > INT64_MAX - now) return Never();
  return {now + std::max<int64_t>(ns_from_now, 0)};
}

bool Deadline::expired() const { return ns != INT64_MAX && MonotonicNow() >= ns; }

void Sleeper::Tell(uint32_t what) {
  platform::Platform& platform = platform_;  // This may be gone once it has been told.
  const uint32_t before = state_.fetch_or(what);
  if (before == (kAsleep | kOnThread)) WakeSleeper(state_);
  if (before == (kAsleep | kParked)) platform.Unpark(state_);
}

Status Sleeper::End(uint32_t state) {
  if ((state & kWoken) != 0) {
    state_.fetch_and(~kWoken);
    return kOk;
  }
  return (state & kInterrupted) != 0 ? Status(kRestartSys) : Errno(ETIMEDOUT);
}

Status Sleeper::Sleep(Deadline deadline) {
  // Without telling the platform when there is nothing to wait for.
  if (const uint32_t state = state_.load(); state != 0) return End(state);
  if (deadline.expired()) return Errno(ETIMEDOUT);
  if (state_.fetch_or(kAsleep) == 0 && MayLeaveThread()) {
    Task* const current = Task::Current();
    platform_.Park(state_, kAsleep, deadline.ns);
    Task::SetCurrent(current);
  }
  if (state_.load() == kAsleep && !deadline.expired()) {
    platform_.EnterBlocking();
    constexpr uint32_t kWaiting = kAsleep | kOnThread;
    uint32_t state = state_.fetch_or(kOnThread) | kOnThread;
    while (state == kWaiting && !deadline.expired()) {
      SleepOn(state_, kWaiting, deadline.ns);
      state = state_.load();
    }
    platform_.LeaveBlocking();
  }
  return End(state_.fetch_and(~(kAsleep | kOnThread)));
}

Waiter::Waiter(Task& task) : task_(task) {}

Waiter::~Waiter() {
  for (WaitQueue* queue : queues_) queue->Remove(*this);
  if (state_.load() != kTold) return;
  for (WaitQueue* queue : queues_) queue->PassOn(told_events_.load());
}

void Waiter::Watch(WaitQueue* queue, uint32_t events, WaitQueue::Turn turn) {
  if (queue == nullptr) return;
  queue->Add(*this, events, turn);
  queues_.push_back(queue);
}

void Waiter::Watch(File& file, uint32_t events, WaitQueue::Turn turn) {
  Watch(file.wait_queue(), events, turn);
  file.ArmHostEvents(events);
}

Status Waiter::Sleep(Deadline deadline) {
  State told = kTold;
  // A wait within the attempt may have consumed the wake-up, but not that this one was told.
  if (state_.compare_exchange_strong(told, kAttempts)) return kOk;
  TRY(task_.sleeper().Sleep(deadline));
  told = kTold;
  state_.compare_exchange_strong(told, kAttempts);
  return kOk;
}

bool Waiter::Rearm() {
  State attempts = kAttempts;
  return state_.compare_exchange_strong(attempts, kArmed);
}

bool Waiter::TakeTurn(uint32_t events) {
  if (state_.load() != kArmed) return false;
  told_events_.store(events);
  state_.store(kTold);
  task_.sleeper().Wake();
  return true;
}

void Waiter::OnReady(uint32_t events) { task_.sleeper().Wake(); }

}  // namespace sentry
