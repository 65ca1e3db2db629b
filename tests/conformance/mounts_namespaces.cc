// Mount namespaces: unshare(2), clone(2), setns(2), pivot_root(2), chroot(2).
#include <linux/sched.h>

#include "tests/conformance/mount_support.h"

namespace {

class MountNamespaces : public Mounts {};

std::string NamespaceOf(const std::string& process = "self") {
  char text[64] = {};
  EXPECT_GT(readlink(("/proc/" + process + "/ns/mnt").c_str(), text, sizeof text - 1), 0);
  return text;
}

int PivotRoot(const std::string& new_root, const std::string& put_old) {
  return static_cast<int>(syscall(SYS_pivot_root, new_root.c_str(), put_old.c_str()));
}

TEST_F(MountNamespaces, UnshareMakesANewOne) {
  const std::string before = NamespaceOf();
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(NamespaceOf() == before);
                CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
                CHILD_CHECK(NamespaceOf() != before);
                CHILD_CHECK(NamespaceOf().rfind("mnt:[", 0) == 0);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(NamespaceOf(), before);
}

TEST_F(MountNamespaces, ChildrenInherit) {
  Inside([&] {
    const std::string mine = NamespaceOf();
    EXPECT_THAT(InChild([&] { return NamespaceOf() == mine ? 0 : 1; }), Exited(0));
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(InChild([&] { return FindMount(At("a")) ? 0 : 1; }), Exited(0));
  });
}

TEST_F(MountNamespaces, ChangesStayInside) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
                CHILD_CHECK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
                CHILD_CHECK(mount("x", dir_.path().c_str(), "tmpfs", 0, nullptr) == 0);
                Touch("inside");
                return 0;
              }),
              Exited(0));
  EXPECT_FALSE(Has("inside"));
  EXPECT_FALSE(FindMount(dir_.path()));
}

TEST_F(MountNamespaces, CopiesHaveNumbersOfTheirOwn) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    const int id = FindMount(At("a"))->id;
    EXPECT_THAT(unshare(CLONE_NEWNS), Returns(0));
    EXPECT_NE(FindMount(At("a"))->id, id);
    EXPECT_EQ(FindMount(At("a"))->parent, FindMount(dir_.path())->id);
  });
}

TEST_F(MountNamespaces, TheWorkingDirectoryMovesAlong) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(chdir(At("a").c_str()), Returns(0));
    EXPECT_THAT(unshare(CLONE_NEWNS), Returns(0));
    char name[4096];
    EXPECT_THAT(getcwd(name, sizeof name), testing::NotNull());
    EXPECT_EQ(name, At("a"));
    EXPECT_THAT(umount(At("a").c_str()), FailsWith(EBUSY));
    EXPECT_THAT(chdir("/"), Returns(0));
    EXPECT_THAT(umount(At("a").c_str()), Returns(0));
  });
}

TEST_F(MountNamespaces, ByClone) {
  const std::string before = NamespaceOf();
  clone_args args = {};
  args.flags = CLONE_NEWNS;
  args.exit_signal = SIGCHLD;
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) _exit(NamespaceOf() != before ? 0 : 1);
  ASSERT_GT(pid, 0);
  EXPECT_THAT(Wait(static_cast<pid_t>(pid)), Exited(0));
}

TEST_F(MountNamespaces, CloneFlagsThatContradict) {
  clone_args args = {};
  args.flags = CLONE_NEWNS | CLONE_FS;
  args.exit_signal = SIGCHLD;
  EXPECT_THAT(syscall(SYS_clone3, &args, sizeof args), FailsWith(EINVAL));
}

TEST_F(MountNamespaces, SetnsEntersOne) {
  Inside([&] {
    UniqueFd fd(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(fd.valid());
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    const std::string mine = NamespaceOf();
    EXPECT_THAT(InChild([&] {
                  CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
                  CHILD_CHECK(umount(At("a").c_str()) == 0);
                  CHILD_CHECK(setns(fd.get(), CLONE_NEWNS) == 0);
                  CHILD_CHECK(NamespaceOf() == mine);
                  CHILD_CHECK(FindMount(At("a")).has_value());
                  char name[4096];
                  CHILD_CHECK(getcwd(name, sizeof name) != nullptr && std::string(name) == "/");
                  return 0;
                }),
                Exited(0));
  });
}

TEST_F(MountNamespaces, SetnsOfAnotherProcess) {
  Inside([&] {
    Pipe ready, go;
    const pid_t child = Start([&] {
      CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
      CHILD_CHECK(MountTmpfs("a") == 0);
      Touch("a/f");
      CHILD_CHECK(Post(ready.write.get()) && Await(go.read.get()));
      return 0;
    });
    EXPECT_TRUE(Await(ready.read.get()));
    const std::string link = "/proc/" + std::to_string(child) + "/ns/mnt";
    UniqueFd fd(open(link.c_str(), O_RDONLY));
    EXPECT_TRUE(fd.valid());
    EXPECT_TRUE(Post(go.write.get()));
    EXPECT_THAT(Wait(child), Exited(0));
    // The descriptor keeps it.
    EXPECT_THAT(setns(fd.get(), 0), Returns(0));
    EXPECT_TRUE(Has("a/f"));
  });
}

TEST_F(MountNamespaces, SetnsArguments) {
  Inside([&] {
    UniqueFd fd(open("/proc/self/ns/mnt", O_RDONLY));
    UniqueFd file(open("/proc/self/status", O_RDONLY));
    EXPECT_THAT(setns(-1, 0), FailsWith(EBADF));
    EXPECT_THAT(setns(file.get(), 0), FailsWith(EINVAL));
    EXPECT_THAT(setns(fd.get(), CLONE_NEWUTS), FailsWith(EINVAL));
  });
}

TEST_F(MountNamespaces, TheLastProcessTakesItAway) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(InChild([&] {
                  CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
                  CHILD_CHECK(chdir(At("a").c_str()) == 0);
                  return 0;
                }),
                Exited(0));
    EXPECT_THAT(umount(At("a").c_str()), Returns(0));
  });
}

