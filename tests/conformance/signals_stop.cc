// Stop and continue: what the parent is told, by wait and by SIGCHLD, and what stops do to threads,
// queues and process groups. wait(2), signal(7), setpgid(2).
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "tests/conformance/support.h"

namespace {

volatile sig_atomic_t g_count;
siginfo_t g_info;
void Record(int, siginfo_t* info, void*) {
  g_count = g_count + 1;
  g_info = *info;
}

int Forever() {
  for (;;) pause();
  return 0;
}

// Ends a child at the end of a case, whatever happened to it.
class Child {
 public:
  explicit Child(pid_t pid) : pid_(pid) {}
  Child(const Child&) = delete;
  ~Child() {
    kill(pid_, SIGKILL);
    Wait(pid_);
  }
  operator pid_t() const { return pid_; }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

siginfo_t WaitId(pid_t pid, int options) {
  siginfo_t info;
  memset(&info, 0, sizeof info);
  EXPECT_THAT(waitid(P_PID, static_cast<id_t>(pid), &info, options), Returns(0));
  return info;
}

TEST(Stop, EachStopSignalIsReportedByItsNumber) {
  for (const int signal : {SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU}) {
    const Child child(Start(Forever));
    kill(child, signal);
    // In an orphaned process group only SIGSTOP would do; this one has a parent outside it.
    setpgid(child, child);
    kill(child, signal);
    EXPECT_THAT(Wait(child, WUNTRACED), Stopped(signal));
    kill(child, SIGCONT);
    EXPECT_TRUE(WIFCONTINUED(Wait(child, WCONTINUED)));
  }
}

TEST(Stop, EachIsReportedOnce) {
  const Child child(Start(Forever));
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  EXPECT_THAT(waitpid(child, nullptr, WUNTRACED | WNOHANG), Returns(0));
  kill(child, SIGSTOP);  // Stopped already.
  EXPECT_THAT(waitpid(child, nullptr, WUNTRACED | WNOHANG), Returns(0));
  kill(child, SIGCONT);
  EXPECT_TRUE(WIFCONTINUED(Wait(child, WCONTINUED)));
  EXPECT_THAT(waitpid(child, nullptr, WCONTINUED | WNOHANG), Returns(0));
  kill(child, SIGCONT);  // Runs already.
  EXPECT_THAT(waitpid(child, nullptr, WCONTINUED | WNOHANG), Returns(0));
}

TEST(Stop, ContinuedBeforeAnybodyAskedIsOnlyContinued) {
  const Child child(Start(Forever));
  kill(child, SIGSTOP);
  ASSERT_TRUE(WaitForState(child, 'T'));
  kill(child, SIGCONT);
  int status = 0;
  EXPECT_THAT(waitpid(child, &status, WUNTRACED | WCONTINUED), Returns(child.pid()));
  EXPECT_TRUE(WIFCONTINUED(status));
}

TEST(Stop, WaitidTellsStopAndContinue) {
  const Child child(Start(Forever));
  kill(child, SIGSTOP);
  siginfo_t info = WaitId(child, WSTOPPED);
  EXPECT_EQ(info.si_signo, SIGCHLD);
  EXPECT_EQ(info.si_code, CLD_STOPPED);
  EXPECT_EQ(info.si_status, SIGSTOP);
  EXPECT_EQ(info.si_pid, child.pid());
  kill(child, SIGCONT);
  info = WaitId(child, WCONTINUED);
  EXPECT_EQ(info.si_code, CLD_CONTINUED);
  EXPECT_EQ(info.si_status, SIGCONT);
}

TEST(Stop, NoWaitKeepsTheReport) {
  const Child child(Start(Forever));
  kill(child, SIGSTOP);
  EXPECT_EQ(WaitId(child, WSTOPPED | WNOWAIT).si_code, CLD_STOPPED);
  EXPECT_EQ(WaitId(child, WSTOPPED | WNOWAIT).si_code, CLD_STOPPED);
  EXPECT_EQ(WaitId(child, WSTOPPED).si_code, CLD_STOPPED);
  EXPECT_EQ(WaitId(child, WSTOPPED | WNOHANG).si_pid, 0);
  kill(child, SIGCONT);
  EXPECT_EQ(WaitId(child, WCONTINUED | WNOWAIT).si_code, CLD_CONTINUED);
  EXPECT_EQ(WaitId(child, WCONTINUED).si_code, CLD_CONTINUED);
}

TEST(Stop, SigchldTellsStopContinueAndDeath) {
  ScopedAction action(SIGCHLD, Record);
  g_count = 0;
  const pid_t child = Start(Forever);
  kill(child, SIGSTOP);
  EXPECT_TRUE(Eventually([] { return g_count == 1; }));
  EXPECT_EQ(g_info.si_code, CLD_STOPPED);
  EXPECT_EQ(g_info.si_status, SIGSTOP);
  EXPECT_EQ(g_info.si_pid, child);
  EXPECT_EQ(g_info.si_uid, getuid());
  kill(child, SIGCONT);
  EXPECT_TRUE(Eventually([] { return g_count == 2; }));
  EXPECT_EQ(g_info.si_code, CLD_CONTINUED);
  EXPECT_EQ(g_info.si_status, SIGCONT);
  kill(child, SIGTERM);
  EXPECT_TRUE(Eventually([] { return g_count == 3; }));
  EXPECT_EQ(g_info.si_code, CLD_KILLED);
  EXPECT_EQ(g_info.si_status, SIGTERM);
  EXPECT_THAT(Wait(child), Killed(SIGTERM));
}

TEST(Stop, SigchldOfAChildThatUsedTime) {
  ScopedAction action(SIGCHLD, Record);
  g_count = 0;
  const pid_t child = Start([] {
    timespec now;
    do {
      clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    } while (now.tv_sec == 0 && now.tv_nsec < 60'000'000);
    return 0;
  });
  EXPECT_TRUE(Eventually([] { return g_count == 1; }));
  // In clock ticks of 10 ms.
  EXPECT_GE(g_info.si_utime + g_info.si_stime, 3);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Stop, SignalsStayQueuedMeanwhile) {
  Pipe pipe;
  const Child child(Start([&] {
    static int out;
    out = pipe.write.get();
    ScopedAction action(SIGUSR1, [](int) { Post(out); });
    Post(out);
    return Forever();
  }));
  ASSERT_TRUE(Await(pipe.read.get()));
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGUSR1);
  EXPECT_EQ(StateOf(child), 'T');
  EXPECT_FALSE(WaitReadable(pipe.read.get(), 50));
  kill(child, SIGCONT);
  EXPECT_TRUE(Await(pipe.read.get()));
}

TEST(Stop, KillGetsThroughAndOthersDoNot) {
  const pid_t child = Start(Forever);
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGTERM);
  EXPECT_EQ(StateOf(child), 'T');
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

TEST(Stop, PendingTermEndsItOnContinue) {
  const pid_t child = Start(Forever);
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGTERM);
  kill(child, SIGCONT);
  int status = 0;
  EXPECT_THAT(waitpid(child, &status, 0), Returns(child));
  EXPECT_THAT(status, Killed(SIGTERM));
}

