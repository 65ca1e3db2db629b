// Handlers, masks, alternate stacks, queues: sigaction(2), sigprocmask(2), rt_sigqueueinfo(2), kill(2).
#include <immintrin.h>
#include <setjmp.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "tests/conformance/support.h"

namespace {

volatile sig_atomic_t g_count;
volatile sig_atomic_t g_last;
siginfo_t g_info;

void Count(int signal) {
  g_count = g_count + 1;
  g_last = signal;
}
void Record(int signal, siginfo_t* info, void*) {
  Count(signal);
  g_info = *info;
}

class Signals : public testing::Test {
 protected:
  void SetUp() override {
    g_count = 0;
    g_last = 0;
    memset(&g_info, 0, sizeof g_info);
  }
};

bool IsPending(int signal) {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, signal) == 1;
}

TEST_F(Signals, HandlerRunsBeforeKillReturns) {
  ScopedAction action(SIGUSR1, Count);
  EXPECT_THAT(kill(getpid(), SIGUSR1), Returns(0));
  EXPECT_EQ(g_count, 1);
  EXPECT_EQ(g_last, SIGUSR1);
}

TEST_F(Signals, InfoOfKill) {
  ScopedAction action(SIGUSR1, Record);
  EXPECT_THAT(kill(getpid(), SIGUSR1), Returns(0));
  EXPECT_EQ(g_info.si_signo, SIGUSR1);
  EXPECT_EQ(g_info.si_code, SI_USER);
  EXPECT_EQ(g_info.si_pid, getpid());
  EXPECT_EQ(g_info.si_uid, getuid());
}

TEST_F(Signals, InfoOfTgkill) {
  ScopedAction action(SIGUSR1, Record);
  EXPECT_THAT(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1), Returns(0));
  EXPECT_EQ(g_info.si_code, SI_TKILL);
  EXPECT_EQ(g_info.si_pid, getpid());
}

TEST_F(Signals, InfoOfSigqueue) {
  ScopedAction action(SIGRTMIN, Record);
  EXPECT_THAT(sigqueue(getpid(), SIGRTMIN, {.sival_int = 42}), Returns(0));
  EXPECT_EQ(g_info.si_code, SI_QUEUE);
  EXPECT_EQ(g_info.si_value.sival_int, 42);
  EXPECT_EQ(g_info.si_pid, getpid());
}

TEST_F(Signals, InfoOfAChild) {
  ScopedAction action(SIGCHLD, Record);
  const pid_t child = Start([] { return 9; });
  EXPECT_TRUE(Eventually([] { return g_count == 1; }));
  EXPECT_EQ(g_info.si_code, CLD_EXITED);
  EXPECT_EQ(g_info.si_pid, child);
  EXPECT_EQ(g_info.si_status, 9);
  EXPECT_THAT(Wait(child), Exited(9));
}

TEST_F(Signals, StoppedChildIsReportedUnlessRefused) {
  for (const bool refuse : {false, true}) {
    g_count = 0;
    ScopedAction action(SIGCHLD, Record, refuse ? SA_NOCLDSTOP : 0);
    const pid_t child = Start([] {
      for (;;) pause();
      return 0;
    });
    kill(child, SIGSTOP);
    EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
    EXPECT_EQ(g_count, refuse ? 0 : 1);
    if (!refuse) {
      EXPECT_EQ(g_info.si_code, CLD_STOPPED);
    }
    kill(child, SIGKILL);
    EXPECT_THAT(Wait(child), Killed(SIGKILL));
    EXPECT_EQ(g_info.si_code, CLD_KILLED);
  }
}

TEST_F(Signals, KillErrors) {
  EXPECT_THAT(kill(getpid(), 65), FailsWith(EINVAL));
  EXPECT_THAT(kill(getpid(), -1), FailsWith(EINVAL));
  EXPECT_THAT(kill(0x3ffffff, SIGUSR1), FailsWith(ESRCH));
  EXPECT_THAT(kill(getpid(), 0), Returns(0));
  EXPECT_THAT(syscall(SYS_tgkill, getpid(), 0x3ffffff, 0), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_tgkill, -1, gettid(), 0), FailsWith(EINVAL));
}

