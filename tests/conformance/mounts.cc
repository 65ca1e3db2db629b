// mount(2) and umount2(2): fresh filesystems, bind mounts, moves, flags.
#include <linux/magic.h>
#include <poll.h>
#include <sys/statfs.h>
#include <sys/vfs.h>

#include "tests/conformance/mount_support.h"

namespace {

TEST_F(Mounts, ATmpfsHidesWhatWasThere) {
  Inside([&] {
    Touch("a/old");
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_FALSE(Has("a/old"));
    Touch("a/new");
    EXPECT_THAT(umount(At("a").c_str()), Returns(0));
    EXPECT_TRUE(Has("a/old"));
    EXPECT_FALSE(Has("a/new"));
  });
}

TEST_F(Mounts, StackUp) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    Touch("a/first");
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_FALSE(Has("a/first"));
    EXPECT_THAT(umount(At("a").c_str()), Returns(0));
    EXPECT_TRUE(Has("a/first"));
    EXPECT_THAT(umount(At("a").c_str()), Returns(0));
    EXPECT_THAT(umount(At("a").c_str()), FailsWith(EINVAL));
  });
}

TEST_F(Mounts, BadArguments) {
  Inside([&] {
    const std::string a = At("a");
    EXPECT_THAT(mount("x", a.c_str(), "nosuchfs", 0, nullptr), FailsWith(ENODEV));
    EXPECT_THAT(mount("x", a.c_str(), nullptr, 0, nullptr), FailsWith(EINVAL));
    EXPECT_THAT(mount("x", At("none").c_str(), "tmpfs", 0, nullptr), FailsWith(ENOENT));
    EXPECT_THAT(mount(nullptr, a.c_str(), nullptr, MS_BIND, nullptr), FailsWith(EINVAL));
    EXPECT_THAT(mount("", a.c_str(), nullptr, MS_BIND, nullptr), FailsWith(EINVAL));
    EXPECT_THAT(mount(At("none").c_str(), a.c_str(), nullptr, MS_BIND, nullptr), FailsWith(ENOENT));
    EXPECT_THAT(mount(nullptr, a.c_str(), nullptr, MS_MOVE, nullptr), FailsWith(EINVAL));
    EXPECT_THAT(syscall(SYS_mount, "x", 8, "tmpfs", 0, nullptr), FailsWith(EFAULT));
    EXPECT_THAT(syscall(SYS_mount, "x", a.c_str(), 8, 0, nullptr), FailsWith(EFAULT));
  });
}

