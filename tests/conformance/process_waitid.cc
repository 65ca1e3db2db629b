// wait4(2) and waitid(2) in every form, subreapers, sessions and process groups, prctl(2),
// personality(2) and the limits of getrlimit(2).
#include <pthread.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "tests/conformance/support.h"

namespace {

constexpr int kWaitNoThread = 0x20000000, kWaitAll = 0x40000000;
constexpr int kWaitClone = static_cast<int>(0x80000000u);

int Forever() {
  for (;;) pause();
  return 0;
}
long RawWaitid(int type, int id, siginfo_t* info, int options, rusage* usage = nullptr) {
  return syscall(SYS_waitid, type, id, info, options, usage);
}

TEST(WaitErrors, Options) {
  EXPECT_THAT(waitpid(-1, nullptr, 0x1000), FailsWith(EINVAL));
  EXPECT_THAT(waitpid(-1, nullptr, WEXITED), FailsWith(EINVAL)) << "waitid's";
  EXPECT_THAT(waitpid(-1, nullptr, WNOWAIT), FailsWith(EINVAL));
  EXPECT_THAT(waitpid(INT32_MIN, nullptr, 0), FailsWith(ESRCH));
  siginfo_t info;
  EXPECT_THAT(RawWaitid(P_ALL, 0, &info, 0), FailsWith(EINVAL)) << "nothing to wait for";
  EXPECT_THAT(RawWaitid(P_ALL, 0, &info, WNOHANG), FailsWith(EINVAL));
  EXPECT_THAT(RawWaitid(P_ALL, 0, &info, WEXITED | 0x1000), FailsWith(EINVAL));
  EXPECT_THAT(RawWaitid(7, 0, &info, WEXITED), FailsWith(EINVAL));
  EXPECT_THAT(RawWaitid(P_PID, 0, &info, WEXITED), FailsWith(EINVAL));
  EXPECT_THAT(RawWaitid(P_PID, -1, &info, WEXITED), FailsWith(EINVAL));
  EXPECT_THAT(RawWaitid(P_PGID, -1, &info, WEXITED), FailsWith(EINVAL));
  EXPECT_THAT(RawWaitid(P_PIDFD, -1, &info, WEXITED), FailsWith(EINVAL));
}

TEST(WaitErrors, TheInfoIsWrittenNevertheless) {
  siginfo_t info;
  memset(&info, 0x55, sizeof(info));
  EXPECT_THAT(waitid(P_PID, 0x3fffff, &info, WEXITED), FailsWith(ECHILD));
  EXPECT_EQ(info.si_signo, 0);
  EXPECT_EQ(info.si_pid, 0);
  auto* const bad = reinterpret_cast<siginfo_t*>(8);
  EXPECT_THAT(waitid(P_PID, 0x3fffff, bad, WEXITED), FailsWith(EFAULT));
  EXPECT_THAT(waitid(P_PID, 0x3fffff, bad, 0), FailsWith(EFAULT));
}

TEST(WaitErrors, NotAChild) {
  siginfo_t info;
  EXPECT_THAT(RawWaitid(P_PID, 1, &info, WEXITED), FailsWith(ECHILD));
  EXPECT_THAT(RawWaitid(P_PID, getpid(), &info, WEXITED), FailsWith(ECHILD));
  EXPECT_THAT(RawWaitid(P_PGID, 0x3ffffff, &info, WEXITED | WNOHANG), FailsWith(ECHILD));
  EXPECT_THAT(waitpid(-0x3ffffff, nullptr, WNOHANG), FailsWith(ECHILD));
}

TEST(WaitidForms, AnyOfAll) {
  const pid_t child = Start([] { return 3; });
  siginfo_t info = {};
  EXPECT_THAT(RawWaitid(P_ALL, 77, &info, WEXITED), Returns(0)) << "the id does not matter";
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EQ(info.si_uid, getuid());
  EXPECT_EQ(info.si_status, 3);
  EXPECT_EQ(info.si_errno, 0);
}

TEST(WaitidForms, ByGroup) {
  const pid_t child = Start([] { return 4; });
  siginfo_t info = {};
  EXPECT_THAT(RawWaitid(P_PGID, 0, &info, WEXITED), Returns(0)) << "0: the caller's (Linux 5.4)";
  EXPECT_EQ(info.si_pid, child);
  const pid_t other = Start(Forever);
  ASSERT_THAT(setpgid(other, other), Returns(0));
  EXPECT_THAT(RawWaitid(P_PGID, 0, &info, WEXITED | WNOHANG), FailsWith(ECHILD));
  kill(other, SIGKILL);
  EXPECT_THAT(RawWaitid(P_PGID, other, &info, WEXITED), Returns(0));
  EXPECT_EQ(info.si_code, CLD_KILLED);
}

TEST(WaitidForms, WithoutInfo) {
  const pid_t child = Start([] { return 0; });
  EXPECT_THAT(RawWaitid(P_PID, child, nullptr, WEXITED), Returns(0));
  EXPECT_THAT(waitpid(child, nullptr, 0), FailsWith(ECHILD));
}

TEST(WaitidForms, BadPointersStillReap) {
  const pid_t child = Start([] { return 0; });
  EXPECT_THAT(syscall(SYS_waitid, P_PID, child, 8, WEXITED, nullptr), FailsWith(EFAULT));
  EXPECT_THAT(waitpid(child, nullptr, 0), FailsWith(ECHILD));
}

TEST(WaitidForms, Usage) {
  const pid_t child = Start([] { return 0; });
  rusage usage;
  memset(&usage, 0xff, sizeof usage);
  siginfo_t info;
  EXPECT_THAT(RawWaitid(P_PID, child, &info, WEXITED, &usage), Returns(0));
  EXPECT_GE(usage.ru_utime.tv_sec, 0);
  EXPECT_GT(usage.ru_maxrss, 0);
}

TEST(WaitidForms, NoWaitOfADeathRepeats) {
  const pid_t child = Start([] { return 5; });
  siginfo_t info = {};
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(RawWaitid(P_PID, child, &info, WEXITED | WNOWAIT), Returns(0));
    EXPECT_EQ(info.si_status, 5);
  }
  EXPECT_THAT(Wait(child), Exited(5));
}

