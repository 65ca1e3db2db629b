// devpts, settings, window size, packet mode and the rest of ioctl_tty(2).
#include <asm/ioctls.h>
#include <dirent.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "tests/conformance/terminals_support.h"

// The kernel's, which libc's headers do not have. Its first 36 bytes are the kernel's struct
// termios.
struct termios2 {
  unsigned iflag, oflag, cflag, lflag;
  unsigned char line, cc[19];
  unsigned ispeed, ospeed;
};

namespace {

using KernelTermios = termios2;

constexpr unsigned kBother = 0010000, kCbaud = 0010017;

TEST(Devpts, Nodes) {
  Pty pty;
  struct stat st = {};
  ASSERT_THAT(stat(pty.name.c_str(), &st), Returns(0));
  EXPECT_TRUE(S_ISCHR(st.st_mode));
  EXPECT_EQ(major(st.st_rdev), 136u);
  EXPECT_EQ("/dev/pts/" + std::to_string(minor(st.st_rdev)), pty.name);
  EXPECT_EQ(st.st_uid, getuid());
  struct stat open_st = {};
  ASSERT_THAT(fstat(pty.slave.get(), &open_st), Returns(0));
  EXPECT_EQ(open_st.st_ino, st.st_ino);
  EXPECT_EQ(open_st.st_dev, st.st_dev);
  ASSERT_THAT(stat("/dev/ptmx", &st), Returns(0));
  EXPECT_EQ(st.st_rdev, makedev(5, 2));
  ASSERT_THAT(fstat(pty.master.get(), &st), Returns(0));
  EXPECT_EQ(st.st_rdev, makedev(5, 2));
}

TEST(Devpts, Filesystem) {
  struct statfs fs = {};
  ASSERT_THAT(statfs("/dev/pts", &fs), Returns(0));
  EXPECT_EQ(fs.f_type, DEVPTS_SUPER_MAGIC);
  Pty pty;
  bool found = false, ptmx = false;
  DIR* dir = opendir("/dev/pts");
  ASSERT_NE(dir, nullptr);
  while (const dirent* entry = readdir(dir)) {
    found |= "/dev/pts/" + std::string(entry->d_name) == pty.name;
    ptmx |= std::string(entry->d_name) == "ptmx";
  }
  closedir(dir);
  EXPECT_TRUE(found);
  EXPECT_TRUE(ptmx);
}

TEST(Devpts, TheNodeGoesWithTheMaster) {
  Pty pty;
  pty.master.reset();
  EXPECT_THAT(open(pty.name.c_str(), O_RDWR | O_NOCTTY), FailsWith(ENOENT));
}

TEST(Devpts, ModesStay) {
  Pty pty;
  ASSERT_THAT(chmod(pty.name.c_str(), 0622), Returns(0));
  ASSERT_THAT(fchown(pty.slave.get(), 12, 34), Returns(0));
  struct stat st = {};
  ASSERT_THAT(stat(pty.name.c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_mode & 07777, 0622u);
  EXPECT_EQ(st.st_uid, 12u);
  EXPECT_EQ(st.st_gid, 34u);
}

TEST(Devpts, NothingCanBeMade) {
  Pty pty;
  EXPECT_THAT(open("/dev/pts/made", O_CREAT | O_RDWR, 0600), FailsWith(EACCES));
  EXPECT_THAT(mkdir("/dev/pts/made", 0700), FailsWith(EPERM));
  EXPECT_THAT(unlink(pty.name.c_str()), FailsWith(EPERM));
}

TEST(Devpts, Names) {
  Pty pty;
  char name[64];
  ASSERT_EQ(ptsname_r(pty.master.get(), name, sizeof name), 0);
  EXPECT_EQ(pty.name, name);
  ASSERT_EQ(ttyname_r(pty.slave.get(), name, sizeof name), 0);
  EXPECT_EQ(pty.name, name);
  char link[64] = {};
  const std::string path = "/proc/self/fd/" + std::to_string(pty.slave.get());
  ASSERT_THAT(readlink(path.c_str(), link, sizeof link - 1), Succeeds());
  EXPECT_EQ(pty.name, link);
  EXPECT_EQ(grantpt(pty.master.get()), 0);
}

TEST(Devpts, AnInstanceOfItsOwn) {
  TempDir dir;
  ASSERT_THAT(mount("x", dir.path().c_str(), "devpts", MS_NOSUID, "ptmxmode=0640,mode=0604,gid=7"),
              Returns(0));
  {
    UniqueFd master(open((dir / "ptmx").c_str(), O_RDWR | O_NOCTTY));
    ASSERT_TRUE(master.valid());
    unsigned number = 99;
    EXPECT_THAT(ioctl(master.get(), TIOCGPTN, &number), Returns(0));
    EXPECT_EQ(number, 0u);
    struct stat st = {};
    ASSERT_THAT(stat((dir / "0").c_str(), &st), Returns(0));
    EXPECT_EQ(st.st_mode & 07777, 0604u);
    EXPECT_EQ(st.st_gid, 7u);
    ASSERT_THAT(stat((dir / "ptmx").c_str(), &st), Returns(0));
    EXPECT_EQ(st.st_mode & 07777, 0640u);
  }
  EXPECT_THAT(umount(dir.path().c_str()), Returns(0));
}

TEST(Devpts, UnknownOption) {
  TempDir dir;
  EXPECT_THAT(mount("x", dir.path().c_str(), "devpts", 0, "color=red"), FailsWith(EINVAL));
}

TEST(Devpts, NumbersAreUsedAgain) {
  std::string name;
  {
    Pty pty;
    name = pty.name;
  }
  EXPECT_TRUE(Eventually([&] { return Pty().name == name; }));
}

TEST(Lock, BeginsLocked) {
  UniqueFd master(open("/dev/ptmx", O_RDWR | O_NOCTTY));
  int locked = -1;
  ASSERT_THAT(ioctl(master.get(), TIOCGPTLCK, &locked), Returns(0));
  EXPECT_EQ(locked, 1);
  EXPECT_THAT(open(PtsName(master.get()).c_str(), O_RDWR | O_NOCTTY), FailsWith(EIO));
  EXPECT_THAT(ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY), FailsWith(EIO));
  ASSERT_EQ(unlockpt(master.get()), 0);
  ASSERT_THAT(ioctl(master.get(), TIOCGPTLCK, &locked), Returns(0));
  EXPECT_EQ(locked, 0);
  UniqueFd slave(open(PtsName(master.get()).c_str(), O_RDWR | O_NOCTTY));
  EXPECT_TRUE(slave.valid());
}

TEST(Peer, IsTheSlave) {
  Pty pty(Pty::Slave::kClosed);
  UniqueFd peer(ioctl(pty.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(peer.valid());
  EXPECT_THAT(fcntl(peer.get(), F_GETFD), Returns(FD_CLOEXEC));
  char name[64];
  ASSERT_EQ(ttyname_r(peer.get(), name, sizeof name), 0);
  EXPECT_EQ(pty.name, name);
  EXPECT_THAT(write(peer.get(), "x", 1), Returns(1));
  EXPECT_EQ(pty.Shown(1), "x");
}

TEST(Peer, ReadOnly) {
  Pty pty(Pty::Slave::kClosed);
  UniqueFd peer(ioctl(pty.master.get(), TIOCGPTPEER, O_RDONLY | O_NOCTTY));
  ASSERT_TRUE(peer.valid());
  EXPECT_THAT(fcntl(peer.get(), F_GETFD), Returns(0));
  EXPECT_THAT(write(peer.get(), "x", 1), FailsWith(EBADF));
}

TEST(Peer, OnlyOfAMaster) {
  Pty pty;
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY), FailsWith(EIO));
}

TEST(Settings, OfAFreshTerminal) {
  Pty pty;
  KernelTermios t = {};
  ASSERT_THAT(ioctl(pty.slave.get(), TCGETS2, &t), Returns(0));
  EXPECT_EQ(t.iflag, unsigned{ICRNL | IXON});
  EXPECT_EQ(t.oflag, unsigned{OPOST | ONLCR});
  EXPECT_EQ(t.cflag, unsigned{B38400 | CS8 | CREAD});
  EXPECT_EQ(t.lflag, unsigned{ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN});
  EXPECT_EQ(t.line, 0);
  const unsigned char cc[19] = {3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0};
  EXPECT_EQ(memcmp(t.cc, cc, sizeof cc), 0);
  EXPECT_EQ(t.ispeed, 38400u);
  EXPECT_EQ(t.ospeed, 38400u);
}

TEST(Settings, TheMasterShowsTheSlaves) {
  Pty pty;
  pty.Change([](termios& t) { t.c_lflag &= ~ECHO; });
  termios modes = {};
  ASSERT_THAT(tcgetattr(pty.master.get(), &modes), Returns(0));
  EXPECT_EQ(modes.c_lflag & ECHO, 0u);
  modes.c_lflag |= ECHO;
  ASSERT_THAT(tcsetattr(pty.master.get(), TCSANOW, &modes), Returns(0));
  EXPECT_NE(pty.Get().c_lflag & ECHO, 0u);
}

TEST(Settings, AlwaysEightBits) {
  Pty pty;
  pty.Change(
      [](termios& t) { t.c_cflag = (t.c_cflag & ~(CSIZE | CREAD)) | CS5 | PARENB | CLOCAL; });
  EXPECT_EQ(pty.Get().c_cflag & (CSIZE | PARENB | CREAD | CLOCAL), tcflag_t{CS8 | CREAD | CLOCAL});
}

TEST(Settings, Speeds) {
  Pty pty;
  pty.Change([](termios& t) { cfsetspeed(&t, B9600); });
  KernelTermios t = {};
  ASSERT_THAT(ioctl(pty.slave.get(), TCGETS2, &t), Returns(0));
  EXPECT_EQ(t.ospeed, 9600u);
  EXPECT_EQ(t.ispeed, 9600u);
  t.cflag = (t.cflag & ~kCbaud) | kBother;
  t.ispeed = t.ospeed = 12345;
  ASSERT_THAT(ioctl(pty.slave.get(), TCSETS2, &t), Returns(0));
  t = {};
  ASSERT_THAT(ioctl(pty.slave.get(), TCGETS2, &t), Returns(0));
  EXPECT_EQ(t.ospeed, 12345u);
  EXPECT_EQ(t.cflag & kCbaud, kBother);
}

TEST(Settings, OldStructure) {
  Pty pty;
  struct termio {
    unsigned short iflag, oflag, cflag, lflag;
    unsigned char line, cc[8];
  } old = {};
  ASSERT_THAT(ioctl(pty.slave.get(), TCGETA, &old), Returns(0));
  EXPECT_EQ(old.iflag, ICRNL | IXON);
  EXPECT_EQ(old.cc[2], 127);
  old.lflag &= ~ECHO;
  old.cc[2] = '#';
  ASSERT_THAT(ioctl(pty.slave.get(), TCSETA, &old), Returns(0));
  const termios now = pty.Get();
  EXPECT_EQ(now.c_lflag & ECHO, 0u);
  EXPECT_EQ(now.c_cc[VERASE], '#');
  EXPECT_EQ(now.c_cc[VSUSP], 26);
  EXPECT_NE(now.c_lflag & IEXTEN, 0u);
}

TEST(Settings, Locked) {
  Pty pty;
  KernelTermios mask = {};
  mask.lflag = ECHO;
  mask.cc[2] = 1;
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCSLCKTRMIOS, &mask), Returns(0));
  pty.Change([](termios& t) {
    t.c_lflag &= ~(ECHO | ISIG);
    t.c_cc[VERASE] = '#';
  });
  EXPECT_NE(pty.Get().c_lflag & ECHO, 0u);
  EXPECT_EQ(pty.Get().c_lflag & ISIG, 0u);
  EXPECT_EQ(pty.Get().c_cc[VERASE], 127);
  KernelTermios got = {};
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCGLCKTRMIOS, &got), Returns(0));
  EXPECT_EQ(got.lflag, unsigned{ECHO});
}

