#include "sentry/time/timer_queue.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <vector>

#include "sentry/time/clocks.h"

namespace sentry {
namespace {

constexpr int64_t kMs = 1'000'000;

class CountingAlarm final : public Alarm {
 public:
  void OnAlarm() override { count.fetch_add(1); }
  std::atomic<int> count{0};
};

bool WaitForCount(CountingAlarm& alarm, int count) {
  for (int i = 0; i < 1000; ++i) {
    if (alarm.count.load() >= count) return true;
    usleep(1000);
  }
  return false;
}

TEST(TimerQueue, GoesOffOnceAndLetsGo) {
  const auto alarm = MakeRef<CountingAlarm>();
  TimerQueue::Get().Arm(*alarm, MonotonicNs() + 5 * kMs);
  EXPECT_EQ(alarm->ref_count(), 2u);
  ASSERT_TRUE(WaitForCount(*alarm, 1));
  usleep(5000);
  EXPECT_EQ(alarm->count.load(), 1);
  EXPECT_EQ(alarm->ref_count(), 1u);
}

TEST(TimerQueue, AnEarlierAlarmOvertakesALaterOne) {
  const auto late = MakeRef<CountingAlarm>();
  const auto early = MakeRef<CountingAlarm>();
  TimerQueue::Get().Arm(*late, MonotonicNs() + 60'000 * kMs);
  TimerQueue::Get().Arm(*early, MonotonicNs() + kMs);
  EXPECT_TRUE(WaitForCount(*early, 1));
  EXPECT_EQ(late->count.load(), 0);
  TimerQueue::Get().Cancel(*late);
  EXPECT_EQ(late->ref_count(), 1u);
}

TEST(TimerQueue, ArmingAgainReplacesTheTime) {
  const auto alarm = MakeRef<CountingAlarm>();
  TimerQueue::Get().Arm(*alarm, MonotonicNs() + 60'000 * kMs);
  TimerQueue::Get().Arm(*alarm, 1);
  EXPECT_TRUE(WaitForCount(*alarm, 1));
  usleep(3000);
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
