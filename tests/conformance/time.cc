// Clocks, sleeps, timers, and the time that a process has used.
#include <poll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>

#include "tests/conformance/support.h"

namespace {

constexpr int64_t kMs = 1'000'000;

int64_t Now(clockid_t clock) {
  timespec now = {};
  EXPECT_THAT(clock_gettime(clock, &now), Returns(0));
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}
timespec Spec(int64_t ns) { return {ns / 1'000'000'000, ns % 1'000'000'000}; }
// How long a call takes, on the monotonic clock.
template <typename Call>
int64_t Takes(Call call) {
  const int64_t begin = Now(CLOCK_MONOTONIC);
  call();
  return Now(CLOCK_MONOTONIC) - begin;
}
void Burn(int64_t ns) {
  for (const int64_t end = Now(CLOCK_PROCESS_CPUTIME_ID) + ns; Now(CLOCK_PROCESS_CPUTIME_ID) < end;) {
  }
}

volatile sig_atomic_t g_ticks;
void Tick(int) { g_ticks = g_ticks + 1; }

TEST(Clock, MonotonicNeverGoesBack) {
  for (clockid_t clock : {CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME,
                          CLOCK_MONOTONIC_COARSE}) {
    int64_t last = Now(clock);
    for (int i = 0; i < 1000; ++i) {
      const int64_t now = Now(clock);
      ASSERT_GE(now, last) << clock;
      last = now;
    }
  }
}

TEST(Clock, SystemCallAndVdsoAgree) {
  for (clockid_t clock : {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME}) {
    const int64_t before = Now(clock);
    timespec middle = {};
    EXPECT_THAT(syscall(SYS_clock_gettime, clock, &middle), Returns(0));
    const int64_t after = Now(clock);
    const int64_t between = middle.tv_sec * 1'000'000'000 + middle.tv_nsec;
    EXPECT_LE(before, between) << clock;
    EXPECT_LE(between, after) << clock;
  }
}

TEST(Clock, RealtimeIsThisCentury) {
  EXPECT_GT(Now(CLOCK_REALTIME), 1'700'000'000ll * 1'000'000'000);
  timeval now = {};
  EXPECT_THAT(gettimeofday(&now, nullptr), Returns(0));
  EXPECT_LE(std::abs(time(nullptr) - now.tv_sec), 1);
}

TEST(Clock, ErrorsAndResolution) {
  timespec now;
  EXPECT_THAT(clock_gettime(99, &now), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8), FailsWith(EFAULT));
  EXPECT_THAT(clock_getres(CLOCK_MONOTONIC, &now), Returns(0));
  EXPECT_EQ(now.tv_sec, 0);
  EXPECT_EQ(now.tv_nsec, 1);
}

TEST(Clock, CpuTimeGrowsWithWorkOnly) {
  const int64_t begin = Now(CLOCK_PROCESS_CPUTIME_ID), thread = Now(CLOCK_THREAD_CPUTIME_ID);
  const timespec pause = Spec(50 * kMs);
  nanosleep(&pause, nullptr);
  EXPECT_LT(Now(CLOCK_PROCESS_CPUTIME_ID) - begin, 40 * kMs);
  Burn(20 * kMs);
  EXPECT_GE(Now(CLOCK_PROCESS_CPUTIME_ID) - begin, 20 * kMs);
  EXPECT_GE(Now(CLOCK_THREAD_CPUTIME_ID) - thread, 15 * kMs);
}

TEST(Sleep, AtLeastAsLongAsAsked) {
  const timespec pause = Spec(30 * kMs);
  EXPECT_GE(Takes([&] { EXPECT_THAT(nanosleep(&pause, nullptr), Returns(0)); }), 30 * kMs);
}

