// Waiting for many things: poll(2), select(2), epoll(7), eventfd(2), signalfd(2).
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>

#include <thread>

#include "tests/conformance/support.h"

namespace {

class Epoll {
 public:
  Epoll() : fd_(epoll_create1(EPOLL_CLOEXEC)) { EXPECT_TRUE(fd_.valid()); }
  int Control(int op, int fd, uint32_t events, uint64_t data = 0) {
    epoll_event event = {};
    event.events = events;
    event.data.u64 = data;
    return epoll_ctl(fd_.get(), op, fd, &event);
  }
  int Add(int fd, uint32_t events, uint64_t data = 0) {
    return Control(EPOLL_CTL_ADD, fd, events, data);
  }
  std::vector<epoll_event> Wait(int timeout = 0, int most = 8) {
    std::vector<epoll_event> events(most);
    const int n = epoll_wait(fd_.get(), events.data(), most, timeout);
    EXPECT_GE(n, 0) << ErrnoName(errno);
    events.resize(n < 0 ? 0 : n);
    return events;
  }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

TEST(Poll, SeveralAtOnce) {
  Pipe a, b;
  EXPECT_TRUE(Post(b.write.get()));
  pollfd fds[] = {{a.read.get(), POLLIN, 0}, {b.read.get(), POLLIN, 0}, {-1, POLLIN, 7},
                  {b.write.get(), POLLOUT, 0}};
  EXPECT_THAT(poll(fds, 4, 1000), Returns(2));
  EXPECT_EQ(fds[0].revents, 0);
  EXPECT_EQ(fds[1].revents, POLLIN);
  EXPECT_EQ(fds[2].revents, 0);
  EXPECT_EQ(fds[3].revents, POLLOUT);
}

TEST(Poll, ClosedDescriptorAndFiles) {
  pollfd closed = {999, POLLIN, 0};
  EXPECT_THAT(poll(&closed, 1, 1000), Returns(1));
  EXPECT_EQ(closed.revents, POLLNVAL);
  UniqueFd file = OpenTemp();
  pollfd regular = {file.get(), POLLIN | POLLOUT, 0};
  EXPECT_THAT(poll(&regular, 1, 1000), Returns(1));
  EXPECT_EQ(regular.revents, POLLIN | POLLOUT);
  EXPECT_THAT(poll(reinterpret_cast<pollfd*>(8), 1, 0), FailsWith(EFAULT));
}

TEST(Poll, WakesWhenDataArrives) {
  Pipe pipe;
  std::thread writer([&] {
    EXPECT_TRUE(WaitForState(getpid(), 'S'));
    Post(pipe.write.get());
  });
  EXPECT_TRUE(WaitReadable(pipe.read.get()));
  writer.join();
}

TEST(Ppoll, MaskOnlyWhileWaiting) {
  static volatile sig_atomic_t hit;
  hit = 0;
  ScopedAction action(SIGUSR1, [](int) { hit = 1; });
  ScopedBlock block({SIGUSR1});
  kill(getpid(), SIGUSR1);
  sigset_t empty;
  sigemptyset(&empty);
  const timespec bound = {5, 0};
  EXPECT_THAT(ppoll(nullptr, 0, &bound, &empty), FailsWith(EINTR));
  EXPECT_EQ(hit, 1);
  sigset_t now;
  sigprocmask(SIG_BLOCK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR1), 1);
}

TEST(Select, ReadAndWriteSets) {
  Pipe pipe;
  fd_set reads, writes;
  FD_ZERO(&reads);
  FD_ZERO(&writes);
  FD_SET(pipe.read.get(), &reads);
  FD_SET(pipe.write.get(), &writes);
  const int bound = std::max(pipe.read.get(), pipe.write.get()) + 1;
  timeval none = {};
  EXPECT_THAT(select(bound, &reads, &writes, nullptr, &none), Returns(1));
  EXPECT_FALSE(FD_ISSET(pipe.read.get(), &reads));
  EXPECT_TRUE(FD_ISSET(pipe.write.get(), &writes));
  const int closed = dup(0);
  close(closed);
  FD_SET(closed, &reads);
  EXPECT_THAT(select(closed + 1, &reads, nullptr, nullptr, &none), FailsWith(EBADF));
  EXPECT_THAT(select(-1, nullptr, nullptr, nullptr, &none), FailsWith(EINVAL));
}

TEST(Epoll, LevelTriggeredRepeats) {
  Epoll epoll;
  Pipe pipe;
  ASSERT_THAT(epoll.Add(pipe.read.get(), EPOLLIN, 42), Returns(0));
  EXPECT_TRUE(epoll.Wait().empty());
  EXPECT_TRUE(Post(pipe.write.get()));
  for (int i = 0; i < 2; ++i) {
    const auto events = epoll.Wait();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].events, EPOLLIN);
    EXPECT_EQ(events[0].data.u64, 42u);
  }
  EXPECT_TRUE(Await(pipe.read.get()));
  EXPECT_TRUE(epoll.Wait().empty());
}

