// What can be waited for, and how each tells of news: eventfd(2), timerfd_create(2), signalfd(2),
// pidfd_open(2), pipes and fifos, terminals.
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <thread>

#include "tests/conformance/waiting_support.h"

namespace {

TEST(EventFd, CountsUpAndIsTakenWhole) {
  EventFd event(3);
  EXPECT_THAT(event.Add(4), Succeeds());
  EXPECT_EQ(event.Take(), 7);
  EXPECT_EQ(event.Take(), -EAGAIN);
}

TEST(EventFd, Semaphores) {
  EventFd event(2, EFD_SEMAPHORE | EFD_NONBLOCK);
  event.Add(1);
  EXPECT_EQ(event.Take(), 1);
  EXPECT_EQ(event.Take(), 1);
  EXPECT_EQ(event.Take(), 1);
  EXPECT_EQ(event.Take(), -EAGAIN);
}

TEST(EventFd, Overflow) {
  EventFd event;
  EXPECT_THAT(event.Add(UINT64_MAX), FailsWith(EINVAL));
  EXPECT_THAT(event.Add(UINT64_MAX - 1), Succeeds());
  EXPECT_THAT(event.Add(1), FailsWith(EAGAIN));
  EXPECT_THAT(event.Add(0), Succeeds());
  EXPECT_EQ(PollOnce(event.fd(), POLLIN | POLLOUT), POLLIN);
  EXPECT_EQ(event.Take(), -2);
  EXPECT_EQ(PollOnce(event.fd(), POLLIN | POLLOUT), POLLOUT);
}

TEST(EventFd, AlmostFullIsWritable) {
  EventFd event;
  event.Add(UINT64_MAX - 2);
  EXPECT_EQ(PollOnce(event.fd(), POLLIN | POLLOUT), POLLIN | POLLOUT);
  EXPECT_THAT(event.Add(2), FailsWith(EAGAIN));
  EXPECT_THAT(event.Add(1), Succeeds());
}

TEST(EventFd, AWriterWaitsForRoom) {
  EventFd event(0, 0);
  event.Add(UINT64_MAX - 1);
  const pid_t child = Start([&] { return event.Add(5); });
  ASSERT_TRUE(WaitForState(child, 'S'));
  EXPECT_EQ(event.Take(), -2);
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(event.Take(), 5);
}

TEST(EventFd, Sizes) {
  EventFd event(1);
  char buffer[16] = {};
  EXPECT_THAT(read(event.fd(), buffer, 7), FailsWith(EINVAL));
  EXPECT_THAT(write(event.fd(), buffer, 7), FailsWith(EINVAL));
  EXPECT_THAT(read(event.fd(), buffer, 16), Returns(8));
  EXPECT_THAT(write(event.fd(), buffer, 16), FailsWith(EINVAL));
  EXPECT_THAT(pread(event.fd(), buffer, 8, 0), FailsWith(ESPIPE));
}

TEST(EventFd, Flags) {
  EXPECT_THAT(eventfd(0, 2), FailsWith(EINVAL));
  EventFd event(0, EFD_CLOEXEC | EFD_NONBLOCK);
  EXPECT_THAT(fcntl(event.fd(), F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_THAT(fcntl(event.fd(), F_GETFL), Returns(O_RDWR | O_NONBLOCK));
}

TEST(EventFd, AZeroIsNews) {
  Epoll epoll;
  EventFd event(1);
  epoll.Add(event.fd(), EPOLLIN | EPOLLET);
  EXPECT_EQ(epoll.Wait(), "0:1");
  event.Add(0);
  EXPECT_EQ(epoll.Wait(), "0:1");
}

TEST(EventFd, SemaphoreStaysReadable) {
  Epoll epoll;
  EventFd event(2, EFD_SEMAPHORE | EFD_NONBLOCK);
  epoll.Add(event.fd(), EPOLLIN);
  EXPECT_EQ(epoll.Wait(), "0:1");
  event.Take();
  EXPECT_EQ(epoll.Wait(), "0:1");
  event.Take();
  EXPECT_EQ(epoll.Wait(), "");
}

class Timer {
 public:
  explicit Timer(int flags = TFD_NONBLOCK) : fd_(timerfd_create(CLOCK_MONOTONIC, flags)) {}
  int Set(long first_ns, long interval_ns = 0) const {
    const itimerspec spec = {{0, interval_ns}, {0, first_ns}};
    return timerfd_settime(fd_.get(), 0, &spec, nullptr);
  }
  int64_t Take() const {
    uint64_t ticks = 0;
    return read(fd_.get(), &ticks, 8) == 8 ? static_cast<int64_t>(ticks) : -errno;
  }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

TEST(TimerFd, BecomesReadable) {
  Timer timer;
  EXPECT_EQ(PollOnce(timer.fd(), POLLIN | POLLOUT), 0);
  EXPECT_EQ(timer.Take(), -EAGAIN);
  timer.Set(1000);
  EXPECT_TRUE(WaitReadable(timer.fd()));
  EXPECT_EQ(timer.Take(), 1);
  EXPECT_EQ(timer.Take(), -EAGAIN);
}

TEST(TimerFd, ATickIsAnEdgeOnceTheLastOnesWereRead) {
  Epoll epoll;
  Timer timer;
  epoll.Add(timer.fd(), EPOLLIN | EPOLLET);
  timer.Set(1000, 1'000'000);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(epoll.Wait(5000), "0:1");
    EXPECT_EQ(epoll.Wait(10), "");
    EXPECT_GE(timer.Take(), 1);
  }
}

TEST(TimerFd, SettingAnewTakesBack) {
  Epoll epoll;
  Timer timer;
  epoll.Add(timer.fd(), EPOLLIN);
  timer.Set(1000);
  EXPECT_TRUE(WaitReadable(timer.fd()));
  timer.Set(0);
  EXPECT_EQ(epoll.Wait(), "");
  EXPECT_EQ(timer.Take(), -EAGAIN);
}

TEST(SignalFd, InEpollAndPoll) {
  ScopedBlock block({SIGUSR1, SIGUSR2});
  const sigset_t set = SetOf({SIGUSR1});
  UniqueFd fd(signalfd(-1, &set, SFD_NONBLOCK));
  Epoll epoll;
  epoll.Add(fd.get(), EPOLLIN | EPOLLET, 1);
  EXPECT_EQ(epoll.Wait(), "");
  raise(SIGUSR2);
  EXPECT_EQ(epoll.Wait(), "");
  raise(SIGUSR1);
  EXPECT_EQ(epoll.Wait(), "1:1");
  EXPECT_EQ(PollOnce(fd.get(), POLLIN), POLLIN);
  signalfd_siginfo info = {};
  EXPECT_THAT(read(fd.get(), &info, sizeof(info)), Returns(sizeof(info)));
  EXPECT_EQ(info.ssi_signo, static_cast<uint32_t>(SIGUSR1));
  EXPECT_EQ(PollOnce(fd.get(), POLLIN), 0);
  const sigset_t other = SetOf({SIGUSR2});
  const timespec now = {0, 0};
  EXPECT_THAT(sigtimedwait(&other, nullptr, &now), Returns(SIGUSR2));
}

TEST(SignalFd, WokenByAnotherProcess) {
  ScopedBlock block({SIGUSR1});
  const sigset_t set = SetOf({SIGUSR1});
  UniqueFd fd(signalfd(-1, &set, 0));
  const pid_t parent = getpid();
  const pid_t child = Start([&] {
    CHILD_CHECK(WaitForState(parent, 'S'));
    return kill(parent, SIGUSR1);
  });
  EXPECT_TRUE(WaitReadable(fd.get()));
  signalfd_siginfo info = {};
  EXPECT_THAT(read(fd.get(), &info, sizeof(info)), Returns(sizeof(info)));
  EXPECT_EQ(info.ssi_pid, static_cast<uint32_t>(child));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(PidFd, ReadableAtTheEnd) {
  Pipe go;
  const pid_t child = Start([&] {
    Await(go.read.get());
    return 0;
  });
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  Epoll epoll;
  epoll.Add(fd.get(), EPOLLIN, 3);
  EXPECT_EQ(PollOnce(fd.get(), POLLIN), 0);
  EXPECT_EQ(epoll.Wait(), "");
  Post(go.write.get());
  EXPECT_EQ(epoll.Wait(5000), "3:1");
  EXPECT_EQ(PollOnce(fd.get(), POLLIN), POLLIN);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Fifo, ReadersAndWriters) {
  TempDir dir;
  const std::string path = dir / "fifo";
  ASSERT_THAT(mkfifo(path.c_str(), 0600), Succeeds());
  UniqueFd reader(open(path.c_str(), O_RDONLY | O_NONBLOCK));
  EXPECT_EQ(PollOnce(reader.get(), POLLIN), 0);
  UniqueFd writer(open(path.c_str(), O_WRONLY));
  EXPECT_EQ(PollOnce(reader.get(), POLLIN), 0);
  EXPECT_EQ(PollOnce(writer.get(), POLLOUT), POLLOUT);
  Post(writer.get());
  EXPECT_EQ(PollOnce(reader.get(), POLLIN), POLLIN);
  writer.reset();
  EXPECT_EQ(PollOnce(reader.get(), POLLIN), POLLIN | POLLHUP);
  Drain(reader.get());
  EXPECT_EQ(PollOnce(reader.get(), POLLIN), POLLHUP);
  writer = UniqueFd(open(path.c_str(), O_WRONLY));
  EXPECT_EQ(PollOnce(reader.get(), POLLIN), 0);
}

TEST(Pipe, WriterIsToldOfTheLastReader) {
  Epoll epoll;
  Pipe pipe;
  Fill(pipe.write.get());
  epoll.Add(pipe.write.get(), EPOLLOUT | EPOLLET);
  EXPECT_EQ(epoll.Wait(), "");
  pipe.read.reset();
  EXPECT_EQ(epoll.Wait(), "0:8");
}

TEST(Pipe, ReaderIsToldOfTheLastWriter) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN | EPOLLET);
  UniqueFd second(dup(pipe.write.get()));
  pipe.write.reset();
  EXPECT_EQ(epoll.Wait(), "");
  second.reset();
  EXPECT_EQ(epoll.Wait(), "0:10");
}

TEST(Pipe, BothEndsInOneEpoll) {
  Epoll epoll;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN, 1);
  epoll.Add(pipe.write.get(), EPOLLOUT, 2);
  EXPECT_EQ(epoll.Wait(), "2:4");
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait().size(), std::string("2:4 1:1").size());
}

