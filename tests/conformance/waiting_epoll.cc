// epoll(7): what is reported, and when.
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <atomic>
#include <memory>
#include <thread>

#include "tests/conformance/waiting_support.h"

namespace {

volatile sig_atomic_t g_hits;
void Hit(int) { g_hits = g_hits + 1; }

TEST(EpollCreate, Arguments) {
  EXPECT_THAT(epoll_create(0), FailsWith(EINVAL));
  EXPECT_THAT(epoll_create(-1), FailsWith(EINVAL));
  EXPECT_THAT(epoll_create1(1), FailsWith(EINVAL));
  UniqueFd plain(epoll_create(1)), cloexec(epoll_create1(EPOLL_CLOEXEC));
  EXPECT_THAT(fcntl(plain.get(), F_GETFD), Returns(0));
  EXPECT_THAT(fcntl(cloexec.get(), F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_THAT(fcntl(plain.get(), F_GETFL), Returns(O_RDWR));
}

TEST(EpollCtl, ErrorsInTheirOrder) {
  Epoll epoll;
  Pipe pipe;
  UniqueFd file = OpenTemp();
  epoll_event event = {};
  EXPECT_THAT(epoll_ctl(-1, EPOLL_CTL_ADD, pipe.read.get(), nullptr), FailsWith(EFAULT));
  EXPECT_THAT(epoll_ctl(-1, EPOLL_CTL_ADD, pipe.read.get(), &event), FailsWith(EBADF));
  EXPECT_THAT(epoll_ctl(epoll.fd(), EPOLL_CTL_ADD, -1, &event), FailsWith(EBADF));
  EXPECT_THAT(epoll_ctl(file.get(), EPOLL_CTL_ADD, file.get(), &event), FailsWith(EPERM));
  EXPECT_THAT(epoll_ctl(epoll.fd(), EPOLL_CTL_ADD, file.get(), &event), FailsWith(EPERM));
  EXPECT_THAT(epoll_ctl(epoll.fd(), EPOLL_CTL_DEL, file.get(), nullptr), FailsWith(EPERM));
  EXPECT_THAT(epoll_ctl(epoll.fd(), EPOLL_CTL_MOD, file.get(), &event), FailsWith(EPERM));
  EXPECT_THAT(epoll_ctl(pipe.read.get(), EPOLL_CTL_ADD, pipe.read.get(), &event),
              FailsWith(EINVAL));
  EXPECT_THAT(epoll_ctl(pipe.read.get(), EPOLL_CTL_ADD, pipe.write.get(), &event),
              FailsWith(EINVAL));
  EXPECT_THAT(epoll_ctl(epoll.fd(), EPOLL_CTL_ADD, epoll.fd(), &event), FailsWith(EINVAL));
  EXPECT_THAT(epoll_ctl(epoll.fd(), 77, pipe.read.get(), &event), FailsWith(EINVAL));
  EXPECT_THAT(epoll_ctl(epoll.fd(), EPOLL_CTL_MOD, pipe.read.get(), &event), FailsWith(ENOENT));
  EXPECT_THAT(epoll_ctl(epoll.fd(), EPOLL_CTL_DEL, pipe.read.get(), nullptr), FailsWith(ENOENT));
  EXPECT_THAT(epoll_ctl(epoll.fd(), EPOLL_CTL_ADD, pipe.read.get(), &event), Succeeds());
  EXPECT_THAT(epoll_ctl(epoll.fd(), EPOLL_CTL_ADD, pipe.read.get(), &event), FailsWith(EEXIST));
  EXPECT_THAT(epoll_ctl(epoll.fd(), EPOLL_CTL_DEL, pipe.read.get(), nullptr), Succeeds());
}

TEST(EpollWait, Errors) {
  Epoll epoll;
  Pipe pipe;
  epoll_event event;
  EXPECT_THAT(epoll_wait(epoll.fd(), &event, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(epoll_wait(epoll.fd(), &event, -1, 0), FailsWith(EINVAL));
  EXPECT_THAT(epoll_wait(-1, &event, 1, 0), FailsWith(EBADF));
  EXPECT_THAT(epoll_wait(pipe.read.get(), &event, 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(epoll_wait(epoll.fd(), &event, INT32_MAX, 0), FailsWith(EINVAL));
  epoll.Add(pipe.read.get(), EPOLLIN);
  Post(pipe.write.get());
  EXPECT_THAT(epoll_wait(epoll.fd(), reinterpret_cast<epoll_event*>(8), 1, 0), FailsWith(EFAULT));
  EXPECT_EQ(epoll.Wait(), "0:1");
}

TEST(EpollWait, AFaultDoesNotLoseAnEdge) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN | EPOLLET);
  Post(pipe.write.get());
  EXPECT_THAT(epoll_wait(epoll.fd(), reinterpret_cast<epoll_event*>(8), 1, 0), FailsWith(EFAULT));
  EXPECT_EQ(epoll.Wait(), "0:1");
}

TEST(Epoll, CannotBeReadOrWritten) {
  Epoll epoll;
  char c;
  EXPECT_THAT(read(epoll.fd(), &c, 1), FailsWith(EINVAL));
  EXPECT_THAT(write(epoll.fd(), "x", 1), FailsWith(EINVAL));
  EXPECT_THAT(lseek(epoll.fd(), 0, SEEK_SET), testing::AnyOf(Returns(0), FailsWith(ESPIPE)));
}

TEST(Epoll, LevelTriggeredAsLongAsItHolds) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN, 0xabc);
  EXPECT_EQ(epoll.Wait(), "");
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "abc:1");
  EXPECT_EQ(epoll.Wait(), "abc:1");
  Drain(pipe.read.get());
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(Epoll, ReadyWhenAdded) {
  Epoll epoll;
  Pipe pipe;
  Post(pipe.write.get());
  epoll.Add(pipe.read.get(), EPOLLIN | EPOLLET, 1);
  EXPECT_EQ(epoll.Wait(), "1:1");
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(Epoll, EachWriteIsAnEdge) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN | EPOLLET, 1);
  for (int i = 0; i < 5; ++i) {
    Post(pipe.write.get());
    EXPECT_EQ(epoll.Wait(), "1:1") << i;
    EXPECT_EQ(epoll.Wait(), "") << i;
  }
  // Two writes before anybody looks are one report.
  Post(pipe.write.get());
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "1:1");
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(Epoll, ReadingIsNoEdgeForReaders) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN | EPOLLET);
  Post(pipe.write.get());
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "0:1");
  Await(pipe.read.get());
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(Epoll, AnEdgeThatIsGoneIsNotReported) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN | EPOLLET);
  Post(pipe.write.get());
  Drain(pipe.read.get());
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(Epoll, EventfdEdges) {
  Epoll epoll;
  EventFd event;
  epoll.Add(event.fd(), EPOLLIN | EPOLLET, 7);
  for (int i = 0; i < 3; ++i) {
    event.Add();
    EXPECT_EQ(epoll.Wait(), "7:1") << i;
    EXPECT_EQ(epoll.Wait(), "") << i;
  }
}