TEST(Settings, Faults) {
  Pty pty;
  EXPECT_THAT(ioctl(pty.slave.get(), TCGETS, 8), FailsWith(EFAULT));
  EXPECT_THAT(ioctl(pty.slave.get(), TCSETS, 8), FailsWith(EFAULT));
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCGWINSZ, 8), FailsWith(EFAULT));
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCSWINSZ, 8), FailsWith(EFAULT));
  EXPECT_THAT(ioctl(pty.master.get(), TIOCGPTN, 8), FailsWith(EFAULT));
  EXPECT_THAT(ioctl(pty.master.get(), TIOCPKT, 8), FailsWith(EFAULT));
}

TEST(Settings, CarrierFlag) {
  Pty pty;
  int on = 1, got = -1;
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCSSOFTCAR, &on), Returns(0));
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCGSOFTCAR, &got), Returns(0));
  EXPECT_EQ(got, 1);
  EXPECT_NE(pty.Get().c_cflag & CLOCAL, 0u);
}

TEST(Window, IsRemembered) {
  Pty pty;
  winsize size = {};
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCGWINSZ, &size), Returns(0));
  EXPECT_EQ(size.ws_row, 0);
  size = {24, 80, 640, 480};
  ASSERT_THAT(ioctl(pty.master.get(), TIOCSWINSZ, &size), Returns(0));
  winsize got = {};
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCGWINSZ, &got), Returns(0));
  EXPECT_EQ(memcmp(&size, &got, sizeof got), 0);
  ASSERT_THAT(ioctl(pty.master.get(), TIOCGWINSZ, &got), Returns(0));
  EXPECT_EQ(memcmp(&size, &got, sizeof got), 0);
}