TEST(Inotify, EachEventIsAnEdge) {
  TempDir dir;
  UniqueFd fd(inotify_init1(IN_NONBLOCK));
  ASSERT_THAT(inotify_add_watch(fd.get(), dir.path().c_str(), IN_CREATE), Succeeds());
  Epoll epoll;
  epoll.Add(fd.get(), EPOLLIN | EPOLLET, 1);
  EXPECT_EQ(epoll.Wait(), "");
  WriteFile(dir / "a", "");
  EXPECT_EQ(epoll.Wait(), "1:1");
  EXPECT_EQ(epoll.Wait(), "");
  WriteFile(dir / "b", "");
  EXPECT_EQ(epoll.Wait(), "1:1");
  EXPECT_EQ(PollOnce(fd.get(), POLLIN | POLLOUT), POLLIN);
  Drain(fd.get());
  EXPECT_EQ(PollOnce(fd.get(), POLLIN), 0);
}

// A listening socket of an abstract name, and its address.
UniqueFd Listener(sockaddr_un& address, socklen_t& length) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  address = {};
  address.sun_family = AF_UNIX;
  length = sizeof(address);
  EXPECT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)),
              Succeeds());  // A name of the kernel's choice.
  EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &length), Succeeds());
  EXPECT_THAT(listen(fd.get(), 8), Succeeds());
  return fd;
}

