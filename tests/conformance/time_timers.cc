// Timers: setitimer(2), alarm(2), timer_create(2) with every way to notify, timerfd_create(2), and
// the limit on CPU time.
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "tests/conformance/support.h"

namespace {

constexpr int64_t kMs = 1'000'000;
volatile sig_atomic_t g_count;
siginfo_t g_info;
void Count(int) { g_count = g_count + 1; }
void Record(int, siginfo_t* info, void*) {
  g_count = g_count + 1;
  g_info = *info;
}

int64_t Ns(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }
timespec Spec(int64_t ns) { return {ns / 1'000'000'000, ns % 1'000'000'000}; }
int64_t Now(clockid_t clock) {
  timespec now = {};
  clock_gettime(clock, &now);
  return Ns(now);
}
template <typename Condition>
bool Spin(Condition condition) {
  for (const int64_t end = NowMs() + 20'000; NowMs() < end;) {
    if (condition()) return true;
  }
  return false;
}

// A timer of the kernel's, without libc's management.
class RawTimer {
 public:
  RawTimer(clockid_t clock, int notify, int signal, int value = 0, pid_t tid = 0) {
    sigevent event = {};
    event.sigev_notify = notify;
    event.sigev_signo = signal;
    event.sigev_value.sival_int = value;
    event._sigev_un._tid = tid;
    made_ = syscall(SYS_timer_create, clock, &event, &id_) == 0;
    EXPECT_TRUE(made_) << ErrnoName(errno);
  }
  ~RawTimer() {
    if (made_) syscall(SYS_timer_delete, id_);
  }
  int id() const { return id_; }
  void Set(int64_t first, int64_t interval = 0, int flags = 0) {
    const itimerspec value = {Spec(interval), Spec(first)};
    EXPECT_THAT(syscall(SYS_timer_settime, id_, flags, &value, nullptr), Returns(0));
  }
  itimerspec Get() {
    itimerspec value = {};
    EXPECT_THAT(syscall(SYS_timer_gettime, id_, &value), Returns(0));
    return value;
  }
  long Overrun() { return syscall(SYS_timer_getoverrun, id_); }

 private:
  int id_ = -1;
  bool made_ = false;
};

class Timers : public testing::Test {
 protected:
  void SetUp() override {
    g_count = 0;
    memset(&g_info, 0, sizeof g_info);
  }
};

TEST_F(Timers, CreateErrors) {
  int id;
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  EXPECT_THAT(syscall(SYS_timer_create, 99, &event, &id), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_timer_create, CLOCK_MONOTONIC, 8, &id), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, 8), FailsWith(EFAULT));
  event.sigev_signo = 65;
  EXPECT_THAT(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id), FailsWith(EINVAL));
  event.sigev_signo = 0;
  EXPECT_THAT(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id), FailsWith(EINVAL));
  event.sigev_signo = SIGUSR1;
  event.sigev_notify = 77;
  EXPECT_THAT(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id), FailsWith(EINVAL));
  event.sigev_notify = SIGEV_THREAD_ID;
  event._sigev_un._tid = 1;
  EXPECT_THAT(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_timer_create, CLOCK_MONOTONIC_RAW, nullptr, &id), FailsWith(EOPNOTSUPP));
}

TEST_F(Timers, UnknownIds) {
  itimerspec value = {};
  EXPECT_THAT(syscall(SYS_timer_settime, 12345, 0, &value, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_timer_gettime, 12345, &value), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_timer_getoverrun, 12345), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_timer_delete, 12345), FailsWith(EINVAL));
}

TEST_F(Timers, SetErrors) {
  RawTimer timer(CLOCK_MONOTONIC, SIGEV_NONE, 0);
  itimerspec value = {};
  EXPECT_THAT(syscall(SYS_timer_settime, timer.id(), 0, nullptr, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_timer_settime, timer.id(), 0, 8, nullptr), FailsWith(EFAULT));
  value.it_value.tv_nsec = 1'000'000'000;
  EXPECT_THAT(syscall(SYS_timer_settime, timer.id(), 0, &value, nullptr), FailsWith(EINVAL));
  value.it_value = {-1, 0};
  EXPECT_THAT(syscall(SYS_timer_settime, timer.id(), 0, &value, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_timer_gettime, timer.id(), 8), FailsWith(EFAULT));
}

