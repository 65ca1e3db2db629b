// POSIX message queues: mq_overview(7).
#include <mqueue.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/conformance/ipc_support.h"

namespace {

timespec In(long ms) {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  now.tv_sec += ms / 1000;
  now.tv_nsec += ms % 1000 * 1'000'000;
  if (now.tv_nsec >= 1'000'000'000) now.tv_nsec -= 1'000'000'000, ++now.tv_sec;
  return now;
}

TEST(MqOpen, CreatesAndFinds) {
  const std::string name = FreshQueueName();
  EXPECT_THAT(mq_open(name.c_str(), O_RDWR), FailsWith(ENOENT));
  const int fd = mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, nullptr);
  ASSERT_THAT(fd, Succeeds());
  const int again = mq_open(name.c_str(), O_RDONLY);
  EXPECT_THAT(again, Succeeds());
  EXPECT_THAT(mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, nullptr), FailsWith(EEXIST));
  EXPECT_THAT(mq_close(again), Succeeds());
  EXPECT_THAT(mq_unlink(name.c_str()), Succeeds());
  EXPECT_THAT(mq_unlink(name.c_str()), FailsWith(ENOENT));
  EXPECT_THAT(mq_open(name.c_str(), O_RDWR), FailsWith(ENOENT));
  // What is open goes on.
  EXPECT_THAT(mq_send(fd, "x", 1, 0), Succeeds());
  EXPECT_THAT(mq_close(fd), Succeeds());
}

TEST(MqOpen, Names) {
  EXPECT_THAT(mq_open("none", O_RDWR), FailsWith(EINVAL));  // The C library's own.
  EXPECT_THAT(syscall(SYS_mq_open, "", O_RDWR | O_CREAT, 0600, nullptr), FailsWith(ENOENT));
  EXPECT_THAT(syscall(SYS_mq_open, "a/b", O_RDWR | O_CREAT, 0600, nullptr), FailsWith(EACCES));
  EXPECT_THAT(syscall(SYS_mq_open, ".", O_RDWR | O_CREAT, 0600, nullptr), FailsWith(EACCES));
  EXPECT_THAT(syscall(SYS_mq_open, "..", O_RDWR, 0600, nullptr), FailsWith(EACCES));
  const std::string longest(255, 'n'), too_long(256, 'n');
  const int fd =
      static_cast<int>(syscall(SYS_mq_open, longest.c_str(), O_RDWR | O_CREAT, 0600, nullptr));
  EXPECT_THAT(fd, Succeeds());
  close(fd);
  EXPECT_THAT(syscall(SYS_mq_unlink, longest.c_str()), Succeeds());
  EXPECT_THAT(syscall(SYS_mq_open, too_long.c_str(), O_RDWR | O_CREAT, 0600, nullptr),
              FailsWith(ENAMETOOLONG));
  EXPECT_THAT(syscall(SYS_mq_open, 8, O_RDWR | O_CREAT, 0600, nullptr), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_mq_unlink, ""), FailsWith(ENOENT));
}

TEST(MqOpen, Attributes) {
  Mq queue(O_RDWR | O_NONBLOCK, 3, 33);
  const mq_attr attr = queue.Attributes();
  EXPECT_EQ(attr.mq_maxmsg, 3);
  EXPECT_EQ(attr.mq_msgsize, 33);
  EXPECT_EQ(attr.mq_curmsgs, 0);
  EXPECT_EQ(attr.mq_flags, O_NONBLOCK);
}

TEST(MqOpen, Defaults) {
  const std::string name = FreshQueueName();
  const int fd = mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, nullptr);
  mq_attr attr = {};
  EXPECT_THAT(mq_getattr(fd, &attr), Succeeds());
  EXPECT_EQ(attr.mq_maxmsg, 10);
  EXPECT_EQ(attr.mq_msgsize, 8192);
  mq_close(fd);
  mq_unlink(name.c_str());
}

