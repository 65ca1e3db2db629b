// Ends: of the master, of the slave, of the session.
#include <sys/mman.h>
#include <sys/syscall.h>

#include <atomic>

#include "tests/conformance/terminals_support.h"

namespace {

TEST(SlaveCloses, TheMasterSeesIt) {
  Pty pty;
  pty.Print("last");
  pty.slave.reset();
  EXPECT_TRUE(PollsEventually(pty.master.get(), POLLHUP));
  EXPECT_EQ(pty.Shown(4), "last");
  char byte;
  EXPECT_THAT(read(pty.master.get(), &byte, 1), FailsWith(EIO));
}

TEST(SlaveCloses, OnlyTheLastOneCounts) {
  Pty pty;
  UniqueFd second(pty.OpenSlave());
  pty.slave.reset();
  EXPECT_EQ(PollNow(pty.master.get(), POLLIN) & POLLHUP, 0);
  second.reset();
  EXPECT_TRUE(PollsEventually(pty.master.get(), POLLHUP));
}

TEST(SlaveCloses, DuplicatesCountOnce) {
  Pty pty;
  UniqueFd copy(dup(pty.slave.get()));
  pty.slave.reset();
  EXPECT_EQ(PollNow(pty.master.get(), POLLIN) & POLLHUP, 0);
  copy.reset();
  EXPECT_TRUE(PollsEventually(pty.master.get(), POLLHUP));
}

TEST(SlaveCloses, NeverOpenedIsNotClosed) {
  Pty pty(Pty::Slave::kClosed);
  EXPECT_EQ(PollNow(pty.master.get(), POLLIN), 0);
  ASSERT_THAT(fcntl(pty.master.get(), F_SETFL, O_RDWR | O_NONBLOCK), Returns(0));
  char byte;
  EXPECT_THAT(read(pty.master.get(), &byte, 1), FailsWith(EAGAIN));
}

TEST(SlaveCloses, OpenedAgainItGoesOn) {
  Pty pty;
  pty.Change([](termios& t) { t.c_lflag &= ~ECHO; });
  pty.slave.reset();
  EXPECT_TRUE(PollsEventually(pty.master.get(), POLLHUP));
  pty.slave.reset(pty.OpenSlave());
  ASSERT_TRUE(pty.slave.valid());
  EXPECT_EQ(PollNow(pty.master.get(), POLLIN) & POLLHUP, 0);
  EXPECT_EQ(pty.Get().c_lflag & ECHO, 0u);  // Settings stay as long as the master does.
  pty.Type("x\n");
  EXPECT_EQ(pty.Line(), "x\n");
}

TEST(SlaveCloses, TypingBeforeItIsOpened) {
  Pty pty(Pty::Slave::kClosed);
  pty.Type("early\n");
  EXPECT_EQ(pty.Shown(7), "early\r\n");
  pty.slave.reset(pty.OpenSlave());
  EXPECT_EQ(pty.Line(), "early\n");
}

TEST(SlaveCloses, AWaitingMasterWakes) {
  Pty pty;
  const pid_t child = Start([&] {
    pty.slave.reset();
    char byte;
    return read(pty.master.get(), &byte, 1) == -1 && errno == EIO ? 0 : 1;
  });
  WaitForState(child, 'S');
  pty.slave.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(MasterCloses, TheSlaveIsDead) {
  Pty pty;
  pty.Type("unread\n");
  ASSERT_TRUE(WaitReadable(pty.slave.get()));
  pty.master.reset();
  char byte;
  EXPECT_THAT(read(pty.slave.get(), &byte, 1), Returns(0));
  EXPECT_THAT(write(pty.slave.get(), "x", 1), FailsWith(EIO));
  termios t;
  EXPECT_THAT(tcgetattr(pty.slave.get(), &t), FailsWith(EIO));
  EXPECT_THAT(tcgetpgrp(pty.slave.get()), FailsWith(EIO));
  EXPECT_THAT(tcsetpgrp(pty.slave.get(), getpgrp()), FailsWith(ENOTTY));
  EXPECT_EQ(PollNow(pty.slave.get(), POLLIN | POLLOUT), POLLIN | POLLOUT | POLLERR | POLLHUP);
}

TEST(MasterCloses, AWaitingReaderWakes) {
  Pty pty;
  Pipe ready;
  const pid_t child = Start([&] {
    pty.master.reset();
    Post(ready.write.get());
    char byte;
    const ssize_t n = read(pty.slave.get(), &byte, 1);
    return n == 0 || (n == -1 && errno == EIO) ? 0 : 1;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  WaitForState(child, 'S');
  pty.master.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(MasterCloses, AWaitingWriterWakes) {
  Pty pty;
  ASSERT_THAT(tcflow(pty.slave.get(), TCOOFF), Returns(0));
  Pipe ready;
  const pid_t child = Start([&] {
    pty.master.reset();
    Post(ready.write.get());
    return write(pty.slave.get(), "x", 1) == -1 && errno == EIO ? 0 : 1;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  WaitForState(child, 'S');
  pty.master.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(MasterCloses, PollersWake) {
  Pty pty;
  Pipe ready;
  const pid_t child = Start([&] {
    pty.master.reset();
    pollfd one = {pty.slave.get(), POLLIN, 0};
    Post(ready.write.get());
    CHILD_CHECK(poll(&one, 1, 5000) == 1);
    return (one.revents & POLLHUP) != 0 ? 0 : 1;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  pty.master.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

// A session leader with a job in the foreground; `lose` makes the terminal go. Both tell the
// signals they get: the leader its own, as a bit set in its exit status.
struct Heard {
  std::atomic<int> leader_hup{0}, leader_cont{0}, job_hup{0};
};
Heard* heard = static_cast<Heard*>(
    mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

TEST(MasterCloses, TheLeaderHearsFirstThenTheForeground) {
  heard->leader_hup = heard->leader_cont = heard->job_hup = 0;
  Pty pty;
  Pipe ready, job_done;
  const pid_t leader = Start([&] {
    pty.master.reset();
    struct sigaction action = {};
    action.sa_handler = [](int sig) { ++(sig == SIGHUP ? heard->leader_hup : heard->leader_cont); };
    sigaction(SIGHUP, &action, nullptr);
    sigaction(SIGCONT, &action, nullptr);
    const int tty = TakeTerminal(pty);
    Pipe go;
    const pid_t job = Start([&] {
      setpgid(0, 0);
      action.sa_handler = [](int) { ++heard->job_hup; };
      sigaction(SIGHUP, &action, nullptr);
      Await(go.read.get());
      // Blocked until it is waited for.
      sigset_t before;
      const sigset_t hangup = SetOf({SIGHUP});
      sigprocmask(SIG_BLOCK, &hangup, &before);
      Post(ready.write.get());
      while (heard->job_hup == 0) sigsuspend(&before);
      Post(job_done.write.get());
      return 0;
    });
    setpgid(job, job);
    signal(SIGTTOU, SIG_IGN);
    CHILD_CHECK(tcsetpgrp(tty, job) == 0);
    Post(go.write.get());
    CHILD_CHECK(Eventually([] { return heard->leader_hup == 1 && heard->leader_cont == 1; }));
    CHILD_CHECK(heard->job_hup == 0);
    CHILD_CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
    return 0;  // Now the job hears of it.
  });
  ASSERT_TRUE(Await(ready.read.get()));
  pty.master.reset();
  EXPECT_THAT(Wait(leader), Exited(0));
  EXPECT_TRUE(WaitReadable(job_done.read.get()));
  EXPECT_EQ(heard->job_hup, 1);
}

TEST(MasterCloses, KillsAShellThatDoesNotCare) {
  Pty pty;
  Pipe ready;
  const pid_t leader = Start([&] {
    pty.master.reset();
    TakeTerminal(pty);
    Post(ready.write.get());
    for (;;) pause();
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  pty.master.reset();
  EXPECT_THAT(Wait(leader), Killed(SIGHUP));
}

TEST(LeaderEnds, TheForegroundHearsSighup) {
  Pty pty;
  Pipe job_pid, ended;
  const pid_t leader = Start([&] {
    const int tty = TakeTerminal(pty);
    const pid_t job = Start([&] {
      setpgid(0, 0);
      ended.read.reset();
      ScopedBlock block({SIGHUP});
      Post(job_pid.write.get());
      const sigset_t set = SetOf({SIGHUP});
      siginfo_t info = {};
      const timespec limit = {5, 0};
      const bool right = sigtimedwait(&set, &info, &limit) == SIGHUP && info.si_code == SI_KERNEL;
      if (right) Post(ended.write.get());
      return 0;
    });
    setpgid(job, job);
    signal(SIGTTOU, SIG_IGN);
    CHILD_CHECK(tcsetpgrp(tty, job) == 0);
    CHILD_CHECK(Await(job_pid.read.get()));
    return 0;
  });
  EXPECT_THAT(Wait(leader), Exited(0));
  EXPECT_TRUE(WaitReadable(ended.read.get()));
}

TEST(LeaderEnds, NobodyHasTheTerminalAnyMore) {
  Pty pty;
  Pipe result;
  const pid_t leader = Start([&] {
    const int tty = TakeTerminal(pty);
    const pid_t me = getpid();
    signal(SIGHUP, SIG_IGN);
    Start([&] {
      if (!Eventually([&] { return getppid() != me; })) return 1;
      const bool gone = Eventually([] { return open("/dev/tty", O_RDWR) == -1 && errno == ENXIO; });
      const bool not_mine = tcgetsid(tty) == -1 && errno == ENOTTY;
      // Reading is nobody's background business now.
      char bytes[4];
      const bool reads = read(tty, bytes, sizeof bytes) == 2;
      const char answer = gone && not_mine && reads ? 'y' : 'n';
      return write(result.write.get(), &answer, 1) == 1 ? 0 : 1;
    });
    return 0;
  });
  EXPECT_THAT(Wait(leader), Exited(0));
  pty.Type("x\n");
  EXPECT_EQ(Pty::ReadOnce(result.read.get()), "y");
  EXPECT_THAT(tcgetpgrp(pty.master.get()), Returns(0));
}

TEST(LeaderEnds, AnotherSessionMayTakeTheTerminal) {
  Pty pty;
  EXPECT_THAT(InChild([&] {
                TakeTerminal(pty);
                return 0;
              }),
              Exited(0));
  EXPECT_THAT(InChild([&] {
                TakeTerminal(pty);
                return 0;
              }),
              Exited(0));
}

TEST(LeaderEnds, StoppedJobsAreContinued) {
  Pty pty;
  Pipe ended;
  const pid_t leader = Start([&] {
    TakeTerminal(pty);
    const pid_t job = Start([&] {
      setpgid(0, 0);
      struct sigaction action = {};
      action.sa_handler = [](int) {};
      sigaction(SIGHUP, &action, nullptr);
      raise(SIGSTOP);
      return Post(ended.write.get()) ? 0 : 1;
    });
    setpgid(job, job);
    int status = 0;
    CHILD_CHECK(waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status));
    return 0;
  });
  EXPECT_THAT(Wait(leader), Exited(0));
  EXPECT_TRUE(WaitReadable(ended.read.get()));
}

TEST(Vhangup, ByIoctl) {
  Pty pty;
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCVHANGUP), Returns(0));
  char byte;
  EXPECT_THAT(read(pty.slave.get(), &byte, 1), Returns(0));
  EXPECT_THAT(write(pty.slave.get(), "x", 1), FailsWith(EIO));
  UniqueFd again(pty.OpenSlave());
  ASSERT_TRUE(again.valid());
  EXPECT_THAT(write(again.get(), "x", 1), Returns(1));
  EXPECT_EQ(pty.Shown(1), "x");
}

TEST(Vhangup, NeedsPrivilege) {
  Pty pty;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setuid(1234) == 0);
                CHILD_CHECK(ioctl(pty.slave.get(), TIOCVHANGUP) == -1 && errno == EPERM);
                CHILD_CHECK(vhangup() == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(Vhangup, OfTheOwnTerminal) {
  Pty pty;
  EXPECT_THAT(InChild([&] {
                signal(SIGHUP, SIG_IGN);
                const int tty = TakeTerminal(pty);
                CHILD_CHECK(vhangup() == 0);
                char byte;
                CHILD_CHECK(read(tty, &byte, 1) == 0);
                CHILD_CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
                return 0;
              }),
              Exited(0));
}

TEST(Vhangup, WithoutATerminal) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setsid() > 0);
                return vhangup() == 0 ? 0 : 1;
              }),
              Exited(0));
}

// Each session's leader has the master of the next one's terminal: one close ends them all.
void BuildChain(int length, int ready) {
  for (int i = 0; i < length; ++i) {
    Pty next;
    if (fork() != 0) {
      next.slave.reset();
      for (;;) pause();
    }
    next.master.reset();
    TakeTerminal(next);
  }
  Post(ready);
  for (;;) pause();
}

TEST(MasterCloses, AChainOfSessions) {
  Pipe held, ready;
  Pty first;
  const pid_t chain = Start([&] {
    first.master.reset();
    held.read.reset();
    TakeTerminal(first);
    BuildChain(40, ready.write.get());
    return 0;
  });
  held.write.reset();
  ASSERT_TRUE(Await(ready.read.get()));
  first.master.reset();
  EXPECT_THAT(Wait(chain), Killed(SIGHUP));
  // End of file once the last of them is gone.
  pollfd one = {held.read.get(), POLLIN, 0};
  EXPECT_EQ(poll(&one, 1, 8000), 1);
  EXPECT_EQ(ReadAll(held.read.get()), "");
}

}  // namespace