TEST_F(Timers, EachClockGoesOff) {
  ScopedAction action(SIGUSR1, Record);
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI}) {
    g_count = 0;
    RawTimer timer(clock, SIGEV_SIGNAL, SIGUSR1, clock + 40);
    timer.Set(5 * kMs);
    EXPECT_TRUE(Eventually([] { return g_count == 1; })) << clock;
    EXPECT_EQ(g_info.si_code, SI_TIMER);
    EXPECT_EQ(g_info.si_value.sival_int, clock + 40);
    EXPECT_EQ(g_info.si_timerid, timer.id());
    EXPECT_EQ(Ns(timer.Get().it_value), 0);
    g_count = 0;
    timer.Set(Now(clock) + 5 * kMs, 0, TIMER_ABSTIME);
    EXPECT_TRUE(Eventually([] { return g_count == 1; })) << clock;
  }
}

TEST_F(Timers, CpuClocksGoOffWithWorkOnly) {
  ScopedAction action(SIGUSR1, Record);
  for (const clockid_t clock : {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID}) {
    g_count = 0;
    RawTimer timer(clock, SIGEV_SIGNAL, SIGUSR1);
    const int64_t begin = Now(clock);
    timer.Set(20 * kMs);
    EXPECT_TRUE(Spin([] { return g_count == 1; })) << clock;
    EXPECT_GE(Now(clock) - begin, 20 * kMs);
    EXPECT_EQ(g_info.si_code, SI_TIMER);
  }
}

TEST_F(Timers, WithoutAnEventItIsSigalrmWithTheId) {
  ScopedAction action(SIGALRM, Record);
  int id = -1;
  ASSERT_THAT(syscall(SYS_timer_create, CLOCK_MONOTONIC, nullptr, &id), Returns(0));
  const itimerspec soon = {{0, 0}, {0, 1}};
  ASSERT_THAT(syscall(SYS_timer_settime, id, 0, &soon, nullptr), Returns(0));
  EXPECT_TRUE(Eventually([] { return g_count == 1; }));
  EXPECT_EQ(g_info.si_code, SI_TIMER);
  EXPECT_EQ(g_info.si_value.sival_int, id);
  EXPECT_THAT(syscall(SYS_timer_delete, id), Returns(0));
}

TEST_F(Timers, SettingTellsTheOldOne) {
  RawTimer timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1);
  timer.Set(100'000 * kMs, 7 * kMs);
  const itimerspec off = {};
  itimerspec old = {};
  EXPECT_THAT(syscall(SYS_timer_settime, timer.id(), 0, &off, &old), Returns(0));
  EXPECT_EQ(Ns(old.it_interval), 7 * kMs);
  EXPECT_GT(Ns(old.it_value), 50'000 * kMs);
  EXPECT_LE(Ns(old.it_value), 100'000 * kMs);
  EXPECT_EQ(Ns(timer.Get().it_value), 0);
}

TEST_F(Timers, NoneCountsDownSilently) {
  RawTimer timer(CLOCK_MONOTONIC, SIGEV_NONE, 0);
  timer.Set(10 * kMs);
  EXPECT_GT(Ns(timer.Get().it_value), 0);
  EXPECT_TRUE(Eventually([&] { return Ns(timer.Get().it_value) == 0; }));
}

TEST_F(Timers, OverrunsAreCounted) {
  ScopedBlock block({SIGRTMIN});
  RawTimer timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 6);
  timer.Set(1 * kMs, 1 * kMs);
  const timespec pause = Spec(30 * kMs);
  nanosleep(&pause, nullptr);
  const sigset_t set = SetOf({SIGRTMIN});
  siginfo_t info;
  ASSERT_THAT(sigwaitinfo(&set, &info), Returns(SIGRTMIN));
  EXPECT_GE(info.si_overrun, 20);
  EXPECT_EQ(info.si_value.sival_int, 6);
  EXPECT_EQ(timer.Overrun(), info.si_overrun);
  timer.Set(0);
}

TEST_F(Timers, OneSignalIsQueuedAtMost) {
  ScopedBlock block({SIGRTMIN});
  RawTimer timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN);
  timer.Set(1 * kMs, 1 * kMs);
  const timespec pause = Spec(20 * kMs), none = {};
  nanosleep(&pause, nullptr);
  timer.Set(0);
  const sigset_t set = SetOf({SIGRTMIN});
  int taken = 0;
  while (sigtimedwait(&set, nullptr, &none) == SIGRTMIN) ++taken;
  EXPECT_LE(taken, 1);
}

