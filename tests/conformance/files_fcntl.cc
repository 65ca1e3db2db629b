// fcntl(2) apart from locks: owners, signals for readiness, hints, leases, pipes.
#include <poll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

struct OwnerEx {
  int type;
  pid_t pid;
};
constexpr int kGetRwHint = 1035, kSetRwHint = 1036, kGetFileRwHint = 1037, kSetFileRwHint = 1038;
constexpr int kSetOwnEx = 15, kGetOwnEx = 16, kSetSig = 10, kGetSig = 11;

// A pipe whose read end tells `owner`.
class AsyncPipe {
 public:
  explicit AsyncPipe(int signal = 0, pid_t owner = getpid()) {
    EXPECT_THAT(fcntl(pipe.read.get(), F_SETOWN, owner), Returns(0));
    if (signal != 0) {
      EXPECT_THAT(fcntl(pipe.read.get(), kSetSig, signal), Returns(0));
    }
    EXPECT_THAT(fcntl(pipe.read.get(), F_SETFL, O_ASYNC), Returns(0));
  }
  // Closing the other end would tell as well, in the next case.
  ~AsyncPipe() { fcntl(pipe.read.get(), F_SETFL, 0); }
  Pipe pipe;
};

siginfo_t AwaitSignal(int signal) {
  siginfo_t info = {};
  const sigset_t set = SetOf({signal});
  const timespec limit = {5, 0};
  EXPECT_THAT(sigtimedwait(&set, &info, &limit), Returns(signal));
  return info;
}

// Closing an end tells the other, too: what is left of such signals is thrown away.
class Async : public testing::Test {
 protected:
  Async() {
    const sigset_t set = SetOf({SIGIO, SIGRTMIN});
    sigprocmask(SIG_BLOCK, &set, nullptr);
  }
  ~Async() override {
    const sigset_t set = SetOf({SIGIO, SIGRTMIN});
    const timespec now = {0, 0};
    while (sigtimedwait(&set, nullptr, &now) > 0) {
    }
    // They stay blocked: one that is on its way must not end the program.
  }
};

bool IsPending(int signal) {
  sigset_t set;
  sigpending(&set);
  return sigismember(&set, signal) == 1;
}

TEST(FcntlOwner, IsNobodyAtFirst) {
  Pipe pipe;
  EXPECT_THAT(fcntl(pipe.read.get(), F_GETOWN), Returns(0));
  EXPECT_THAT(fcntl(pipe.read.get(), kGetSig), Returns(0));
}

TEST(FcntlOwner, Process) {
  Pipe pipe;
  EXPECT_THAT(fcntl(pipe.read.get(), F_SETOWN, getpid()), Returns(0));
  EXPECT_THAT(fcntl(pipe.read.get(), F_GETOWN), Returns(getpid()));
  OwnerEx owner = {};
  EXPECT_THAT(fcntl(pipe.read.get(), kGetOwnEx, &owner), Returns(0));
  EXPECT_EQ(owner.type, 1);
  EXPECT_EQ(owner.pid, getpid());
}

TEST(FcntlOwner, Group) {
  Pipe pipe;
  EXPECT_THAT(fcntl(pipe.read.get(), F_SETOWN, -getpgrp()), Returns(0));
  OwnerEx owner = {};
  EXPECT_THAT(fcntl(pipe.read.get(), kGetOwnEx, &owner), Returns(0));
  EXPECT_EQ(owner.type, 2);
  EXPECT_EQ(owner.pid, getpgrp());
}

TEST(FcntlOwner, Thread) {
  Pipe pipe;
  OwnerEx owner = {0, gettid()};
  EXPECT_THAT(fcntl(pipe.read.get(), kSetOwnEx, &owner), Returns(0));
  owner = {};
  EXPECT_THAT(fcntl(pipe.read.get(), kGetOwnEx, &owner), Returns(0));
  EXPECT_EQ(owner.type, 0);
  EXPECT_EQ(owner.pid, gettid());
}

TEST(FcntlOwner, BadOnes) {
  Pipe pipe;
  EXPECT_THAT(fcntl(pipe.read.get(), F_SETOWN, 999999), FailsWith(ESRCH));
  EXPECT_THAT(fcntl(pipe.read.get(), F_SETOWN, INT_MIN), FailsWith(EINVAL));
  OwnerEx owner = {7, getpid()};
  EXPECT_THAT(fcntl(pipe.read.get(), kSetOwnEx, &owner), FailsWith(EINVAL));
  EXPECT_THAT(fcntl(pipe.read.get(), kSetOwnEx, 8), FailsWith(EFAULT));
}

