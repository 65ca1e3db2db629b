// Queues of signals, their limit, what comes along with them, and who may send: signal(7), sigqueue(3),
// rt_sigqueueinfo(2), kill(2), sigwaitinfo(2).
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "tests/conformance/support.h"

namespace {

volatile sig_atomic_t g_count;
siginfo_t g_info;
void Count(int) { g_count = g_count + 1; }
void Record(int, siginfo_t* info, void*) {
  g_count = g_count + 1;
  g_info = *info;
}

class SignalQueues : public testing::Test {
 protected:
  void SetUp() override {
    g_count = 0;
    memset(&g_info, 0, sizeof g_info);
  }
};

long QueueInfo(pid_t pid, int sig, siginfo_t& info) {
  return syscall(SYS_rt_sigqueueinfo, pid, sig, &info);
}
long QueueInfo(pid_t pid, pid_t tid, int sig, siginfo_t& info) {
  return syscall(SYS_rt_tgsigqueueinfo, pid, tid, sig, &info);
}

siginfo_t InfoWithCode(int code, int value = 0) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  info.si_code = code;
  info.si_pid = 77;
  info.si_uid = 88;
  info.si_value.sival_int = value;
  return info;
}

bool IsPending(int signal) {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, signal) == 1;
}

// Takes one of `signals` without waiting; 0 when there is none.
int Take(std::initializer_list<int> signals, siginfo_t* info = nullptr) {
  const sigset_t set = SetOf(signals);
  const timespec none = {};
  // Not libc's function, which turns SI_TKILL into SI_USER.
  const long signal = syscall(SYS_rt_sigtimedwait, &set, info, &none, 8);
  return signal < 0 ? 0 : static_cast<int>(signal);
}

TEST_F(SignalQueues, LowestNumberFirstAndStandardBeforeRealTime) {
  ScopedBlock block({SIGRTMAX, SIGRTMIN, SIGUSR2, SIGHUP});
  for (const int signal : {SIGRTMAX, SIGRTMIN, SIGUSR2, SIGHUP}) kill(getpid(), signal);
  for (const int expected : {SIGHUP, SIGUSR2, SIGRTMIN, SIGRTMAX}) {
    EXPECT_EQ(Take({SIGRTMAX, SIGRTMIN, SIGUSR2, SIGHUP}), expected);
  }
  EXPECT_EQ(Take({SIGHUP}), 0);
}

TEST_F(SignalQueues, FaultSignalsGoFirst) {
  // SIGHUP is 1, SIGSEGV 11: a synchronous one overtakes.
  ScopedBlock block({SIGHUP, SIGSEGV});
  kill(getpid(), SIGHUP);
  kill(getpid(), SIGSEGV);
  EXPECT_EQ(Take({SIGHUP, SIGSEGV}), SIGSEGV);
  EXPECT_EQ(Take({SIGHUP, SIGSEGV}), SIGHUP);
}

TEST_F(SignalQueues, OwnBeforeTheProcess) {
  ScopedBlock block({SIGUSR1});
  kill(getpid(), SIGUSR1);
  syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
  siginfo_t info;
  EXPECT_EQ(Take({SIGUSR1}, &info), SIGUSR1);
  EXPECT_EQ(info.si_code, SI_TKILL);
  EXPECT_EQ(Take({SIGUSR1}, &info), SIGUSR1);
  EXPECT_EQ(info.si_code, SI_USER);
}

TEST_F(SignalQueues, FirstInfoOfAStandardSignalStays) {
  ScopedBlock block({SIGUSR1});
  sigqueue(getpid(), SIGUSR1, {.sival_int = 1});
  sigqueue(getpid(), SIGUSR1, {.sival_int = 2});
  siginfo_t info;
  EXPECT_EQ(Take({SIGUSR1}, &info), SIGUSR1);
  EXPECT_EQ(info.si_value.sival_int, 1);
  EXPECT_EQ(Take({SIGUSR1}), 0);
}

