// fork(2), vfork(2), wait4(2), waitid(2), exit statuses, zombies, reparenting.
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/conformance/support.h"

namespace {

TEST(Fork, CopiesMemory) {
  int value = 1;
  EXPECT_THAT(InChild([&] {
    value = 2;
    return value;
  }), Exited(2));
  EXPECT_EQ(value, 1);
}

TEST(Fork, IdsOfParentAndChild) {
  const pid_t parent = getpid();
  Pipe pipe;
  const pid_t child = Start([&] {
    const pid_t ids[] = {getpid(), getppid(), gettid()};
    return write(pipe.write.get(), ids, sizeof ids) == sizeof ids ? 0 : 1;
  });
  pid_t ids[3] = {};
  EXPECT_THAT(read(pipe.read.get(), ids, sizeof ids), Returns(sizeof ids));
  EXPECT_EQ(ids[0], child);
  EXPECT_EQ(ids[1], parent);
  EXPECT_EQ(ids[2], child);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Fork, LargeMemoryIsCopied) {
  std::string data(16 << 20, 'a');
  EXPECT_THAT(InChild([&] {
    for (size_t i = 0; i < data.size(); i += 4096) {
      CHILD_CHECK(data[i] == 'a');
      data[i] = 'b';
    }
    return 0;
  }), Exited(0));
  EXPECT_EQ(data.find('b'), std::string::npos);
}

TEST(Fork, ManyInARow) {
  for (int i = 0; i < 100; ++i) ASSERT_THAT(InChild([i] { return i; }), Exited(i));
}

TEST(Fork, ManyAtOnce) {
  std::vector<pid_t> children;
  Pipe gate;
  for (int i = 0; i < 50; ++i) {
    children.push_back(Start([&] {
      gate.write.reset();
      char byte;
      return read(gate.read.get(), &byte, 1) == 0 ? 7 : 1;
    }));
  }
  gate.write.reset();
  for (pid_t child : children) EXPECT_THAT(Wait(child), Exited(7));
}

TEST(Fork, GrandchildrenNest) {
  EXPECT_THAT(InChild([] {
    return WEXITSTATUS(InChild([] { return WEXITSTATUS(InChild([] { return 3; })) + 3; })) + 3;
  }), Exited(9));
}

TEST(Vfork, ParentWaitsForTheChild) {
  volatile int value = 0;
  const pid_t child = vfork();
  if (child == 0) {
    value = 5;  // Shared with the parent, which sleeps until the exit.
    _exit(4);
  }
  EXPECT_EQ(value, 5);
  EXPECT_THAT(Wait(child), Exited(4));
}

TEST(Vfork, ExecReleasesTheParent) {
  const std::string helper = Helper("show_static");
  char* const argv[] = {const_cast<char*>("x"), const_cast<char*>("exit"),
                        const_cast<char*>("9"), nullptr};
  const pid_t child = vfork();
  if (child == 0) {
    execv(helper.c_str(), argv);
    _exit(200);
  }
  EXPECT_THAT(Wait(child), Exited(9));
}

TEST(Vfork, FailedExecReturnsToTheChild) {
  volatile int error = 0;
  const pid_t child = vfork();
  if (child == 0) {
    execl("/nonexistent/program", "x", nullptr);
    error = errno;
    _exit(6);
  }
  EXPECT_EQ(error, ENOENT);
  EXPECT_THAT(Wait(child), Exited(6));
}

TEST(Exit, StatusIsOneByte) {
  EXPECT_THAT(InChild([] { return 0x1234; }), Exited(0x34));
  EXPECT_THAT(InChild([] { return -1; }), Exited(255));
}

TEST(Exit, SignalsInTheStatus) {
  for (int signal : {SIGKILL, SIGTERM, SIGUSR1, SIGALRM, SIGHUP}) {
    EXPECT_THAT(InChild([signal] {
      kill(getpid(), signal);
      return 0;
    }), Killed(signal));
  }
}

TEST(Exit, ClosesDescriptors) {
  Pipe pipe;
  const pid_t child = Start([&] { return 0; });
  pipe.write.reset();
  EXPECT_EQ(ReadAll(pipe.read.get()), "");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Wait, NoChildren) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(wait(nullptr) == -1 && errno == ECHILD);
    CHILD_CHECK(waitpid(getppid(), nullptr, 0) == -1 && errno == ECHILD);
    CHILD_CHECK(waitpid(-1, nullptr, 0x7000) == -1 && errno == EINVAL);
    return 0;
  }), Exited(0));
}

TEST(Wait, AnyChild) {
  EXPECT_THAT(InChild([] {
    const pid_t child = fork();
    if (child == 0) _exit(3);
    int status = 0;
    CHILD_CHECK(wait(&status) == child);
    CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    CHILD_CHECK(wait(&status) == -1 && errno == ECHILD);
    return 0;
  }), Exited(0));
}

