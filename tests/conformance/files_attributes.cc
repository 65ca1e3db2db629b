// Attributes: stat(2), statx(2), access(2), chmod(2), chown(2), utimensat(2), statfs(2).
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

struct stat StatOf(const std::string& path) {
  struct stat st = {};
  EXPECT_THAT(stat(path.c_str(), &st), Returns(0)) << path;
  return st;
}

bool operator<(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

PLACE_SUITE(Stat);
TEST_P(Stat, RegularFile) {
  TempDir dir;
  WriteFile(dir / "f", std::string(5000, 'x'));
  const struct stat st = StatOf(dir / "f");
  EXPECT_EQ(st.st_mode, S_IFREG | 0644u);
  EXPECT_EQ(st.st_size, 5000);
  EXPECT_EQ(st.st_nlink, 1u);
  EXPECT_EQ(st.st_uid, geteuid());
  EXPECT_EQ(st.st_gid, getegid());
  EXPECT_GE(st.st_blocks * 512, 5000);
  EXPECT_GT(st.st_blksize, 0);
}

TEST_P(Stat, LinksAndDescriptors) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  ASSERT_THAT(symlink("f", (dir / "s").c_str()), Returns(0));
  struct stat link = {}, file = {}, opened = {};
  EXPECT_THAT(lstat((dir / "s").c_str(), &link), Returns(0));
  EXPECT_THAT(stat((dir / "s").c_str(), &file), Returns(0));
  UniqueFd fd(open((dir / "s").c_str(), O_RDONLY));
  EXPECT_THAT(fstat(fd.get(), &opened), Returns(0));
  EXPECT_TRUE(S_ISLNK(link.st_mode));
  EXPECT_NE(link.st_ino, file.st_ino);
  EXPECT_EQ(file.st_ino, opened.st_ino);
  EXPECT_EQ(file.st_dev, opened.st_dev);
}

TEST_P(Stat, AtForms) {
  TempDir dir;
  WriteFile(dir / "f", "xyz");
  UniqueFd base(open(dir.path().c_str(), O_RDONLY)), file(open((dir / "f").c_str(), O_RDONLY));
  struct stat st = {};
  EXPECT_THAT(fstatat(base.get(), "f", &st, 0), Returns(0));
  EXPECT_EQ(st.st_size, 3);
  EXPECT_THAT(fstatat(file.get(), "", &st, AT_EMPTY_PATH), Returns(0));
  EXPECT_EQ(st.st_size, 3);
  EXPECT_THAT(fstatat(base.get(), "", &st, 0), FailsWith(ENOENT));
  EXPECT_THAT(fstatat(base.get(), "f", &st, 0x40000000), FailsWith(EINVAL));
}

TEST_P(Stat, Errors) {
  struct stat st;
  TempDir dir;
  EXPECT_THAT(stat((dir / "none").c_str(), &st), FailsWith(ENOENT));
  EXPECT_THAT(fstat(-1, &st), FailsWith(EBADF));
  EXPECT_THAT(syscall(SYS_stat, "/", 8), FailsWith(EFAULT));
}

TEST_P(Stat, Devices) {
  const struct stat st = StatOf("/dev/null");
  EXPECT_TRUE(S_ISCHR(st.st_mode));
  EXPECT_EQ(major(st.st_rdev), 1u);
  EXPECT_EQ(minor(st.st_rdev), 3u);
}

TEST_P(Stat, Pipes) {
  Pipe pipe;
  struct stat a = {}, b = {};
  EXPECT_THAT(fstat(pipe.read.get(), &a), Returns(0));
  EXPECT_THAT(fstat(pipe.write.get(), &b), Returns(0));
  EXPECT_TRUE(S_ISFIFO(a.st_mode));
  EXPECT_EQ(a.st_ino, b.st_ino);
}