TEST(FcntlOwner, ZeroMeansNobody) {
  Pipe pipe;
  EXPECT_THAT(fcntl(pipe.read.get(), F_SETOWN, getpid()), Returns(0));
  EXPECT_THAT(fcntl(pipe.read.get(), F_SETOWN, 0), Returns(0));
  EXPECT_THAT(fcntl(pipe.read.get(), F_GETOWN), Returns(0));
}

TEST(FcntlOwner, TheDeadAreNobody) {
  Pipe pipe;
  Pipe go;
  const pid_t child = Start([&] { return Await(go.read.get()) ? 0 : 1; });
  EXPECT_THAT(fcntl(pipe.read.get(), F_SETOWN, child), Returns(0));
  EXPECT_THAT(fcntl(pipe.read.get(), F_GETOWN), Returns(child));
  EXPECT_TRUE(Post(go.write.get()));
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(fcntl(pipe.read.get(), F_GETOWN), Returns(0));
}

TEST(FcntlOwner, IsTheDescriptions) {
  Pipe pipe;
  UniqueFd copy(dup(pipe.read.get()));
  EXPECT_THAT(fcntl(pipe.read.get(), F_SETOWN, getpid()), Returns(0));
  EXPECT_THAT(fcntl(copy.get(), F_GETOWN), Returns(getpid()));
  EXPECT_THAT(fcntl(pipe.write.get(), F_GETOWN), Returns(0));
}

TEST(FcntlSignal, Numbers) {
  Pipe pipe;
  EXPECT_THAT(fcntl(pipe.read.get(), kSetSig, SIGUSR1), Returns(0));
  EXPECT_THAT(fcntl(pipe.read.get(), kGetSig), Returns(SIGUSR1));
  EXPECT_THAT(fcntl(pipe.read.get(), kSetSig, 65), FailsWith(EINVAL));
  EXPECT_THAT(fcntl(pipe.read.get(), kSetSig, -1), FailsWith(EINVAL));
  EXPECT_THAT(fcntl(pipe.read.get(), kSetSig, 0), Returns(0));
}

TEST_F(Async, SigioWhenAPipeBecomesReadable) {
  AsyncPipe async;
  EXPECT_THAT(write(async.pipe.write.get(), "x", 1), Returns(1));
  const siginfo_t info = AwaitSignal(SIGIO);
  EXPECT_EQ(info.si_code, SI_KERNEL);
}

TEST_F(Async, AChosenSignalTellsMore) {
  AsyncPipe async(SIGRTMIN);
  EXPECT_THAT(write(async.pipe.write.get(), "x", 1), Returns(1));
  const siginfo_t info = AwaitSignal(SIGRTMIN);
  EXPECT_EQ(info.si_code, POLL_IN);
  EXPECT_EQ(info.si_fd, async.pipe.read.get());
  EXPECT_EQ(info.si_band, POLLIN | POLLRDNORM);
}

TEST_F(Async, AWriterHearsOfRoom) {
  Pipe pipe(O_NONBLOCK);
  const std::string page(65536, 'x');
  EXPECT_THAT(write(pipe.write.get(), page.data(), page.size()), Returns(page.size()));
  EXPECT_THAT(fcntl(pipe.write.get(), F_SETOWN, getpid()), Returns(0));
  EXPECT_THAT(fcntl(pipe.write.get(), kSetSig, SIGRTMIN), Returns(0));
  EXPECT_THAT(fcntl(pipe.write.get(), F_SETFL, O_ASYNC | O_NONBLOCK), Returns(0));
  std::string room(65536, ' ');
  EXPECT_THAT(read(pipe.read.get(), room.data(), room.size()), Returns(room.size()));
  EXPECT_EQ(AwaitSignal(SIGRTMIN).si_code, POLL_OUT);
}

TEST_F(Async, CanBeSwitchedOff) {
  AsyncPipe async, other;
  EXPECT_THAT(fcntl(async.pipe.read.get(), F_SETFL, 0), Returns(0));
  EXPECT_THAT(write(async.pipe.write.get(), "x", 1), Returns(1));
  EXPECT_FALSE(IsPending(SIGIO));
}

