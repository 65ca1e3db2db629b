// Names: link(2), symlink(2), rename(2), mkdir(2), unlink(2), chdir(2), getdents64(2).
#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <map>
#include <set>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

struct stat StatOf(const std::string& path) {
  struct stat st = {};
  EXPECT_THAT(lstat(path.c_str(), &st), Returns(0)) << path;
  return st;
}
bool Exists(const std::string& path) {
  struct stat st;
  return lstat(path.c_str(), &st) == 0;
}
int MakeDir(const std::string& path, mode_t mode = 0755) { return mkdir(path.c_str(), mode); }
int Rename(const std::string& from, const std::string& to) {
  return rename(from.c_str(), to.c_str());
}
int Rename2(const std::string& from, const std::string& to, unsigned flags) {
  return renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags);
}
int Symlink(const std::string& target, const std::string& path) {
  return symlink(target.c_str(), path.c_str());
}
int Link(const std::string& from, const std::string& to) { return link(from.c_str(), to.c_str()); }

PLACE_SUITE(LinkCall);
TEST_P(LinkCall, TwoNamesOneFile) {
  TempDir dir;
  WriteFile(dir / "a", "x");
  ASSERT_THAT(Link(dir / "a", dir / "b"), Returns(0));
  EXPECT_EQ(StatOf(dir / "a").st_ino, StatOf(dir / "b").st_ino);
  EXPECT_EQ(StatOf(dir / "a").st_nlink, 2u);
  EXPECT_THAT(unlink((dir / "a").c_str()), Returns(0));
  EXPECT_EQ(ReadFile(dir / "b"), "x");
  EXPECT_EQ(StatOf(dir / "b").st_nlink, 1u);
}

TEST_P(LinkCall, Errors) {
  TempDir dir;
  WriteFile(dir / "a", "x");
  EXPECT_THAT(Link(dir / "a", dir / "a"), FailsWith(EEXIST));
  EXPECT_THAT(Link(dir / "none", dir / "b"), FailsWith(ENOENT));
  EXPECT_THAT(Link(dir.path(), dir / "b"), FailsWith(EPERM));
  EXPECT_THAT(Link(dir / "a", "/dev/conformance-link"), FailsWith(EXDEV));
}

TEST_P(LinkCall, OfALinkUnlessToldToFollow) {
  TempDir dir;
  WriteFile(dir / "a", "x");
  ASSERT_THAT(Symlink("a", dir / "s"), Returns(0));
  ASSERT_THAT(Link(dir / "s", dir / "t"), Returns(0));
  EXPECT_TRUE(S_ISLNK(StatOf(dir / "t").st_mode));
  ASSERT_THAT(
      linkat(AT_FDCWD, (dir / "s").c_str(), AT_FDCWD, (dir / "u").c_str(), AT_SYMLINK_FOLLOW),
      Returns(0));
  EXPECT_TRUE(S_ISREG(StatOf(dir / "u").st_mode));
}

PLACE_SUITE(SymlinkCall);
TEST_P(SymlinkCall, ReadlinkTruncatesWithoutTerminator) {
  TempDir dir;
  ASSERT_THAT(Symlink("target", dir / "s"), Returns(0));
  char target[8] = "*******";
  EXPECT_THAT(readlink((dir / "s").c_str(), target, 4), Returns(4));
  EXPECT_STREQ(target, "targ***");
  EXPECT_EQ(StatOf(dir / "s").st_size, 6);
  EXPECT_EQ(StatOf(dir / "s").st_mode, S_IFLNK | 0777u);
}

TEST_P(SymlinkCall, Errors) {
  TempDir dir;
  char target[8];
  WriteFile(dir / "f", "x");
  EXPECT_THAT(Symlink("x", dir / "f"), FailsWith(EEXIST));
  EXPECT_THAT(Symlink("", dir / "s"), FailsWith(ENOENT));
  EXPECT_THAT(readlink((dir / "f").c_str(), target, 8), FailsWith(EINVAL));
  EXPECT_THAT(readlink((dir / "none").c_str(), target, 8), FailsWith(ENOENT));
  EXPECT_THAT(readlink((dir / "f").c_str(), target, 0), FailsWith(EINVAL));
}

