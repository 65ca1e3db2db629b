// eventfd, timerfd and epoll.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <string>

#include "sentry/fs/anon/anon_inode.h"
#include "sentry/fs/anon/epoll.h"
#include "sentry/fs/anon/eventfd.h"
#include "sentry/fs/anon/timerfd.h"

namespace sentry {
namespace {

Ref<File> NewEvent(uint32_t count = 0, int flags = 0) { return *CreateEventFd(count, flags); }

Status Put(File& file, uint64_t value) {
  IoSrc src(std::as_bytes(std::span(&value, 1)));
  const auto written = file.Write(src);
  return written.ok() ? Status(kOk) : written.error();
}

Result<uint64_t> Take(File& file) {
  uint64_t value = 0;
  IoDst dst(std::as_writable_bytes(std::span(&value, 1)));
  TRY(file.Read(dst));
  return value;
}

TEST(EventFd, CountsAndResets) {
  const Ref<File> file = NewEvent(3);
  EXPECT_TRUE(Put(*file, 4).ok());
  EXPECT_EQ(*Take(*file), 7u);
  EXPECT_EQ(Take(*file).error(), Errno(EAGAIN));
  EXPECT_EQ(file->Poll() & (POLLIN | POLLOUT), uint32_t{POLLOUT});
}

TEST(EventFd, SemaphoreGivesOneAtATime) {
  const Ref<File> file = NewEvent(2, EFD_SEMAPHORE);
  EXPECT_EQ(*Take(*file), 1u);
  EXPECT_EQ(*Take(*file), 1u);
  EXPECT_EQ(Take(*file).error(), Errno(EAGAIN));
}

TEST(EventFd, Bounds) {
  const Ref<File> file = NewEvent();
  EXPECT_EQ(Put(*file, UINT64_MAX).error(), Errno(EINVAL));
  EXPECT_TRUE(Put(*file, UINT64_MAX - 1).ok());
  EXPECT_EQ(Put(*file, 1).error(), Errno(EAGAIN));
  EXPECT_EQ(file->Poll() & POLLOUT, 0u);
  std::byte small[4];
  IoDst dst{std::span<std::byte>(small)};
  EXPECT_EQ(file->Read(dst).error(), Errno(EINVAL));
  EXPECT_FALSE(CreateEventFd(0, 0x40000000).ok());
}

TEST(TimerFd, GoesOffAndCountsPeriods) {
  const Ref<File> file = *CreateTimerFd(ClockId{CLOCK_MONOTONIC}, TFD_NONBLOCK);
  auto& timer = *FileCast<TimerFile>(*file);
  EXPECT_EQ(Take(*file).error(), Errno(EAGAIN));
  ASSERT_TRUE(
      timer.SetTime(0, {.it_interval = {.tv_nsec = 1'000'000}, .it_value = {.tv_nsec = 1'000'000}})
          .ok());
  usleep(20'000);
  EXPECT_EQ(file->Poll() & POLLIN, uint32_t{POLLIN});
  EXPECT_GE(*Take(*file), 10u);
  const auto old = timer.SetTime(0, {});
  EXPECT_EQ(old->it_interval.tv_nsec, 1'000'000);
  EXPECT_EQ(timer.GetTime().it_value.tv_nsec, 0);
}

TEST(TimerFd, AbsoluteTimeInThePastIsDue) {
  const Ref<File> file = *CreateTimerFd(ClockId{CLOCK_REALTIME}, 0);
  auto& timer = *FileCast<TimerFile>(*file);
  ASSERT_TRUE(timer.SetTime(TFD_TIMER_ABSTIME, {.it_value = {.tv_sec = 1}}).ok());
  EXPECT_EQ(*Take(*file), 1u);
}

TEST(TimerFd, RefusesNonsense) {
  EXPECT_EQ(CreateTimerFd(ClockId{CLOCK_MONOTONIC_RAW}, 0).error(), Errno(EINVAL));
  const Ref<File> file = *CreateTimerFd(ClockId{CLOCK_MONOTONIC}, 0);
  auto& timer = *FileCast<TimerFile>(*file);
  EXPECT_EQ(timer.SetTime(0, {.it_value = {.tv_nsec = -1}}).error(), Errno(EINVAL));
  EXPECT_EQ(timer.SetTime(4, {}).error(), Errno(EINVAL));
}

class Epoll : public testing::Test {
 protected:
  Status Control(int op, int fd, Ref<File> file, uint32_t events, uint64_t data = 7) {
    return EpollControl(*epoll_, op, Fd{fd}, std::move(file),
                        {.events = events, .data = {.u64 = data}});
  }
  EpollFile& instance() { return *FileCast<EpollFile>(*epoll_); }
  // How many events there are; -errno when it fails.
  int Collect(size_t max = 10) {
    const auto events = instance().Collect(max);
    return events.ok() ? static_cast<int>(events->size()) : -events.error().code();
  }
  Ref<File> epoll_ = *CreateEpoll(0);
};

TEST_F(Epoll, LevelTriggeredStaysReady) {
  const Ref<File> file = NewEvent();
  ASSERT_TRUE(Control(EPOLL_CTL_ADD, 3, file, EPOLLIN).ok());
  EXPECT_EQ(Collect(), -EAGAIN);
  EXPECT_EQ(epoll_->Poll(), 0u);
  ASSERT_TRUE(Put(*file, 1).ok());
  EXPECT_EQ(epoll_->Poll() & POLLIN, uint32_t{POLLIN});
  const auto events = instance().Collect(10);
  ASSERT_TRUE(events.ok());
  ASSERT_EQ(events->size(), 1u);
  EXPECT_EQ(uint32_t{events->front().event.events}, uint32_t{EPOLLIN});
  EXPECT_EQ(uint64_t{events->front().event.data.u64}, 7u);
  EXPECT_EQ(Collect(), 1);
  ASSERT_TRUE(Take(*file).ok());
  EXPECT_EQ(Collect(), -EAGAIN);
}

TEST_F(Epoll, EdgeTriggeredReportsNews) {
  const Ref<File> file = NewEvent();
  ASSERT_TRUE(Control(EPOLL_CTL_ADD, 3, file, EPOLLIN | EPOLLET).ok());
  ASSERT_TRUE(Put(*file, 1).ok());
  EXPECT_EQ(Collect(), 1);
  EXPECT_EQ(Collect(), -EAGAIN);
  ASSERT_TRUE(Put(*file, 1).ok());
  EXPECT_EQ(Collect(), 1);
}

TEST_F(Epoll, OneShotWaitsToBeArmedAgain) {
  const Ref<File> file = NewEvent(1);
  ASSERT_TRUE(Control(EPOLL_CTL_ADD, 3, file, EPOLLIN | EPOLLONESHOT).ok());
  EXPECT_EQ(Collect(), 1);
  ASSERT_TRUE(Put(*file, 1).ok());
  EXPECT_EQ(Collect(), -EAGAIN);
  ASSERT_TRUE(Control(EPOLL_CTL_MOD, 3, file, EPOLLIN | EPOLLONESHOT).ok());
  EXPECT_EQ(Collect(), 1);
}

TEST_F(Epoll, ControlErrors) {
  const Ref<File> file = NewEvent();
  EXPECT_EQ(Control(EPOLL_CTL_MOD, 3, file, EPOLLIN).error(), Errno(ENOENT));
  EXPECT_EQ(Control(EPOLL_CTL_DEL, 3, file, EPOLLIN).error(), Errno(ENOENT));
  ASSERT_TRUE(Control(EPOLL_CTL_ADD, 3, file, EPOLLIN).ok());
  EXPECT_EQ(Control(EPOLL_CTL_ADD, 3, file, EPOLLIN).error(), Errno(EEXIST));
  EXPECT_TRUE(Control(EPOLL_CTL_ADD, 4, file, EPOLLIN).ok());  // A duplicate is another entry.
  EXPECT_EQ(Control(EPOLL_CTL_ADD, 5, epoll_, EPOLLIN).error(), Errno(EINVAL));
  EXPECT_EQ(Control(99, 3, file, EPOLLIN).error(), Errno(EINVAL));
  EXPECT_EQ(Control(EPOLL_CTL_ADD, 6, *CreateEpoll(0), EPOLLIN | EPOLLEXCLUSIVE).error(),
            Errno(EINVAL));
  EXPECT_TRUE(Control(EPOLL_CTL_DEL, 3, file, 0).ok());
}

TEST_F(Epoll, ClosedFilesVanish) {
  const Ref<File> file = NewEvent(1);
  file->AddDescriptor();
  ASSERT_TRUE(Control(EPOLL_CTL_ADD, 3, file, EPOLLIN).ok());
  ASSERT_TRUE(Control(EPOLL_CTL_ADD, 4, file, EPOLLIN).ok());
  EXPECT_EQ(Collect(), 2);
  file->DropDescriptor();
  EXPECT_EQ(Collect(), -EAGAIN);
  EXPECT_EQ(file->ref_count(), 1u);
  EXPECT_TRUE(file->wait_queue()->empty());
}

TEST_F(Epoll, TheInstanceLetsGoOfItsFiles) {
  const Ref<File> file = NewEvent(1);
  ASSERT_TRUE(Control(EPOLL_CTL_ADD, 3, file, EPOLLIN).ok());
  epoll_ = nullptr;
  EXPECT_EQ(file->ref_count(), 1u);
  EXPECT_TRUE(file->wait_queue()->empty());
  file->AddDescriptor();
  file->DropDescriptor();
}

TEST_F(Epoll, NestsButNotInCircles) {
  const Ref<File> inner = *CreateEpoll(0);
  const Ref<File> file = NewEvent();
  ASSERT_TRUE(EpollControl(*inner, EPOLL_CTL_ADD, Fd{3}, file, {.events = EPOLLIN}).ok());
  ASSERT_TRUE(Control(EPOLL_CTL_ADD, 4, inner, EPOLLIN).ok());
  EXPECT_EQ(EpollControl(*inner, EPOLL_CTL_ADD, Fd{5}, epoll_, {.events = EPOLLIN}).error(),
            Errno(ELOOP));
  EXPECT_EQ(Collect(), -EAGAIN);
  ASSERT_TRUE(Put(*file, 1).ok());
  EXPECT_EQ(Collect(), 1);
}

TEST_F(Epoll, NestingHasALimit) {
  Ref<File> top = epoll_;
  int depth = 0;
  for (; depth < 20; ++depth) {
    Ref<File> outer = *CreateEpoll(0);
    if (!EpollControl(*outer, EPOLL_CTL_ADD, Fd{3}, top, {.events = EPOLLIN}).ok()) break;
    top = outer;
  }
  EXPECT_EQ(depth, 4);
}

TEST_F(Epoll, ReportsInTurns) {
  const Ref<File> first = NewEvent(1);
  const Ref<File> second = NewEvent(1);
  ASSERT_TRUE(Control(EPOLL_CTL_ADD, 3, first, EPOLLIN, 1).ok());
  ASSERT_TRUE(Control(EPOLL_CTL_ADD, 4, second, EPOLLIN, 2).ok());
  EXPECT_EQ(uint64_t{instance().Collect(1)->front().event.data.u64}, 1u);
  EXPECT_EQ(uint64_t{instance().Collect(1)->front().event.data.u64}, 2u);
  EXPECT_EQ(uint64_t{instance().Collect(1)->front().event.data.u64}, 1u);
}

}  // namespace
}  // namespace sentry
