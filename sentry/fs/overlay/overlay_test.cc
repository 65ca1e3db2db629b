#include "sentry/fs/overlay/overlay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "sentry/fs/overlay/listing.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/fs/vfs/vfs_test_util.h"

namespace sentry {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

// A tmpfs stands for the lower tree; `below` looks at it directly.
class OverlayTest : public testing::Test {
 protected:
  OverlayTest() {
    (void)below.vfs.Mkdir(below.ctx, "/d", 0755);
    (void)below.vfs.Mkdir(below.ctx, "/d/sub", 0755);
    (void)below.Write("/d/x", "lower x");
    (void)below.Write("/d/y", "lower y");
    (void)below.Write("/f", "lower f");
    (void)below.vfs.Link(below.ctx, *below.vfs.Walk(below.ctx, "/f", {}), "/hard");
    (void)below.vfs.Symlink(below.ctx, "f", "/link");
  }
  Ref<Inode> lower = Tmpfs::Create();
  TestVfs below{lower};
  TestVfs t{*Overlay::Create((below.ctx.root.dentry->inode_ref()), Tmpfs::Create())};
};

TEST_F(OverlayTest, ShowsTheLowerTree) {
  EXPECT_EQ(t.Read("/d/x"), "lower x");
  EXPECT_EQ(t.Read("/link"), "lower f");
  EXPECT_THAT(t.List("/"), UnorderedElementsAre("d", "f", "hard", "link"));
  EXPECT_EQ(t.Stat("/d")->dev, t.Stat("/f")->dev);
}

TEST_F(OverlayTest, CopiesUpOnWrite) {
  const Attributes before = *t.Stat("/f");
  const Ref<File> reader = *t.Open("/f", O_RDONLY);
  ASSERT_EQ(Code(t.Write("/f", "more", O_APPEND)), 0);
  EXPECT_EQ(t.Read("/f"), "lower fmore");
  EXPECT_EQ(below.Read("/f"), "lower f");
  EXPECT_EQ(*t.ReadFrom(*reader), "lower f");
  const Attributes after = *t.Stat("/f");
  EXPECT_EQ(after.ino, before.ino);
  EXPECT_EQ(after.dev, before.dev);
  EXPECT_EQ(after.nlink, 2u);
  EXPECT_EQ(reader->inode().GetAttributes()->size, 11u);
}

TEST_F(OverlayTest, KeepsHardLinksTogether) {
  ASSERT_EQ(Code(t.Write("/f", "changed")), 0);
  t.vfs.ShrinkCaches();
  EXPECT_EQ(t.Read("/hard"), "changed");
  EXPECT_EQ(t.Stat("/hard")->ino, t.Stat("/f")->ino);
  ASSERT_EQ(Code(t.vfs.Unlink(t.ctx, "/f")), 0);
  t.vfs.ShrinkCaches();
  EXPECT_EQ(t.Stat("/hard")->nlink, 1u);
  EXPECT_EQ(t.Read("/hard"), "changed");
}

TEST_F(OverlayTest, TruncatesWithoutCopying) {
  ASSERT_EQ(Code(t.Write("/f", "")), 0);
  EXPECT_EQ(t.Stat("/f")->size, 0u);
  EXPECT_EQ(t.Read("/f"), "");
}

TEST_F(OverlayTest, ChangesAttributesWithoutData) {
  ASSERT_EQ(Code(t.Chmod("/f", 0600)), 0);
  t.vfs.ShrinkCaches();
  EXPECT_EQ(t.Stat("/f")->mode, uint32_t{S_IFREG | 0600});
  EXPECT_EQ(t.Stat("/f")->size, 7u);
  EXPECT_EQ(t.Read("/f"), "lower f");
  ASSERT_EQ(Code(t.Write("/f", "!", O_APPEND)), 0);
  EXPECT_EQ(t.Read("/f"), "lower f!");
  EXPECT_EQ(below.Stat("/f")->mode, uint32_t{S_IFREG | 0644});
}

TEST_F(OverlayTest, WhitesOut) {
  ASSERT_EQ(Code(t.vfs.Unlink(t.ctx, "/d/x")), 0);
  t.vfs.ShrinkCaches();
  EXPECT_EQ(t.Errors("/d/x"), ENOENT);
  EXPECT_THAT(t.List("/d"), UnorderedElementsAre("sub", "y"));
  EXPECT_EQ(below.Read("/d/x"), "lower x");
  ASSERT_EQ(Code(t.Write("/d/x", "new x")), 0);
  EXPECT_THAT(t.List("/d"), UnorderedElementsAre("sub", "x", "y"));
  ASSERT_EQ(Code(t.vfs.Unlink(t.ctx, "/d/x")), 0);
  t.vfs.ShrinkCaches();
  EXPECT_EQ(t.Errors("/d/x"), ENOENT);
}

TEST_F(OverlayTest, NewDirectoriesAreOpaque) {
  EXPECT_EQ(Code(t.vfs.Rmdir(t.ctx, "/d")), ENOTEMPTY);
  ASSERT_EQ(Code(t.vfs.Unlink(t.ctx, "/d/x")), 0);
  ASSERT_EQ(Code(t.vfs.Unlink(t.ctx, "/d/y")), 0);
  ASSERT_EQ(Code(t.vfs.Rmdir(t.ctx, "/d/sub")), 0);
  ASSERT_EQ(Code(t.vfs.Rmdir(t.ctx, "/d")), 0);
  ASSERT_EQ(Code(t.vfs.Mkdir(t.ctx, "/d", 0755)), 0);
  t.vfs.ShrinkCaches();
  EXPECT_THAT(t.List("/d"), ElementsAre());
  EXPECT_EQ(t.Errors("/d/x"), ENOENT);
}

TEST_F(OverlayTest, MergesListings) {
  ASSERT_EQ(Code(t.Write("/d/new", "")), 0);
  ASSERT_EQ(Code(t.Write("/d/y", "changed")), 0);
  EXPECT_THAT(t.List("/d"), UnorderedElementsAre("sub", "x", "y", "new"));
  const Ref<File> directory = *t.Open("/d", O_RDONLY | O_DIRECTORY);
  std::vector<std::string> names;
  // One at a time: every position can be resumed.
  for (bool more = true; more;) {
    more = false;
    ASSERT_EQ(Code(directory->ReadDir([&](const DirEntry& entry) {
                if (more) return false;
                names.push_back(entry.name);
                return more = true;
              })),
              0);
  }
  EXPECT_EQ(names.size(), 6u);
  ASSERT_EQ(*directory->Seek(0, SEEK_SET), 0);
  int again = 0;
  ASSERT_EQ(Code(directory->ReadDir([&](const DirEntry& entry) { return ++again > 0; })), 0);
  EXPECT_EQ(again, 6);
}

TEST_F(OverlayTest, RenamesFilesAndDirectories) {
  EXPECT_EQ(t.Rename("/d/x", "/moved"), 0);
  EXPECT_EQ(t.Rename("/d", "/e"), 0);
  t.vfs.ShrinkCaches();
  EXPECT_EQ(t.Read("/moved"), "lower x");
  EXPECT_EQ(t.Read("/e/y"), "lower y");
  EXPECT_EQ(t.Errors("/d"), ENOENT);
  EXPECT_EQ(t.Errors("/e/x"), ENOENT);
  EXPECT_THAT(t.List("/"), UnorderedElementsAre("e", "f", "hard", "link", "moved"));
  EXPECT_EQ(t.Rename("/e", "/e/sub/deep"), EINVAL);
  EXPECT_EQ(t.Rename("/moved", "/e/y"), 0);
  EXPECT_EQ(t.Read("/e/y"), "lower x");
  EXPECT_EQ(t.Rename("/e", "/f", RENAME_EXCHANGE), 0);
  EXPECT_EQ(t.Read("/e"), "lower f");
  EXPECT_EQ(t.Read("/f/y"), "lower x");
  EXPECT_EQ(below.Read("/d/x"), "lower x");
}

TEST_F(OverlayTest, CountsSubdirectories) {
  EXPECT_EQ(t.Stat("/d")->nlink, 3u);
  ASSERT_EQ(Code(t.vfs.Mkdir(t.ctx, "/d/two", 0755)), 0);
  EXPECT_EQ(t.Stat("/d")->nlink, 4u);
  EXPECT_EQ(t.Stat("/d/two")->nlink, 2u);
  EXPECT_EQ(t.Rename("/d/sub", "/sub"), 0);
  EXPECT_EQ(t.Stat("/d")->nlink, 3u);
}

TEST_F(OverlayTest, LinksLowerFiles) {
  ASSERT_EQ(Code(t.vfs.Link(t.ctx, *t.vfs.Walk(t.ctx, "/d/x", {}), "/xx")), 0);
  ASSERT_EQ(Code(t.Write("/xx", "both")), 0);
  t.vfs.ShrinkCaches();
  EXPECT_EQ(t.Read("/d/x"), "both");
  EXPECT_EQ(t.Stat("/d/x")->nlink, 2u);
}

TEST_F(OverlayTest, KeepsXattrsAndTimes) {
  const Path lower_path = *below.vfs.Walk(below.ctx, "/f", {});
  ASSERT_EQ(Code(below.vfs.SetXattr(below.ctx, lower_path, "user.a", "1", 0)), 0);
  AttributeChange change;
  change.mtime = timespec{.tv_sec = 1000, .tv_nsec = 5};
  ASSERT_EQ(Code(below.vfs.SetAttributes(below.ctx, lower_path, change)), 0);
  const Path path = *t.vfs.Walk(t.ctx, "/f", {});
  ASSERT_EQ(Code(t.vfs.SetXattr(t.ctx, path, "user.b", "2", 0)), 0);
  EXPECT_THAT(*t.vfs.ListXattr(t.ctx, path), UnorderedElementsAre("user.a", "user.b"));
  EXPECT_EQ(t.Stat("/f")->mtime.tv_sec, 1000);
  ASSERT_TRUE(t.Open("/f", O_RDWR).ok());
  EXPECT_EQ(t.Stat("/f")->mtime.tv_nsec, 5);
}

TEST_F(OverlayTest, CopiesHolesAsHoles) {
  const Ref<File> file = *below.Open("/sparse", O_CREAT | O_RDWR);
  ASSERT_EQ(Code(file->Truncate(1 << 30)), 0);
  ASSERT_EQ(*file->Seek(1 << 20, SEEK_SET), 1 << 20);
  ASSERT_EQ(*t.WriteTo(*file, "middle"), 6u);
  const Ref<File> copy = *t.Open("/sparse", O_RDWR);
  EXPECT_EQ(t.Stat("/sparse")->size, uint64_t{1} << 30);
  EXPECT_LE(t.Stat("/sparse")->blocks, 16u);
  ASSERT_EQ(*copy->Seek(0, SEEK_DATA), 1 << 20);
  EXPECT_EQ(*t.ReadFrom(*copy, 6), "middle");
}

TEST(Listing, IsWhatWasAdded) {
  Listing listing;
  listing.Add({.name = "a", .ino = 1, .type = 8, .next = 0});
  listing.Add({.name = std::string(255, 'n'), .ino = UINT64_MAX, .type = 4, .next = 0});
  listing.Finish();
  ASSERT_EQ(listing.size(), 2u);
  DirEntry entry;
  listing.Get(1, entry);
  EXPECT_EQ(entry.name, std::string(255, 'n'));
  EXPECT_EQ(entry.ino, UINT64_MAX);
  EXPECT_EQ(entry.type, 4);
  listing.Get(0, entry);
  EXPECT_EQ(entry.name, "a");
  EXPECT_LT(listing.bytes(), 700u);
}

}  // namespace
}  // namespace sentry