TEST_F(Mounts, AreForThePrivileged) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(1000, 1000, 1000) == 0);
                CHILD_CHECK(mount("x", "/tmp", "tmpfs", 0, nullptr) == -1 && errno == EPERM);
                CHILD_CHECK(umount("/tmp") == -1 && errno == EPERM);
                CHILD_CHECK(unshare(CLONE_NEWNS) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST_F(Mounts, AFileIsNoDirectory) {
  Inside([&] {
    Touch("file");
    EXPECT_THAT(MountTmpfs("file"), FailsWith(ENOTDIR));
    EXPECT_THAT(Bind("a", "file"), FailsWith(ENOTDIR));
    EXPECT_THAT(Bind("file", "a"), FailsWith(ENOTDIR));
  });
}

TEST_F(Mounts, BindShowsTheSame) {
  Inside([&] {
    Touch("a/f");
    EXPECT_THAT(Bind("a", "b"), Returns(0));
    EXPECT_TRUE(Has("b/f"));
    Touch("b/g");
    EXPECT_TRUE(Has("a/g"));
    struct stat one, two;
    EXPECT_THAT(stat(At("a/f").c_str(), &one), Returns(0));
    EXPECT_THAT(stat(At("b/f").c_str(), &two), Returns(0));
    EXPECT_EQ(one.st_ino, two.st_ino);
    EXPECT_EQ(one.st_dev, two.st_dev);
  });
}

TEST_F(Mounts, BindOfAFile) {
  Inside([&] {
    WriteFile(At("one"), "1");
    WriteFile(At("two"), "2");
    EXPECT_THAT(Bind("one", "two"), Returns(0));
    EXPECT_EQ(ReadFile(At("two")), "1");
    EXPECT_THAT(unlink(At("two").c_str()), FailsWith(EBUSY));
    EXPECT_THAT(umount(At("two").c_str()), Returns(0));
    EXPECT_EQ(ReadFile(At("two")), "2");
  });
}

TEST_F(Mounts, BindOfAPartShowsWhere) {
  Inside([&] {
    EXPECT_THAT(mkdir(At("a/deep").c_str(), 0755), Returns(0));
    EXPECT_THAT(Bind("a/deep", "b"), Returns(0));
    const auto line = FindMount(At("b"));
    ASSERT_TRUE(line);
    EXPECT_EQ(line->root, "/a/deep");
    EXPECT_EQ(line->type, "tmpfs");
    EXPECT_EQ(line->source, "base");
  });
}

TEST_F(Mounts, DotDotLeavesABindMount) {
  Inside([&] {
    EXPECT_THAT(mkdir(At("a/deep").c_str(), 0755), Returns(0));
    Touch("marker");
    EXPECT_THAT(Bind("a/deep", "b"), Returns(0));
    EXPECT_TRUE(Exists(At("b/../marker")));
    EXPECT_THAT(chdir(At("b").c_str()), Returns(0));
    char name[4096];
    EXPECT_THAT(getcwd(name, sizeof name), testing::NotNull());
    EXPECT_EQ(name, At("b"));
  });
}

TEST_F(Mounts, NoWayUpFromWhatWasMovedOutOfABindMount) {
  Inside([&] {
    ASSERT_THAT(chdir(dir_.path().c_str()), Returns(0));
    WriteFile("secret", "");
    mkdir("a/in", 0755);
    mkdir("a/in/deep", 0755);
    EXPECT_THAT(Bind("a", "b"), Returns(0));
    UniqueFd in(open("b/in", O_PATH)), deep(open("b/in/deep", O_PATH));
    EXPECT_THAT(faccessat(deep.get(), "../../in/deep", F_OK, 0), Returns(0));
    EXPECT_THAT(rename("a/in", "c/in"), Returns(0));
    // Without the check the walk would never meet the root of b, and end at that of the tmpfs.
    EXPECT_THAT(openat(deep.get(), "..", O_PATH), FailsWith(ENOENT));
    EXPECT_THAT(openat(in.get(), "..", O_PATH), FailsWith(ENOENT));
    EXPECT_THAT(openat(in.get(), "../../secret", O_PATH), FailsWith(ENOENT));
    EXPECT_THAT(faccessat(in.get(), "deep", F_OK, 0), Returns(0));
    EXPECT_THAT(faccessat(in.get(), "deep/..", F_OK, 0), FailsWith(ENOENT));
    EXPECT_THAT(faccessat(in.get(), "deep/.", F_OK, 0), Returns(0));
    EXPECT_THAT(rename("c/in", "a/in"), Returns(0));
    EXPECT_THAT(faccessat(in.get(), "deep/../deep/../../in", F_OK, 0), Returns(0));
    EXPECT_THAT(faccessat(deep.get(), "../../../secret", F_OK, 0), Returns(0));
  });
}

TEST_F(Mounts, NoWayUpFromAMountInWhatWasMovedOut) {
  Inside([&] {
    ASSERT_THAT(chdir(dir_.path().c_str()), Returns(0));
    mkdir("a/in", 0755);
    mkdir("a/in/point", 0755);
    EXPECT_THAT(Bind("a", "b"), Returns(0));
    EXPECT_THAT(mount("none", "b/in/point", "tmpfs", 0, nullptr), Returns(0));
    mkdir("b/in/point/x", 0755);
    UniqueFd x(open("b/in/point/x", O_PATH));
    EXPECT_THAT(faccessat(x.get(), "../../..", F_OK, 0), Returns(0));
    EXPECT_THAT(rename("a/in", "c/in"), Returns(0));
    EXPECT_THAT(faccessat(x.get(), "..", F_OK, 0), Returns(0));
    EXPECT_THAT(faccessat(x.get(), "../..", F_OK, 0), FailsWith(ENOENT));
    EXPECT_THAT(faccessat(x.get(), "../../..", F_OK, 0), FailsWith(ENOENT));
  });
}

TEST_F(Mounts, BindLeavesOutWhatIsMountedBelow) {
  Inside([&] {
    EXPECT_THAT(mkdir(At("a/sub").c_str(), 0755), Returns(0));
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    Touch("a/sub/f");
    EXPECT_THAT(Bind("a", "b"), Returns(0));
    EXPECT_FALSE(Has("b/sub/f"));
    EXPECT_THAT(Bind("a", "c", MS_REC), Returns(0));
    EXPECT_TRUE(Has("c/sub/f"));
  });
}

TEST_F(Mounts, RecursiveBindBelowItself) {
  Inside([&] {
    Touch("f");
    EXPECT_THAT(mount(dir_.path().c_str(), At("a").c_str(), nullptr, MS_BIND | MS_REC, nullptr),
                Returns(0));
    EXPECT_TRUE(Has("a/f"));
    EXPECT_FALSE(Has("a/a/f"));
  });
}

TEST_F(Mounts, RenameAcrossMountsIsRefused) {
  Inside([&] {
    Touch("a/f");
    EXPECT_THAT(Bind("a", "b"), Returns(0));
    EXPECT_THAT(rename(At("a/f").c_str(), At("b/g").c_str()), FailsWith(EXDEV));
    EXPECT_THAT(link(At("a/f").c_str(), At("b/g").c_str()), FailsWith(EXDEV));
  });
}

TEST_F(Mounts, Move) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    Touch("a/f");
    const int id = FindMount(At("a"))->id;
    EXPECT_THAT(mount(At("a").c_str(), At("b").c_str(), nullptr, MS_MOVE, nullptr), Returns(0));
    EXPECT_FALSE(Has("a/f"));
    EXPECT_TRUE(Has("b/f"));
    EXPECT_EQ(FindMount(At("b"))->id, id);
    EXPECT_FALSE(FindMount(At("a")));
  });
}

