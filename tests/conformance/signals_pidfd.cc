// Descriptors that stand for processes, and for signals: pidfd_open(2), pidfd_send_signal(2),
// pidfd_getfd(2), waitid(P_PIDFD), signalfd(2).
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/conformance/support.h"

namespace {

constexpr int kPidfd = 3;  // P_PIDFD.

int PidfdOpen(pid_t pid, unsigned flags = 0) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, flags));
}
long PidfdSignal(int fd, int signal, siginfo_t* info = nullptr, unsigned flags = 0) {
  return syscall(SYS_pidfd_send_signal, fd, signal, info, flags);
}
int PidfdGet(int fd, int target, unsigned flags = 0) {
  return static_cast<int>(syscall(SYS_pidfd_getfd, fd, target, flags));
}

volatile sig_atomic_t g_count;
siginfo_t g_info;
void Record(int, siginfo_t* info, void*) {
  g_count = g_count + 1;
  g_info = *info;
}
int Forever() {
  for (;;) pause();
  return 0;
}

TEST(Pidfd, OpenErrors) {
  EXPECT_THAT(PidfdOpen(0), FailsWith(EINVAL));
  EXPECT_THAT(PidfdOpen(-1), FailsWith(EINVAL));
  EXPECT_THAT(PidfdOpen(getpid(), 1), FailsWith(EINVAL));
  EXPECT_THAT(PidfdOpen(0x3ffffff), FailsWith(ESRCH));
}

TEST(Pidfd, IsCloseOnExecAndNamesItself) {
  UniqueFd fd(PidfdOpen(getpid()));
  ASSERT_TRUE(fd.valid());
  EXPECT_THAT(fcntl(fd.get(), F_GETFD), Returns(FD_CLOEXEC));
  char link[64] = {};
  EXPECT_GT(readlink(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), link, 63), 0);
  EXPECT_STREQ(link, "anon_inode:[pidfd]");
  EXPECT_THAT(read(fd.get(), link, 1), FailsWith(EINVAL));
  EXPECT_THAT(write(fd.get(), link, 1), FailsWith(EINVAL));
}

TEST(Pidfd, InfoNamesTheProcess) {
  const pid_t child = Start(Forever);
  UniqueFd fd(PidfdOpen(child));
  const std::string info = ReadFile("/proc/self/fdinfo/" + std::to_string(fd.get()));
  EXPECT_THAT(info, testing::HasSubstr("Pid:\t" + std::to_string(child) + "\n"));
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
  const std::string after = ReadFile("/proc/self/fdinfo/" + std::to_string(fd.get()));
  EXPECT_THAT(after, testing::HasSubstr("Pid:\t-1\n"));
}

TEST(Pidfd, BecomesReadableAtTheEnd) {
  Pipe gate;
  const pid_t child = Start([&] { return Await(gate.read.get()) ? 4 : 1; });
  UniqueFd fd(PidfdOpen(child));
  pollfd waiting = {fd.get(), POLLIN, 0};
  EXPECT_THAT(poll(&waiting, 1, 0), Returns(0));
  Post(gate.write.get());
  EXPECT_THAT(poll(&waiting, 1, 5000), Returns(1));
  EXPECT_EQ(waiting.revents, POLLIN);
  EXPECT_THAT(Wait(child), Exited(4));
  // Reaped: hung up.
  EXPECT_THAT(poll(&waiting, 1, 0), Returns(1));
  EXPECT_EQ(waiting.revents & POLLIN, POLLIN);
}