TEST(Epoll, EdgeTriggeredOncePerArrival) {
  Epoll epoll;
  Pipe pipe;
  ASSERT_THAT(epoll.Add(pipe.read.get(), EPOLLIN | EPOLLET), Returns(0));
  EXPECT_TRUE(Post(pipe.write.get()));
  EXPECT_EQ(epoll.Wait().size(), 1u);
  EXPECT_EQ(epoll.Wait().size(), 0u);
  EXPECT_TRUE(Post(pipe.write.get()));
  EXPECT_EQ(epoll.Wait().size(), 1u);
}

TEST(Epoll, OneShotUntilRearmed) {
  Epoll epoll;
  Pipe pipe;
  ASSERT_THAT(epoll.Add(pipe.read.get(), EPOLLIN | EPOLLONESHOT), Returns(0));
  EXPECT_TRUE(Post(pipe.write.get()));
  EXPECT_EQ(epoll.Wait().size(), 1u);
  EXPECT_EQ(epoll.Wait().size(), 0u);
  EXPECT_THAT(epoll.Control(EPOLL_CTL_MOD, pipe.read.get(), EPOLLIN | EPOLLONESHOT), Returns(0));
  EXPECT_EQ(epoll.Wait().size(), 1u);
}

TEST(Epoll, HangUpIsAlwaysReported) {
  Epoll epoll;
  Pipe pipe;
  ASSERT_THAT(epoll.Add(pipe.read.get(), 0), Returns(0));
  pipe.write.reset();
  const auto events = epoll.Wait();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].events, EPOLLHUP);
}

