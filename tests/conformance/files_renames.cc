// rename(2) of everything onto everything, and where it may not go.
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "tests/conformance/files_calls.h"

namespace {

// The kinds of things, each as a source and as a target.
const char* const kKinds[] = {"file", "empty", "full", "link", "fifo", "none"};

void Make(const std::string& path, const std::string& kind) {
  if (kind == "file") WriteFile(path, "x");
  if (kind == "empty" || kind == "full") {
    ASSERT_THAT(mkdir(path.c_str(), 0755), Succeeds());
  }
  if (kind == "full") WriteFile(path + "/inner", "x");
  if (kind == "link") {
    ASSERT_THAT(symlink("anything", path.c_str()), Succeeds());
  }
  if (kind == "fifo") {
    ASSERT_THAT(mkfifo(path.c_str(), 0644), Succeeds());
  }
}

// The inode number, 0 for nothing.
ino_t NumberOf(const std::string& path) {
  struct stat st = {};
  return lstat(path.c_str(), &st) == 0 ? st.st_ino : 0;
}

struct Row {
  const char* name;
  unsigned flags;
  const char* results;  // By target: file, empty, full, link, fifo, none.
};
const Row kRows[] = {
    {"file", 0, "ok EISDIR EISDIR ok ok ok"},
    {"empty", 0, "ENOTDIR ok ENOTEMPTY ENOTDIR ENOTDIR ok"},
    {"full", 0, "ENOTDIR ok ENOTEMPTY ENOTDIR ENOTDIR ok"},
    {"link", 0, "ok EISDIR EISDIR ok ok ok"},
    {"fifo", 0, "ok EISDIR EISDIR ok ok ok"},
    {"none", 0, "ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT"},
    {"file", RENAME_NOREPLACE, "EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
    {"empty", RENAME_NOREPLACE, "EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
    {"full", RENAME_NOREPLACE, "EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
    {"link", RENAME_NOREPLACE, "EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
    {"fifo", RENAME_NOREPLACE, "EEXIST EEXIST EEXIST EEXIST EEXIST ok"},
    {"none", RENAME_NOREPLACE, "ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT"},
    {"file", RENAME_EXCHANGE, "ok ok ok ok ok ENOENT"},
    {"empty", RENAME_EXCHANGE, "ok ok ok ok ok ENOENT"},
    {"full", RENAME_EXCHANGE, "ok ok ok ok ok ENOENT"},
    {"link", RENAME_EXCHANGE, "ok ok ok ok ok ENOENT"},
    {"fifo", RENAME_EXCHANGE, "ok ok ok ok ok ENOENT"},
    {"none", RENAME_EXCHANGE, "ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT"},
};

class RenameMatrix : public testing::TestWithParam<std::tuple<Place, size_t>> {};
INSTANTIATE_TEST_SUITE_P(, RenameMatrix,
                         testing::Combine(testing::ValuesIn(Places()),
                                          testing::Range<size_t>(0, std::size(kRows))),
                         [](const auto& info) {
                           const Row& row = kRows[std::get<1>(info.param)];
                           return NameOf(std::get<0>(info.param)) + "_" + row.name +
                                  (row.flags == 0                  ? ""
                                   : row.flags == RENAME_NOREPLACE ? "_noreplace"
                                                                   : "_exchange");
                         });

// Within a directory and between two: the answer is the same, and a success moves the inode.
TEST_P(RenameMatrix, AsLinuxAnswers) {
  const Row& row = kRows[std::get<1>(GetParam())];
  setenv("CONFORMANCE_DIR", DirectoryOf(std::get<0>(GetParam())).c_str(), 1);
  for (const char* const folder : {"a", "b"}) {
    TempDir base;
    ASSERT_THAT(mkdir((base / "a").c_str(), 0755), Succeeds());
    ASSERT_THAT(mkdir((base / "b").c_str(), 0755), Succeeds());
    std::string line;
    for (const char* const kind : kKinds) {
      const std::string from = base / "a/from_" + kind, to = base / folder + "/to_" + kind;
      Make(from, row.name);
      Make(to, kind);
      const ino_t source = NumberOf(from), target = NumberOf(to);
      const std::string result =
          ResultOf(renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), row.flags));
      if (!line.empty()) line += ' ';
      line += result;
      const bool moved = result == "ok";
      const bool swapped = moved && row.flags == RENAME_EXCHANGE;
      EXPECT_EQ(NumberOf(to), moved ? source : target) << kind;
      EXPECT_EQ(NumberOf(from), swapped ? target : moved ? 0 : source) << kind;
    }
    EXPECT_EQ(line, row.results) << row.name << " " << row.flags;
  }
}

class RenameLimits : public AtPlace {
 protected:
  std::string At(const std::string& name) const { return dir_ / name; }
  int Mkdir(const std::string& name) { return mkdir(At(name).c_str(), 0755); }
  int Rename(const std::string& from, const std::string& to, unsigned flags = 0) {
    return renameat2(AT_FDCWD, At(from).c_str(), AT_FDCWD, At(to).c_str(), flags);
  }
  nlink_t LinksOf(const std::string& name) {
    struct stat st = {};
    EXPECT_THAT(lstat(At(name).c_str(), &st), Returns(0));
    return st.st_nlink;
  }
  TempDir dir_;
};
AT_EACH_PLACE(RenameLimits);

TEST_P(RenameLimits, NotIntoItself) {
  ASSERT_THAT(Mkdir("a"), Returns(0));
  ASSERT_THAT(Mkdir("a/b"), Returns(0));
  EXPECT_THAT(Rename("a", "a/x"), FailsWith(EINVAL));
  EXPECT_THAT(Rename("a", "a/b/x"), FailsWith(EINVAL));
  EXPECT_THAT(Rename("a", "a/b"), FailsWith(EINVAL));
  EXPECT_THAT(Rename("a/b", "a"), FailsWith(ENOTEMPTY));
  EXPECT_THAT(Rename("a", "a"), Returns(0));
}

TEST_P(RenameLimits, ExchangeNotWithAnAncestor) {
  ASSERT_THAT(Mkdir("a"), Returns(0));
  ASSERT_THAT(Mkdir("a/b"), Returns(0));
  EXPECT_THAT(Rename("a", "a/b", RENAME_EXCHANGE), FailsWith(EINVAL));
  EXPECT_THAT(Rename("a/b", "a", RENAME_EXCHANGE), FailsWith(EINVAL));
}

TEST_P(RenameLimits, FlagsThatDoNotFit) {
  WriteFile(At("f"), "x");
  WriteFile(At("g"), "x");
  EXPECT_THAT(Rename("f", "g", RENAME_NOREPLACE | RENAME_EXCHANGE), FailsWith(EINVAL));
  EXPECT_THAT(Rename("f", "g", RENAME_WHITEOUT | RENAME_EXCHANGE), FailsWith(EINVAL));
  EXPECT_THAT(Rename("f", "g", 8), FailsWith(EINVAL));
}

TEST_P(RenameLimits, AWhiteoutIsLeft) {
  WriteFile(At("f"), "x");
  WriteFile(At("g"), "y");
  ASSERT_THAT(Mkdir("d"), Returns(0));
  if (place() == conformance::Place::kOverlay) {
    EXPECT_THAT(Rename("f", "g", RENAME_WHITEOUT), FailsWith(EINVAL));
    EXPECT_EQ(ReadFile(At("f")), "x");
    EXPECT_EQ(ReadFile(At("g")), "y");
  }
  EXPECT_THAT(Rename("none", "g", RENAME_WHITEOUT), FailsWith(ENOENT));
  if (place() != conformance::Place::kTmpfs) return;  // Others may not be able to.
  const auto is_whiteout = [this](const char* name) {
    struct stat st = {};
    return lstat(At(name).c_str(), &st) == 0 && st.st_mode == S_IFCHR && st.st_rdev == 0 &&
           st.st_nlink == 1;
  };
  EXPECT_THAT(Rename("f", "g", RENAME_WHITEOUT | RENAME_NOREPLACE), FailsWith(EEXIST));
  EXPECT_THAT(Rename("f", "g", RENAME_WHITEOUT), Returns(0));
  EXPECT_TRUE(is_whiteout("f"));
  EXPECT_EQ(ReadFile(At("g")), "x");
  EXPECT_THAT(Rename("d", "e", RENAME_WHITEOUT | RENAME_NOREPLACE), Returns(0));
  EXPECT_TRUE(is_whiteout("d"));
  // What is not allowed leaves nothing behind.
  EXPECT_THAT(Rename("g", "e", RENAME_WHITEOUT), FailsWith(EISDIR));
  EXPECT_FALSE(is_whiteout("g"));
  // One that is replaced is a file like others.
  EXPECT_THAT(Rename("g", "f", RENAME_WHITEOUT), Returns(0));
  EXPECT_EQ(ReadFile(At("f")), "x");
  EXPECT_TRUE(is_whiteout("g"));
}

TEST_P(RenameLimits, LinkCountsOfDirectories) {
  ASSERT_THAT(Mkdir("a"), Returns(0));
  ASSERT_THAT(Mkdir("b"), Returns(0));
  ASSERT_THAT(Mkdir("a/c"), Returns(0));
  EXPECT_EQ(LinksOf("a"), 3u);
  EXPECT_EQ(LinksOf("b"), 2u);
  EXPECT_THAT(Rename("a/c", "b/c"), Returns(0));
  EXPECT_EQ(LinksOf("a"), 2u);
  EXPECT_EQ(LinksOf("b"), 3u);
}

TEST_P(RenameLimits, LinkCountsAfterAnExchange) {
  ASSERT_THAT(Mkdir("a"), Returns(0));
  ASSERT_THAT(Mkdir("b"), Returns(0));
  const nlink_t empty = LinksOf("a");
  ASSERT_THAT(Mkdir("a/c"), Returns(0));
  const nlink_t full = LinksOf("a");
  WriteFile(At("b/f"), "x");
  EXPECT_THAT(Rename("a/c", "b/f", RENAME_EXCHANGE), Returns(0));
  EXPECT_EQ(LinksOf("a"), empty);
  EXPECT_EQ(LinksOf("b"), full);
  EXPECT_EQ(ReadFile(At("a/c")), "x");
}

TEST_P(RenameLimits, ReplacedFilesLoseALink) {
  WriteFile(At("f"), "f");
  WriteFile(At("g"), "g");
  ASSERT_THAT(link(At("g").c_str(), At("h").c_str()), Returns(0));
  EXPECT_THAT(Rename("f", "g"), Returns(0));
  EXPECT_EQ(LinksOf("h"), 1u);
  EXPECT_EQ(ReadFile(At("h")), "g");
}

TEST_P(RenameLimits, ReplacedFilesLiveWhileOpen) {
  WriteFile(At("f"), "f");
  WriteFile(At("g"), "g");
  UniqueFd fd(open(At("g").c_str(), O_RDONLY));
  EXPECT_THAT(Rename("f", "g"), Returns(0));
  EXPECT_EQ(ReadAll(fd.get()), "g");
  struct stat st = {};
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_nlink, 0u);
}

TEST_P(RenameLimits, MountPointsStay) {
  ASSERT_THAT(Mkdir("m"), Returns(0));
  ASSERT_THAT(Mkdir("n"), Returns(0));
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
                CHILD_CHECK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
                CHILD_CHECK(mount("none", At("m").c_str(), "tmpfs", 0, nullptr) == 0);
                CHILD_CHECK(Rename("m", "x") == -1 && errno == EBUSY);
                CHILD_CHECK(Rename("n", "m") == -1 && errno == EBUSY);
                CHILD_CHECK(rmdir(At("m").c_str()) == -1 && errno == EBUSY);
                CHILD_CHECK(Rename("n", "m/n") == -1 && errno == EXDEV);
                CHILD_CHECK(Rename("m", "n", RENAME_EXCHANGE) == -1 && errno == EBUSY);
                return 0;
              }),
              Exited(0));
}