TEST(Pidfd, InEpoll) {
  Pipe gate;
  const pid_t child = Start([&] { return Await(gate.read.get()) ? 0 : 1; });
  UniqueFd fd(PidfdOpen(child)), epoll(epoll_create1(0));
  epoll_event event = {.events = EPOLLIN, .data = {.u32 = 9}};
  ASSERT_THAT(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &event), Returns(0));
  EXPECT_THAT(epoll_wait(epoll.get(), &event, 1, 0), Returns(0));
  Post(gate.write.get());
  EXPECT_THAT(epoll_wait(epoll.get(), &event, 1, 5000), Returns(1));
  EXPECT_EQ(event.data.u32, 9u);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Pidfd, SendsSignals) {
  UniqueFd fd(PidfdOpen(getpid()));
  ScopedAction action(SIGUSR1, Record);
  g_count = 0;
  EXPECT_THAT(PidfdSignal(fd.get(), SIGUSR1), Returns(0));
  EXPECT_EQ(g_count, 1);
  EXPECT_EQ(g_info.si_code, SI_USER);
  EXPECT_EQ(g_info.si_pid, getpid());
  siginfo_t info = {};
  info.si_signo = SIGUSR1;
  info.si_code = SI_QUEUE;
  info.si_value.sival_int = 31;
  EXPECT_THAT(PidfdSignal(fd.get(), SIGUSR1, &info), Returns(0));
  EXPECT_EQ(g_info.si_value.sival_int, 31);
}