TEST(Wait, NoHang) {
  Pipe gate;
  const pid_t child = Start([&] {
    gate.write.reset();
    Await(gate.read.get());
    return 1;
  });
  int status = 0;
  EXPECT_THAT(waitpid(child, &status, WNOHANG), Returns(0));
  gate.write.reset();
  EXPECT_TRUE(Eventually([&] { return waitpid(child, &status, WNOHANG) == child; }));
  EXPECT_THAT(status, Exited(1));
}

TEST(Wait, ByProcessGroup) {
  EXPECT_THAT(InChild([] {
    const pid_t a = fork();
    if (a == 0) _exit(1);
    const pid_t b = fork();
    if (b == 0) {
      setpgid(0, 0);
      _exit(2);
    }
    setpgid(b, b);
    int status;
    CHILD_CHECK(waitpid(-b, &status, 0) == b && WEXITSTATUS(status) == 2);
    CHILD_CHECK(waitpid(-b, &status, 0) == -1 && errno == ECHILD);
    CHILD_CHECK(waitpid(0, &status, 0) == a && WEXITSTATUS(status) == 1);
    return 0;
  }), Exited(0));
}

TEST(Wait, StoppedAndContinued) {
  const pid_t child = Start([] {
    for (;;) pause();
    return 0;
  });
  ASSERT_THAT(kill(child, SIGSTOP), Returns(0));
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  EXPECT_EQ(StateOf(child), 'T');
  ASSERT_THAT(kill(child, SIGCONT), Returns(0));
  EXPECT_TRUE(WIFCONTINUED(Wait(child, WCONTINUED)));
  int status;
  EXPECT_THAT(waitpid(child, &status, WNOHANG | WUNTRACED | WCONTINUED), Returns(0));
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

TEST(Wait, KillEndsAStoppedProcess) {
  const pid_t child = Start([] {
    raise(SIGSTOP);
    return 0;
  });
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
}

TEST(Wait, InterruptedByASignal) {
  static volatile sig_atomic_t caught;
  caught = 0;
  ScopedAction action(SIGUSR1, [](int) { caught = 1; });
  const pid_t self = getpid();
  Pipe gate;
  const pid_t child = Start([&] {
    gate.write.reset();
    CHILD_CHECK(WaitForState(self, 'S'));
    kill(self, SIGUSR1);
    Await(gate.read.get());
    return 0;
  });
  int status;
  EXPECT_THAT(waitpid(child, &status, 0), FailsWith(EINTR));
  EXPECT_EQ(caught, 1);
  gate.write.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Wait, BadStatusPointer) {
  const pid_t child = Start([] { return 0; });
  EXPECT_THAT(syscall(SYS_wait4, child, 8, 0, nullptr), FailsWith(EFAULT));
  // The child was reaped all the same.
  EXPECT_THAT(waitpid(child, nullptr, 0), FailsWith(ECHILD));
}

TEST(Wait4, ResourceUsage) {
  const pid_t child = Start([] {
    while (clock() < CLOCKS_PER_SEC / 50) continue;
    return 0;
  });
  rusage usage = {};
  int status;
  EXPECT_THAT(wait4(child, &status, 0, &usage), Returns(child));
  EXPECT_GT(usage.ru_utime.tv_sec * 1'000'000 + usage.ru_utime.tv_usec +
                usage.ru_stime.tv_sec * 1'000'000 + usage.ru_stime.tv_usec,
            5'000);
}

TEST(Waitid, FillsInfo) {
  const pid_t child = Start([] { return 5; });
  siginfo_t info = {};
  EXPECT_THAT(waitid(P_PID, child, &info, WEXITED), Returns(0));
  EXPECT_EQ(info.si_signo, SIGCHLD);
  EXPECT_EQ(info.si_code, CLD_EXITED);
  EXPECT_EQ(info.si_pid, child);
  EXPECT_EQ(info.si_status, 5);
  EXPECT_EQ(info.si_uid, getuid());
}

TEST(Waitid, KilledAndStopped) {
  const pid_t child = Start([] {
    for (;;) pause();
    return 0;
  });
  siginfo_t info = {};
  kill(child, SIGSTOP);
  EXPECT_THAT(waitid(P_PID, child, &info, WSTOPPED), Returns(0));
  EXPECT_EQ(info.si_code, CLD_STOPPED);
  EXPECT_EQ(info.si_status, SIGSTOP);
  kill(child, SIGCONT);
  EXPECT_THAT(waitid(P_PID, child, &info, WCONTINUED), Returns(0));
  EXPECT_EQ(info.si_code, CLD_CONTINUED);
  EXPECT_EQ(info.si_status, SIGCONT);
  kill(child, SIGKILL);
  EXPECT_THAT(waitid(P_PID, child, &info, WEXITED), Returns(0));
  EXPECT_EQ(info.si_code, CLD_KILLED);
  EXPECT_EQ(info.si_status, SIGKILL);
}

TEST(Waitid, NoWaitLeavesTheZombie) {
  const pid_t child = Start([] { return 2; });
  siginfo_t info = {};
  EXPECT_THAT(waitid(P_PID, child, &info, WEXITED | WNOWAIT), Returns(0));
  EXPECT_EQ(info.si_status, 2);
  EXPECT_EQ(StateOf(child), 'Z');
  EXPECT_THAT(kill(child, 0), Returns(0));
  EXPECT_THAT(Wait(child), Exited(2));
  EXPECT_THAT(kill(child, 0), FailsWith(ESRCH));
}

TEST(Waitid, NoHangLeavesInfoEmpty) {
  Pipe gate;
  const pid_t child = Start([&] {
    gate.write.reset();
    Await(gate.read.get());
    return 0;
  });
  siginfo_t info;
  memset(&info, 0xff, sizeof info);
  EXPECT_THAT(waitid(P_PID, child, &info, WEXITED | WNOHANG), Returns(0));
  EXPECT_EQ(info.si_pid, 0);
  EXPECT_EQ(info.si_signo, 0);
  gate.write.reset();
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(waitid(P_PID, child, &info, 0), FailsWith(EINVAL));
  EXPECT_THAT(waitid(P_PID, child, &info, WEXITED), FailsWith(ECHILD));
}

TEST(Zombie, IgnoredSigchldReapsByItself) {
  EXPECT_THAT(InChild([] {
    signal(SIGCHLD, SIG_IGN);
    const pid_t child = fork();
    if (child == 0) _exit(1);
    CHILD_CHECK(waitpid(child, nullptr, 0) == -1 && errno == ECHILD);
    CHILD_CHECK(kill(child, 0) == -1 && errno == ESRCH);
    return 0;
  }), Exited(0));
}

TEST(Orphan, GoesToTheSubreaper) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
    const pid_t self = getpid();
    Pipe ready, report;
    const pid_t middle = fork();
    if (middle == 0) {
      const pid_t parent = getpid();
      if (fork() == 0) {
        Await(ready.read.get());
        CHILD_CHECK(Eventually([&] { return getppid() != parent; }));
        _exit(getppid() == self ? 8 : 9);
      }
      _exit(0);
    }
    CHILD_CHECK(WEXITSTATUS(Wait(middle)) == 0);
    CHILD_CHECK(Post(ready.write.get()));
    int status;
    CHILD_CHECK(wait(&status) > 0 && WEXITSTATUS(status) == 8);
    return 0;
  }), Exited(0));
}