TEST_F(Mounts, MoveTakesWhatHangsOnIt) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/sub").c_str(), 0755), Returns(0));
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    Touch("a/sub/f");
    EXPECT_THAT(mount(At("a").c_str(), At("b").c_str(), nullptr, MS_MOVE, nullptr), Returns(0));
    EXPECT_TRUE(Has("b/sub/f"));
  });
}

TEST_F(Mounts, MoveRefusals) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/sub").c_str(), 0755), Returns(0));
    const auto move = [&](const char* from, const char* to) {
      return mount(At(from).c_str(), At(to).c_str(), nullptr, MS_MOVE, nullptr);
    };
    EXPECT_THAT(move("c", "b"), FailsWith(EINVAL));
    EXPECT_THAT(move("a", "a/sub"), FailsWith(ELOOP));
    Touch("file");
    EXPECT_THAT(move("a", "file"), FailsWith(EINVAL));
  });
}

TEST_F(Mounts, FlagsShowInMountinfo) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", MS_NOSUID | MS_NODEV | MS_NOEXEC), Returns(0));
    const auto line = FindMount(At("a"));
    ASSERT_TRUE(line);
    EXPECT_EQ(line->options, "rw,nosuid,nodev,noexec,relatime");
    EXPECT_EQ(line->source, "tmp");
    EXPECT_EQ(line->root, "/");
    EXPECT_TRUE(HasWord(line->super_options, "rw"));
  });
}

TEST_F(Mounts, AccessTimeFlags) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", MS_NOATIME), Returns(0));
    EXPECT_EQ(FindMount(At("a"))->options, "rw,noatime");
    EXPECT_THAT(MountTmpfs("b", MS_STRICTATIME), Returns(0));
    EXPECT_EQ(FindMount(At("b"))->options, "rw");
    EXPECT_THAT(MountTmpfs("c", MS_NODIRATIME), Returns(0));
    EXPECT_EQ(FindMount(At("c"))->options, "rw,nodiratime,relatime");
  });
}