TEST_P(SymlinkCall, RelativeTargetsStartAtTheLink) {
  TempDir dir;
  ASSERT_THAT(MakeDir(dir / "d"), Returns(0));
  WriteFile(dir / "f", "up");
  ASSERT_THAT(Symlink("../f", dir / "d/s"), Returns(0));
  EXPECT_EQ(ReadFile(dir / "d/s"), "up");
}

PLACE_SUITE(RenameCall);
TEST_P(RenameCall, ReplacesAFile) {
  TempDir dir;
  WriteFile(dir / "a", "a");
  WriteFile(dir / "b", "b");
  UniqueFd old(open((dir / "b").c_str(), O_RDONLY));
  EXPECT_THAT(Rename(dir / "a", dir / "b"), Returns(0));
  EXPECT_EQ(ReadFile(dir / "b"), "a");
  EXPECT_FALSE(Exists(dir / "a"));
  EXPECT_EQ(ReadAll(old.get()), "b");
}

TEST_P(RenameCall, Directories) {
  TempDir dir;
  ASSERT_THAT(MakeDir(dir / "d"), Returns(0));
  WriteFile(dir / "d/f", "x");
  ASSERT_THAT(MakeDir(dir / "empty"), Returns(0));
  ASSERT_THAT(MakeDir(dir / "full"), Returns(0));
  WriteFile(dir / "full/g", "x");
  EXPECT_THAT(Rename(dir / "d", dir / "full"), FailsWith(ENOTEMPTY));
  EXPECT_THAT(Rename(dir / "d", dir / "empty"), Returns(0));
  EXPECT_EQ(ReadFile(dir / "empty/f"), "x");
  EXPECT_THAT(Rename(dir / "empty", dir / "empty/inside"), FailsWith(EINVAL));
  EXPECT_THAT(Rename(dir / "empty", dir / "full/g"), FailsWith(ENOTDIR));
  EXPECT_THAT(Rename(dir / "full/g", dir / "empty"), FailsWith(EISDIR));
  EXPECT_THAT(Rename(dir / "none", dir / "x"), FailsWith(ENOENT));
}

TEST_P(RenameCall, MovedDirectoryKnowsItsParent) {
  TempDir dir;
  ASSERT_THAT(MakeDir(dir / "a"), Returns(0));
  ASSERT_THAT(MakeDir(dir / "a/d"), Returns(0));
  ASSERT_THAT(MakeDir(dir / "b"), Returns(0));
  WriteFile(dir / "b/here", "x");
  ASSERT_THAT(Rename(dir / "a/d", dir / "b/d"), Returns(0));
  EXPECT_EQ(ReadFile(dir / "b/d/../here"), "x");
  EXPECT_EQ(StatOf(dir / "a").st_nlink, 2u);
  EXPECT_EQ(StatOf(dir / "b").st_nlink, 3u);
}

TEST_P(RenameCall, LinksOfOneFileStay) {
  TempDir dir;
  WriteFile(dir / "a", "x");
  ASSERT_THAT(Link(dir / "a", dir / "b"), Returns(0));
  EXPECT_THAT(Rename(dir / "a", dir / "b"), Returns(0));
  EXPECT_TRUE(Exists(dir / "a") && Exists(dir / "b"));
}

TEST_P(RenameCall, MovesTheLinkNotItsTarget) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  ASSERT_THAT(Symlink("f", dir / "s"), Returns(0));
  EXPECT_THAT(Rename(dir / "s", dir / "t"), Returns(0));
  EXPECT_TRUE(S_ISLNK(StatOf(dir / "t").st_mode));
}

PLACE_SUITE(Renameat2);
TEST_P(Renameat2, NoReplace) {
  TempDir dir;
  WriteFile(dir / "a", "a");
  WriteFile(dir / "b", "b");
  EXPECT_THAT(Rename2(dir / "a", dir / "b", RENAME_NOREPLACE), FailsWith(EEXIST));
  EXPECT_THAT(Rename2(dir / "a", dir / "c", RENAME_NOREPLACE), Returns(0));
  EXPECT_EQ(ReadFile(dir / "c"), "a");
}

