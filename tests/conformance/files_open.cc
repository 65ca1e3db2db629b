// open(2), openat(2), creat(2).
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

int Open(const std::string& path, int flags, mode_t mode = 0644) {
  return open(path.c_str(), flags, mode);
}

mode_t ModeOf(int fd) {
  struct stat st = {};
  EXPECT_THAT(fstat(fd, &st), Returns(0));
  return st.st_mode;
}

PLACE_SUITE(OpenCall);
TEST_P(OpenCall, MissingFile) {
  TempDir dir;
  EXPECT_THAT(Open(dir / "none", O_RDONLY), FailsWith(ENOENT));
  EXPECT_THAT(Open(dir / "none/below", O_RDONLY | O_CREAT), FailsWith(ENOENT));
}

TEST_P(OpenCall, EmptyPath) { EXPECT_THAT(Open("", O_RDONLY), FailsWith(ENOENT)); }

TEST_P(OpenCall, BadPointer) {
  EXPECT_THAT(syscall(SYS_open, 1, O_RDONLY), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_openat, AT_FDCWD, nullptr, O_RDONLY), FailsWith(EFAULT));
}

TEST_P(OpenCall, CreateAppliesTheUmask) {
  TempDir dir;
  const mode_t old = umask(027);
  UniqueFd fd(Open(dir / "f", O_RDWR | O_CREAT, 0666));
  umask(old);
  ASSERT_TRUE(fd.valid());
  EXPECT_EQ(ModeOf(fd.get()), S_IFREG | 0640u);
}

TEST_P(OpenCall, CreateWithoutPermissionBitsStillOpens) {
  TempDir dir;
  UniqueFd fd(Open(dir / "f", O_RDWR | O_CREAT, 0));
  EXPECT_THAT(write(fd.get(), "a", 1), Returns(1));
  EXPECT_EQ(ModeOf(fd.get()) & 07777, 0u);
}

TEST_P(OpenCall, ExclusiveRefusesAnExistingName) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  EXPECT_THAT(Open(dir / "f", O_RDWR | O_CREAT | O_EXCL), FailsWith(EEXIST));
  ASSERT_THAT(symlink("nowhere", (dir / "dangling").c_str()), Returns(0));
  EXPECT_THAT(Open(dir / "dangling", O_RDWR | O_CREAT | O_EXCL), FailsWith(EEXIST));
}

TEST_P(OpenCall, CreateFollowsADanglingLink) {
  TempDir dir;
  ASSERT_THAT(symlink("target", (dir / "dangling").c_str()), Returns(0));
  UniqueFd fd(Open(dir / "dangling", O_WRONLY | O_CREAT));
  ASSERT_TRUE(fd.valid());
  EXPECT_THAT(access((dir / "target").c_str(), F_OK), Returns(0));
}

TEST_P(OpenCall, DirectoryFlag) {
  TempDir dir;
  WriteFile(dir / "f", "");
  EXPECT_THAT(Open(dir / "f", O_RDONLY | O_DIRECTORY), FailsWith(ENOTDIR));
  UniqueFd fd(Open(dir.path(), O_RDONLY | O_DIRECTORY));
  EXPECT_TRUE(fd.valid());
}

TEST_P(OpenCall, DirectoryForWriting) {
  TempDir dir;
  EXPECT_THAT(Open(dir.path(), O_WRONLY), FailsWith(EISDIR));
  EXPECT_THAT(Open(dir.path(), O_RDWR), FailsWith(EISDIR));
  EXPECT_THAT(Open(dir.path(), O_RDONLY | O_CREAT), FailsWith(EISDIR));
}

TEST_P(OpenCall, NoFollow) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  ASSERT_THAT(symlink("f", (dir / "link").c_str()), Returns(0));
  EXPECT_THAT(Open(dir / "link", O_RDONLY | O_NOFOLLOW), FailsWith(ELOOP));
  EXPECT_THAT(Open(dir / "link", O_RDONLY | O_NOFOLLOW | O_DIRECTORY), FailsWith(ENOTDIR));
  UniqueFd fd(Open(dir / "link", O_RDONLY));
  EXPECT_EQ(ReadAll(fd.get()), "x");
}