TEST_F(Timers, DeletingTakesAPendingSignalBack) {
  ScopedAction action(SIGUSR1, Count);
  ScopedBlock block({SIGUSR1});
  {
    RawTimer timer(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1);
    timer.Set(1);
    sigset_t pending;
    EXPECT_TRUE(Eventually([&] {
      sigpending(&pending);
      return sigismember(&pending, SIGUSR1) == 1;
    }));
  }
  // Linux 6.13: signals of a deleted timer are not delivered any more.
  const sigset_t set = SetOf({SIGUSR1});
  const timespec none = {};
  (void)sigtimedwait(&set, nullptr, &none);
  EXPECT_EQ(g_count, 0);
}

TEST_F(Timers, ToOneThread) {
  static volatile pid_t handled_by;
  handled_by = 0;
  ScopedAction action(SIGUSR2, [](int) { handled_by = gettid(); });
  Pipe ready, gate;
  struct Arg {
    int ready, gate;
    pid_t tid;
  } arg = {ready.write.get(), gate.read.get(), 0};
  pthread_t thread;
  pthread_create(
      &thread, nullptr,
      [](void* raw) -> void* {
        auto* arg = static_cast<Arg*>(raw);
        arg->tid = gettid();
        Post(arg->ready);
        Await(arg->gate);
        return nullptr;
      },
      &arg);
  ASSERT_TRUE(Await(ready.read.get()));
  RawTimer timer(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGUSR2, 0, arg.tid);
  timer.Set(5 * kMs);
  EXPECT_TRUE(Eventually([&] { return handled_by == arg.tid; }));
  Post(gate.write.get());
  pthread_join(thread, nullptr);
}

sem_t g_called;
int g_argument;
TEST_F(Timers, ByAThread) {
  sem_init(&g_called, 0, 0);
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_value.sival_int = 19;
  event.sigev_notify_function = [](sigval value) {
    g_argument = value.sival_int;
    sem_post(&g_called);
  };
  timer_t timer;
  ASSERT_THAT(timer_create(CLOCK_MONOTONIC, &event, &timer), Returns(0));
  const itimerspec soon = {{0, 0}, {0, 1'000'000}};
  ASSERT_THAT(timer_settime(timer, 0, &soon, nullptr), Returns(0));
  EXPECT_EQ(sem_wait(&g_called), 0);
  EXPECT_EQ(g_argument, 19);
  EXPECT_THAT(timer_delete(timer), Returns(0));
}

TEST_F(Timers, NotInheritedByForkNorKeptByExec) {
  RawTimer timer(CLOCK_MONOTONIC, SIGEV_NONE, 0);
  timer.Set(100'000 * kMs);
  EXPECT_THAT(InChild([&] {
                itimerspec value;
                return syscall(SYS_timer_gettime, timer.id(), &value) == -1 && errno == EINVAL ? 0
                                                                                               : 1;
              }),
              Exited(0));
}

TEST_F(Timers, CountTowardsPendingSignals) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setresuid(54331, 54331, 54331) == 0);
                const rlimit limit = {3, 3};
                CHILD_CHECK(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
                int ids[4];
                for (int i = 0; i < 3; ++i) {
                  CHILD_CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, nullptr, &ids[i]) == 0);
                }
                CHILD_CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, nullptr, &ids[3]) == -1);
                CHILD_CHECK(errno == EAGAIN);
                CHILD_CHECK(syscall(SYS_timer_delete, ids[1]) == 0);
                CHILD_CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, nullptr, &ids[1]) == 0);
                return 0;
              }),
              Exited(0));
}

TEST_F(Timers, OfAChildsCpuClock) {
  Pipe gate;
  const pid_t child = Start([&] {
    for (;;) {
    }
    return 0;
  });
  ScopedAction action(SIGUSR1, Count);
  RawTimer timer(static_cast<clockid_t>(~static_cast<unsigned>(child) << 3 | 2), SIGEV_SIGNAL,
                 SIGUSR1);
  timer.Set(20 * kMs);
  EXPECT_TRUE(Eventually([] { return g_count == 1; }));
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

TEST_F(Timers, IntervalErrors) {
  itimerval value = {{0, 0}, {0, 1'000'000}};
  EXPECT_THAT(setitimer(ITIMER_REAL, &value, nullptr), FailsWith(EINVAL));
  value = {{-1, 0}, {0, 0}};
  EXPECT_THAT(setitimer(ITIMER_REAL, &value, nullptr), FailsWith(EINVAL));
  value = {};
  EXPECT_THAT(setitimer(static_cast<__itimer_which>(3), &value, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_setitimer, ITIMER_REAL, 8, nullptr), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_getitimer, ITIMER_REAL, 8), FailsWith(EFAULT));
}