PLACE_SUITE(Statx);
TEST_P(Statx, SameAsStat) {
  TempDir dir;
  WriteFile(dir / "f", "12345");
  struct statx x = {};
  ASSERT_THAT(syscall(SYS_statx, AT_FDCWD, (dir / "f").c_str(), 0, STATX_BASIC_STATS, &x),
              Returns(0));
  const struct stat st = StatOf(dir / "f");
  EXPECT_EQ(x.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
  EXPECT_EQ(x.stx_size, 5u);
  EXPECT_EQ(x.stx_mode, st.st_mode);
  EXPECT_EQ(x.stx_ino, st.st_ino);
  EXPECT_EQ(x.stx_mtime.tv_sec, st.st_mtim.tv_sec);
  EXPECT_EQ(x.stx_mtime.tv_nsec, st.st_mtim.tv_nsec);
  EXPECT_EQ(makedev(x.stx_dev_major, x.stx_dev_minor), st.st_dev);
  EXPECT_THAT(syscall(SYS_statx, AT_FDCWD, "/", 0, 0x80000000u, &x), FailsWith(EINVAL));
}

PLACE_SUITE(Access);
TEST_P(Access, ForRoot) {
  TempDir dir;
  WriteFile(dir / "f", "", 0);
  ASSERT_THAT(chmod((dir / "f").c_str(), 0), Returns(0));
  EXPECT_THAT(access((dir / "f").c_str(), F_OK | R_OK | W_OK), Returns(0));
  // Without any execute bit not even root may run it.
  EXPECT_THAT(access((dir / "f").c_str(), X_OK), FailsWith(EACCES));
  ASSERT_THAT(chmod((dir / "f").c_str(), 0001), Returns(0));
  EXPECT_THAT(access((dir / "f").c_str(), X_OK), Returns(0));
  EXPECT_THAT(access((dir / "none").c_str(), F_OK), FailsWith(ENOENT));
  EXPECT_THAT(access((dir / "f").c_str(), 64), FailsWith(EINVAL));
}

TEST_P(Access, UsesTheRealIds) {
  TempDir dir;
  WriteFile(dir / "f", "");
  ASSERT_THAT(chmod((dir / "f").c_str(), 0600), Returns(0));
  const int status = InChild([&] {
    CHILD_CHECK(setresuid(65534, 0, 0) == 0);
    CHILD_CHECK(access((dir / "f").c_str(), R_OK) == -1 && errno == EACCES);
    CHILD_CHECK(faccessat(AT_FDCWD, (dir / "f").c_str(), R_OK, AT_EACCESS) == 0);
    return 0;
  });
  EXPECT_THAT(status, Exited(0));
}

PLACE_SUITE(Chmod);
TEST_P(Chmod, AllForms) {
  TempDir dir;
  WriteFile(dir / "f", "");
  ASSERT_THAT(chmod((dir / "f").c_str(), 06751), Returns(0));
  EXPECT_EQ(StatOf(dir / "f").st_mode, S_IFREG | 06751u);
  UniqueFd fd(open((dir / "f").c_str(), O_RDONLY));
  ASSERT_THAT(fchmod(fd.get(), 0400), Returns(0));
  EXPECT_EQ(StatOf(dir / "f").st_mode, S_IFREG | 0400u);
  ASSERT_THAT(fchmodat(AT_FDCWD, (dir / "f").c_str(), 0640, 0), Returns(0));
  EXPECT_EQ(StatOf(dir / "f").st_mode, S_IFREG | 0640u);
  EXPECT_THAT(chmod((dir / "none").c_str(), 0600), FailsWith(ENOENT));
}

TEST_P(Chmod, OnlyTheOwner) {
  TempDir dir;
  WriteFile(dir / "f", "");
  const int status = InChild([&] {
    CHILD_CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHILD_CHECK(chmod((dir / "f").c_str(), 0777) == -1 && errno == EPERM);
    CHILD_CHECK(chown((dir / "f").c_str(), 65534, -1) == -1 && errno == EPERM);
    return 0;
  });
  EXPECT_THAT(status, Exited(0));
}

PLACE_SUITE(Chown);
TEST_P(Chown, AllForms) {
  TempDir dir;
  WriteFile(dir / "f", "");
  ASSERT_THAT(symlink("f", (dir / "s").c_str()), Returns(0));
  ASSERT_THAT(chown((dir / "s").c_str(), 1, 2), Returns(0));
  EXPECT_EQ(StatOf(dir / "f").st_uid, 1u);
  EXPECT_EQ(StatOf(dir / "f").st_gid, 2u);
  ASSERT_THAT(lchown((dir / "s").c_str(), 3, 4), Returns(0));
  EXPECT_EQ(StatOf(dir / "f").st_uid, 1u);
  ASSERT_THAT(fchownat(AT_FDCWD, (dir / "f").c_str(), -1, 5, 0), Returns(0));
  EXPECT_EQ(StatOf(dir / "f").st_uid, 1u);
  EXPECT_EQ(StatOf(dir / "f").st_gid, 5u);
}

TEST_P(Chown, ClearsSetIds) {
  TempDir dir;
  WriteFile(dir / "f", "");
  ASSERT_THAT(chmod((dir / "f").c_str(), 06755), Returns(0));
  ASSERT_THAT(chown((dir / "f").c_str(), 1, 1), Returns(0));
  EXPECT_EQ(StatOf(dir / "f").st_mode & 07777, 0755u);
}

TEST(Umask, ReturnsTheOldOneMasked) {
  const mode_t old = umask(0);
  EXPECT_EQ(umask(07777), 0u);
  EXPECT_EQ(umask(old), 0777u);
}

PLACE_SUITE(Utimens);
TEST_P(Utimens, SetsBothTimes) {
  TempDir dir;
  WriteFile(dir / "f", "");
  const timespec times[] = {{1'000'000, 123'000}, {2'000'000, 456'000}};
  ASSERT_THAT(utimensat(AT_FDCWD, (dir / "f").c_str(), times, 0), Returns(0));
  struct stat st = StatOf(dir / "f");
  EXPECT_EQ(st.st_atim.tv_sec, 1'000'000);
  EXPECT_EQ(st.st_mtim.tv_sec, 2'000'000);
  EXPECT_EQ(st.st_mtim.tv_nsec, 456'000);
  const timespec partly[] = {{0, UTIME_OMIT}, {3'000'000, 0}};
  UniqueFd fd(open((dir / "f").c_str(), O_RDONLY));
  ASSERT_THAT(futimens(fd.get(), partly), Returns(0));
  st = StatOf(dir / "f");
  EXPECT_EQ(st.st_atim.tv_sec, 1'000'000);
  EXPECT_EQ(st.st_mtim.tv_sec, 3'000'000);
}

TEST_P(Utimens, NowAndErrors) {
  TempDir dir;
  WriteFile(dir / "f", "");
  const timespec old[] = {{1, 0}, {1, 0}}, bad[] = {{0, 1'000'000'000}, {0, 0}};
  ASSERT_THAT(utimensat(AT_FDCWD, (dir / "f").c_str(), old, 0), Returns(0));
  ASSERT_THAT(utimensat(AT_FDCWD, (dir / "f").c_str(), nullptr, 0), Returns(0));
  EXPECT_GT(StatOf(dir / "f").st_mtim.tv_sec, 1'600'000'000);
  EXPECT_THAT(utimensat(AT_FDCWD, (dir / "f").c_str(), bad, 0), FailsWith(EINVAL));
  EXPECT_THAT(utimensat(AT_FDCWD, (dir / "none").c_str(), old, 0), FailsWith(ENOENT));
}

PLACE_SUITE(Times);
TEST_P(Times, MoveWithWhatHappens) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  const timespec old[] = {{1, 0}, {1, 0}};
  UniqueFd fd(open((dir / "f").c_str(), O_RDWR));
  ASSERT_THAT(futimens(fd.get(), old), Returns(0));
  const timespec before = StatOf(dir / "f").st_ctim;
  // Times move with the tick, so one call may not be enough to see a change.
  EXPECT_TRUE(Eventually(
      [&] { return fchmod(fd.get(), 0600) == 0 && before < StatOf(dir / "f").st_ctim; }));
  EXPECT_EQ(StatOf(dir / "f").st_mtim.tv_sec, 1);
  ASSERT_THAT(write(fd.get(), "y", 1), Returns(1));
  EXPECT_GT(StatOf(dir / "f").st_mtim.tv_sec, 1);
}

TEST_P(Times, DirectoryChangesWithItsEntries) {
  TempDir dir;
  const timespec old[] = {{1, 0}, {1, 0}};
  ASSERT_THAT(utimensat(AT_FDCWD, dir.path().c_str(), old, 0), Returns(0));
  WriteFile(dir / "f", "");
  EXPECT_GT(StatOf(dir.path()).st_mtim.tv_sec, 1);
  ASSERT_THAT(utimensat(AT_FDCWD, dir.path().c_str(), old, 0), Returns(0));
  ASSERT_THAT(unlink((dir / "f").c_str()), Returns(0));
  EXPECT_GT(StatOf(dir.path()).st_mtim.tv_sec, 1);
}

PLACE_SUITE(Statfs);
TEST_P(Statfs, Plausible) {
  struct statfs fs = {};
  EXPECT_THAT(statfs("/tmp", &fs), Returns(0));
  EXPECT_GT(fs.f_bsize, 0);
  EXPECT_EQ(fs.f_namelen, 255);
  EXPECT_THAT(statfs("/proc", &fs), Returns(0));
  EXPECT_EQ(fs.f_type, 0x9fa0);
  EXPECT_THAT(fstatfs(-1, &fs), FailsWith(EBADF));
}

}  // namespace