TEST(Orphan, OutlivesItsParentAndChangesIt) {
  Pipe ready, report;
  const pid_t middle = Start([&] {
    const pid_t parent = getpid();
    if (fork() == 0) {
      Await(ready.read.get());
      Eventually([&] { return getppid() != parent; });
      const char adopted = getppid() != parent;
      _exit(write(report.write.get(), &adopted, 1) == 1 ? 0 : 1);
    }
    return 0;
  });
  EXPECT_THAT(Wait(middle), Exited(0));
  EXPECT_TRUE(Post(ready.write.get()));
  char adopted = 0;
  EXPECT_THAT(read(report.read.get(), &adopted, 1), Returns(1));
  EXPECT_EQ(adopted, 1);
}

TEST(Clone, ExitSignalOtherThanSigchld) {
  ScopedAction ignore(SIGUSR2, SIG_IGN);
  const long child = syscall(SYS_clone, static_cast<long>(SIGUSR2), nullptr, nullptr, nullptr, nullptr);
  if (child == 0) _exit(5);
  ASSERT_GT(child, 0);
  int status = 0;
  EXPECT_THAT(waitpid(child, &status, 0), FailsWith(ECHILD));
  EXPECT_THAT(waitpid(child, &status, __WCLONE), Returns(child));
  EXPECT_THAT(status, Exited(5));
}

TEST(Clone, BadFlags) {
  // A shared signal table needs shared memory, and a thread needs a shared table.
  EXPECT_THAT(syscall(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, 0, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clone, CLONE_THREAD | SIGCHLD, 0, 0, 0, 0), FailsWith(EINVAL));
}

TEST(Clone, SharedFiles) {
  const long child = syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (child == 0) _exit(dup2(0, 123) == 123 ? 0 : 1);
  ASSERT_GT(child, 0);
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(close(123), Returns(0));
}

TEST(Clone, ParentAndChildTids) {
  pid_t in_parent = 0, in_child = 0;
  const long child = syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, nullptr,
                             &in_parent, &in_child, nullptr);
  if (child == 0) _exit(in_child == syscall(SYS_getpid) ? 0 : 1);
  EXPECT_EQ(in_parent, child);
  EXPECT_EQ(in_child, 0);
  EXPECT_THAT(Wait(child), Exited(0));
}

}  // namespace
