// poll(2) and ppoll(2).
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <thread>

#include "tests/conformance/waiting_support.h"

namespace {

struct KernelTimespec {
  int64_t sec, nsec;
};

long RawPpoll(pollfd* fds, unsigned count, KernelTimespec* timeout, const sigset_t* mask = nullptr,
              size_t size = 8) {
  return syscall(SYS_ppoll, fds, count, timeout, mask, size);
}

volatile sig_atomic_t g_hits;
void Hit(int) { g_hits = g_hits + 1; }

TEST(Poll, NothingAtAll) {
  EXPECT_THAT(poll(nullptr, 0, 0), Returns(0));
  EXPECT_THAT(poll(nullptr, 0, 1), Returns(0));
}

TEST(Poll, NegativeDescriptorsAreIgnored) {
  Pipe pipe;
  Post(pipe.write.get());
  pollfd fds[] = {{-1, POLLIN, 77}, {pipe.read.get(), POLLIN, 0}, {-100, POLLIN, 77}};
  EXPECT_THAT(poll(fds, 3, 1000), Returns(1));
  EXPECT_EQ(fds[0].revents, 0);
  EXPECT_EQ(fds[1].revents, POLLIN);
  EXPECT_EQ(fds[2].revents, 0);
}

TEST(Poll, ClosedDescriptorsAreInvalid) {
  Pipe pipe;
  const int closed = dup(pipe.read.get());
  close(closed);
  EXPECT_EQ(PollOnce(closed, 0), POLLNVAL);
  pollfd fds[] = {{closed, POLLIN, 0}, {pipe.read.get(), POLLIN, 0}};
  EXPECT_THAT(poll(fds, 2, -1), Returns(1));
  EXPECT_EQ(fds[1].revents, 0);
}

TEST(Poll, TheSameDescriptorTwice) {
  Pipe pipe;
  Post(pipe.write.get());
  pollfd fds[] = {{pipe.read.get(), POLLIN, 0}, {pipe.read.get(), POLLIN, 0}};
  EXPECT_THAT(poll(fds, 2, 0), Returns(2));
}

TEST(Poll, OnlyReventsAreWritten) {
  Pipe pipe;
  pollfd fd = {pipe.write.get(), POLLOUT | POLLPRI, 99};
  EXPECT_THAT(poll(&fd, 1, 0), Returns(1));
  EXPECT_EQ(fd.events, POLLOUT | POLLPRI);
  EXPECT_EQ(fd.revents, POLLOUT);
}

TEST(Poll, MoreThanTheLimitOfDescriptors) {
  EXPECT_THAT(InChild([] {
                const rlimit limit = {16, 16};
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
                std::vector<pollfd> fds(17, {-1, POLLIN, 0});
                CHILD_CHECK(poll(fds.data(), 17, 0) == -1 && errno == EINVAL);
                CHILD_CHECK(poll(fds.data(), 16, 0) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(Poll, BadAddresses) {
  EXPECT_THAT(poll(reinterpret_cast<pollfd*>(8), 1, 0), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_poll, nullptr, 1, 0), FailsWith(EFAULT));
}

TEST(Poll, PipeReader) {
  Pipe pipe;
  EXPECT_EQ(PollOnce(pipe.read.get(), POLLIN | POLLOUT), 0);
  Post(pipe.write.get());
  EXPECT_EQ(PollOnce(pipe.read.get(), POLLIN | POLLRDNORM | POLLOUT), POLLIN | POLLRDNORM);
  EXPECT_EQ(PollOnce(pipe.read.get(), 0), 0);
  pipe.write.reset();
  EXPECT_EQ(PollOnce(pipe.read.get(), POLLIN), POLLIN | POLLHUP);
  Drain(pipe.read.get());
  EXPECT_EQ(PollOnce(pipe.read.get(), POLLIN), POLLHUP);
  EXPECT_EQ(PollOnce(pipe.read.get(), 0), POLLHUP);
}

TEST(Poll, PipeWriter) {
  Pipe pipe;
  EXPECT_EQ(PollOnce(pipe.write.get(), POLLOUT | POLLWRNORM | POLLIN), POLLOUT | POLLWRNORM);
  Fill(pipe.write.get());
  EXPECT_EQ(PollOnce(pipe.write.get(), POLLOUT), 0);
  Drain(pipe.read.get());
  EXPECT_EQ(PollOnce(pipe.write.get(), POLLOUT), POLLOUT);
  pipe.read.reset();
  EXPECT_EQ(PollOnce(pipe.write.get(), POLLOUT), POLLOUT | POLLERR);
  EXPECT_EQ(PollOnce(pipe.write.get(), 0), POLLERR);
}

TEST(Poll, RegularFilesAreAlwaysReady) {
  UniqueFd file = OpenTemp();
  EXPECT_EQ(PollOnce(file.get(), POLLIN | POLLOUT | POLLPRI | POLLRDNORM),
            POLLIN | POLLOUT | POLLRDNORM);
  UniqueFd directory(open("/", O_RDONLY | O_DIRECTORY));
  EXPECT_EQ(PollOnce(directory.get(), POLLIN), POLLIN);
  UniqueFd null(open("/dev/null", O_RDWR));
  EXPECT_EQ(PollOnce(null.get(), POLLIN | POLLOUT), POLLIN | POLLOUT);
}

TEST(Poll, PathDescriptorsAreInvalid) {
  UniqueFd path(open("/", O_PATH));
  EXPECT_EQ(PollOnce(path.get(), POLLIN), POLLNVAL);
}

TEST(Poll, SocketPairs) {
  int pair[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), Succeeds());
  UniqueFd a(pair[0]), b(pair[1]);
  EXPECT_EQ(PollOnce(a.get(), POLLIN | POLLOUT | POLLRDHUP), POLLOUT);
  Post(b.get());
  EXPECT_EQ(PollOnce(a.get(), POLLIN | POLLOUT), POLLIN | POLLOUT);
  shutdown(b.get(), SHUT_WR);
  EXPECT_EQ(PollOnce(a.get(), POLLRDHUP), POLLRDHUP);
  EXPECT_EQ(PollOnce(a.get(), 0), 0);
  b.reset();
  EXPECT_EQ(PollOnce(a.get(), POLLRDHUP) & (POLLHUP | POLLRDHUP), POLLHUP | POLLRDHUP);
}

TEST(Poll, WokenByAnotherThread) {
  Pipe pipe;
  std::thread writer([&] {
    EXPECT_TRUE(WaitForState(getpid(), 'S'));
    Post(pipe.write.get());
  });
  pollfd fd = {pipe.read.get(), POLLIN, 0};
  EXPECT_THAT(poll(&fd, 1, -1), Returns(1));
  writer.join();
}

TEST(Poll, WokenByTheSecondOfMany) {
  std::vector<Pipe> pipes(50);
  std::vector<pollfd> fds;
  for (const Pipe& pipe : pipes) fds.push_back({pipe.read.get(), POLLIN, 0});
  const pid_t child = Start([&] {
    CHILD_CHECK(WaitForState(getppid(), 'S'));
    Post(pipes[33].write.get());
    return 0;
  });
  EXPECT_THAT(poll(fds.data(), fds.size(), -1), Returns(1));
  EXPECT_EQ(fds[33].revents, POLLIN);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Poll, WokenByAHangUpNobodyAskedFor) {
  Pipe pipe;
  const pid_t child = Start([&] {
    pollfd fd = {pipe.read.get(), 0, 0};
    pipe.write.reset();
    CHILD_CHECK(poll(&fd, 1, -1) == 1);
    CHILD_CHECK(fd.revents == POLLHUP);
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  pipe.write.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Poll, ASignalInterrupts) {
  const pid_t child = Start([] {
    ScopedAction action(SIGUSR1, Hit, SA_RESTART);
    CHILD_CHECK(poll(nullptr, 0, -1) == -1 && errno == EINTR);
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGUSR1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Poll, StopAndContinueDoNotInterrupt) {
  Pipe pipe;
  const pid_t child = Start([&] {
    pollfd fd = {pipe.read.get(), POLLIN, 0};
    CHILD_CHECK(poll(&fd, 1, -1) == 1);
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGCONT);
  Post(pipe.write.get());
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Ppoll, WritesBackWhatIsLeft) {
  Pipe pipe;
  Post(pipe.write.get());
  pollfd fd = {pipe.read.get(), POLLIN, 0};
  KernelTimespec left = {1000, 0};
  EXPECT_EQ(RawPpoll(&fd, 1, &left), 1);
  EXPECT_LT(left.sec, 1000);
  EXPECT_GT(left.sec, 500);
  KernelTimespec none = {0, 1000};
  EXPECT_EQ(RawPpoll(nullptr, 0, &none), 0);
  EXPECT_EQ(none.sec, 0);
  EXPECT_EQ(none.nsec, 0);
}

TEST(Ppoll, BadTimes) {
  KernelTimespec negative = {-1, 0}, large = {0, 1'000'000'000}, below = {0, -1};
  EXPECT_THAT(RawPpoll(nullptr, 0, &negative), FailsWith(EINVAL));
  EXPECT_THAT(RawPpoll(nullptr, 0, &large), FailsWith(EINVAL));
  EXPECT_THAT(RawPpoll(nullptr, 0, &below), FailsWith(EINVAL));
  EXPECT_THAT(RawPpoll(nullptr, 0, reinterpret_cast<KernelTimespec*>(8)), FailsWith(EFAULT));
}

TEST(Ppoll, BadMasks) {
  KernelTimespec now = {0, 0};
  sigset_t mask;
  sigemptyset(&mask);
  EXPECT_THAT(RawPpoll(nullptr, 0, &now, &mask, 16), FailsWith(EINVAL));
  EXPECT_THAT(RawPpoll(nullptr, 0, &now, reinterpret_cast<sigset_t*>(8)), FailsWith(EFAULT));
  EXPECT_EQ(RawPpoll(nullptr, 0, &now, nullptr, 16), 0);
}

TEST(Ppoll, ThePendingSignalComesThrough) {
  g_hits = 0;
  ScopedAction action(SIGUSR1, Hit);
  ScopedBlock block({SIGUSR1});
  raise(SIGUSR1);
  EXPECT_EQ(g_hits, 0);
  sigset_t empty;
  sigemptyset(&empty);
  EXPECT_THAT(ppoll(nullptr, 0, nullptr, &empty), FailsWith(EINTR));
  EXPECT_EQ(g_hits, 1);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR1), 1);
}

TEST(Ppoll, AMaskThatBlocksHoldsASignalBack) {
  g_hits = 0;
  ScopedAction action(SIGUSR1, Hit);
  Pipe pipe;
  const sigset_t blocked = SetOf({SIGUSR1});
  std::thread sender([&] {
    // It blocks this, too: the main thread alone can take the signal.
    pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    EXPECT_TRUE(WaitForState(getpid(), 'S'));
    kill(getpid(), SIGUSR1);
    Post(pipe.write.get());
  });
  pollfd fd = {pipe.read.get(), POLLIN, 0};
  EXPECT_THAT(ppoll(&fd, 1, nullptr, &blocked), Returns(1));
  sender.join();
  EXPECT_EQ(g_hits, 1);  // On the way out.
}

TEST(Ppoll, TheMaskComesBackAfterATimeout) {
  const sigset_t blocked = SetOf({SIGUSR2});
  const timespec now = {0, 0};
  EXPECT_THAT(ppoll(nullptr, 0, &now, &blocked), Returns(0));
  sigset_t after;
  sigprocmask(SIG_BLOCK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGUSR2), 0);
}

TEST(Poll, ReadinessOfTheOtherEndComesThroughFork) {
  Pipe up, down;
  const pid_t child = Start([&] {
    CHILD_CHECK(WaitReadable(down.read.get()));
    Await(down.read.get());
    Post(up.write.get());
    return 0;
  });
  EXPECT_EQ(PollOnce(up.read.get(), POLLIN), 0);
  Post(down.write.get());
  EXPECT_TRUE(WaitReadable(up.read.get()));
  EXPECT_THAT(Wait(child), Exited(0));
}

}  // namespace
