// Clocks, their errors, sleeping on each of them, and what nobody may set: clock_gettime(2),
// clock_nanosleep(2), clock_getcpuclockid(3), adjtimex(2), times(2), getrusage(2).
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include <algorithm>

#include "tests/conformance/support.h"

namespace {

constexpr int64_t kMs = 1'000'000;

int64_t Ns(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }
timespec Spec(int64_t ns) { return {ns / 1'000'000'000, ns % 1'000'000'000}; }
int64_t Now(clockid_t clock) {
  timespec now = {};
  EXPECT_THAT(syscall(SYS_clock_gettime, clock, &now), Returns(0)) << clock;
  return Ns(now);
}
// User time: a look at the clock is system time, dear where calls are slow. So the first look tells
// how fast this machine is, and how much is done until the next.
void Burn(int64_t ns) {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  const int64_t begin = Ns(time);
  int64_t done = 0, more = 1'000'000;
  for (int64_t used = 0; used < ns;) {
    for (int64_t i = 0; i < more; ++i) asm volatile("" : : "r"(i));
    done += more;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    used = std::max<int64_t>(Ns(time) - begin, 1);
    more = std::clamp<int64_t>((ns - used) * done / used, 100'000, 4 * done);
  }
}
clockid_t ProcessClock(pid_t pid, int kind = 2) { return static_cast<clockid_t>(~static_cast<unsigned>(pid) << 3 | kind); }
clockid_t ThreadClock(pid_t tid) { return ProcessClock(tid, 6); }

TEST(Clocks, AllHostClocksTellTheTime) {
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW,
                                CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME,
                                CLOCK_TAI}) {
    const int64_t first = Now(clock);
    EXPECT_GT(first, 0) << clock;
    EXPECT_GE(Now(clock), first) << clock;
  }
}

TEST(Clocks, RelationsBetweenThem) {
  const int64_t real = Now(CLOCK_REALTIME), tai = Now(CLOCK_TAI);
  EXPECT_LT(std::abs(tai - real), 100ll * 1'000'000'000);
  const int64_t monotonic = Now(CLOCK_MONOTONIC);
  EXPECT_LE(monotonic, Now(CLOCK_BOOTTIME));
  const int64_t coarse = Now(CLOCK_MONOTONIC_COARSE);
  EXPECT_LE(coarse, Now(CLOCK_MONOTONIC));
}

TEST(Clocks, Resolutions) {
  timespec res = {};
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI,
                                CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID}) {
    EXPECT_THAT(syscall(SYS_clock_getres, clock, &res), Returns(0));
    EXPECT_EQ(Ns(res), 1) << clock;
  }
  EXPECT_THAT(syscall(SYS_clock_getres, CLOCK_REALTIME_COARSE, &res), Returns(0));
  EXPECT_GE(Ns(res), 1 * kMs);
  EXPECT_THAT(syscall(SYS_clock_getres, CLOCK_MONOTONIC, nullptr), Returns(0));
  EXPECT_THAT(syscall(SYS_clock_getres, 99, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_getres, CLOCK_MONOTONIC, 8), FailsWith(EFAULT));
}

TEST(Clocks, UnknownOnes) {
  timespec now;
  for (const int clock : {10, 12, 16, 99, 1000}) {
    EXPECT_THAT(syscall(SYS_clock_gettime, clock, &now), FailsWith(EINVAL)) << clock;
  }
  EXPECT_THAT(syscall(SYS_clock_gettime, ProcessClock(0x3ffffff), &now), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_gettime, ThreadClock(0x3ffffff), &now), FailsWith(EINVAL));
}

TEST(CpuClocks, OwnByNumberAndByName) {
  const int64_t by_name = Now(CLOCK_PROCESS_CPUTIME_ID);
  const int64_t by_number = Now(ProcessClock(getpid()));
  EXPECT_GE(by_number, by_name);
  EXPECT_GE(Now(ProcessClock(0)), by_number);
  clockid_t clock;
  EXPECT_EQ(clock_getcpuclockid(getpid(), &clock), 0);
  EXPECT_GT(Now(clock), 0);
}