TEST(MqOpen, BadAttributes) {
  const std::string name = FreshQueueName();
  for (const auto& [messages, size] :
       {std::pair<long, long>{0, 1}, {1, 0}, {-1, 1}, {1, -1}, {65537, 1}, {1, (16 << 20) + 1}}) {
    mq_attr attr = {};
    attr.mq_maxmsg = messages;
    attr.mq_msgsize = size;
    EXPECT_THAT(mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &attr), FailsWith(EINVAL))
        << messages << " " << size;
  }
  mq_attr attr = {};
  attr.mq_maxmsg = 11;
  attr.mq_msgsize = 8192;
  EXPECT_THAT(
      AsNobody([&] {
        CHILD_CHECK(ErrnoOf(mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &attr)) == EINVAL);
        return 0;
      }),
      Exited(0));
}

TEST(MqOpen, MemoryIsLimited) {
  const std::string name = FreshQueueName();
  EXPECT_THAT(
      InChild([&] {
        const rlimit limit = {1000, 1000};
        CHILD_CHECK(setrlimit(RLIMIT_MSGQUEUE, &limit) == 0);
        mq_attr attr = {};
        attr.mq_maxmsg = 10;
        attr.mq_msgsize = 100;
        CHILD_CHECK(ErrnoOf(mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &attr)) == EMFILE);
        attr.mq_maxmsg = 1;
        const int fd = mq_open(name.c_str(), O_RDWR | O_CREAT, 0600, &attr);
        CHILD_CHECK(fd >= 0);
        mq_unlink(name.c_str());
        return 0;
      }),
      Exited(0));
}

TEST(MqOpen, RightsAndModes) {
  Mq queue(O_RDWR, 4, 16, 0644);
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(ErrnoOf(mq_open(queue.name().c_str(), O_RDWR)) == EACCES);
                CHILD_CHECK(mq_open(queue.name().c_str(), O_RDONLY) >= 0);
                CHILD_CHECK(ErrnoOf(syscall(SYS_mq_unlink, queue.name().c_str() + 1)) == EPERM);
                return 0;
              }),
              Exited(0));
  struct stat st = {};
  EXPECT_THAT(fstat(queue.fd(), &st), Succeeds());
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFREG | 0644));
  EXPECT_EQ(st.st_size, 80);
}

TEST(MqOpen, ClosesOnExec) {
  Mq queue;
  EXPECT_THAT(fcntl(queue.fd(), F_GETFD), Returns(FD_CLOEXEC));
}

TEST(MqOpen, UmaskCounts) {
  const mode_t old = umask(077);
  Mq queue(O_RDWR, 4, 16, 0666);
  umask(old);
  struct stat st = {};
  fstat(queue.fd(), &st);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
}

TEST(Mq, HighestPriorityFirst) {
  Mq queue;
  queue.Send("low", 1);
  queue.Send("high", 9);
  queue.Send("low too", 1);
  queue.Send("highest", 32767);
  unsigned priority = 0;
  EXPECT_EQ(queue.Attributes().mq_curmsgs, 4);
  EXPECT_EQ(queue.Receive(&priority), "highest");
  EXPECT_EQ(priority, 32767u);
  EXPECT_EQ(queue.Receive(&priority), "high");
  EXPECT_EQ(priority, 9u);
  EXPECT_EQ(queue.Receive(), "low");
  EXPECT_EQ(queue.Receive(&priority), "low too");
  EXPECT_EQ(priority, 1u);
}

TEST(Mq, EmptyMessages) {
  Mq queue;
  EXPECT_THAT(queue.Send(""), Succeeds());
  EXPECT_EQ(queue.Attributes().mq_curmsgs, 1);
  EXPECT_EQ(queue.Receive(), "");
}

