// Users, groups and capabilities: setuid(2) and its family, capget(2), capabilities(7), credentials(7),
// and execve(2) of programs that change them.
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <functional>

#include "tests/conformance/support.h"

namespace {

struct Caps {
  uint64_t effective = 0, permitted = 0, inheritable = 0;
};
constexpr uint64_t Bit(int capability) { return uint64_t{1} << capability; }

bool GetCaps(Caps& caps, pid_t pid = 0) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, pid};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  caps.effective = data[0].effective | uint64_t{data[1].effective} << 32;
  caps.permitted = data[0].permitted | uint64_t{data[1].permitted} << 32;
  caps.inheritable = data[0].inheritable | uint64_t{data[1].inheritable} << 32;
  return true;
}
bool SetCaps(const Caps& caps) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  for (int i = 0; i < 2; ++i) {
    data[i] = {static_cast<uint32_t>(caps.effective >> 32 * i),
               static_cast<uint32_t>(caps.permitted >> 32 * i),
               static_cast<uint32_t>(caps.inheritable >> 32 * i)};
  }
  return syscall(SYS_capset, &header, data) == 0;
}
bool UidsAre(uid_t real, uid_t effective, uid_t saved) {
  uid_t r, e, s;
  return getresuid(&r, &e, &s) == 0 && r == real && e == effective && s == saved;
}
bool GidsAre(gid_t real, gid_t effective, gid_t saved) {
  gid_t r, e, s;
  return getresgid(&r, &e, &s) == 0 && r == real && e == effective && s == saved;
}

// The fields of the named lines of /proc/self/status in a program that `setup` executes.
std::string StatusAfterExec(const std::string& path, const std::function<void()>& setup) {
  Pipe out(O_CLOEXEC);
  const pid_t child = Start([&] {
    setup();
    dup2(out.write.get(), 1);
    execl(path.c_str(), "x", "/proc/self/status", nullptr);
    return 200;
  });
  out.write.reset();
  std::string text = ReadAll(out.read.get());
  EXPECT_THAT(Wait(child), Exited(0));
  return text;
}
std::string Line(const std::string& text, const std::string& key) {
  const size_t at = text.find(key + ":\t");
  if (at == std::string::npos) return "(none)";
  const size_t begin = at + key.size() + 2;
  return text.substr(begin, text.find('\n', begin) - begin);
}
// A copy of cat(1) with an owner and a mode.
void CopyCat(const std::string& path, uid_t uid, gid_t gid, mode_t mode) {
  WriteFile(path, ReadFile("/bin/cat"), 0755);
  EXPECT_THAT(chown(path.c_str(), uid, gid), Returns(0));
  EXPECT_THAT(chmod(path.c_str(), mode), Returns(0));
}
void Become(uid_t uid) {
  CHILD_CHECK(setgroups(0, nullptr) == 0);
  CHILD_CHECK(setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
}

TEST(SetIds, MinusOneKeeps) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(setresuid(10, 20, 30) == 0 && setresuid(-1, -1, -1) == 0 && UidsAre(10, 20, 30));
    CHILD_CHECK(setuid(-1) == -1 && errno == EINVAL);
    CHILD_CHECK(setgid(-1) == -1 && errno == EINVAL);
    return 0;
  }), Exited(0));
}

TEST(SetIds, ReuidSetsTheSavedOne) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(setresuid(10, 20, 30) == 0);
    CHILD_CHECK(setreuid(-1, 10) == 0 && UidsAre(10, 10, 30));  // The real one: saved stays.
    CHILD_CHECK(setreuid(-1, 30) == 0 && UidsAre(10, 30, 30));
    CHILD_CHECK(setreuid(30, 10) == 0 && UidsAre(30, 10, 10));
    CHILD_CHECK(setreuid(99, -1) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
}

TEST(SetIds, RegidLikewise) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(setresgid(10, 20, 30) == 0 && GidsAre(10, 20, 30));
    CHILD_CHECK(setregid(-1, 40) == 0 && GidsAre(10, 40, 40));
    CHILD_CHECK(setregid(10, -1) == 0 && GidsAre(10, 40, 40));
    CHILD_CHECK(setgid(7) == 0 && GidsAre(7, 7, 7));
    return 0;
  }), Exited(0));
}

