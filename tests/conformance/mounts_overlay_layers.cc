// Options of overlays: several lower layers, none above, attributes of users, and what is refused.
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "tests/conformance/overlay_support.h"

namespace {

using conformance::Overlays;

TEST_F(Overlays, TheFirstOfSeveralLowerLayersIsOnTop) {
  Inside([&] {
    MakeDir("a/1");
    MakeDir("a/2");
    MakeDir("a/3");
    for (const char* layer : {"1", "2", "3"}) {
      MakeDir(std::string("a/") + layer + "/dir");
      Put(std::string("a/") + layer + "/f", layer);
      Put(std::string("a/") + layer + "/dir/only" + layer, layer);
    }
    Put("a/3/deep", "3");
    EXPECT_THAT(mknod(At("a/1/deep").c_str(), S_IFCHR, 0), Returns(0));
    const std::string lower = At("a/1") + ":" + At("a/2") + ":" + At("a/3");
    ASSERT_THAT(MountWith("lowerdir=" + lower + ",upperdir=" + At("b") + ",workdir=" + At("c")),
                Returns(0));
    EXPECT_EQ(Get("d/f"), "1");
    EXPECT_EQ(List("d/dir"), "only1 only2 only3");
    EXPECT_EQ(List("d"), "dir f");
    EXPECT_THAT(rename(At("d/dir/only3").c_str(), At("d/dir/x").c_str()), Returns(0));
    EXPECT_EQ(List("d/dir"), "only1 only2 x");
    EXPECT_TRUE(IsWhiteout("b/dir/only3"));
  });
}

TEST_F(Overlays, WithoutAnUpperLayerItIsReadOnly) {
  Inside([&] {
    Put("a/f", "1");
    Put("b/g", "2");
    ASSERT_THAT(MountWith("lowerdir=" + At("a") + ":" + At("b")), Returns(0));
    EXPECT_EQ(List("d"), "f g");
    EXPECT_THAT(open(At("d/f").c_str(), O_WRONLY), FailsWith(EROFS));
    EXPECT_THAT(open(At("d/h").c_str(), O_WRONLY | O_CREAT, 0600), FailsWith(EROFS));
    EXPECT_THAT(unlink(At("d/f").c_str()), FailsWith(EROFS));
    EXPECT_THAT(chmod(At("d/f").c_str(), 0600), FailsWith(EROFS));
    EXPECT_THAT(mkdir(At("d/x").c_str(), 0700), FailsWith(EROFS));
    const auto line = FindMount(At("d"));
    ASSERT_TRUE(line);
    EXPECT_TRUE(HasWord(line->super_options, "ro"));
    EXPECT_THAT(mount(nullptr, At("d").c_str(), nullptr, MS_REMOUNT, nullptr), FailsWith(EROFS));
  });
}

TEST_F(Overlays, RemountReadOnlyAndBack) {
  Inside([&] {
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(mount(nullptr, At("d").c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr),
                Returns(0));
    EXPECT_THAT(mkdir(At("d/x").c_str(), 0700), FailsWith(EROFS));
    EXPECT_THAT(mount(nullptr, At("d").c_str(), nullptr, MS_REMOUNT, "lowerdir=/nowhere"),
                Returns(0));
    EXPECT_THAT(mkdir(At("d/x").c_str(), 0700), Returns(0));
  });
}

TEST_F(Overlays, UsersAttributes) {
  Inside([&] {
    MakeDir("a/x");
    MakeDir("b/x");
    Put("a/x/1", "");
    EXPECT_THAT(setxattr(At("b/x").c_str(), "user.overlay.opaque", "y", 1, 0), Returns(0));
    ASSERT_THAT(MountOverlay(",userxattr"), Returns(0));
    EXPECT_EQ(List("d/x"), "");
    EXPECT_TRUE(HasWord(FindMount(At("d"))->super_options, "userxattr"));
    MakeDir("a/y");
    EXPECT_THAT(rmdir(At("d/x").c_str()), Returns(0));
    MakeDir("d/x");
    EXPECT_TRUE(IsOpaque("b/x", "user.overlay.opaque"));
    EXPECT_FALSE(IsOpaque("b/x"));
  });
}

TEST_F(Overlays, ItsOwnAttributesDoNotShow) {
  Inside([&] {
    MakeDir("b/x");
    EXPECT_THAT(setxattr(At("b/x").c_str(), "trusted.overlay.opaque", "y", 1, 0), Returns(0));
    EXPECT_THAT(setxattr(At("b/x").c_str(), "trusted.mine", "m", 1, 0), Returns(0));
    ASSERT_THAT(MountOverlay(), Returns(0));
    char names[256];
    const ssize_t size = listxattr(At("d/x").c_str(), names, sizeof names);
    ASSERT_GE(size, 0);
    const std::string list(names, static_cast<size_t>(size));
    EXPECT_EQ(list.find("trusted.overlay."), list.npos);
    EXPECT_NE(list.find("trusted.mine"), list.npos);
    EXPECT_THAT(getxattr(At("d/x").c_str(), "trusted.overlay.opaque", names, sizeof names),
                FailsWith(ENODATA));
    // They are kept under another name, so that overlays of overlays are possible.
    EXPECT_THAT(setxattr(At("d/x").c_str(), "trusted.overlay.opaque", "n", 1, 0), Returns(0));
    EXPECT_THAT(getxattr(At("d/x").c_str(), "trusted.overlay.opaque", names, sizeof names),
                Returns(1));
    EXPECT_EQ(names[0], 'n');
    EXPECT_THAT(getxattr(At("b/x").c_str(), "trusted.overlay.overlay.opaque", names, sizeof names),
                Returns(1));
    EXPECT_TRUE(IsOpaque("b/x"));
    EXPECT_THAT(removexattr(At("d/x").c_str(), "trusted.overlay.opaque"), Returns(0));
    EXPECT_TRUE(IsOpaque("b/x"));
  });
}

TEST_F(Overlays, OptionsAreShownEscaped) {
  Inside([&] {
    MakeDir("a/x y");
    MakeDir("b/u,v");
    MakeDir("b/w\\z");
    const std::string lower = At("a/x y"), upper = At("b/u\\,v"), work = At("b/w\\\\z");
    ASSERT_THAT(MountWith("lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work),
                Returns(0));
    Put("d/f", "1");
    EXPECT_EQ(Get("b/u,v/f"), "1");
    const std::string mounts = ReadFile("/proc/self/mounts");
    EXPECT_NE(mounts.find("lowerdir=" + At("a/x\\040y") + ","), mounts.npos) << mounts;
    EXPECT_NE(mounts.find("upperdir=" + At("b/u\\134\\054v") + ","), mounts.npos) << mounts;
    EXPECT_NE(mounts.find("workdir=" + At("b/w\\134\\134z")), mounts.npos) << mounts;
  });
}

TEST_F(Overlays, ProcIsNoLayer) {
  Inside([&] {
    EXPECT_THAT(MountWith("lowerdir=/proc:" + At("a")), FailsWith(EINVAL));
    EXPECT_THAT(MountWith("lowerdir=" + At("a") + ":/proc/self"), FailsWith(EINVAL));
  });
}

TEST_F(Overlays, AnOldWorkDirectoryIsReplaced) {
  Inside([&] {
    const std::string work = "c/work";
    MakeDir(work);
    MakeDir(work + "/left");
    Put(work + "/f", "1");
    const UniqueFd old(open(At(work).c_str(), O_RDONLY | O_DIRECTORY));
    ASSERT_TRUE(old.valid());
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(openat(old.get(), "x", O_WRONLY | O_CREAT, 0600), FailsWith(ENOENT));
    Put("d/f", "2");
    EXPECT_EQ(Get("b/f"), "2");
  });
}

TEST_F(Overlays, AFileWithoutANameSurvivesALinkThatFails) {
  Inside([&] {
    Put("a/g", "old");
    ASSERT_THAT(MountOverlay(), Returns(0));
    const UniqueFd fd(open(At("d").c_str(), O_RDWR | O_TMPFILE, 0600));
    if (!fd.valid() && errno == EOPNOTSUPP) return;
    ASSERT_TRUE(fd.valid());
    EXPECT_THAT(write(fd.get(), "new", 3), Returns(3));
    const std::string self = "/proc/self/fd/" + std::to_string(fd.get());
    const auto link_as = [&](const char* name) {
      return linkat(AT_FDCWD, self.c_str(), AT_FDCWD, At(name).c_str(), AT_SYMLINK_FOLLOW);
    };
    EXPECT_THAT(link_as("d/g"), FailsWith(EEXIST));
    EXPECT_THAT(link_as(("d/" + std::string(256, 'x')).c_str()), FailsWith(ENAMETOOLONG));
    EXPECT_THAT(unlink(At("d/g").c_str()), Returns(0));
    EXPECT_THAT(link_as("d/g"), Returns(0));
    EXPECT_EQ(Get("b/g"), "new");
    EXPECT_THAT(unlink(At("d/g").c_str()), Returns(0));
    EXPECT_TRUE(IsWhiteout("b/g"));
  });
}

TEST_F(Overlays, ALinkInPlaceOfAWhiteout) {
  Inside([&] {
    Put("a/f", "1");
    Put("a/g", "2");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(unlink(At("d/g").c_str()), Returns(0));
    EXPECT_THAT(link(At("d/f").c_str(), At("d/g").c_str()), Returns(0));
    EXPECT_EQ(Get("b/g"), "1");
    EXPECT_EQ(Stat("d/g").st_nlink, 2u);
  });
}

TEST_F(Overlays, DirectoriesInPlaceOfWhiteouts) {
  Inside([&] {
    MakeDir("a/x");
    Put("a/x/f", "1");
    MakeDir("a/y");
    ASSERT_THAT(MountOverlay(), Returns(0));
    MakeDir("d/n");
    for (const char* name : {"x", "y"}) {
      Put(std::string("d/") + name + "/f", "2");
      EXPECT_THAT(unlink(At(std::string("d/") + name + "/f").c_str()), Returns(0));
      EXPECT_THAT(rmdir(At(std::string("d/") + name).c_str()), Returns(0));
      EXPECT_TRUE(IsWhiteout(std::string("b/") + name));
    }
    MakeDir("d/x");
    EXPECT_EQ(List("d/x"), "");
    EXPECT_THAT(rename(At("d/n").c_str(), At("d/y").c_str()), Returns(0));
    EXPECT_THAT(access(At("b/n").c_str(), F_OK), FailsWith(ENOENT));
    EXPECT_TRUE(IsOpaque("b/y"));
    // One whiteout takes the place of the other.
    EXPECT_THAT(rmdir(At("d/x").c_str()), Returns(0));
    EXPECT_THAT(rename(At("d/y").c_str(), At("d/x").c_str()), Returns(0));
    EXPECT_TRUE(IsWhiteout("b/y"));
    EXPECT_EQ(List("d"), "x");
    EXPECT_EQ(List("d/x"), "");
  });
}

TEST_F(Overlays, KnownOptions) {
  Inside([&] {
    for (const char* option : {"index=off", "metacopy=off", "redirect_dir=off",
                               "redirect_dir=nofollow", "nfs_export=off", "xino=off", "xino=auto",
                               "volatile", "userxattr", "uuid=null", "default_permissions"}) {
      EXPECT_THAT(MountOverlay(std::string(",") + option), Returns(0)) << option;
      EXPECT_THAT(umount(At("d").c_str()), Returns(0)) << option;
      EXPECT_THAT(system(("rm -rf " + At("c/work")).c_str()), Returns(0));
    }
    for (const char* option :
         {"nosuch", "index=maybe", "redirect_dir=perhaps", "xino=", "upperdir"}) {
      EXPECT_THAT(MountOverlay(std::string(",") + option), FailsWith(EINVAL)) << option;
    }
  });
}

TEST_F(Overlays, MissingPieces) {
  Inside([&] {
    const std::string a = "lowerdir=" + At("a"), b = ",upperdir=" + At("b"),
                      c = ",workdir=" + At("c");
    EXPECT_THAT(MountWith(""), FailsWith(EINVAL));
    EXPECT_THAT(MountWith(a), FailsWith(EINVAL));
    EXPECT_THAT(MountWith(a + b), FailsWith(EINVAL));
    EXPECT_THAT(MountWith("upperdir=" + At("b") + c), FailsWith(EINVAL));
    EXPECT_THAT(MountWith(a + c), FailsWith(EINVAL));
    EXPECT_THAT(MountWith("lowerdir=" + At("no") + b + c), FailsWith(ENOENT));
    EXPECT_THAT(MountWith(a + ",upperdir=" + At("no") + c), FailsWith(ENOENT));
    EXPECT_THAT(MountWith(a + b + ",workdir=" + At("no")), FailsWith(ENOENT));
    EXPECT_THAT(MountWith("lowerdir=" + b + c), FailsWith(EINVAL));
    EXPECT_THAT(MountWith("lowerdir=:" + At("a") + b + c), FailsWith(EINVAL));
    EXPECT_THAT(MountWith(a + ":" + b + c), FailsWith(EINVAL));
    Touch("file");
    EXPECT_THAT(MountWith("lowerdir=" + At("file") + b + c), FailsWith(EINVAL));
    EXPECT_THAT(MountWith(a + ",upperdir=" + At("file") + c), FailsWith(EINVAL));
    EXPECT_THAT(MountWith(a + b + ",workdir=" + At("file")), FailsWith(EINVAL));
    EXPECT_THAT(MountWith("lowerdir=" + At("file/x") + b + c), FailsWith(ENOTDIR));
    EXPECT_FALSE(FindMount(At("d")));
  });
}

TEST_F(Overlays, LayersThatOverlap) {
  Inside([&] {
    const std::string a = "lowerdir=" + At("a"), b = ",upperdir=" + At("b");
    MakeDir("a/in");
    MakeDir("b/in");
    EXPECT_THAT(MountWith(a + b + ",workdir=" + At("b")), FailsWith(EINVAL));
    EXPECT_THAT(MountWith(a + b + ",workdir=" + At("b/in")), FailsWith(EINVAL));
    EXPECT_THAT(MountWith(a + ",upperdir=" + At("b/in") + ",workdir=" + At("b")),
                FailsWith(EINVAL));
    EXPECT_THAT(MountWith(a + ",upperdir=" + At("a") + ",workdir=" + At("c")), FailsWith(ELOOP));
    // The other way round is allowed.
    EXPECT_THAT(MountWith(a + ",upperdir=" + At("a/in") + ",workdir=" + At("c")), Returns(0));
    EXPECT_THAT(umount(At("d").c_str()), Returns(0));
    EXPECT_THAT(MountWith("lowerdir=" + At("b/in") + b + ",workdir=" + At("c")), FailsWith(ELOOP));
    EXPECT_THAT(MountWith(a + ":" + At("a/in")), FailsWith(ELOOP));
    EXPECT_THAT(MountWith(a + ":" + At("a")), FailsWith(ELOOP));
  });
}

TEST_F(Overlays, UpperAndWorkShareAMount) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("c"), Returns(0));
    EXPECT_THAT(MountOverlay(), FailsWith(EINVAL));
    EXPECT_THAT(umount(At("c").c_str()), Returns(0));
    EXPECT_THAT(Bind("c", "c"), Returns(0));
    EXPECT_THAT(MountOverlay(), FailsWith(EINVAL));
  });
}

