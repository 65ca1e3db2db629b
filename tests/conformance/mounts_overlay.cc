// Overlays that processes mount: what is seen, and what changes leave in the upper directory.
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "tests/conformance/overlay_support.h"

namespace {

using conformance::Overlays;

TEST_F(Overlays, ShowsBothLayers) {
  Inside([&] {
    Put("a/low", "1");
    Put("b/up", "2");
    Put("a/both", "low");
    Put("b/both", "up");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_EQ(List("d"), "both low up");
    EXPECT_EQ(Get("d/low"), "1");
    EXPECT_EQ(Get("d/up"), "2");
    EXPECT_EQ(Get("d/both"), "up");
    struct statfs fs;
    EXPECT_THAT(statfs(At("d").c_str(), &fs), Returns(0));
    EXPECT_EQ(fs.f_type, OVERLAYFS_SUPER_MAGIC);
    EXPECT_THAT(umount(At("d").c_str()), Returns(0));
    EXPECT_EQ(List("d"), "");
  });
}

TEST_F(Overlays, ShowsItsOptions) {
  Inside([&] {
    ASSERT_THAT(MountOverlay(), Returns(0));
    const auto line = FindMount(At("d"));
    ASSERT_TRUE(line);
    EXPECT_EQ(line->type, "overlay");
    EXPECT_EQ(line->source, "overlay");
    EXPECT_EQ(line->super_options.rfind("rw," + Layers(), 0), 0u) << line->super_options;
  });
}

TEST_F(Overlays, AWriteCopiesUp) {
  Inside([&] {
    Put("a/f", "lower text");
    EXPECT_THAT(chmod(At("a/f").c_str(), 0751), Returns(0));
    EXPECT_THAT(chown(At("a/f").c_str(), 12, 34), Returns(0));
    EXPECT_THAT(setxattr(At("a/f").c_str(), "trusted.mine", "v", 1, 0), Returns(0));
    ASSERT_THAT(MountOverlay(), Returns(0));
    const ino_t before = Stat("d/f").st_ino;
    {
      UniqueFd fd(open(At("d/f").c_str(), O_WRONLY | O_APPEND));
      EXPECT_THAT(write(fd.get(), "+", 1), Returns(1));
    }
    EXPECT_EQ(Get("d/f"), "lower text+");
    EXPECT_EQ(Get("b/f"), "lower text+");
    EXPECT_EQ(Get("a/f"), "lower text");
    EXPECT_EQ(Stat("d/f").st_ino, before);
    EXPECT_EQ(Stat("b/f").st_mode, uint32_t{S_IFREG | 0751});
    EXPECT_EQ(Stat("b/f").st_uid, 12u);
    EXPECT_EQ(Stat("b/f").st_gid, 34u);
    char value[4];
    EXPECT_THAT(getxattr(At("b/f").c_str(), "trusted.mine", value, sizeof value), Returns(1));
  });
}

TEST_F(Overlays, ReadingCopiesNothing) {
  Inside([&] {
    Put("a/f", "x");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_EQ(Get("d/f"), "x");
    EXPECT_EQ(List("b"), "");
  });
}

TEST_F(Overlays, AnOpenForReadingFollowsTheCopy) {
  Inside([&] {
    Put("a/f", "old");
    ASSERT_THAT(MountOverlay(), Returns(0));
    UniqueFd reader(open(At("d/f").c_str(), O_RDONLY));
    Put("d/f", "newer");
    char text[8] = "";
    EXPECT_THAT(read(reader.get(), text, sizeof text), Returns(5));
    EXPECT_STREQ(text, "newer");
    EXPECT_EQ(Get("d/f"), "newer");
  });
}

TEST_F(Overlays, AttributesCopyUpAndParentsToo) {
  Inside([&] {
    MakeDir("a/x");
    MakeDir("a/x/y");
    EXPECT_THAT(chmod(At("a/x/y").c_str(), 0711), Returns(0));
    Put("a/x/y/f", "text");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(chmod(At("d/x/y/f").c_str(), 0600), Returns(0));
    EXPECT_EQ(Stat("d/x/y/f").st_mode, uint32_t{S_IFREG | 0600});
    EXPECT_EQ(Stat("b/x/y/f").st_mode, uint32_t{S_IFREG | 0600});
    EXPECT_EQ(Stat("b/x/y").st_mode, uint32_t{S_IFDIR | 0711});
    EXPECT_EQ(Get("b/x/y/f"), "text");
    EXPECT_FALSE(IsOpaque("b/x"));
    EXPECT_EQ(Stat("a/x/y/f").st_mode, uint32_t{S_IFREG | 0644});
  });
}

TEST_F(Overlays, TruncationNeedsNoData) {
  Inside([&] {
    Put("a/f", "0123456789");
    Put("a/g", "0123456789");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(truncate(At("d/f").c_str(), 4), Returns(0));
    EXPECT_EQ(Get("d/f"), "0123");
    UniqueFd(open(At("d/g").c_str(), O_WRONLY | O_TRUNC)).reset();
    EXPECT_EQ(Stat("d/g").st_size, 0);
    EXPECT_EQ(Get("a/f"), "0123456789");
    EXPECT_EQ(Get("a/g"), "0123456789");
  });
}

TEST_F(Overlays, UnlinkLeavesAWhiteout) {
  Inside([&] {
    Put("a/f", "x");
    Put("b/own", "y");
    ASSERT_THAT(MountOverlay(), Returns(0));
    UniqueFd open_one(open(At("d/f").c_str(), O_RDONLY));
    EXPECT_THAT(unlink(At("d/f").c_str()), Returns(0));
    EXPECT_THAT(unlink(At("d/own").c_str()), Returns(0));
    EXPECT_FALSE(Has("d/f"));
    EXPECT_TRUE(IsWhiteout("b/f"));
    EXPECT_FALSE(Has("b/own"));
    EXPECT_EQ(List("d"), "");
    EXPECT_TRUE(Has("a/f"));
    char byte;
    EXPECT_THAT(read(open_one.get(), &byte, 1), Returns(1));
    EXPECT_THAT(unlink(At("d/f").c_str()), FailsWith(ENOENT));
    Put("d/f", "again");
    EXPECT_EQ(Get("d/f"), "again");
    EXPECT_EQ(Get("b/f"), "again");
    EXPECT_EQ(List("d"), "f");
  });
}

TEST_F(Overlays, UnlinkOfWhatWasCopiedUp) {
  Inside([&] {
    Put("a/f", "x");
    ASSERT_THAT(MountOverlay(), Returns(0));
    Put("d/f", "changed");
    EXPECT_FALSE(IsWhiteout("b/f"));
    EXPECT_THAT(unlink(At("d/f").c_str()), Returns(0));
    EXPECT_TRUE(IsWhiteout("b/f"));
    EXPECT_FALSE(Has("d/f"));
  });
}

TEST_F(Overlays, WhiteoutsOfBeforeAreKnown) {
  Inside([&] {
    Put("a/f", "x");
    Put("a/g", "x");
    EXPECT_THAT(mknod(At("b/f").c_str(), S_IFCHR, makedev(0, 0)), Returns(0));
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_EQ(List("d"), "g");
    EXPECT_THAT(open(At("d/f").c_str(), O_RDONLY), FailsWith(ENOENT));
  });
}

TEST_F(Overlays, DirectoriesAreMerged) {
  Inside([&] {
    MakeDir("a/x");
    MakeDir("b/x");
    Put("a/x/1", "");
    Put("b/x/2", "");
    Put("a/x/3", "low");
    Put("b/x/3", "up");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_EQ(List("d/x"), "1 2 3");
    EXPECT_EQ(Get("d/x/3"), "up");
    EXPECT_EQ(Stat("d/x").st_nlink, 1u);
    EXPECT_THAT(rmdir(At("d/x").c_str()), FailsWith(ENOTEMPTY));
  });
}

TEST_F(Overlays, AnOpaqueDirectoryHidesWhatIsBelow) {
  Inside([&] {
    MakeDir("a/x");
    MakeDir("b/x");
    Put("a/x/1", "");
    Put("b/x/2", "");
    EXPECT_THAT(setxattr(At("b/x").c_str(), "trusted.overlay.opaque", "y", 1, 0), Returns(0));
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_EQ(List("d/x"), "2");
    EXPECT_FALSE(Has("d/x/1"));
  });
}

TEST_F(Overlays, ADirectoryInPlaceOfARemovedOneIsOpaque) {
  Inside([&] {
    MakeDir("a/x");
    Put("a/x/1", "");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(unlink(At("d/x/1").c_str()), Returns(0));
    EXPECT_TRUE(IsWhiteout("b/x/1"));
    EXPECT_THAT(rmdir(At("d/x").c_str()), Returns(0));
    EXPECT_TRUE(IsWhiteout("b/x"));
    EXPECT_FALSE(Has("d/x"));
    MakeDir("d/x");
    EXPECT_TRUE(IsOpaque("b/x"));
    EXPECT_EQ(List("d/x"), "");
    Put("d/x/new", "");
    EXPECT_EQ(List("d/x"), "new");
  });
}

TEST_F(Overlays, AFileHidesADirectoryAndTheOtherWayRound) {
  Inside([&] {
    MakeDir("a/x");
    Put("a/x/in", "");
    Put("b/x", "file");
    Put("a/y", "file");
    MakeDir("b/y");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_EQ(Get("d/x"), "file");
    EXPECT_EQ(List("d/y"), "");
    EXPECT_THAT(rmdir(At("d/y").c_str()), Returns(0));
    EXPECT_FALSE(Has("d/y"));
    EXPECT_THAT(unlink(At("d/x").c_str()), Returns(0));
    EXPECT_FALSE(Has("d/x"));
    EXPECT_EQ(List("d"), "");
  });
}

TEST_F(Overlays, RenameOfALowerFile) {
  Inside([&] {
    Put("a/f", "text");
    Put("a/g", "other");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(rename(At("d/f").c_str(), At("d/h").c_str()), Returns(0));
    EXPECT_TRUE(IsWhiteout("b/f"));
    EXPECT_EQ(Get("b/h"), "text");
    EXPECT_EQ(List("d"), "g h");
    EXPECT_THAT(rename(At("d/h").c_str(), At("d/g").c_str()), Returns(0));
    EXPECT_EQ(Get("d/g"), "text");
    EXPECT_FALSE(Has("b/h"));
    EXPECT_EQ(List("d"), "g");
    EXPECT_THAT(rename(At("d/g").c_str(), At("d/f").c_str()), Returns(0));
    EXPECT_EQ(List("d"), "f");
    EXPECT_TRUE(IsWhiteout("b/g"));
    EXPECT_EQ(Get("a/f"), "text");
    EXPECT_EQ(Get("a/g"), "other");
  });
}

TEST_F(Overlays, RenameOfADirectory) {
  Inside([&] {
    MakeDir("a/low");
    MakeDir("a/merged");
    MakeDir("b/merged");
    MakeDir("a/into");
    ASSERT_THAT(MountOverlay(",redirect_dir=off"), Returns(0));
    EXPECT_THAT(rename(At("d/low").c_str(), At("d/x").c_str()), FailsWith(EXDEV));
    EXPECT_THAT(rename(At("d/merged").c_str(), At("d/x").c_str()), FailsWith(EXDEV));
    MakeDir("d/own");
    Put("d/own/f", "1");
    EXPECT_THAT(rename(At("d/own").c_str(), At("d/into/moved").c_str()), Returns(0));
    EXPECT_EQ(Get("d/into/moved/f"), "1");
    EXPECT_EQ(Get("b/into/moved/f"), "1");
    EXPECT_FALSE(Has("b/own"));
  });
}

TEST_F(Overlays, ADirectoryRenamedOverALowerOneIsOpaque) {
  Inside([&] {
    MakeDir("a/x");
    ASSERT_THAT(MountOverlay(), Returns(0));
    MakeDir("d/own");
    Put("d/own/f", "1");
    EXPECT_THAT(rename(At("d/own").c_str(), At("d/x").c_str()), Returns(0));
    EXPECT_TRUE(IsOpaque("b/x"));
    EXPECT_EQ(List("d/x"), "f");
  });
}

TEST_F(Overlays, RenameExchanges) {
  Inside([&] {
    Put("a/f", "F");
    Put("a/g", "G");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(
        renameat2(AT_FDCWD, At("d/f").c_str(), AT_FDCWD, At("d/g").c_str(), RENAME_EXCHANGE),
        Returns(0));
    EXPECT_EQ(Get("d/f"), "G");
    EXPECT_EQ(Get("d/g"), "F");
    EXPECT_EQ(Get("b/f"), "G");
    EXPECT_EQ(Get("a/f"), "F");
    EXPECT_THAT(
        renameat2(AT_FDCWD, At("d/f").c_str(), AT_FDCWD, At("d/g").c_str(), RENAME_NOREPLACE),
        FailsWith(EEXIST));
  });
}

TEST_F(Overlays, HardLinks) {
  Inside([&] {
    Put("a/f", "text");
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(link(At("d/f").c_str(), At("d/g").c_str()), Returns(0));
    EXPECT_EQ(Stat("d/f").st_ino, Stat("d/g").st_ino);
    EXPECT_EQ(Stat("d/f").st_nlink, 2u);
    EXPECT_EQ(Stat("b/g").st_nlink, 2u);
    Put("d/g", "changed");
    EXPECT_EQ(Get("d/f"), "changed");
    EXPECT_THAT(unlink(At("d/f").c_str()), Returns(0));
    EXPECT_EQ(Stat("d/g").st_nlink, 1u);
    EXPECT_EQ(Get("d/g"), "changed");
    EXPECT_THAT(link(At("d/g").c_str(), At("d/f").c_str()), Returns(0));
    EXPECT_EQ(List("d"), "f g");
  });
}

TEST_F(Overlays, SymlinksAndOthers) {
  Inside([&] {
    EXPECT_THAT(symlink("target", At("a/s").c_str()), Returns(0));
    EXPECT_THAT(mkfifo(At("a/p").c_str(), 0640), Returns(0));
    ASSERT_THAT(MountOverlay(), Returns(0));
    char text[16] = "";
    EXPECT_THAT(readlink(At("d/s").c_str(), text, sizeof text), Returns(6));
    EXPECT_THAT(lchown(At("d/s").c_str(), 7, 8), Returns(0));
    EXPECT_THAT(readlink(At("b/s").c_str(), text, sizeof text), Returns(6));
    EXPECT_EQ(Stat("b/s").st_uid, 7u);
    EXPECT_THAT(chmod(At("d/p").c_str(), 0600), Returns(0));
    EXPECT_EQ(Stat("b/p").st_mode, uint32_t{S_IFIFO | 0600});
    EXPECT_THAT(symlink("x", At("d/t").c_str()), Returns(0));
    EXPECT_EQ(Stat("b/t").st_mode & S_IFMT, uint32_t{S_IFLNK});
    UniqueFd both(open(At("d/p").c_str(), O_RDWR));
    UniqueFd other(open(At("d/p").c_str(), O_WRONLY | O_NONBLOCK));
    EXPECT_THAT(write(other.get(), "z", 1), Returns(1));
    EXPECT_THAT(read(both.get(), text, 1), Returns(1));
  });
}

TEST_F(Overlays, NewFilesBelongToWhoMakesThem) {
  Inside([&] {
    EXPECT_THAT(chmod(At("a").c_str(), 0777), Returns(0));
    EXPECT_THAT(chmod(At("b").c_str(), 0777), Returns(0));
    ASSERT_THAT(MountOverlay(), Returns(0));
    EXPECT_THAT(InChild([&] {
                  CHILD_CHECK(setresgid(77, 77, 77) == 0);
                  CHILD_CHECK(setresuid(66, 66, 66) == 0);
                  umask(027);
                  CHILD_CHECK(mkdir(At("d/x").c_str(), 0777) == 0);
                  CHILD_CHECK(close(open(At("d/x/f").c_str(), O_CREAT | O_WRONLY, 0666)) == 0);
                  return 0;
                }),
                Exited(0));
    EXPECT_EQ(Stat("b/x").st_uid, 66u);
    EXPECT_EQ(Stat("b/x").st_gid, 77u);
    EXPECT_EQ(Stat("b/x").st_mode, uint32_t{S_IFDIR | 0750});
    EXPECT_EQ(Stat("d/x/f").st_mode, uint32_t{S_IFREG | 0640});
    EXPECT_EQ(Stat("d/x/f").st_uid, 66u);
  });
}

TEST_F(Overlays, SharedMappingsAreTheUpperFile) {
  Inside([&] {
    Put("a/f", std::string(4096, 'x'));
    ASSERT_THAT(MountOverlay(), Returns(0));
    UniqueFd fd(open(At("d/f").c_str(), O_RDWR));
    auto* const map =
        static_cast<char*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    ASSERT_NE(map, MAP_FAILED);
    map[0] = 'Y';
    EXPECT_EQ(Get("d/f")[0], 'Y');
    EXPECT_EQ(Get("b/f")[0], 'Y');
    EXPECT_EQ(Get("a/f")[0], 'x');
    munmap(map, 4096);
  });
}

TEST_F(Overlays, SeveralWritersCopyUpOnce) {
  Inside([&] {
    MakeDir("a/x");
    Put("a/x/f", "start");
    ASSERT_THAT(MountOverlay(), Returns(0));
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 50; ++round) {
          UniqueFd fd(open(At("d/x/f").c_str(), O_WRONLY | O_APPEND));
          EXPECT_THAT(write(fd.get(), "+", 1), Returns(1));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(Get("d/x/f"), "start" + std::string(200, '+'));
    EXPECT_EQ(Get("b/x/f"), "start" + std::string(200, '+'));
  });
}

TEST_F(Overlays, CopiesRaceWithRemovals) {
  Inside([&] {
    MakeDir("a/x");
    for (int i = 0; i < 100; ++i) Put("a/x/" + std::to_string(i), "text");
    ASSERT_THAT(MountOverlay(), Returns(0));
    std::thread remover([&] {
      for (int i = 0; i < 100; ++i) unlink(At("d/x/" + std::to_string(i)).c_str());
    });
    for (int i = 99; i >= 0; --i) {
      UniqueFd fd(open(At("d/x/" + std::to_string(i)).c_str(), O_WRONLY));
      if (fd.get() < 0) continue;
      EXPECT_THAT(write(fd.get(), "1", 1), Returns(1));
    }
    remover.join();
    EXPECT_EQ(List("d/x"), "");
    EXPECT_THAT(rmdir(At("d/x").c_str()), Returns(0));
    EXPECT_TRUE(IsWhiteout("b/x"));
  });
}

TEST_F(Overlays, ATreeIsRemoved) {
  Inside([&] {
    MakeDir("a/x");
    for (int i = 0; i < 20; ++i) {
      const std::string dir = "a/x/" + std::to_string(i);
      MakeDir(dir);
      Put(dir + "/f", "");
    }
    ASSERT_THAT(MountOverlay(), Returns(0));
    Put("d/x/3/g", "");
    EXPECT_THAT(system(("rm -r " + At("d/x")).c_str()), Returns(0));
    EXPECT_TRUE(IsWhiteout("b/x"));
    EXPECT_EQ(List("d"), "");
  });
}

}  // namespace
