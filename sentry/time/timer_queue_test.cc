#include "sentry/time/timer_queue.h"

#include <gtest/gtest.h>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "sentry/time/clocks.h"

namespace sentry {
namespace {

constexpr int64_t kMs = 1'000'000;

class CountingAlarm final : public Alarm {
 public:
  void OnAlarm() override {
    absl::MutexLock lock(&mu_);
    ++count_;
  }
  int count() {
    absl::MutexLock lock(&mu_);
    return count_;
  }
  // False when it does not happen: a broken queue must not hang the test.
  bool Await(int count) {
    const auto reached = [this, count] { return count_ >= count; };
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(&reached), absl::Seconds(30));
  }

 private:
  absl::Mutex mu_;
  int count_ = 0;
};

// The queue is done with everything that was due: alarms go off one after the other.
bool AwaitLater() {
  const auto later = MakeRef<CountingAlarm>();
  TimerQueue::Get().Arm(*later, MonotonicNs() + kMs);
  return later->Await(1);
}

TEST(TimerQueue, GoesOffOnceAndLetsGo) {
  const auto alarm = MakeRef<CountingAlarm>();
  // Far enough away that it cannot go off before it has been looked at; then soon.
  TimerQueue::Get().Arm(*alarm, MonotonicNs() + 60'000 * kMs);
  EXPECT_EQ(alarm->ref_count(), 2u);
  TimerQueue::Get().Arm(*alarm, MonotonicNs() + 5 * kMs);
  ASSERT_TRUE(alarm->Await(1));
  ASSERT_TRUE(AwaitLater());
  EXPECT_EQ(alarm->count(), 1);
  EXPECT_EQ(alarm->ref_count(), 1u);
}

TEST(TimerQueue, AnEarlierAlarmOvertakesALaterOne) {
  const auto late = MakeRef<CountingAlarm>();
  const auto early = MakeRef<CountingAlarm>();
  TimerQueue::Get().Arm(*late, MonotonicNs() + 60'000 * kMs);
  TimerQueue::Get().Arm(*early, MonotonicNs() + kMs);
  EXPECT_TRUE(early->Await(1));
  EXPECT_EQ(late->count(), 0);
  TimerQueue::Get().Cancel(*late);
  EXPECT_EQ(late->ref_count(), 1u);
}

TEST(TimerQueue, ArmingAgainReplacesTheTime) {
  const auto alarm = MakeRef<CountingAlarm>();
  TimerQueue::Get().Arm(*alarm, MonotonicNs() + 60'000 * kMs);
  TimerQueue::Get().Arm(*alarm, 1);
  EXPECT_TRUE(alarm->Await(1));
  ASSERT_TRUE(AwaitLater());
  EXPECT_EQ(alarm->ref_count(), 1u);
}

TEST(TimerQueue, CancellingWhatIsNotArmedIsHarmless) {
  const auto alarm = MakeRef<CountingAlarm>();
  TimerQueue::Get().Cancel(*alarm);
  EXPECT_EQ(alarm->ref_count(), 1u);
}

TEST(Clocks, TimesSaturate) {
  EXPECT_EQ(ToNs({.tv_sec = INT64_MAX, .tv_nsec = 999'999'999}), INT64_MAX);
  EXPECT_EQ(ToNs({.tv_sec = 2, .tv_nsec = 5}), 2 * kNsPerSecond + 5);
  EXPECT_FALSE(IsValid({.tv_sec = 0, .tv_nsec = kNsPerSecond}));
  EXPECT_FALSE(IsValid({.tv_sec = -1, .tv_nsec = 0}));
}

TEST(Clocks, KindsOfClocks) {
  EXPECT_TRUE(IsHostClock(ClockId{CLOCK_BOOTTIME}));
  EXPECT_FALSE(IsHostClock(ClockId{10}));
  EXPECT_TRUE(IsCpuClock(ClockId{CLOCK_THREAD_CPUTIME_ID}));
  EXPECT_TRUE(IsCpuClock(ClockId{(~77 << 3) | 2}));
  EXPECT_FALSE(IsCpuClock(ClockId{(~3 << 3) | 3}));  // A clock that is a descriptor.
}

}  // namespace
}  // namespace sentry
