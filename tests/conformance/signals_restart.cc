// What becomes of a call that a signal interrupts: the tables of signal(7), call by call.
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#include <functional>

#include "tests/conformance/support.h"

namespace {

int g_handled = -1;  // The handler writes a byte here.
void Handle(int) {
  const int saved = errno;
  (void)!write(g_handled, "x", 1);
  errno = saved;
}

// Runs `call`, which blocks, and interrupts it with a signal whose handler has `flags`. When it
// sleeps again (in the call, or waiting for the helper) the helper runs `unblock`. 0, or the errno of
// the call.
int Interrupt(int flags, const std::function<long()>& call, const std::function<void()>& unblock) {
  Pipe handled;
  g_handled = handled.write.get();
  ScopedAction action(SIGUSR1, Handle, flags);
  const pid_t caller = getpid();
  const pid_t helper = Start([&] {
    CHILD_CHECK(WaitForState(caller, 'S'));
    CHILD_CHECK(kill(caller, SIGUSR1) == 0);
    CHILD_CHECK(Await(handled.read.get()));
    CHILD_CHECK(WaitForState(caller, 'S'));
    unblock();
    return 0;
  });
  const int result = call() < 0 ? errno : 0;
  EXPECT_THAT(Wait(helper), Exited(0));
  return result;
}

// A call of the first table: restarted with SA_RESTART, EINTR without.
void ExpectRestartable(const std::function<long()>& call, const std::function<void()>& unblock) {
  EXPECT_EQ(Interrupt(SA_RESTART, call, unblock), 0);
  EXPECT_EQ(Interrupt(0, call, unblock), EINTR);
}
// A call of the second table: EINTR whatever the flags are.
void ExpectNeverRestarted(const std::function<long()>& call) {
  EXPECT_EQ(Interrupt(SA_RESTART, call, [] {}), EINTR);
  EXPECT_EQ(Interrupt(0, call, [] {}), EINTR);
}

// Stops and continues the process in the middle of `call`, without any handler.
int StopAndContinue(const std::function<long()>& call, const std::function<void()>& unblock) {
  const pid_t child = Start([&] { return call() < 0 ? errno : 0; });
  EXPECT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGCONT);
  // Asleep again or at its end.
  EXPECT_TRUE(Eventually([&] { return StateOf(child) == 'S' || StateOf(child) == 'Z'; }));
  unblock();
  const int status = Wait(child);
  EXPECT_TRUE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

char g_byte;

TEST(Restart, ReadOfAPipe) {
  Pipe pipe;
  ExpectRestartable([&] { return read(pipe.read.get(), &g_byte, 1); },
                    [&] { Post(pipe.write.get()); });
}

TEST(Restart, ReadvOfAPipe) {
  Pipe pipe;
  const iovec vector = {&g_byte, 1};
  ExpectRestartable([&] { return readv(pipe.read.get(), &vector, 1); },
                    [&] { Post(pipe.write.get()); });
}

TEST(Restart, WriteToAFullPipe) {
  Pipe pipe;
  fcntl(pipe.write.get(), F_SETFL, O_NONBLOCK);
  const std::string block(4096, 'x');
  while (write(pipe.write.get(), block.data(), block.size()) > 0) {
  }
  fcntl(pipe.write.get(), F_SETFL, 0);
  ExpectRestartable([&] { return write(pipe.write.get(), block.data(), block.size()); }, [&] {
    std::string some(4096, 0);
    (void)!read(pipe.read.get(), some.data(), some.size());
  });
}

TEST(Restart, PartialWriteSaysHowMuch) {
  Pipe pipe;
  const std::string much(1 << 20, 'x');
  ssize_t written = 0;
  EXPECT_EQ(Interrupt(SA_RESTART, [&] {
    return written = write(pipe.write.get(), much.data(), much.size());
  }, [] {}), 0);
  EXPECT_GT(written, 0);
  EXPECT_LT(written, 1 << 20);
}

TEST(Restart, OpenOfAFifo) {
  TempDir dir;
  ASSERT_THAT(mkfifo((dir / "fifo").c_str(), 0600), Returns(0));
  ExpectRestartable([&] {
    const int fd = open((dir / "fifo").c_str(), O_RDONLY);
    if (fd >= 0) close(fd);
    return fd;
  }, [&] { close(open((dir / "fifo").c_str(), O_WRONLY | O_NONBLOCK)); });
}

TEST(Restart, Flock) {
  TempDir dir;
  WriteFile(dir / "f", "");
  UniqueFd mine(open((dir / "f").c_str(), O_RDWR)), other(open((dir / "f").c_str(), O_RDWR));
  ExpectRestartable([&] {
    flock(other.get(), LOCK_EX);
    const int result = flock(mine.get(), LOCK_EX);
    flock(mine.get(), LOCK_UN);
    return result;
  }, [&] { flock(other.get(), LOCK_UN); });
}

TEST(Restart, RecordLocks) {
  UniqueFd fd = OpenTemp();
  struct flock whole = {};
  whole.l_type = F_WRLCK;
  UniqueFd other(open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDWR));
  ASSERT_TRUE(other.valid());
  ExpectRestartable([&] {
    EXPECT_THAT(fcntl(other.get(), F_OFD_SETLK, &whole), Returns(0));
    const int result = fcntl(fd.get(), F_OFD_SETLKW, &whole);
    struct flock none = whole;
    none.l_type = F_UNLCK;
    const int saved = errno;
    fcntl(fd.get(), F_OFD_SETLK, &none);
    errno = saved;
    return result;
  }, [&] {
    struct flock none = whole;
    none.l_type = F_UNLCK;
    fcntl(other.get(), F_OFD_SETLK, &none);
  });
}