TEST_F(Overlays, LayersOfOtherFilesystems) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    Put("a/f", "lower");
    MakeDir("a/x");
    Put("a/x/g", "lower");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_EQ(Get("d/f"), "lower");
    Put("d/f", "upper");
    Put("d/x/new", "");
    EXPECT_EQ(List("d/x"), "g new");
    EXPECT_EQ(Get("b/f"), "upper");
    EXPECT_EQ(Get("a/f"), "lower");
  });
}

TEST_F(Overlays, MountsBelowALayerDoNotShow) {
  Inside([&] {
    MakeDir("a/x");
    Put("a/x/under", "");
    EXPECT_THAT(MountTmpfs("a/x"), Returns(0));
    Put("a/x/over", "");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_EQ(List("d/x"), "under");
  });
}

TEST_F(Overlays, AnOverlayAsALowerLayer) {
  Inside([&] {
    for (const char* name : {"e", "f", "g", "h"}) MakeDir(name);
    Put("a/f", "1");
    ASSERT_THAT(MountOverlay(), Returns(0));
    const auto over = [&](const char* lower, const char* name) {
      const std::string n = name;
      MakeDir("e/u" + n);
      MakeDir("e/w" + n);
      const std::string options =
          "lowerdir=" + At(lower) + ",upperdir=" + At("e/u" + n) + ",workdir=" + At("e/w" + n);
      return mount("overlay", At(n).c_str(), "overlay", 0, options.c_str());
    };
    ASSERT_THAT(over("d", "f"), Returns(0));
    Put("f/f", "2");
    Put("f/new", "3");
    EXPECT_EQ(List("f"), "f new");
    EXPECT_EQ(Get("f/f"), "2");
    EXPECT_EQ(Get("d/f"), "1");
    EXPECT_THAT(unlink(At("f/f").c_str()), Returns(0));
    EXPECT_EQ(List("f"), "new");
    // Two on top of each other are all that Linux allows.
    EXPECT_THAT(over("f", "g"), FailsWith(EINVAL));
  });
}