TEST(Pidfd, SendErrors) {
  const pid_t child = Start(Forever);
  UniqueFd fd(PidfdOpen(child)), file = OpenTemp();
  EXPECT_THAT(PidfdSignal(-1, 0), FailsWith(EBADF));
  EXPECT_THAT(PidfdSignal(file.get(), 0), FailsWith(EBADF));
  EXPECT_THAT(PidfdSignal(fd.get(), 65), FailsWith(EINVAL));
  EXPECT_THAT(PidfdSignal(fd.get(), SIGUSR1, nullptr, 0x8000), FailsWith(EINVAL));
  siginfo_t info = {};
  info.si_signo = SIGUSR2;
  info.si_code = SI_QUEUE;
  EXPECT_THAT(PidfdSignal(fd.get(), SIGUSR1, &info), FailsWith(EINVAL)) << "the numbers differ";
  info.si_signo = SIGUSR1;
  info.si_code = SI_USER;
  EXPECT_THAT(PidfdSignal(fd.get(), SIGUSR1, &info), FailsWith(EPERM)) << "another one's";
  EXPECT_THAT(InChild([&] {
    CHILD_CHECK(setresuid(4000, 4000, 4000) == 0);
    CHILD_CHECK(PidfdSignal(fd.get(), 0) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
  EXPECT_THAT(PidfdSignal(fd.get(), SIGKILL), Returns(0));
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
  EXPECT_THAT(PidfdSignal(fd.get(), 0), FailsWith(ESRCH));
}

TEST(Pidfd, ADirectoryOfProcStandsForItsProcess) {
  UniqueFd fd(open(("/proc/" + std::to_string(getpid())).c_str(), O_RDONLY | O_DIRECTORY));
  ScopedAction action(SIGUSR1, Record);
  g_count = 0;
  EXPECT_THAT(PidfdSignal(fd.get(), SIGUSR1), Returns(0));
  EXPECT_EQ(g_count, 1);
  UniqueFd root(open("/proc", O_RDONLY | O_DIRECTORY));
  EXPECT_THAT(PidfdSignal(root.get(), 0), FailsWith(EBADF));
}

TEST(Pidfd, OfAThread) {
  Pipe ready, gate;
  struct Arg {
    int ready, gate;
    pid_t tid;
  } arg = {ready.write.get(), gate.read.get(), 0};
  pthread_t thread;
  pthread_create(&thread, nullptr, [](void* raw) -> void* {
    auto* arg = static_cast<Arg*>(raw);
    arg->tid = gettid();
    Post(arg->ready);
    Await(arg->gate);
    return nullptr;
  }, &arg);
  ASSERT_TRUE(Await(ready.read.get()));
  EXPECT_THAT(PidfdOpen(arg.tid), testing::AnyOf(FailsWith(EINVAL), FailsWith(ENOENT)));
  UniqueFd fd(PidfdOpen(arg.tid, O_EXCL));  // PIDFD_THREAD.
  ASSERT_TRUE(fd.valid()) << ErrnoName(errno);
  EXPECT_FALSE(WaitReadable(fd.get(), 0));
  static volatile pid_t handled_by;
  handled_by = 0;
  ScopedAction action(SIGUSR1, [](int) { handled_by = gettid(); });
  EXPECT_THAT(PidfdSignal(fd.get(), SIGUSR1), Returns(0));
  EXPECT_TRUE(Eventually([&] { return handled_by == arg.tid; }));
  Post(gate.write.get());
  pthread_join(thread, nullptr);
  EXPECT_TRUE(WaitReadable(fd.get()));
}

TEST(Pidfd, OfAZombie) {
  const pid_t child = Start([] { return 0; });
  ASSERT_TRUE(WaitForState(child, 'Z'));
  UniqueFd fd(PidfdOpen(child));
  ASSERT_TRUE(fd.valid());
  EXPECT_THAT(PidfdSignal(fd.get(), SIGTERM), Returns(0));
  EXPECT_TRUE(WaitReadable(fd.get(), 0));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Pidfd, WaitidByIt) {
  const pid_t child = Start([] { return 6; });
  UniqueFd fd(PidfdOpen(child));
  siginfo_t info = {};
  EXPECT_THAT(waitid(static_cast<idtype_t>(kPidfd), fd.get(), &info, WEXITED), Returns(0));
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EQ(info.si_status, 6);
  EXPECT_THAT(waitid(static_cast<idtype_t>(kPidfd), fd.get(), &info, WEXITED), FailsWith(ECHILD));
  EXPECT_THAT(waitid(static_cast<idtype_t>(kPidfd), 9999, &info, WEXITED), FailsWith(EBADF));
  UniqueFd file = OpenTemp();
  EXPECT_THAT(waitid(static_cast<idtype_t>(kPidfd), file.get(), &info, WEXITED), FailsWith(EBADF));
  UniqueFd self(PidfdOpen(getpid()));
  EXPECT_THAT(waitid(static_cast<idtype_t>(kPidfd), self.get(), &info, WEXITED), FailsWith(ECHILD));
}

TEST(Pidfd, NonBlockingWaitidSaysTryAgain) {
  const pid_t child = Start(Forever);
  UniqueFd fd(PidfdOpen(child, O_NONBLOCK));
  ASSERT_TRUE(fd.valid());
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  siginfo_t info = {};
  EXPECT_THAT(waitid(static_cast<idtype_t>(kPidfd), fd.get(), &info, WEXITED), FailsWith(EAGAIN));
  EXPECT_THAT(waitid(static_cast<idtype_t>(kPidfd), fd.get(), &info, WEXITED | WNOHANG), Returns(0));
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

TEST(Pidfd, SurvivesForkAndNamesTheSameProcess) {
  UniqueFd fd(PidfdOpen(getpid()));
  ScopedAction action(SIGUSR1, Record);
  g_count = 0;
  EXPECT_THAT(InChild([&] { return PidfdSignal(fd.get(), SIGUSR1) == 0 ? 0 : 1; }), Exited(0));
  EXPECT_TRUE(Eventually([] { return g_count == 1; }));
}

TEST(PidfdGetfd, TakesADescriptor) {
  Pipe pipe, ready, end;
  const pid_t child = Start([&] {
    const int fd = fcntl(pipe.write.get(), F_DUPFD, 200);
    pipe.write.reset();
    CHILD_CHECK(fd == 200);
    Post(ready.write.get());
    Await(end.read.get());
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  UniqueFd pidfd(PidfdOpen(child));
  UniqueFd taken(PidfdGet(pidfd.get(), 200));
  ASSERT_TRUE(taken.valid()) << ErrnoName(errno);
  EXPECT_THAT(fcntl(taken.get(), F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_THAT(write(taken.get(), "x", 1), Returns(1));
  EXPECT_TRUE(Await(pipe.read.get()));
  EXPECT_THAT(PidfdGet(pidfd.get(), 201), FailsWith(EBADF));
  EXPECT_THAT(PidfdGet(pidfd.get(), 200, 1), FailsWith(EINVAL));
  EXPECT_THAT(PidfdGet(-1, 200), FailsWith(EBADF));
  EXPECT_THAT(PidfdGet(pipe.read.get(), 200), FailsWith(EBADF));
  // Whoever may not trace the process may not.
  EXPECT_THAT(InChild([&] {
    CHILD_CHECK(setresuid(4000, 4000, 4000) == 0);
    CHILD_CHECK(PidfdGet(pidfd.get(), 200) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
  Post(end.write.get());
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(PidfdGet(pidfd.get(), 200), FailsWith(ESRCH));
}

TEST(PidfdGetfd, SharesTheOpenDescription) {
  UniqueFd file = OpenTemp(0, "0123456789");
  UniqueFd self(PidfdOpen(getpid()));
  UniqueFd copy(PidfdGet(self.get(), file.get()));
  ASSERT_TRUE(copy.valid());
  EXPECT_THAT(lseek(file.get(), 7, SEEK_SET), Returns(7));
  EXPECT_THAT(lseek(copy.get(), 0, SEEK_CUR), Returns(7));
}

TEST(Pidfd, FromClone3) {
  int fd = -1;
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
  } args = {.flags = 0x1000, .pidfd = reinterpret_cast<uint64_t>(&fd), .child_tid = 0, .parent_tid = 0,
            .exit_signal = SIGCHLD, .stack = 0, .stack_size = 0, .tls = 0};
  const auto child = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (child == 0) _exit(9);
  ASSERT_GT(child, 0);
  UniqueFd owned(fd);
  EXPECT_THAT(fcntl(fd, F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_TRUE(WaitReadable(fd));
  siginfo_t info = {};
  EXPECT_THAT(waitid(static_cast<idtype_t>(kPidfd), fd, &info, WEXITED), Returns(0));
  EXPECT_EQ(info.si_status, 9);
}

TEST(SignalDescriptor, Errors) {
  const sigset_t set = SetOf({SIGUSR1});
  UniqueFd file = OpenTemp();
  EXPECT_THAT(signalfd(-1, &set, 0x7), FailsWith(EINVAL));
  EXPECT_THAT(signalfd(file.get(), &set, 0), FailsWith(EINVAL));
  EXPECT_THAT(signalfd(9999, &set, 0), FailsWith(EBADF));
  EXPECT_THAT(syscall(SYS_signalfd4, -1, &set, 4, 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_signalfd4, -1, 8, 8, 0), FailsWith(EFAULT));
  UniqueFd fd(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  char small[64];
  EXPECT_THAT(read(fd.get(), small, sizeof small), FailsWith(EINVAL));
  signalfd_siginfo info;
  EXPECT_THAT(read(fd.get(), &info, sizeof info), FailsWith(EAGAIN));
  EXPECT_THAT(write(fd.get(), &info, sizeof info), FailsWith(EINVAL));
}

TEST(SignalDescriptor, FieldsOfKillAndQueue) {
  ScopedBlock block({SIGUSR1, SIGRTMIN + 6});
  const sigset_t set = SetOf({SIGUSR1, SIGRTMIN + 6});
  UniqueFd fd(signalfd(-1, &set, SFD_NONBLOCK));
  kill(getpid(), SIGUSR1);
  sigqueue(getpid(), SIGRTMIN + 6, {.sival_int = 123});
  signalfd_siginfo infos[3];
  ASSERT_THAT(read(fd.get(), infos, sizeof infos), Returns(2 * sizeof(signalfd_siginfo)));
  EXPECT_EQ(infos[0].ssi_signo, static_cast<uint32_t>(SIGUSR1));
  EXPECT_EQ(infos[0].ssi_code, SI_USER);
  EXPECT_EQ(infos[0].ssi_pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(infos[1].ssi_signo, static_cast<uint32_t>(SIGRTMIN + 6));
  EXPECT_EQ(infos[1].ssi_code, SI_QUEUE);
  EXPECT_EQ(infos[1].ssi_int, 123);
}

TEST(SignalDescriptor, FieldsOfAChild) {
  ScopedBlock block({SIGCHLD});
  const sigset_t set = SetOf({SIGCHLD});
  UniqueFd fd(signalfd(-1, &set, 0));
  const pid_t child = Start([] { return 33; });
  signalfd_siginfo info;
  ASSERT_THAT(read(fd.get(), &info, sizeof info), Returns(sizeof info));
  EXPECT_EQ(info.ssi_code, CLD_EXITED);
  EXPECT_EQ(info.ssi_pid, static_cast<uint32_t>(child));
  EXPECT_EQ(info.ssi_status, 33);
  EXPECT_EQ(info.ssi_uid, getuid());
  EXPECT_THAT(Wait(child), Exited(33));
}

TEST(SignalDescriptor, MaskCanBeChanged) {
  ScopedBlock block({SIGUSR1, SIGUSR2});
  const sigset_t one = SetOf({SIGUSR1}), two = SetOf({SIGUSR2});
  UniqueFd fd(signalfd(-1, &one, SFD_NONBLOCK));
  kill(getpid(), SIGUSR2);
  EXPECT_FALSE(WaitReadable(fd.get(), 0));
  EXPECT_THAT(signalfd(fd.get(), &two, 0), Returns(fd.get()));
  EXPECT_TRUE(WaitReadable(fd.get(), 0));
  signalfd_siginfo info;
  EXPECT_THAT(read(fd.get(), &info, sizeof info), Returns(sizeof info));
  EXPECT_EQ(info.ssi_signo, static_cast<uint32_t>(SIGUSR2));
}

TEST(SignalDescriptor, ReaderReadsItsOwnSignals) {
  // A child with its parent's descriptor gets the child's signals.
  ScopedBlock block({SIGUSR1});
  const sigset_t set = SetOf({SIGUSR1});
  UniqueFd fd(signalfd(-1, &set, SFD_NONBLOCK));
  kill(getpid(), SIGUSR1);
  EXPECT_THAT(InChild([&] {
    signalfd_siginfo info;
    CHILD_CHECK(read(fd.get(), &info, sizeof info) == -1 && errno == EAGAIN);
    CHILD_CHECK(!WaitReadable(fd.get(), 0));
    sigqueue(getpid(), SIGUSR1, {.sival_int = 8});
    CHILD_CHECK(WaitReadable(fd.get(), 0));
    CHILD_CHECK(read(fd.get(), &info, sizeof info) == sizeof info && info.ssi_int == 8);
    return 0;
  }), Exited(0));
  signalfd_siginfo info;
  EXPECT_THAT(read(fd.get(), &info, sizeof info), Returns(sizeof info));
  EXPECT_EQ(info.ssi_code, SI_USER);
}

TEST(SignalDescriptor, ReaderInAChildIsWokenByItsSignal) {
  ScopedBlock block({SIGUSR1});
  const sigset_t set = SetOf({SIGUSR1});
  UniqueFd fd(signalfd(-1, &set, 0));
  const pid_t child = Start([&] {
    signalfd_siginfo info;
    return read(fd.get(), &info, sizeof info) == sizeof info ? 0 : 1;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  kill(child, SIGUSR1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(SignalDescriptor, KillAndStopAreLeftOut) {
  const sigset_t set = SetOf({SIGKILL, SIGSTOP, SIGUSR1});
  UniqueFd fd(signalfd(-1, &set, SFD_NONBLOCK));
  ASSERT_TRUE(fd.valid());
  // Shown inverted and without those two.
  EXPECT_THAT(ReadFile("/proc/self/fdinfo/" + std::to_string(fd.get())),
              testing::HasSubstr("sigmask:\t0000000000000200\n"));
}

TEST(SignalDescriptor, ThreadSeesItsOwnOnly) {
  ScopedBlock block({SIGUSR1});
  const sigset_t set = SetOf({SIGUSR1});
  static int fd;
  fd = signalfd(-1, &set, SFD_NONBLOCK);
  UniqueFd owned(fd);
  syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1);
  pthread_t thread;
  pthread_create(&thread, nullptr, [](void*) -> void* {
    signalfd_siginfo info;
    return read(fd, &info, sizeof info) == -1 && errno == EAGAIN ? nullptr : &fd;
  }, nullptr);
  void* result = &fd;
  pthread_join(thread, &result);
  EXPECT_EQ(result, nullptr);
  signalfd_siginfo info;
  EXPECT_THAT(read(fd, &info, sizeof info), Returns(sizeof info));
}

}  // namespace
