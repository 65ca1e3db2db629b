// Who has which controlling terminal.
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/conformance/terminals_support.h"

namespace {

std::string StatField(int number) {
  const std::string stat = ReadFile("/proc/self/stat");
  size_t at = stat.rfind(')') + 2;
  for (int i = 3; i < number; ++i) at = stat.find(' ', at) + 1;
  return stat.substr(at, stat.find(' ', at) - at);
}

TEST(Controlling, OpeningTakesIt) {
  Pty pty;
  EXPECT_THAT(InSession(pty,
                        [&](int tty) {
                          CHILD_CHECK(tcgetpgrp(tty) == getpid());
                          CHILD_CHECK(tcgetsid(tty) == getpid());
                          struct stat st = {};
                          CHILD_CHECK(fstat(tty, &st) == 0);
                          const unsigned number = minor(st.st_rdev);
                          CHILD_CHECK(StatField(7) == std::to_string(136 << 8 | number));
                          CHILD_CHECK(StatField(8) == std::to_string(getpid()));
                          return 0;
                        }),
              Exited(0));
}

TEST(Controlling, NocttyLeavesIt) {
  Pty pty;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setsid() > 0);
                const int fd = pty.OpenSlave();
                CHILD_CHECK(tcgetsid(fd) == -1 && errno == ENOTTY);
                CHILD_CHECK(tcgetpgrp(fd) == -1 && errno == ENOTTY);
                CHILD_CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
                CHILD_CHECK(StatField(7) == "0");
                CHILD_CHECK(StatField(8) == "-1");
                return 0;
              }),
              Exited(0));
}

TEST(Controlling, WriteOnlyDoesNotTakeIt) {
  Pty pty;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setsid() > 0);
                CHILD_CHECK(pty.OpenSlave(O_WRONLY) >= 0);
                return open("/dev/tty", O_RDWR) == -1 && errno == ENXIO ? 0 : 1;
              }),
              Exited(0));
}

TEST(Controlling, OnlyLeadersTakeIt) {
  Pty pty;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setsid() > 0);
                return WEXITSTATUS(InChild([&] {
                  const int fd = pty.OpenSlave(O_RDWR);
                  CHILD_CHECK(tcgetsid(fd) == -1 && errno == ENOTTY);
                  CHILD_CHECK(ioctl(fd, TIOCSCTTY, 0) == -1 && errno == EPERM);
                  return 0;
                }));
              }),
              Exited(0));
}

TEST(Controlling, Tiocsctty) {
  Pty pty;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(ioctl(pty.slave.get(), TIOCSCTTY, 0) == -1 && errno == EPERM);
                CHILD_CHECK(setsid() > 0);
                CHILD_CHECK(ioctl(pty.slave.get(), TIOCSCTTY, 0) == 0);
                CHILD_CHECK(ioctl(pty.slave.get(), TIOCSCTTY, 0) == 0);  // Again.
                CHILD_CHECK(tcgetpgrp(pty.slave.get()) == getpgrp());
                return 0;
              }),
              Exited(0));
}

TEST(Controlling, ThroughTheMaster) {
  Pty pty;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setsid() > 0);
                CHILD_CHECK(ioctl(pty.master.get(), TIOCSCTTY, 0) == 0);
                CHILD_CHECK(tcgetsid(pty.slave.get()) == getpid());
                return 0;
              }),
              Exited(0));
}

TEST(Controlling, NotTwo) {
  Pty pty, other;
  EXPECT_THAT(
      InSession(pty,
                [&](int) {
                  CHILD_CHECK(ioctl(other.slave.get(), TIOCSCTTY, 0) == -1 && errno == EPERM);
                  return 0;
                }),
      Exited(0));
}

TEST(Controlling, IsNotTakenFromOthers) {
  Pty pty;
  EXPECT_THAT(InSession(pty,
                        [&](int tty) {
                          return WEXITSTATUS(InChild([&] {
                            CHILD_CHECK(setsid() > 0);
                            CHILD_CHECK(tcgetsid(tty) == -1 && errno == ENOTTY);
                            CHILD_CHECK(ioctl(tty, TIOCSCTTY, 0) == -1 && errno == EPERM);
                            return 0;
                          }));
                        }),
              Exited(0));
}