TEST_P(RenameLimits, BetweenBindMountsOfOneTree) {
  ASSERT_THAT(Mkdir("a"), Returns(0));
  ASSERT_THAT(Mkdir("b"), Returns(0));
  WriteFile(At("a/f"), "x");
  EXPECT_THAT(
      InChild([&] {
        CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
        CHILD_CHECK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
        CHILD_CHECK(mount(At("a").c_str(), At("b").c_str(), nullptr, MS_BIND, nullptr) == 0);
        CHILD_CHECK(Rename("a/f", "b/g") == -1 && errno == EXDEV);
        CHILD_CHECK(link(At("a/f").c_str(), At("b/g").c_str()) == -1 && errno == EXDEV);
        CHILD_CHECK(Rename("b/f", "b/g") == 0);
        return access(At("a/g").c_str(), F_OK);
      }),
      Exited(0));
}

TEST_P(RenameLimits, OpenDirectoriesMove) {
  ASSERT_THAT(Mkdir("a"), Returns(0));
  WriteFile(At("a/f"), "x");
  UniqueFd fd(open(At("a").c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_THAT(Rename("a", "b"), Returns(0));
  EXPECT_TRUE(UniqueFd(openat(fd.get(), "f", O_RDONLY)).valid());
  EXPECT_TRUE(UniqueFd(openat(fd.get(), "../b/f", O_RDONLY)).valid());
}

TEST_P(RenameLimits, OfARemovedDirectorysEntries) {
  ASSERT_THAT(Mkdir("a"), Returns(0));
  WriteFile(At("f"), "x");
  UniqueFd fd(open(At("a").c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_THAT(rmdir(At("a").c_str()), Returns(0));
  EXPECT_THAT(renameat(AT_FDCWD, At("f").c_str(), fd.get(), "f"), FailsWith(ENOENT));
  EXPECT_THAT(renameat(fd.get(), "f", AT_FDCWD, At("g").c_str()), FailsWith(ENOENT));
}

TEST_P(RenameLimits, DescriptorsThatAreNoDirectories) {
  WriteFile(At("f"), "x");
  UniqueFd fd(open(At("f").c_str(), O_RDONLY));
  EXPECT_THAT(renameat(fd.get(), "a", AT_FDCWD, At("g").c_str()), FailsWith(ENOTDIR));
  EXPECT_THAT(renameat(AT_FDCWD, At("f").c_str(), fd.get(), "a"), FailsWith(ENOTDIR));
  EXPECT_THAT(renameat(-1, "a", AT_FDCWD, At("g").c_str()), FailsWith(EBADF));
  EXPECT_THAT(renameat(AT_FDCWD, At("f").c_str(), -1, "a"), FailsWith(EBADF));
}

TEST_P(RenameLimits, ADeepTreeStaysWhole) {
  std::string path = "t";
  ASSERT_THAT(Mkdir(path), Returns(0));
  for (int i = 0; i < 40; ++i) ASSERT_THAT(Mkdir(path += "/d"), Returns(0));
  WriteFile(At(path + "/f"), "deep");
  ASSERT_THAT(Rename("t", "u"), Returns(0));
  EXPECT_EQ(ReadFile(At("u" + path.substr(1) + "/f")), "deep");
  EXPECT_THAT(Rename("u", "u" + path.substr(1) + "/x"), FailsWith(EINVAL));
}

}  // namespace