TEST(SocketEvents, AListenerIsReadableForEachConnection) {
  sockaddr_un address;
  socklen_t length;
  UniqueFd listener = Listener(address, length);
  Epoll epoll;
  epoll.Add(listener.get(), EPOLLIN | EPOLLET, 1);
  EXPECT_EQ(epoll.Wait(), "");
  UniqueFd clients[2];
  for (UniqueFd& client : clients) {
    client = UniqueFd(socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_THAT(connect(client.get(), reinterpret_cast<sockaddr*>(&address), length), Succeeds());
    EXPECT_EQ(epoll.Wait(), "1:1");
    EXPECT_EQ(epoll.Wait(), "");
  }
  UniqueFd first(accept(listener.get(), nullptr, nullptr));
  EXPECT_EQ(PollOnce(listener.get(), POLLIN), POLLIN);
  UniqueFd second(accept(listener.get(), nullptr, nullptr));
  EXPECT_EQ(PollOnce(listener.get(), POLLIN), 0);
}

TEST(SocketEvents, DatagramsAreEdges) {
  int pair[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), Succeeds());
  UniqueFd a(pair[0]), b(pair[1]);
  Epoll epoll;
  epoll.Add(a.get(), EPOLLIN | EPOLLET, 1);
  for (int i = 0; i < 3; ++i) {
    Post(b.get());
    EXPECT_EQ(epoll.Wait(), "1:1");
    EXPECT_EQ(epoll.Wait(), "");
  }
}

