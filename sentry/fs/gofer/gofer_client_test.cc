#include "sentry/fs/gofer/gofer_client.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <map>
#include <set>

#include "gmock/gmock.h"
#include "gofer/server/test_server.h"
#include "gtest/gtest.h"
#include "sentry/fs/gofer/gofer_test_util.h"

namespace sentry {
namespace {

using gofer::NodeId;
using gofer::RootNode;
using ::testing::ElementsAre;

constexpr NodeId kRoot = RootNode(0);
constexpr NodeId kReadOnly = RootNode(1);

template <typename T>
int ErrorOf(const Result<T>& result) {
  return result.ok() ? 0 : result.error().code();
}

class GoferClientTest : public ::testing::Test {
 protected:
  GoferClientTest()
      : server_({{dir_.path(), true}, {read_only_.path(), false}}),
        client_(Connect(std::move(server_.client_socket), std::move(server_.client_ring), hooks_)) {
  }

  NodeId Find(NodeId parent, std::string_view name) {
    auto node = client_->Lookup(parent, name);
    EXPECT_TRUE(node.ok()) << name;
    return node->id;
  }
  NodeId Find(std::string_view name) { return Find(kRoot, name); }

  TempDirectory dir_;
  TempDirectory read_only_;
  CountingHooks hooks_;
  gofer::TestServer server_;
  std::unique_ptr<GoferClient> client_;
};

TEST_F(GoferClientTest, WalksSeveralComponents) {
  std::filesystem::create_directories(dir_ / "a/b/c");
  dir_.Write("a/b/c/file", "text");
  const std::string_view names[] = {"a", "b", "c", "file"};
  auto walk = client_->Walk(kRoot, names);
  ASSERT_TRUE(walk.ok());
  ASSERT_EQ(walk->nodes.size(), 4u);
  EXPECT_EQ(walk->stop, 0);
  EXPECT_TRUE(S_ISDIR(walk->nodes[2].attr.mode));
  EXPECT_EQ(walk->nodes[3].attr.size, 4u);
}

TEST_F(GoferClientTest, AWalkSaysWhereItStopped) {
  std::filesystem::create_directory(dir_ / "a");
  dir_.Write("file", "");
  std::filesystem::create_symlink("/etc", dir_ / "a/link");
  const std::string_view missing[] = {"a", "no", "more"};
  auto walk = client_->Walk(kRoot, missing);
  ASSERT_TRUE(walk.ok());
  EXPECT_EQ(walk->nodes.size(), 1u);
  EXPECT_EQ(walk->stop, ENOENT);
  const std::string_view through_file[] = {"file", "x"};
  walk = client_->Walk(kRoot, through_file);
  EXPECT_EQ(walk->nodes.size(), 1u);
  EXPECT_EQ(walk->stop, ENOTDIR);
  const std::string_view through_link[] = {"a", "link", "passwd"};
  walk = client_->Walk(kRoot, through_link);
  ASSERT_EQ(walk->nodes.size(), 2u);
  EXPECT_EQ(walk->stop, 0);
  EXPECT_TRUE(S_ISLNK(walk->nodes[1].attr.mode));
  EXPECT_EQ(ErrorOf(client_->Walk(walk->nodes[1].id, missing)), ENOTDIR);
}

TEST_F(GoferClientTest, NamesAreSingleComponents) {
  std::filesystem::create_directories(dir_ / "a/b");
  for (std::string_view name : {"", ".", "..", "a/b", "/", "a/..", "/etc"}) {
    EXPECT_EQ(ErrorOf(client_->Lookup(kRoot, name)), EINVAL) << name;
    EXPECT_EQ(ErrorOf(client_->Mkdir(kRoot, name, {.mode = 0700})), EINVAL) << name;
    EXPECT_EQ(ErrorOf(client_->Unlink(kRoot, name, GoferClient::UnlinkKind::kFile)), EINVAL);
    EXPECT_EQ(ErrorOf(client_->Rename(kRoot, "a", kRoot, name, 0)), EINVAL) << name;
    EXPECT_EQ(ErrorOf(client_->CreateFile(kRoot, name, O_RDWR, {})), EINVAL) << name;
    EXPECT_EQ(ErrorOf(client_->Symlink(kRoot, name, "x", {})), EINVAL) << name;
  }
  EXPECT_EQ(ErrorOf(client_->Lookup(kRoot, std::string(256, 'x'))), ENAMETOOLONG);
  EXPECT_EQ(ErrorOf(client_->Lookup(kRoot, std::string_view("a\0b", 3))), EINVAL);
}

TEST_F(GoferClientTest, AttributesAreTheHosts) {
  dir_.Write("file", "12345");
  ASSERT_EQ(chmod((dir_ / "file").c_str(), 04751), 0);
  struct stat st;
  ASSERT_EQ(stat((dir_ / "file").c_str(), &st), 0);
  auto attr = client_->GetAttr(Find("file"));
  ASSERT_TRUE(attr.ok());
  EXPECT_EQ(attr->mode, st.st_mode);
  EXPECT_EQ(attr->ino, st.st_ino);
  EXPECT_EQ(attr->dev, st.st_dev);
  EXPECT_EQ(attr->size, 5u);
  EXPECT_EQ(attr->nlink, 1u);
  EXPECT_EQ(attr->blocks, static_cast<uint64_t>(st.st_blocks));
  EXPECT_EQ(attr->mtime.seconds, st.st_mtim.tv_sec);
  EXPECT_EQ(attr->mtime.nanoseconds, st.st_mtim.tv_nsec);
}

TEST_F(GoferClientTest, OpensRegularFilesOnly) {
  dir_.Write("file", "text");
  std::filesystem::create_directory(dir_ / "sub");
  std::filesystem::create_symlink("file", dir_ / "link");
  ASSERT_EQ(mkfifo((dir_ / "fifo").c_str(), 0600), 0);
  const NodeId file = Find("file");
  auto fd = client_->Open(file, O_RDWR);
  ASSERT_TRUE(fd.ok());
  char text[8];
  EXPECT_EQ(read(fd->get(), text, sizeof(text)), 4);
  EXPECT_EQ(fcntl(fd->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(ErrorOf(client_->Open(file, O_RDONLY | O_DIRECTORY)), ENOTDIR);
  EXPECT_EQ(ErrorOf(client_->Open(Find("sub"), O_RDONLY)), EISDIR);
  EXPECT_EQ(ErrorOf(client_->Open(Find("link"), O_RDONLY)), ELOOP);
  EXPECT_EQ(ErrorOf(client_->Open(Find("fifo"), O_RDONLY)), ENXIO);
  // Still the same file under another name, and truncated.
  std::filesystem::rename(dir_ / "file", dir_ / "moved");
  EXPECT_TRUE(client_->Open(file, O_WRONLY | O_TRUNC).ok());
  EXPECT_EQ(std::filesystem::file_size(dir_ / "moved"), 0u);
}

std::map<std::string, GoferClient::Attr> List(GoferClient& client, NodeId directory,
                                              GoferClient::Attributes attributes) {
  std::map<std::string, GoferClient::Attr> found;
  GoferDirectoryCursor cursor{.directory = directory};
  while (!cursor.at_end) {
    const Status status = client.ReadDir(cursor, attributes, [&](const GoferDirectoryEntry& e) {
      EXPECT_TRUE(found.emplace(e.name, e.attr != nullptr ? *e.attr : GoferClient::Attr{}).second);
    });
    EXPECT_TRUE(status.ok());
    if (!status.ok()) break;
  }
  return found;
}

TEST_F(GoferClientTest, ListsDirectories) {
  std::filesystem::create_directory(dir_ / "sub");
  dir_.Write("file", "123");
  const auto plain = List(*client_, kRoot, GoferClient::Attributes::kNo);
  EXPECT_EQ(plain.size(), 4u);
  const auto full = List(*client_, kRoot, GoferClient::Attributes::kYes);
  ASSERT_EQ(full.size(), 4u);
  EXPECT_EQ(full.at("file").size, 3u);
  EXPECT_TRUE(S_ISDIR(full.at("sub").mode));
  EXPECT_TRUE(S_ISDIR(full.at(".").mode));
  EXPECT_EQ(full.at("..").mode, 0u);  // The root's parent is nobody's business.
}

TEST_F(GoferClientTest, ListsDirectoriesOfManyMessages) {
  constexpr int kFiles = 3000;
  for (int i = 0; i < kFiles; ++i) {
    dir_.Write("file" + std::string(i % 200, 'x') + std::to_string(i), "");
  }
  for (auto attributes : {GoferClient::Attributes::kNo, GoferClient::Attributes::kYes}) {
    EXPECT_EQ(List(*client_, kRoot, attributes).size(), kFiles + 2u);
  }
}

TEST_F(GoferClientTest, AListingCanSeek) {
  for (int i = 0; i < 3000; ++i) dir_.Write("name-of-a-file-" + std::to_string(i), "");
  GoferDirectoryCursor cursor{.directory = kRoot};
  std::vector<std::pair<std::string, uint64_t>> first;
  auto collect = [&](const GoferDirectoryEntry& e) { first.emplace_back(e.name, e.offset); };
  ASSERT_TRUE(client_->ReadDir(cursor, GoferClient::Attributes::kNo, collect).ok());
  ASSERT_FALSE(cursor.at_end);
  cursor.offset = first[9].second;
  std::vector<std::string> second;
  ASSERT_TRUE(client_
                  ->ReadDir(cursor, GoferClient::Attributes::kNo,
                            [&](const GoferDirectoryEntry& e) { second.emplace_back(e.name); })
                  .ok());
  EXPECT_EQ(second[0], first[10].first);
  const NodeId stream = cursor.stream;
  EXPECT_EQ(ErrorOf(client_->GetAttr(stream)), EBADF);  // Good for reading on only.
  client_->CloseDirectory(cursor);
  EXPECT_EQ(ErrorOf(client_->GetAttr(stream)), ESTALE);
}

TEST_F(GoferClientTest, CreatesFiles) {
  auto created = client_->CreateFile(kRoot, "new", O_RDWR, {.mode = 04755, .uid = 12, .gid = 34});
  ASSERT_TRUE(created.ok());
  EXPECT_EQ(write(created->fd.get(), "abc", 3), 3);
  EXPECT_EQ(dir_.Read("new"), "abc");
  EXPECT_EQ(created->node.attr.mode, S_IFREG | 04755u);
  EXPECT_EQ(created->node.attr.uid, 12u);
  EXPECT_EQ(created->node.attr.gid, 34u);
  EXPECT_EQ(client_->GetAttr(created->node.id)->size, 3u);
  EXPECT_EQ(ErrorOf(client_->CreateFile(kRoot, "new", O_RDWR, {})), EEXIST);
  std::filesystem::create_symlink("/tmp/gofer_test_escape", dir_ / "dangling");
  EXPECT_EQ(ErrorOf(client_->CreateFile(kRoot, "dangling", O_RDWR, {})), EEXIST);
}

TEST_F(GoferClientTest, MakesOtherKinds) {
  auto directory = client_->Mkdir(kRoot, "sub", {.mode = 0777, .uid = 5, .gid = 6});
  ASSERT_TRUE(directory.ok());
  EXPECT_EQ(directory->attr.mode, S_IFDIR | 0777u);
  EXPECT_EQ(directory->attr.uid, 5u);
  EXPECT_TRUE(client_->Mknod(directory->id, "fifo", {.mode = S_IFIFO | 0640}).ok());
  EXPECT_TRUE(client_->Mknod(directory->id, "socket", {.mode = S_IFSOCK | 0640}).ok());
  EXPECT_TRUE(client_->Mknod(directory->id, "file", {.mode = S_IFREG | 0640}).ok());
  EXPECT_EQ(ErrorOf(client_->Mknod(directory->id, "dev", {.mode = S_IFCHR | 0640})), EPERM);
  EXPECT_EQ(ErrorOf(client_->Mknod(directory->id, "dir", {.mode = S_IFDIR | 0640})), EPERM);
  auto link = client_->Symlink(directory->id, "link", "/some/where", {.uid = 7, .gid = 8});
  ASSERT_TRUE(link.ok());
  EXPECT_EQ(link->attr.uid, 7u);
  EXPECT_EQ(*client_->ReadLink(link->id), "/some/where");
  EXPECT_EQ(ErrorOf(client_->ReadLink(directory->id)), EINVAL);
  EXPECT_EQ(List(*client_, directory->id, GoferClient::Attributes::kNo).size(), 6u);
}

TEST_F(GoferClientTest, LinksAndUnlinks) {
  dir_.Write("file", "x");
  std::filesystem::create_symlink("nowhere", dir_ / "symlink");
  auto attr = client_->Link(Find("file"), kRoot, "second");
  ASSERT_TRUE(attr.ok());
  EXPECT_EQ(attr->nlink, 2u);
  ASSERT_TRUE(client_->Link(Find("symlink"), kRoot, "symlink2").ok());
  EXPECT_TRUE(std::filesystem::is_symlink(dir_ / "symlink2"));
  EXPECT_EQ(ErrorOf(client_->Link(Find("file"), kReadOnly, "x")), EXDEV);
  EXPECT_EQ(ErrorOf(client_->Link(kRoot, kRoot, "x")), EPERM);
  std::filesystem::create_directory(dir_ / "sub");
  using Kind = GoferClient::UnlinkKind;
  EXPECT_EQ(ErrorOf(client_->Unlink(kRoot, "sub", Kind::kFile)), EISDIR);
  EXPECT_EQ(ErrorOf(client_->Unlink(kRoot, "file", Kind::kDirectory)), ENOTDIR);
  EXPECT_TRUE(client_->Unlink(kRoot, "sub", Kind::kDirectory).ok());
  const NodeId file = Find("file");
  EXPECT_TRUE(client_->Unlink(kRoot, "file", Kind::kFile).ok());
  EXPECT_EQ(client_->GetAttr(file)->nlink, 1u);
  EXPECT_EQ(ErrorOf(client_->Lookup(kRoot, "file")), ENOENT);
}

TEST_F(GoferClientTest, Renames) {
  dir_.Write("a", "1");
  dir_.Write("b", "2");
  std::filesystem::create_directory(dir_ / "sub");
  const NodeId sub = Find("sub");
  EXPECT_EQ(ErrorOf(client_->Rename(kRoot, "a", kRoot, "b", RENAME_NOREPLACE)), EEXIST);
  EXPECT_TRUE(client_->Rename(kRoot, "a", kRoot, "b", RENAME_EXCHANGE).ok());
  EXPECT_EQ(dir_.Read("a"), "2");
  EXPECT_TRUE(client_->Rename(kRoot, "a", sub, "c", 0).ok());
  EXPECT_EQ(dir_.Read("sub/c"), "2");
  EXPECT_EQ(ErrorOf(client_->Rename(kRoot, "b", kRoot, "w", RENAME_WHITEOUT)), EINVAL);
  EXPECT_EQ(ErrorOf(client_->Rename(kRoot, "b", kReadOnly, "b", 0)), EXDEV);
}

TEST_F(GoferClientTest, SetsAttributes) {
  dir_.Write("file", "12345678");
  const NodeId file = Find("file");
  auto attr =
      client_->SetAttr(file, {.valid = gofer::kSetMode | gofer::kSetUid | gofer::kSetGid |
                                       gofer::kSetSize | gofer::kSetAtime | gofer::kSetMtime,
                              .mode = 06711,
                              .uid = 1,
                              .gid = 2,
                              .size = 3,
                              .atime = {.seconds = 1000, .nanoseconds = 1},
                              .mtime = {.seconds = 2000, .nanoseconds = 2}});
  ASSERT_TRUE(attr.ok());
  EXPECT_EQ(attr->mode, S_IFREG | 06711u);
  EXPECT_EQ(attr->uid, 1u);
  EXPECT_EQ(attr->gid, 2u);
  EXPECT_EQ(attr->atime.seconds, 1000);
  EXPECT_EQ(attr->mtime.nanoseconds, 2u);
  attr = client_->SetAttr(file, {.valid = gofer::kSetMtimeNow});
  EXPECT_GT(attr->mtime.seconds, 2000);
  EXPECT_EQ(attr->atime.seconds, 1000);
  EXPECT_EQ(dir_.Read("file"), "123");
  EXPECT_EQ(ErrorOf(client_->SetAttr(
                file, {.valid = gofer::kSetAtime, .atime = {.nanoseconds = 2'000'000'000}})),
            EINVAL);
  EXPECT_EQ(ErrorOf(client_->SetAttr(kRoot, {.valid = gofer::kSetSize})), EISDIR);
  // A symlink's own owner and times, never its target's.
  std::filesystem::create_symlink("file", dir_ / "link");
  const NodeId link = Find("link");
  ASSERT_TRUE(client_->SetAttr(link, {.valid = gofer::kSetUid | gofer::kSetMtime, .uid = 9}).ok());
  EXPECT_EQ(client_->GetAttr(link)->uid, 9u);
  EXPECT_EQ(client_->GetAttr(file)->uid, 1u);
  EXPECT_EQ(ErrorOf(client_->SetAttr(link, {.valid = gofer::kSetMode})), EOPNOTSUPP);
}

TEST_F(GoferClientTest, ExtendedAttributes) {
  dir_.Write("file", "");
  const NodeId file = Find("file");
  if (setxattr((dir_ / "file").c_str(), "user.probe", "", 0, 0) != 0) {
    GTEST_SKIP() << "no extended attributes in /tmp";
  }
  EXPECT_TRUE(client_->SetXattr(file, "user.a", std::string_view("v\0w", 3), 0).ok());
  EXPECT_EQ(ErrorOf(client_->SetXattr(file, "user.a", "v", XATTR_CREATE)), EEXIST);
  EXPECT_EQ(*client_->GetXattr(file, "user.a"), std::string("v\0w", 3));
  EXPECT_EQ(ErrorOf(client_->GetXattr(file, "user.b")), ENODATA);
  EXPECT_THAT(*client_->ListXattr(file), ::testing::HasSubstr(std::string("user.a\0", 7)));
  EXPECT_TRUE(client_->RemoveXattr(file, "user.a").ok());
  EXPECT_EQ(ErrorOf(client_->GetXattr(file, "user.a")), ENODATA);
  EXPECT_EQ(ErrorOf(client_->SetXattr(file, "trusted.overlay.x", "y", 0)), EPERM);
  EXPECT_EQ(ErrorOf(client_->RemoveXattr(file, "security.selinux")), EPERM);
  const std::string large(gofer::kMaxXattrValue + 1, 'x');
  EXPECT_EQ(ErrorOf(client_->SetXattr(file, "user.large", large, 0)), E2BIG);
}

TEST_F(GoferClientTest, StatFs) {
  auto stat = client_->StatFs(kRoot);
  ASSERT_TRUE(stat.ok());
  EXPECT_GT(stat->block_size, 0u);
  EXPECT_EQ(stat->name_length, 255u);
}

TEST_F(GoferClientTest, DirectoriesAreSynced) {
  dir_.Write("file", "text");
  EXPECT_TRUE(client_->Sync(kRoot).ok());
  EXPECT_TRUE(client_->Sync(kReadOnly).ok());  // Linux asks for no right to write either.
  EXPECT_EQ(ErrorOf(client_->Sync(Find(kRoot, "file"))), ENOTDIR);
}

TEST_F(GoferClientTest, AReadOnlyExportIsReadOnly) {
  read_only_.Write("file", "text");
  std::filesystem::create_directory(read_only_ / "sub");
  const NodeId file = Find(kReadOnly, "file");
  GoferClient& c = *client_;
  EXPECT_TRUE(c.Open(file, O_RDONLY).ok());
  EXPECT_EQ(ErrorOf(c.Open(file, O_WRONLY)), EROFS);
  EXPECT_EQ(ErrorOf(c.Open(file, O_RDWR)), EROFS);
  EXPECT_EQ(ErrorOf(c.Open(file, O_RDONLY | O_TRUNC)), EROFS);
  EXPECT_EQ(ErrorOf(c.SetAttr(file, {.valid = gofer::kSetMode, .mode = 0})), EROFS);
  EXPECT_EQ(ErrorOf(c.CreateFile(kReadOnly, "n", O_RDONLY, {})), EROFS);
  EXPECT_EQ(ErrorOf(c.Mkdir(kReadOnly, "n", {})), EROFS);
  EXPECT_EQ(ErrorOf(c.Mknod(kReadOnly, "n", {.mode = S_IFREG})), EROFS);
  EXPECT_EQ(ErrorOf(c.Symlink(kReadOnly, "n", "x", {})), EROFS);
  EXPECT_EQ(ErrorOf(c.Link(file, kReadOnly, "n")), EROFS);
  EXPECT_EQ(ErrorOf(c.Link(file, kRoot, "n")), EROFS);
  EXPECT_EQ(ErrorOf(c.Unlink(kReadOnly, "file", GoferClient::UnlinkKind::kFile)), EROFS);
  EXPECT_EQ(ErrorOf(c.Rename(kReadOnly, "file", kRoot, "n", 0)), EROFS);
  EXPECT_EQ(ErrorOf(c.Rename(kReadOnly, "file", kReadOnly, "n", 0)), EROFS);
  EXPECT_EQ(ErrorOf(c.SetXattr(file, "user.a", "b", 0)), EROFS);
  EXPECT_EQ(ErrorOf(c.RemoveXattr(file, "user.a")), EROFS);
  EXPECT_EQ(read_only_.Read("file"), "text");
}

TEST_F(GoferClientTest, ForgottenIdsAreStale) {
  dir_.Write("file", "");
  const NodeId file = Find("file");
  client_->Forget(file);
  EXPECT_EQ(ErrorOf(client_->GetAttr(file)), ESTALE);
  EXPECT_EQ(ErrorOf(client_->GetAttr(gofer::MakeNodeId(99999, 1))), EBADF);
  EXPECT_EQ(ErrorOf(client_->GetAttr(NodeId::kNone)), ESTALE);
  client_->Forget(kRoot);  // A root stays.
  EXPECT_TRUE(client_->GetAttr(kRoot).ok());
  // The descriptors come back, in whatever number they are forgotten.
  const NodeId before = Find("file");
  for (int i = 0; i < 2000; ++i) client_->Forget(Find("file"));
  std::vector<NodeId> many;
  for (int i = 0; i < 200; ++i) many.push_back(Find("file"));
  for (NodeId id : many) client_->Forget(id);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(client_->GetAttr(before).ok());
  for (NodeId id : many) EXPECT_EQ(ErrorOf(client_->GetAttr(id)), ESTALE);
}

}  // namespace
}  // namespace sentry