TEST_F(SignalQueues, KillOfARealTimeOneQueuesToo) {
  ScopedAction action(SIGRTMIN, Count);
  {
    ScopedBlock block({SIGRTMIN});
    for (int i = 0; i < 5; ++i) kill(getpid(), SIGRTMIN);
  }
  EXPECT_EQ(g_count, 5);
}

TEST_F(SignalQueues, ManyRealTimeOnesKeepTheirOrder) {
  constexpr int kMany = 500;
  ScopedBlock block({SIGRTMIN + 5});
  for (int i = 0; i < kMany; ++i) ASSERT_EQ(sigqueue(getpid(), SIGRTMIN + 5, {.sival_int = i}), 0);
  for (int i = 0; i < kMany; ++i) {
    siginfo_t info;
    ASSERT_EQ(Take({SIGRTMIN + 5}, &info), SIGRTMIN + 5);
    ASSERT_EQ(info.si_value.sival_int, i);
  }
}

TEST_F(SignalQueues, PointerValueArrivesWhole) {
  ScopedAction action(SIGUSR2, Record);
  int here;
  ASSERT_EQ(sigqueue(getpid(), SIGUSR2, {.sival_ptr = &here}), 0);
  EXPECT_EQ(g_info.si_value.sival_ptr, &here);
  EXPECT_EQ(g_info.si_uid, getuid());
}

TEST_F(SignalQueues, LimitHoldsBackQueuedOnesOnly) {
  EXPECT_THAT(InChild([] {
    // The count is the user's: another one than root has nothing pending.
    CHILD_CHECK(setresuid(54321, 54321, 54321) == 0);
    const rlimit limit = {4, 4};
    CHILD_CHECK(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
    sigset_t set = SetOf({SIGRTMIN, SIGRTMIN + 1, SIGUSR1});
    sigprocmask(SIG_BLOCK, &set, nullptr);
    int queued = 0;
    while (queued < 100 && sigqueue(getpid(), SIGRTMIN, {.sival_int = queued}) == 0) ++queued;
    CHILD_CHECK(errno == EAGAIN);
    CHILD_CHECK(queued == 4);
    // kill(2) works, without information.
    CHILD_CHECK(kill(getpid(), SIGUSR1) == 0);
    siginfo_t info;
    const timespec none = {};
    sigset_t usr1 = SetOf({SIGUSR1});
    CHILD_CHECK(sigtimedwait(&usr1, &info, &none) == SIGUSR1);
    // A taken one makes room.
    CHILD_CHECK(sigtimedwait(&set, &info, &none) == SIGRTMIN && info.si_value.sival_int == 0);
    CHILD_CHECK(sigqueue(getpid(), SIGRTMIN + 1, {.sival_int = 9}) == 0);
    CHILD_CHECK(sigqueue(getpid(), SIGRTMIN + 1, {.sival_int = 9}) == -1 && errno == EAGAIN);
    return 0;
  }), Exited(0));
}

TEST_F(SignalQueues, OverTheLimitKillOfARealTimeOneIsKeptOnce) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(setresuid(54322, 54322, 54322) == 0);
    const rlimit limit = {0, 0};
    CHILD_CHECK(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
    sigset_t set = SetOf({SIGRTMIN});
    sigprocmask(SIG_BLOCK, &set, nullptr);
    CHILD_CHECK(kill(getpid(), SIGRTMIN) == 0 && kill(getpid(), SIGRTMIN) == 0);
    siginfo_t info;
    memset(&info, 0xff, sizeof info);
    const timespec none = {};
    CHILD_CHECK(sigtimedwait(&set, &info, &none) == SIGRTMIN);
    CHILD_CHECK(info.si_code == SI_USER && info.si_pid == 0 && info.si_uid == 0);
    CHILD_CHECK(sigtimedwait(&set, &info, &none) == -1 && errno == EAGAIN);
    return 0;
  }), Exited(0));
}

