#include "sentry/time/timer_queue.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/detached_thread.h"
#include "sentry/time/clocks.h"

namespace sentry {
namespace {

// Sleeps while `*word` is `value`, until `deadline_ns` on CLOCK_MONOTONIC.
void FutexWaitUntil(std::atomic<uint32_t>& word, uint32_t value, int64_t deadline_ns) {
  const timespec deadline = ToTimespec(deadline_ns);
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, value,
          deadline_ns == INT64_MAX ? nullptr : &deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
}

void FutexWake(std::atomic<uint32_t>& word) {
  word.fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, nullptr, nullptr, 0);
}

}  // namespace

TimerQueue& TimerQueue::Get() {
  static auto* const queue = new TimerQueue;
  return *queue;
}

void TimerQueue::Arm(Alarm& alarm, int64_t deadline_ns) {
  if (deadline_ns < 1) deadline_ns = 1;
  bool earliest;
  {
    absl::MutexLock lock(&mu_);
    if (!EraseLocked(alarm)) alarm.AddRef();
    alarm.deadline_ns_ = deadline_ns;
    const auto place = alarms_.emplace(deadline_ns, &alarm).first;
    earliest = place == alarms_.begin();
    StartThreadLocked();
  }
  if (earliest) FutexWake(wake_);
}

void TimerQueue::Cancel(Alarm& alarm) {
  bool armed;
  {
    // The thread is not woken: it will find nothing due, once.
    absl::MutexLock lock(&mu_);
    armed = EraseLocked(alarm);
  }
  if (armed) alarm.Release();
}

bool TimerQueue::EraseLocked(Alarm& alarm) {
  if (alarm.deadline_ns_ == 0) return false;
  alarms_.erase({alarm.deadline_ns_, &alarm});
  alarm.deadline_ns_ = 0;
  return true;
}

void TimerQueue::StartThreadLocked() {
  if (running_) return;
  // Without a thread the next Arm tries again.
  running_ = StartDetachedThread("timer thread", &TimerQueue::ThreadMain, this, 256 << 10).ok();
}

void* TimerQueue::ThreadMain(void* queue) {
  static_cast<TimerQueue*>(queue)->Loop();
  return nullptr;
}

void TimerQueue::Loop() {
  for (;;) {
    const uint32_t seen = wake_.load(std::memory_order_acquire);
    Ref<Alarm> due;
    int64_t next = INT64_MAX;
    {
      absl::MutexLock lock(&mu_);
      if (!alarms_.empty()) {
        const auto [deadline, alarm] = *alarms_.begin();
        if (deadline <= MonotonicNs()) {
          EraseLocked(*alarm);
          due = Ref<Alarm>::Adopt(alarm);
        }
        next = deadline;
      }
    }
    if (due) {
      due->OnAlarm();
    } else {
      FutexWaitUntil(wake_, seen, next);
    }
  }
}

}  // namespace sentry