TEST(CpuClocks, OfAChild) {
  Pipe ready, gate;
  const pid_t child = Start([&] {
    Burn(30 * kMs);
    Post(ready.write.get());
    Await(gate.read.get());
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  EXPECT_GE(Now(ProcessClock(child)), 30 * kMs);
  Post(gate.write.get());
  EXPECT_THAT(Wait(child), Exited(0));
  timespec now;
  EXPECT_THAT(syscall(SYS_clock_gettime, ProcessClock(child), &now), FailsWith(EINVAL));
}

TEST(CpuClocks, OfAThreadIsItsOwn) {
  // The thread works, this one waits: their clocks tell them apart.
  const int64_t mine = Now(CLOCK_THREAD_CPUTIME_ID);
  pthread_t thread;
  static int64_t used;
  pthread_create(&thread, nullptr, [](void*) -> void* {
    Burn(80 * kMs);
    used = Now(CLOCK_THREAD_CPUTIME_ID);
    return nullptr;
  }, nullptr);
  pthread_join(thread, nullptr);
  EXPECT_GE(used, 80 * kMs);
  EXPECT_LT(Now(CLOCK_THREAD_CPUTIME_ID) - mine, 60 * kMs);
  EXPECT_GE(Now(CLOCK_PROCESS_CPUTIME_ID), used);
}

TEST(CpuClocks, OfAnotherThread) {
  Pipe ready, gate;
  struct Arg {
    int ready, gate;
    pid_t tid;
  } arg = {ready.write.get(), gate.read.get(), 0};
  pthread_t thread;
  pthread_create(&thread, nullptr, [](void* raw) -> void* {
    auto* arg = static_cast<Arg*>(raw);
    arg->tid = gettid();
    Burn(60 * kMs);
    Post(arg->ready);
    Await(arg->gate);
    return nullptr;
  }, &arg);
  ASSERT_TRUE(Await(ready.read.get()));
  const int64_t theirs = Now(ThreadClock(arg.tid));
  EXPECT_GE(theirs, 60 * kMs);
  clockid_t clock;
  EXPECT_EQ(pthread_getcpuclockid(thread, &clock), 0);
  EXPECT_GE(Now(clock), theirs);
  // The main thread's is another.
  EXPECT_LE(Now(ThreadClock(getpid())), Now(CLOCK_PROCESS_CPUTIME_ID));
  // A thread of another process is not for us to see.
  EXPECT_THAT(InChild([&] {
    timespec now;
    return syscall(SYS_clock_gettime, ThreadClock(arg.tid), &now) == -1 && errno == EINVAL ? 0 : 1;
  }), Exited(0));
  Post(gate.write.get());
  pthread_join(thread, nullptr);
}

TEST(CpuClocks, UserTimeAndAllTime) {
  // Kinds 0 (user and system), 1 (user) and 2 (the scheduler's).
  Burn(30 * kMs);
  const int64_t all = Now(ProcessClock(0, 0)), user = Now(ProcessClock(0, 1));
  EXPECT_GT(all, 0);
  EXPECT_LE(user, Now(ProcessClock(0, 0)));
}

TEST(CpuClocks, KeptAcrossExec) {
  EXPECT_THAT(InChild([] {
    Burn(50 * kMs);
    execl("/bin/sh", "sh", "-c",
          "set -- $(times); case $1 in 0m0.0[0-3]*) exit 1;; esac; exit 0", nullptr);
    return 200;
  }), testing::AnyOf(Exited(0), Exited(1)));
}

TEST(ClockSettings, NeedPrivilegeAndSense) {
  const timespec bad = {0, 1'000'000'000}, now = Spec(Now(CLOCK_MONOTONIC));
  EXPECT_THAT(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &now), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_settime, 99, &now), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_settime, CLOCK_REALTIME, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_clock_settime, CLOCK_REALTIME, &bad), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_settime, CLOCK_PROCESS_CPUTIME_ID, &now), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_settime, ProcessClock(getpid()), &now), FailsWith(EPERM));
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
    timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    CHILD_CHECK(syscall(SYS_clock_settime, CLOCK_REALTIME, &real) == -1 && errno == EPERM);
    const timeval time = {real.tv_sec, 0};
    CHILD_CHECK(syscall(SYS_settimeofday, &time, nullptr) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
  const timeval bad_time = {0, 1'000'000};
  EXPECT_THAT(syscall(SYS_settimeofday, &bad_time, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_settimeofday, 8, nullptr), FailsWith(EFAULT));
}

