// Namespaces: unshare(2), clone(2), setns(2), /proc/PID/ns, ioctl_nsfs(2).
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "tests/conformance/namespaces_support.h"

namespace {

class EachNamespace : public testing::TestWithParam<std::pair<const char*, int>> {
 protected:
  const std::string kind_ = GetParam().first;
  const int flag_ = GetParam().second;
};

TEST_P(EachNamespace, LinksHaveTheirForm) {
  const std::string mine = NamespaceOf(kind_);
  EXPECT_EQ(mine.rfind(kind_ + ":[", 0), 0u) << mine;
  struct stat st = {};
  EXPECT_THAT(stat(("/proc/self/ns/" + kind_).c_str(), &st), Succeeds());
  EXPECT_EQ(mine, kind_ + ":[" + std::to_string(st.st_ino) + "]");
  EXPECT_TRUE(S_ISREG(st.st_mode));
  EXPECT_EQ(st.st_mode & 0777, 0444u);
}

TEST_P(EachNamespace, UnshareMakesANewOne) {
  const std::string before = NamespaceOf(kind_);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(NamespaceOf(kind_) == before);
                CHILD_CHECK(unshare(flag_) == 0);
                CHILD_CHECK(NamespaceOf(kind_) != before);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(NamespaceOf(kind_), before);
}

TEST_P(EachNamespace, OthersStay) {
  EXPECT_THAT(InChild([&] {
                const char* const kinds[] = {"uts", "ipc", "net", "mnt", "pid", "user"};
                std::vector<std::string> before;
                for (const char* kind : kinds) before.push_back(NamespaceOf(kind));
                CHILD_CHECK(unshare(flag_) == 0);
                for (size_t i = 0; i < before.size(); ++i) {
                  CHILD_CHECK((NamespaceOf(kinds[i]) == before[i]) == (kinds[i] != kind_));
                }
                return 0;
              }),
              Exited(0));
}

TEST_P(EachNamespace, ByClone) {
  const std::string before = NamespaceOf(kind_);
  const pid_t child =
      CloneWith(static_cast<uint64_t>(flag_), [&] { return NamespaceOf(kind_) != before ? 0 : 1; });
  ASSERT_GT(child, 0) << ErrnoName(errno);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(EachNamespace, ChildrenInherit) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(flag_) == 0);
                const std::string mine = NamespaceOf(kind_);
                CHILD_CHECK(InChild([&] { return NamespaceOf(kind_) == mine ? 0 : 1; }) == 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(EachNamespace, KeptAcrossExec) {
  EXPECT_THAT(
      InChild([&] {
        CHILD_CHECK(unshare(flag_) == 0);
        const std::string mine = NamespaceOf(kind_);
        const Outcome read = Execute("/bin/readlink", {"readlink", "/proc/self/ns/" + kind_});
        CHILD_CHECK(read.output == mine + "\n");
        return 0;
      }),
      Exited(0));
}

TEST_P(EachNamespace, WantsACapability) {
  const UniqueFd fd = OpenNamespace(kind_);
  EXPECT_THAT(WithoutCapabilities([&] {
                CHILD_CHECK(unshare(flag_) == -1 && errno == EPERM);
                CHILD_CHECK(CloneWith(static_cast<uint64_t>(flag_), [] { return 0; }) == -1);
                CHILD_CHECK(errno == EPERM);
                CHILD_CHECK(setns(fd.get(), flag_) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST_P(EachNamespace, SetnsGoesBack) {
  EXPECT_THAT(InChild([&] {
                const std::string before = NamespaceOf(kind_);
                const UniqueFd fd = OpenNamespace(kind_);
                CHILD_CHECK(unshare(flag_) == 0);
                CHILD_CHECK(setns(fd.get(), flag_) == 0);
                CHILD_CHECK(NamespaceOf(kind_) == before);
                CHILD_CHECK(unshare(flag_) == 0);
                CHILD_CHECK(setns(fd.get(), 0) == 0);
                CHILD_CHECK(NamespaceOf(kind_) == before);
                return 0;
              }),
              Exited(0));
}

TEST_P(EachNamespace, ADescriptorKeepsIt) {
  EXPECT_THAT(InChild([&] {
                Pipe ready, go;
                const pid_t other = Start([&] {
                  CHILD_CHECK(unshare(flag_) == 0);
                  CHILD_CHECK(Post(ready.write.get()) && Await(go.read.get()));
                  return 0;
                });
                CHILD_CHECK(Await(ready.read.get()));
                const std::string theirs = NamespaceOf(kind_, std::to_string(other));
                const UniqueFd fd = OpenNamespace(kind_, std::to_string(other));
                CHILD_CHECK(fd.valid());
                Post(go.write.get());
                CHILD_CHECK(Wait(other) == 0);
                CHILD_CHECK(setns(fd.get(), flag_) == 0);
                CHILD_CHECK(NamespaceOf(kind_) == theirs);
                return 0;
              }),
              Exited(0));
}

TEST_P(EachNamespace, SetnsOfTheWrongKind) {
  const UniqueFd fd = OpenNamespace(kind_);
  const int other = flag_ == CLONE_NEWUTS ? CLONE_NEWIPC : CLONE_NEWUTS;
  EXPECT_THAT(setns(fd.get(), other), FailsWith(EINVAL));
  EXPECT_THAT(setns(fd.get(), flag_ | other), FailsWith(EINVAL));
}

TEST_P(EachNamespace, SetnsByPidFd) {
  EXPECT_THAT(InChild([&] {
                Pipe ready, go;
                const pid_t other = Start([&] {
                  CHILD_CHECK(unshare(flag_) == 0);
                  CHILD_CHECK(Post(ready.write.get()) && Await(go.read.get()));
                  return 0;
                });
                CHILD_CHECK(Await(ready.read.get()));
                const std::string theirs = NamespaceOf(kind_, std::to_string(other));
                const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, other, 0)));
                CHILD_CHECK(pidfd.valid());
                CHILD_CHECK(setns(pidfd.get(), 0) == -1 && errno == EINVAL);
                CHILD_CHECK(setns(pidfd.get(), flag_) == 0);
                CHILD_CHECK(NamespaceOf(kind_) == theirs);
                Post(go.write.get());
                CHILD_CHECK(Wait(other) == 0);
                CHILD_CHECK(setns(pidfd.get(), flag_) == -1 && errno == ESRCH);
                return 0;
              }),
              Exited(0));
}

TEST_P(EachNamespace, ThreadsHaveTheirOwn) {
  EXPECT_THAT(InChild([&] {
                const std::string before = NamespaceOf(kind_);
                Pipe ready, go;
                std::string inside;
                Thread other([&] {
                  CHILD_CHECK(unshare(flag_) == 0);
                  CHILD_CHECK(Post(ready.write.get()) && Await(go.read.get()));
                });
                CHILD_CHECK(Await(ready.read.get()));
                const std::string task = "self/task/" + std::to_string(other.tid());
                CHILD_CHECK(NamespaceOf(kind_, task) != before);
                CHILD_CHECK(NamespaceOf(kind_) == before);
                Post(go.write.get());
                return 0;
              }),
              Exited(0));
}

TEST_P(EachNamespace, TellsItsType) {
  const UniqueFd fd = OpenNamespace(kind_);
  EXPECT_THAT(ioctl(fd.get(), NS_GET_NSTYPE), Returns(flag_));
  EXPECT_THAT(ioctl(fd.get(), NS_GET_PARENT), FailsWith(EINVAL));
  uid_t uid = 1;
  EXPECT_THAT(ioctl(fd.get(), NS_GET_OWNER_UID, &uid), FailsWith(EINVAL));
}

TEST_P(EachNamespace, TellsItsOwner) {
  const UniqueFd fd = OpenNamespace(kind_);
  const UniqueFd owner(ioctl(fd.get(), NS_GET_USERNS));
  ASSERT_TRUE(owner.valid()) << ErrnoName(errno);
  EXPECT_THAT(ioctl(owner.get(), NS_GET_NSTYPE), Returns(CLONE_NEWUSER));
  EXPECT_THAT(fcntl(owner.get(), F_GETFD), Returns(FD_CLOEXEC));
  struct stat st = {};
  EXPECT_THAT(fstat(owner.get(), &st), Succeeds());
  EXPECT_EQ(NamespaceOf("user"), "user:[" + std::to_string(st.st_ino) + "]");
}

TEST_P(EachNamespace, IsNotWritable) {
  const std::string link = "/proc/self/ns/" + kind_;
  EXPECT_THAT(open(link.c_str(), O_RDWR), FailsWith(EPERM));
  const UniqueFd fd = OpenNamespace(kind_);
  char byte;
  EXPECT_THAT(read(fd.get(), &byte, 1), FailsWith(EINVAL));
}

INSTANTIATE_TEST_SUITE_P(Kinds, EachNamespace,
                         testing::Values(std::pair("uts", CLONE_NEWUTS),
                                         std::pair("ipc", CLONE_NEWIPC),
                                         std::pair("net", CLONE_NEWNET)),
                         [](const auto& info) { return std::string(info.param.first); });

TEST(Namespaces, SeveralAtOnce) {
  EXPECT_THAT(InChild([&] {
                const std::string uts = NamespaceOf("uts"), ipc = NamespaceOf("ipc");
                const std::string net = NamespaceOf("net"), mnt = NamespaceOf("mnt");
                CHILD_CHECK(unshare(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS) == 0);
                CHILD_CHECK(NamespaceOf("uts") != uts && NamespaceOf("ipc") != ipc);
                CHILD_CHECK(NamespaceOf("net") != net && NamespaceOf("mnt") != mnt);
                return 0;
              }),
              Exited(0));
}

TEST(Namespaces, SeveralOfAnotherProcess) {
  EXPECT_THAT(InChild([&] {
                Pipe ready, go;
                const pid_t other = Start([&] {
                  CHILD_CHECK(unshare(CLONE_NEWUTS | CLONE_NEWIPC) == 0);
                  CHILD_CHECK(Post(ready.write.get()) && Await(go.read.get()));
                  return 0;
                });
                CHILD_CHECK(Await(ready.read.get()));
                const std::string process = std::to_string(other);
                const UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, other, 0)));
                CHILD_CHECK(setns(pidfd.get(), CLONE_NEWUTS | CLONE_NEWIPC) == 0);
                CHILD_CHECK(NamespaceOf("uts") == NamespaceOf("uts", process));
                CHILD_CHECK(NamespaceOf("ipc") == NamespaceOf("ipc", process));
                CHILD_CHECK(setns(pidfd.get(), CLONE_NEWUTS | CLONE_VM) == -1 && errno == EINVAL);
                Post(go.write.get());
                CHILD_CHECK(Wait(other) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(Namespaces, UnknownFlags) {
  EXPECT_THAT(unshare(CLONE_NEWUTS | CLONE_PARENT), FailsWith(EINVAL));
  EXPECT_THAT(unshare(0), Returns(0));
}

TEST(Namespaces, WhatSetnsTakes) {
  const UniqueFd file = OpenTemp();
  EXPECT_THAT(setns(-1, 0), FailsWith(EBADF));
  EXPECT_THAT(setns(file.get(), 0), FailsWith(EINVAL));
  EXPECT_THAT(setns(file.get(), CLONE_NEWUTS), FailsWith(EINVAL));
  const UniqueFd user = OpenNamespace("user");
  EXPECT_THAT(setns(user.get(), 0), FailsWith(EINVAL));  // One's own.
}

TEST(Namespaces, OneOwnPidNamespace) {
  EXPECT_THAT(InChild([] {
                const UniqueFd pid = OpenNamespace("pid"), cgroup = OpenNamespace("cgroup");
                CHILD_CHECK(setns(pid.get(), CLONE_NEWPID) == 0);
                CHILD_CHECK(setns(cgroup.get(), CLONE_NEWCGROUP) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(Namespaces, TheUserNamespaceTellsItsOwner) {
  const UniqueFd fd = OpenNamespace("user");
  EXPECT_THAT(ioctl(fd.get(), NS_GET_NSTYPE), Returns(CLONE_NEWUSER));
  uid_t uid = 1;
  EXPECT_THAT(ioctl(fd.get(), NS_GET_OWNER_UID, &uid), Returns(0));
  EXPECT_EQ(uid, 0u);
  EXPECT_THAT(ioctl(fd.get(), NS_GET_OWNER_UID, 8), FailsWith(EFAULT));
  EXPECT_THAT(ioctl(fd.get(), 0xb7ff), FailsWith(ENOTTY));
}

// ip-netns(8) keeps namespaces so.
TEST(Namespaces, MountedOnAFile) {
  EXPECT_THAT(
      InChild([] {
        CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
        CHILD_CHECK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
        TempDir directory;
        const std::string path = directory / "kept";
        WriteFile(path, "");
        std::string made;
        const pid_t maker = Start([&] {
          CHILD_CHECK(unshare(CLONE_NEWUTS) == 0);
          CHILD_CHECK(sethostname("kept", 4) == 0);
          CHILD_CHECK(mount("/proc/self/ns/uts", path.c_str(), "none", MS_BIND, nullptr) == 0);
          return 0;
        });
        CHILD_CHECK(Wait(maker) == 0);
        {
          const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
          CHILD_CHECK(fd.valid());
          CHILD_CHECK(ioctl(fd.get(), NS_GET_NSTYPE) == CLONE_NEWUTS);
          struct stat st = {};
          CHILD_CHECK(fstat(fd.get(), &st) == 0);
          CHILD_CHECK(setns(fd.get(), CLONE_NEWUTS) == 0);
          CHILD_CHECK(NamespaceOf("uts") == "uts:[" + std::to_string(st.st_ino) + "]");
        }
        char name[65] = {};
        CHILD_CHECK(gethostname(name, sizeof name) == 0 && std::string(name) == "kept");
        CHILD_CHECK(umount(path.c_str()) == 0);
        return 0;
      }),
      Exited(0));
}

TEST(Namespaces, WhatCanBeMounted) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
                CHILD_CHECK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
                TempDir directory;
                const std::string path = directory / "kept";
                WriteFile(path, "");
                const char* const uts = "/proc/self/ns/uts";
                CHILD_CHECK(mount(uts, path.c_str(), "none", MS_BIND | MS_REC, nullptr) == 0);
                CHILD_CHECK(mount(uts, path.c_str(), "none", MS_BIND, nullptr) == 0);
                // One's own namespace of mounts would keep itself.
                const char* const mounts = "/proc/self/ns/mnt";
                CHILD_CHECK(mount(mounts, path.c_str(), "none", MS_BIND, nullptr) == -1);
                CHILD_CHECK(errno == EINVAL);
                // Not on a directory.
                const char* const place = directory.path().c_str();
                CHILD_CHECK(mount(uts, place, "none", MS_BIND, nullptr) == -1 && errno == ENOTDIR);
                CHILD_CHECK(umount(path.c_str()) == 0 && umount(path.c_str()) == 0);
                CHILD_CHECK(umount(path.c_str()) == -1 && errno == EINVAL);
                return 0;
              }),
              Exited(0));
}

TEST(Namespaces, ManyComeAndGo) {
  for (int i = 0; i < 300; ++i) {
    ASSERT_THAT(InChild([] { return unshare(CLONE_NEWUTS | CLONE_NEWIPC); }), Exited(0));
  }
}

}  // namespace