TEST_P(Renameat2, Exchange) {
  TempDir dir;
  WriteFile(dir / "a", "file");
  ASSERT_THAT(MakeDir(dir / "d"), Returns(0));
  EXPECT_THAT(Rename2(dir / "a", dir / "d", RENAME_EXCHANGE), Returns(0));
  EXPECT_TRUE(S_ISDIR(StatOf(dir / "a").st_mode));
  EXPECT_EQ(ReadFile(dir / "d"), "file");
  EXPECT_THAT(Rename2(dir / "a", dir / "none", RENAME_EXCHANGE), FailsWith(ENOENT));
  EXPECT_THAT(Rename2(dir / "a", dir / "d", RENAME_EXCHANGE | RENAME_NOREPLACE), FailsWith(EINVAL));
}

PLACE_SUITE(MkdirCall);
TEST_P(MkdirCall, ModeAndLinks) {
  TempDir dir;
  const mode_t old = umask(022);
  ASSERT_THAT(MakeDir(dir / "d", 0777), Returns(0));
  umask(old);
  EXPECT_EQ(StatOf(dir / "d").st_mode, S_IFDIR | 0755u);
  EXPECT_EQ(StatOf(dir / "d").st_nlink, 2u);
  EXPECT_EQ(StatOf(dir.path()).st_nlink, 3u);
  ASSERT_THAT(MakeDir(dir / "slash/"), Returns(0));
}

TEST_P(MkdirCall, Errors) {
  TempDir dir;
  WriteFile(dir / "f", "");
  ASSERT_THAT(Symlink("nowhere", dir / "s"), Returns(0));
  EXPECT_THAT(MakeDir(dir / "f"), FailsWith(EEXIST));
  EXPECT_THAT(MakeDir(dir / "s"), FailsWith(EEXIST));
  EXPECT_THAT(MakeDir("/"), FailsWith(EEXIST));
  EXPECT_THAT(MakeDir(dir / "none/d"), FailsWith(ENOENT));
  EXPECT_THAT(MakeDir(dir / "f/d"), FailsWith(ENOTDIR));
}

PLACE_SUITE(RmdirCall);
TEST_P(RmdirCall, Errors) {
  TempDir dir;
  ASSERT_THAT(MakeDir(dir / "d"), Returns(0));
  WriteFile(dir / "d/f", "");
  EXPECT_THAT(rmdir((dir / "d").c_str()), FailsWith(ENOTEMPTY));
  EXPECT_THAT(rmdir((dir / "d/f").c_str()), FailsWith(ENOTDIR));
  EXPECT_THAT(rmdir((dir / "d/.").c_str()), FailsWith(EINVAL));
  EXPECT_THAT(rmdir((dir / "d/..").c_str()), FailsWith(ENOTEMPTY));
  EXPECT_THAT(rmdir((dir / "none").c_str()), FailsWith(ENOENT));
  EXPECT_THAT(rmdir("/"), FailsWith(EBUSY));
}

PLACE_SUITE(UnlinkCall);
TEST_P(UnlinkCall, Errors) {
  TempDir dir;
  ASSERT_THAT(MakeDir(dir / "d"), Returns(0));
  WriteFile(dir / "f", "");
  EXPECT_THAT(unlink((dir / "d").c_str()), FailsWith(EISDIR));
  EXPECT_THAT(unlink((dir / "none").c_str()), FailsWith(ENOENT));
  EXPECT_THAT(unlink((dir / "f/").c_str()), FailsWith(ENOTDIR));
  EXPECT_THAT(unlinkat(AT_FDCWD, (dir / "f").c_str(), AT_REMOVEDIR), FailsWith(ENOTDIR));
  EXPECT_THAT(unlinkat(AT_FDCWD, (dir / "d").c_str(), AT_REMOVEDIR), Returns(0));
}