TEST(Restart, Wait4) {
  for (const int flags : {SA_RESTART, 0}) {
    Pipe gate;
    const pid_t target = Start([&] { return Await(gate.read.get()) ? 0 : 1; });
    int status = 0;
    EXPECT_EQ(Interrupt(flags, [&] { return waitpid(target, &status, 0); },
                        [&] { Post(gate.write.get()); }), flags != 0 ? 0 : EINTR);
    if (flags == 0) {
      EXPECT_THAT(Wait(target), Exited(0));
    }
  }
}

TEST(Restart, Waitid) {
  for (const int flags : {SA_RESTART, 0}) {
    Pipe gate;
    const pid_t target = Start([&] { return Await(gate.read.get()) ? 0 : 1; });
    siginfo_t info;
    EXPECT_EQ(Interrupt(flags, [&] { return waitid(P_PID, target, &info, WEXITED); },
                        [&] { Post(gate.write.get()); }), flags != 0 ? 0 : EINTR);
    if (flags == 0) {
      EXPECT_THAT(Wait(target), Exited(0));
    }
  }
}

TEST(Restart, FutexWait) {
  auto* word = static_cast<uint32_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ExpectRestartable([&] { return syscall(SYS_futex, word, FUTEX_WAIT, 0, nullptr); },
                    [&] { syscall(SYS_futex, word, FUTEX_WAKE, 1); });
  munmap(word, 4096);
}

TEST(Restart, FutexWaitWithATimeoutIsNot) {
  auto* word = static_cast<uint32_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const timespec patience = {30, 0};
  ExpectNeverRestarted([&] { return syscall(SYS_futex, word, FUTEX_WAIT, 0, &patience); });
  munmap(word, 4096);
}

// A signal that the handler leaves for its end, and that nobody takes, comes before the program has
// run on. It finds a call that has been interrupted already, and does not have it made again.
void HandleAndLeaveAnother(int) {
  raise(SIGURG);  // Blocked meanwhile; ignored.
}

int InterruptTwice(const std::function<long()>& call) {
  ScopedAction restored(SIGUSR1, HandleAndLeaveAnother);
  struct sigaction action = {};
  action.sa_handler = HandleAndLeaveAnother;
  action.sa_flags = SA_RESTART;
  sigaddset(&action.sa_mask, SIGURG);
  sigaction(SIGUSR1, &action, nullptr);
  const pid_t caller = getpid();
  const pid_t helper = Start([&] {
    CHILD_CHECK(WaitForState(caller, 'S'));
    CHILD_CHECK(kill(caller, SIGUSR1) == 0);
    return 0;
  });
  const int result = call() < 0 ? errno : 0;
  EXPECT_THAT(Wait(helper), Exited(0));
  return result;
}

