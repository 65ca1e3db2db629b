#include "sentry/fs/vfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include <thread>

#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/fs/vfs/dentry_cache.h"
#include "sentry/fs/vfs/vfs_test_util.h"

namespace sentry {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

class VfsTest : public testing::Test {
 protected:
  void Mkdir(std::string_view path, uint32_t mode = 0755) {
    ASSERT_EQ(Code(t.vfs.Mkdir(t.ctx, path, mode)), 0) << path;
  }
  void Symlink(std::string_view target, std::string_view path) {
    ASSERT_EQ(Code(t.vfs.Symlink(t.ctx, target, path)), 0) << path;
  }
  Result<Path> Resolve(std::string_view path, uint64_t resolve) {
    return t.vfs.Walk(t.ctx, path, {.resolve = resolve});
  }
  std::string Text(std::string_view path) {
    const Result<Path> found = t.vfs.Walk(t.ctx, path, {});
    return found.ok() ? t.vfs.PathString(t.ctx.root, *found)
                      : "errno " + std::to_string(found.error().code());
  }
  TestVfs t{Tmpfs::Create()};
};

TEST_F(VfsTest, WalksDotsAndSlashes) {
  Mkdir("/a");
  Mkdir("/a/b");
  EXPECT_EQ(Text("/a/./b//.."), "/a");
  EXPECT_EQ(Text("/../../a"), "/a");
  EXPECT_EQ(Text("/"), "/");
  EXPECT_EQ(Text("/a/b/"), "/a/b");
  EXPECT_EQ(Text("/a/x"), "errno 2");
  EXPECT_EQ(t.Errors(""), ENOENT);
  EXPECT_EQ(t.Errors(std::string(256, 'x')), ENAMETOOLONG);
  EXPECT_EQ(t.Errors(std::string(4096, '/')), ENAMETOOLONG);
}

TEST_F(VfsTest, NeedsDirectoriesWhereSlashesSaySo) {
  ASSERT_EQ(Code(t.Write("/f", "x")), 0);
  EXPECT_EQ(t.Errors("/f/"), ENOTDIR);
  EXPECT_EQ(t.Errors("/f/."), ENOTDIR);
  EXPECT_EQ(t.Errors("/f/x"), ENOTDIR);
  EXPECT_EQ(t.Errors("/f"), 0);
}

TEST_F(VfsTest, FollowsSymlinks) {
  Mkdir("/d");
  Symlink("d", "/l");
  Symlink("/l/../l", "/m");
  Symlink("loop", "/loop");
  ASSERT_EQ(Code(t.Write("/m/f", "hello")), 0);
  EXPECT_EQ(t.Read("/d/f"), "hello");
  EXPECT_EQ(Text("/m"), "/d");
  EXPECT_EQ(t.Errors("/loop"), ELOOP);
  EXPECT_TRUE(S_ISLNK(t.Stat("/m", false)->mode));
  EXPECT_TRUE(S_ISDIR(t.Stat("/m/", false)->mode));
  EXPECT_EQ(Code(t.Open("/l", O_RDONLY | O_NOFOLLOW)), ELOOP);
  EXPECT_EQ(Code(t.Open("/l", O_PATH | O_NOFOLLOW)), 0);
}

TEST_F(VfsTest, StopsAtFortyLinks) {
  Mkdir("/d");
  Symlink("d", "/l0");
  for (int i = 1; i <= 40; ++i) {
    Symlink("l" + std::to_string(i - 1), "/l" + std::to_string(i));
  }
  EXPECT_EQ(t.Errors("/l39"), 0);  // Forty links.
  EXPECT_EQ(t.Errors("/l40"), ELOOP);
}

TEST_F(VfsTest, HonoursResolveFlags) {
  Mkdir("/jail");
  Mkdir("/jail/in");
  Symlink("/in", "/jail/absolute");
  Symlink("../..", "/jail/in/out");
  t.ctx.start = *t.vfs.Walk(t.ctx, "/jail", {});
  EXPECT_EQ(Code(Resolve("in", RESOLVE_BENEATH)), 0);
  EXPECT_EQ(Code(Resolve("/in", RESOLVE_BENEATH)), EXDEV);
  EXPECT_EQ(Code(Resolve("in/../..", RESOLVE_BENEATH)), EXDEV);
  EXPECT_EQ(Code(Resolve("absolute", RESOLVE_BENEATH)), EXDEV);
  EXPECT_EQ(Code(Resolve("absolute", RESOLVE_IN_ROOT)), 0);
  const Result<Path> out = Resolve("in/out", RESOLVE_IN_ROOT);
  ASSERT_TRUE(out.ok());
  EXPECT_EQ(out->dentry, t.ctx.start.dentry);
  EXPECT_EQ(Code(Resolve("absolute", RESOLVE_NO_SYMLINKS)), ELOOP);
}

TEST_F(VfsTest, ChecksSearchPermission) {
  Mkdir("/closed", 0700);
  Mkdir("/closed/d");
  Mkdir("/group", 0710);
  t.ctx.creds = User(1000, 1000);
  EXPECT_EQ(t.Errors("/closed"), 0);
  EXPECT_EQ(t.Errors("/closed/d"), EACCES);
  EXPECT_EQ(t.Errors("/closed/nothing"), EACCES);
  EXPECT_EQ(t.Errors("/group/x"), EACCES);
  t.ctx.creds.groups = {0};
  EXPECT_EQ(t.Errors("/group/x"), ENOENT);
}

TEST_F(VfsTest, CrossesMounts) {
  Mkdir("/mnt");
  Mkdir("/mnt/hidden");
  const Path at = *t.vfs.Walk(t.ctx, "/mnt", {});
  ASSERT_EQ(Code(t.vfs.MountAt(at, Tmpfs::Create(), "tmpfs", "none", MS_RDONLY)), 0);
  EXPECT_EQ(t.Errors("/mnt/hidden"), ENOENT);
  EXPECT_EQ(Text("/mnt/.."), "/");
  EXPECT_EQ(Text("/mnt"), "/mnt");
  EXPECT_EQ(Code(Resolve("/mnt", RESOLVE_NO_XDEV)), EXDEV);
  EXPECT_EQ(Code(t.vfs.Mkdir(t.ctx, "/mnt/x", 0755)), EROFS);
  EXPECT_EQ(Code(t.Open("/mnt/x", O_CREAT | O_WRONLY)), EROFS);
  EXPECT_EQ(Code(t.vfs.Rmdir(t.ctx, "/mnt")), EBUSY);
  EXPECT_EQ(t.Rename("/mnt", "/other"), EBUSY);
  EXPECT_EQ(t.vfs.Mounts(t.ctx.root).size(), 2u);
  EXPECT_EQ(t.vfs.Mounts(t.ctx.root)[1].path, "/mnt");
  EXPECT_EQ(
      Code(t.vfs.Unmount(*t.vfs.NamespaceOf(*t.ctx.root.mount), *t.vfs.Walk(t.ctx, "/mnt", {}), 0)),
      0);
  EXPECT_EQ(t.Errors("/mnt/hidden"), 0);
}

TEST_F(VfsTest, OpensByTheRules) {
  Mkdir("/d");
  ASSERT_EQ(Code(t.Write("/f", "content")), 0);
  Symlink("nowhere", "/dangling");
  Symlink("new", "/tonew");
  EXPECT_EQ(Code(t.Open("/d", O_WRONLY)), EISDIR);
  EXPECT_EQ(Code(t.Open("/d", O_RDONLY | O_CREAT)), EISDIR);
  EXPECT_EQ(Code(t.Open("/new/", O_WRONLY | O_CREAT)), EISDIR);
  EXPECT_EQ(Code(t.Open("/f", O_RDONLY | O_DIRECTORY)), ENOTDIR);
  EXPECT_EQ(Code(t.Open("/f", O_CREAT | O_EXCL | O_WRONLY)), EEXIST);
  EXPECT_EQ(Code(t.Open("/dangling", O_CREAT | O_EXCL | O_WRONLY)), EEXIST);
  EXPECT_EQ(Code(t.Open("/dangling", O_CREAT | O_NOFOLLOW | O_WRONLY)), ELOOP);
  EXPECT_EQ(Code(t.Open("/dangling", O_RDONLY)), ENOENT);
  EXPECT_EQ(Code(t.Write("/tonew", "through")), 0);
  EXPECT_EQ(t.Read("/new"), "through");
  EXPECT_EQ(Code(t.Open("/f", O_CREAT | O_DIRECTORY)), EINVAL);
  EXPECT_EQ(t.Read("/d"), "errno 21");
}

TEST_F(VfsTest, ACreatorMayWriteWhatTheModeForbids) {
  t.ctx.creds = User(1000, 1000);
  const Result<Ref<File>> file = t.Open("/mine", O_CREAT | O_WRONLY, 0400);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(*t.WriteTo(**file, "x"), 1u);
  EXPECT_EQ(Code(t.Open("/mine", O_WRONLY)), EACCES);
  EXPECT_EQ(t.Stat("/mine")->uid, 1000u);
}

TEST_F(VfsTest, MakesUnnamedFilesThatCanBeNamed) {
  const Result<Ref<File>> file = t.Open("/", O_TMPFILE | O_RDWR);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(t.vfs.PathString(t.ctx.root, (*file)->path()).ends_with(" (deleted)"));
  EXPECT_EQ((*file)->inode().GetAttributes()->nlink, 0u);
  EXPECT_EQ(Code(t.vfs.Link(t.ctx, (*file)->path(), "/named")), 0);
  EXPECT_EQ(t.Stat("/named")->nlink, 1u);
  EXPECT_EQ(Code(t.Open("/", O_TMPFILE | O_RDONLY)), EINVAL);
}

TEST_F(VfsTest, RemovesByTheRules) {
  Mkdir("/d");
  Mkdir("/d/e");
  ASSERT_EQ(Code(t.Write("/f", "")), 0);
  EXPECT_EQ(Code(t.vfs.Rmdir(t.ctx, "/d")), ENOTEMPTY);
  EXPECT_EQ(Code(t.vfs.Rmdir(t.ctx, "/f")), ENOTDIR);
  EXPECT_EQ(Code(t.vfs.Rmdir(t.ctx, "/d/.")), EINVAL);
  EXPECT_EQ(Code(t.vfs.Rmdir(t.ctx, "/d/e/..")), ENOTEMPTY);
  EXPECT_EQ(Code(t.vfs.Rmdir(t.ctx, "/")), EBUSY);
  EXPECT_EQ(Code(t.vfs.Unlink(t.ctx, "/d")), EISDIR);
  EXPECT_EQ(Code(t.vfs.Unlink(t.ctx, "/f/")), ENOTDIR);
  EXPECT_EQ(Code(t.vfs.Unlink(t.ctx, "/none")), ENOENT);
  const Path cwd = *t.vfs.Walk(t.ctx, "/d/e", {});
  EXPECT_EQ(Code(t.vfs.Rmdir(t.ctx, "/d/e/")), 0);
  EXPECT_EQ(t.vfs.PathString(t.ctx.root, cwd), "/d/e (deleted)");
  t.ctx.start = cwd;
  EXPECT_EQ(Code(t.vfs.Mkdir(t.ctx, "x", 0755)), ENOENT);
  EXPECT_EQ(Code(t.Open("x", O_CREAT | O_WRONLY)), ENOENT);
  EXPECT_EQ(Code(t.vfs.Unlink(t.ctx, "/f")), 0);
  EXPECT_EQ(t.Errors("/f"), ENOENT);
}

TEST_F(VfsTest, RenamesByTheRules) {
  Mkdir("/a");
  Mkdir("/a/b");
  Mkdir("/full");
  ASSERT_EQ(Code(t.Write("/full/x", "x")), 0);
  ASSERT_EQ(Code(t.Write("/f", "f")), 0);
  EXPECT_EQ(t.Rename("/a", "/a/b/c"), EINVAL);
  EXPECT_EQ(t.Rename("/a/b", "/a"), ENOTEMPTY);
  EXPECT_EQ(t.Rename("/a", "/full"), ENOTEMPTY);
  EXPECT_EQ(t.Rename("/f", "/a"), EISDIR);
  EXPECT_EQ(t.Rename("/a", "/f"), ENOTDIR);
  EXPECT_EQ(t.Rename("/f", "/g/"), ENOTDIR);
  EXPECT_EQ(t.Rename("/f", "/full/x", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(t.Rename("/f", "/none", RENAME_EXCHANGE), ENOENT);
  EXPECT_EQ(t.Rename("/f", "/g", 8), EINVAL);
  EXPECT_EQ(t.Rename("/.", "/g"), EBUSY);
  EXPECT_EQ(t.Rename("/f", "/full/x", RENAME_EXCHANGE), 0);
  EXPECT_EQ(t.Read("/f"), "x");
  EXPECT_EQ(t.Read("/full/x"), "f");
  EXPECT_EQ(t.Rename("/full", "/a/b"), 0);
  EXPECT_EQ(t.Read("/a/b/x"), "f");
  EXPECT_EQ(t.Errors("/full"), ENOENT);
  EXPECT_EQ(t.Stat("/a")->nlink, 3u);
  EXPECT_EQ(t.Stat("/")->nlink, 3u);
  EXPECT_EQ(Text("/a/b/../.."), "/");
}

TEST_F(VfsTest, ProtectsStickyDirectories) {
  Mkdir("/tmp", 0777);
  ASSERT_EQ(Code(t.Chmod("/tmp", 01777)), 0);
  t.ctx.creds = User(1, 1);
  ASSERT_EQ(Code(t.Write("/tmp/one", "")), 0);
  t.ctx.creds = User(2, 2);
  EXPECT_EQ(Code(t.vfs.Unlink(t.ctx, "/tmp/one")), EPERM);
  EXPECT_EQ(t.Rename("/tmp/one", "/tmp/two"), EPERM);
  EXPECT_EQ(Code(t.Chmod("/tmp/one", 0777)), EPERM);
}

TEST_F(VfsTest, InheritsGroupsAndClearsSetIdBits) {
  Mkdir("/shared", 0777);
  AttributeChange change;
  change.gid = 50;
  const Path shared = *t.vfs.Walk(t.ctx, "/shared", {});
  ASSERT_EQ(Code(t.vfs.SetAttributes(t.ctx, shared, change)), 0);
  ASSERT_EQ(Code(t.Chmod("/shared", 02777)), 0);
  t.ctx.creds = User(1, 1);
  t.ctx.umask = 0;
  ASSERT_EQ(Code(t.vfs.Mkdir(t.ctx, "/shared/d", 0755)), 0);
  EXPECT_EQ(t.Stat("/shared/d")->mode, uint32_t{S_IFDIR | 02755});
  EXPECT_EQ(t.Stat("/shared/d")->gid, 50u);
  ASSERT_TRUE(t.Open("/shared/f", O_CREAT | O_WRONLY, 02755).ok());
  EXPECT_EQ(t.Stat("/shared/f")->mode, uint32_t{S_IFREG | 0755});
  t.ctx.creds = Root();
  ASSERT_EQ(Code(t.Chmod("/shared/f", 06755)), 0);
  const Path file = *t.vfs.Walk(t.ctx, "/shared/f", {});
  change.gid = 7;
  ASSERT_EQ(Code(t.vfs.SetAttributes(t.ctx, file, change)), 0);
  EXPECT_EQ(t.Stat("/shared/f")->mode, uint32_t{S_IFREG | 0755});
}

TEST_F(VfsTest, WritesClearSetIdBits) {
  ASSERT_EQ(Code(t.Write("/f", "x")), 0);
  ASSERT_EQ(Code(t.Chmod("/f", 06777)), 0);
  ASSERT_EQ(Code(t.Write("/f", "root", 0)), 0);
  EXPECT_EQ(t.Stat("/f")->mode & 07777, 06777u);
  t.ctx.creds = User(1, 1);
  ASSERT_EQ(Code(t.Write("/f", "user", 0)), 0);
  EXPECT_EQ(t.Stat("/f")->mode & 07777, 0777u);
}

TEST_F(VfsTest, BoundsTheCache) {
  // Names that never come back do not make it grow.
  for (int i = 0; i < 300'000; ++i) t.Errors("/none" + std::to_string(i));
  EXPECT_LE(t.vfs.cached_bytes(), DentryCache::kLeastBytes + 1000);
  EXPECT_GE(t.vfs.cached_names(), 50'000u);
  // Those that do, do, and are all there in the end.
  const auto walk = [this](int names) {
    for (int i = 0; i < names; ++i) t.Errors("/again" + std::to_string(i));
  };
  for (int round = 0; round < 5; ++round) walk(200'000);
  EXPECT_GE(t.vfs.cached_names(), 200'000u);
  EXPECT_GT(t.vfs.cached_bytes(), DentryCache::kLeastBytes);
  for (int round = 0; round < 3; ++round) walk(600'000);
  EXPECT_LE(t.vfs.cached_bytes(), DentryCache::kMostBytes + 1000);
  // And then it shrinks again.
  for (int i = 0; i < 5'000'000 && t.vfs.cached_bytes() > DentryCache::kLeastBytes + 1000; ++i) {
    t.Errors("/other" + std::to_string(i));
  }
  EXPECT_LE(t.vfs.cached_bytes(), DentryCache::kLeastBytes + 1000);
  t.vfs.ShrinkCaches();
  EXPECT_EQ(t.vfs.cached_names(), 0u);
  EXPECT_EQ(t.vfs.cached_bytes(), 0u);
}

TEST_F(VfsTest, SurvivesDeepTrees) {
  WalkContext deep = t.ctx;
  for (int i = 0; i < 50'000; ++i) {
    ASSERT_EQ(Code(t.vfs.Mkdir(deep, "d", 0755)), 0);
    deep.start = *t.vfs.Walk(deep, "d", {});
  }
  EXPECT_GT(t.vfs.PathString(t.ctx.root, deep.start).size(), 4096u);
  deep.start = {};
}

TEST_F(VfsTest, ServesThreads) {
  Mkdir("/a");
  Mkdir("/b");
  std::vector<std::thread> threads;
  for (int n = 0; n < 4; ++n) {
    threads.emplace_back([this, n] {
      const std::string mine = "/a/" + std::to_string(n);
      const std::string moved = "/b/" + std::to_string(n);
      for (int i = 0; i < 300; ++i) {
        ASSERT_EQ(Code(t.Write(mine, "x")), 0);
        t.Errors("/b/" + std::to_string(i % 4));
        ASSERT_EQ(t.Rename(mine, moved), 0);
        ASSERT_EQ(Code(t.vfs.Unlink(t.ctx, moved)), 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(t.List("/b"), ElementsAre());
}

// Not a check of speed, but of the order of magnitude: prints what a cached walk takes.
TEST_F(VfsTest, WalksCachedNamesQuickly) {
  Mkdir("/usr");
  Mkdir("/usr/lib");
  Mkdir("/usr/lib/x86_64-linux-gnu");
  ASSERT_EQ(Code(t.Write("/usr/lib/x86_64-linux-gnu/libc.so.6", "")), 0);
  constexpr int kRounds = 100'000;
  const auto cpu_ns = [] {
    timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1'000'000'000 + now.tv_nsec;
  };
  const long begin = cpu_ns();
  for (int i = 0; i < kRounds; ++i) {
    ASSERT_TRUE(t.Stat("/usr/lib/x86_64-linux-gnu/libc.so.6").ok());
  }
  printf("cached walk of 4 names and stat: %ld ns; Dentry %zu bytes\n",
         (cpu_ns() - begin) / kRounds, sizeof(Dentry));
}

}  // namespace
}  // namespace sentry