TEST(ClockSettings, AdjtimexReads) {
  timex state = {};
  const int result = adjtimex(&state);
  EXPECT_THAT(result, testing::AllOf(testing::Ge(TIME_OK), testing::Le(TIME_ERROR)));
  EXPECT_GT(state.tick, 5000);
  EXPECT_LT(state.tick, 20000);
  timeval now;
  gettimeofday(&now, nullptr);
  EXPECT_LE(std::abs(now.tv_sec - state.time.tv_sec), 5);
  EXPECT_THAT(syscall(SYS_adjtimex, 8), FailsWith(EFAULT));
}

TEST(ClockSettings, ClockAdjtimeReads) {
  timex state = {};
  EXPECT_THAT(clock_adjtime(CLOCK_REALTIME, &state), testing::Ge(0));
  EXPECT_GT(state.tick, 5000);
  EXPECT_THAT(clock_adjtime(CLOCK_MONOTONIC, &state), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(clock_adjtime(99, &state), FailsWith(EINVAL));
}

TEST(ClockSettings, AdjustingNeedsPrivilege) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
    timex state = {};
    CHILD_CHECK(adjtimex(&state) >= 0);
    state.modes = ADJ_TICK;
    CHILD_CHECK(adjtimex(&state) == -1 && errno == EPERM);
    CHILD_CHECK(clock_adjtime(CLOCK_REALTIME, &state) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
}

TEST(SleepOn, EachHostClock) {
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI}) {
    const int64_t begin = Now(CLOCK_MONOTONIC);
    const timespec pause = Spec(10 * kMs);
    EXPECT_EQ(clock_nanosleep(clock, 0, &pause, nullptr), 0) << clock;
    EXPECT_GE(Now(CLOCK_MONOTONIC) - begin, 10 * kMs) << clock;
    const timespec until = Spec(Now(clock) + 10 * kMs);
    EXPECT_EQ(clock_nanosleep(clock, TIMER_ABSTIME, &until, nullptr), 0) << clock;
    EXPECT_GE(Now(clock), Ns(until)) << clock;
  }
}

TEST(SleepOn, ThePastIsOver) {
  const timespec past = {1, 0};
  for (const clockid_t clock : {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME}) {
    EXPECT_EQ(clock_nanosleep(clock, TIMER_ABSTIME, &past, nullptr), 0);
  }
}

TEST(SleepOn, RawErrors) {
  const timespec none = {}, bad = {0, -1};
  for (const clockid_t clock : {CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_REALTIME_COARSE,
                                CLOCK_THREAD_CPUTIME_ID}) {
    EXPECT_THAT(syscall(SYS_clock_nanosleep, clock, 0, &none, nullptr), FailsWith(EOPNOTSUPP));
  }
  EXPECT_THAT(syscall(SYS_clock_nanosleep, 99, 0, &none, nullptr), FailsWith(EINVAL));
  // Its own time does not pass while a thread sleeps; and a descriptor may be no clock.
  clockid_t own, device = (~0 << 3) | 3;
  pthread_getcpuclockid(pthread_self(), &own);
  EXPECT_THAT(syscall(SYS_clock_nanosleep, own, 0, &none, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_nanosleep, (~0 << 3) | 6, 0, &none, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_nanosleep, device, 0, &none, nullptr), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(syscall(SYS_timer_create, device, nullptr, &own), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &bad, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, 8, nullptr), FailsWith(EFAULT));
}

TEST(SleepOn, TheProcessesCpuClock) {
  // Another thread makes the clock go.
  static volatile int stop;
  stop = 0;
  pthread_t thread;
  pthread_create(&thread, nullptr, [](void*) -> void* {
    while (stop == 0) {
    }
    return nullptr;
  }, nullptr);
  const int64_t begin = Now(CLOCK_PROCESS_CPUTIME_ID);
  const timespec pause = Spec(30 * kMs);
  EXPECT_THAT(syscall(SYS_clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, 0, &pause, nullptr), Returns(0));
  EXPECT_GE(Now(CLOCK_PROCESS_CPUTIME_ID) - begin, 30 * kMs);
  const timespec until = Spec(Now(CLOCK_PROCESS_CPUTIME_ID) + 20 * kMs);
  EXPECT_THAT(syscall(SYS_clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &until, nullptr),
              Returns(0));
  EXPECT_GE(Now(CLOCK_PROCESS_CPUTIME_ID), Ns(until));
  stop = 1;
  pthread_join(thread, nullptr);
}