TEST_F(Async, ByIoctl) {
  Pipe pipe;
  const int on = 1;
  EXPECT_THAT(fcntl(pipe.read.get(), F_SETOWN, getpid()), Returns(0));
  EXPECT_THAT(ioctl(pipe.read.get(), FIOASYNC, &on), Returns(0));
  EXPECT_EQ(fcntl(pipe.read.get(), F_GETFL) & O_ASYNC, O_ASYNC);
  EXPECT_THAT(write(pipe.write.get(), "x", 1), Returns(1));
  AwaitSignal(SIGIO);
}

TEST_F(Async, AnotherProcessIsTold) {
  Pipe ready;
  const pid_t child = Start([&] {
    CHILD_CHECK(Post(ready.write.get()));
    siginfo_t info;
    const sigset_t set = SetOf({SIGIO});
    return sigwaitinfo(&set, &info) == SIGIO ? 0 : 1;
  });
  EXPECT_TRUE(Await(ready.read.get()));
  AsyncPipe async(0, child);
  EXPECT_THAT(write(async.pipe.write.get(), "x", 1), Returns(1));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_F(Async, InotifyTells) {
  TempDir dir;
  UniqueFd fd(inotify_init1(0));
  EXPECT_THAT(inotify_add_watch(fd.get(), dir.path().c_str(), IN_CREATE), Returns(1));
  EXPECT_THAT(fcntl(fd.get(), F_SETOWN, getpid()), Returns(0));
  EXPECT_THAT(fcntl(fd.get(), F_SETFL, O_ASYNC), Returns(0));
  WriteFile(dir / "a", "");
  AwaitSignal(SIGIO);
}

TEST_F(Async, ClosedFilesSayNothing) {
  Pipe pipe;
  EXPECT_THAT(fcntl(pipe.write.get(), F_SETOWN, getpid()), Returns(0));
  EXPECT_THAT(fcntl(pipe.write.get(), F_SETFL, O_ASYNC), Returns(0));
  pipe.write.reset();
  char byte;
  EXPECT_THAT(read(pipe.read.get(), &byte, 1), Returns(0));
  EXPECT_FALSE(IsPending(SIGIO));
}

PLACE_SUITE(FcntlFlags);
TEST_P(FcntlFlags, RegularFilesAreNeverAsync) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(fcntl(fd.get(), F_SETFL, O_ASYNC), Returns(0));
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_ASYNC, 0);
}

TEST_P(FcntlFlags, NoatimeIsForTheOwner) {
  TempDir dir;
  WriteFile(dir / "f", "x", 0644);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(1000, 1000, 1000) == 0);
                UniqueFd fd(open((dir / "f").c_str(), O_RDONLY));
                CHILD_CHECK(fd.valid());
                CHILD_CHECK(fcntl(fd.get(), F_SETFL, O_NOATIME) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

PLACE_SUITE(FcntlHints);
TEST_P(FcntlHints, AreRemembered) {
  UniqueFd fd = OpenTemp();
  uint64_t hint = 77;
  EXPECT_THAT(fcntl(fd.get(), kGetRwHint, &hint), Returns(0));
  EXPECT_EQ(hint, 0u);
  hint = 3;
  EXPECT_THAT(fcntl(fd.get(), kSetRwHint, &hint), Returns(0));
  hint = 0;
  EXPECT_THAT(fcntl(fd.get(), kGetRwHint, &hint), Returns(0));
  EXPECT_EQ(hint, 3u);
  hint = 6;
  EXPECT_THAT(fcntl(fd.get(), kSetRwHint, &hint), FailsWith(EINVAL));
}

TEST_P(FcntlHints, ThoseOfDescriptionsAreGone) {
  UniqueFd fd = OpenTemp();
  uint64_t hint = 1;
  EXPECT_THAT(fcntl(fd.get(), kGetFileRwHint, &hint), FailsWith(EINVAL));
  EXPECT_THAT(fcntl(fd.get(), kSetFileRwHint, &hint), FailsWith(EINVAL));
}

PLACE_SUITE(FcntlLeases);
TEST_P(FcntlLeases, NoneAtFirst) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(fcntl(fd.get(), F_GETLEASE), Returns(F_UNLCK));
  EXPECT_THAT(fcntl(fd.get(), F_SETLEASE, F_UNLCK), FailsWith(EAGAIN));
  EXPECT_THAT(fcntl(fd.get(), F_SETLEASE, 42), FailsWith(EINVAL));
}

