#include "sentry/fs/goferfs/goferfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "gofer/server/test_server.h"
#include "sentry/fs/gofer/gofer_test_util.h"
#include "sentry/fs/goferfs/gofer_inode.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/overlay/overlay_inode.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/fs/vfs/vfs_test_util.h"

namespace sentry {
namespace {

using testing::UnorderedElementsAre;

class GoferFsTest : public testing::Test {
 protected:
  GoferFsTest() {
    host.Write("f", "host f");
    std::filesystem::create_directories(host / "d/sub");
    host.Write("d/x", "host x");
    std::filesystem::create_symlink("f", host / "link");
    std::filesystem::create_hard_link(host / "f", host / "hard");
    Mount({});
  }
  void Mount(const GoferFsOptions& options) {
    t.emplace(*GoferFs::Create(*client, 0, options));
    t->ctx.creds.fsuid = getuid();
    t->ctx.creds.fsgid = getgid();
  }

  TempDirectory host;
  gofer::TestServer server{{{host.path(), true}}};
  CountingHooks hooks;
  std::unique_ptr<GoferClient> client =
      Connect(std::move(server.client_socket), std::move(server.client_ring), hooks);
  std::optional<TestVfs> t;
};

TEST_F(GoferFsTest, ShowsTheHost) {
  EXPECT_EQ(t->Read("/f"), "host f");
  EXPECT_EQ(t->Read("/link"), "host f");
  EXPECT_EQ(t->Read("/d/x"), "host x");
  EXPECT_EQ(t->Errors("/none"), ENOENT);
  EXPECT_EQ(t->Errors("/f/x"), ENOTDIR);
  EXPECT_THAT(t->List("/"), UnorderedElementsAre("f", "d", "link", "hard"));
  EXPECT_EQ(t->Stat("/f")->ino, t->Stat("/hard")->ino);
  EXPECT_EQ(t->Stat("/f")->nlink, 2u);
  EXPECT_EQ(t->Stat("/f")->size, 6u);
}

TEST_F(GoferFsTest, WritesTheHost) {
  ASSERT_EQ(Code(t->Write("/d/new", "text")), 0);
  EXPECT_EQ(host.Read("d/new"), "text");
  EXPECT_EQ(t->Stat("/d/new")->size, 4u);
  ASSERT_EQ(Code(t->Write("/d/new", "+", O_APPEND)), 0);
  EXPECT_EQ(host.Read("d/new"), "text+");
  ASSERT_EQ(Code(t->vfs.Mkdir(t->ctx, "/dir", 0755)), 0);
  ASSERT_EQ(Code(t->vfs.Symlink(t->ctx, "d/new", "/s")), 0);
  EXPECT_EQ(t->Read("/s"), "text+");
  ASSERT_EQ(t->Rename("/d/new", "/dir/moved"), 0);
  EXPECT_EQ(host.Read("dir/moved"), "text+");
  EXPECT_EQ(t->Errors("/d/new"), ENOENT);
  EXPECT_EQ(Code(t->vfs.Rmdir(t->ctx, "/dir")), ENOTEMPTY);
  ASSERT_EQ(Code(t->vfs.Unlink(t->ctx, "/dir/moved")), 0);
  ASSERT_EQ(Code(t->vfs.Rmdir(t->ctx, "/dir")), 0);
  ASSERT_EQ(Code(t->Chmod("/f", 0600)), 0);
  EXPECT_EQ(t->Stat("/f")->mode, uint32_t{S_IFREG | 0600});
  ASSERT_EQ(Code(t->vfs.Unlink(t->ctx, "/f")), 0);
  EXPECT_EQ(t->Stat("/hard")->nlink, 1u);
  EXPECT_FALSE(std::filesystem::exists(host / "f"));
}

TEST_F(GoferFsTest, MapsFiles) {
  const Ref<File> file = *t->Open("/f", O_RDONLY);
  const int fd = *file->HostFdForMapping(false);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  void* const map = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_EQ(std::string(static_cast<char*>(map), 6), "host f");
  munmap(map, 4096);
}

TEST_F(GoferFsTest, ListsLargeDirectories) {
  std::filesystem::create_directory(host / "big");
  for (int i = 0; i < 3000; ++i) host.Write("big/name-" + std::to_string(i), "");
  EXPECT_EQ(t->List("/big").size(), 3000u);
}

TEST_F(GoferFsTest, SharedTreesAreAskedEachTime) {
  EXPECT_EQ(t->Errors("/later"), ENOENT);
  host.Write("later", "x");
  EXPECT_EQ(t->Errors("/later"), ENOENT);  // Exclusive: remembered.
  Mount({.shared = true});
  EXPECT_EQ(t->Read("/later"), "x");
  host.Write("later", "longer");
  EXPECT_EQ(t->Stat("/later")->size, 6u);
  std::filesystem::remove(host / "later");
  EXPECT_EQ(t->Errors("/later"), ENOENT);
}

TEST_F(GoferFsTest, LiesBelowAnOverlay) {
  Ref<Inode> lower = *GoferFs::Create(*client, 0, {});
  TestVfs o(*Overlay::Create(std::move(lower), Tmpfs::Create()));
  ASSERT_EQ(Code(o.Write("/f", "changed")), 0);
  EXPECT_EQ(o.Read("/hard"), "changed");
  ASSERT_EQ(Code(o.vfs.Unlink(o.ctx, "/d/x")), 0);
  ASSERT_EQ(Code(o.vfs.Rmdir(o.ctx, "/d/sub")), 0);
  ASSERT_EQ(Code(o.vfs.Rmdir(o.ctx, "/d")), 0);
  EXPECT_THAT(o.List("/"), UnorderedElementsAre("f", "link", "hard"));
  EXPECT_EQ(host.Read("f"), "host f");
  EXPECT_EQ(host.Read("d/x"), "host x");
  printf("bytes: dentry %zu, gofer regular %zu directory %zu, overlay regular %zu directory %zu\n",
         sizeof(Dentry), sizeof(GoferRegular), sizeof(GoferDirectory), sizeof(OverlayRegular),
         sizeof(OverlayDirectory));
}

TEST(PackedAttributes, AreWhatTheyWere) {
  gofer::Attr attr{.size = 1, .blocks = 8, .mode = S_IFREG | 0644, .uid = 5, .gid = 6, .nlink = 2};
  attr.blksize = 4096;
  attr.atime = {.seconds = -(int64_t{1} << 31), .nanoseconds = 999'999'999};
  attr.mtime = {.seconds = 15'032'385'535, .nanoseconds = 1};  // The last of ext4, in 2446.
  attr.ctime = {.seconds = -1, .nanoseconds = 2};
  PackedAttributes packed;
  const uint8_t log = PackedAttributes::Pack(attr, packed);
  ASSERT_EQ(log, 12);
  Attributes some, all;
  packed.Unpack(attr.mode, log, some);
  Unpack(attr, all);
  for (const Attributes& a : {some, all}) {
    EXPECT_EQ(a.size, 1u);
    EXPECT_EQ(a.blocks, 8u);
    EXPECT_EQ(a.mode, S_IFREG | 0644u);
    EXPECT_EQ(a.nlink, 2u);
    EXPECT_EQ(a.uid, 5u);
    EXPECT_EQ(a.gid, 6u);
    EXPECT_EQ(a.blksize, 4096u);
    EXPECT_EQ(a.atime.tv_sec, -(int64_t{1} << 31));
    EXPECT_EQ(a.atime.tv_nsec, 999'999'999);
    EXPECT_EQ(a.mtime.tv_sec, 15'032'385'535);
    EXPECT_EQ(a.mtime.tv_nsec, 1);
    EXPECT_EQ(a.ctime.tv_sec, -1);
    EXPECT_EQ(a.btime.tv_sec, 0);
  }
  gofer::Attr other = attr;
  other.mtime.seconds += 1;
  EXPECT_EQ(PackedAttributes::Pack(other, packed), 0);
  other = attr;
  other.blocks = uint64_t{1} << 32;
  EXPECT_EQ(PackedAttributes::Pack(other, packed), 0);
  other = attr;
  other.blksize = 5000;
  EXPECT_EQ(PackedAttributes::Pack(other, packed), 0);
  other = attr;
  other.mode = S_IFCHR | 0600;
  other.size = 0;
  other.rdev = makedev(4, 64);
  ASSERT_EQ(PackedAttributes::Pack(other, packed), 12);
  Attributes device;
  packed.Unpack(other.mode, 12, device);
  EXPECT_EQ(device.rdev, makedev(4, 64));
  EXPECT_EQ(device.size, 0u);
}

// A tree that nobody inside can change: nodes are found by name, and listings bring attributes.
class ReadOnlyTest : public testing::Test {
 protected:
  static constexpr int kDirectories = 6, kFiles = 150;
  static std::string FileName(int directory, int file) {
    return "d" + std::to_string(directory) + "/file-" + std::to_string(file);
  }
  ReadOnlyTest() {
    for (int d = 0; d < kDirectories; ++d) {
      std::filesystem::create_directory(host / ("d" + std::to_string(d)));
      for (int f = 0; f < kFiles; ++f) {
        host.Write(FileName(d, f), std::string(static_cast<size_t>(f), 'x'));
      }
    }
    // Descriptors for a part of the files only.
    getrlimit(RLIMIT_NOFILE, &before);
    rlimit few = before;
    few.rlim_cur = 400;
    setrlimit(RLIMIT_NOFILE, &few);
    server.emplace(std::vector<gofer::TestExport>{{host.path(), false}});
    client = Connect(std::move(server->client_socket), std::move(server->client_ring), hooks);
    t.emplace(*GoferFs::Create(*client, 0, {}));
    t->ctx.creds.fsuid = getuid();
    t->ctx.creds.fsgid = getgid();
  }
  ~ReadOnlyTest() override {
    t.reset();
    client.reset();
    server.reset();
    setrlimit(RLIMIT_NOFILE, &before);
  }
  void Compare(int d, int f) {
    struct stat st;
    ASSERT_EQ(lstat((host / FileName(d, f)).c_str(), &st), 0);
    const Result<Attributes> seen = t->Stat("/" + FileName(d, f));
    ASSERT_TRUE(seen.ok()) << seen.error().code();
    EXPECT_EQ(seen->ino, st.st_ino);
    EXPECT_EQ(seen->size, static_cast<uint64_t>(st.st_size));
    EXPECT_EQ(seen->mode, st.st_mode);
    EXPECT_EQ(seen->mtime.tv_nsec, st.st_mtim.tv_nsec);
  }

  TempDirectory host;
  rlimit before{};
  CountingHooks hooks;
  std::optional<gofer::TestServer> server;
  std::unique_ptr<GoferClient> client;
  std::optional<TestVfs> t;
};

TEST_F(ReadOnlyTest, ListingsBringWhatLooksFind) {
  for (int round = 0; round < 3; ++round) {
    for (int d = 0; d < kDirectories; ++d) {
      EXPECT_EQ(t->List("/d" + std::to_string(d)).size(), size_t{kFiles});
      for (int f = 0; f < kFiles; ++f) Compare(d, f);
      EXPECT_EQ(t->Errors("/d0/none"), ENOENT);
    }
    t->vfs.ShrinkCaches();
  }
}

TEST_F(ReadOnlyTest, MoreNamesThanDescriptors) {
  for (int round = 0; round < 2; ++round) {
    for (int d = 0; d < kDirectories; ++d) {
      for (int f = 0; f < kFiles; ++f) Compare(d, f);
    }
    EXPECT_GE(t->vfs.cached_names(), size_t{kDirectories * kFiles});
    for (int f = 0; f < kFiles; f += 10) {
      EXPECT_EQ(t->Read("/" + FileName(f % kDirectories, f)),
                std::string(static_cast<size_t>(f), 'x'));
    }
  }
}

TEST_F(ReadOnlyTest, AnotherFileOfTheNameIsFoundByOpen) {
  for (int d = 0; d < kDirectories; ++d) {
    t->List("/d" + std::to_string(d));
    for (int f = 0; f < 5; ++f) Compare(d, f);
  }
  const std::string name = FileName(kDirectories - 1, 7);
  Compare(kDirectories - 1, 7);  // Known by its listing only.
  host.Write("other", "another file");
  std::filesystem::rename(host / "other", host / name);
  EXPECT_EQ(t->Read("/" + name), "another file");
}

// Of the dentry and both inodes. Three tables take 8 to 24 bytes each beside that.
TEST_F(ReadOnlyTest, BytesOfACachedName) {
  constexpr int kNames = 4000;
  std::filesystem::create_directory(host / "many");
  // Of 17 bytes, which is the average of /usr/lib and /usr/share.
  const auto name = [](int i) { return "name-of-file-" + std::to_string(i + 1000); };
  for (int i = 0; i < kNames; ++i) host.Write("many/" + name(i), "");
  TestVfs o(*Overlay::Create(*GoferFs::Create(*client, 0, {}), Tmpfs::Create()));
  o.ctx.creds.fsuid = getuid();
  o.ctx.creds.fsgid = getgid();
  ASSERT_TRUE(o.Stat("/many").ok());
  const size_t before_names = Slab::BytesInUse();
  for (int i = 0; i < kNames; ++i) ASSERT_TRUE(o.Stat("/many/" + name(i)).ok());
  EXPECT_GE(o.vfs.cached_names(), size_t{kNames});
  const size_t bytes = (Slab::BytesInUse() - before_names) / kNames;
  printf("bytes of a cached name: %zu, and its places in tables\n", bytes);
  EXPECT_LE(bytes, 236u);  // 0 under a sanitizer.
}

}  // namespace
}  // namespace sentry