TEST(SocketEvents, AClosedPeer) {
  int pair[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), Succeeds());
  UniqueFd a(pair[0]), b(pair[1]);
  Epoll epoll;
  epoll.Add(a.get(), EPOLLIN | EPOLLRDHUP, 1);
  EXPECT_EQ(epoll.Wait(), "");
  b.reset();
  EXPECT_EQ(epoll.Wait(), "1:2011");
}

TEST(SocketEvents, RoomInAStream) {
  int pair[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), Succeeds());
  UniqueFd a(pair[0]), b(pair[1]);
  Epoll epoll;
  Fill(a.get());
  epoll.Add(a.get(), EPOLLOUT | EPOLLET, 1);
  EXPECT_EQ(epoll.Wait(), "");
  Drain(b.get());
  EXPECT_EQ(epoll.Wait(), "1:4");
}

TEST(PidFd, SelectKnowsItToo) {
  const pid_t child = Start([] { return 3; });
  UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd.get(), &set);
  EXPECT_THAT(select(fd.get() + 1, &set, nullptr, nullptr, nullptr), Returns(1));
  EXPECT_THAT(Wait(child), Exited(3));
}

TEST(SignalFd, EachSignalIsAnEdge) {
  ScopedBlock block({SIGUSR1, SIGUSR2});
  const sigset_t set = SetOf({SIGUSR1, SIGUSR2});
  UniqueFd fd(signalfd(-1, &set, SFD_NONBLOCK));
  Epoll epoll;
  epoll.Add(fd.get(), EPOLLIN | EPOLLET, 1);
  raise(SIGUSR1);
  EXPECT_EQ(epoll.Wait(), "1:1");
  EXPECT_EQ(epoll.Wait(), "");
  raise(SIGUSR2);
  EXPECT_EQ(epoll.Wait(), "1:1");
  Drain(fd.get());
  EXPECT_EQ(PollOnce(fd.get(), POLLIN), 0);
}

class Terminal {
 public:
  Terminal() : master_(posix_openpt(O_RDWR | O_NOCTTY)) {
    grantpt(master_.get());
    unlockpt(master_.get());
    char name[64] = {};
    ptsname_r(master_.get(), name, sizeof(name));
    slave_ = UniqueFd(open(name, O_RDWR | O_NOCTTY));
  }
  int master() const { return master_.get(); }
  int slave() const { return slave_.get(); }
  void CloseSlave() { slave_.reset(); }

 private:
  UniqueFd master_, slave_;
};

TEST(TerminalEvents, ALineMakesTheSlaveReadable) {
  Terminal terminal;
  Epoll epoll;
  epoll.Add(terminal.slave(), EPOLLIN | EPOLLET, 1);
  EXPECT_EQ(epoll.Wait(), "");
  EXPECT_THAT(write(terminal.master(), "ab", 2), Returns(2));
  EXPECT_EQ(PollOnce(terminal.slave(), POLLIN), 0);
  EXPECT_THAT(write(terminal.master(), "\n", 1), Returns(1));
  EXPECT_EQ(epoll.Wait(5000), "1:1");
  char line[8];
  EXPECT_THAT(read(terminal.slave(), line, sizeof(line)), Returns(3));
}