TEST(Controlling, RootMayStealIt) {
  Pty pty;
  EXPECT_THAT(InSession(pty,
                        [&](int tty) {
                          const int status = InChild([&] {
                            CHILD_CHECK(setsid() > 0);
                            CHILD_CHECK(ioctl(tty, TIOCSCTTY, 1) == 0);
                            CHILD_CHECK(tcgetsid(tty) == getpid());
                            return 0;
                          });
                          CHILD_CHECK(status == 0);
                          CHILD_CHECK(tcgetsid(tty) == -1 && errno == ENOTTY);
                          return 0;
                        }),
              Exited(0));
}

TEST(Controlling, IsInherited) {
  Pty pty;
  EXPECT_THAT(
      InSession(pty,
                [&](int tty) {
                  const pid_t leader = getpid();
                  return WEXITSTATUS(InChild([&] { return tcgetsid(tty) == leader ? 0 : 1; }));
                }),
      Exited(0));
}

TEST(Controlling, DevTty) {
  Pty pty;
  EXPECT_THAT(InSession(pty,
                        [&](int tty) {
                          const int fd = open("/dev/tty", O_RDWR);
                          CHILD_CHECK(fd >= 0);
                          struct stat st = {};
                          CHILD_CHECK(fstat(fd, &st) == 0);
                          CHILD_CHECK(st.st_rdev == makedev(5, 0));
                          CHILD_CHECK(tcgetpgrp(fd) == getpid());
                          close(tty);
                          CHILD_CHECK(write(fd, "x", 1) == 1);
                          return 0;
                        }),
              Exited(0));
  EXPECT_EQ(pty.Shown(1), "x");
}

TEST(Controlling, DevTtyHasItsOwnFlags) {
  Pty pty;
  EXPECT_THAT(InSession(pty,
                        [&](int tty) {
                          const int fd = open("/dev/tty", O_RDONLY | O_NONBLOCK);
                          char byte;
                          CHILD_CHECK(read(fd, &byte, 1) == -1 && errno == EAGAIN);
                          CHILD_CHECK((fcntl(tty, F_GETFL) & O_NONBLOCK) == 0);
                          CHILD_CHECK(write(fd, "x", 1) == -1 && errno == EBADF);
                          return 0;
                        }),
              Exited(0));
}

TEST(Controlling, NottyByTheLeader) {
  Pty pty;
  EXPECT_THAT(InSession(pty,
                        [&](int tty) {
                          const pid_t job = StartJob(tty, Where::kForeground, [] {
                            pause();
                            return 0;
                          });
                          CHILD_CHECK(ioctl(tty, TIOCNOTTY) == 0);
                          const int status = Wait(job);
                          CHILD_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP);
                          CHILD_CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
                          CHILD_CHECK(ioctl(tty, TIOCNOTTY) == -1 && errno == ENOTTY);
                          CHILD_CHECK(ioctl(tty, TIOCSCTTY, 0) == 0);
                          return 0;
                        }),
              Exited(0));
}

TEST(Controlling, NottyByAnotherIsItsOwnBusiness) {
  Pty pty;
  EXPECT_THAT(
      InSession(pty,
                [&](int tty) {
                  CHILD_CHECK(InChild([&] {
                                CHILD_CHECK(ioctl(tty, TIOCNOTTY) == 0);
                                CHILD_CHECK(tcgetsid(tty) == -1 && errno == ENOTTY);
                                CHILD_CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
                                return 0;
                              }) == 0);
                  CHILD_CHECK(tcgetsid(tty) == getpid());
                  return 0;
                }),
      Exited(0));
}

TEST(Controlling, SetsidLeavesIt) {
  Pty pty;
  EXPECT_THAT(InSession(pty,
                        [&](int tty) {
                          return WEXITSTATUS(InChild([&] {
                            CHILD_CHECK(setsid() > 0);
                            CHILD_CHECK(open("/dev/tty", O_RDWR) == -1 && errno == ENXIO);
                            CHILD_CHECK(tcgetpgrp(tty) == -1 && errno == ENOTTY);
                            return 0;
                          }));
                        }),
              Exited(0));
}

TEST(Controlling, TheMasterSeesTheForeground) {
  Pty pty;
  EXPECT_THAT(tcgetpgrp(pty.master.get()), Returns(0));
  EXPECT_THAT(tcgetsid(pty.master.get()), FailsWith(ENOTTY));
  EXPECT_THAT(InSession(pty,
                        [&](int) {
                          CHILD_CHECK(tcgetpgrp(pty.master.get()) == getpid());
                          CHILD_CHECK(tcgetsid(pty.master.get()) == getpid());
                          return 0;
                        }),
              Exited(0));
}

}  // namespace