TEST_P(UnlinkCall, OpenFileLivesOn) {
  TempDir dir;
  WriteFile(dir / "f", "alive");
  UniqueFd fd(open((dir / "f").c_str(), O_RDWR));
  EXPECT_THAT(unlink((dir / "f").c_str()), Returns(0));
  struct stat st = {};
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_nlink, 0u);
  EXPECT_EQ(ReadAll(fd.get()), "alive");
  WriteFile(dir / "f", "other");
  EXPECT_THAT(pwrite(fd.get(), "A", 1, 0), Returns(1));
  EXPECT_EQ(ReadFile(dir / "f"), "other");
}

TEST_P(UnlinkCall, StickyDirectoryProtectsOthersFiles) {
  TempDir dir;
  ASSERT_THAT(chmod(dir.path().c_str(), 01777), Returns(0));
  WriteFile(dir / "roots", "x");
  const int status = InChild([&] {
    CHILD_CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHILD_CHECK(unlink((dir / "roots").c_str()) == -1 && errno == EPERM);
    const int fd = open((dir / "own").c_str(), O_CREAT | O_RDWR, 0600);
    CHILD_CHECK(fd >= 0);
    CHILD_CHECK(unlink((dir / "own").c_str()) == 0);
    return 0;
  });
  EXPECT_THAT(status, Exited(0));
}

PLACE_SUITE(Mknod);
TEST_P(Mknod, FifoAndRegular) {
  TempDir dir;
  EXPECT_THAT(mknod((dir / "fifo").c_str(), S_IFIFO | 0600, 0), Returns(0));
  EXPECT_TRUE(S_ISFIFO(StatOf(dir / "fifo").st_mode));
  EXPECT_THAT(mknod((dir / "f").c_str(), S_IFREG | 0600, 0), Returns(0));
  EXPECT_TRUE(S_ISREG(StatOf(dir / "f").st_mode));
  EXPECT_THAT(mknod((dir / "f").c_str(), S_IFREG | 0600, 0), FailsWith(EEXIST));
}

class Cwd : public AtPlace {
 protected:
  void SetUp() override { old_.reset(open(".", O_RDONLY | O_DIRECTORY)); }
  void TearDown() override { EXPECT_THAT(fchdir(old_.get()), Returns(0)); }
  UniqueFd old_;
};
AT_EACH_PLACE(Cwd);

TEST_P(Cwd, ChangesByPathAndDescriptor) {
  TempDir dir;
  ASSERT_THAT(MakeDir(dir / "d"), Returns(0));
  char name[256];
  EXPECT_THAT(chdir((dir / "d").c_str()), Returns(0));
  ASSERT_NE(getcwd(name, sizeof name), nullptr);
  EXPECT_EQ(name, dir / "d");
  EXPECT_THAT(chdir(".."), Returns(0));
  ASSERT_NE(getcwd(name, sizeof name), nullptr);
  EXPECT_EQ(name, dir.path());
  UniqueFd fd(open((dir / "d").c_str(), O_PATH));
  EXPECT_THAT(fchdir(fd.get()), Returns(0));
  EXPECT_THAT(syscall(SYS_getcwd, name, sizeof name), Returns((dir / "d").size() + 1));
}

TEST_P(Cwd, ThroughALinkItIsTheRealPath) {
  TempDir dir;
  ASSERT_THAT(MakeDir(dir / "d"), Returns(0));
  ASSERT_THAT(Symlink("d", dir / "s"), Returns(0));
  EXPECT_THAT(chdir((dir / "s").c_str()), Returns(0));
  char name[256];
  ASSERT_NE(getcwd(name, sizeof name), nullptr);
  EXPECT_EQ(name, dir / "d");
}

TEST_P(Cwd, Errors) {
  TempDir dir;
  WriteFile(dir / "f", "");
  EXPECT_THAT(chdir((dir / "f").c_str()), FailsWith(ENOTDIR));
  EXPECT_THAT(chdir((dir / "none").c_str()), FailsWith(ENOENT));
  EXPECT_THAT(fchdir(-1), FailsWith(EBADF));
  char name[4];
  ASSERT_THAT(chdir(dir.path().c_str()), Returns(0));
  EXPECT_THAT(syscall(SYS_getcwd, name, sizeof name), FailsWith(ERANGE));
}