TEST(SetIds, WithoutPrivilegeAmongTheOwnThree) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(setresgid(1, 2, 3) == 0 && setresuid(1, 2, 3) == 0);
    CHILD_CHECK(setresuid(3, 1, 2) == 0 && UidsAre(3, 1, 2));
    CHILD_CHECK(setresuid(4, -1, -1) == -1 && errno == EPERM);
    CHILD_CHECK(setresgid(2, 3, 1) == 0 && GidsAre(2, 3, 1));
    CHILD_CHECK(setresgid(-1, 4, -1) == -1 && errno == EPERM);
    CHILD_CHECK(setuid(2) == 0 && UidsAre(3, 2, 2));
    return 0;
  }), Exited(0));
}

TEST(SetIds, FilesystemId) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(setfsuid(-1) == 0);
    CHILD_CHECK(setfsuid(123) == 0 && setfsuid(-1) == 123);
    CHILD_CHECK(setresuid(-1, 55, -1) == 0 && setfsuid(-1) == 55);  // Follows the effective one.
    CHILD_CHECK(setfsuid(77) == 55 && setfsuid(-1) == 55);          // Not allowed: no error.
    CHILD_CHECK(setfsgid(9) == 0 && setfsgid(-1) >= 0);
    return 0;
  }), Exited(0));
}

TEST(SetIds, FilesystemIdDecidesAccessToFiles) {
  TempDir dir;
  WriteFile(dir / "f", "x", 0600);
  EXPECT_THAT(InChild([&] {
    CHILD_CHECK(open((dir / "f").c_str(), O_RDONLY) >= 0);
    setfsuid(4321);
    CHILD_CHECK(open((dir / "f").c_str(), O_RDONLY) == -1 && errno == EACCES);
    setfsuid(0);
    CHILD_CHECK(open((dir / "f").c_str(), O_RDONLY) >= 0);
    return 0;
  }), Exited(0));
}

TEST(SetIds, GroupListErrors) {
  EXPECT_THAT(InChild([] {
    gid_t list[2] = {5, 4};
    CHILD_CHECK(syscall(SYS_setgroups, 65537, list) == -1 && errno == EINVAL);
    CHILD_CHECK(syscall(SYS_setgroups, -1, list) == -1 && errno == EINVAL);
    const gid_t none[] = {1, static_cast<gid_t>(-1)};
    CHILD_CHECK(syscall(SYS_setgroups, 2, none) == -1 && errno == EINVAL);
    CHILD_CHECK(syscall(SYS_setgroups, 1, 8) == -1 && errno == EFAULT);
    CHILD_CHECK(syscall(SYS_getgroups, -1, list) == -1 && errno == EINVAL);
    CHILD_CHECK(setgroups(2, list) == 0);
    CHILD_CHECK(syscall(SYS_getgroups, 2, 8) == -1 && errno == EFAULT);
    CHILD_CHECK(getgroups(2, list) == 2 && list[0] == 4 && list[1] == 5);
    return 0;
  }), Exited(0));
}

TEST(Capabilities, LeavingRootDropsThem) {
  EXPECT_THAT(InChild([] {
    Caps caps;
    CHILD_CHECK(GetCaps(caps) && caps.effective != 0);
    CHILD_CHECK(setresuid(-1, 500, -1) == 0 && GetCaps(caps));
    CHILD_CHECK(caps.effective == 0 && caps.permitted != 0);  // Another id is still 0.
    CHILD_CHECK(setresuid(-1, 0, -1) == 0 && GetCaps(caps) && caps.effective == caps.permitted);
    CHILD_CHECK(setresuid(500, 500, 500) == 0 && GetCaps(caps));
    CHILD_CHECK(caps.effective == 0 && caps.permitted == 0);
    return 0;
  }), Exited(0));
}

