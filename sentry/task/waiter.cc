#include "sentry/task/waiter.h"

#include <time.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "absl/time/time.h"
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

void Sleeper::Wake() {
  absl::MutexLock lock(&mu_);
  woken_ = true;
  cv_.Signal();
}

void Sleeper::Interrupt() {
  absl::MutexLock lock(&mu_);
  interrupted_ = true;
  cv_.Signal();
}

void Sleeper::ClearInterrupt() {
  absl::MutexLock lock(&mu_);
  interrupted_ = false;
}

bool Sleeper::interrupted() const {
  absl::MutexLock lock(&mu_);
  return interrupted_;
}

bool Sleeper::asleep() const {
  absl::MutexLock lock(&mu_);
  // Who has been told to wake up runs already.
  return asleep_ && !woken_ && !interrupted_;
}

Status Sleeper::Sleep(Task& task, Deadline deadline) {
  {
    // Without telling the platform when there is nothing to wait for.
    absl::MutexLock lock(&mu_);
    if (std::exchange(woken_, false)) return kOk;
    if (interrupted_) return kRestartSys;
  }
  if (deadline.expired()) return Errno(ETIMEDOUT);
  platform::Platform& platform = task.kernel().platform();
  platform.EnterBlocking();
  Status result = kOk;
  {
    absl::MutexLock lock(&mu_);
    asleep_ = true;
    while (!woken_ && !interrupted_ && !deadline.expired()) {
      if (deadline.ns == INT64_MAX) {
        cv_.Wait(&mu_);
      } else {
        cv_.WaitWithTimeout(&mu_, absl::Nanoseconds(deadline.ns - MonotonicNow()));
      }
    }
    asleep_ = false;
    if (std::exchange(woken_, false)) {
      result = kOk;
    } else if (interrupted_) {
      result = kRestartSys;
    } else {
      result = Errno(ETIMEDOUT);
    }
  }
  platform.LeaveBlocking();
  return result;
}

Waiter::Waiter(Task& task) : task_(task) {}

Waiter::~Waiter() {
  for (WaitQueue* queue : queues_) queue->Remove(*this);
}

void Waiter::Watch(WaitQueue* queue, uint32_t events) {
  if (queue == nullptr) return;
  queue->Add(*this, events);
  queues_.push_back(queue);
}

void Waiter::Watch(File& file, uint32_t events) {
  Watch(file.wait_queue(), events);
  file.ArmHostEvents(events);
}

Status Waiter::Sleep(Deadline deadline) { return task_.sleeper().Sleep(task_, deadline); }

void Waiter::OnReady(uint32_t events) { task_.sleeper().Wake(); }

}  // namespace sentry