TEST(Misc, CommandsOfOthers) {
  Pty pty;
  int value = 0;
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCGPTN, &value), FailsWith(ENOTTY));
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCPKT, &value), FailsWith(ENOTTY));
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCSPTLCK, &value), FailsWith(ENOTTY));
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCMGET, &value), FailsWith(ENOTTY));
  EXPECT_THAT(ioctl(pty.slave.get(), 0x5bad, &value), FailsWith(ENOTTY));
  EXPECT_TRUE(isatty(pty.slave.get()));
  EXPECT_TRUE(isatty(pty.master.get()));
}

TEST(Misc, Discipline) {
  Pty pty;
  int discipline = -1;
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCGETD, &discipline), Returns(0));
  EXPECT_EQ(discipline, 0);
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCSETD, &discipline), Returns(0));
  discipline = 99;
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCSETD, &discipline), FailsWith(EINVAL));
}

TEST(Misc, Breaks) {
  Pty pty;
  EXPECT_THAT(tcsendbreak(pty.slave.get(), 0), Returns(0));
  EXPECT_THAT(tcdrain(pty.slave.get()), Returns(0));
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCSBRK), Returns(0));
  EXPECT_THAT(ioctl(pty.slave.get(), TIOCCBRK), Returns(0));
}

TEST(Misc, OutputQueueIsEmpty) {
  Pty pty;
  pty.Print("abc");
  int count = -1;
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCOUTQ, &count), Returns(0));
  EXPECT_EQ(count, 0);
}