TEST_F(MountNamespaces, PivotRoot) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/old").c_str(), 0755), Returns(0));
    EXPECT_THAT(mkdir(At("a/new").c_str(), 0755), Returns(0));
    EXPECT_THAT(PivotRoot(At("a"), At("a/old")), Returns(0));
    EXPECT_TRUE(Exists("/new"));
    EXPECT_TRUE(Exists("/old/proc"));
    EXPECT_TRUE(Exists("/old" + dir_.path()));
    EXPECT_THAT(chdir("/"), Returns(0));
    EXPECT_THAT(umount2("/old", MNT_DETACH), Returns(0));
    EXPECT_FALSE(Exists("/old/proc"));
    EXPECT_THAT(rmdir("/old"), Returns(0));
  });
}

TEST_F(MountNamespaces, PivotRootOntoItself) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    Touch("a/f");
    EXPECT_THAT(chdir(At("a").c_str()), Returns(0));
    EXPECT_THAT(PivotRoot(".", "."), Returns(0));
    EXPECT_THAT(umount2(".", MNT_DETACH), Returns(0));
    EXPECT_THAT(chdir("/"), Returns(0));
    EXPECT_TRUE(Exists("/f"));
    EXPECT_FALSE(Exists("/proc"));
  });
}

TEST_F(MountNamespaces, PivotRootRefusals) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/old").c_str(), 0755), Returns(0));
    EXPECT_THAT(PivotRoot(At("c"), At("c")), FailsWith(EINVAL));
    EXPECT_THAT(PivotRoot(At("a"), At("c")), FailsWith(EINVAL));
    EXPECT_THAT(PivotRoot("/", "/"), FailsWith(EBUSY));
    EXPECT_THAT(PivotRoot(At("none"), At("a/old")), FailsWith(ENOENT));
    Touch("a/file");
    EXPECT_THAT(PivotRoot(At("a"), At("a/file")), FailsWith(ENOTDIR));
    EXPECT_THAT(Propagate("a", MS_SHARED), Returns(0));
    EXPECT_THAT(PivotRoot(At("a"), At("a/old")), FailsWith(EINVAL));
  });
}

TEST_F(MountNamespaces, PivotRootMovesOthersToo) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/old").c_str(), 0755), Returns(0));
    Touch("a/marker");
    Pipe ready, go;
    const pid_t child = Start([&] {
      CHILD_CHECK(chdir("/") == 0);
      CHILD_CHECK(Post(ready.write.get()) && Await(go.read.get()));
      CHILD_CHECK(Exists("/marker") && Exists("marker"));
      return 0;
    });
    EXPECT_TRUE(Await(ready.read.get()));
    EXPECT_THAT(PivotRoot(At("a"), At("a/old")), Returns(0));
    EXPECT_TRUE(Post(go.write.get()));
    EXPECT_THAT(Wait(child), Exited(0));
  });
}

TEST_F(MountNamespaces, ChrootHidesMountsOutside) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/proc").c_str(), 0755), Returns(0));
    EXPECT_THAT(mkdir(At("a/in").c_str(), 0755), Returns(0));
    EXPECT_THAT(mount("p", At("a/proc").c_str(), "proc", 0, nullptr), Returns(0));
    EXPECT_THAT(MountTmpfs("a/in"), Returns(0));
    EXPECT_THAT(chroot(At("a").c_str()), Returns(0));
    EXPECT_THAT(chdir("/"), Returns(0));
    const auto lines = MountLines();
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_EQ(lines[0].point, "/");
    EXPECT_EQ(lines[1].point, "/proc");
    EXPECT_EQ(lines[2].point, "/in");
  });
}

TEST_F(MountNamespaces, DescriptorsReachOldMounts) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    UniqueFd fd(open(At("a").c_str(), O_RDONLY | O_DIRECTORY));
    EXPECT_THAT(unshare(CLONE_NEWNS), Returns(0));
    // Not of this namespace any more.
    EXPECT_THAT(fchdir(fd.get()), Returns(0));
    EXPECT_THAT(umount2(".", 0), FailsWith(EINVAL));
    EXPECT_THAT(mount("x", ".", "tmpfs", 0, nullptr), FailsWith(ENOENT));
  });
}

}  // namespace