TEST(Mq, Nonblocking) {
  Mq queue(O_RDWR | O_NONBLOCK, 2, 16);
  EXPECT_EQ(queue.Receive(), "EAGAIN");
  queue.Send("1");
  queue.Send("2");
  EXPECT_THAT(queue.Send("3"), FailsWith(EAGAIN));
}

TEST(Mq, Sizes) {
  Mq queue(O_RDWR | O_NONBLOCK, 2, 16);
  EXPECT_THAT(queue.Send(std::string(17, 'x')), FailsWith(EMSGSIZE));
  EXPECT_THAT(queue.Send(std::string(16, 'x')), Succeeds());
  char small[15];
  EXPECT_THAT(mq_receive(queue.fd(), small, sizeof(small), nullptr), FailsWith(EMSGSIZE));
  EXPECT_EQ(queue.Attributes().mq_curmsgs, 1);
}

TEST(Mq, Errors) {
  Mq queue(O_RDWR | O_NONBLOCK);
  EXPECT_THAT(queue.Send("x", 32768), FailsWith(EINVAL));
  EXPECT_THAT(mq_send(-1, "x", 1, 0), FailsWith(EBADF));
  UniqueFd file = OpenTemp();
  EXPECT_THAT(mq_send(file.get(), "x", 1, 0), FailsWith(EBADF));
  char buffer[16];
  EXPECT_THAT(mq_receive(file.get(), buffer, 16, nullptr), FailsWith(EBADF));
  EXPECT_THAT(mq_notify(file.get(), nullptr), FailsWith(EBADF));
  mq_attr attr;
  EXPECT_THAT(mq_getattr(file.get(), &attr), FailsWith(EBADF));
  EXPECT_THAT(syscall(SYS_mq_timedsend, queue.fd(), 8, 1, 0, nullptr), FailsWith(EFAULT));
  const int reader = mq_open(queue.name().c_str(), O_RDONLY | O_NONBLOCK);
  const int writer = mq_open(queue.name().c_str(), O_WRONLY | O_NONBLOCK);
  EXPECT_THAT(mq_send(reader, "x", 1, 0), FailsWith(EBADF));
  EXPECT_THAT(mq_receive(writer, buffer, 16, nullptr), FailsWith(EBADF));
  EXPECT_THAT(mq_send(writer, "x", 1, 0), Succeeds());
  EXPECT_THAT(mq_receive(reader, buffer, 16, nullptr), Returns(1));
  mq_close(reader);
  mq_close(writer);
}

