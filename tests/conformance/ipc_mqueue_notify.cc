// Notification of POSIX message queues: mq_notify(3).
#include <mqueue.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "tests/conformance/ipc_support.h"
#include "tests/conformance/waiting_support.h"

namespace {

TEST(MqNotify, Signal) {
  ScopedBlock block({SIGUSR1});
  Mq queue;
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  event.sigev_value.sival_int = 77;
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
  EXPECT_THAT(mq_notify(queue.fd(), &event), FailsWith(EBUSY));
  const pid_t child = Start([&] { return queue.Send("x"); });
  EXPECT_THAT(Wait(child), Exited(0));
  siginfo_t info = {};
  const sigset_t set = SetOf({SIGUSR1});
  const timespec bound = {5, 0};
  EXPECT_THAT(sigtimedwait(&set, &info, &bound), Returns(SIGUSR1));
  EXPECT_EQ(info.si_code, SI_MESGQ);
  EXPECT_EQ(info.si_value.sival_int, 77);
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EQ(info.si_uid, getuid());
  // Once only.
  queue.Receive();
  queue.Send("y");
  const timespec now = {0, 0};
  EXPECT_THAT(sigtimedwait(&set, &info, &now), FailsWith(EAGAIN));
}

TEST(MqNotify, OnlyWhenItWasEmpty) {
  ScopedBlock block({SIGUSR1});
  Mq queue;
  queue.Send("there already");
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
  queue.Send("more");
  const sigset_t set = SetOf({SIGUSR1});
  const timespec now = {0, 0};
  EXPECT_THAT(sigtimedwait(&set, nullptr, &now), FailsWith(EAGAIN));
  queue.Receive();
  queue.Receive();
  queue.Send("now");
  EXPECT_THAT(sigtimedwait(&set, nullptr, &now), Returns(SIGUSR1));
}

TEST(MqNotify, NotWhenSomebodyWaits) {
  ScopedBlock block({SIGUSR1});
  Mq queue;
  sigevent event = {};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
  const pid_t child = Start([&] {
    CHILD_CHECK(queue.Receive() == "x");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  queue.Send("x");
  EXPECT_THAT(Wait(child), Exited(0));
  const sigset_t set = SetOf({SIGUSR1});
  const timespec now = {0, 0};
  EXPECT_THAT(sigtimedwait(&set, nullptr, &now), FailsWith(EAGAIN));
  EXPECT_THAT(mq_notify(queue.fd(), nullptr), Succeeds());
}

TEST(MqNotify, None) {
  Mq queue;
  sigevent event = {};
  event.sigev_notify = SIGEV_NONE;
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
  EXPECT_THAT(mq_notify(queue.fd(), &event), FailsWith(EBUSY));
  queue.Send("x");
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
}

TEST(MqNotify, AThread) {
  static int told;
  Mq queue;
  EventFd done;
  told = done.fd();
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_value.sival_int = 5;
  event.sigev_notify_function = [](sigval value) {
    eventfd_write(told, static_cast<eventfd_t>(value.sival_int));
  };
  ASSERT_THAT(mq_notify(queue.fd(), &event), Succeeds());
  EXPECT_THAT(mq_notify(queue.fd(), &event), FailsWith(EBUSY));
  queue.Send("x");
  EXPECT_TRUE(WaitReadable(done.fd()));
  EXPECT_EQ(done.Take(), 5);
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
  EXPECT_THAT(mq_notify(queue.fd(), nullptr), Succeeds());
}

TEST(MqNotify, ThreadsWantANetlinkSocket) {
  Mq queue;
  char cookie[32] = {};
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_signo = -1;
  event.sigev_value.sival_ptr = cookie;
  EXPECT_THAT(syscall(SYS_mq_notify, queue.fd(), &event), FailsWith(EBADF));
  event.sigev_signo = queue.fd();
  EXPECT_THAT(syscall(SYS_mq_notify, queue.fd(), &event), FailsWith(ENOTSOCK));
  UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM, 0));
  event.sigev_signo = socket_fd.get();
  EXPECT_THAT(syscall(SYS_mq_notify, queue.fd(), &event), FailsWith(EINVAL));
  event.sigev_value.sival_ptr = reinterpret_cast<void*>(8);
  EXPECT_THAT(syscall(SYS_mq_notify, queue.fd(), &event), FailsWith(EFAULT));
}

TEST(MqNotify, Unregistering) {
  Mq queue;
  sigevent event = {};
  event.sigev_notify = SIGEV_NONE;
  EXPECT_THAT(mq_notify(queue.fd(), nullptr), Succeeds());
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
  const pid_t child = Start([&] {
    CHILD_CHECK(mq_notify(queue.fd(), nullptr) == 0);  // Another's stays.
    CHILD_CHECK(ErrnoOf(mq_notify(queue.fd(), &event)) == EBUSY);
    return 0;
  });
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(mq_notify(queue.fd(), nullptr), Succeeds());
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
}

TEST(MqNotify, ClosingUnregisters) {
  Mq queue;
  sigevent event = {};
  event.sigev_notify = SIGEV_NONE;
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
  close(dup(queue.fd()));  // Any descriptor.
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
}

TEST(MqNotify, TheEndOfAProcessUnregisters) {
  Mq queue;
  sigevent event = {};
  event.sigev_notify = SIGEV_NONE;
  EXPECT_THAT(InChild([&] { return mq_notify(queue.fd(), &event); }), Exited(0));
  EXPECT_THAT(mq_notify(queue.fd(), &event), Succeeds());
}

TEST(MqNotify, BadEvents) {
  Mq queue;
  sigevent event = {};
  event.sigev_notify = 77;
  EXPECT_THAT(syscall(SYS_mq_notify, queue.fd(), &event), FailsWith(EINVAL));
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = 65;
  EXPECT_THAT(syscall(SYS_mq_notify, queue.fd(), &event), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_mq_notify, queue.fd(), 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_mq_notify, -1, nullptr), FailsWith(EBADF));
}

}  // namespace