TEST(Restart, AFutexWaitWithATimeoutIsNotBehindTheHandler) {
  auto* word = static_cast<uint32_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const timespec patience = {30, 0};
  EXPECT_EQ(InterruptTwice([&] { return syscall(SYS_futex, word, FUTEX_WAIT, 0, &patience); }),
            EINTR);
  munmap(word, 4096);
}

// Whose arguments look like those of a wait.
TEST(Restart, ASleepIsNotBehindTheHandler) {
  const timespec patience = {30, 0};
  timespec left = {};
  EXPECT_EQ(InterruptTwice([&] {
              return syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, &patience, &left);
            }),
            EINTR);
  EXPECT_GT(left.tv_sec * 1'000'000'000 + left.tv_nsec, 0);
}

TEST(Restart, Sockets) {
  int pair[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), Returns(0));
  UniqueFd a(pair[0]), b(pair[1]);
  ExpectRestartable([&] { return recv(a.get(), &g_byte, 1, 0); },
                    [&] { send(b.get(), "x", 1, 0); });
  recv(a.get(), &g_byte, 1, MSG_DONTWAIT);  // What came after the interruption.
  iovec vector = {&g_byte, 1};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  ExpectRestartable([&] { return recvmsg(a.get(), &message, 0); },
                    [&] { send(b.get(), "x", 1, 0); });
}

TEST(Restart, Eventfd) {
  UniqueFd fd(eventfd(0, 0));
  uint64_t value;
  ExpectRestartable([&] { return read(fd.get(), &value, 8); }, [&] { eventfd_write(fd.get(), 1); });
}

TEST(Restart, Timerfd) {
  UniqueFd fd(timerfd_create(CLOCK_MONOTONIC, 0));
  uint64_t value;
  ExpectRestartable([&] { return read(fd.get(), &value, 8); }, [&] {
    const itimerspec soon = {{0, 0}, {0, 1}};
    timerfd_settime(fd.get(), 0, &soon, nullptr);
  });
}

TEST(Restart, Signalfd) {
  ScopedBlock block({SIGUSR2});
  const sigset_t set = SetOf({SIGUSR2});
  UniqueFd fd(signalfd(-1, &set, 0));
  const pid_t self = getpid();
  signalfd_siginfo info;
  ExpectRestartable([&] { return read(fd.get(), &info, sizeof info); },
                    [&] { kill(self, SIGUSR2); });
  const timespec none = {};
  sigtimedwait(&set, nullptr, &none);
}

