// select(2) and pselect(2).
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <thread>

#include "tests/conformance/waiting_support.h"

namespace {

class Set {
 public:
  Set() { FD_ZERO(&set_); }
  Set(std::initializer_list<int> fds) : Set() {
    for (const int fd : fds) FD_SET(fd, &set_);
  }
  bool has(int fd) const { return FD_ISSET(fd, &set_); }
  fd_set* get() { return &set_; }

 private:
  fd_set set_;
};

struct RawMask {
  const sigset_t* set;
  size_t size;
};

// The call itself: the C library hides what is written back.
long RawPselect(int count, fd_set* read, timespec* timeout, const RawMask* mask) {
  return syscall(SYS_pselect6, count, read, nullptr, nullptr, timeout, mask);
}

long RawSelect(int count, fd_set* read, fd_set* write, fd_set* except, timeval* timeout) {
  return syscall(SYS_select, count, read, write, except, timeout);
}

void Ignore(int) {}

TEST(Select, ReadableWritable) {
  Pipe pipe;
  Post(pipe.write.get());
  Set read{pipe.read.get(), pipe.write.get()}, write{pipe.write.get(), pipe.read.get()};
  const int count = std::max(pipe.read.get(), pipe.write.get()) + 1;
  EXPECT_THAT(select(count, read.get(), write.get(), nullptr, nullptr), Returns(2));
  EXPECT_TRUE(read.has(pipe.read.get()));
  EXPECT_FALSE(read.has(pipe.write.get()));
  EXPECT_TRUE(write.has(pipe.write.get()));
  EXPECT_FALSE(write.has(pipe.read.get()));
}

TEST(Select, OneDescriptorInTwoSetsCountsTwice) {
  int pair[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), Succeeds());
  UniqueFd a(pair[0]), b(pair[1]);
  Post(b.get());
  Set read{a.get()}, write{a.get()};
  EXPECT_THAT(select(a.get() + 1, read.get(), write.get(), nullptr, nullptr), Returns(2));
}

TEST(Select, EndOfFileIsReadable) {
  Pipe pipe;
  pipe.write.reset();
  Set read{pipe.read.get()};
  EXPECT_THAT(select(pipe.read.get() + 1, read.get(), nullptr, nullptr, nullptr), Returns(1));
}

TEST(Select, ABrokenPipeIsWritableAndReadable) {
  Pipe pipe;
  pipe.read.reset();
  Set read{pipe.write.get()}, write{pipe.write.get()};
  EXPECT_THAT(select(pipe.write.get() + 1, read.get(), write.get(), nullptr, nullptr), Returns(2));
}

TEST(Select, FilesAreAlwaysReady) {
  UniqueFd file = OpenTemp();
  Set read{file.get()}, write{file.get()}, except{file.get()};
  EXPECT_THAT(select(file.get() + 1, read.get(), write.get(), except.get(), nullptr), Returns(2));
  EXPECT_FALSE(except.has(file.get()));
}

TEST(Select, ClosedDescriptors) {
  Pipe pipe;
  const int closed = dup(pipe.read.get());
  close(closed);
  Set read{closed};
  EXPECT_THAT(select(closed + 1, read.get(), nullptr, nullptr, nullptr), FailsWith(EBADF));
  EXPECT_TRUE(read.has(closed));  // Nothing is written.
  Set above{closed};
  timeval now = {0, 0};
  EXPECT_THAT(select(closed, above.get(), nullptr, nullptr, &now), Returns(0));
}

TEST(Select, Counts) {
  timeval now = {0, 0};
  EXPECT_THAT(select(-1, nullptr, nullptr, nullptr, &now), FailsWith(EINVAL));
  EXPECT_THAT(select(0, nullptr, nullptr, nullptr, &now), Returns(0));
  Set none;
  EXPECT_THAT(select(1024, none.get(), none.get(), none.get(), &now), Returns(0));
}

TEST(Select, BitsAboveTheTableDoNotCount) {
  // Linux looks at no more than there is room for in the table.
  fd_set sets[64];
  memset(sets, 0, sizeof(sets));
  FD_SET(5, &sets[40]);
  timeval now = {0, 0};
  EXPECT_THAT(RawSelect(64 * 1024, sets, nullptr, nullptr, &now), Returns(0));
}

TEST(Select, BadAddresses) {
  Pipe pipe;
  timeval now = {0, 0};
  EXPECT_THAT(RawSelect(8, reinterpret_cast<fd_set*>(8), nullptr, nullptr, &now),
              FailsWith(EFAULT));
  EXPECT_THAT(RawSelect(0, nullptr, nullptr, nullptr, reinterpret_cast<timeval*>(8)),
              FailsWith(EFAULT));
}

TEST(Select, TimesAreChecked) {
  timeval negative = {-1, 0}, below = {0, -1};
  EXPECT_THAT(RawSelect(0, nullptr, nullptr, nullptr, &negative), FailsWith(EINVAL));
  EXPECT_THAT(RawSelect(0, nullptr, nullptr, nullptr, &below), FailsWith(EINVAL));
}

TEST(Select, MicrosecondsMayBeMany) {
  Pipe pipe;
  Post(pipe.write.get());
  Set read{pipe.read.get()};
  timeval many = {0, 5'000'000};
  EXPECT_THAT(RawSelect(pipe.read.get() + 1, read.get(), nullptr, nullptr, &many), Returns(1));
  EXPECT_GE(many.tv_sec, 1);
}