TEST_F(Mounts, ReadOnly) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", MS_RDONLY), Returns(0));
    EXPECT_THAT(creat(At("a/f").c_str(), 0644), FailsWith(EROFS));
    EXPECT_THAT(mkdir(At("a/d").c_str(), 0755), FailsWith(EROFS));
    EXPECT_THAT(chmod(At("a").c_str(), 0700), FailsWith(EROFS));
    EXPECT_THAT(access(At("a").c_str(), W_OK), FailsWith(EROFS));
    EXPECT_EQ(FindMount(At("a"))->options, "ro,relatime");
    EXPECT_EQ(FindMount(At("a"))->super_options.substr(0, 2), "ro");
  });
}

TEST_F(Mounts, ReadOnlyBindNeedsARemount) {
  Inside([&] {
    Touch("a/f");
    EXPECT_THAT(Bind("a", "b", MS_RDONLY), Returns(0));
    Touch("b/g");
    EXPECT_TRUE(Has("a/g"));
    EXPECT_THAT(mount(nullptr, At("b").c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr),
                Returns(0));
    EXPECT_THAT(creat(At("b/h").c_str(), 0644), FailsWith(EROFS));
    EXPECT_THAT(open(At("b/f").c_str(), O_RDWR), FailsWith(EROFS));
    EXPECT_THAT(unlink(At("b/f").c_str()), FailsWith(EROFS));
    Touch("a/h");
    EXPECT_EQ(FindMount(At("b"))->options, "ro,relatime");
    EXPECT_EQ(FindMount(At("b"))->super_options.substr(0, 2), "rw");
  });
}

TEST_F(Mounts, RemountOfTheFilesystem) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    Touch("a/f");
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr),
                Returns(0));
    EXPECT_THAT(creat(At("a/g").c_str(), 0644), FailsWith(EROFS));
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT, nullptr), Returns(0));
    Touch("a/g");
  });
}

TEST_F(Mounts, RemountSeesTheFilesystemEverywhere) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(Bind("a", "b"), Returns(0));
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr),
                Returns(0));
    EXPECT_THAT(creat(At("b/g").c_str(), 0644), FailsWith(EROFS));
    EXPECT_EQ(FindMount(At("b"))->options, "rw,relatime");
    EXPECT_EQ(FindMount(At("b"))->super_options.substr(0, 2), "ro");
  });
}

TEST_F(Mounts, WritersKeepItWritable) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    UniqueFd fd(creat(At("a/f").c_str(), 0644));
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr),
                FailsWith(EBUSY));
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr),
                FailsWith(EBUSY));
    fd.reset();
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr),
                Returns(0));
  });
}

TEST_F(Mounts, RemountOnlyOfAMountsRoot) {
  Inside([&] {
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_BIND, nullptr),
                FailsWith(EINVAL));
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT, nullptr), FailsWith(EINVAL));
  });
}

TEST_F(Mounts, RemountKeepsAccessTimes) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", MS_NOATIME), Returns(0));
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_NOSUID, nullptr),
                Returns(0));
    EXPECT_EQ(FindMount(At("a"))->options, "rw,nosuid,noatime");
  });
}

TEST_F(Mounts, NodevHidesDevices) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mknod(At("a/null").c_str(), S_IFCHR | 0666, 0x103), Returns(0));
    UniqueFd fd(open(At("a/null").c_str(), O_RDWR));
    EXPECT_TRUE(fd.valid());
    EXPECT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_NODEV, nullptr),
                Returns(0));
    EXPECT_THAT(open(At("a/null").c_str(), O_RDWR), FailsWith(EACCES));
  });
}