TEST_F(Overlays, EscapedNames) {
  Inside([&] {
    MakeDir("a/with:colon");
    MakeDir("a/with,comma");
    Put("a/with:colon/1", "");
    Put("a/with,comma/2", "");
    ASSERT_THAT(MountWith("lowerdir=" + At("a") + "/with\\:colon:" + At("a") +
                          "/with\\,comma,upperdir=" + At("b") + ",workdir=" + At("c")),
                Returns(0));
    EXPECT_EQ(List("d"), "1 2");
  });
}

TEST_F(Overlays, ByTheNewCalls) {
  Inside([&] {
    Put("a/f", "1");
    MakeDir("a/2");
    Put("a/2/g", "2");
    const auto set = [](int fd, const char* key, const std::string& value) {
      return syscall(SYS_fsconfig, fd, FSCONFIG_SET_STRING, key, value.c_str(), 0);
    };
    UniqueFd fs(static_cast<int>(syscall(SYS_fsopen, "overlay", 0)));
    ASSERT_GE(fs.get(), 0);
    EXPECT_THAT(set(fs.get(), "nosuch", "1"), FailsWith(EINVAL));
    EXPECT_THAT(set(fs.get(), "lowerdir+", At("c")), Returns(0));
    EXPECT_THAT(set(fs.get(), "lowerdir+", At("a/2")), Returns(0));
    EXPECT_THAT(set(fs.get(), "upperdir", At("b")), Returns(0));
    MakeDir("work");
    EXPECT_THAT(set(fs.get(), "workdir", At("work")), Returns(0));
    EXPECT_THAT(set(fs.get(), "source", "mine"), Returns(0));
    EXPECT_THAT(syscall(SYS_fsconfig, fs.get(), FSCONFIG_SET_FLAG, "volatile", nullptr, 0),
                Returns(0));
    EXPECT_THAT(syscall(SYS_fsconfig, fs.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0),
                Returns(0));
    UniqueFd tree(static_cast<int>(syscall(SYS_fsmount, fs.get(), 0, 0)));
    ASSERT_GE(tree.get(), 0);
    EXPECT_THAT(
        syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, At("d").c_str(), MOVE_MOUNT_F_EMPTY_PATH),
        Returns(0));
    EXPECT_EQ(List("d"), "g");
    EXPECT_EQ(FindMount(At("d"))->source, "mine");
  });
}