TEST_F(SignalQueues, LimitCountsTheUsersProcessesTogether) {
  Pipe ready, done;
  EXPECT_THAT(InChild([&] {
    CHILD_CHECK(setresuid(54323, 54323, 54323) == 0);
    const rlimit limit = {3, 3};
    CHILD_CHECK(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
    sigset_t set = SetOf({SIGRTMIN});
    sigprocmask(SIG_BLOCK, &set, nullptr);
    const pid_t child = fork();
    if (child == 0) {
      Post(ready.write.get());
      Await(done.read.get());
      _exit(0);
    }
    Await(ready.read.get());
    CHILD_CHECK(sigqueue(child, SIGRTMIN, {}) == 0 && sigqueue(child, SIGRTMIN, {}) == 0);
    CHILD_CHECK(sigqueue(getpid(), SIGRTMIN, {}) == 0);
    CHILD_CHECK(sigqueue(getpid(), SIGRTMIN, {}) == -1 && errno == EAGAIN);
    Post(done.write.get());
    CHILD_CHECK(Wait(child) == 0);
    // What the dead one held is free again.
    CHILD_CHECK(sigqueue(getpid(), SIGRTMIN, {}) == 0);
    return 0;
  }), Exited(0));
}

TEST_F(SignalQueues, ToOneselfAnyCodeGoes) {
  ScopedAction action(SIGUSR1, Record);
  for (const int code : std::initializer_list<int>{SI_USER, SI_KERNEL, SI_QUEUE, SI_TIMER, SI_TKILL, -60, 5}) {
    g_count = 0;
    siginfo_t info = InfoWithCode(code, 3);
    EXPECT_THAT(QueueInfo(getpid(), SIGUSR1, info), Returns(0)) << code;
    EXPECT_EQ(g_count, 1);
    EXPECT_EQ(g_info.si_code, code);
    EXPECT_EQ(g_info.si_pid, 77);
    EXPECT_EQ(g_info.si_uid, 88u);
  }
}

TEST_F(SignalQueues, ToOthersOnlyQueuedCodes) {
  Pipe ready;
  const pid_t child = Start([&] {
    sigset_t set = SetOf({SIGUSR1, SIGUSR2});
    sigprocmask(SIG_BLOCK, &set, nullptr);
    Post(ready.write.get());
    siginfo_t info;
    set = SetOf({SIGUSR1});
    CHILD_CHECK(sigwaitinfo(&set, &info) == SIGUSR1);
    CHILD_CHECK(info.si_code == -60 && info.si_pid == 77 && info.si_value.sival_int == 5);
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  for (const int code : std::initializer_list<int>{SI_USER, SI_KERNEL, SI_TKILL, 5}) {
    siginfo_t info = InfoWithCode(code);
    EXPECT_THAT(QueueInfo(child, SIGUSR2, info), FailsWith(EPERM)) << code;
  }
  siginfo_t info = InfoWithCode(-60, 5);
  EXPECT_THAT(QueueInfo(child, SIGUSR1, info), Returns(0));
  EXPECT_THAT(Wait(child), Exited(0));
}

// Who one is is the thread: not even its own process may be told of a kill(2) that was none.
TEST_F(SignalQueues, ToOtherThreadsOnlyQueuedCodes) {
  Pipe gate;
  Thread other([&] { Await(gate.read.get()); });
  for (const int code : {SI_USER, SI_TKILL, SI_KERNEL}) {
    siginfo_t info = InfoWithCode(code);
    EXPECT_THAT(QueueInfo(getpid(), other.tid(), 0, info), FailsWith(EPERM)) << code;
    EXPECT_THAT(QueueInfo(getpid(), gettid(), 0, info), Returns(0)) << code;
    bool refused = false;
    Thread([&] { refused = QueueInfo(getpid(), 0, info) == -1 && errno == EPERM; }).Join();
    EXPECT_TRUE(refused) << code;
  }
  siginfo_t info = InfoWithCode(SI_QUEUE);
  EXPECT_THAT(QueueInfo(getpid(), other.tid(), 0, info), Returns(0));
  Post(gate.write.get());
}

TEST_F(SignalQueues, NobodyComesBeforeNoSuchSignal) {
  constexpr pid_t kNobody = 0x3fffff;
  siginfo_t info = InfoWithCode(SI_QUEUE);
  EXPECT_THAT(kill(kNobody, 65), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_tkill, kNobody, -1), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_tgkill, kNobody, gettid(), 65), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_tgkill, getpid(), kNobody, 65), FailsWith(ESRCH));
  EXPECT_THAT(QueueInfo(kNobody, 65, info), FailsWith(ESRCH));
  EXPECT_THAT(QueueInfo(kNobody, gettid(), 65, info), FailsWith(ESRCH));
  EXPECT_THAT(kill(getpid(), 65), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_tkill, gettid(), -1), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_tgkill, getpid(), gettid(), 65), FailsWith(EINVAL));
  EXPECT_THAT(QueueInfo(getpid(), 65, info), FailsWith(EINVAL));
}