// A child that reports with `signal` instead of SIGCHLD.
pid_t CloneWithSignal(int signal) {
  return static_cast<pid_t>(syscall(SYS_clone, signal, nullptr, nullptr, nullptr, nullptr));
}

TEST(CloneChildren, AreSeenWithWcloneOnly) {
  const pid_t child = CloneWithSignal(0);
  if (child == 0) _exit(8);
  EXPECT_THAT(waitpid(child, nullptr, WNOHANG), FailsWith(ECHILD));
  int status = 0;
  EXPECT_THAT(waitpid(child, &status, kWaitClone), Returns(child));
  EXPECT_THAT(status, Exited(8));
}

TEST(CloneChildren, OrdinaryOnesAreNotSeenWithWclone) {
  const pid_t child = Start([] { return 0; });
  EXPECT_THAT(waitpid(child, nullptr, kWaitClone | WNOHANG), FailsWith(ECHILD));
  int status;
  EXPECT_THAT(waitpid(child, &status, kWaitAll), Returns(child));
}

TEST(CloneChildren, AllSeesBoth) {
  ScopedBlock block({SIGUSR2});
  const pid_t odd = CloneWithSignal(SIGUSR2);
  if (odd == 0) _exit(1);
  const pid_t plain = Start([] { return 2; });
  int sum = 0;
  for (int i = 0; i < 2; ++i) {
    int status = 0;
    EXPECT_THAT(waitpid(-1, &status, kWaitAll), testing::AnyOf(odd, plain));
    sum += WEXITSTATUS(status);
  }
  EXPECT_EQ(sum, 3);
  const sigset_t set = SetOf({SIGUSR2});
  const timespec patience = {5, 0};
  EXPECT_THAT(sigtimedwait(&set, nullptr, &patience), Returns(SIGUSR2));
}

TEST(WaitNoThread, SeesOwnChildrenOnly) {
  static pid_t child;
  pthread_t thread;
  static int result[3];
  child = Start(Forever);
  pthread_create(
      &thread, nullptr,
      [](void*) -> void* {
        result[0] = waitpid(child, nullptr, WNOHANG | kWaitNoThread) == -1 ? errno : 0;
        result[1] = waitpid(child, nullptr, WNOHANG);
        const pid_t own = fork();
        if (own == 0) _exit(0);
        result[2] = waitpid(own, nullptr, kWaitNoThread) == own;
        return nullptr;
      },
      nullptr);
  pthread_join(thread, nullptr);
  EXPECT_EQ(result[0], ECHILD);
  EXPECT_EQ(result[1], 0);
  EXPECT_EQ(result[2], 1);
  kill(child, SIGKILL);
  EXPECT_THAT(waitpid(child, nullptr, kWaitNoThread), Returns(child));
}