TEST(Misc, FionreadOfTheMaster) {
  Pty pty;
  pty.Print("abc\n");
  EXPECT_TRUE(Eventually([&] {
    int count = -1;
    ioctl(pty.master.get(), FIONREAD, &count);
    return count == 5;
  }));
}

TEST(Misc, DeviceNumber) {
  Pty pty;
  unsigned device = 0;
  ASSERT_THAT(ioctl(pty.master.get(), TIOCGDEV, &device), Returns(0));
  EXPECT_EQ(device >> 8 & 0xfff, 136u);
}

TEST(Misc, ExclusiveKeepsOthersOut) {
  Pty pty;
  int exclusive = -1;
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCGEXCL, &exclusive), Returns(0));
  EXPECT_EQ(exclusive, 0);
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCEXCL), Returns(0));
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCGEXCL, &exclusive), Returns(0));
  EXPECT_EQ(exclusive, 1);
  ASSERT_THAT(chmod(pty.name.c_str(), 0666), Returns(0));
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(UniqueFd(pty.OpenSlave()).valid());  // CAP_SYS_ADMIN.
                CHILD_CHECK(setuid(1234) == 0);
                return open(pty.name.c_str(), O_RDWR | O_NOCTTY) < 0 && errno == EBUSY ? 0 : 1;
              }),
              Exited(0));
  ASSERT_THAT(ioctl(pty.slave.get(), TIOCNXCL), Returns(0));
  EXPECT_TRUE(UniqueFd(pty.OpenSlave()).valid());
}

TEST(Sti, TypesForTheReader) {
  Pty pty;
  for (char c : std::string("ab\n")) ASSERT_THAT(ioctl(pty.slave.get(), TIOCSTI, &c), Returns(0));
  EXPECT_EQ(pty.Line(), "ab\n");
  EXPECT_EQ(pty.ShownSoFar(), "ab\r\n");
}