TEST(Stop, ContinueIsDeliveredEvenWhenBlocked) {
  // The continuing happens at once; the handler runs when it is unblocked.
  Pipe pipe, gate;
  const Child child(Start([&] {
    static int out;
    out = pipe.write.get();
    ScopedAction action(SIGCONT, [](int) { Post(out); });
    ScopedBlock block({SIGCONT});
    Post(out);
    Await(gate.read.get());
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    return Forever();
  }));
  ASSERT_TRUE(Await(pipe.read.get()));
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGCONT);
  EXPECT_TRUE(WIFCONTINUED(Wait(child, WCONTINUED)));
  Post(gate.write.get());
  EXPECT_TRUE(Await(pipe.read.get()));
}

TEST(Stop, StopDiscardsAPendingContinue) {
  EXPECT_THAT(InChild([] {
    const sigset_t set = SetOf({SIGCONT, SIGTSTP});
    sigprocmask(SIG_BLOCK, &set, nullptr);
    sigset_t pending;
    kill(getpid(), SIGCONT);
    sigpending(&pending);
    CHILD_CHECK(sigismember(&pending, SIGCONT) == 1);
    kill(getpid(), SIGTSTP);
    sigpending(&pending);
    CHILD_CHECK(sigismember(&pending, SIGCONT) == 0);
    CHILD_CHECK(sigismember(&pending, SIGTSTP) == 1);
    kill(getpid(), SIGCONT);
    sigpending(&pending);
    CHILD_CHECK(sigismember(&pending, SIGTSTP) == 0);
    return 0;
  }), Exited(0));
}

TEST(Stop, TstpWithAHandlerDoesNotStop) {
  Pipe pipe;
  const Child child(Start([&] {
    static int out;
    out = pipe.write.get();
    ScopedAction action(SIGTSTP, [](int) { Post(out); });
    Post(out);
    return Forever();
  }));
  ASSERT_TRUE(Await(pipe.read.get()));
  kill(child, SIGTSTP);
  EXPECT_TRUE(Await(pipe.read.get()));
  EXPECT_TRUE(WaitForState(child, 'S'));
}

TEST(Stop, ItselfFromAHandler) {
  // How programs take ^Z: restore the default and stop again.
  Pipe pipe;
  const Child child(Start([&] {
    setpgid(0, 0);
    ScopedAction action(SIGTSTP, [](int) {
      signal(SIGTSTP, SIG_DFL);
      const sigset_t set = SetOf({SIGTSTP});
      raise(SIGTSTP);
      sigprocmask(SIG_UNBLOCK, &set, nullptr);  // Stops here.
    });
    raise(SIGTSTP);
    Post(pipe.write.get());
    return Forever();
  }));
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGTSTP));
  kill(child, SIGCONT);
  EXPECT_TRUE(Await(pipe.read.get()));
}