TEST(Epoll, EventfdReadingIsAnEdgeForWriters) {
  Epoll epoll;
  EventFd event;
  epoll.Add(event.fd(), EPOLLIN | EPOLLOUT | EPOLLET);
  EXPECT_EQ(epoll.Wait(), "0:4");
  EXPECT_EQ(epoll.Wait(), "");
  event.Add();
  EXPECT_EQ(epoll.Wait(), "0:5");
  event.Take();
  EXPECT_EQ(epoll.Wait(), "0:4");
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(Epoll, FullPipeBecomesWritable) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.write.get(), EPOLLOUT | EPOLLET);
  EXPECT_EQ(epoll.Wait(), "0:4");
  Fill(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "");
  Drain(pipe.read.get());
  EXPECT_EQ(epoll.Wait(), "0:4");
}

TEST(Epoll, OneShot) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN | EPOLLONESHOT, 1);
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "1:1");
  EXPECT_EQ(epoll.Wait(), "");
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "");
  EXPECT_THAT(epoll.Mod(pipe.read.get(), EPOLLIN | EPOLLONESHOT, 2), Succeeds());
  EXPECT_EQ(epoll.Wait(), "2:1");
  EXPECT_EQ(epoll.Wait(), "");
  // Not even a hang-up comes before it is armed again.
  pipe.write.reset();
  EXPECT_EQ(epoll.Wait(), "");
  EXPECT_THAT(epoll.Mod(pipe.read.get(), EPOLLIN), Succeeds());
  EXPECT_EQ(epoll.Wait(), "0:11");
}