TEST_F(SignalQueues, QueueErrors) {
  siginfo_t info = InfoWithCode(SI_QUEUE);
  EXPECT_THAT(QueueInfo(getpid(), 65, info), FailsWith(EINVAL));
  EXPECT_THAT(QueueInfo(0x3ffffff, SIGUSR1, info), FailsWith(ESRCH));
  EXPECT_THAT(QueueInfo(-1, SIGUSR1, info), FailsWith(ESRCH));
  EXPECT_THAT(QueueInfo(getpid(), 0, info), Returns(0));
  EXPECT_THAT(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, 8), FailsWith(EFAULT));
  EXPECT_THAT(QueueInfo(-1, gettid(), SIGUSR1, info), FailsWith(EINVAL));
  EXPECT_THAT(QueueInfo(getpid(), 0, SIGUSR1, info), FailsWith(EINVAL));
  EXPECT_THAT(QueueInfo(getpid(), 0x3ffffff, SIGUSR1, info), FailsWith(ESRCH));
  EXPECT_THAT(QueueInfo(getpid() == 1 ? 2 : 1, gettid(), 0, info), FailsWith(ESRCH));
}

TEST_F(SignalQueues, ToAThread) {
  ScopedAction action(SIGRTMIN + 3, Record);
  siginfo_t info = InfoWithCode(SI_QUEUE, 12);
  EXPECT_THAT(QueueInfo(getpid(), gettid(), SIGRTMIN + 3, info), Returns(0));
  EXPECT_EQ(g_info.si_value.sival_int, 12);
  EXPECT_EQ(g_info.si_code, SI_QUEUE);
}

TEST_F(SignalQueues, SignalNumberIsTheArguments) {
  ScopedAction action(SIGUSR1, Record);
  siginfo_t info = InfoWithCode(SI_QUEUE);
  info.si_signo = SIGUSR2;
  info.si_errno = 33;
  EXPECT_THAT(QueueInfo(getpid(), SIGUSR1, info), Returns(0));
  EXPECT_EQ(g_info.si_signo, SIGUSR1);
  EXPECT_EQ(g_info.si_errno, 33);
}

TEST_F(SignalQueues, KillErrors) {
  EXPECT_THAT(kill(INT32_MIN, SIGUSR1), FailsWith(ESRCH));
  EXPECT_THAT(kill(-0x3ffffff, 0), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_tkill, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_tkill, -1, 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_tkill, 0x3ffffff, 0), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_tkill, gettid(), 65), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_tgkill, getpid(), 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_tgkill, 0, gettid(), 0), FailsWith(EINVAL));
}