TEST(Sleep, Errors) {
  const timespec negative = {-1, 0}, large = {0, 1'000'000'000}, none = {};
  EXPECT_THAT(nanosleep(&negative, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(nanosleep(&large, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(nanosleep(&none, nullptr), Returns(0));
  EXPECT_THAT(syscall(SYS_nanosleep, 8, nullptr), FailsWith(EFAULT));
  EXPECT_EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &none, nullptr), EINVAL);
}

TEST(Sleep, InterruptedSaysWhatIsLeft) {
  ScopedAction action(SIGALRM, Tick);
  const itimerval soon = {{0, 0}, {0, 30'000}};
  ASSERT_THAT(setitimer(ITIMER_REAL, &soon, nullptr), Returns(0));
  const timespec pause = {20, 0};
  timespec left = {};
  EXPECT_THAT(nanosleep(&pause, &left), FailsWith(EINTR));
  EXPECT_GE(left.tv_sec, 14);
  EXPECT_LT(left.tv_sec, 20);
}

TEST(Sleep, RestartsAfterAnIgnoredStop) {
  // SIGSTOP and SIGCONT do not end a sleep; it goes on for what is left.
  const pid_t child = Start([] {
    const timespec pause = Spec(100 * kMs);
    return nanosleep(&pause, nullptr) == 0 ? 0 : 1;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGCONT);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Sleep, AbsoluteTime) {
  const timespec until = Spec(Now(CLOCK_MONOTONIC) + 30 * kMs);
  EXPECT_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr), 0);
  EXPECT_GE(Now(CLOCK_MONOTONIC), until.tv_sec * 1'000'000'000 + until.tv_nsec);
  const timespec past = {1, 0};
  EXPECT_LT(Takes([&] {
    EXPECT_EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, nullptr), 0);
  }), 1000 * kMs);
}

TEST(Alarm, FiresAndReportsTheOldOne) {
  g_ticks = 0;
  ScopedAction action(SIGALRM, Tick);
  EXPECT_EQ(alarm(100), 0u);
  EXPECT_GE(alarm(0), 99u);
  const itimerval soon = {{0, 0}, {0, 20'000}};
  ASSERT_THAT(setitimer(ITIMER_REAL, &soon, nullptr), Returns(0));
  EXPECT_TRUE(Eventually([] { return g_ticks == 1; }));
}

TEST(Itimer, RepeatsUntilStopped) {
  g_ticks = 0;
  ScopedAction action(SIGALRM, Tick);
  const itimerval often = {{0, 5'000}, {0, 5'000}}, off = {};
  itimerval now = {};
  ASSERT_THAT(setitimer(ITIMER_REAL, &often, nullptr), Returns(0));
  EXPECT_TRUE(Eventually([] { return g_ticks >= 4; }));
  EXPECT_THAT(setitimer(ITIMER_REAL, &off, &now), Returns(0));
  EXPECT_EQ(now.it_interval.tv_usec, 5'000);
  EXPECT_THAT(getitimer(ITIMER_REAL, &now), Returns(0));
  EXPECT_EQ(now.it_value.tv_sec + now.it_value.tv_usec, 0);
  EXPECT_THAT(getitimer(static_cast<__itimer_which>(9), &now), FailsWith(EINVAL));
}

TEST(Itimer, NotInheritedByFork) {
  const itimerval later = {{0, 0}, {100, 0}}, off = {};
  ASSERT_THAT(setitimer(ITIMER_REAL, &later, nullptr), Returns(0));
  EXPECT_THAT(InChild([] {
    itimerval now = {};
    getitimer(ITIMER_REAL, &now);
    return static_cast<int>(now.it_value.tv_sec);
  }), Exited(0));
  setitimer(ITIMER_REAL, &off, nullptr);
}

TEST(Itimer, VirtualCountsCpuTime) {
  g_ticks = 0;
  ScopedAction action(SIGPROF, Tick);
  const itimerval soon = {{0, 0}, {0, 20'000}};
  ASSERT_THAT(setitimer(ITIMER_PROF, &soon, nullptr), Returns(0));
  for (const int64_t end = NowMs() + 10'000; g_ticks == 0 && NowMs() < end;) {
  }
  EXPECT_EQ(g_ticks, 1);
}

TEST(Timer, PosixTimerCarriesItsValue) {
  static siginfo_t info;
  ScopedAction action(SIGRTMIN, [](int, siginfo_t* i, void*) {
    info = *i;
    Tick(0);
  });
  g_ticks = 0;
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  event.sigev_value.sival_int = 77;
  timer_t timer;
  ASSERT_THAT(timer_create(CLOCK_MONOTONIC, &event, &timer), Returns(0));
  const itimerspec soon = {{0, 0}, {0, 10'000'000}};
  ASSERT_THAT(timer_settime(timer, 0, &soon, nullptr), Returns(0));
  EXPECT_TRUE(Eventually([] { return g_ticks == 1; }));
  EXPECT_EQ(info.si_code, SI_TIMER);
  EXPECT_EQ(info.si_value.sival_int, 77);
  EXPECT_THAT(timer_delete(timer), Returns(0));
}

TEST(Timerfd, CountsExpirations) {
  UniqueFd fd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  ASSERT_TRUE(fd.valid());
  uint64_t count = 0;
  EXPECT_THAT(read(fd.get(), &count, 8), FailsWith(EAGAIN));
  const itimerspec often = {{0, 5'000'000}, {0, 5'000'000}};
  ASSERT_THAT(timerfd_settime(fd.get(), 0, &often, nullptr), Returns(0));
  EXPECT_TRUE(WaitReadable(fd.get()));
  const timespec pause = Spec(30 * kMs);
  nanosleep(&pause, nullptr);
  EXPECT_THAT(read(fd.get(), &count, 8), Returns(8));
  EXPECT_GE(count, 5u);
  EXPECT_THAT(read(fd.get(), &count, 4), FailsWith(EINVAL));
}

TEST(Timerfd, BlockingAbsoluteAndQueries) {
  UniqueFd fd(timerfd_create(CLOCK_MONOTONIC, 0));
  itimerspec at = {{0, 0}, Spec(Now(CLOCK_MONOTONIC) + 20 * kMs)}, now = {};
  ASSERT_THAT(timerfd_settime(fd.get(), TFD_TIMER_ABSTIME, &at, nullptr), Returns(0));
  EXPECT_THAT(timerfd_gettime(fd.get(), &now), Returns(0));
  EXPECT_LE(now.it_value.tv_nsec, 20 * kMs);
  uint64_t count = 0;
  EXPECT_THAT(read(fd.get(), &count, 8), Returns(8));
  EXPECT_EQ(count, 1u);
  EXPECT_THAT(timerfd_gettime(fd.get(), &now), Returns(0));
  EXPECT_EQ(now.it_value.tv_nsec, 0);
  EXPECT_THAT(timerfd_create(99, 0), FailsWith(EINVAL));
}

TEST(Timeout, PollAndSelect) {
  Pipe pipe;
  pollfd waiting = {pipe.read.get(), POLLIN, 0};
  EXPECT_GE(Takes([&] { EXPECT_THAT(poll(&waiting, 1, 30), Returns(0)); }), 30 * kMs);
  const timespec brief = Spec(30 * kMs);
  EXPECT_GE(Takes([&] { EXPECT_THAT(ppoll(&waiting, 1, &brief, nullptr), Returns(0)); }), 30 * kMs);
  fd_set set;
  FD_ZERO(&set);
  FD_SET(pipe.read.get(), &set);
  timeval left = {0, 30'000};
  EXPECT_GE(Takes([&] {
    EXPECT_THAT(select(pipe.read.get() + 1, &set, nullptr, nullptr, &left), Returns(0));
  }), 30 * kMs);
  EXPECT_EQ(left.tv_usec, 0) << "Linux updates the timeout";
  EXPECT_FALSE(FD_ISSET(pipe.read.get(), &set));
}

TEST(Timeout, PollIsInterrupted) {
  ScopedAction action(SIGALRM, Tick, SA_RESTART);
  const itimerval soon = {{0, 0}, {0, 20'000}};
  ASSERT_THAT(setitimer(ITIMER_REAL, &soon, nullptr), Returns(0));
  EXPECT_THAT(poll(nullptr, 0, 10'000), FailsWith(EINTR)) << "never restarted";
}

TEST(Usage, OfTheProcessAndItsChildren) {
  rusage before = {}, self = {}, children = {};
  EXPECT_THAT(getrusage(RUSAGE_CHILDREN, &before), Returns(0));
  EXPECT_THAT(InChild([] {
    Burn(30 * kMs);
    return 0;
  }), Exited(0));
  Burn(10 * kMs);
  EXPECT_THAT(getrusage(RUSAGE_SELF, &self), Returns(0));
  EXPECT_THAT(getrusage(RUSAGE_CHILDREN, &children), Returns(0));
  EXPECT_GT(self.ru_utime.tv_sec * 1'000'000 + self.ru_utime.tv_usec + self.ru_stime.tv_usec, 5'000);
  EXPECT_GT(self.ru_maxrss, 0);
  const auto us = [](const rusage& usage) {
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  EXPECT_GT(us(children) - us(before), 10'000);
  EXPECT_THAT(getrusage(static_cast<__rusage_who>(7), &self), FailsWith(EINVAL));
}

TEST(Usage, Times) {
  tms used = {};
  const clock_t begin = times(&used);
  ASSERT_NE(begin, -1);
  Burn(30 * kMs);
  tms later = {};
  EXPECT_GE(times(&later), begin + 2);
  EXPECT_GE(later.tms_utime + later.tms_stime, used.tms_utime + used.tms_stime + 1);
}

}  // namespace