TEST(Reaping, DescendantsGoToTheNearestSubreaper) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
                int is = 0;
                CHILD_CHECK(prctl(PR_GET_CHILD_SUBREAPER, &is) == 0 && is == 1);
                Pipe told, gate;
                const pid_t middle = Start([&] {
                  int inherited = 1;
                  CHILD_CHECK(prctl(PR_GET_CHILD_SUBREAPER, &inherited) == 0 && inherited == 0);
                  const pid_t grandchild = fork();
                  if (grandchild == 0) {
                    Await(gate.read.get());
                    _exit(getppid() & 0x7f);
                  }
                  return write(told.write.get(), &grandchild, sizeof grandchild) > 0 ? 0 : 1;
                });
                CHILD_CHECK(Wait(middle) == 0);
                pid_t grandchild;
                CHILD_CHECK(read(told.read.get(), &grandchild, sizeof grandchild) > 0);
                Post(gate.write.get());
                return WEXITSTATUS(Wait(grandchild)) == (getpid() & 0x7f) ? 0 : 1;
              }),
              Exited(0));
}

TEST(Reaping, AZombieIsHandedOn) {
  EXPECT_THAT(InChild([] {
                prctl(PR_SET_CHILD_SUBREAPER, 1);
                Pipe told;
                const pid_t middle = Start([&] {
                  const pid_t grandchild = fork();
                  if (grandchild == 0) _exit(21);
                  WaitForState(grandchild, 'Z');
                  return write(told.write.get(), &grandchild, sizeof grandchild) > 0 ? 0 : 1;
                });
                CHILD_CHECK(Wait(middle) == 0);
                pid_t grandchild;
                CHILD_CHECK(read(told.read.get(), &grandchild, sizeof grandchild) > 0);
                return WEXITSTATUS(Wait(grandchild));
              }),
              Exited(21));
}

TEST(Sessions, Rules) {
  EXPECT_THAT(getsid(0x3ffffff), FailsWith(ESRCH));
  EXPECT_THAT(getpgid(0x3ffffff), FailsWith(ESRCH));
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setsid() == getpid());
                CHILD_CHECK(setsid() == -1 && errno == EPERM);
                CHILD_CHECK(setpgid(0, 0) == -1 && errno == EPERM);
                Pipe gate;
                const pid_t child = Start([&] { return Await(gate.read.get()) ? 0 : 1; });
                CHILD_CHECK(getsid(child) == getpid());
                CHILD_CHECK(setpgid(child, 0) == 0 && getpgid(child) == child);
                CHILD_CHECK(setpgid(child, getpid()) == 0 && getpgid(child) == getpid());
                Post(gate.write.get());
                return WEXITSTATUS(Wait(child));
              }),
              Exited(0));
}

TEST(Sessions, AChildInAnotherSessionIsOutOfReach) {
  Pipe ready;
  const pid_t child = Start([&] {
    setsid();
    Post(ready.write.get());
    return Forever();
  });
  ASSERT_TRUE(Await(ready.read.get()));
  EXPECT_THAT(setpgid(child, getpgrp()), FailsWith(EPERM));
  EXPECT_THAT(getsid(child), Returns(child));
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

TEST(Sessions, AGroupOfAnotherSessionCannotBeJoined) {
  Pipe ready;
  const pid_t stranger = Start([&] {
    setsid();
    Post(ready.write.get());
    return Forever();
  });
  ASSERT_TRUE(Await(ready.read.get()));
  EXPECT_THAT(InChild([&] { return setpgid(0, stranger) == -1 && errno == EPERM ? 0 : 1; }),
              Exited(0));
  kill(stranger, SIGKILL);
  EXPECT_THAT(Wait(stranger), Killed(SIGKILL));
}

TEST(Sessions, AGroupOfNobodysOwn) {
  EXPECT_THAT(setpgid(-1, 0), FailsWith(EINVAL));
  EXPECT_THAT(setpgid(0, -1), FailsWith(EINVAL));
  EXPECT_THAT(setpgid(-1, 1), FailsWith(ESRCH));
}

TEST(Sessions, AZombiesGroupStillExists) {
  const pid_t leader = Start([] { return setpgid(0, 0); });
  ASSERT_TRUE(WaitForState(leader, 'Z'));
  EXPECT_THAT(getpgid(leader), Returns(leader));
  EXPECT_THAT(kill(-leader, 0), Returns(0));
  EXPECT_THAT(Wait(leader), Exited(0));
  EXPECT_THAT(kill(-leader, 0), FailsWith(ESRCH));
}

TEST(PrctlFamily, DeathSignal) {
  EXPECT_THAT(prctl(PR_SET_PDEATHSIG, 65), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_SET_PDEATHSIG, -1), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_GET_PDEATHSIG, 8), FailsWith(EFAULT));
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(prctl(PR_SET_PDEATHSIG, SIGUSR1) == 0);
                // Not inherited.
                return WEXITSTATUS(InChild([] {
                  int now = 1;
                  prctl(PR_GET_PDEATHSIG, &now);
                  return now;
                }));
              }),
              Exited(0));
}