TEST_F(Timers, IntervalSignalsComeFromTheKernel) {
  ScopedAction action(SIGALRM, Record);
  const itimerval soon = {{0, 0}, {0, 1'000}};
  ASSERT_THAT(setitimer(ITIMER_REAL, &soon, nullptr), Returns(0));
  EXPECT_TRUE(Eventually([] { return g_count == 1; }));
  EXPECT_EQ(g_info.si_code, SI_KERNEL);
}

TEST_F(Timers, VirtualCountsUserTime) {
  ScopedAction action(SIGVTALRM, Record);
  const itimerval often = {{0, 10'000}, {0, 10'000}}, off = {};
  ASSERT_THAT(setitimer(ITIMER_VIRTUAL, &often, nullptr), Returns(0));
  EXPECT_TRUE(Spin([] { return g_count >= 3; }));
  itimerval now = {};
  EXPECT_THAT(getitimer(ITIMER_VIRTUAL, &now), Returns(0));
  EXPECT_EQ(now.it_interval.tv_usec, 10'000);
  EXPECT_THAT(setitimer(ITIMER_VIRTUAL, &off, nullptr), Returns(0));
}

TEST_F(Timers, ProfilingRepeats) {
  ScopedAction action(SIGPROF, Count);
  const itimerval often = {{0, 10'000}, {0, 10'000}}, off = {};
  ASSERT_THAT(setitimer(ITIMER_PROF, &often, nullptr), Returns(0));
  EXPECT_TRUE(Spin([] { return g_count >= 3; }));
  EXPECT_THAT(setitimer(ITIMER_PROF, &off, nullptr), Returns(0));
}

TEST_F(Timers, SleepingDoesNotAdvanceCpuTimers) {
  ScopedAction prof(SIGPROF, Count), virt(SIGVTALRM, Count);
  const itimerval later = {{0, 0}, {5, 0}}, off = {};
  ASSERT_THAT(setitimer(ITIMER_PROF, &later, nullptr), Returns(0));
  ASSERT_THAT(setitimer(ITIMER_VIRTUAL, &later, nullptr), Returns(0));
  const timespec pause = Spec(30 * kMs);
  nanosleep(&pause, nullptr);
  itimerval now = {};
  EXPECT_THAT(getitimer(ITIMER_PROF, &now), Returns(0));
  EXPECT_GE(now.it_value.tv_sec, 4);
  setitimer(ITIMER_PROF, &off, nullptr);
  setitimer(ITIMER_VIRTUAL, &off, nullptr);
  EXPECT_EQ(g_count, 0);
}

TEST_F(Timers, IntervalsSurviveExec) {
  EXPECT_THAT(InChild([] {
                const itimerval soon = {{0, 0}, {0, 100'000}};
                setitimer(ITIMER_REAL, &soon, nullptr);
                execl("/bin/sleep", "sleep", "20", nullptr);
                return 200;
              }),
              Killed(SIGALRM));
}

TEST_F(Timers, AlarmIsTheRealInterval) {
  EXPECT_EQ(alarm(50), 0u);
  itimerval now = {};
  EXPECT_THAT(getitimer(ITIMER_REAL, &now), Returns(0));
  EXPECT_GE(now.it_value.tv_sec, 48);
  EXPECT_EQ(now.it_interval.tv_sec, 0);
  EXPECT_GE(alarm(0), 49u);
  EXPECT_EQ(alarm(0), 0u);
}

TEST_F(Timers, TimerfdErrors) {
  EXPECT_THAT(timerfd_create(CLOCK_MONOTONIC, 0x3), FailsWith(EINVAL));
  EXPECT_THAT(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), FailsWith(EINVAL));
  EXPECT_THAT(timerfd_create(CLOCK_MONOTONIC_RAW, 0), FailsWith(EINVAL));
  UniqueFd fd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)), file = OpenTemp();
  EXPECT_THAT(fcntl(fd.get(), F_GETFD), Returns(FD_CLOEXEC));
  itimerspec value = {};
  EXPECT_THAT(timerfd_settime(fd.get(), 0x8, &value, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(timerfd_settime(file.get(), 0, &value, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(timerfd_settime(-1, 0, &value, nullptr), FailsWith(EBADF));
  EXPECT_THAT(timerfd_gettime(file.get(), &value), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_timerfd_settime, fd.get(), 0, 8, nullptr), FailsWith(EFAULT));
  value.it_value.tv_nsec = -1;
  EXPECT_THAT(timerfd_settime(fd.get(), 0, &value, nullptr), FailsWith(EINVAL));
  uint64_t ticks = 1;
  EXPECT_THAT(write(fd.get(), &ticks, 8), FailsWith(EINVAL));
}

TEST_F(Timers, TimerfdAlarmClocksArePrivileged) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
                return timerfd_create(CLOCK_BOOTTIME_ALARM, 0) == -1 && errno == EPERM ? 0 : 1;
              }),
              Exited(0));
}

TEST_F(Timers, TimerfdEachClock) {
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME}) {
    UniqueFd fd(timerfd_create(clock, 0));
    const itimerspec at = {{0, 0}, Spec(Now(clock) + 5 * kMs)};
    ASSERT_THAT(timerfd_settime(fd.get(), TFD_TIMER_ABSTIME, &at, nullptr), Returns(0));
    uint64_t ticks = 0;
    EXPECT_THAT(read(fd.get(), &ticks, 8), Returns(8));
    EXPECT_EQ(ticks, 1u);
    EXPECT_GE(Now(clock), Ns(at.it_value));
  }
}