TEST(Capabilities, KeptWhenAskedFor) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(prctl(PR_SET_KEEPCAPS, 2) == -1 && errno == EINVAL);
    CHILD_CHECK(prctl(PR_SET_KEEPCAPS, 1) == 0 && prctl(PR_GET_KEEPCAPS) == 1);
    CHILD_CHECK((prctl(PR_GET_SECUREBITS) & SECBIT_KEEP_CAPS) != 0);
    CHILD_CHECK(setresuid(500, 500, 500) == 0);
    Caps caps;
    CHILD_CHECK(GetCaps(caps) && caps.effective == 0 && caps.permitted != 0);
    caps.effective = Bit(CAP_SETUID);
    CHILD_CHECK(SetCaps(caps) && setresuid(0, 0, 0) == 0);
    return 0;
  }), Exited(0));
}

TEST(Capabilities, FilesystemIdTakesTheFileOnes) {
  EXPECT_THAT(InChild([] {
    Caps caps;
    setfsuid(9);
    CHILD_CHECK(GetCaps(caps) && (caps.effective & Bit(CAP_DAC_OVERRIDE)) == 0);
    CHILD_CHECK((caps.effective & Bit(CAP_SETUID)) != 0);
    setfsuid(0);
    CHILD_CHECK(GetCaps(caps) && (caps.effective & Bit(CAP_DAC_OVERRIDE)) != 0);
    return 0;
  }), Exited(0));
}

TEST(Capabilities, NoFixupSecurebit) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) == 0);
    CHILD_CHECK(setresuid(500, 500, 500) == 0);
    Caps caps;
    return GetCaps(caps) && caps.effective != 0 ? 0 : 1;
  }), Exited(0));
}

