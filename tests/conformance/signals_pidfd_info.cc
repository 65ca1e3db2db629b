// What a pidfd tells of its process: PIDFD_GET_INFO (Linux 6.13); the caller without a descriptor:
// PIDFD_SELF_* (Linux 6.14). Where the kernel knows them.
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>

#include "tests/conformance/support.h"

namespace {

struct Info {
  uint64_t mask, cgroup;
  uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
  int32_t exit_code;
  std::array<uint32_t, 64> more;
};
constexpr size_t kFirst = 64;
constexpr uint64_t kPid = 1, kCredentials = 2, kCgroup = 4, kExit = 8, kCoredump = 16;
constexpr int kSelfThread = -10000, kSelfProcess = -10001;

int PidfdOpen(pid_t pid, unsigned flags = 0) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, flags));
}
int GetInfo(int fd, Info* info, size_t size = kFirst) {
  return ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, size), info);
}

class PidfdInfo : public testing::Test {
 protected:
  void SetUp() override {
    Info info = {};
    const UniqueFd fd(PidfdOpen(getpid()));
    if (GetInfo(fd.get(), &info) != 0) GTEST_SKIP() << "the kernel does not know it";
  }
};

TEST_F(PidfdInfo, OfTheCaller) {
  const UniqueFd fd(PidfdOpen(getpid()));
  Info info = {};
  ASSERT_THAT(GetInfo(fd.get(), &info), Returns(0));
  EXPECT_EQ(info.mask & (kPid | kCredentials | kExit), kPid | kCredentials) << "told unasked";
  EXPECT_EQ(info.pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(info.tgid, info.pid);
  EXPECT_EQ(info.ppid, static_cast<uint32_t>(getppid()));
  EXPECT_EQ(info.ruid, getuid());
  EXPECT_EQ(info.exit_code, 0);
}

TEST_F(PidfdInfo, CredentialsAsTheyAreNow) {
  Pipe ready, gate;
  const pid_t child = Start([&] {
    CHILD_CHECK(setresgid(11, 12, 13) == 0 && setresuid(21, 22, 23) == 0);
    Post(ready.write.get());
    return Await(gate.read.get()) ? 0 : 1;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  const UniqueFd fd(PidfdOpen(child));
  Info info = {};
  ASSERT_THAT(GetInfo(fd.get(), &info), Returns(0));
  EXPECT_EQ(info.pid, static_cast<uint32_t>(child));
  EXPECT_EQ(info.ppid, static_cast<uint32_t>(getpid()));
  const std::array<uint32_t, 8> expected = {21, 11, 22, 12, 23, 13, 22, 12};
  const std::array<uint32_t, 8> told = {info.ruid, info.rgid, info.euid,  info.egid,
                                        info.suid, info.sgid, info.fsuid, info.fsgid};
  EXPECT_EQ(told, expected);
  Post(gate.write.get());
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_F(PidfdInfo, OfAThread) {
  Pipe gate;
  Thread thread([&] { Await(gate.read.get()); });
  const UniqueFd fd(PidfdOpen(thread.tid(), O_EXCL));
  ASSERT_TRUE(fd.valid());
  Info info = {};
  EXPECT_THAT(GetInfo(fd.get(), &info), Returns(0));
  EXPECT_EQ(info.pid, static_cast<uint32_t>(thread.tid()));
  EXPECT_EQ(info.tgid, static_cast<uint32_t>(getpid()));
  Post(gate.write.get());
}

TEST_F(PidfdInfo, TheEndIsToldOnceItHasBeenReaped) {
  for (const bool killed : {false, true}) {
    Pipe gate;
    const pid_t child = Start([&] { return Await(gate.read.get()) ? 5 : 1; });
    const UniqueFd fd(PidfdOpen(child));
    Info info = {.mask = kExit};
    ASSERT_THAT(GetInfo(fd.get(), &info), Returns(0));
    EXPECT_EQ(info.mask & kExit, 0u) << "it lives";
    if (killed) {
      kill(child, SIGKILL);
    } else {
      Post(gate.write.get());
    }
    siginfo_t end;
    ASSERT_THAT(waitid(P_PID, static_cast<id_t>(child), &end, WEXITED | WNOWAIT), Returns(0));
    info.mask = kExit;
    ASSERT_THAT(GetInfo(fd.get(), &info), Returns(0));
    EXPECT_EQ(info.mask & kExit, 0u) << "a zombie";
    EXPECT_EQ(info.pid, static_cast<uint32_t>(child));
    const int status = Wait(child);
    info.mask = 0;
    EXPECT_THAT(GetInfo(fd.get(), &info), FailsWith(ESRCH));
    info.mask = kExit;
    ASSERT_THAT(GetInfo(fd.get(), &info), Returns(0));
    EXPECT_EQ(info.mask & (kPid | kCredentials | kExit), kExit);
    EXPECT_EQ(info.pid, 0u);
    EXPECT_EQ(info.exit_code, status);
  }
}

TEST_F(PidfdInfo, SizesOfOtherDays) {
  const UniqueFd fd(PidfdOpen(getpid()));
  Info info = {};
  EXPECT_THAT(GetInfo(fd.get(), &info, kFirst - 8), FailsWith(ENOTTY));
  EXPECT_THAT(GetInfo(fd.get(), nullptr), FailsWith(EINVAL));
  EXPECT_THAT(GetInfo(fd.get(), reinterpret_cast<Info*>(8)), FailsWith(EFAULT));
  info.more.fill(~0u);
  ASSERT_THAT(GetInfo(fd.get(), &info), Returns(0));
  EXPECT_EQ(info.more[0], ~0u) << "beyond its size";
  info.mask = 0;
  ASSERT_THAT(GetInfo(fd.get(), &info, sizeof(info) - 8), Returns(0));
  EXPECT_EQ(info.more[40], 0u) << "what nobody knows of yet";
  EXPECT_EQ(info.more[info.more.size() - 3], 0u);
  EXPECT_EQ(info.more[info.more.size() - 2], ~0u);
  UniqueFd file = OpenTemp();
  EXPECT_THAT(GetInfo(file.get(), &info), FailsWith(ENOTTY));
  EXPECT_THAT(ioctl(fd.get(), _IO(0xff, 99), 0), FailsWith(ENOTTY));
}

TEST_F(PidfdInfo, WhetherACoreWouldBeWritten) {
  EXPECT_THAT(InChild([] {
                Info info = {.mask = kCoredump};
                const UniqueFd fd(PidfdOpen(getpid()));
                CHILD_CHECK(GetInfo(fd.get(), &info, kFirst + 8) == 0);
                if ((info.mask & kCoredump) == 0) return 0;  // Linux 6.16.
                CHILD_CHECK(info.more[0] == 4);
                CHILD_CHECK(prctl(PR_SET_DUMPABLE, 0) == 0);
                info.mask = kCoredump;
                CHILD_CHECK(GetInfo(fd.get(), &info, kFirst + 8) == 0);
                CHILD_CHECK(info.more[0] == 2);
                return 0;
              }),
              Exited(0));
}

TEST_F(PidfdInfo, TheGroupIsItsDirectory) {
  const UniqueFd fd(PidfdOpen(getpid()));
  Info info = {};
  ASSERT_THAT(GetInfo(fd.get(), &info), Returns(0));
  if ((info.mask & kCgroup) == 0) GTEST_SKIP() << "the kernel has no control groups";
  EXPECT_NE(info.cgroup, 0u);
  Info other = {};
  EXPECT_THAT(InChild([&] {
                const UniqueFd own(PidfdOpen(getpid()));
                return GetInfo(own.get(), &other) == 0 && other.cgroup == info.cgroup ? 0 : 1;
              }),
              Exited(0));
}

TEST(PidfdSelf, SendsToTheCaller) {
  if (syscall(SYS_pidfd_send_signal, kSelfProcess, 0, nullptr, 0) != 0) {
    GTEST_SKIP() << "the kernel does not know it";
  }
  static std::atomic<int> code, count;
  code = count = 0;
  ScopedAction action(SIGUSR1, [](int, siginfo_t* info, void*) {
    code = info->si_code;
    ++count;
  });
  EXPECT_THAT(syscall(SYS_pidfd_send_signal, kSelfThread, SIGUSR1, nullptr, 0), Returns(0));
  EXPECT_EQ(count, 1);
  EXPECT_EQ(code, SI_TKILL);
  EXPECT_THAT(syscall(SYS_pidfd_send_signal, kSelfProcess, SIGUSR1, nullptr, 0), Returns(0));
  EXPECT_EQ(count, 2);
  EXPECT_EQ(code, SI_USER);
  EXPECT_THAT(syscall(SYS_pidfd_send_signal, -10002, 0, nullptr, 0), FailsWith(EBADF));
  siginfo_t info;
  EXPECT_THAT(waitid(static_cast<idtype_t>(3), static_cast<id_t>(kSelfProcess), &info, WEXITED),
              FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_pidfd_getfd, kSelfProcess, 0, 0), FailsWith(EBADF));
}

}  // namespace