TEST_F(Mounts, NosymfollowRefusesLinks) {
  Inside([&] {
    constexpr unsigned long kNosymfollow = 256;
    EXPECT_THAT(MountTmpfs("a", kNosymfollow), Returns(0));
    Touch("a/f");
    EXPECT_THAT(symlink("f", At("a/l").c_str()), Returns(0));
    EXPECT_THAT(open(At("a/l").c_str(), O_RDONLY), FailsWith(ELOOP));
    char text[8];
    EXPECT_THAT(readlink(At("a/l").c_str(), text, sizeof text), Returns(1));
    EXPECT_EQ(FindMount(At("a"))->options, "rw,relatime,nosymfollow");
  });
}

TEST_F(Mounts, StatfsTellsFlags) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", MS_RDONLY | MS_NOSUID | MS_NOEXEC, "size=1m"), Returns(0));
    struct statfs st;
    EXPECT_THAT(statfs(At("a").c_str(), &st), Returns(0));
    EXPECT_EQ(st.f_type, TMPFS_MAGIC);
    EXPECT_EQ(st.f_blocks, 256u);
    EXPECT_EQ(st.f_flags & (1 | 2 | 4 | 8), 1 | 2 | 8);
    EXPECT_EQ(st.f_flags & 4096, 4096);  // ST_RELATIME.
  });
}

TEST_F(Mounts, UmountOfABusyOne) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    UniqueFd fd(creat(At("a/f").c_str(), 0644));
    EXPECT_THAT(umount(At("a").c_str()), FailsWith(EBUSY));
    fd.reset();
    EXPECT_THAT(umount(At("a").c_str()), Returns(0));
  });
}

TEST_F(Mounts, AWorkingDirectoryKeepsItBusy) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(chdir(At("a").c_str()), Returns(0));
    EXPECT_THAT(umount(At("a").c_str()), FailsWith(EBUSY));
    EXPECT_THAT(chdir("/"), Returns(0));
    EXPECT_THAT(umount(At("a").c_str()), Returns(0));
  });
}

TEST_F(Mounts, OneBelowKeepsItBusy) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/sub").c_str(), 0755), Returns(0));
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_THAT(umount(At("a").c_str()), FailsWith(EBUSY));
    EXPECT_THAT(umount2(At("a").c_str(), MNT_DETACH), Returns(0));
    EXPECT_FALSE(FindMount(At("a")));
    EXPECT_FALSE(FindMount(At("a/sub")));
  });
}

TEST_F(Mounts, DetachedFilesGoOn) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    UniqueFd fd(open(At("a/f").c_str(), O_RDWR | O_CREAT, 0644));
    EXPECT_THAT(umount2(At("a").c_str(), MNT_DETACH), Returns(0));
    EXPECT_THAT(write(fd.get(), "x", 1), Returns(1));
    EXPECT_FALSE(Has("a/f"));
  });
}

TEST_F(Mounts, UmountArguments) {
  Inside([&] {
    EXPECT_THAT(umount2(At("a").c_str(), 0), FailsWith(EINVAL));
    EXPECT_THAT(umount2(At("a").c_str(), 0x100), FailsWith(EINVAL));
    EXPECT_THAT(umount2(At("none").c_str(), 0), FailsWith(ENOENT));
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(umount2(At("a").c_str(), MNT_EXPIRE | MNT_DETACH), FailsWith(EINVAL));
  });
}

TEST_F(Mounts, UmountNofollow) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(symlink("a", At("link").c_str()), Returns(0));
    EXPECT_THAT(umount2(At("link").c_str(), UMOUNT_NOFOLLOW), FailsWith(EINVAL));
    EXPECT_THAT(umount2(At("link").c_str(), 0), Returns(0));
  });
}

TEST_F(Mounts, ExpiryTakesTwoCalls) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(umount2(At("a").c_str(), MNT_EXPIRE), FailsWith(EAGAIN));
    EXPECT_THAT(umount2(At("a").c_str(), MNT_EXPIRE), Returns(0));
  });
}