TEST_F(Timers, TimerfdCancelOnSetIsAccepted) {
  UniqueFd fd(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
  const itimerspec at = {{0, 0}, Spec(Now(CLOCK_REALTIME) + 100'000 * kMs)};
  EXPECT_THAT(timerfd_settime(fd.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, nullptr),
              Returns(0));
  uint64_t ticks;
  EXPECT_THAT(read(fd.get(), &ticks, 8), FailsWith(EAGAIN)) << "nobody has set the clock";
}

// Who may not set the clock cancels nothing by trying. (That it is set cannot be tried: it is the
// machine's.)
TEST_F(Timers, TimerfdCancelOnSetOutlastsARefusedSetting) {
  UniqueFd fd(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
  const itimerspec at = {{0, 0}, Spec(Now(CLOCK_REALTIME) + 20 * kMs)};
  ASSERT_THAT(timerfd_settime(fd.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, nullptr),
              Returns(0));
  EXPECT_THAT(ReadFile("/proc/self/fdinfo/" + std::to_string(fd.get())),
              testing::HasSubstr("settime flags: 03\n"));
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
                timespec now;
                clock_gettime(CLOCK_REALTIME, &now);
                CHILD_CHECK(clock_settime(CLOCK_REALTIME, &now) == -1 && errno == EPERM);
                const timeval time = {now.tv_sec, 0};
                CHILD_CHECK(settimeofday(&time, nullptr) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
  ASSERT_TRUE(WaitReadable(fd.get()));
  uint64_t ticks = 0;
  EXPECT_THAT(read(fd.get(), &ticks, 8), Returns(8));
  EXPECT_EQ(ticks, 1u);
}

// Only a time of day can be another one all of a sudden.
TEST_F(Timers, TimerfdCancelOnSetIsNothingToOtherTimers) {
  constexpr int kBoth = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
  const struct {
    clockid_t clock;
    int flags;
  } kTimers[] = {
      {CLOCK_MONOTONIC, kBoth}, {CLOCK_BOOTTIME, kBoth}, {CLOCK_REALTIME, TFD_TIMER_CANCEL_ON_SET}};
  for (const auto& [clock, flags] : kTimers) {
    UniqueFd fd(timerfd_create(clock, 0));
    const int64_t begin = (flags & TFD_TIMER_ABSTIME) != 0 ? Now(clock) : 0;
    const itimerspec at = {{0, 0}, Spec(begin + 5 * kMs)};
    ASSERT_THAT(timerfd_settime(fd.get(), flags, &at, nullptr), Returns(0));
    uint64_t ticks = 0;
    EXPECT_THAT(read(fd.get(), &ticks, 8), Returns(8));
    EXPECT_EQ(ticks, 1u);
  }
  UniqueFd fd(timerfd_create(CLOCK_REALTIME, 0));
  const itimerspec at = {{0, 0}, {1, 0}};
  EXPECT_THAT(timerfd_settime(fd.get(), kBoth | 4, &at, nullptr), FailsWith(EINVAL));
}

// As systemd waits for the clock to be set: a time that never comes, read without blocking.
TEST_F(Timers, TimerfdCancelOnSetAtTheEndOfTime) {
  UniqueFd fd(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
  const itimerspec at = {{0, 0}, {INT64_MAX, 0}};
  ASSERT_THAT(timerfd_settime(fd.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &at, nullptr),
              Returns(0));
  EXPECT_FALSE(WaitReadable(fd.get(), 10));
  uint64_t ticks;
  EXPECT_THAT(read(fd.get(), &ticks, 8), FailsWith(EAGAIN));
}

TEST_F(Timers, TimerfdSettingAgainForgetsTicks) {
  UniqueFd fd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  itimerspec value = {{0, 0}, {0, 1}}, old = {};
  ASSERT_THAT(timerfd_settime(fd.get(), 0, &value, nullptr), Returns(0));
  ASSERT_TRUE(WaitReadable(fd.get()));
  value = {{3, 0}, {100, 0}};
  ASSERT_THAT(timerfd_settime(fd.get(), 0, &value, &old), Returns(0));
  EXPECT_FALSE(WaitReadable(fd.get(), 0));
  ASSERT_THAT(timerfd_gettime(fd.get(), &old), Returns(0));
  EXPECT_EQ(old.it_interval.tv_sec, 3);
  EXPECT_GE(old.it_value.tv_sec, 98);
}

TEST_F(Timers, TimerfdIsSharedAfterFork) {
  UniqueFd fd(timerfd_create(CLOCK_MONOTONIC, 0));
  EXPECT_THAT(InChild([&] {
                const itimerspec soon = {{0, 0}, {0, 1}};
                return timerfd_settime(fd.get(), 0, &soon, nullptr);
              }),
              Exited(0));
  uint64_t ticks = 0;
  EXPECT_THAT(read(fd.get(), &ticks, 8), Returns(8));
}

TEST_F(Timers, TimerfdInfo) {
  UniqueFd fd(timerfd_create(CLOCK_MONOTONIC, 0));
  const itimerspec value = {{3, 0}, {100, 0}};
  ASSERT_THAT(timerfd_settime(fd.get(), 0, &value, nullptr), Returns(0));
  const std::string info = ReadFile("/proc/self/fdinfo/" + std::to_string(fd.get()));
  EXPECT_THAT(info, testing::HasSubstr("clockid: 1\nticks: 0\n"));
  EXPECT_THAT(info, testing::HasSubstr("it_interval: (3, 0)\n"));
}

// A second of CPU time takes long on a busy machine: says that it waits.
int WaitPatiently(pid_t pid) {
  int status = 0;
  ScopedBlock block({SIGCHLD});
  const sigset_t ended = SetOf({SIGCHLD});
  const timespec patience = {3, 0};
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (sigtimedwait(&ended, nullptr, &patience) == SIGCHLD) continue;
    printf("waiting for CPU time\n");
    fflush(stdout);
  }
  return status;
}

void Exhaust() {
  for (;;) {
  }
}

TEST_F(Timers, CpuLimitKillsAtTheSoftOne) {
  EXPECT_THAT(WaitPatiently(Start([] {
                const rlimit limit = {1, 5}, none = {0, 0};
                setrlimit(RLIMIT_CORE, &none);
                CHILD_CHECK(setrlimit(RLIMIT_CPU, &limit) == 0);
                Exhaust();
                return 0;
              })),
              Killed(SIGXCPU));
}

TEST_F(Timers, CpuLimitMayBeCaught) {
  EXPECT_THAT(WaitPatiently(Start([] {
                ScopedAction action(SIGXCPU, [](int) { _exit(24); });
                const rlimit limit = {1, 100};
                CHILD_CHECK(setrlimit(RLIMIT_CPU, &limit) == 0);
                Exhaust();
                return 0;
              })),
              Exited(24));
}

TEST_F(Timers, CpuLimitKillsAtTheHardOne) {
  EXPECT_THAT(WaitPatiently(Start([] {
                ScopedAction action(SIGXCPU, [](int) {});
                const rlimit limit = {1, 1};
                CHILD_CHECK(setrlimit(RLIMIT_CPU, &limit) == 0);
                Exhaust();
                return 0;
              })),
              Killed(SIGKILL));
}

TEST_F(Timers, CpuLimitIsInherited) {
  EXPECT_THAT(InChild([] {
                const rlimit limit = {3, 7};
                CHILD_CHECK(setrlimit(RLIMIT_CPU, &limit) == 0);
                return WEXITSTATUS(InChild([] {
                  rlimit now;
                  getrlimit(RLIMIT_CPU, &now);
                  return now.rlim_cur == 3 && now.rlim_max == 7 ? 0 : 1;
                }));
              }),
              Exited(0));
}

}  // namespace
