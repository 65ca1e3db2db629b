// Process groups in the foreground and the background of a terminal.
#include <sys/mman.h>

#include "tests/conformance/terminals_support.h"

namespace {

TEST(Foreground, Errors) {
  Pty pty;
  EXPECT_THAT(InSession(pty,
                        [&](int tty) {
                          CHILD_CHECK(tcsetpgrp(tty, -1) == -1 && errno == EINVAL);
                          CHILD_CHECK(tcsetpgrp(tty, 1 << 21) == -1 && errno == ESRCH);
                          CHILD_CHECK(tcsetpgrp(tty, getpgid(getppid())) == -1 && errno == EPERM);
                          const pid_t gone = Start([] { return 0; });
                          Wait(gone);
                          CHILD_CHECK(tcsetpgrp(tty, gone) == -1 && errno == ESRCH);
                          CHILD_CHECK(tcgetpgrp(tty) == getpid());
                          return 0;
                        }),
              Exited(0));
}

TEST(Foreground, NotOfAnotherSession) {
  Pty pty;
  EXPECT_THAT(tcsetpgrp(pty.slave.get(), getpgrp()), FailsWith(ENOTTY));
}

TEST(Keys, SignalTheForeground) {
  for (const auto& [key, sig] : {std::pair("\003", SIGINT), std::pair("\034", SIGQUIT)}) {
    Pty pty;
    Pipe ready;
    const pid_t leader = Start([&] {
      const int tty = TakeTerminal(pty);
      const pid_t job = StartJob(tty, Where::kForeground, [&] {
        signal(SIGINT, SIG_DFL);
        Post(ready.write.get());
        pause();
        return 0;
      });
      const int status = Wait(job);
      return WIFSIGNALED(status) ? WTERMSIG(status) : 99;
    });
    ASSERT_TRUE(Await(ready.read.get()));
    pty.Type(key);
    EXPECT_THAT(Wait(leader), Exited(sig));
  }
}

TEST(Keys, SuspendStopsTheForeground) {
  Pty pty;
  Pipe ready;
  const pid_t leader = Start([&] {
    const int tty = TakeTerminal(pty);
    const pid_t job = StartJob(tty, Where::kForeground, [&] {
      Post(ready.write.get());
      pause();
      return 0;
    });
    int status = 0;
    CHILD_CHECK(waitpid(job, &status, WUNTRACED) == job);
    kill(job, SIGKILL);
    return WIFSTOPPED(status) ? WSTOPSIG(status) : 99;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  pty.Type("\032");
  EXPECT_THAT(Wait(leader), Exited(SIGTSTP));
}

TEST(Keys, OtherCharactersAfterChange) {
  Pty pty;
  pty.Change([](termios& t) { t.c_cc[VINTR] = 'q'; });
  Pipe ready;
  const pid_t leader = Start([&] {
    TakeTerminal(pty);
    Post(ready.write.get());
    pause();
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  pty.Type("q");
  EXPECT_THAT(Wait(leader), Killed(SIGINT));
}

TEST(Keys, TiocsigSends) {
  Pty pty;
  Pipe ready;
  const pid_t leader = Start([&] {
    TakeTerminal(pty);
    Post(ready.write.get());
    pause();
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  EXPECT_THAT(ioctl(pty.master.get(), TIOCSIG, SIGKILL), FailsWith(EINVAL));
  EXPECT_THAT(ioctl(pty.master.get(), TIOCSIG, SIGQUIT), Returns(0));
  EXPECT_EQ(WTERMSIG(Wait(leader)), SIGQUIT);
}

TEST(Window, ChangeSignalsTheForeground) {
  Pty pty;
  Pipe ready;
  const pid_t leader = Start([&] {
    ScopedBlock block({SIGWINCH});
    const int tty = TakeTerminal(pty);
    winsize size = {10, 20, 0, 0};
    CHILD_CHECK(ioctl(tty, TIOCSWINSZ, &size) == 0);
    const sigset_t set = SetOf({SIGWINCH});
    siginfo_t info = {};
    const timespec limit = {5, 0};
    CHILD_CHECK(sigtimedwait(&set, &info, &limit) == SIGWINCH);
    CHILD_CHECK(info.si_code == SI_KERNEL);
    // The same size is no change.
    CHILD_CHECK(ioctl(tty, TIOCSWINSZ, &size) == 0);
    const timespec none = {0, 0};
    CHILD_CHECK(sigtimedwait(&set, &info, &none) == -1 && errno == EAGAIN);
    Post(ready.write.get());
    CHILD_CHECK(sigtimedwait(&set, &info, &limit) == SIGWINCH);
    CHILD_CHECK(ioctl(tty, TIOCGWINSZ, &size) == 0 && size.ws_row == 30);
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  const winsize size = {30, 40, 0, 0};
  ASSERT_THAT(ioctl(pty.master.get(), TIOCSWINSZ, &size), Returns(0));
  EXPECT_THAT(Wait(leader), Exited(0));
}

// What a background job does ends in a stop by `sig`.
int StopOf(const Pty& pty, const std::function<int(int)>& action) {
  return InSession(pty, [&](int tty) {
    const pid_t job = StartJob(tty, Where::kBackground, [&] { return action(tty); });
    int status = 0;
    CHILD_CHECK(waitpid(job, &status, WUNTRACED) == job);
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    kill(job, SIGKILL);
    return WIFSTOPPED(status) ? 100 + WSTOPSIG(status) : 99;
  });
}

TEST(Background, ReadingStops) {
  Pty pty;
  EXPECT_THAT(StopOf(pty,
                     [](int tty) {
                       char byte;
                       return static_cast<int>(read(tty, &byte, 1));
                     }),
              Exited(100 + SIGTTIN));
}

TEST(Background, ReadingThroughDevTtyStops) {
  Pty pty;
  EXPECT_THAT(StopOf(pty,
                     [](int) {
                       char byte;
                       return static_cast<int>(read(open("/dev/tty", O_RDWR), &byte, 1));
                     }),
              Exited(100 + SIGTTIN));
}

TEST(Background, ReadingGoesOnInTheForeground) {
  Pty pty;
  pty.Type("x\n");
  EXPECT_THAT(
      InSession(pty,
                [&](int tty) {
                  signal(SIGTTOU, SIG_IGN);
                  const pid_t job = StartJob(tty, Where::kBackground, [&] {
                    char bytes[10];
                    return read(tty, bytes, sizeof bytes) == 2 ? 0 : 1;
                  });
                  int status = 0;
                  CHILD_CHECK(waitpid(job, &status, WUNTRACED) == job && WIFSTOPPED(status));
                  CHILD_CHECK(tcsetpgrp(tty, job) == 0);
                  CHILD_CHECK(kill(job, SIGCONT) == 0);
                  return WEXITSTATUS(Wait(job));
                }),
      Exited(0));
}

TEST(Background, ReadingWithSigttinIgnored) {
  Pty pty;
  EXPECT_THAT(StopOf(pty,
                     [](int tty) {
                       signal(SIGTTIN, SIG_IGN);
                       char byte;
                       return read(tty, &byte, 1) == -1 && errno == EIO ? 0 : 1;
                     }),
              Exited(0));
}

TEST(Background, ReadingWithSigttinBlocked) {
  Pty pty;
  EXPECT_THAT(StopOf(pty,
                     [](int tty) {
                       ScopedBlock block({SIGTTIN});
                       char byte;
                       return read(tty, &byte, 1) == -1 && errno == EIO ? 0 : 1;
                     }),
              Exited(0));
}

TEST(Background, ReadingWithAHandler) {
  Pty pty;
  EXPECT_THAT(StopOf(pty,
                     [](int tty) {
                       struct sigaction action = {};
                       action.sa_handler = [](int) {};
                       sigaction(SIGTTIN, &action, nullptr);
                       char byte;
                       return read(tty, &byte, 1) == -1 && errno == EINTR ? 0 : 1;
                     }),
              Exited(0));
}

TEST(Background, WritingIsFine) {
  Pty pty;
  EXPECT_THAT(StopOf(pty, [](int tty) { return write(tty, "x", 1) == 1 ? 0 : 1; }), Exited(0));
  EXPECT_EQ(pty.Shown(1), "x");
}

TEST(Background, WritingStopsWithTostop) {
  Pty pty;
  pty.Change([](termios& t) { t.c_lflag |= TOSTOP; });
  EXPECT_THAT(StopOf(pty, [](int tty) { return static_cast<int>(write(tty, "x", 1)); }),
              Exited(100 + SIGTTOU));
}

TEST(Background, WritingWithTostopAndSigttouIgnored) {
  Pty pty;
  pty.Change([](termios& t) { t.c_lflag |= TOSTOP; });
  EXPECT_THAT(StopOf(pty,
                     [](int tty) {
                       signal(SIGTTOU, SIG_IGN);
                       return write(tty, "x", 1) == 1 ? 0 : 1;
                     }),
              Exited(0));
}

TEST(Background, WritingWithTostopAndSigttouBlocked) {
  Pty pty;
  pty.Change([](termios& t) { t.c_lflag |= TOSTOP; });
  EXPECT_THAT(StopOf(pty,
                     [](int tty) {
                       ScopedBlock block({SIGTTOU});
                       return write(tty, "x", 1) == 1 ? 0 : 1;
                     }),
              Exited(0));
}

TEST(Background, ChangesStop) {
  const std::pair<const char*, std::function<int(int)>> kChanges[] = {
      {"tcsetattr",
       [](int tty) {
         termios t = {};
         tcgetattr(tty, &t);
         return tcsetattr(tty, TCSANOW, &t);
       }},
      {"tcflush", [](int tty) { return tcflush(tty, TCIFLUSH); }},
      {"tcflow", [](int tty) { return tcflow(tty, TCOON); }},
      {"tcsendbreak", [](int tty) { return tcsendbreak(tty, 0); }},
      {"tcdrain", [](int tty) { return tcdrain(tty); }},
      {"tcsetpgrp", [](int tty) { return tcsetpgrp(tty, getpgrp()); }},
  };
  for (const auto& [name, change] : kChanges) {
    Pty pty;
    EXPECT_THAT(StopOf(pty, change), Exited(100 + SIGTTOU)) << name;
  }
}

TEST(Background, QuestionsDoNotStop) {
  Pty pty;
  EXPECT_THAT(StopOf(pty,
                     [](int tty) {
                       termios t = {};
                       winsize size = {};
                       CHILD_CHECK(tcgetattr(tty, &t) == 0);
                       CHILD_CHECK(ioctl(tty, TIOCGWINSZ, &size) == 0);
                       CHILD_CHECK(ioctl(tty, TIOCSWINSZ, &size) == 0);
                       CHILD_CHECK(tcgetpgrp(tty) > 0);
                       return 0;
                     }),
              Exited(0));
}

TEST(Background, TcsetpgrpWithSigttouBlocked) {
  Pty pty;
  EXPECT_THAT(StopOf(pty,
                     [](int tty) {
                       ScopedBlock block({SIGTTOU});
                       CHILD_CHECK(tcsetpgrp(tty, getpgrp()) == 0);
                       return tcgetpgrp(tty) == getpgrp() ? 0 : 1;
                     }),
              Exited(0));
}

// A background group whose parent has gone, in a session that goes on.
int OrphanDoes(const Pty& pty, const std::function<int(int)>& action) {
  return InSession(pty, [&](int tty) {
    Pipe result;
    const pid_t middle = Start([&] {
      const pid_t me = getpid();
      const pid_t orphan = Start([&] {
        setpgid(0, 0);
        CHILD_CHECK(Eventually([&] { return getppid() != me; }));
        const char answer = static_cast<char>(action(tty));
        return write(result.write.get(), &answer, 1) == 1 ? 0 : 1;
      });
      setpgid(orphan, orphan);
      return 0;
    });
    Wait(middle);
    char answer = 98;
    CHILD_CHECK(WaitReadable(result.read.get()));
    CHILD_CHECK(read(result.read.get(), &answer, 1) == 1);
    return static_cast<int>(answer);
  });
}

TEST(Orphan, ReadingFails) {
  Pty pty;
  EXPECT_THAT(OrphanDoes(pty,
                         [](int tty) {
                           char byte;
                           return read(tty, &byte, 1) == -1 && errno == EIO ? 0 : 1;
                         }),
              Exited(0));
}

TEST(Orphan, WritingFailsWithTostop) {
  Pty pty;
  pty.Change([](termios& t) { t.c_lflag |= TOSTOP; });
  EXPECT_THAT(
      OrphanDoes(pty, [](int tty) { return write(tty, "x", 1) == -1 && errno == EIO ? 0 : 1; }),
      Exited(0));
}

TEST(Orphan, ChangesFail) {
  Pty pty;
  EXPECT_THAT(OrphanDoes(pty,
                         [](int tty) {
                           termios t = {};
                           CHILD_CHECK(tcgetattr(tty, &t) == 0);
                           if (tcsetattr(tty, TCSANOW, &t) != -1 || errno != EIO) return 1;
                           return tcsetpgrp(tty, getpgrp()) == -1 && errno == ENOTTY ? 0 : 2;
                         }),
              Exited(0));
}

}  // namespace