TEST_F(Signals, KillNeedsPermission) {
  const pid_t parent = getpid();
  EXPECT_THAT(InChild([&] {
    CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
    CHILD_CHECK(kill(parent, 0) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
}

TEST_F(Signals, KillAGroup) {
  Pipe ready;
  const auto loop = [&](pid_t group) {
    return Start([&, group] {
      setpgid(0, group);
      Post(ready.write.get());
      for (;;) pause();
      return 0;
    });
  };
  const pid_t a = loop(0);
  EXPECT_TRUE(Await(ready.read.get()));
  const pid_t b = loop(a);
  EXPECT_TRUE(Await(ready.read.get()));
  EXPECT_THAT(kill(-a, SIGTERM), Returns(0));
  EXPECT_THAT(Wait(a), Killed(SIGTERM));
  EXPECT_THAT(Wait(b), Killed(SIGTERM));
}

TEST_F(Signals, SigactionErrorsAndRoundTrip) {
  struct sigaction action = {}, old = {};
  action.sa_handler = Count;
  EXPECT_THAT(sigaction(SIGKILL, &action, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(sigaction(SIGSTOP, &action, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_rt_sigaction, 65, nullptr, nullptr, 8), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_rt_sigaction, SIGUSR1, nullptr, nullptr, 4), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_rt_sigaction, SIGUSR1, 8, nullptr, 8), FailsWith(EFAULT));
  action.sa_flags = SA_RESTART | SA_NODEFER;
  action.sa_mask = SetOf({SIGUSR2, SIGHUP});
  ASSERT_THAT(sigaction(SIGUSR1, &action, nullptr), Returns(0));
  struct sigaction none = {};
  none.sa_handler = SIG_DFL;
  ASSERT_THAT(sigaction(SIGUSR1, &none, &old), Returns(0));
  EXPECT_EQ(old.sa_handler, Count);
  EXPECT_EQ(old.sa_flags & (SA_RESTART | SA_NODEFER), SA_RESTART | SA_NODEFER);
  EXPECT_EQ(sigismember(&old.sa_mask, SIGUSR2), 1);
  EXPECT_EQ(sigismember(&old.sa_mask, SIGTERM), 0);
}

TEST_F(Signals, BlockedStaysPendingOnce) {
  ScopedAction action(SIGUSR1, Count);
  {
    ScopedBlock block({SIGUSR1});
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR1);
    EXPECT_EQ(g_count, 0);
    EXPECT_TRUE(IsPending(SIGUSR1));
  }
  EXPECT_EQ(g_count, 1);
  EXPECT_FALSE(IsPending(SIGUSR1));
}

TEST_F(Signals, IgnoringDiscardsAPendingOne) {
  ScopedAction action(SIGUSR1, Count);
  {
    ScopedBlock block({SIGUSR1});
    kill(getpid(), SIGUSR1);
    ScopedAction ignore(SIGUSR1, SIG_IGN);
    EXPECT_FALSE(IsPending(SIGUSR1));
  }
  EXPECT_EQ(g_count, 0);
}

TEST_F(Signals, KillAndStopCannotBeBlocked) {
  sigset_t all, now, old;
  sigfillset(&all);
  ASSERT_THAT(sigprocmask(SIG_SETMASK, &all, &old), Returns(0));
  ASSERT_THAT(sigprocmask(SIG_SETMASK, &old, &now), Returns(0));
  EXPECT_EQ(sigismember(&now, SIGKILL), 0);
  EXPECT_EQ(sigismember(&now, SIGSTOP), 0);
  EXPECT_EQ(sigismember(&now, SIGTERM), 1);
  EXPECT_THAT(sigprocmask(99, &all, nullptr), FailsWith(EINVAL));
}

sigset_t g_mask_inside;
void RecordMask(int) { sigprocmask(SIG_BLOCK, nullptr, &g_mask_inside); }

TEST_F(Signals, MaskDuringAHandler) {
  struct sigaction action = {}, old;
  action.sa_handler = RecordMask;
  action.sa_mask = SetOf({SIGHUP});
  ASSERT_THAT(sigaction(SIGUSR1, &action, &old), Returns(0));
  raise(SIGUSR1);
  EXPECT_EQ(sigismember(&g_mask_inside, SIGUSR1), 1);
  EXPECT_EQ(sigismember(&g_mask_inside, SIGHUP), 1);
  EXPECT_EQ(sigismember(&g_mask_inside, SIGUSR2), 0);
  action.sa_flags = SA_NODEFER;
  ASSERT_THAT(sigaction(SIGUSR1, &action, nullptr), Returns(0));
  raise(SIGUSR1);
  EXPECT_EQ(sigismember(&g_mask_inside, SIGUSR1), 0);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGHUP), 0);
  sigaction(SIGUSR1, &old, nullptr);
}

volatile sig_atomic_t g_depth, g_deepest;
void Nest(int) {
  g_depth = g_depth + 1;
  if (g_depth > g_deepest) g_deepest = g_depth;
  if (g_depth < 3) raise(SIGUSR1);
  g_depth = g_depth - 1;
}

TEST_F(Signals, NoDeferNests) {
  g_depth = 0;
  g_deepest = 0;
  {
    ScopedAction action(SIGUSR1, Nest, SA_NODEFER);
    raise(SIGUSR1);
    EXPECT_EQ(g_deepest, 3);
  }
  g_depth = 0;
  g_deepest = 0;
  static volatile sig_atomic_t calls;
  calls = 0;
  ScopedAction action(SIGUSR1, [](int) {
    g_depth = g_depth + 1;
    if (g_depth > g_deepest) g_deepest = g_depth;
    calls = calls + 1;
    if (calls < 3) raise(SIGUSR1);
    g_depth = g_depth - 1;
  });
  raise(SIGUSR1);
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(g_deepest, 1);
}

TEST_F(Signals, AnotherSignalInterruptsAHandler) {
  static volatile sig_atomic_t inner_ran_first;
  ScopedAction inner(SIGUSR2, Count);
  ScopedAction outer(SIGUSR1, [](int) {
    kill(getpid(), SIGUSR2);
    inner_ran_first = g_count;
  });
  kill(getpid(), SIGUSR1);
  EXPECT_EQ(inner_ran_first, 1);
}

TEST_F(Signals, ResetHand) {
  EXPECT_THAT(InChild([] {
    struct sigaction action = {}, now;
    action.sa_handler = Count;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(SIGUSR1, &action, nullptr);
    raise(SIGUSR1);
    sigaction(SIGUSR1, nullptr, &now);
    CHILD_CHECK(g_count == 1 && now.sa_handler == SIG_DFL);
    raise(SIGUSR1);
    return 0;
  }), Killed(SIGUSR1));
}

TEST_F(Signals, RealTimeOnesQueueInOrder) {
  const int a = (SIGRTMIN + 1) * 100, b = (SIGRTMIN + 2) * 100;
  // Taken one by one: handlers would stack up in the opposite order.
  ScopedBlock block({SIGRTMIN + 1, SIGRTMIN + 2});
  sigqueue(getpid(), SIGRTMIN + 2, {.sival_int = 1});
  sigqueue(getpid(), SIGRTMIN + 1, {.sival_int = 2});
  sigqueue(getpid(), SIGRTMIN + 1, {.sival_int = 3});
  const sigset_t set = SetOf({SIGRTMIN + 1, SIGRTMIN + 2});
  for (int expected : {a + 2, a + 3, b + 1}) {
    siginfo_t info;
    const timespec none = {};
    const int signal = sigtimedwait(&set, &info, &none);
    EXPECT_EQ(signal * 100 + info.si_value.sival_int, expected);
  }
}

TEST_F(Signals, PendingOnesBeforeTheCallReturns) {
  ScopedAction a(SIGUSR1, Count), b(SIGUSR2, Count);
  {
    ScopedBlock block({SIGUSR1, SIGUSR2});
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
  }
  EXPECT_EQ(g_count, 2);
}

TEST_F(Signals, SigsuspendSwapsTheMask) {
  ScopedAction action(SIGUSR1, Count);
  ScopedBlock block({SIGUSR1});
  kill(getpid(), SIGUSR1);
  sigset_t empty, now;
  sigemptyset(&empty);
  EXPECT_THAT(sigsuspend(&empty), FailsWith(EINTR));
  EXPECT_EQ(g_count, 1);
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR1), 1);
}