TEST(Mq, Timeouts) {
  Mq queue(O_RDWR, 1, 16);
  char buffer[16];
  timespec soon = In(5);
  EXPECT_THAT(mq_timedreceive(queue.fd(), buffer, 16, nullptr, &soon), FailsWith(ETIMEDOUT));
  const timespec past = {1, 0};
  EXPECT_THAT(mq_timedreceive(queue.fd(), buffer, 16, nullptr, &past), FailsWith(ETIMEDOUT));
  EXPECT_THAT(mq_timedsend(queue.fd(), "x", 1, 0, &past), Succeeds());
  soon = In(5);
  EXPECT_THAT(mq_timedsend(queue.fd(), "x", 1, 0, &soon), FailsWith(ETIMEDOUT));
  EXPECT_THAT(mq_timedreceive(queue.fd(), buffer, 16, nullptr, &past), Returns(1));
  const timespec bad = {1, 1'000'000'000}, negative = {-1, 0};
  EXPECT_THAT(mq_timedsend(queue.fd(), "x", 1, 0, &bad), FailsWith(EINVAL));
  EXPECT_THAT(mq_timedreceive(queue.fd(), buffer, 16, nullptr, &negative), FailsWith(EINVAL));
}

TEST(Mq, ReceiverWaits) {
  Mq queue;
  const pid_t child = Start([&] {
    unsigned priority = 0;
    CHILD_CHECK(queue.Receive(&priority) == "hello");
    CHILD_CHECK(priority == 3);
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  queue.Send("hello", 3);
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(queue.Attributes().mq_curmsgs, 0);
}

TEST(Mq, SenderWaits) {
  Mq queue(O_RDWR, 1, 16);
  queue.Send("first", 1);
  const pid_t child = Start([&] { return queue.Send("second", 5); });
  ASSERT_TRUE(WaitForState(child, 'S'));
  EXPECT_EQ(queue.Receive(), "first");
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(queue.Receive(), "second");
}

TEST(Mq, WaitingSendersGoInTheOrderTheyCame) {
  // Not in that of their messages.
  Mq queue(O_RDWR, 1, 16);
  queue.Send("first");
  const pid_t low = Start([&] { return queue.Send("low", 1); });
  ASSERT_TRUE(WaitForState(low, 'S'));
  const pid_t high = Start([&] { return queue.Send("high", 2); });
  ASSERT_TRUE(WaitForState(high, 'S'));
  EXPECT_EQ(queue.Receive(), "first");
  EXPECT_EQ(queue.Receive(), "low");
  EXPECT_EQ(queue.Receive(), "high");
  EXPECT_THAT(Wait(low), Exited(0));
  EXPECT_THAT(Wait(high), Exited(0));
}

TEST(Mq, AWaitingReceiverIsServedFirst) {
  Mq queue;
  const pid_t child = Start([&] {
    CHILD_CHECK(queue.Receive() == "mine");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  const int other = mq_open(queue.name().c_str(), O_RDONLY | O_NONBLOCK);
  queue.Send("mine");
  EXPECT_EQ(Mq::ReceiveFrom(other), "EAGAIN");
  EXPECT_THAT(Wait(child), Exited(0));
  mq_close(other);
}

TEST(Mq, SignalsInterruptOrRestart) {
  Mq queue;
  const pid_t child = Start([&] {
    ScopedAction action(SIGUSR1, [](int) {});
    CHILD_CHECK(queue.Receive() == "EINTR");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGUSR1);
  EXPECT_THAT(Wait(child), Exited(0));
  const pid_t restarted = Start([&] {
    ScopedAction action(
        SIGUSR1, [](int) {}, SA_RESTART);
    CHILD_CHECK(queue.Receive() == "x");
    return 0;
  });
  ASSERT_TRUE(WaitForState(restarted, 'S'));
  kill(restarted, SIGUSR1);
  queue.Send("x");
  EXPECT_THAT(Wait(restarted), Exited(0));
}

TEST(Mq, SetattrChangesNonblockOnly) {
  Mq queue(O_RDWR, 4, 16);
  mq_attr wanted = {}, old = {};
  wanted.mq_flags = O_NONBLOCK;
  wanted.mq_maxmsg = 99;
  EXPECT_THAT(mq_setattr(queue.fd(), &wanted, &old), Succeeds());
  EXPECT_EQ(old.mq_flags, 0);
  EXPECT_EQ(old.mq_maxmsg, 4);
  EXPECT_EQ(queue.Attributes().mq_flags, O_NONBLOCK);
  EXPECT_EQ(queue.Attributes().mq_maxmsg, 4);
  EXPECT_EQ(queue.Receive(), "EAGAIN");
  wanted.mq_flags = O_APPEND;
  EXPECT_THAT(mq_setattr(queue.fd(), &wanted, nullptr), FailsWith(EINVAL));
  EXPECT_EQ(fcntl(queue.fd(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
}

TEST(Mq, Polls) {
  Mq queue(O_RDWR, 1, 16);
  pollfd fd = {queue.fd(), POLLIN | POLLOUT, 0};
  EXPECT_THAT(poll(&fd, 1, 0), Returns(1));
  EXPECT_EQ(fd.revents, POLLOUT);
  queue.Send("x");
  EXPECT_THAT(poll(&fd, 1, 0), Returns(1));
  EXPECT_EQ(fd.revents, POLLIN);
}

TEST(Mq, PollIsWoken) {
  Mq queue(O_RDWR, 1, 16);
  const pid_t child = Start([&] {
    CHILD_CHECK(WaitReadable(queue.fd()));
    CHILD_CHECK(queue.Receive() == "x");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  queue.Send("x");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Mq, EdgeTriggeredEpoll) {
  Mq queue(O_RDWR, 4, 16);
  UniqueFd epoll(epoll_create1(0));
  epoll_event event = {};
  event.events = EPOLLIN | EPOLLET;
  ASSERT_THAT(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, queue.fd(), &event), Succeeds());
  EXPECT_THAT(epoll_wait(epoll.get(), &event, 1, 0), Returns(0));
  queue.Send("x");
  EXPECT_THAT(epoll_wait(epoll.get(), &event, 1, 0), Returns(1));
  EXPECT_THAT(epoll_wait(epoll.get(), &event, 1, 0), Returns(0));
  queue.Send("y");
  EXPECT_THAT(epoll_wait(epoll.get(), &event, 1, 0), Returns(1));
}

class MqueueFs : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(mount("none", dir_.path().c_str(), "mqueue", 0, nullptr), Succeeds());
  }
  void TearDown() override { EXPECT_THAT(umount(dir_.path().c_str()), Succeeds()); }
  TempDir dir_;
};

TEST_F(MqueueFs, ShowsQueues) {
  Mq queue(O_RDWR, 4, 16, 0640);
  const std::string path = dir_ / queue.name().substr(1);
  struct stat st = {};
  ASSERT_THAT(stat(path.c_str(), &st), Succeeds());
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFREG | 0640));
  queue.Send("12345");
  EXPECT_EQ(ReadFile(path), "QSIZE:5          NOTIFY:0     SIGNO:0     NOTIFY_PID:0     \n");
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR2;
  mq_notify(queue.fd(), &event);
  char want[128];
  snprintf(want, sizeof(want), "QSIZE:5          NOTIFY:0     SIGNO:12    NOTIFY_PID:%-6d\n",
           getpid());
  EXPECT_EQ(ReadFile(path), want);
  mq_notify(queue.fd(), nullptr);
}

TEST_F(MqueueFs, CreatesAndRemoves) {
  const std::string name = FreshQueueName().substr(1);
  UniqueFd fd(open((dir_ / name).c_str(), O_RDWR | O_CREAT | O_NONBLOCK, 0600));
  ASSERT_TRUE(fd.valid()) << ErrnoName(errno);
  mq_attr attr = {};
  EXPECT_THAT(mq_getattr(fd.get(), &attr), Succeeds());
  EXPECT_EQ(attr.mq_maxmsg, 10);
  EXPECT_THAT(mq_send(fd.get(), "x", 1, 0), Succeeds());
  EXPECT_THAT(write(fd.get(), "x", 1), FailsWith(EINVAL));
  EXPECT_THAT(unlink((dir_ / name).c_str()), Succeeds());
  EXPECT_THAT(mq_open(("/" + name).c_str(), O_RDWR), FailsWith(ENOENT));
  EXPECT_THAT(mkdir((dir_ / "sub").c_str(), 0700), FailsWith(EPERM));
  EXPECT_THAT(symlink("x", (dir_ / "link").c_str()), FailsWith(EPERM));
}

TEST(MqLimits, InProc) {
  EXPECT_EQ(ReadFile("/proc/sys/fs/mqueue/msg_max"), "10\n");
  EXPECT_EQ(ReadFile("/proc/sys/fs/mqueue/msgsize_max"), "8192\n");
  EXPECT_EQ(ReadFile("/proc/sys/fs/mqueue/queues_max"), "256\n");
  EXPECT_EQ(ReadFile("/proc/sys/fs/mqueue/msg_default"), "10\n");
  EXPECT_EQ(ReadFile("/proc/sys/fs/mqueue/msgsize_default"), "8192\n");
}

}  // namespace