TEST_P(FcntlLeases, NotWhileOthersHaveItOpen) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  UniqueFd writer(open((dir / "f").c_str(), O_RDWR));
  UniqueFd reader(open((dir / "f").c_str(), O_RDONLY));
  EXPECT_THAT(fcntl(reader.get(), F_SETLEASE, F_RDLCK), FailsWith(EAGAIN));
  EXPECT_THAT(fcntl(writer.get(), F_SETLEASE, F_WRLCK), FailsWith(EAGAIN));
}

TEST_P(FcntlLeases, NotOnDirectories) {
  UniqueFd fd(open("/tmp", O_RDONLY));
  EXPECT_THAT(fcntl(fd.get(), F_SETLEASE, F_RDLCK), FailsWith(EINVAL));
}

TEST(FcntlDup, Numbers) {
  UniqueFd fd = OpenTemp();
  UniqueFd high(fcntl(fd.get(), F_DUPFD, 100));
  EXPECT_EQ(high.get(), 100);
  EXPECT_EQ(fcntl(high.get(), F_GETFD), 0);
  UniqueFd next(fcntl(fd.get(), F_DUPFD_CLOEXEC, 100));
  EXPECT_EQ(next.get(), 101);
  EXPECT_EQ(fcntl(next.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_THAT(fcntl(fd.get(), F_DUPFD, -1), FailsWith(EINVAL));
  EXPECT_THAT(fcntl(fd.get(), F_DUPFD, 1 << 30), FailsWith(EINVAL));
}

TEST(FcntlDup, QueryOfTheSameDescription) {
  constexpr int kDupfdQuery = 1027;
  UniqueFd fd = OpenTemp(), other = OpenTemp();
  UniqueFd copy(dup(fd.get()));
  EXPECT_THAT(fcntl(fd.get(), kDupfdQuery, copy.get()), Returns(1));
  EXPECT_THAT(fcntl(fd.get(), kDupfdQuery, other.get()), Returns(0));
  EXPECT_THAT(fcntl(fd.get(), kDupfdQuery, -1), FailsWith(EBADF));
}

PLACE_SUITE(FcntlCreated);
TEST_P(FcntlCreated, TellsWhoMadeTheFile) {
  constexpr int kCreatedQuery = 1028;
  TempDir dir;
  UniqueFd maker(open((dir / "f").c_str(), O_RDWR | O_CREAT, 0600));
  UniqueFd opener(open((dir / "f").c_str(), O_RDWR | O_CREAT, 0600));
  EXPECT_THAT(fcntl(maker.get(), kCreatedQuery), Returns(1));
  EXPECT_THAT(fcntl(opener.get(), kCreatedQuery), Returns(0));
}

TEST(FcntlUnknown, IsInvalid) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(fcntl(fd.get(), 4711, 0), FailsWith(EINVAL));
  EXPECT_THAT(fcntl(-1, F_GETFL), FailsWith(EBADF));
}

TEST(PipeSize, RoundsUpToAPowerOfTwoPages) {
  Pipe pipe;
  EXPECT_THAT(fcntl(pipe.read.get(), F_GETPIPE_SZ), Returns(65536));
  EXPECT_THAT(fcntl(pipe.read.get(), F_SETPIPE_SZ, 1), Returns(4096));
  EXPECT_THAT(fcntl(pipe.write.get(), F_GETPIPE_SZ), Returns(4096));
  EXPECT_THAT(fcntl(pipe.write.get(), F_SETPIPE_SZ, 5000), Returns(8192));
  EXPECT_THAT(fcntl(pipe.write.get(), F_SETPIPE_SZ, 1 << 20), Returns(1 << 20));
}

TEST(PipeSize, NotBelowWhatIsInside) {
  Pipe pipe(O_NONBLOCK);
  const std::string data(20000, 'x');
  EXPECT_THAT(write(pipe.write.get(), data.data(), data.size()), Returns(data.size()));
  EXPECT_THAT(fcntl(pipe.write.get(), F_SETPIPE_SZ, 4096), FailsWith(EBUSY));
}

TEST(PipeSize, OnlyOfPipes) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(fcntl(fd.get(), F_GETPIPE_SZ), FailsWith(EBADF));
  EXPECT_THAT(fcntl(fd.get(), F_SETPIPE_SZ, 4096), FailsWith(EBADF));
}

}  // namespace
