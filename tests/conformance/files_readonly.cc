// Read-only mounts: every call that takes a path, and what goes through descriptors.
#include <sched.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "tests/conformance/files_calls.h"

namespace {

// In a namespace of its own, `dir` becomes read-only: a bind mount of itself, remounted.
bool MakeReadOnly(const std::string& dir) {
  return unshare(CLONE_NEWNS) == 0 &&
         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount(dir.c_str(), dir.c_str(), nullptr, MS_BIND, nullptr) == 0 &&
         mount("none", dir.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0;
}

// On a file, a directory, an empty directory, a fifo, a link to a file, a dangling link, nothing.
FOR_EACH_CALL(ReadOnly);
TEST_P(ReadOnly, AsLinuxAnswers) {
  static const std::vector<Expected> kTable = {
      {"OpenRead", "ok ok ok ok ok ENOENT ENOENT"},
      {"OpenWrite", "EROFS EISDIR EISDIR ENXIO EROFS ENOENT ENOENT"},
      {"OpenTruncate", "EROFS EISDIR EISDIR ok EROFS ENOENT ENOENT"},
      {"OpenCreate", "ok EISDIR EISDIR ok ok EROFS EROFS"},
      {"OpenCreateWrite", "EROFS EISDIR EISDIR ok EROFS EROFS EROFS"},
      {"OpenExclusive", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EROFS"},
      {"OpenDirectory", "ENOTDIR ok ok ENOTDIR ENOTDIR ENOENT ENOENT"},
      {"OpenNoFollow", "ok ok ok ok ELOOP ELOOP ENOENT"},
      {"OpenPath", "ok ok ok ok ok ENOENT ENOENT"},
      {"OpenPathNoFollow", "ok ok ok ok ok ok ENOENT"},
      {"Stat", "ok ok ok ok ok ENOENT ENOENT"},
      {"Lstat", "ok ok ok ok ok ok ENOENT"},
      {"Statx", "ok ok ok ok ok ENOENT ENOENT"},
      {"StatxNoFollow", "ok ok ok ok ok ok ENOENT"},
      {"Statfs", "ok ok ok ok ok ENOENT ENOENT"},
      {"AccessExists", "ok ok ok ok ok ENOENT ENOENT"},
      {"AccessWrite", "EROFS EROFS EROFS ok EROFS ENOENT ENOENT"},
      {"AccessNoFollow", "EROFS EROFS EROFS ok EROFS EROFS ENOENT"},
      {"Chmod", "EROFS EROFS EROFS EROFS EROFS ENOENT ENOENT"},
      {"ChmodNoFollow", "EROFS EROFS EROFS EROFS EROFS EROFS ENOENT"},
      {"Chown", "EROFS EROFS EROFS EROFS EROFS ENOENT ENOENT"},
      {"Lchown", "EROFS EROFS EROFS EROFS EROFS EROFS ENOENT"},
      {"Utimes", "EROFS EROFS EROFS EROFS EROFS ENOENT ENOENT"},
      {"UtimesNoFollow", "EROFS EROFS EROFS EROFS EROFS EROFS ENOENT"},
      {"Truncate", "EROFS EISDIR EISDIR EINVAL EROFS ENOENT ENOENT"},
      {"Readlink", "EINVAL EINVAL EINVAL EINVAL ok ok ENOENT"},
      {"Chdir", "ENOTDIR ok ok ENOTDIR ENOTDIR ENOENT ENOENT"},
      {"Mkdir", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EROFS"},
      {"Rmdir", "EROFS EROFS EROFS EROFS EROFS EROFS EROFS"},
      {"Unlink", "EROFS EROFS EROFS EROFS EROFS EROFS EROFS"},
      {"MknodFifo", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EROFS"},
      {"MknodRegular", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EROFS"},
      {"Symlink", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EROFS"},
      {"LinkTo", "EEXIST EEXIST EEXIST EEXIST EEXIST EEXIST EROFS"},
      {"LinkFrom", "EROFS EROFS EROFS EROFS EROFS EROFS ENOENT"},
      {"LinkFromFollowed", "EROFS EROFS EROFS EROFS EROFS ENOENT ENOENT"},
      {"RenameFrom", "EROFS EROFS EROFS EROFS EROFS EROFS EROFS"},
      {"RenameFileTo", "EROFS EROFS EROFS EROFS EROFS EROFS EROFS"},
      {"RenameDirectoryTo", "EROFS EROFS EROFS EROFS EROFS EROFS EROFS"},
      {"RenameNoReplaceTo", "EROFS EROFS EROFS EROFS EROFS EROFS EROFS"},
      {"RenameExchange", "EROFS EROFS EROFS EROFS EROFS EROFS EROFS"},
      {"SetXattr", "EROFS EROFS EROFS EROFS EROFS ENOENT ENOENT"},
      {"SetXattrNoFollow", "EROFS EROFS EROFS EROFS EROFS EROFS ENOENT"},
      {"ListXattr", "ok ok ok ok ok ENOENT ENOENT"},
      {"RemoveXattr", "EROFS EROFS EROFS EROFS EROFS ENOENT ENOENT"},
  };
  TempDir base;
  const std::string dir = base / "tree";
  MakeTree(dir);
  std::vector<std::string> paths;
  for (const char* name : {"/f", "/d", "/e", "/p", "/lf", "/ln", "/none"})
    paths.push_back(dir + name);
  EXPECT_EQ(RunInChild(dir, paths, [&] { return MakeReadOnly(dir); }), ExpectedOf(call(), kTable))
      << "{\"" << call().name << "\", \"...\"}";
}

class ReadOnlyFiles : public AtPlace {
 protected:
  ReadOnlyFiles() : dir_(base_ / "tree") { MakeTree(dir_); }
  // A case's assertions in the child.
  template <typename Body>
  void Where(Body body) {
    EXPECT_THAT(InChild([&] {
                  CHILD_CHECK(MakeReadOnly(dir_));
                  body();
                  return testing::Test::HasFailure() ? 1 : 0;
                }),
                Exited(0));
  }
  std::string At(const std::string& name) const { return dir_ + "/" + name; }
  TempDir base_;
  const std::string dir_;
};
AT_EACH_PLACE(ReadOnlyFiles);

TEST_P(ReadOnlyFiles, AreReadAndListed) {
  Where([&] {
    EXPECT_EQ(ReadFile(At("f")), "data");
    EXPECT_THAT(access(At("f").c_str(), R_OK), Returns(0));
    UniqueFd fd(open(dir_.c_str(), O_RDONLY | O_DIRECTORY));
    EXPECT_TRUE(fd.valid());
  });
}

TEST_P(ReadOnlyFiles, AreShownAsSuch) {
  Where([&] {
    struct statfs fs = {};
    EXPECT_THAT(statfs(dir_.c_str(), &fs), Returns(0));
    EXPECT_EQ(fs.f_flags & 1, 1);
  });
}

TEST_P(ReadOnlyFiles, DescriptorsChangeNothing) {
  Where([&] {
    UniqueFd fd(open(At("f").c_str(), O_RDONLY));
    EXPECT_THAT(fchmod(fd.get(), 0600), FailsWith(EROFS));
    EXPECT_THAT(fchown(fd.get(), 0, 0), FailsWith(EROFS));
    EXPECT_THAT(futimens(fd.get(), nullptr), FailsWith(EROFS));
    EXPECT_THAT(fsetxattr(fd.get(), "user.a", "1", 1, 0), FailsWith(EROFS));
    EXPECT_THAT(fremovexattr(fd.get(), "user.a"), FailsWith(EROFS));
    EXPECT_THAT(ftruncate(fd.get(), 0), FailsWith(EINVAL));
    EXPECT_THAT(fallocate(fd.get(), 0, 0, 1), FailsWith(EBADF));
  });
}

TEST_P(ReadOnlyFiles, LocksAreFree) {
  Where([&] {
    UniqueFd fd(open(At("f").c_str(), O_RDONLY));
    EXPECT_THAT(flock(fd.get(), LOCK_EX), Returns(0));
    struct flock lock = {};
    lock.l_type = F_RDLCK;
    EXPECT_THAT(fcntl(fd.get(), F_SETLK, &lock), Returns(0));
  });
}

TEST_P(ReadOnlyFiles, FifosStillCarryBytes) {
  Where([&] {
    UniqueFd fd(open(At("p").c_str(), O_RDWR | O_NONBLOCK));
    EXPECT_THAT(write(fd.get(), "x", 1), Returns(1));
    char byte;
    EXPECT_THAT(read(fd.get(), &byte, 1), Returns(1));
  });
}

TEST_P(ReadOnlyFiles, SocketsAreNotBound) {
  Where([&] {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = {}};
    EXPECT_THAT(chdir(dir_.c_str()), Returns(0));
    strcpy(name.sun_path, "socket");
    EXPECT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), FailsWith(EROFS));
  });
}

TEST_P(ReadOnlyFiles, AccessTimesStay) {
  const timespec old[2] = {{1000, 0}, {2000, 0}};
  EXPECT_THAT(utimensat(AT_FDCWD, At("f").c_str(), old, 0), Returns(0));
  Where([&] {
    EXPECT_EQ(ReadFile(At("f")), "data");
    struct stat st = {};
    EXPECT_THAT(stat(At("f").c_str(), &st), Returns(0));
    EXPECT_EQ(st.st_atim.tv_sec, 1000);
  });
}

TEST_P(ReadOnlyFiles, OmittedTimesAreNoChange) {
  Where([&] {
    const timespec none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    EXPECT_THAT(utimensat(AT_FDCWD, At("f").c_str(), none, 0), Returns(0));
  });
}

TEST_P(ReadOnlyFiles, NoUnnamedOnes) {
  Where([&] { EXPECT_THAT(open(dir_.c_str(), O_TMPFILE | O_RDWR, 0600), FailsWith(EROFS)); });
}

TEST_P(ReadOnlyFiles, MappingsForReading) {
  Where([&] {
    UniqueFd fd(open(At("f").c_str(), O_RDONLY));
    void* const at = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd.get(), 0);
    ASSERT_THAT(at, Succeeds());
    EXPECT_EQ(memcmp(at, "data", 4), 0);
    EXPECT_THAT(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0),
                FailsWith(EACCES));
    munmap(at, 4096);
  });
}

TEST_P(ReadOnlyFiles, WritersKeepTheMountWritable) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
                CHILD_CHECK(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
                CHILD_CHECK(mount(dir_.c_str(), dir_.c_str(), nullptr, MS_BIND, nullptr) == 0);
                const unsigned long read_only = MS_REMOUNT | MS_BIND | MS_RDONLY;
                UniqueFd writer(open(At("f").c_str(), O_WRONLY));
                CHILD_CHECK(mount("none", dir_.c_str(), nullptr, read_only, nullptr) == -1);
                CHILD_CHECK(errno == EBUSY);
                writer.reset();
                CHILD_CHECK(mount("none", dir_.c_str(), nullptr, read_only, nullptr) == 0);
                CHILD_CHECK(open(At("f").c_str(), O_WRONLY) == -1 && errno == EROFS);
                return 0;
              }),
              Exited(0));
}

TEST_P(ReadOnlyFiles, OtherMountsOfTheSameTreeAreWritten) {
  Where([&] {
    const std::string other = base_ / "other";
    ASSERT_THAT(mkdir(other.c_str(), 0755), Returns(0));
    WriteFile(other + "/g", "x");
    EXPECT_EQ(ReadFile(other + "/g"), "x");
    EXPECT_THAT(rename((other + "/g").c_str(), At("g").c_str()), FailsWith(EXDEV));
    EXPECT_THAT(link((other + "/g").c_str(), At("g").c_str()), FailsWith(EROFS));
  });
}

}  // namespace