TEST(TerminalEvents, OutputMakesTheMasterReadable) {
  Terminal terminal;
  EXPECT_EQ(PollOnce(terminal.master(), POLLIN | POLLOUT), POLLOUT);
  EXPECT_THAT(write(terminal.slave(), "x", 1), Returns(1));
  EXPECT_TRUE(WaitReadable(terminal.master()));
  terminal.CloseSlave();
  EXPECT_NE(PollOnce(terminal.master(), POLLIN) & POLLHUP, 0);
}

TEST(Everything, InOneInstance) {
  ScopedBlock block({SIGUSR1});
  const sigset_t set = SetOf({SIGUSR1});
  UniqueFd signals(signalfd(-1, &set, SFD_NONBLOCK));
  EventFd event;
  Timer timer;
  Pipe pipe;
  Epoll inner, epoll;
  EventFd deep;
  inner.Add(deep.fd(), EPOLLIN);
  epoll.Add(signals.get(), EPOLLIN, 1);
  epoll.Add(event.fd(), EPOLLIN, 2);
  epoll.Add(timer.fd(), EPOLLIN, 3);
  epoll.Add(pipe.read.get(), EPOLLIN, 4);
  epoll.Add(inner.fd(), EPOLLIN, 5);
  EXPECT_EQ(epoll.Wait(), "");
  raise(SIGUSR1);
  EXPECT_EQ(epoll.Wait(), "1:1");
  signalfd_siginfo info;
  EXPECT_THAT(read(signals.get(), &info, sizeof(info)), Returns(sizeof(info)));
  event.Add();
  EXPECT_EQ(epoll.Wait(), "2:1");
  event.Take();
  timer.Set(1000);
  EXPECT_EQ(epoll.Wait(5000), "3:1");
  timer.Take();
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "4:1");
  Drain(pipe.read.get());
  deep.Add();
  EXPECT_EQ(epoll.Wait(), "5:1");
}

// eventfd, timerfd and signalfd know no bands; pidfd, inotify and epoll do.
TEST(Bands, OnlySomeObjectsHaveThem) {
  constexpr short kAll = POLLIN | POLLRDNORM | POLLRDBAND | POLLOUT | POLLWRNORM | POLLWRBAND;
  EventFd event(1);
  EXPECT_EQ(PollOnce(event.fd(), kAll), POLLIN | POLLOUT);
  EXPECT_EQ(PollOnce(event.fd(), POLLRDNORM | POLLWRNORM), 0);

  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  const itimerspec at_once = {{0, 0}, {0, 1}};
  EXPECT_THAT(timerfd_settime(timer.get(), 0, &at_once, nullptr), Returns(0));
  pollfd one = {timer.get(), POLLIN, 0};
  EXPECT_THAT(poll(&one, 1, -1), Returns(1));
  EXPECT_EQ(PollOnce(timer.get(), kAll), POLLIN);

  sigset_t set, before;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  EXPECT_EQ(pthread_sigmask(SIG_BLOCK, &set, &before), 0);
  UniqueFd signals(signalfd(-1, &set, SFD_NONBLOCK));
  EXPECT_EQ(pthread_kill(pthread_self(), SIGUSR2), 0);
  EXPECT_EQ(PollOnce(signals.get(), kAll), POLLIN);
  signalfd_siginfo info;
  EXPECT_THAT(read(signals.get(), &info, sizeof info), Returns(sizeof info));
  EXPECT_EQ(pthread_sigmask(SIG_SETMASK, &before, nullptr), 0);

  Epoll epoll;
  epoll.Add(event.fd(), EPOLLIN | EPOLLRDNORM | EPOLLWRNORM | EPOLLRDBAND | EPOLLMSG | EPOLLET);
  EXPECT_EQ(PollOnce(epoll.fd(), kAll), POLLIN | POLLRDNORM);
  epoll_event got = {};
  EXPECT_THAT(epoll_wait(epoll.fd(), &got, 1, 0), Returns(1));
  EXPECT_EQ(got.events, static_cast<uint32_t>(EPOLLIN));
}

}  // namespace