TEST(Capabilities, SecurebitsLock) {
  EXPECT_THAT(InChild([] {
    const int locked = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED;
    CHILD_CHECK(prctl(PR_SET_SECUREBITS, locked) == 0 && prctl(PR_GET_SECUREBITS) == locked);
    CHILD_CHECK(prctl(PR_SET_SECUREBITS, 0) == -1 && errno == EPERM);
    CHILD_CHECK(prctl(PR_SET_SECUREBITS, 1 << 20 | locked) == -1 && errno == EPERM);
    CHILD_CHECK(prctl(PR_SET_SECUREBITS, locked | SECBIT_KEEP_CAPS_LOCKED) == 0);
    CHILD_CHECK(prctl(PR_SET_KEEPCAPS, 1) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
}

TEST(Capabilities, SetRules) {
  EXPECT_THAT(InChild([] {
    Caps all, caps;
    CHILD_CHECK(GetCaps(all));
    caps = all;
    caps.effective &= ~Bit(CAP_CHOWN);
    CHILD_CHECK(SetCaps(caps) && GetCaps(caps) && (caps.effective & Bit(CAP_CHOWN)) == 0);
    caps.permitted &= ~Bit(CAP_CHOWN);
    CHILD_CHECK(SetCaps(caps));
    CHILD_CHECK(!SetCaps(all) && errno == EPERM);  // Never again.
    caps.effective = caps.permitted | Bit(CAP_CHOWN);
    CHILD_CHECK(!SetCaps(caps) && errno == EPERM);
    return 0;
  }), Exited(0));
}

TEST(Capabilities, VersionsAndPids) {
  __user_cap_data_struct data[2] = {};
  __user_cap_header_struct header = {0x12345678, 0};
  EXPECT_THAT(syscall(SYS_capget, &header, data), FailsWith(EINVAL));
  EXPECT_EQ(header.version, static_cast<uint32_t>(_LINUX_CAPABILITY_VERSION_3));
  header = {0, 0};
  EXPECT_THAT(syscall(SYS_capget, &header, nullptr), Returns(0)) << "asks for the version";
  header = {_LINUX_CAPABILITY_VERSION_1, 0};
  EXPECT_THAT(syscall(SYS_capget, &header, data), Returns(0));
  header = {_LINUX_CAPABILITY_VERSION_3, 0x3ffffff};
  EXPECT_THAT(syscall(SYS_capget, &header, data), FailsWith(ESRCH));
  header = {_LINUX_CAPABILITY_VERSION_3, -1};
  EXPECT_THAT(syscall(SYS_capget, &header, data), FailsWith(EINVAL));
  header = {_LINUX_CAPABILITY_VERSION_3, getppid()};
  EXPECT_THAT(syscall(SYS_capset, &header, data), FailsWith(EPERM)) << "others' cannot be set";
  EXPECT_THAT(syscall(SYS_capget, 8, data), FailsWith(EFAULT));
}

TEST(Capabilities, BoundingSet) {
  EXPECT_THAT(InChild([] {
    CHILD_CHECK(prctl(PR_CAPBSET_READ, CAP_CHOWN) == 1);
    CHILD_CHECK(prctl(PR_CAPBSET_READ, 63) == -1 && errno == EINVAL);
    CHILD_CHECK(prctl(PR_CAPBSET_DROP, CAP_CHOWN) == 0 && prctl(PR_CAPBSET_READ, CAP_CHOWN) == 0);
    Caps caps;
    CHILD_CHECK(GetCaps(caps) && (caps.permitted & Bit(CAP_CHOWN)) != 0);  // Until execve.
    caps.inheritable |= Bit(CAP_CHOWN);
    CHILD_CHECK(!SetCaps(caps) && errno == EPERM);
    Become(500);
    CHILD_CHECK(prctl(PR_CAPBSET_DROP, CAP_KILL) == -1 && errno == EPERM);
    return 0;
  }), Exited(0));
}

TEST(Capabilities, AmbientRules) {
  EXPECT_THAT(InChild([] {
    const auto ambient = [](int what, int cap) { return prctl(PR_CAP_AMBIENT, what, cap, 0, 0); };
    CHILD_CHECK(ambient(PR_CAP_AMBIENT_RAISE, CAP_KILL) == -1 && errno == EPERM);  // Not inheritable.
    Caps caps;
    GetCaps(caps);
    caps.inheritable |= Bit(CAP_KILL);
    CHILD_CHECK(SetCaps(caps));
    CHILD_CHECK(ambient(PR_CAP_AMBIENT_RAISE, CAP_KILL) == 0);
    CHILD_CHECK(ambient(PR_CAP_AMBIENT_IS_SET, CAP_KILL) == 1);
    caps.inheritable &= ~Bit(CAP_KILL);
    CHILD_CHECK(SetCaps(caps) && ambient(PR_CAP_AMBIENT_IS_SET, CAP_KILL) == 0);
    CHILD_CHECK(ambient(PR_CAP_AMBIENT_RAISE, 63) == -1 && errno == EINVAL);
    CHILD_CHECK(ambient(9, CAP_KILL) == -1 && errno == EINVAL);
    CHILD_CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0) == -1 && errno == EINVAL);
    return 0;
  }), Exited(0));
}

TEST(ExecCredentials, OrdinaryUserStaysOrdinary) {
  const std::string status = StatusAfterExec("/bin/cat", [] { Become(500); });
  EXPECT_EQ(Line(status, "Uid"), "500\t500\t500\t500");
  EXPECT_EQ(Line(status, "CapPrm"), "0000000000000000");
}

TEST(ExecCredentials, AmbientOnesSurvive) {
  const std::string status = StatusAfterExec("/bin/cat", [] {
    Caps caps;
    prctl(PR_SET_KEEPCAPS, 1);
    CHILD_CHECK(setresuid(500, 500, 500) == 0 && GetCaps(caps));
    caps = {Bit(CAP_KILL), Bit(CAP_KILL), Bit(CAP_KILL)};
    CHILD_CHECK(SetCaps(caps));
    CHILD_CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0) == 0);
  });
  EXPECT_EQ(Line(status, "CapEff"), "0000000000000020");
  EXPECT_EQ(Line(status, "CapAmb"), "0000000000000020");
}

TEST(ExecCredentials, RootGetsTheBoundingSet) {
  const std::string status = StatusAfterExec("/bin/cat", [] {
    CHILD_CHECK(SetCaps({0, Bit(CAP_SETPCAP), 0}));  // Nothing but this.
  });
  EXPECT_EQ(Line(status, "CapEff"), Line(status, "CapBnd"));
}