TEST(PrctlFamily, DeathSignalIsClearedByChangingIds) {
  for (const int how : {0, 1, 2}) {
    EXPECT_THAT(InChild([how] {
                  prctl(PR_SET_PDEATHSIG, SIGUSR1);
                  if (how == 0) CHILD_CHECK(setresuid(-1, 65534, -1) == 0);
                  if (how == 1) CHILD_CHECK(setresgid(-1, 65534, -1) == 0);
                  if (how == 2)
                    CHILD_CHECK(setresuid(-1, -1, 65534) == 0);  // Not the effective one.
                  int now = 0;
                  prctl(PR_GET_PDEATHSIG, &now);
                  return now;
                }),
                Exited(how == 2 ? SIGUSR1 : 0))
        << how;
  }
}

TEST(PrctlFamily, DumpableIsClearedByChangingIds) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(prctl(PR_GET_DUMPABLE) == 1);
                CHILD_CHECK(setresuid(-1, 65534, -1) == 0);
                CHILD_CHECK(prctl(PR_GET_DUMPABLE) == 0);
                CHILD_CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);
                CHILD_CHECK(prctl(PR_GET_DUMPABLE) == 1);
                CHILD_CHECK(prctl(PR_SET_DUMPABLE, 2) == -1 && errno == EINVAL);
                return 0;
              }),
              Exited(0));
}

TEST(PrctlFamily, UnusedArgumentsMustBeZero) {
  EXPECT_THAT(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_SET_THP_DISABLE, 1, 1, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_GET_SPECULATION_CTRL, 0, 1, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_MCE_KILL, 9, 0, 0, 0), FailsWith(EINVAL));
}

TEST(PrctlFamily, HugePagesCanBeDisabled) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0);
                CHILD_CHECK(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0);
                CHILD_CHECK(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1);
                return WEXITSTATUS(InChild([] { return prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0); }));
              }),
              Exited(1));
}

TEST(PrctlFamily, TimerSlack) {
  EXPECT_THAT(
      InChild([] {
        const int usual = prctl(PR_GET_TIMERSLACK);
        CHILD_CHECK(usual > 0);
        CHILD_CHECK(prctl(PR_SET_TIMERSLACK, 1234) == 0 && prctl(PR_GET_TIMERSLACK) == 1234);
        CHILD_CHECK(prctl(PR_SET_TIMERSLACK, 0) == 0 && prctl(PR_GET_TIMERSLACK) == usual);
        return 0;
      }),
      Exited(0));
}

TEST(PrctlFamily, MachineChecks) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_DEFAULT);
                CHILD_CHECK(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0) == 0);
                CHILD_CHECK(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_EARLY);
                CHILD_CHECK(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0) == 0);
                CHILD_CHECK(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0) == PR_MCE_KILL_DEFAULT);
                return 0;
              }),
              Exited(0));
}

TEST(PrctlFamily, TimeStampCounter) {
  EXPECT_THAT(InChild([] {
                int mode = 0;
                CHILD_CHECK(prctl(PR_GET_TSC, &mode) == 0 && mode == PR_TSC_ENABLE);
                CHILD_CHECK(prctl(PR_SET_TSC, 9) == -1 && errno == EINVAL);
                CHILD_CHECK(prctl(PR_SET_TSC, PR_TSC_SIGSEGV) == 0);
                CHILD_CHECK(prctl(PR_GET_TSC, &mode) == 0 && mode == PR_TSC_SIGSEGV);
                __builtin_ia32_rdtsc();
                return 0;
              }),
              Killed(SIGSEGV));
}