TEST_F(SignalQueues, AZombieCanBeSignalled) {
  const pid_t child = Start([] { return 3; });
  ASSERT_TRUE(WaitForState(child, 'Z'));
  EXPECT_THAT(kill(child, 0), Returns(0));
  EXPECT_THAT(kill(child, SIGTERM), Returns(0));
  EXPECT_THAT(syscall(SYS_tgkill, child, child, SIGKILL), Returns(0));
  EXPECT_THAT(Wait(child), Exited(3));
  EXPECT_THAT(kill(child, 0), FailsWith(ESRCH));
}

TEST_F(SignalQueues, AProcessGroupOfOthersNeedsPermissionForOne) {
  Pipe ready;
  const auto loop = [&](pid_t group, uid_t uid) {
    return Start([&, group, uid] {
      setpgid(0, group);
      CHILD_CHECK(setresuid(uid, uid, uid) == 0);
      Post(ready.write.get());
      for (;;) pause();
      return 0;
    });
  };
  const pid_t a = loop(0, 1001);
  ASSERT_TRUE(Await(ready.read.get()));
  const pid_t b = loop(a, 1002);
  ASSERT_TRUE(Await(ready.read.get()));
  EXPECT_THAT(InChild([&] {
    CHILD_CHECK(setresuid(1003, 1003, 1003) == 0);
    CHILD_CHECK(kill(-a, SIGTERM) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
  EXPECT_THAT(InChild([&] {
    CHILD_CHECK(setresuid(1002, 1002, 1002) == 0);
    CHILD_CHECK(kill(-a, SIGTERM) == 0);
    return 0;
  }), Exited(0));
  EXPECT_THAT(Wait(b), Killed(SIGTERM));
  EXPECT_THAT(kill(a, SIGKILL), Returns(0));
  EXPECT_THAT(Wait(a), Killed(SIGKILL));
}

TEST_F(SignalQueues, PermissionLooksAtRealAndSavedIds) {
  struct Case {
    uid_t real, effective, saved;  // Of the target.
    bool allowed;                  // For a sender whose ids are all 2001.
  };
  for (const Case& c : {Case{2001, 2002, 2002, true}, Case{2002, 2001, 2002, false},
                        Case{2002, 2002, 2001, true}, Case{2002, 2002, 2002, false}}) {
    Pipe ready;
    const pid_t target = Start([&] {
      CHILD_CHECK(setresuid(c.real, c.effective, c.saved) == 0);
      Post(ready.write.get());
      for (;;) pause();
      return 0;
    });
    ASSERT_TRUE(Await(ready.read.get()));
    EXPECT_THAT(InChild([&] {
      CHILD_CHECK(setresuid(2001, 2001, 2001) == 0);
      return kill(target, 0) == 0 ? 1 : errno == EPERM ? 0 : 2;
    }), Exited(c.allowed ? 1 : 0)) << c.real << " " << c.effective << " " << c.saved;
    // tgkill and rt_sigqueueinfo follow the same rule.
    EXPECT_THAT(InChild([&] {
      CHILD_CHECK(setresuid(2001, 2001, 2001) == 0);
      siginfo_t info = InfoWithCode(SI_QUEUE);
      CHILD_CHECK((syscall(SYS_tgkill, target, target, 0) == 0) == c.allowed);
      CHILD_CHECK((QueueInfo(target, 0, info) == 0) == c.allowed);
      return 0;
    }), Exited(0));
    kill(target, SIGKILL);
    EXPECT_THAT(Wait(target), Killed(SIGKILL));
  }
}

TEST_F(SignalQueues, ContinueMayBeSentWithinTheSession) {
  Pipe ready;
  const pid_t target = Start([&] {
    Post(ready.write.get());
    for (;;) pause();
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  EXPECT_THAT(InChild([&] {
    CHILD_CHECK(setresuid(2001, 2001, 2001) == 0);
    CHILD_CHECK(kill(target, SIGCONT) == 0);
    CHILD_CHECK(kill(target, SIGUSR1) == -1 && errno == EPERM);
    CHILD_CHECK(setsid() == getpid());
    CHILD_CHECK(kill(target, SIGCONT) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
  kill(target, SIGKILL);
  EXPECT_THAT(Wait(target), Killed(SIGKILL));
}

TEST_F(SignalQueues, SigtimedwaitErrors) {
  const sigset_t set = SetOf({SIGUSR1});
  const timespec negative = {-1, 0}, large = {0, 1'000'000'000}, brief = {0, 1'000'000};
  EXPECT_THAT(sigtimedwait(&set, nullptr, &negative), FailsWith(EINVAL));
  EXPECT_THAT(sigtimedwait(&set, nullptr, &large), FailsWith(EINVAL));
  EXPECT_THAT(sigtimedwait(&set, nullptr, &brief), FailsWith(EAGAIN));
  EXPECT_THAT(syscall(SYS_rt_sigtimedwait, &set, nullptr, &brief, 16), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_rt_sigtimedwait, 8, nullptr, &brief, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_rt_sigtimedwait, &set, nullptr, 8, 8), FailsWith(EFAULT));
}

TEST_F(SignalQueues, SigwaitinfoIsInterruptedByAHandler) {
  ScopedAction action(SIGUSR2, Count, SA_RESTART);
  const pid_t parent = getpid();
  const pid_t child = Start([&] {
    CHILD_CHECK(WaitForState(parent, 'S'));
    return kill(parent, SIGUSR2);
  });
  ScopedBlock block({SIGUSR1});
  const sigset_t set = SetOf({SIGUSR1});
  EXPECT_THAT(sigwaitinfo(&set, nullptr), FailsWith(EINTR)) << "whatever SA_RESTART says";
  EXPECT_EQ(g_count, 1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_F(SignalQueues, SigwaitTakesAnUnblockedOneWithoutItsHandler) {
  ScopedAction action(SIGUSR1, Count);
  const pid_t parent = getpid();
  const pid_t child = Start([&] {
    CHILD_CHECK(WaitForState(parent, 'S'));
    return kill(parent, SIGUSR1);
  });
  const sigset_t set = SetOf({SIGUSR1});
  EXPECT_THAT(sigwaitinfo(&set, nullptr), Returns(SIGUSR1));
  EXPECT_EQ(g_count, 0);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_F(SignalQueues, SigpendingIsTheUnionAndSizesDiffer) {
  ScopedBlock block({SIGUSR1, SIGUSR2});
  kill(getpid(), SIGUSR1);
  syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2);
  EXPECT_TRUE(IsPending(SIGUSR1));
  EXPECT_TRUE(IsPending(SIGUSR2));
  uint64_t bits = ~uint64_t{0};
  EXPECT_THAT(syscall(SYS_rt_sigpending, &bits, 9), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_rt_sigpending, &bits, 2), Returns(0));
  EXPECT_EQ(bits & 0xffff, (1u << (SIGUSR1 - 1)) | (1u << (SIGUSR2 - 1)));
  EXPECT_EQ(bits >> 16, ~uint64_t{0} >> 16);
  EXPECT_THAT(syscall(SYS_rt_sigpending, 8, 8), FailsWith(EFAULT));
  EXPECT_EQ(Take({SIGUSR1}), SIGUSR1);
  EXPECT_EQ(Take({SIGUSR2}), SIGUSR2);
}

TEST_F(SignalQueues, SigprocmaskErrors) {
  uint64_t set = 0;
  EXPECT_THAT(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, nullptr, 4), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_rt_sigprocmask, 7, &set, nullptr, 8), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_rt_sigprocmask, 7, nullptr, &set, 8), Returns(0)) << "nothing to do";
  EXPECT_THAT(syscall(SYS_rt_sigprocmask, SIG_BLOCK, 8, nullptr, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, 8, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_rt_sigsuspend, &set, 4), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_rt_sigsuspend, 8, 8), FailsWith(EFAULT));
}

TEST_F(SignalQueues, ForkClearsPendingOnesAndKeepsTheMask) {
  ScopedBlock block({SIGUSR1});
  kill(getpid(), SIGUSR1);
  EXPECT_THAT(InChild([] {
    sigset_t mask;
    sigprocmask(SIG_BLOCK, nullptr, &mask);
    return !IsPending(SIGUSR1) && sigismember(&mask, SIGUSR1) == 1 ? 0 : 1;
  }), Exited(0));
  EXPECT_EQ(Take({SIGUSR1}), SIGUSR1);
}

TEST_F(SignalQueues, ExecKeepsPendingOnesAndTheMask) {
  EXPECT_THAT(InChild([] {
    sigset_t set = SetOf({SIGUSR1, SIGRTMIN + 4});
    sigprocmask(SIG_BLOCK, &set, nullptr);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGRTMIN + 4);
    execl("/bin/sh", "sh", "-c",
          "while read key value; do"
          "  case $key in"
          "  ShdPnd:) [ $value = 0000002000000200 ] || exit 3;;"
          "  SigBlk:) [ $value = 0000002000000200 ] || exit 4;;"
          "  esac;"
          "done < /proc/self/status; exit 7", nullptr);
    return 200;
  }), Exited(7));
}

TEST_F(SignalQueues, IgnoredOnesAreNotQueuedUnlessBlocked) {
  ScopedAction action(SIGUSR1, SIG_IGN);
  kill(getpid(), SIGUSR1);
  EXPECT_FALSE(IsPending(SIGUSR1));
  ScopedBlock block({SIGUSR1});
  kill(getpid(), SIGUSR1);
  EXPECT_TRUE(IsPending(SIGUSR1));
  EXPECT_EQ(Take({SIGUSR1}), SIGUSR1);
}

TEST_F(SignalQueues, DefaultIgnoredOnesStayPendingWhileBlocked) {
  ScopedBlock block({SIGCHLD, SIGURG, SIGWINCH});
  for (const int signal : {SIGCHLD, SIGURG, SIGWINCH}) {
    kill(getpid(), signal);
    EXPECT_TRUE(IsPending(signal)) << signal;
    EXPECT_EQ(Take({signal}), signal);
  }
}

TEST_F(SignalQueues, SettingTheDefaultOfAnIgnorableOneDiscardsIt) {
  ScopedAction action(SIGURG, Count);
  ScopedBlock block({SIGURG});
  kill(getpid(), SIGURG);
  ASSERT_TRUE(IsPending(SIGURG));
  struct sigaction none = {};
  none.sa_handler = SIG_DFL;
  sigaction(SIGURG, &none, nullptr);
  EXPECT_FALSE(IsPending(SIGURG));
}

TEST_F(SignalQueues, InitOfTheNamespaceIgnoresWhatHasNoHandler) {
  // Sent by its own descendant: dropped, not even SIGKILL gets through.
  EXPECT_THAT(kill(1, 0), Returns(0));
  EXPECT_THAT(kill(1, SIGURG), Returns(0));
}

TEST_F(SignalQueues, BroadcastReachesNeitherSenderNorInit) {
  // As another user, so that only the own processes are reached.
  Pipe ready;
  EXPECT_THAT(InChild([&] {
    CHILD_CHECK(setresuid(60123, 60123, 60123) == 0);
    CHILD_CHECK(kill(-1, SIGTERM) == 0);  // Although there is nobody whom it may signal.
    const pid_t child = fork();
    if (child == 0) {
      Post(ready.write.get());
      for (;;) pause();
    }
    Await(ready.read.get());
    CHILD_CHECK(kill(-1, SIGTERM) == 0);
    return WTERMSIG(Wait(child));
  }), Exited(SIGTERM));
}

}  // namespace