TEST_P(OpenCall, NoFollowAppliesToTheLastComponentOnly) {
  TempDir dir;
  ASSERT_THAT(mkdir((dir / "d").c_str(), 0755), Returns(0));
  WriteFile(dir / "d/f", "x");
  ASSERT_THAT(symlink("d", (dir / "link").c_str()), Returns(0));
  UniqueFd fd(Open(dir / "link/f", O_RDONLY | O_NOFOLLOW));
  EXPECT_TRUE(fd.valid());
}

TEST_P(OpenCall, Truncate) {
  TempDir dir;
  WriteFile(dir / "f", "contents");
  UniqueFd fd(Open(dir / "f", O_WRONLY | O_TRUNC));
  ASSERT_TRUE(fd.valid());
  EXPECT_EQ(ReadFile(dir / "f"), "");
}

TEST_P(OpenCall, AccessModeLimitsTheDescriptor) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  char byte;
  UniqueFd reader(Open(dir / "f", O_RDONLY));
  EXPECT_THAT(write(reader.get(), "a", 1), FailsWith(EBADF));
  UniqueFd writer(Open(dir / "f", O_WRONLY));
  EXPECT_THAT(read(writer.get(), &byte, 1), FailsWith(EBADF));
}

TEST_P(OpenCall, StatusFlagsAreKeptAndCreationFlagsAreNot) {
  TempDir dir;
  UniqueFd fd(Open(dir / "f", O_RDWR | O_CREAT | O_TRUNC | O_EXCL | O_APPEND | O_NONBLOCK));
  ASSERT_TRUE(fd.valid());
  const int flags = fcntl(fd.get(), F_GETFL);
  EXPECT_EQ(flags & O_ACCMODE, O_RDWR);
  EXPECT_EQ(flags & (O_APPEND | O_NONBLOCK), O_APPEND | O_NONBLOCK);
  EXPECT_EQ(flags & (O_CREAT | O_EXCL | O_TRUNC), 0);
}

TEST_P(OpenCall, CloseOnExecIsADescriptorFlag) {
  TempDir dir;
  UniqueFd with(Open(dir / "f", O_RDWR | O_CREAT | O_CLOEXEC));
  EXPECT_THAT(fcntl(with.get(), F_GETFD), Returns(FD_CLOEXEC));
  UniqueFd copy(dup(with.get()));
  EXPECT_THAT(fcntl(copy.get(), F_GETFD), Returns(0));
}

TEST_P(OpenCall, LowestFreeDescriptor) {
  UniqueFd a(Open("/dev/null", O_RDONLY)), b(Open("/dev/null", O_RDONLY));
  const int freed = a.get();
  a.reset();
  UniqueFd c(Open("/dev/null", O_RDONLY));
  EXPECT_EQ(c.get(), freed);
}

TEST_P(OpenCall, PathDescriptorHasNoContents) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  UniqueFd fd(Open(dir / "f", O_PATH));
  ASSERT_TRUE(fd.valid());
  char byte;
  EXPECT_THAT(read(fd.get(), &byte, 1), FailsWith(EBADF));
  EXPECT_THAT(write(fd.get(), "a", 1), FailsWith(EBADF));
  EXPECT_THAT(fchmod(fd.get(), 0600), FailsWith(EBADF));
  EXPECT_TRUE(S_ISREG(ModeOf(fd.get())));
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_PATH, O_PATH);
}

TEST_P(OpenCall, PathDescriptorOfADirectoryStartsWalks) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  UniqueFd base(Open(dir.path(), O_PATH | O_DIRECTORY));
  UniqueFd fd(openat(base.get(), "f", O_RDONLY));
  EXPECT_EQ(ReadAll(fd.get()), "x");
}

TEST_P(OpenCall, PathDescriptorOfALink) {
  TempDir dir;
  ASSERT_THAT(symlink("elsewhere", (dir / "link").c_str()), Returns(0));
  UniqueFd fd(Open(dir / "link", O_PATH | O_NOFOLLOW));
  ASSERT_TRUE(fd.valid());
  EXPECT_TRUE(S_ISLNK(ModeOf(fd.get())));
  char target[32] = {};
  EXPECT_THAT(readlinkat(fd.get(), "", target, sizeof target), Returns(9));
  EXPECT_STREQ(target, "elsewhere");
}