TEST(Epoll, OneShotWithEdge) {
  Epoll epoll;
  EventFd event;
  epoll.Add(event.fd(), EPOLLIN | EPOLLONESHOT | EPOLLET);
  event.Add();
  EXPECT_EQ(epoll.Wait(), "0:1");
  event.Add();
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(Epoll, ModifyingArmsAnEdgeAgain) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN | EPOLLET, 1);
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "1:1");
  epoll.Mod(pipe.read.get(), EPOLLIN | EPOLLET, 2);
  EXPECT_EQ(epoll.Wait(), "2:1");
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(Epoll, ModifyingChangesEventsAndData) {
  Epoll epoll;
  int pair[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), Succeeds());
  UniqueFd a(pair[0]), b(pair[1]);
  epoll.Add(a.get(), EPOLLIN, 1);
  EXPECT_EQ(epoll.Wait(), "");
  epoll.Mod(a.get(), EPOLLIN | EPOLLOUT, 2);
  EXPECT_EQ(epoll.Wait(), "2:4");
  Post(b.get());
  EXPECT_EQ(epoll.Wait(), "2:5");
  epoll.Mod(a.get(), 0, 3);
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(Epoll, ErrorsAndHangUpsAlwaysCount) {
  Epoll epoll;
  Pipe a, b;
  epoll.Add(a.read.get(), 0, 1);
  epoll.Add(b.write.get(), 0, 2);
  EXPECT_EQ(epoll.Wait(), "");
  a.write.reset();
  EXPECT_EQ(epoll.Wait(), "1:10");
  b.read.reset();
  EXPECT_EQ(epoll.Wait(), "1:10 2:8");
}

TEST(Epoll, PeerShutdown) {
  Epoll epoll;
  int pair[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), Succeeds());
  UniqueFd a(pair[0]), b(pair[1]);
  epoll.Add(a.get(), EPOLLRDHUP | EPOLLET, 1);
  EXPECT_EQ(epoll.Wait(), "");
  shutdown(b.get(), SHUT_WR);
  EXPECT_EQ(epoll.Wait(), "1:2000");
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(Epoll, WakeupIsIgnored) {
  Epoll epoll;
  Pipe pipe;
  EXPECT_THAT(epoll.Add(pipe.read.get(), EPOLLIN | EPOLLWAKEUP, 1), Succeeds());
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "1:1");
}

TEST(Epoll, NoMoreThanAskedForAndInTurn) {
  Epoll epoll;
  std::vector<EventFd> events(4);
  for (size_t i = 0; i < 4; ++i) {
    epoll.Add(events[i].fd(), EPOLLIN, i);
    events[i].Add();
  }
  EXPECT_EQ(epoll.Wait(0, 1), "0:1");
  EXPECT_EQ(epoll.Wait(0, 1), "1:1");
  EXPECT_EQ(epoll.Wait(0, 2), "2:1 3:1");
  EXPECT_EQ(epoll.Wait(0, 3), "0:1 1:1 2:1");
  EXPECT_EQ(epoll.Wait(0, 2), "3:1 0:1");
}

TEST(Epoll, InTheOrderOfReadiness) {
  Epoll epoll;
  std::vector<EventFd> events(3);
  for (size_t i = 0; i < 3; ++i) epoll.Add(events[i].fd(), EPOLLIN, i);
  events[2].Add();
  events[0].Add();
  events[1].Add();
  EXPECT_EQ(epoll.Wait(), "2:1 0:1 1:1");
}

TEST(Epoll, ManyDescriptorsOneReady) {
  Epoll epoll;
  Pipe pipe;
  std::vector<UniqueFd> copies;
  for (int i = 0; i < 300; ++i) {
    copies.emplace_back(dup(pipe.read.get()));
    EXPECT_THAT(epoll.Add(copies.back().get(), EPOLLIN | EPOLLET, i), Succeeds());
  }
  EventFd event;
  epoll.Add(event.fd(), EPOLLIN, 0xfff);
  event.Add();
  EXPECT_EQ(epoll.Wait(), "fff:1");
  event.Take();
  Post(pipe.write.get());
  int reported = 0;
  epoll_event events[400];
  reported = epoll_wait(epoll.fd(), events, 400, 0);
  EXPECT_EQ(reported, 300);
}

TEST(Epoll, TimesOut) {
  Epoll epoll;
  const int64_t begin = NowMs();
  EXPECT_EQ(epoll.Wait(20), "");
  EXPECT_GE(NowMs() - begin, 19);
}

TEST(Epoll, WokenByAnotherThread) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN, 5);
  std::thread writer([&] {
    EXPECT_TRUE(WaitForState(getpid(), 'S'));
    Post(pipe.write.get());
  });
  EXPECT_EQ(epoll.Wait(-1), "5:1");
  writer.join();
}