TEST_F(Overlays, AreForThePrivileged) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(1000, 1000, 1000) == 0);
                CHILD_CHECK(mount("overlay", "/tmp", "overlay", 0, "lowerdir=/:/tmp") == -1 &&
                            errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST_F(Overlays, WhatIsMountedOnASharedLayerIsNotSeen) {
  Inside([&] {
    ASSERT_THAT(mount("layer", At("a").c_str(), "tmpfs", 0, nullptr), Returns(0));
    ASSERT_THAT(mount(nullptr, At("a").c_str(), nullptr, MS_SHARED, nullptr), Returns(0));
    ASSERT_THAT(mkdir(At("a/x").c_str(), 0755), Returns(0));
    ASSERT_THAT(MountOverlay(), Returns(0));
    ASSERT_THAT(mount(At("d").c_str(), At("a/x").c_str(), nullptr, MS_BIND, nullptr), Returns(0));
    EXPECT_EQ(List("a/x"), "x");
    EXPECT_EQ(List("d"), "x");
    EXPECT_EQ(List("d/x"), "");
  });
}

TEST_F(Overlays, WhiteoutsAreNotMadeByHand) {
  Inside([&] {
    Put("a/f", "x");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(mknod(At("d/new").c_str(), S_IFCHR | 0600, makedev(0, 0)), FailsWith(EPERM));
    EXPECT_EQ(List("d"), "f");
  });
}

}  // namespace
