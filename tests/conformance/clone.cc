// clone(2) and clone3(2): which flags go together, where ids are written, what the parent is told.
#include <linux/sched.h>
#include <sched.h>
#include <sys/syscall.h>

#include "tests/conformance/futex_support.h"

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x1000
#endif

namespace {

long Clone3(clone_args args, size_t size = sizeof(clone_args)) {
  return syscall(SYS_clone3, &args, size);
}
uint64_t Address(const void* p) { return reinterpret_cast<uint64_t>(p); }

// Flags that clone3(2) and, where it can name them, clone(2) refuse.
struct Flags {
  const char* name;
  uint64_t flags;
};
class CloneInvalid : public testing::TestWithParam<Flags> {};
INSTANTIATE_TEST_SUITE_P(Clone, CloneInvalid,
                         testing::Values(Flags{"ThreadWithoutSighand", CLONE_THREAD | CLONE_VM},
                                         Flags{"SighandWithoutVm", CLONE_SIGHAND},
                                         Flags{"ThreadWithoutVm", CLONE_THREAD | CLONE_SIGHAND},
                                         Flags{"FsWithNewNs", CLONE_FS | CLONE_NEWNS},
                                         Flags{"FsWithNewUser", CLONE_FS | CLONE_NEWUSER},
                                         Flags{"ThreadWithNewUser", CLONE_THREAD | CLONE_SIGHAND |
                                                                        CLONE_VM | CLONE_NEWUSER},
                                         Flags{"ThreadWithNewPid", CLONE_THREAD | CLONE_SIGHAND |
                                                                       CLONE_VM | CLONE_NEWPID},
                                         Flags{"PidfdDetached", CLONE_PIDFD | CLONE_DETACHED}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(CloneInvalid, Clone3) {
  EXPECT_THAT(Clone3({.flags = GetParam().flags}), FailsWith(EINVAL));
}

TEST_P(CloneInvalid, Clone) {
  EXPECT_THAT(syscall(SYS_clone, GetParam().flags, 0, 0, 0, 0), FailsWith(EINVAL));
}

struct Invalid {
  const char* name;
  clone_args args;
};
class Clone3Invalid : public testing::TestWithParam<Invalid> {};
INSTANTIATE_TEST_SUITE_P(
    Clone, Clone3Invalid,
    testing::Values(
        Invalid{"Detached", {.flags = CLONE_DETACHED}},
        Invalid{"SignalInTheFlags", {.flags = SIGCHLD}},
        Invalid{"UnknownFlag", {.flags = uint64_t{1} << 40}},
        Invalid{"ClearSighandWithSighand",
                {.flags = CLONE_CLEAR_SIGHAND | CLONE_SIGHAND | CLONE_VM}},
        Invalid{"ThreadWithSignal",
                {.flags = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, .exit_signal = SIGCHLD}},
        Invalid{"ParentWithSignal", {.flags = CLONE_PARENT, .exit_signal = SIGCHLD}},
        Invalid{"SignalTooLarge", {.exit_signal = 65}},
        Invalid{"SignalMuchTooLarge", {.exit_signal = uint64_t{1} << 32}},
        Invalid{"StackWithoutSize", {.exit_signal = SIGCHLD, .stack = 4096}},
        Invalid{"SizeWithoutStack", {.exit_signal = SIGCHLD, .stack_size = 4096}},
        Invalid{"StackOfTheKernel",
                {.exit_signal = SIGCHLD, .stack = 0xffffffff80000000, .stack_size = 4096}},
        Invalid{"TidsWithoutSize", {.exit_signal = SIGCHLD, .set_tid = 4096}},
        Invalid{"SizeWithoutTids", {.exit_signal = SIGCHLD, .set_tid_size = 1}},
        Invalid{"TooManyTids", {.exit_signal = SIGCHLD, .set_tid = 4096, .set_tid_size = 33}},
        Invalid{"NegativeCgroup",
                {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = ~uint64_t{0}}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(Clone3Invalid, IsRefused) { EXPECT_THAT(Clone3(GetParam().args), FailsWith(EINVAL)); }

TEST(Clone3, Sizes) {
  EXPECT_THAT(Clone3({.exit_signal = SIGCHLD}, CLONE_ARGS_SIZE_VER0 - 1), FailsWith(EINVAL));
  EXPECT_THAT(Clone3({.exit_signal = SIGCHLD}, 4097), FailsWith(E2BIG));
  EXPECT_THAT(syscall(SYS_clone3, nullptr, sizeof(clone_args)), FailsWith(EFAULT));
  for (const size_t size : {CLONE_ARGS_SIZE_VER0, CLONE_ARGS_SIZE_VER1, CLONE_ARGS_SIZE_VER2}) {
    const long child = Clone3({.exit_signal = SIGCHLD}, size);
    if (child == 0) _exit(3);
    EXPECT_THAT(Wait(static_cast<pid_t>(child)), Exited(3));
  }
}

TEST(Clone3, FieldsBeyondItsOwn) {
  struct {
    clone_args args{.exit_signal = SIGCHLD};
    uint64_t more = 1;
  } large;
  EXPECT_THAT(syscall(SYS_clone3, &large, sizeof large), FailsWith(E2BIG));
  large.more = 0;
  const long child = syscall(SYS_clone3, &large, sizeof large);
  if (child == 0) _exit(5);
  EXPECT_THAT(Wait(static_cast<pid_t>(child)), Exited(5));
}

TEST(Clone3, NotACgroup) {
  const UniqueFd fd(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (const int cgroup : {9999, fd.get()}) {
    EXPECT_THAT(Clone3({.flags = CLONE_INTO_CGROUP,
                        .exit_signal = SIGCHLD,
                        .cgroup = static_cast<uint64_t>(cgroup)}),
                FailsWith(EBADF));
  }
}

TEST(CloneSetTid, ChoosesThePid) {
  pid_t wanted = 0;
  // A number that has just become free.
  const pid_t free = Start([] { return 0; });
  EXPECT_THAT(Wait(free), Exited(0));
  wanted = free;
  const long child =
      Clone3({.exit_signal = SIGCHLD, .set_tid = Address(&wanted), .set_tid_size = 1});
  if (child == 0) _exit(getpid() == wanted ? 0 : 1);
  EXPECT_THAT(child, Returns(wanted));
  EXPECT_THAT(Wait(wanted), Exited(0));
}

TEST(CloneSetTid, Errors) {
  pid_t own = getpid(), zero = 0, negative = -1, huge = INT32_MAX;
  const auto with = [](pid_t* tid) {
    return Clone3({.exit_signal = SIGCHLD, .set_tid = Address(tid), .set_tid_size = 1});
  };
  EXPECT_THAT(with(&own), FailsWith(EEXIST));
  EXPECT_THAT(with(&zero), FailsWith(EINVAL));
  EXPECT_THAT(with(&negative), FailsWith(EINVAL));
  EXPECT_THAT(with(&huge), FailsWith(EINVAL));
  EXPECT_THAT(with(reinterpret_cast<pid_t*>(8)), FailsWith(EFAULT));
}

TEST(CloneSetTid, WantsRights) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setgid(65534) == 0 && setuid(65534) == 0);
                pid_t wanted = 32000;
                CHILD_CHECK(Clone3({.exit_signal = SIGCHLD,
                                    .set_tid = Address(&wanted),
                                    .set_tid_size = 1}) == -1 &&
                            errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(CloneTids, ParentSettid) {
  pid_t tid = 0;
  const long child =
      Clone3({.flags = CLONE_PARENT_SETTID, .parent_tid = Address(&tid), .exit_signal = SIGCHLD});
  if (child == 0) _exit(tid == 0 ? 0 : 1);  // Its memory was copied before.
  EXPECT_EQ(tid, child);
  EXPECT_THAT(Wait(static_cast<pid_t>(child)), Exited(0));
}

TEST(CloneTids, ChildSettidIsTheChildsOnly) {
  static volatile pid_t tid;
  tid = 0;
  const long child = Clone3({.flags = CLONE_CHILD_SETTID,
                             .child_tid = Address(const_cast<pid_t*>(&tid)),
                             .exit_signal = SIGCHLD});
  if (child == 0) _exit(tid == getpid() ? 0 : 1);
  EXPECT_EQ(tid, 0);
  EXPECT_THAT(Wait(static_cast<pid_t>(child)), Exited(0));
}

TEST(CloneTids, BadAddressesAreNotReported) {
  const long child = Clone3({.flags = CLONE_CHILD_SETTID | CLONE_PARENT_SETTID,
                             .child_tid = 8,
                             .parent_tid = 8,
                             .exit_signal = SIGCHLD});
  if (child == 0) _exit(6);
  ASSERT_GT(child, 0);
  EXPECT_THAT(Wait(static_cast<pid_t>(child)), Exited(6));
}

TEST(CloneTids, ClearTidOfAProcessThatSharesMemory) {
  alignas(16) static char stack[64 << 10];
  static Word word;
  word = 7;
  const pid_t child =
      clone([](void*) -> int { return 0; }, stack + sizeof stack,
            CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, nullptr, nullptr, nullptr, &word);
  ASSERT_GT(child, 0);
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_TRUE(Eventually([] { return word == 0; }));
}

TEST(SetTidAddress, ReturnsTheTid) {
  EXPECT_THAT(InChild([] {
                static pid_t word;
                return syscall(SYS_set_tid_address, &word) == getpid() ? 0 : 1;
              }),
              Exited(0));
}

TEST(SetTidAddress, IsClearedAtTheEndOfAThread) {
  static Word word;
  word = 9;
  std::atomic<bool> done = false;
  std::thread([&] {
    done = true;
    // The C library's own word is left as it is: nobody joins.
    syscall(SYS_set_tid_address, &word);
    syscall(SYS_exit, 0);
  }).detach();
  EXPECT_TRUE(Eventually([] { return word == 0; }));
}

TEST(ClonePidfd, IsAPollableDescriptor) {
  int pidfd = -1;
  Pipe gate;
  const long child =
      Clone3({.flags = CLONE_PIDFD, .pidfd = Address(&pidfd), .exit_signal = SIGCHLD});
  if (child == 0) {
    Await(gate.read.get());
    _exit(0);
  }
  ASSERT_GT(child, 0);
  ASSERT_GE(pidfd, 0);
  EXPECT_EQ(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
  EXPECT_FALSE(WaitReadable(pidfd, 0));
  EXPECT_TRUE(Post(gate.write.get()));
  EXPECT_TRUE(WaitReadable(pidfd));
  EXPECT_THAT(Wait(static_cast<pid_t>(child)), Exited(0));
  close(pidfd);
}

TEST(ClonePidfd, SharesItsPlaceWithTheParentsTid) {
  int word = -1;
  EXPECT_THAT(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &word, 0, 0),
              FailsWith(EINVAL));
  EXPECT_THAT(Clone3({.flags = CLONE_PIDFD | CLONE_PARENT_SETTID,
                      .pidfd = Address(&word),
                      .parent_tid = Address(&word),
                      .exit_signal = SIGCHLD}),
              FailsWith(EINVAL));
}

TEST(ClonePidfd, BadAddress) {
  EXPECT_THAT(Clone3({.flags = CLONE_PIDFD, .pidfd = 8, .exit_signal = SIGCHLD}),
              FailsWith(EFAULT));
  EXPECT_THAT(waitpid(-1, nullptr, 0), FailsWith(ECHILD));
}

TEST(CloneExit, WithoutASignal) {
  // Such a child is a "clone child": wait(2) finds it with __WCLONE or __WALL only.
  const long child = Clone3({});
  if (child == 0) _exit(4);
  ASSERT_GT(child, 0);
  EXPECT_THAT(waitpid(static_cast<pid_t>(child), nullptr, 0), FailsWith(ECHILD));
  EXPECT_THAT(Wait(static_cast<pid_t>(child), __WCLONE), Exited(4));
}

TEST(CloneExit, WithAnotherSignal) {
  ScopedBlock block({SIGUSR2});
  const long child = Clone3({.exit_signal = SIGUSR2});
  if (child == 0) _exit(4);
  const sigset_t set = SetOf({SIGUSR2});
  siginfo_t info;
  EXPECT_THAT(sigwaitinfo(&set, &info), Returns(SIGUSR2));
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EQ(info.si_code, CLD_EXITED);
  EXPECT_THAT(Wait(static_cast<pid_t>(child), __WALL), Exited(4));
}

TEST(CloneParent, MakesASibling) {
  Pipe told;
  const pid_t child = Start([&] {
    const long sibling = syscall(SYS_clone, CLONE_PARENT, 0, 0, 0, 0);
    if (sibling == 0) _exit(11);
    const pid_t pid = static_cast<pid_t>(sibling);
    CHILD_CHECK(write(told.write.get(), &pid, sizeof pid) == sizeof pid);
    CHILD_CHECK(waitpid(pid, nullptr, 0) == -1 && errno == ECHILD);
    return 0;
  });
  pid_t sibling = 0;
  ASSERT_THAT(read(told.read.get(), &sibling, sizeof sibling), Returns(sizeof sibling));
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(Wait(sibling, __WALL), Exited(11));
}

TEST(CloneClearSighand, ResetsHandlersOnly) {
  ScopedAction handled(SIGUSR1, [](int) {}), ignored(SIGUSR2, SIG_IGN);
  const long child = Clone3({.flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD});
  if (child == 0) {
    struct sigaction action;
    CHILD_CHECK(sigaction(SIGUSR1, nullptr, &action) == 0 && action.sa_handler == SIG_DFL);
    CHILD_CHECK(sigaction(SIGUSR2, nullptr, &action) == 0 && action.sa_handler == SIG_IGN);
    _exit(0);
  }
  EXPECT_THAT(Wait(static_cast<pid_t>(child)), Exited(0));
}

TEST(CloneShares, SignalHandlers) {
  alignas(16) static char stack[64 << 10];
  ScopedAction action(SIGUSR1, SIG_DFL);
  const pid_t child = clone(
      [](void*) -> int {
        signal(SIGUSR1, SIG_IGN);
        return 0;
      },
      stack + sizeof stack, CLONE_VM | CLONE_SIGHAND | SIGCHLD, nullptr);
  EXPECT_THAT(Wait(child), Exited(0));
  struct sigaction now;
  EXPECT_THAT(sigaction(SIGUSR1, nullptr, &now), Returns(0));
  EXPECT_EQ(now.sa_handler, SIG_IGN);
}

TEST(CloneShares, WorkingDirectoryAndUmask) {
  TempDir dir;
  char before[4096];
  ASSERT_NE(getcwd(before, sizeof before), nullptr);
  const mode_t mask = umask(022);
  const long child = syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) {
    CHILD_CHECK(chdir(dir.path().c_str()) == 0);
    umask(077);
    _exit(0);
  }
  EXPECT_THAT(Wait(static_cast<pid_t>(child)), Exited(0));
  char after[4096];
  ASSERT_NE(getcwd(after, sizeof after), nullptr);
  EXPECT_EQ(std::string(after), dir.path());
  EXPECT_EQ(umask(mask), 077u);
  EXPECT_THAT(chdir(before), Returns(0));
}

TEST(CloneShares, MemoryOfAKilledChild) {
  // Killed, not exited: its place is used again, however often.
  alignas(16) static char stack[64 << 10];
  for (int i = 0; i < 50; ++i) {
    static std::atomic<int> running;
    running = 0;
    const pid_t child = clone(
        [](void*) -> int {
          running = 1;
          for (;;) pause();
        },
        stack + sizeof stack, CLONE_VM | SIGCHLD, nullptr);
    ASSERT_GT(child, 0);
    ASSERT_TRUE(Eventually([] { return running == 1; }));
    EXPECT_THAT(kill(child, SIGKILL), Returns(0));
    EXPECT_THAT(Wait(child), Killed(SIGKILL));
  }
}

TEST(Vfork, ThreadsOfTheParentGoOn) {
  std::atomic<int> steps = 0;
  std::atomic<bool> stop = false;
  Thread other([&] {
    while (!stop) {
      ++steps;
      sched_yield();
    }
  });
  Pipe gate;
  const int fd = gate.read.get();
  const pid_t helper = Start([&] {
    sched_yield();
    Post(gate.write.get());
    return 0;
  });
  const pid_t child = vfork();
  if (child == 0) {
    char byte;
    const int before = steps;
    (void)!read(fd, &byte, 1);
    while (steps < before + 10) {
    }
    _exit(2);
  }
  EXPECT_THAT(Wait(child), Exited(2));
  EXPECT_THAT(Wait(helper), Exited(0));
  stop = true;
}

}  // namespace