TEST(Select, WritesBackWhatIsLeft) {
  Pipe pipe;
  Post(pipe.write.get());
  Set read{pipe.read.get()};
  timeval left = {1000, 0};
  EXPECT_THAT(RawSelect(pipe.read.get() + 1, read.get(), nullptr, nullptr, &left), Returns(1));
  EXPECT_LT(left.tv_sec, 1000);
  EXPECT_GT(left.tv_sec, 500);
  timeval none = {0, 1000};
  EXPECT_THAT(RawSelect(0, nullptr, nullptr, nullptr, &none), Returns(0));
  EXPECT_EQ(none.tv_sec, 0);
  EXPECT_EQ(none.tv_usec, 0);
}

TEST(Select, SetsAreClearedAtTheTimeout) {
  Pipe pipe;
  Set read{pipe.read.get()};
  timeval now = {0, 0};
  EXPECT_THAT(select(pipe.read.get() + 1, read.get(), nullptr, nullptr, &now), Returns(0));
  EXPECT_FALSE(read.has(pipe.read.get()));
}

TEST(Select, WokenByAnotherThread) {
  Pipe pipe;
  std::thread writer([&] {
    EXPECT_TRUE(WaitForState(getpid(), 'S'));
    Post(pipe.write.get());
  });
  Set read{pipe.read.get()};
  EXPECT_THAT(select(pipe.read.get() + 1, read.get(), nullptr, nullptr, nullptr), Returns(1));
  writer.join();
}

TEST(Select, WokenForWriting) {
  Pipe pipe;
  Fill(pipe.write.get());
  const pid_t child = Start([&] {
    Set write{pipe.write.get()};
    CHILD_CHECK(select(pipe.write.get() + 1, nullptr, write.get(), nullptr, nullptr) == 1);
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  Drain(pipe.read.get());
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Select, ASignalInterruptsEvenWithRestart) {
  const pid_t child = Start([] {
    ScopedAction action(SIGUSR1, Ignore, SA_RESTART);
    CHILD_CHECK(select(0, nullptr, nullptr, nullptr, nullptr) == -1 && errno == EINTR);
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGUSR1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Pselect, WritesBackWhatIsLeft) {
  Pipe pipe;
  Post(pipe.write.get());
  Set read{pipe.read.get()};
  timespec left = {1000, 0};
  EXPECT_THAT(RawPselect(pipe.read.get() + 1, read.get(), &left, nullptr), Returns(1));
  EXPECT_LT(left.tv_sec, 1000);
  EXPECT_GT(left.tv_sec, 500);
}

TEST(Pselect, TheLibraryHidesIt) {
  Pipe pipe;
  Post(pipe.write.get());
  Set read{pipe.read.get()};
  const timespec bound = {1000, 0};
  EXPECT_THAT(pselect(pipe.read.get() + 1, read.get(), nullptr, nullptr, &bound, nullptr),
              Returns(1));
  EXPECT_EQ(bound.tv_sec, 1000);
}

TEST(Pselect, MaskOnlyWhileWaiting) {
  static volatile sig_atomic_t hits;
  hits = 0;
  ScopedAction action(SIGUSR1, [](int) { hits = hits + 1; });
  ScopedBlock block({SIGUSR1});
  raise(SIGUSR1);
  sigset_t empty;
  sigemptyset(&empty);
  EXPECT_THAT(pselect(0, nullptr, nullptr, nullptr, nullptr, &empty), FailsWith(EINTR));
  EXPECT_EQ(hits, 1);
  sigset_t after;
  sigprocmask(SIG_BLOCK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGUSR1), 1);
}

TEST(Pselect, BadMasks) {
  timespec now = {0, 0};
  sigset_t set;
  sigemptyset(&set);
  const RawMask wrong = {&set, 16}, none = {nullptr, 16}, bad = {reinterpret_cast<sigset_t*>(8), 8};
  EXPECT_THAT(RawPselect(0, nullptr, &now, &wrong), FailsWith(EINVAL));
  EXPECT_THAT(RawPselect(0, nullptr, &now, &none), Returns(0));
  EXPECT_THAT(RawPselect(0, nullptr, &now, &bad), FailsWith(EFAULT));
  EXPECT_THAT(RawPselect(0, nullptr, &now, reinterpret_cast<RawMask*>(8)), FailsWith(EFAULT));
}

TEST(Pselect, TimesAreChecked) {
  timespec large = {0, 1'000'000'000}, negative = {-1, 0};
  EXPECT_THAT(RawPselect(0, nullptr, &large, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(RawPselect(0, nullptr, &negative, nullptr), FailsWith(EINVAL));
}

TEST(Select, HighDescriptors) {
  EXPECT_THAT(InChild([] {
                Pipe pipe;
                Post(pipe.write.get());
                CHILD_CHECK(dup2(pipe.read.get(), 1000) == 1000);
                Set read{1000};
                CHILD_CHECK(select(1001, read.get(), nullptr, nullptr, nullptr) == 1);
                CHILD_CHECK(read.has(1000));
                return 0;
              }),
              Exited(0));
}

}  // namespace