TEST(SleepOn, ACpuClockIsInterruptedWithTheRest) {
  const pid_t child = Start([] {
    ScopedAction action(SIGUSR1, [](int) {});
    const timespec pause = Spec(5000 * kMs);
    timespec left = {};
    CHILD_CHECK(syscall(SYS_clock_nanosleep, CLOCK_PROCESS_CPUTIME_ID, 0, &pause, &left) == -1);
    CHILD_CHECK(errno == EINTR);
    CHILD_CHECK(Ns(left) > 4000 * kMs && Ns(left) <= 5000 * kMs);
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGUSR1);
  EXPECT_THAT(Wait(child), Exited(0));
}

int64_t Us(const timeval& time) { return time.tv_sec * 1'000'000 + time.tv_usec; }

void BurnSystem(int64_t ns) {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  const int fd = open("/dev/zero", O_RDONLY);
  static char buffer[1 << 16];
  for (const int64_t end = Ns(now) + ns; Ns(now) < end;) {
    (void)!read(fd, buffer, sizeof buffer);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  }
  close(fd);
}

TEST(Accounting, OfAChildIsSplit) {
  // Linux measures the sum and guesses the parts, by where ticks find the child. On a busy machine
  // they come late, when it has just been switched to: system time. Not every time, though.
  int64_t all = 0;
  rusage usage = {};
  for (int attempt = 0; attempt < 20; ++attempt) {
    const pid_t child = Start([] {
      Burn(150 * kMs);
      return 0;
    });
    ASSERT_THAT(wait4(child, nullptr, 0, &usage), Returns(child));
    all = Us(usage.ru_utime) + Us(usage.ru_stime);
    EXPECT_GT(all, 145'000);
    EXPECT_GT(usage.ru_maxrss, 500) << "in KiB";
    if (Us(usage.ru_utime) > all * 2 / 3) break;
  }
  EXPECT_GT(Us(usage.ru_utime), all * 2 / 3) << "pure computing is user time";
}

TEST(Accounting, FaultsAndSizeOfAChild) {
  rusage usage = {};
  const pid_t child = Start([] {
    constexpr size_t kSize = 32 << 20;
    std::string block(kSize, 'x');
    return block[kSize / 2] == 'x' ? 0 : 1;
  });
  EXPECT_THAT(wait4(child, nullptr, 0, &usage), Returns(child));
  EXPECT_GT(usage.ru_maxrss, 32 << 10);
  EXPECT_GT(usage.ru_minflt, 10);
}

TEST(Accounting, ChildrenAddUp) {
  rusage before = {}, after = {};
  ASSERT_THAT(getrusage(RUSAGE_CHILDREN, &before), Returns(0));
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(InChild([] {
      Burn(50 * kMs);
      return 0;
    }), Exited(0));
  }
  ASSERT_THAT(getrusage(RUSAGE_CHILDREN, &after), Returns(0));
  EXPECT_GE(Us(after.ru_utime) + Us(after.ru_stime) - Us(before.ru_utime) - Us(before.ru_stime),
            90'000);
  EXPECT_GT(after.ru_maxrss, 500);
}

TEST(Accounting, GrandchildrenCountWhenTheyAreWaitedFor) {
  rusage usage = {};
  const pid_t child = Start([] {
    return WEXITSTATUS(InChild([] {
      Burn(60 * kMs);
      return 0;
    }));
  });
  EXPECT_THAT(wait4(child, nullptr, 0, &usage), Returns(child));
  EXPECT_GE(Us(usage.ru_utime) + Us(usage.ru_stime), 55'000);
}

TEST(Accounting, UnwaitedChildrenDoNotCount) {
  EXPECT_THAT(InChild([] {
    Pipe gate;
    const pid_t child = Start([&] {
      Burn(60 * kMs);
      Post(gate.write.get());
      for (;;) pause();
      return 0;
    });
    Await(gate.read.get());
    rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    CHILD_CHECK(Us(usage.ru_utime) + Us(usage.ru_stime) == 0);
    kill(child, SIGKILL);
    Wait(child);
    getrusage(RUSAGE_CHILDREN, &usage);
    CHILD_CHECK(Us(usage.ru_utime) + Us(usage.ru_stime) >= 55'000);
    return 0;
  }), Exited(0));
}

TEST(Accounting, IgnoredChildrenDoNotCount) {
  EXPECT_THAT(InChild([] {
    signal(SIGCHLD, SIG_IGN);
    const pid_t child = Start([] {
      Burn(40 * kMs);
      return 0;
    });
    CHILD_CHECK(waitpid(child, nullptr, 0) == -1 && errno == ECHILD);
    rusage usage;
    getrusage(RUSAGE_CHILDREN, &usage);
    CHILD_CHECK(Us(usage.ru_utime) + Us(usage.ru_stime) == 0);
    return 0;
  }), Exited(0));
}

TEST(Accounting, OfOneThread) {
  rusage mine = {}, all = {};
  pthread_t thread;
  pthread_create(&thread, nullptr, [](void*) -> void* {
    Burn(100 * kMs);
    return nullptr;
  }, nullptr);
  pthread_join(thread, nullptr);
  ASSERT_THAT(getrusage(RUSAGE_THREAD, &mine), Returns(0));
  ASSERT_THAT(getrusage(RUSAGE_SELF, &all), Returns(0));
  EXPECT_GE(Us(all.ru_utime) + Us(all.ru_stime), 100'000);
  EXPECT_LE(Us(mine.ru_utime), Us(all.ru_utime) + Us(all.ru_stime));
  EXPECT_THAT(syscall(SYS_getrusage, RUSAGE_SELF, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_getrusage, 2, &all), FailsWith(EINVAL));
}

TEST(Accounting, SurvivesExec) {
  // What was used before execve belongs to the process.
  rusage usage = {};
  const pid_t child = Start([] {
    Burn(80 * kMs);
    execl("/bin/true", "true", nullptr);
    return 200;
  });
  EXPECT_THAT(wait4(child, nullptr, 0, &usage), Returns(child));
  EXPECT_GE(Us(usage.ru_utime) + Us(usage.ru_stime), 75'000);
}

TEST(Accounting, TimesTellsChildrenApart) {
  tms before = {}, after = {};
  times(&before);
  EXPECT_THAT(InChild([] {
    Burn(80 * kMs);
    return 0;
  }), Exited(0));
  EXPECT_NE(times(&after), -1);
  EXPECT_GE(after.tms_cutime + after.tms_cstime - before.tms_cutime - before.tms_cstime, 6);
  EXPECT_GT(after.tms_cutime, before.tms_cutime);
  EXPECT_THAT(syscall(SYS_times, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_times, nullptr), Succeeds());
}

TEST(Accounting, SystemTimeIsNotZero) {
  rusage usage = {};
  const pid_t child = Start([] {
    for (int i = 0; i < 200; ++i) {
      std::string block(1 << 20, 'x');
      if (block[5] != 'x') return 1;
    }
    BurnSystem(20 * kMs);
    return 0;
  });
  EXPECT_THAT(wait4(child, nullptr, 0, &usage), Returns(child));
  EXPECT_GT(Us(usage.ru_utime) + Us(usage.ru_stime), 15'000);
}

TEST(System, SysinfoIsConsistent) {
  struct sysinfo info = {};
  ASSERT_THAT(sysinfo(&info), Returns(0));
  EXPECT_LE(info.freeram, info.totalram);
  EXPECT_GE(info.mem_unit, 1u);
  EXPECT_GT(info.procs, 0);
  EXPECT_LE(info.freeswap, info.totalswap);
  EXPECT_LE(std::abs(info.uptime - Now(CLOCK_BOOTTIME) / 1'000'000'000), 3);
  EXPECT_THAT(syscall(SYS_sysinfo, 8), FailsWith(EFAULT));
}

TEST(System, RandomBytes) {
  char a[64] = {}, b[64] = {};
  for (const unsigned flags : {0u, 1u, 2u, 3u, 4u, 5u}) {
    EXPECT_THAT(syscall(SYS_getrandom, a, sizeof a, flags), Returns(sizeof a)) << flags;
    EXPECT_NE(memcmp(a, b, sizeof a), 0);
    memcpy(b, a, sizeof a);
  }
  EXPECT_THAT(syscall(SYS_getrandom, a, 8, 6), FailsWith(EINVAL)) << "GRND_RANDOM | GRND_INSECURE";
  EXPECT_THAT(syscall(SYS_getrandom, a, 8, 8), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_getrandom, 8, 8, 0), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_getrandom, a, 0, 0), Returns(0));
  std::string large(1 << 20, 0);
  EXPECT_THAT(syscall(SYS_getrandom, large.data(), large.size(), 0), Returns(1 << 20));
  EXPECT_NE(large.back() + large[large.size() - 2] + large[large.size() - 3] + large[1000], 0);
}

}  // namespace