TEST_P(OpenCall, RelativeToADescriptor) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  UniqueFd base(Open(dir.path(), O_RDONLY | O_DIRECTORY));
  UniqueFd file(openat(base.get(), "f", O_RDONLY));
  EXPECT_TRUE(file.valid());
  EXPECT_THAT(openat(file.get(), "f", O_RDONLY), FailsWith(ENOTDIR));
  EXPECT_THAT(openat(-1, "f", O_RDONLY), FailsWith(EBADF));
  UniqueFd absolute(openat(-1, "/dev/null", O_RDONLY));
  EXPECT_TRUE(absolute.valid());
}

TEST_P(OpenCall, TrailingSlash) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  EXPECT_THAT(Open(dir / "f/", O_RDONLY), FailsWith(ENOTDIR));
  EXPECT_THAT(Open(dir / "new/", O_RDWR | O_CREAT), FailsWith(EISDIR));
  UniqueFd fd(Open(dir.path() + "///", O_RDONLY));
  EXPECT_TRUE(fd.valid());
}

TEST_P(OpenCall, FileAsADirectory) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  EXPECT_THAT(Open(dir / "f/g", O_RDONLY), FailsWith(ENOTDIR));
  EXPECT_THAT(Open(dir / "f/.", O_RDONLY), FailsWith(ENOTDIR));
  EXPECT_THAT(Open(dir / "f/..", O_RDONLY), FailsWith(ENOTDIR));
}

TEST_P(OpenCall, LongNames) {
  TempDir dir;
  UniqueFd longest(Open(dir / std::string(255, 'n'), O_RDWR | O_CREAT));
  EXPECT_TRUE(longest.valid());
  EXPECT_THAT(Open(dir / std::string(256, 'n'), O_RDWR | O_CREAT), FailsWith(ENAMETOOLONG));
  EXPECT_THAT(Open("/" + std::string(4095, '/'), O_RDONLY), FailsWith(ENAMETOOLONG));
  UniqueFd root(Open(std::string(4095, '/'), O_RDONLY));
  EXPECT_TRUE(root.valid());
}

TEST_P(OpenCall, LinkLoop) {
  TempDir dir;
  ASSERT_THAT(symlink("b", (dir / "a").c_str()), Returns(0));
  ASSERT_THAT(symlink("a", (dir / "b").c_str()), Returns(0));
  EXPECT_THAT(Open(dir / "a", O_RDONLY), FailsWith(ELOOP));
  EXPECT_THAT(Open(dir / "a/x", O_RDONLY), FailsWith(ELOOP));
}

TEST_P(OpenCall, FortyLinksAreTheMost) {
  TempDir dir;
  WriteFile(dir / "l0", "end");
  for (int i = 1; i <= 41; ++i) {
    ASSERT_THAT(
        symlink(("l" + std::to_string(i - 1)).c_str(), (dir / ("l" + std::to_string(i))).c_str()),
        Returns(0));
  }
  UniqueFd fd(Open(dir / "l40", O_RDONLY));
  EXPECT_TRUE(fd.valid());
  EXPECT_THAT(Open(dir / "l41", O_RDONLY), FailsWith(ELOOP));
}

TEST_P(OpenCall, TmpfileGetsItsNameLater) {
  TempDir dir;
  UniqueFd fd(Open(dir.path(), O_RDWR | O_TMPFILE, 0600));
  ASSERT_TRUE(fd.valid()) << ErrnoName(errno);
  ASSERT_THAT(write(fd.get(), "kept", 4), Returns(4));
  const std::string self = "/proc/self/fd/" + std::to_string(fd.get());
  ASSERT_THAT(linkat(AT_FDCWD, self.c_str(), AT_FDCWD, (dir / "f").c_str(), AT_SYMLINK_FOLLOW),
              Returns(0));
  EXPECT_EQ(ReadFile(dir / "f"), "kept");
}

TEST_P(OpenCall, FifoWithoutAReader) {
  TempDir dir;
  ASSERT_THAT(mkfifo((dir / "fifo").c_str(), 0644), Returns(0));
  EXPECT_THAT(Open(dir / "fifo", O_WRONLY | O_NONBLOCK), FailsWith(ENXIO));
  UniqueFd reader(Open(dir / "fifo", O_RDONLY | O_NONBLOCK));
  ASSERT_TRUE(reader.valid());
  UniqueFd writer(Open(dir / "fifo", O_WRONLY | O_NONBLOCK));
  ASSERT_TRUE(writer.valid());
  EXPECT_TRUE(Post(writer.get()));
  EXPECT_TRUE(Await(reader.get()));
}