TEST(Epoll, Errors) {
  Epoll epoll;
  Pipe pipe;
  UniqueFd file = OpenTemp();
  ASSERT_THAT(epoll.Add(pipe.read.get(), EPOLLIN), Returns(0));
  EXPECT_THAT(epoll.Add(pipe.read.get(), EPOLLIN), FailsWith(EEXIST));
  EXPECT_THAT(epoll.Control(EPOLL_CTL_MOD, pipe.write.get(), EPOLLIN), FailsWith(ENOENT));
  EXPECT_THAT(epoll.Control(EPOLL_CTL_DEL, pipe.write.get(), 0), FailsWith(ENOENT));
  EXPECT_THAT(epoll.Add(999, EPOLLIN), FailsWith(EBADF));
  EXPECT_THAT(epoll.Add(file.get(), EPOLLIN), FailsWith(EPERM));
  EXPECT_THAT(epoll.Add(epoll.fd(), EPOLLIN), FailsWith(EINVAL));
  epoll_event event;
  EXPECT_THAT(epoll_wait(epoll.fd(), &event, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(epoll_wait(file.get(), &event, 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(epoll_create(0), FailsWith(EINVAL));
}

TEST(Epoll, ClosingRemoves) {
  Epoll epoll;
  Pipe pipe;
  ASSERT_THAT(epoll.Add(pipe.read.get(), EPOLLIN), Returns(0));
  EXPECT_TRUE(Post(pipe.write.get()));
  UniqueFd copy(dup(pipe.read.get()));
  pipe.read.reset();
  // The description lives on in the copy, and so does the interest.
  EXPECT_EQ(epoll.Wait().size(), 1u);
  copy.reset();
  EXPECT_EQ(epoll.Wait().size(), 0u);
}

TEST(Epoll, DelStopsReports) {
  Epoll epoll;
  Pipe pipe;
  ASSERT_THAT(epoll.Add(pipe.write.get(), EPOLLOUT), Returns(0));
  EXPECT_EQ(epoll.Wait().size(), 1u);
  EXPECT_THAT(epoll.Control(EPOLL_CTL_DEL, pipe.write.get(), 0), Returns(0));
  EXPECT_EQ(epoll.Wait().size(), 0u);
}

TEST(Epoll, ManyTakeTurns) {
  Epoll epoll;
  std::vector<UniqueFd> fds;
  for (int i = 0; i < 20; ++i) {
    fds.emplace_back(eventfd(1, 0));
    ASSERT_THAT(epoll.Add(fds.back().get(), EPOLLIN, i), Returns(0));
  }
  uint32_t seen = 0;
  for (int round = 0; round < 5; ++round) {
    for (const epoll_event& event : epoll.Wait(0, 4)) seen |= 1u << event.data.u64;
  }
  EXPECT_EQ(seen, (1u << 20) - 1) << "one that was reported goes to the end of the queue";
}

TEST(Epoll, WakesAWaiter) {
  Epoll epoll;
  Pipe pipe;
  ASSERT_THAT(epoll.Add(pipe.read.get(), EPOLLIN), Returns(0));
  std::thread writer([&] {
    EXPECT_TRUE(WaitForState(getpid(), 'S'));
    Post(pipe.write.get());
  });
  EXPECT_EQ(epoll.Wait(5000).size(), 1u);
  writer.join();
}

TEST(Epoll, TimesOut) {
  Epoll epoll;
  const int64_t begin = NowMs();
  EXPECT_EQ(epoll.Wait(30).size(), 0u);
  EXPECT_GE(NowMs() - begin, 29);
}

TEST(Epoll, Nests) {
  Epoll inner, outer;
  Pipe pipe;
  ASSERT_THAT(inner.Add(pipe.read.get(), EPOLLIN), Returns(0));
  ASSERT_THAT(outer.Add(inner.fd(), EPOLLIN), Returns(0));
  EXPECT_EQ(outer.Wait().size(), 0u);
  EXPECT_TRUE(Post(pipe.write.get()));
  EXPECT_EQ(outer.Wait(1000).size(), 1u);
  EXPECT_THAT(inner.Add(outer.fd(), EPOLLIN), FailsWith(ELOOP));
}

TEST(Epoll, PwaitMask) {
  ScopedAction action(SIGUSR1, [](int) {});
  ScopedBlock block({SIGUSR1});
  Epoll epoll;
  kill(getpid(), SIGUSR1);
  sigset_t empty;
  sigemptyset(&empty);
  epoll_event event;
  EXPECT_THAT(epoll_pwait(epoll.fd(), &event, 1, 5000, &empty), FailsWith(EINTR));
}

TEST(Eventfd, CounterAndLimits) {
  UniqueFd fd(eventfd(3, EFD_NONBLOCK));
  uint64_t value = 4;
  EXPECT_THAT(write(fd.get(), &value, 8), Returns(8));
  EXPECT_THAT(read(fd.get(), &value, 8), Returns(8));
  EXPECT_EQ(value, 7u);
  EXPECT_THAT(read(fd.get(), &value, 8), FailsWith(EAGAIN));
  value = ~0ull;
  EXPECT_THAT(write(fd.get(), &value, 8), FailsWith(EINVAL));
  value = ~0ull - 1;
  EXPECT_THAT(write(fd.get(), &value, 8), Returns(8));
  value = 1;
  EXPECT_THAT(write(fd.get(), &value, 8), FailsWith(EAGAIN));
  EXPECT_THAT(read(fd.get(), &value, 4), FailsWith(EINVAL));
}

TEST(Eventfd, Semaphore) {
  UniqueFd fd(eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE));
  uint64_t value = 0;
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(read(fd.get(), &value, 8), Returns(8));
    EXPECT_EQ(value, 1u);
  }
  EXPECT_THAT(read(fd.get(), &value, 8), FailsWith(EAGAIN));
}

TEST(Eventfd, WakesAReaderInAnotherProcess) {
  UniqueFd fd(eventfd(0, 0));
  const pid_t child = Start([&] {
    uint64_t value = 0;
    return read(fd.get(), &value, 8) == 8 && value == 5 ? 0 : 1;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  const uint64_t five = 5;
  EXPECT_THAT(write(fd.get(), &five, 8), Returns(8));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Signalfd, ReadsPendingSignals) {
  ScopedBlock block({SIGUSR1, SIGUSR2});
  const sigset_t set = SetOf({SIGUSR1, SIGUSR2});
  UniqueFd fd(signalfd(-1, &set, SFD_NONBLOCK));
  ASSERT_TRUE(fd.valid());
  signalfd_siginfo info[4] = {};
  EXPECT_THAT(read(fd.get(), info, sizeof info), FailsWith(EAGAIN));
  kill(getpid(), SIGUSR2);
  sigqueue(getpid(), SIGUSR1, {.sival_int = 6});
  EXPECT_TRUE(WaitReadable(fd.get(), 0));
  EXPECT_THAT(read(fd.get(), info, sizeof info), Returns(2 * sizeof info[0]));
  EXPECT_EQ(info[0].ssi_signo, static_cast<uint32_t>(SIGUSR1));
  EXPECT_EQ(info[0].ssi_int, 6);
  EXPECT_EQ(info[1].ssi_signo, static_cast<uint32_t>(SIGUSR2));
  EXPECT_EQ(info[1].ssi_pid, static_cast<uint32_t>(getpid()));
  EXPECT_THAT(read(fd.get(), info, 4), FailsWith(EINVAL));
}

TEST(Signalfd, InEpollForAChild) {
  ScopedBlock block({SIGCHLD});
  const sigset_t set = SetOf({SIGCHLD});
  UniqueFd fd(signalfd(-1, &set, SFD_NONBLOCK));
  Epoll epoll;
  ASSERT_THAT(epoll.Add(fd.get(), EPOLLIN), Returns(0));
  const pid_t child = Start([] { return 3; });
  ASSERT_EQ(epoll.Wait(5000).size(), 1u);
  signalfd_siginfo info = {};
  EXPECT_THAT(read(fd.get(), &info, sizeof info), Returns(sizeof info));
  EXPECT_EQ(info.ssi_pid, static_cast<uint32_t>(child));
  EXPECT_EQ(info.ssi_status, 3);
  EXPECT_THAT(Wait(child), Exited(3));
}

}  // namespace