TEST_F(Signals, PauseReturnsAfterAHandler) {
  ScopedAction action(SIGUSR1, Count);
  const pid_t parent = getpid();
  const pid_t child = Start([&] {
    CHILD_CHECK(WaitForState(parent, 'S'));
    return kill(parent, SIGUSR1);
  });
  EXPECT_THAT(pause(), FailsWith(EINTR));
  EXPECT_EQ(g_count, 1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_F(Signals, SigwaitTakesABlockedOne) {
  ScopedAction action(SIGUSR1, Count);
  ScopedBlock block({SIGUSR1});
  kill(getpid(), SIGUSR1);
  const sigset_t set = SetOf({SIGUSR1});
  int signal = 0;
  EXPECT_THAT(sigwait(&set, &signal), Returns(0));
  EXPECT_EQ(signal, SIGUSR1);
  EXPECT_EQ(g_count, 0);
}

TEST_F(Signals, SigtimedwaitTimesOutAndWakes) {
  ScopedBlock block({SIGUSR1});
  const sigset_t set = SetOf({SIGUSR1});
  siginfo_t info = {};
  const timespec brief = {0, 20'000'000}, bad = {0, -1}, longer = {5, 0};
  const int64_t begin = NowMs();
  EXPECT_THAT(sigtimedwait(&set, &info, &brief), FailsWith(EAGAIN));
  EXPECT_GE(NowMs() - begin, 19);
  EXPECT_THAT(sigtimedwait(&set, &info, &bad), FailsWith(EINVAL));
  const pid_t parent = getpid();
  const pid_t child = Start([&] {
    CHILD_CHECK(WaitForState(parent, 'S'));
    return kill(parent, SIGUSR1);
  });
  EXPECT_THAT(sigtimedwait(&set, &info, &longer), Returns(SIGUSR1));
  EXPECT_EQ(info.si_pid, child);
  EXPECT_THAT(Wait(child), Exited(0));
}

// A read from an empty pipe that a signal interrupts: restarted or not.
struct Interrupted {
  ssize_t result;
  int error;
  int handled;
};
Interrupted ReadUnderSignal(int flags) {
  g_count = 0;
  ScopedAction action(SIGUSR1, Count, flags);
  Pipe pipe;
  const pid_t reader = getpid();
  const pid_t child = Start([&] {
    CHILD_CHECK(WaitForState(reader, 'S'));
    kill(reader, SIGUSR1);
    // Wait until the handler has run and the reader sleeps again, if it does.
    CHILD_CHECK(WaitForState(reader, 'S'));
    Post(pipe.write.get());
    return 0;
  });
  char byte;
  const ssize_t n = read(pipe.read.get(), &byte, 1);
  const int error = errno;
  Wait(child);
  return {n, error, g_count};
}

TEST_F(Signals, ReadIsInterrupted) {
  const Interrupted result = ReadUnderSignal(0);
  EXPECT_EQ(result.result, -1);
  EXPECT_EQ(result.error, EINTR);
  EXPECT_EQ(result.handled, 1);
}

TEST_F(Signals, ReadIsRestarted) {
  const Interrupted result = ReadUnderSignal(SA_RESTART);
  EXPECT_EQ(result.result, 1);
  EXPECT_EQ(result.handled, 1);
}

TEST_F(Signals, IgnoredOneDoesNotInterrupt) {
  ScopedAction action(SIGUSR1, SIG_IGN);
  Pipe pipe;
  const pid_t reader = getpid();
  const pid_t child = Start([&] {
    CHILD_CHECK(WaitForState(reader, 'S'));
    kill(reader, SIGUSR1);
    Post(pipe.write.get());
    return 0;
  });
  char byte;
  EXPECT_THAT(read(pipe.read.get(), &byte, 1), Returns(1));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_F(Signals, StopAndContinueDoNotInterruptARead) {
  Pipe pipe;
  const pid_t child = Start([&] {
    pipe.write.reset();
    char byte;
    return read(pipe.read.get(), &byte, 1) == 1 ? 0 : 1;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGCONT);
  EXPECT_TRUE(WIFCONTINUED(Wait(child, WCONTINUED)));
  EXPECT_TRUE(Post(pipe.write.get()));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_F(Signals, DefaultActions) {
  struct {
    int signal;
    bool kills;
  } const cases[] = {{SIGHUP, true},  {SIGPIPE, true},  {SIGALRM, true}, {SIGIO, true},
                     {SIGPROF, true}, {SIGRTMIN, true}, {SIGABRT, true}, {SIGSYS, true},
                     {SIGCHLD, false}, {SIGURG, false}, {SIGWINCH, false}, {SIGCONT, false}};
  for (const auto& c : cases) {
    const int status = InChild([&] {
      signal(c.signal, SIG_DFL);
      kill(getpid(), c.signal);
      return 3;
    });
    if (c.kills) {
      EXPECT_THAT(status, Killed(c.signal));
    } else {
      EXPECT_THAT(status, Exited(3)) << c.signal;
    }
  }
}

TEST_F(Signals, StopSignalsAndContinueHandler) {
  const pid_t child = Start([] {
    setpgid(0, 0);
    signal(SIGCONT, Count);
    raise(SIGTSTP);
    CHILD_CHECK(g_count == 1);
    return 5;
  });
  // In a group whose member has a parent elsewhere in the session SIGTSTP stops as SIGSTOP does.
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGTSTP));
  kill(child, SIGCONT);
  EXPECT_THAT(Wait(child), Exited(5));
}

TEST_F(Signals, OrphanedGroupIsNotStoppedFromTheTerminal) {
  EXPECT_THAT(InChild([] {
    setsid();
    raise(SIGTSTP);
    raise(SIGTTIN);
    raise(SIGTTOU);
    return 6;
  }), Exited(6));
}

TEST_F(Signals, ContinueDiscardsPendingStops) {
  EXPECT_THAT(InChild([] {
    ScopedBlock block({SIGTSTP});
    kill(getpid(), SIGTSTP);
    CHILD_CHECK(IsPending(SIGTSTP));
    kill(getpid(), SIGCONT);
    CHILD_CHECK(!IsPending(SIGTSTP));
    return 0;
  }), Exited(0));
}

sigjmp_buf g_jump;
TEST_F(Signals, HandlerMayJumpOut) {
  ScopedAction action(SIGUSR1, [](int) { siglongjmp(g_jump, 7); });
  for (int i = 0; i < 3; ++i) {
    const int value = sigsetjmp(g_jump, 1);
    if (value == 0) {
      raise(SIGUSR1);
      ADD_FAILURE() << "the handler returned";
    }
    EXPECT_EQ(value, 7);
  }
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR1), 0);
}

TEST_F(Signals, HandlersSurviveForkAndPendingOnesDoNot) {
  ScopedAction action(SIGUSR1, Count);
  ScopedBlock block({SIGUSR2});
  kill(getpid(), SIGUSR2);
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(!IsPending(SIGUSR2));
    raise(SIGUSR1);
    return static_cast<int>(g_count);
  }), Exited(1));
  const sigset_t set = SetOf({SIGUSR2});
  int signal;
  sigwait(&set, &signal);
  EXPECT_EQ(g_count, 0);
}

}  // namespace