TEST(Sti, NeedsTheOwnTerminal) {
  Pty pty;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setuid(1234) == 0);
                const char c = 'x';
                if (ioctl(pty.slave.get(), TIOCSTI, &c) == 0) return 1;
                return errno == EPERM || errno == EIO ? 0 : 2;
              }),
              Exited(0));
}

class Packet : public testing::Test {
 protected:
  void SetUp() override { Set(1); }
  void Set(int on) { ASSERT_THAT(ioctl(pty.master.get(), TIOCPKT, &on), Returns(0)); }
  // The next packet.
  std::string Next() { return Pty::ReadOnce(pty.master.get()); }
  static std::string Status(int bits) { return std::string(1, static_cast<char>(bits)); }
  Pty pty;
};

TEST_F(Packet, DataHasAHeader) {
  pty.Print("abc");
  EXPECT_EQ(Next(), std::string("\0abc", 4));
  int on = 0;
  ASSERT_THAT(ioctl(pty.master.get(), TIOCGPKT, &on), Returns(0));
  EXPECT_EQ(on, 1);
}

TEST_F(Packet, OffAgain) {
  Set(0);
  pty.Print("abc");
  EXPECT_EQ(Next(), "abc");
}

TEST_F(Packet, FlowControlGoesAndComes) {
  pty.Change([](termios& t) { t.c_iflag &= ~IXON; });
  EXPECT_EQ(Next(), Status(TIOCPKT_NOSTOP));
  pty.Change([](termios& t) { t.c_iflag |= IXON; });
  EXPECT_EQ(Next(), Status(TIOCPKT_DOSTOP));
  pty.Change([](termios& t) { t.c_cc[VSTOP] = 'x'; });
  EXPECT_EQ(Next(), Status(TIOCPKT_NOSTOP));
}

TEST_F(Packet, StopAndStart) {
  ASSERT_THAT(tcflow(pty.slave.get(), TCOOFF), Returns(0));
  EXPECT_EQ(Next(), Status(TIOCPKT_STOP));
  ASSERT_THAT(tcflow(pty.slave.get(), TCOON), Returns(0));
  EXPECT_EQ(Next(), Status(TIOCPKT_START));
}

TEST_F(Packet, FlushOfInput) {
  ASSERT_THAT(tcflush(pty.slave.get(), TCIFLUSH), Returns(0));
  EXPECT_EQ(Next(), Status(TIOCPKT_FLUSHREAD));
}

TEST_F(Packet, FlushOfOutput) {
  ASSERT_THAT(tcflush(pty.slave.get(), TCOFLUSH), Returns(0));
  EXPECT_EQ(Next(), Status(TIOCPKT_FLUSHWRITE));
}

TEST_F(Packet, InterruptFlushesBoth) {
  pty.Change([](termios& t) { t.c_lflag &= ~ECHO; });
  pty.Type("\003");
  ASSERT_TRUE(PollsEventually(pty.master.get(), POLLPRI));
  std::string bits = Next();
  if (bits != Status(TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE)) bits[0] |= Next()[0];
  EXPECT_EQ(bits, Status(TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE));
}

TEST_F(Packet, ExternalProcessingTellsOfChanges) {
  pty.Change([](termios& t) { t.c_lflag |= EXTPROC; });
  EXPECT_EQ(Next(), Status(TIOCPKT_IOCTL));
}

TEST_F(Packet, StatusIsUrgentAndFirst) {
  pty.Print("abc");
  ASSERT_TRUE(PollsEventually(pty.master.get(), POLLIN));
  EXPECT_EQ(PollNow(pty.master.get(), POLLPRI), 0);
  ASSERT_THAT(tcflow(pty.slave.get(), TCOOFF), Returns(0));
  EXPECT_EQ(PollNow(pty.master.get(), POLLPRI | POLLIN), POLLPRI | POLLIN);
  EXPECT_EQ(Next(), Status(TIOCPKT_STOP));
  EXPECT_EQ(Next(), std::string("\0abc", 4));
}

TEST_F(Packet, SmallBuffers) {
  pty.Print("abc");
  EXPECT_EQ(Pty::ReadOnce(pty.master.get(), 2), std::string("\0a", 2));
  EXPECT_EQ(Next(), std::string("\0bc", 3));
}

}  // namespace