TEST(Restart, PollIsNot) {
  ExpectNeverRestarted([] { return poll(nullptr, 0, -1); });
  ExpectNeverRestarted([] { return poll(nullptr, 0, 30'000); });
}

TEST(Restart, PpollIsNot) {
  const timespec patience = {30, 0};
  ExpectNeverRestarted([] { return ppoll(nullptr, 0, nullptr, nullptr); });
  ExpectNeverRestarted([&] { return ppoll(nullptr, 0, &patience, nullptr); });
}

TEST(Restart, SelectIsNotAndTellsWhatIsLeft) {
  timeval patience = {};
  ExpectNeverRestarted([&] {
    patience = {30, 0};
    return select(0, nullptr, nullptr, nullptr, &patience);
  });
  EXPECT_LT(patience.tv_sec, 30);
  EXPECT_GT(patience.tv_sec, 10);
  ExpectNeverRestarted([] { return select(0, nullptr, nullptr, nullptr, nullptr); });
}

TEST(Restart, PselectIsNot) {
  ExpectNeverRestarted([] { return pselect(0, nullptr, nullptr, nullptr, nullptr, nullptr); });
}

TEST(Restart, EpollIsNot) {
  UniqueFd fd(epoll_create1(0));
  epoll_event event;
  ExpectNeverRestarted([&] { return epoll_wait(fd.get(), &event, 1, -1); });
  ExpectNeverRestarted([&] { return epoll_pwait(fd.get(), &event, 1, 30'000, nullptr); });
}

TEST(Restart, PauseIsNot) {
  ExpectNeverRestarted([] { return pause(); });
}

TEST(Restart, SigsuspendIsNot) {
  sigset_t none;
  sigemptyset(&none);
  ExpectNeverRestarted([&] { return sigsuspend(&none); });
}

TEST(Restart, SleepIsNotAndTellsWhatIsLeft) {
  const timespec patience = {30, 0};
  timespec left = {};
  ExpectNeverRestarted([&] { return nanosleep(&patience, &left); });
  EXPECT_GT(left.tv_sec, 10);
  left = {};
  ExpectNeverRestarted([&] {
    return syscall(SYS_clock_nanosleep, CLOCK_REALTIME, 0, &patience, &left);
  });
  EXPECT_GT(left.tv_sec, 10);
}

TEST(Restart, AbsoluteSleepIsNotAndTellsNothing) {
  timespec until, left = {-5, -5};
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += 30;
  ExpectNeverRestarted([&] {
    return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, &left);
  });
  EXPECT_EQ(left.tv_sec, -5);
}

TEST(RestartAfterStop, SleepGoesOn) {
  const timespec brief = {0, 50'000'000};
  EXPECT_EQ(StopAndContinue([&] { return nanosleep(&brief, nullptr); }, [] {}), 0);
}

TEST(RestartAfterStop, PollAndSelectGoOn) {
  Pipe pipe;
  EXPECT_EQ(StopAndContinue([&] {
    pollfd waiting = {pipe.read.get(), POLLIN, 0};
    return poll(&waiting, 1, 30'000);
  }, [&] { Post(pipe.write.get()); }), 0);
  EXPECT_EQ(StopAndContinue([&] {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe.read.get(), &set);
    timeval patience = {30, 0};
    read(pipe.read.get(), &g_byte, 1);
    return select(pipe.read.get() + 1, &set, nullptr, nullptr, &patience);
  }, [&] { Post(pipe.write.get()); }), 0);
}

TEST(RestartAfterStop, WaitGoesOn) {
  Pipe gate;
  EXPECT_EQ(StopAndContinue([&] {
    const pid_t child = fork();
    if (child == 0) {
      Await(gate.read.get());
      _exit(0);
    }
    return waitpid(child, nullptr, 0);
  }, [&] { Post(gate.write.get()); }), 0);
}

TEST(RestartAfterStop, FutexGoesOn) {
  auto* word = static_cast<uint32_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  EXPECT_EQ(StopAndContinue([&] { return syscall(SYS_futex, word, FUTEX_WAIT, 0, nullptr); },
                            [&] { syscall(SYS_futex, word, FUTEX_WAKE, 1); }), 0);
  munmap(word, 4096);
}

TEST(RestartAfterStop, EpollWaitEnds) {
  // Linux's oddity (signal(7)): EINTR although no handler has run.
  UniqueFd fd(epoll_create1(0));
  EXPECT_EQ(StopAndContinue([&] {
    epoll_event event;
    return epoll_wait(fd.get(), &event, 1, 30'000);
  }, [] {}), EINTR);
}

TEST(RestartAfterStop, SigwaitEnds) {
  EXPECT_EQ(StopAndContinue([&] {
    const sigset_t set = SetOf({SIGUSR1});
    return sigwaitinfo(&set, nullptr);
  }, [] {}), EINTR);
}

TEST(RestartAfterStop, IgnoredSignalsDoNotWake) {
  ScopedAction action(SIGUSR1, SIG_IGN);
  Pipe pipe;
  const pid_t child = Start([&] {
    UniqueFd fd(epoll_create1(0));
    epoll_event event = {.events = EPOLLIN, .data = {}};
    epoll_ctl(fd.get(), EPOLL_CTL_ADD, pipe.read.get(), &event);
    return epoll_wait(fd.get(), &event, 1, 30'000) == 1 ? 0 : 1;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  for (int i = 0; i < 20; ++i) kill(child, i % 2 == 0 ? SIGUSR1 : SIGCHLD);
  Post(pipe.write.get());
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(RestartSyscall, CalledByItselfIsInterrupted) {
  EXPECT_THAT(InChild([] {
    return syscall(SYS_restart_syscall) == -1 && errno == EINTR ? 0 : 1;
  }), Exited(0));
}

}  // namespace