TEST(Epoll, AddingWakesAWaiter) {
  Epoll epoll;
  EventFd event(1);
  const pid_t child = Start([&] {
    CHILD_CHECK(epoll.Wait(-1) == "9:1");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  epoll.Add(event.fd(), EPOLLIN, 9);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Epoll, ModifyingWakesAWaiter) {
  Epoll epoll;
  EventFd event(1);
  epoll.Add(event.fd(), 0, 9);
  const pid_t child = Start([&] {
    CHILD_CHECK(epoll.Wait(-1) == "8:1");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  epoll.Mod(event.fd(), EPOLLIN, 8);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Epoll, AnEdgeGoesToOneWaiter) {
  Epoll epoll;
  EventFd event;
  epoll.Add(event.fd(), EPOLLIN | EPOLLET);
  std::atomic<int> woken = 0;
  EventFd done;
  std::vector<std::unique_ptr<Thread>> threads;
  for (int i = 0; i < 3; ++i) {
    threads.push_back(std::make_unique<Thread>([&] {
      epoll_event got;
      if (epoll_wait(epoll.fd(), &got, 1, -1) == 1) ++woken;
      done.Add();
    }));
  }
  for (const auto& thread : threads) ASSERT_TRUE(thread->AwaitSleep());
  for (int i = 1; i <= 3; ++i) {
    event.Add();
    EXPECT_TRUE(WaitReadable(done.fd()));
    EXPECT_EQ(done.Take(), 1);
    EXPECT_EQ(woken, i);
  }
}

TEST(Epoll, ASignalInterruptsEvenWithRestart) {
  Epoll epoll;
  const pid_t child = Start([&] {
    ScopedAction action(SIGUSR1, Hit, SA_RESTART);
    CHILD_CHECK(epoll.Wait(-1) == "EINTR");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGUSR1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(EpollPwait, MaskOnlyWhileWaiting) {
  Epoll epoll;
  g_hits = 0;
  ScopedAction action(SIGUSR1, Hit);
  ScopedBlock block({SIGUSR1});
  raise(SIGUSR1);
  sigset_t empty;
  sigemptyset(&empty);
  epoll_event event;
  EXPECT_THAT(epoll_pwait(epoll.fd(), &event, 1, -1, &empty), FailsWith(EINTR));
  EXPECT_EQ(g_hits, 1);
  sigset_t after;
  sigprocmask(SIG_BLOCK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGUSR1), 1);
}

TEST(EpollPwait, Errors) {
  Epoll epoll;
  epoll_event event;
  sigset_t set;
  sigemptyset(&set);
  EXPECT_THAT(syscall(SYS_epoll_pwait, epoll.fd(), &event, 1, 0, &set, 16), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_epoll_pwait, epoll.fd(), &event, 1, 0, 8, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_epoll_pwait, epoll.fd(), &event, 1, 0, nullptr, 16), Returns(0));
}

TEST(EpollPwait2, Timeouts) {
  Epoll epoll;
  EventFd fd(1);
  epoll_event event;
  timespec time = {0, 1000};
  const auto call = [&](timespec* timeout) {
    return syscall(441, epoll.fd(), &event, 1, timeout, nullptr, 8);
  };
  EXPECT_THAT(call(&time), Returns(0));
  time = {0, 1'000'000'000};
  EXPECT_THAT(call(&time), FailsWith(EINVAL));
  time = {-1, 0};
  EXPECT_THAT(call(&time), FailsWith(EINVAL));
  EXPECT_THAT(call(reinterpret_cast<timespec*>(8)), FailsWith(EFAULT));
  epoll.Add(fd.fd(), EPOLLIN);
  EXPECT_THAT(call(nullptr), Returns(1));
}

TEST(EpollFdInfo, TellsWhatIsWatched) {
  Epoll epoll;
  EventFd event;
  epoll.Add(event.fd(), EPOLLIN | EPOLLET, 0xabcdef);
  const std::string text = ReadFile("/proc/self/fdinfo/" + std::to_string(epoll.fd()));
  char want[128];
  snprintf(want, sizeof(want), "tfd: %8d events: %8x data: %16x  pos:0 ino:", event.fd(),
           EPOLLIN | EPOLLET | EPOLLERR | EPOLLHUP, 0xabcdef);
  EXPECT_NE(text.find(want), std::string::npos) << text;
}

TEST(EpollProc, NameAndLimit) {
  Epoll epoll;
  char name[64] = {};
  EXPECT_GT(readlink(("/proc/self/fd/" + std::to_string(epoll.fd())).c_str(), name, 63), 0);
  EXPECT_STREQ(name, "anon_inode:[eventpoll]");
  EXPECT_GT(std::stol(ReadFile("/proc/sys/fs/epoll/max_user_watches")), 1000);
}

}  // namespace