TEST(ExecCredentials, NoRootSecurebitTakesThatAway) {
  const std::string status = StatusAfterExec("/bin/cat", [] {
    CHILD_CHECK(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT) == 0);
  });
  EXPECT_EQ(Line(status, "CapEff"), "0000000000000000");
}

TEST(ExecCredentials, SetUserIdProgram) {
  TempDir dir;
  CopyCat(dir / "cat", 1234, 0, 04755);
  const std::string status = StatusAfterExec(dir / "cat", [] { Become(500); });
  EXPECT_EQ(Line(status, "Uid"), "500\t1234\t1234\t1234");
  EXPECT_EQ(Line(status, "Gid"), "500\t500\t500\t500");
}

TEST(ExecCredentials, SetGroupIdProgram) {
  TempDir dir;
  CopyCat(dir / "cat", 0, 2345, 02755);
  const std::string status = StatusAfterExec(dir / "cat", [] { Become(500); });
  EXPECT_EQ(Line(status, "Gid"), "500\t2345\t2345\t2345");
  EXPECT_EQ(Line(status, "Uid"), "500\t500\t500\t500");
}

TEST(ExecCredentials, SetUserIdRootProgramHasCapabilities) {
  TempDir dir;
  CopyCat(dir / "cat", 0, 0, 04755);
  const std::string status = StatusAfterExec(dir / "cat", [] { Become(500); });
  EXPECT_EQ(Line(status, "Uid"), "500\t0\t0\t0");
  EXPECT_EQ(Line(status, "CapEff"), Line(status, "CapBnd"));
}

TEST(ExecCredentials, NoNewPrivsKeepsTheUser) {
  TempDir dir;
  CopyCat(dir / "cat", 1234, 2345, 06755);
  const std::string status = StatusAfterExec(dir / "cat", [] {
    Become(500);
    CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  });
  EXPECT_EQ(Line(status, "Uid"), "500\t500\t500\t500");
  EXPECT_EQ(Line(status, "NoNewPrivs"), "1");
}

TEST(ExecCredentials, ScriptsDoNotChangeTheUser) {
  TempDir dir;
  WriteFile(dir / "script", "#!/bin/cat\n", 0755);
  ASSERT_THAT(chown((dir / "script").c_str(), 1234, 0), Returns(0));
  ASSERT_THAT(chmod((dir / "script").c_str(), 04755), Returns(0));
  const std::string status = StatusAfterExec(dir / "script", [] { Become(500); });
  EXPECT_EQ(Line(status, "Uid"), "500\t500\t500\t500");
}

TEST(ExecCredentials, FileCapabilities) {
  TempDir dir;
  CopyCat(dir / "cat", 0, 0, 0755);
  // VFS_CAP_REVISION_2 with the effective bit: CAP_KILL permitted.
  const uint32_t raw[5] = {0x02000001, static_cast<uint32_t>(Bit(CAP_KILL)), 0, 0, 0};
  if (setxattr((dir / "cat").c_str(), "security.capability", raw, sizeof raw, 0) != 0) {
    GTEST_SKIP() << "no security attributes here";
  }
  const std::string status = StatusAfterExec(dir / "cat", [] { Become(500); });
  EXPECT_EQ(Line(status, "CapEff"), "0000000000000020");
  EXPECT_EQ(Line(status, "Uid"), "500\t500\t500\t500");
}

TEST(ExecCredentials, WritingTakesTheBitsAway) {
  TempDir dir;
  CopyCat(dir / "cat", 500, 500, 06755);
  EXPECT_THAT(InChild([&] {
    Become(500);
    UniqueFd fd(open((dir / "cat").c_str(), O_WRONLY | O_APPEND));
    CHILD_CHECK(write(fd.get(), "x", 1) == 1);
    return 0;
  }), Exited(0));
  struct stat st = {};
  ASSERT_THAT(stat((dir / "cat").c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_mode & 07777, 0755u);
}

}  // namespace
