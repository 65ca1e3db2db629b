#include "sentry/fs/tmpfs/tmpfs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sentry/fs/vfs/vfs_test_util.h"

namespace sentry {
namespace {

using testing::ElementsAre;

class TmpfsTest : public testing::Test {
 protected:
  TestVfs t{Tmpfs::Create()};
};

TEST_F(TmpfsTest, KeepsSmallAndLargeData) {
  ASSERT_EQ(Code(t.Write("/small", "abc")), 0);
  EXPECT_EQ(t.Read("/small"), "abc");
  const std::string large(700'000, 'x');
  ASSERT_EQ(Code(t.Write("/small", large, O_APPEND)), 0);
  EXPECT_EQ(t.Read("/small"), "abc" + large);
  EXPECT_EQ(t.Stat("/small")->size, 700'003u);
}

TEST_F(TmpfsTest, IsSparse) {
  const Ref<File> file = *t.Open("/f", O_CREAT | O_RDWR);
  ASSERT_EQ(Code(file->Truncate(uint64_t{1} << 40)), 0);
  ASSERT_EQ(*file->Seek(int64_t{1} << 30, SEEK_SET), int64_t{1} << 30);
  ASSERT_EQ(*t.WriteTo(*file, "data"), 4u);
  EXPECT_EQ(*file->Seek(0, SEEK_DATA), int64_t{1} << 30);
  EXPECT_EQ(*file->Seek(int64_t{1} << 30, SEEK_HOLE), (int64_t{1} << 30) + 4096);
  EXPECT_EQ(file->inode().GetAttributes()->blocks, 8u);
  ASSERT_EQ(Code(file->Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 30, 4096)), 0);
  EXPECT_EQ(file->inode().GetAttributes()->blocks, 0u);
  EXPECT_EQ(Code(file->Allocate(FALLOC_FL_ZERO_RANGE, 0, 1)), EOPNOTSUPP);
}

TEST_F(TmpfsTest, SharesItsDataWithMappings) {
  const Ref<File> file = *t.Open("/f", O_CREAT | O_RDWR);
  ASSERT_EQ(*t.WriteTo(*file, "before"), 6u);
  const int fd = *file->HostFdForMapping(true);
  void* const map = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  ASSERT_NE(map, MAP_FAILED);
  EXPECT_EQ(std::string(static_cast<char*>(map), 6), "before");
  static_cast<char*>(map)[0] = 'B';
  EXPECT_EQ(t.Read("/f"), "Before");
  munmap(map, 4096);
}

TEST_F(TmpfsTest, AppendsUnlessItIsToldNotTo) {
  const Ref<File> file = *t.Open("/f", O_CREAT | O_RDWR | O_APPEND);
  ASSERT_EQ(*t.WriteTo(*file, "one"), 3u);
  ASSERT_EQ(*file->Seek(0, SEEK_SET), 0);
  ASSERT_EQ(*t.WriteTo(*file, "two"), 3u);
  EXPECT_EQ(*file->Seek(0, SEEK_CUR), 6);
  // What pwrite(2) does, and with RWF_NOAPPEND; then writev(2) with that.
  const auto write = [](std::string_view text, auto how) {
    IoSrc src(std::as_bytes(std::span(text)));
    return how(src);
  };
  const auto at = [&](int64_t offset) {
    return [&file, offset](IoSrc& src) { return file->WriteAt(src, offset); };
  };
  ASSERT_EQ(*write("three", at(SeekableFile::kAppend)), 5u);
  EXPECT_EQ(t.Read("/f"), "onetwothree");
  ASSERT_EQ(*write("ONE", at(0)), 3u);
  EXPECT_EQ(t.Read("/f"), "ONEtwothree");
  ASSERT_EQ(*file->Seek(3, SEEK_SET), 3);
  ASSERT_EQ(*write("TWO", [&](IoSrc& src) { return file->WriteOnce(src, false); }), 3u);
  EXPECT_EQ(*file->Seek(0, SEEK_CUR), 6);
  EXPECT_EQ(t.Read("/f"), "ONETWOthree");
}

TEST_F(TmpfsTest, EnforcesItsSize) {
  TestVfs small(Tmpfs::Create({.size = 64 * 1024, .inodes = 3}));
  const std::string text(200'000, 'x');
  EXPECT_NE(Code(small.Write("/f", text)), 0);
  EXPECT_LE(small.Stat("/f")->size, 64u * 1024);
  ASSERT_EQ(Code(small.vfs.Unlink(small.ctx, "/f")), 0);
  ASSERT_EQ(Code(small.Write("/f", std::string(40'000, 'x'))), 0);
  EXPECT_EQ(Code(small.Write("/g", "")), 0);
  EXPECT_EQ(Code(small.Write("/h", "")), ENOSPC);
}

TEST_F(TmpfsTest, ListsStablyWhileNamesVanish) {
  for (int i = 0; i < 500; ++i) ASSERT_EQ(Code(t.Write("/" + std::to_string(i), "")), 0);
  const Ref<File> directory = *t.Open("/", O_RDONLY | O_DIRECTORY);
  std::vector<std::string> seen;
  for (bool more = true; more;) {
    more = false;
    int room = 10;
    ASSERT_EQ(Code(directory->ReadDir([&](const DirEntry& entry) {
                if (room-- == 0) {
                  more = true;
                  return false;
                }
                seen.push_back(entry.name);
                return true;
              })),
              0);
    // What rm -r does: it removes what it has just read.
    for (const std::string& name : seen) (void)t.vfs.Unlink(t.ctx, "/" + name);
  }
  EXPECT_EQ(seen.size(), 502u);
  EXPECT_THAT(t.List("/"), ElementsAre());
}

TEST_F(TmpfsTest, CountsLinks) {
  ASSERT_EQ(Code(t.Write("/f", "x")), 0);
  ASSERT_EQ(Code(t.vfs.Link(t.ctx, *t.vfs.Walk(t.ctx, "/f", {}), "/g")), 0);
  EXPECT_EQ(t.Stat("/g")->nlink, 2u);
  EXPECT_EQ(t.Stat("/g")->ino, t.Stat("/f")->ino);
  ASSERT_EQ(Code(t.vfs.Unlink(t.ctx, "/f")), 0);
  EXPECT_EQ(t.Stat("/g")->nlink, 1u);
  EXPECT_EQ(t.Read("/g"), "x");
}

TEST_F(TmpfsTest, HasXattrs) {
  ASSERT_EQ(Code(t.Write("/f", "x")), 0);
  const Path path = *t.vfs.Walk(t.ctx, "/f", {});
  EXPECT_EQ(Code(t.vfs.GetXattr(t.ctx, path, "user.a")), ENODATA);
  EXPECT_EQ(Code(t.vfs.SetXattr(t.ctx, path, "user.a", "1", 0)), 0);
  EXPECT_EQ(Code(t.vfs.SetXattr(t.ctx, path, "user.a", "1", 1)), EEXIST);
  EXPECT_EQ(*t.vfs.GetXattr(t.ctx, path, "user.a"), "1");
  EXPECT_THAT(*t.vfs.ListXattr(t.ctx, path), ElementsAre("user.a"));
  EXPECT_EQ(Code(t.vfs.SetXattr(t.ctx, path, "odd.a", "1", 0)), EOPNOTSUPP);
  EXPECT_EQ(Code(t.vfs.RemoveXattr(t.ctx, path, "user.a")), 0);
}

TEST_F(TmpfsTest, SealsMemfds) {
  const Ref<File> file = *CreateMemfd("name", MFD_ALLOW_SEALING, 0, 0);
  ASSERT_EQ(*t.WriteTo(*file, "data"), 4u);
  EXPECT_EQ(*file->GetSeals(), 0);
  ASSERT_EQ(Code(file->AddSeals(F_SEAL_WRITE | F_SEAL_SHRINK)), 0);
  EXPECT_EQ(Code(t.WriteTo(*file, "more")), EPERM);
  EXPECT_EQ(Code(file->Truncate(0)), EPERM);
  EXPECT_EQ(file->AnonymousName(), "/memfd:name (deleted)");
  EXPECT_EQ(Code(CreateMemfd(std::string(250, 'x'), 0, 0, 0)), EINVAL);
}

}  // namespace
}  // namespace sentry