TEST_P(Cwd, RemovedDirectory) {
  TempDir dir;
  ASSERT_THAT(MakeDir(dir / "d"), Returns(0));
  ASSERT_THAT(chdir((dir / "d").c_str()), Returns(0));
  ASSERT_THAT(rmdir((dir / "d").c_str()), Returns(0));
  char name[256];
  EXPECT_THAT(syscall(SYS_getcwd, name, sizeof name), FailsWith(ENOENT));
  EXPECT_THAT(open("new", O_CREAT | O_RDWR, 0600), FailsWith(ENOENT));
}

TEST_P(Cwd, BelongsToTheProcess) {
  TempDir dir;
  ASSERT_THAT(chdir(dir.path().c_str()), Returns(0));
  EXPECT_THAT(InChild([] { return chdir("/"); }), Exited(0));
  char name[256];
  ASSERT_NE(getcwd(name, sizeof name), nullptr);
  EXPECT_EQ(name, dir.path());
}

TEST(DotDot, OfTheRootIsTheRoot) {
  EXPECT_EQ(StatOf("/..").st_ino, StatOf("/").st_ino);
  EXPECT_EQ(StatOf("/../../tmp").st_ino, StatOf("/tmp").st_ino);
}

// The raw call: names with their types, counted.
std::map<std::string, int> List(int fd, size_t buffer_size, unsigned char* type_of_f = nullptr) {
  std::map<std::string, int> names;
  std::vector<char> buffer(buffer_size);
  for (long n; (n = syscall(SYS_getdents64, fd, buffer.data(), buffer.size())) > 0;) {
    for (long at = 0; at < n;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer.data() + at);
      ++names[entry->d_name];
      if (type_of_f != nullptr && std::string_view(entry->d_name) == "f") {
        *type_of_f = entry->d_type;
      }
      at += entry->d_reclen;
    }
  }
  return names;
}

PLACE_SUITE(Getdents);
TEST_P(Getdents, NamesAndTypes) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  ASSERT_THAT(MakeDir(dir / "d"), Returns(0));
  UniqueFd fd(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
  unsigned char type = 0;
  const std::map<std::string, int> expected = {{".", 1}, {"..", 1}, {"d", 1}, {"f", 1}};
  EXPECT_EQ(List(fd.get(), 4096, &type), expected);
  EXPECT_EQ(type, DT_REG);
  EXPECT_TRUE(List(fd.get(), 4096).empty());
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_SET), Returns(0));
  EXPECT_EQ(List(fd.get(), 4096), expected);
}

TEST_P(Getdents, EachNameOnceAcrossCalls) {
  TempDir dir;
  for (int i = 0; i < 300; ++i) WriteFile(dir / ("name" + std::to_string(i)), "");
  UniqueFd fd(open(dir.path().c_str(), O_RDONLY | O_DIRECTORY));
  const auto names = List(fd.get(), 512);
  EXPECT_EQ(names.size(), 302u);
  for (const auto& [name, count] : names) EXPECT_EQ(count, 1) << name;
}

TEST_P(Getdents, RemovingWhileReading) {
  TempDir dir;
  for (int i = 0; i < 200; ++i) WriteFile(dir / ("name" + std::to_string(i)), "");
  DIR* stream = opendir(dir.path().c_str());
  ASSERT_NE(stream, nullptr);
  while (const dirent* entry = readdir(stream)) {
    if (entry->d_name[0] != '.') unlink((dir / entry->d_name).c_str());
  }
  closedir(stream);
  EXPECT_THAT(rmdir(dir.path().c_str()), Returns(0)) << "a name was skipped";
}

TEST_P(Getdents, Errors) {
  TempDir dir;
  char buffer[8];
  UniqueFd directory(open(dir.path().c_str(), O_RDONLY)), file = OpenTemp();
  EXPECT_THAT(syscall(SYS_getdents64, directory.get(), buffer, sizeof buffer), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_getdents64, file.get(), buffer, sizeof buffer), FailsWith(ENOTDIR));
  EXPECT_THAT(syscall(SYS_getdents64, -1, buffer, sizeof buffer), FailsWith(EBADF));
}

}  // namespace