TEST_F(Mounts, MountPointsCannotBeRemoved) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(rmdir(At("a").c_str()), FailsWith(EBUSY));
    EXPECT_THAT(rename(At("a").c_str(), At("e").c_str()), FailsWith(EBUSY));
  });
}

TEST_F(Mounts, OtherNamespacesDoNotKeepTheName) {
  Inside([&] {
    Pipe ready, go;
    const pid_t child = Start([&] {
      CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
      CHILD_CHECK(MountTmpfs("a") == 0);
      Touch("a/f");
      CHILD_CHECK(Post(ready.write.get()) && Await(go.read.get()));
      CHILD_CHECK(!FindMount(At("a")));
      return 0;
    });
    EXPECT_TRUE(Await(ready.read.get()));
    EXPECT_FALSE(Has("a/f"));
    EXPECT_THAT(rmdir(At("a").c_str()), Returns(0));
    EXPECT_TRUE(Post(go.write.get()));
    EXPECT_THAT(Wait(child), Exited(0));
  });
}

TEST_F(Mounts, BlanksAreEscaped) {
  Inside([&] {
    EXPECT_THAT(mkdir(At("x y").c_str(), 0755), Returns(0));
    EXPECT_THAT(mount("s p", At("x y").c_str(), "tmpfs", 0, nullptr), Returns(0));
    const auto line = FindMount(At("x\\040y"));
    ASSERT_TRUE(line);
    EXPECT_EQ(line->source, "s\\040p");
  });
}

TEST_F(Mounts, ProcMountsHasTheSame) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a", MS_NOSUID, "size=64k"), Returns(0));
    const std::string text = ReadFile("/proc/self/mounts");
    EXPECT_THAT(text, testing::HasSubstr("tmp " + At("a") + " tmpfs rw,nosuid,relatime,size=64k"));
    EXPECT_THAT(ReadFile("/proc/self/mountstats"),
                testing::HasSubstr("device tmp mounted on " + At("a") + " with fstype tmpfs"));
  });
}

TEST_F(Mounts, ParentsAreNamed) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_EQ(FindMount(At("a"))->parent, FindMount(dir_.path())->id);
  });
}

TEST_F(Mounts, MountinfoTellsOfChanges) {
  Inside([&] {
    UniqueFd fd(open("/proc/self/mountinfo", O_RDONLY));
    pollfd poll_fd = {fd.get(), POLLPRI, 0};
    EXPECT_THAT(poll(&poll_fd, 1, 0), Returns(0));
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(poll(&poll_fd, 1, 0), Returns(1));
    EXPECT_EQ(poll_fd.revents, POLLERR | POLLPRI);
    EXPECT_THAT(poll(&poll_fd, 1, 0), Returns(0));
    EXPECT_THAT(umount(At("a").c_str()), Returns(0));
    EXPECT_THAT(poll(&poll_fd, 1, 0), Returns(1));
  });
}

TEST_F(Mounts, ProcAndSysCanBeMounted) {
  Inside([&] {
    EXPECT_THAT(mount("proc", At("a").c_str(), "proc", 0, nullptr), Returns(0));
    EXPECT_TRUE(Has("a/self/status"));
    EXPECT_THAT(mount("sys", At("b").c_str(), "sysfs", 0, nullptr), Returns(0));
    EXPECT_TRUE(Has("b/devices"));
    EXPECT_THAT(mount("pts", At("c").c_str(), "devpts", 0, "newinstance,ptmxmode=0666"),
                Returns(0));
    EXPECT_TRUE(Has("c/ptmx"));
    EXPECT_THAT(mount("dev", At("d").c_str(), "devtmpfs", 0, nullptr), Returns(0));
    EXPECT_TRUE(Has("d/null"));
  });
}

TEST_F(Mounts, FilesystemsAreListed) {
  const std::string text = ReadFile("/proc/filesystems");
  for (const char* name : {"tmpfs", "proc", "sysfs", "devpts", "devtmpfs", "ramfs"}) {
    EXPECT_THAT(text, testing::HasSubstr("nodev\t" + std::string(name) + "\n"));
  }
}

}  // namespace
