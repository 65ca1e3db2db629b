// Who a process is and what it may use: ids, sessions, limits, names, and what the system says of itself.
#include <grp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "tests/conformance/support.h"

namespace {

TEST(Ids, OfTheProcess) {
  EXPECT_GT(getpid(), 0);
  EXPECT_EQ(syscall(SYS_getpid), getpid());
  EXPECT_EQ(syscall(SYS_gettid), getpid());
  EXPECT_EQ(syscall(SYS_getuid), 0);
  EXPECT_EQ(geteuid(), 0u);
}

TEST(Groups, SessionAndGroup) {
  EXPECT_THAT(InChild([] {
    const pid_t self = getpid();
    CHILD_CHECK(getpgid(0) == getpgrp() && getpgrp() != self);
    CHILD_CHECK(setpgid(0, 0) == 0 && getpgrp() == self);
    // The leader of a group cannot start a session.
    CHILD_CHECK(setsid() == -1 && errno == EPERM);
    const pid_t child = fork();
    if (child == 0) {
      CHILD_CHECK(getpgrp() == self);
      CHILD_CHECK(setsid() == getpid());
      CHILD_CHECK(getsid(0) == getpid() && getpgrp() == getpid());
      CHILD_CHECK(setpgid(0, 0) == -1 && errno == EPERM);
      _exit(0);
    }
    return WEXITSTATUS(Wait(child));
  }), Exited(0));
}

TEST(Groups, OfOthers) {
  Pipe gate;
  const pid_t child = Start([&] {
    gate.write.reset();
    Await(gate.read.get());
    return 0;
  });
  EXPECT_THAT(getpgid(child), Returns(getpgrp()));
  EXPECT_THAT(getsid(child), Returns(getsid(0)));
  EXPECT_THAT(setpgid(child, child), Returns(0));
  EXPECT_THAT(getpgid(child), Returns(child));
  EXPECT_THAT(getpgid(0x3ffffff), FailsWith(ESRCH));
  EXPECT_THAT(setpgid(child, 0x3ffffff), FailsWith(EPERM));
  EXPECT_THAT(setpgid(child, -1), FailsWith(EINVAL));
  EXPECT_THAT(setpgid(getppid(), 0), FailsWith(ESRCH));
  gate.write.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Groups, TooLateAfterExec) {
  Pipe pipe, out(O_CLOEXEC);
  const pid_t child = Start([&] {
    dup2(pipe.read.get(), 0);
    pipe.write.reset();
    execl("/bin/cat", "cat", nullptr);
    return 200;
  });
  out.write.reset();
  EXPECT_EQ(ReadAll(out.read.get()), "");  // Closed by the exec.
  EXPECT_THAT(setpgid(child, child), FailsWith(EACCES));
  pipe.write.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Credentials, DroppingIsForGood) {
  EXPECT_THAT(InChild([] {
    uid_t r, e, s;
    CHILD_CHECK(setresuid(1, 2, 3) == 0);
    CHILD_CHECK(getresuid(&r, &e, &s) == 0 && r == 1 && e == 2 && s == 3);
    CHILD_CHECK(seteuid(3) == 0 && geteuid() == 3);
    CHILD_CHECK(seteuid(4) == -1 && errno == EPERM);
    CHILD_CHECK(setuid(1) == 0 && getuid() == 1 && geteuid() == 1);
    CHILD_CHECK(setuid(0) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
}

TEST(Credentials, SetuidOfRootSetsAll) {
  EXPECT_THAT(InChild([] {
    uid_t r, e, s;
    CHILD_CHECK(setgid(7) == 0 && getgid() == 7 && getegid() == 7);
    CHILD_CHECK(setuid(5) == 0);
    CHILD_CHECK(getresuid(&r, &e, &s) == 0 && r == 5 && e == 5 && s == 5);
    CHILD_CHECK(setgid(8) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
}

TEST(Credentials, SupplementaryGroups) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  ASSERT_THAT(chown((dir / "f").c_str(), 0, 4321), Returns(0));
  ASSERT_THAT(chmod((dir / "f").c_str(), 0040), Returns(0));
  EXPECT_THAT(InChild([&] {
    const gid_t groups[] = {4321, 99};
    CHILD_CHECK(setgroups(2, groups) == 0);
    CHILD_CHECK(getgroups(0, nullptr) == 2);
    gid_t now[2];
    CHILD_CHECK(getgroups(1, now) == -1 && errno == EINVAL);
    // Linux keeps them sorted.
    CHILD_CHECK(getgroups(2, now) == 2 && now[0] == 99 && now[1] == 4321);
    CHILD_CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHILD_CHECK(access((dir / "f").c_str(), R_OK) == 0);
    CHILD_CHECK(setgroups(0, nullptr) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
}

TEST(Limits, DescriptorCount) {
  EXPECT_THAT(InChild([] {
    rlimit limit = {};
    CHILD_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur <= limit.rlim_max);
    const rlimit lower = {50, 60}, bad = {70, 60};
    CHILD_CHECK(prlimit(0, RLIMIT_NOFILE, &lower, &limit) == 0);
    CHILD_CHECK(prlimit(0, RLIMIT_NOFILE, nullptr, &limit) == 0);
    CHILD_CHECK(limit.rlim_cur == 50 && limit.rlim_max == 60);
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &bad) == -1 && errno == EINVAL);
    CHILD_CHECK(getrlimit(static_cast<__rlimit_resource>(99), &limit) == -1 && errno == EINVAL);
    CHILD_CHECK(setuid(65534) == 0);
    const rlimit raised = {50, 61};
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &raised) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
}

TEST(Limits, InheritedByChildrenAndPrograms) {
  EXPECT_THAT(InChild([] {
    const rlimit limit = {1 << 20, 1 << 20};
    CHILD_CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
    execl("/bin/sh", "sh", "-c", "[ $(ulimit -s) = 1024 ]", nullptr);
    return 200;
  }), Exited(0));
}

TEST(Prctl, Name) {
  char name[16] = {};
  EXPECT_THAT(InChild([&] {
    CHILD_CHECK(prctl(PR_SET_NAME, "a-name-that-is-long") == 0);
    CHILD_CHECK(prctl(PR_GET_NAME, name) == 0);
    CHILD_CHECK(std::string(name) == "a-name-that-is-");
    CHILD_CHECK(ReadFile("/proc/self/comm") == "a-name-that-is-\n");
    return 0;
  }), Exited(0));
}

TEST(Prctl, ParentDeathSignal) {
  Pipe report, ready;
  const pid_t middle = Start([&] {
    if (fork() == 0) {
      report.read.reset();
      CHILD_CHECK(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0);
      int now = 0;
      CHILD_CHECK(prctl(PR_GET_PDEATHSIG, &now) == 0 && now == SIGTERM);
      signal(SIGTERM, SIG_DFL);
      Post(ready.write.get());
      for (;;) pause();
    }
    Await(ready.read.get());
    return 0;
  });
  EXPECT_THAT(Wait(middle), Exited(0));
  report.write.reset();
  // The grandchild holds the other write end until it dies.
  EXPECT_TRUE(WaitReadable(report.read.get()));
  EXPECT_EQ(ReadAll(report.read.get()), "");
}

TEST(Prctl, Others) {
  EXPECT_THAT(prctl(PR_GET_DUMPABLE), Returns(1));
  EXPECT_THAT(prctl(PR_SET_DUMPABLE, 7), FailsWith(EINVAL));
  EXPECT_THAT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), Succeeds());
  EXPECT_THAT(prctl(999), FailsWith(EINVAL));
}

TEST(Uname, Fields) {
  utsname name = {};
  EXPECT_THAT(uname(&name), Returns(0));
  EXPECT_STREQ(name.sysname, "Linux");
  EXPECT_STREQ(name.machine, "x86_64");
  EXPECT_GE(atoi(name.release), 4);
  EXPECT_NE(name.nodename[0], 0);
  EXPECT_THAT(syscall(SYS_uname, 8), FailsWith(EFAULT));
}

TEST(Sysinfo, Plausible) {
  struct sysinfo info = {};
  EXPECT_THAT(sysinfo(&info), Returns(0));
  EXPECT_GT(info.totalram * info.mem_unit, 64u << 20);
  EXPECT_GT(info.procs, 0);
  EXPECT_GE(info.uptime, 0);
}

TEST(Getrandom, Bytes) {
  unsigned char a[64] = {}, b[64] = {};
  EXPECT_THAT(getrandom(a, sizeof a, 0), Returns(64));
  EXPECT_THAT(getrandom(b, sizeof b, GRND_NONBLOCK), Returns(64));
  EXPECT_NE(memcmp(a, b, 64), 0);
  EXPECT_THAT(getrandom(a, 1, 0x80), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_getrandom, 8, 64, 0), FailsWith(EFAULT));
}

TEST(Personality, QueryAndSet) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(personality(0xffffffff) == 0);
    CHILD_CHECK(personality(ADDR_NO_RANDOMIZE) == 0);
    CHILD_CHECK(personality(0xffffffff) == ADDR_NO_RANDOMIZE);
    return 0;
  }), Exited(0));
}

TEST(Priority, NiceOfAChild) {
  const int own = getpriority(PRIO_PROCESS, 0);
  EXPECT_THAT(InChild([own] {
    CHILD_CHECK(getpriority(PRIO_PROCESS, 0) == own);
    CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 19) == 0);
    CHILD_CHECK(getpriority(PRIO_PROCESS, 0) == 19);
    return 0;
  }), Exited(0));
}

TEST(Affinity, HasACpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_THAT(sched_getaffinity(0, sizeof set, &set), Returns(0));
  EXPECT_GE(CPU_COUNT(&set), 1);
  EXPECT_THAT(sched_yield(), Returns(0));
}

TEST(UnknownCalls, AreNotImplemented) {
  EXPECT_THAT(syscall(100'000), FailsWith(ENOSYS));
  EXPECT_THAT(syscall(-1), FailsWith(ENOSYS));
  EXPECT_THAT(syscall(400), FailsWith(ENOSYS));
}

TEST(ProcSelf, Status) {
  const std::string status = ReadFile("/proc/self/status");
  EXPECT_NE(status.find("Pid:\t" + std::to_string(getpid()) + "\n"), std::string::npos);
  EXPECT_NE(status.find("PPid:\t" + std::to_string(getppid()) + "\n"), std::string::npos);
  EXPECT_NE(status.find("Uid:\t0\t0\t0\t0\n"), std::string::npos);
  EXPECT_NE(status.find("Threads:\t1\n"), std::string::npos);
}

}  // namespace