TEST(PrctlFamily, OtherMachinesOptions) {
  for (const int option :
       {PR_SET_UNALIGN, PR_GET_UNALIGN, PR_SET_FPEMU, PR_SET_FPEXC, PR_SET_ENDIAN, PR_SVE_GET_VL,
        PR_SET_FP_MODE, PR_PAC_RESET_KEYS, 12345}) {
    EXPECT_THAT(prctl(option, 0, 0, 0, 0), FailsWith(EINVAL)) << option;
  }
}

TEST(PrctlFamily, Timing) {
  EXPECT_THAT(prctl(PR_GET_TIMING), Returns(PR_TIMING_STATISTICAL));
  EXPECT_THAT(prctl(PR_SET_TIMING, PR_TIMING_STATISTICAL), Returns(0));
  EXPECT_THAT(prctl(PR_SET_TIMING, PR_TIMING_TIMESTAMP), FailsWith(EINVAL));
}

TEST(PrctlFamily, NameOfAThreadAndBadPointers) {
  EXPECT_THAT(prctl(PR_SET_NAME, 8), FailsWith(EFAULT));
  EXPECT_THAT(prctl(PR_GET_NAME, 8), FailsWith(EFAULT));
  EXPECT_THAT(prctl(PR_GET_CHILD_SUBREAPER, 8), FailsWith(EFAULT));
  uint64_t address = 0;
  EXPECT_THAT(prctl(PR_GET_TID_ADDRESS, &address), testing::AnyOf(Returns(0), FailsWith(EINVAL)));
}

TEST(PrctlFamily, SeccompModeIsOff) { EXPECT_THAT(prctl(PR_GET_SECCOMP), Returns(0)); }

TEST(Persona, QueryAndKeep) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(personality(0xffffffff) == 0);
                CHILD_CHECK(personality(ADDR_NO_RANDOMIZE) == 0);
                CHILD_CHECK(personality(0xffffffff) == ADDR_NO_RANDOMIZE);
                return WEXITSTATUS(
                    InChild([] { return personality(0xffffffff) == ADDR_NO_RANDOMIZE ? 0 : 1; }));
              }),
              Exited(0));
}

TEST(LimitRules, EveryResourceHasOne) {
  for (int resource = 0; resource < RLIM_NLIMITS; ++resource) {
    rlimit limit = {1, 0};
    EXPECT_THAT(getrlimit(static_cast<__rlimit_resource>(resource), &limit), Returns(0))
        << resource;
    EXPECT_LE(limit.rlim_cur, limit.rlim_max) << resource;
  }
  rlimit limit;
  EXPECT_THAT(syscall(SYS_getrlimit, RLIM_NLIMITS, &limit), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_getrlimit, RLIMIT_CPU, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_setrlimit, RLIMIT_CPU, 8), FailsWith(EFAULT));
}