void* SpinUntilToldThread(void* flag) {
  while (*static_cast<volatile int*>(flag) == 0) {
  }
  return nullptr;
}

TEST(Stop, StopsEveryThreadAndReportsOnce) {
  Pipe ready;
  ScopedAction action(SIGCHLD, Record);
  g_count = 0;
  const Child child(Start([&] {
    static volatile int flag;
    for (int i = 0; i < 2; ++i) {
      pthread_t thread;
      pthread_create(&thread, nullptr, SpinUntilToldThread, const_cast<int*>(&flag));
    }
    Post(ready.write.get());
    return Forever();
  }));
  ASSERT_TRUE(Await(ready.read.get()));
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  EXPECT_TRUE(Eventually([] { return g_count == 1; }));
  kill(child, SIGCONT);
  EXPECT_TRUE(WIFCONTINUED(Wait(child, WCONTINUED)));
}

TEST(Stop, TgkillOfAStopSignalStopsTheProcess) {
  const Child child(Start(Forever));
  EXPECT_THAT(syscall(SYS_tgkill, child.pid(), child.pid(), SIGSTOP), Returns(0));
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
}

TEST(Stop, GroupIsStoppedTogether) {
  const Child a(Start(Forever));
  ASSERT_THAT(setpgid(a, a), Returns(0));
  const Child b(Start(Forever));
  ASSERT_THAT(setpgid(b, a), Returns(0));
  kill(-a, SIGSTOP);
  EXPECT_THAT(Wait(a, WUNTRACED), Stopped(SIGSTOP));
  EXPECT_THAT(Wait(b, WUNTRACED), Stopped(SIGSTOP));
  kill(-a, SIGCONT);
  EXPECT_TRUE(WIFCONTINUED(Wait(a, WCONTINUED)));
  EXPECT_TRUE(WIFCONTINUED(Wait(b, WCONTINUED)));
}

// A leader with a session of its own starts `middle` in a group of its own, which starts `member` in
// the same group and ends: the member's new parent is in another session. `middle` has a pipe to tell
// the member's pid.
template <typename Member>
pid_t OrphanAGroup(bool wait_for_a_stop, Member body) {
  Pipe told;
  const pid_t leader = Start([&] {
    setsid();
    return WEXITSTATUS(Wait(Start([&] {
      setpgid(0, 0);
      const pid_t member = Start(body);
      if (wait_for_a_stop) Wait(member, WUNTRACED);
      return write(told.write.get(), &member, sizeof member) == sizeof member ? 0 : 1;
    })));
  });
  EXPECT_THAT(Wait(leader), Exited(0));
  pid_t member = 0;
  EXPECT_THAT(read(told.read.get(), &member, sizeof member), Returns(sizeof member));
  return member;
}

TEST(OrphanedGroup, StoppedMembersGetHangupAndContinue) {
  Pipe report;
  EXPECT_THAT(InChild([&] {
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    const pid_t member = OrphanAGroup(true, [&] {
      static int out;
      out = report.write.get();
      struct sigaction action = {};
      action.sa_handler = [](int signal) { (void)!write(out, signal == SIGHUP ? "H" : "C", 1); };
      sigaction(SIGHUP, &action, nullptr);
      sigaction(SIGCONT, &action, nullptr);
      kill(getpid(), SIGSTOP);
      return Forever();
    });
    char told[2] = {};
    CHILD_CHECK(read(report.read.get(), told, 1) == 1);
    CHILD_CHECK(read(report.read.get(), told + 1, 1) == 1);
    CHILD_CHECK((told[0] == 'H' && told[1] == 'C') || (told[0] == 'C' && told[1] == 'H'));
    kill(member, SIGKILL);
    return WTERMSIG(Wait(member)) == SIGKILL ? 0 : 1;
  }), Exited(0));
}

TEST(OrphanedGroup, RunningMembersAreLeftAlone) {
  EXPECT_THAT(InChild([&] {
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    const pid_t member = OrphanAGroup(false, Forever);  // SIGHUP would kill it.
    CHILD_CHECK(waitpid(member, nullptr, WNOHANG) == 0);
    kill(member, SIGKILL);
    return WTERMSIG(Wait(member)) == SIGKILL ? 0 : 1;
  }), Exited(0));
}

TEST(OrphanedGroup, IgnoresTerminalStops) {
  EXPECT_THAT(InChild([] {
    setsid();  // Its only member has a parent in another session: orphaned.
    for (const int signal : {SIGTSTP, SIGTTIN, SIGTTOU}) kill(getpid(), signal);
    return 5;
  }), Exited(5));
}

}  // namespace