TEST_P(OpenCall, FifoOpensMeet) {
  TempDir dir;
  const std::string fifo = dir / "fifo";
  ASSERT_THAT(mkfifo(fifo.c_str(), 0644), Returns(0));
  const pid_t child = Start([&] {
    UniqueFd writer(Open(fifo, O_WRONLY));
    return Post(writer.get()) ? 0 : 1;
  });
  UniqueFd reader(Open(fifo, O_RDONLY));
  EXPECT_TRUE(Await(reader.get()));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(OpenCall, DescriptorLimit) {
  const int status = InChild([] {
    const rlimit limit = {20, 20};
    CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    int last = -1;
    for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0;) last = fd;
    CHILD_CHECK(errno == EMFILE);
    CHILD_CHECK(last == 19);
    CHILD_CHECK(dup2(0, 20) == -1 && errno == EBADF);
    return 0;
  });
  EXPECT_THAT(status, Exited(0));
}

TEST_P(OpenCall, PermissionBitsBindOrdinaryUsers) {
  TempDir dir;
  WriteFile(dir / "secret", "x");
  ASSERT_THAT(chmod((dir / "secret").c_str(), 0600), Returns(0));
  ASSERT_THAT(mkdir((dir / "closed").c_str(), 0700), Returns(0));
  WriteFile(dir / "closed/f", "x");
  const int status = InChild([&] {
    CHILD_CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHILD_CHECK(Open(dir / "secret", O_RDONLY) == -1 && errno == EACCES);
    CHILD_CHECK(Open(dir / "closed/f", O_RDONLY) == -1 && errno == EACCES);
    CHILD_CHECK(Open(dir / "new", O_RDWR | O_CREAT) == -1 && errno == EACCES);
    return 0;
  });
  EXPECT_THAT(status, Exited(0));
}

TEST_P(OpenCall, SetGroupIdDirectoryGivesItsGroup) {
  TempDir dir;
  ASSERT_THAT(chown(dir.path().c_str(), 0, 1234), Returns(0));
  ASSERT_THAT(chmod(dir.path().c_str(), 02755), Returns(0));
  UniqueFd fd(Open(dir / "f", O_RDWR | O_CREAT));
  struct stat st = {};
  ASSERT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_gid, 1234u);
}

TEST_P(OpenCall, Devices) {
  UniqueFd null(Open("/dev/null", O_RDWR)), zero(Open("/dev/zero", O_RDWR)),
      full(Open("/dev/full", O_RDWR));
  char bytes[4] = {1, 2, 3, 4};
  EXPECT_THAT(read(null.get(), bytes, 4), Returns(0));
  EXPECT_THAT(write(null.get(), bytes, 4), Returns(4));
  EXPECT_THAT(read(zero.get(), bytes, 4), Returns(4));
  EXPECT_EQ(std::string(bytes, 4), std::string(4, '\0'));
  EXPECT_THAT(write(full.get(), bytes, 4), FailsWith(ENOSPC));
  EXPECT_TRUE(S_ISCHR(ModeOf(null.get())));
}

TEST(Close, Twice) {
  const int fd = Open("/dev/null", O_RDONLY);
  EXPECT_THAT(close(fd), Returns(0));
  EXPECT_THAT(close(fd), FailsWith(EBADF));
  EXPECT_THAT(close(-1), FailsWith(EBADF));
}

TEST(Close, Range) {
  const int status = InChild([] {
    UniqueFd a(dup(0)), b(dup(0));
    CHILD_CHECK(syscall(SYS_close_range, a.get(), ~0u, 0) == 0);
    CHILD_CHECK(fcntl(b.get(), F_GETFD) == -1 && errno == EBADF);
    CHILD_CHECK(fcntl(a.release(), F_GETFD) == -1 && errno == EBADF);
    b.release();
    return 0;
  });
  EXPECT_THAT(status, Exited(0));
}

}  // namespace