TEST(LimitRules, HardOnesOnlyGoDownWithoutPrivilege) {
  EXPECT_THAT(InChild([] {
                const rlimit high = {100, 200}, low = {100, 150};
                CHILD_CHECK(setrlimit(RLIMIT_NPROC, &high) == 0);
                CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
                CHILD_CHECK(setrlimit(RLIMIT_NPROC, &low) == 0);
                CHILD_CHECK(setrlimit(RLIMIT_NPROC, &high) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(LimitRules, OfOthers) {
  Pipe ready;
  const pid_t child = Start([&] {
    CHILD_CHECK(setresuid(6001, 6001, 6001) == 0);
    Post(ready.write.get());
    return Forever();
  });
  ASSERT_TRUE(Await(ready.read.get()));
  const rlimit limit = {33, 44};
  rlimit old = {};
  EXPECT_THAT(prlimit(0x3ffffff, RLIMIT_NOFILE, nullptr, &old), FailsWith(ESRCH));
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(6002, 6002, 6002) == 0);
                CHILD_CHECK(prlimit(child, RLIMIT_NOFILE, nullptr, &old) == -1 && errno == EPERM);
                CHILD_CHECK(prlimit(child, RLIMIT_NOFILE, &limit, nullptr) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
  EXPECT_THAT(
      InChild([&] {
        CHILD_CHECK(setresuid(6001, 6001, 6001) == 0);
        CHILD_CHECK(prlimit(child, RLIMIT_NOFILE, &limit, &old) == 0);
        CHILD_CHECK(prlimit(child, RLIMIT_NOFILE, nullptr, &old) == 0 && old.rlim_cur == 33);
        return 0;
      }),
      Exited(0));
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

TEST(LimitEffects, Processes) {
  EXPECT_THAT(InChild([] {
                const rlimit limit = {1, 1};
                CHILD_CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0);
                CHILD_CHECK(setresuid(7001, 7001, 7001) == 0);
                CHILD_CHECK(fork() == -1 && errno == EAGAIN);
                return 0;
              }),
              Exited(0));
}

TEST(LimitEffects, FileSize) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(
      InChild([&] {
        const rlimit limit = {1000, 1000};
        CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        static volatile sig_atomic_t told;
        ScopedAction action(SIGXFSZ, [](int) { told = told + 1; });
        const std::string block(800, 'x');
        CHILD_CHECK(write(fd.get(), block.data(), 800) == 800);
        CHILD_CHECK(write(fd.get(), block.data(), 800) == 200);  // Up to the limit.
        CHILD_CHECK(told == 0);
        CHILD_CHECK(write(fd.get(), block.data(), 800) == -1 && errno == EFBIG && told == 1);
        CHILD_CHECK(ftruncate(fd.get(), 2000) == -1 && errno == EFBIG && told == 2);
        CHILD_CHECK(pwrite(fd.get(), "x", 1, 5000) == -1 && errno == EFBIG && told == 3);
        CHILD_CHECK(pwrite(fd.get(), "x", 1, 500) == 1);
        return 0;
      }),
      Exited(0));
}

TEST(LimitEffects, FileSizeKills) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(InChild([&] {
                const rlimit limit = {0, 0};
                setrlimit(RLIMIT_CORE, &limit);
                setrlimit(RLIMIT_FSIZE, &limit);
                (void)!write(fd.get(), "x", 1);
                return 0;
              }),
              Killed(SIGXFSZ));
}

TEST(LimitEffects, Descriptors) {
  EXPECT_THAT(InChild([] {
                const rlimit limit = {20, 20};
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
                CHILD_CHECK(dup2(0, 20) == -1 && errno == EBADF);
                CHILD_CHECK(fcntl(0, F_DUPFD, 20) == -1 && errno == EINVAL);
                while (dup(0) >= 0) {
                }
                CHILD_CHECK(errno == EMFILE);
                int fds[2];
                CHILD_CHECK(pipe(fds) == -1 && errno == EMFILE);
                CHILD_CHECK(syscall(SYS_pidfd_open, getpid(), 0) == -1 && errno == EMFILE);
                return 0;
              }),
              Exited(0));
}

TEST(LimitEffects, NicenessNeedsRoom) {
  EXPECT_THAT(InChild([] {
                const int before = getpriority(PRIO_PROCESS, 0);
                CHILD_CHECK(setresuid(7002, 7002, 7002) == 0);
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, before + 5) == 0);
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, before + 4) == -1 && errno == EACCES);
                CHILD_CHECK(getpriority(PRIO_PROCESS, 0) == before + 5);
                return 0;
              }),
              Exited(0));
}

TEST(Privileges, CallsOfTheSystemAreRefused) {
  EXPECT_THAT(
      InChild([] {
        CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
        CHILD_CHECK(vhangup() == -1 && errno == EPERM);
        CHILD_CHECK(syscall(SYS_reboot, 0xfee1dead, 672274793, 0, nullptr) == -1 && errno == EPERM);
        CHILD_CHECK(syscall(SYS_swapoff, "/none") == -1 && errno == EPERM);
        CHILD_CHECK(syscall(SYS_acct, nullptr) == -1 && errno == EPERM);
        CHILD_CHECK(sethostname("x", 1) == -1 && errno == EPERM);
        CHILD_CHECK(setdomainname("x", 1) == -1 && errno == EPERM);
        CHILD_CHECK(chroot("/") == -1 && errno == EPERM);
        CHILD_CHECK(syscall(SYS_pivot_root, "/", "/") == -1 && errno == EPERM);
        return 0;
      }),
      Exited(0));
}

}  // namespace
