// Calls that hardly anybody makes any more, or yet: old forms of others, and flags that a
// filesystem in memory refuses.
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <set>

#include "tests/conformance/mount_support.h"
#include "tests/conformance/support.h"

namespace {

using namespace conformance;

#ifndef RWF_NOAPPEND
#define RWF_NOAPPEND 0x20
#endif
constexpr int kAtomic = 0x40, kDontCache = 0x80;  // RWF_ATOMIC, RWF_DONTCACHE.

// On the tmpfs that every Linux has; removed with its contents.
class Rare : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/dev/shm/rare.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    top_ = name;
    WriteFile(At("file"), "0123456789");
  }
  void TearDown() override {
    const std::string remove = "rm -rf " + top_;
    EXPECT_EQ(system(remove.c_str()), 0);
  }
  std::string At(const std::string& name) const { return top_ + "/" + name; }
  UniqueFd Open(int flags) const { return UniqueFd(open(At("file").c_str(), flags | O_CLOEXEC)); }

  std::string top_;
};

TEST_F(Rare, FutimesatTakesMicroseconds) {
  const timeval times[2] = {{.tv_sec = 11, .tv_usec = 22}, {.tv_sec = 33, .tv_usec = 999999}};
  const UniqueFd directory(open(top_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  struct stat st;
  ASSERT_THAT(syscall(SYS_futimesat, directory.get(), "file", times), Succeeds());
  ASSERT_THAT(stat(At("file").c_str(), &st), Succeeds());
  EXPECT_EQ(st.st_atim.tv_sec, 11);
  EXPECT_EQ(st.st_atim.tv_nsec, 22000);
  EXPECT_EQ(st.st_mtim.tv_sec, 33);
  EXPECT_EQ(st.st_mtim.tv_nsec, 999999000);
  // Without a path the descriptor itself.
  const UniqueFd file = Open(O_RDONLY);
  ASSERT_THAT(syscall(SYS_futimesat, file.get(), nullptr, nullptr), Succeeds());
  ASSERT_THAT(fstat(file.get(), &st), Succeeds());
  EXPECT_GT(st.st_mtim.tv_sec, 33);

  const timeval odd[2] = {{.tv_sec = 1, .tv_usec = 1000000}, {}};
  EXPECT_THAT(syscall(SYS_futimesat, AT_FDCWD, At("file").c_str(), odd), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_futimesat, AT_FDCWD, At("none").c_str(), times), FailsWith(ENOENT));
  EXPECT_THAT(syscall(SYS_futimesat, -1, "file", times), FailsWith(EBADF));
  EXPECT_THAT(syscall(SYS_futimesat, file.get(), "file", times), FailsWith(ENOTDIR));
  EXPECT_THAT(syscall(SYS_futimesat, AT_FDCWD, nullptr, times), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_futimesat, AT_FDCWD, At("file").c_str(), 8), FailsWith(EFAULT));
}

// struct linux_dirent of getdents(2): the type is the last byte of an entry.
struct OldEntry {
  unsigned long ino;
  unsigned long next;
  unsigned short size;
  char name[];
};

TEST_F(Rare, OldGetdentsTellsTheTypeLast) {
  ASSERT_EQ(mkdir(At("folder").c_str(), 0755), 0);
  ASSERT_EQ(symlink("file", At("link").c_str()), 0);
  const UniqueFd directory(open(top_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::set<std::pair<std::string, int>> seen;
  alignas(OldEntry) char bytes[72];  // Room for two or three at a time.
  for (;;) {
    const long size = syscall(SYS_getdents, directory.get(), bytes, sizeof bytes);
    ASSERT_GE(size, 0);
    if (size == 0) break;
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const OldEntry*>(bytes + at);
      ASSERT_GE(entry->size, sizeof(OldEntry));
      ASSERT_EQ(entry->size % sizeof(long), 0u);
      seen.emplace(entry->name, bytes[at + entry->size - 1]);
      struct stat st;
      ASSERT_THAT(lstat(At(entry->name).c_str(), &st), Succeeds());
      const bool above = std::string(entry->name) == "..";
      EXPECT_TRUE(above || entry->ino == st.st_ino) << entry->name;
      at += entry->size;
    }
  }
  const std::set<std::pair<std::string, int>> wanted = {
      {".", DT_DIR}, {"..", DT_DIR}, {"file", DT_REG}, {"folder", DT_DIR}, {"link", DT_LNK}};
  EXPECT_EQ(seen, wanted);

  ASSERT_EQ(lseek(directory.get(), 0, SEEK_SET), 0);
  EXPECT_THAT(syscall(SYS_getdents, directory.get(), bytes, 8), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_getdents, directory.get(), 8, 100), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_getdents, Open(O_RDONLY).get(), bytes, sizeof bytes), FailsWith(ENOTDIR));
  EXPECT_THAT(syscall(SYS_getdents, -1, bytes, sizeof bytes), FailsWith(EBADF));
}

TEST(RareCalls, SysfsNumbersFilesystems) {
  const long count = syscall(SYS_sysfs, 3);
  ASSERT_GT(count, 2);
  bool has_tmpfs = false;
  for (long i = 0; i < count; ++i) {
    char name[64] = {};
    ASSERT_THAT(syscall(SYS_sysfs, 2, i, name), Succeeds());
    EXPECT_EQ(syscall(SYS_sysfs, 1, name), i) << name;
    has_tmpfs |= std::string(name) == "tmpfs";
  }
  EXPECT_TRUE(has_tmpfs);
  char name[64];
  EXPECT_THAT(syscall(SYS_sysfs, 2, count, name), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_sysfs, 1, "no such filesystem"), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_sysfs, 4), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_sysfs, 2, 0, nullptr), FailsWith(EFAULT));
}

TEST_F(Rare, FallocateRefusesInOrder) {
  constexpr int kKeep = FALLOC_FL_KEEP_SIZE, kPunch = FALLOC_FL_PUNCH_HOLE;
  const UniqueFd fd = Open(O_RDWR), reader = Open(O_RDONLY);
  for (const int mode : {FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE,
                         FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | kKeep, kPunch,
                         kPunch | kKeep | FALLOC_FL_COLLAPSE_RANGE, 0x4000, 0x4000 | kKeep}) {
    EXPECT_THAT(fallocate(fd.get(), mode, 0, 4096), FailsWith(EOPNOTSUPP)) << mode;
    EXPECT_THAT(fallocate(fd.get(), mode, 0, 0), FailsWith(EINVAL)) << mode;
    EXPECT_THAT(fallocate(fd.get(), mode, -1, 1), FailsWith(EINVAL)) << mode;
  }
  EXPECT_THAT(fallocate(reader.get(), kPunch, 0, 4096), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(fallocate(reader.get(), kPunch | kKeep, 0, 4096), FailsWith(EBADF));
  EXPECT_THAT(fallocate(fd.get(), kPunch | kKeep, 2, 3), Succeeds());
  EXPECT_EQ(ReadFile(At("file")), std::string("01\0\0\0"
                                              "56789",
                                              10));
  EXPECT_THAT(fallocate(fd.get(), kKeep, 0, 10000), Succeeds());
  struct stat st;
  ASSERT_THAT(fstat(fd.get(), &st), Succeeds());
  EXPECT_EQ(st.st_size, 10);
  EXPECT_THAT(fallocate(fd.get(), 0, INT64_MAX, 1), FailsWith(EFBIG));
  int pipes[2];
  ASSERT_EQ(pipe2(pipes, O_CLOEXEC), 0);
  const UniqueFd in(pipes[1]), out(pipes[0]);
  EXPECT_THAT(fallocate(in.get(), 0, 0, 1), FailsWith(ESPIPE));
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_THAT(fallocate(null.get(), 0, 0, 1), FailsWith(ENODEV));
}

TEST_F(Rare, ClonesArePartOfNoFilesystemInMemory) {
  WriteFile(At("other"), "");
  const UniqueFd from = Open(O_RDONLY);
  const UniqueFd to(open(At("other").c_str(), O_RDWR | O_CLOEXEC));
  file_clone_range range = {
      .src_fd = from.get(), .src_offset = 0, .src_length = 0, .dest_offset = 0};
  EXPECT_THAT(ioctl(to.get(), FICLONERANGE, &range), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(ioctl(to.get(), FICLONE, from.get()), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(ioctl(to.get(), FICLONERANGE, nullptr), FailsWith(EFAULT));
  range.src_fd = -1;
  EXPECT_THAT(ioctl(to.get(), FICLONERANGE, &range), FailsWith(EBADF));
  char label[FSLABEL_MAX];
  EXPECT_THAT(ioctl(to.get(), FS_IOC_GETFSLABEL, label), FailsWith(ENOTTY));
}

TEST_F(Rare, FlagsOfOneTransfer) {
  char bytes[4] = {'a', 'b', 'c', 'd'};
  const iovec iov = {bytes, sizeof bytes};
  const UniqueFd fd = Open(O_RDWR), end = Open(O_RDWR | O_APPEND);
  EXPECT_THAT(pwritev2(fd.get(), &iov, 1, 0, RWF_APPEND), Returns(4));
  EXPECT_EQ(ReadFile(At("file")), "0123456789abcd");
  EXPECT_THAT(pwritev2(end.get(), &iov, 1, 1, RWF_NOAPPEND), Returns(4));
  EXPECT_EQ(ReadFile(At("file")), "0abcd56789abcd");
  EXPECT_THAT(pwritev2(end.get(), &iov, 1, 1, 0), Returns(4));
  EXPECT_EQ(ReadFile(At("file")), "0abcd56789abcdabcd");
  EXPECT_THAT(pwritev2(end.get(), &iov, 1, 0, RWF_APPEND | RWF_NOAPPEND), FailsWith(EINVAL));
  // At the position, which moves with it.
  ASSERT_EQ(lseek(fd.get(), 1, SEEK_SET), 1);
  EXPECT_THAT(pwritev2(fd.get(), &iov, 1, -1, RWF_APPEND), Returns(4));
  EXPECT_EQ(lseek(fd.get(), 0, SEEK_CUR), 22);
  ASSERT_EQ(lseek(end.get(), 5, SEEK_SET), 5);
  EXPECT_THAT(pwritev2(end.get(), &iov, 1, -1, RWF_NOAPPEND), Returns(4));
  EXPECT_EQ(lseek(end.get(), 0, SEEK_CUR), 9);
  EXPECT_EQ(ReadFile(At("file")), "0abcdabcd9abcdabcdabcd");
  EXPECT_THAT(pwritev2(fd.get(), &iov, 1, 0, RWF_DSYNC), Returns(4));
  EXPECT_THAT(pwritev2(fd.get(), &iov, 1, 4, RWF_SYNC), Returns(4));
  for (const int flag : {kAtomic, kDontCache, 0x4000000}) {
    EXPECT_THAT(preadv2(fd.get(), &iov, 1, 0, flag), FailsWith(EOPNOTSUPP)) << flag;
    EXPECT_THAT(pwritev2(fd.get(), &iov, 1, 0, flag), FailsWith(EOPNOTSUPP)) << flag;
  }
  EXPECT_THAT(preadv2(fd.get(), &iov, 1, 0, RWF_HIPRI), Returns(4));
  EXPECT_EQ(std::string(bytes, 4), "abcd");
}

TEST_F(Rare, WithoutADescriptorNothingIsOpenedOrMade) {
  EXPECT_THAT(InChild([&] {
                for (int i = 0; i < 300; ++i) CHILD_CHECK(open(At("none").c_str(), O_RDONLY) < 0);
                const rlimit few = {.rlim_cur = 20, .rlim_max = 20};
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
                while (dup(STDIN_FILENO) >= 0) {
                }
                CHILD_CHECK(errno == EMFILE);
                CHILD_CHECK(open(At("none").c_str(), O_RDONLY) < 0 && errno == EMFILE);
                CHILD_CHECK(open(At("made").c_str(), O_CREAT | O_RDWR, 0644) < 0 && errno == EMFILE);
                // What is wrong with the call itself comes first.
                CHILD_CHECK(open("", O_RDONLY) < 0 && errno == ENOENT);
                CHILD_CHECK(syscall(SYS_open, nullptr, O_RDONLY) < 0 && errno == EFAULT);
                CHILD_CHECK(openat(-1, "none", O_RDONLY) < 0 && errno == EMFILE);
                CHILD_CHECK(close(19) == 0);
                CHILD_CHECK(open(At("none").c_str(), O_RDONLY) < 0 && errno == ENOENT);
                CHILD_CHECK(open(At("made").c_str(), O_CREAT | O_EXCL | O_RDWR, 0644) == 19);
                return 0;
              }),
              Exited(0));
}

// Descriptors run out in other ways than by taking the highest one last.
TEST_F(Rare, TheLastDescriptorGoesInManyWays) {
  const std::string none = At("none");
  const auto full = [&none] {
    while (dup(STDIN_FILENO) >= 0) {
    }
    return open(none.c_str(), O_RDONLY) < 0 && errno == EMFILE;
  };
  const auto limit = [](rlim_t most) {
    const rlimit few = {.rlim_cur = most, .rlim_max = most};
    return setrlimit(RLIMIT_NOFILE, &few) == 0;
  };
  const auto warm = [&none] {
    for (int i = 0; i < 300; ++i) {
      if (open(none.c_str(), O_RDONLY) >= 0 || errno != ENOENT) return false;
    }
    return true;
  };
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(limit(20));
                CHILD_CHECK(dup2(STDIN_FILENO, 19) == 19);
                CHILD_CHECK(warm());
                CHILD_CHECK(full());
                return 0;
              }),
              Exited(0));
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(limit(20));
                CHILD_CHECK(warm());
                for (int fd = 3; fd < 20; ++fd) close(fd);
                CHILD_CHECK(fcntl(STDIN_FILENO, F_DUPFD, 19) == 19);
                CHILD_CHECK(full());
                return 0;
              }),
              Exited(0));
  EXPECT_THAT(InChild([&] {
                Pipe ready, go;
                const pid_t child = Start([&] {
                  while (dup(STDIN_FILENO) < 40) {
                  }
                  const bool warmed = warm() && Post(ready.write.get()) && Await(go.read.get());
                  return warmed && open(none.c_str(), O_RDONLY) < 0 && errno == EMFILE ? 0 : 1;
                });
                CHILD_CHECK(Await(ready.read.get()));
                const rlimit few = {.rlim_cur = 20, .rlim_max = 20};
                CHILD_CHECK(prlimit(child, RLIMIT_NOFILE, &few, nullptr) == 0);
                CHILD_CHECK(Post(go.write.get()));
                int status = 0;
                CHILD_CHECK(waitpid(child, &status, 0) == child);
                return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
              }),
              Exited(0));
}

TEST_F(Rare, AlignmentIsNotTold) {
  constexpr unsigned kDirect = 0x2000;  // STATX_DIOALIGN.
  struct statx stx;
  ASSERT_THAT(statx(AT_FDCWD, At("file").c_str(), 0, STATX_BASIC_STATS | kDirect, &stx),
              Succeeds());
  EXPECT_EQ(stx.stx_mask & kDirect, 0u);
  EXPECT_EQ(stx.stx_mask & STATX_BASIC_STATS, unsigned{STATX_BASIC_STATS});
}

TEST_F(Mounts, SymbolicLinksMayNotBeFollowed) {
  Inside([this] {
    constexpr unsigned long kNoSymfollow = 256;
    constexpr long kStNoSymfollow = 0x2000;
    ASSERT_EQ(MountTmpfs("a"), 0);
    ASSERT_EQ(mkdir(At("a/folder").c_str(), 0755), 0);
    WriteFile(At("a/folder/file"), "x");
    ASSERT_EQ(symlink("folder", At("a/link").c_str()), 0);
    ASSERT_EQ(symlink(At("a/folder").c_str(), At("b/into").c_str()), 0);
    ASSERT_TRUE(Exists(At("a/link/file")));
    ASSERT_EQ(
        mount(nullptr, At("a").c_str(), nullptr, MS_REMOUNT | MS_BIND | kNoSymfollow, nullptr), 0);
    struct statfs fs;
    ASSERT_THAT(statfs(At("a").c_str(), &fs), Succeeds());
    EXPECT_EQ(fs.f_flags & kStNoSymfollow, kStNoSymfollow);
    EXPECT_TRUE(HasWord(FindMount(At("a"))->options, "nosymfollow"));
    struct stat st;
    EXPECT_THAT(stat(At("a/link/file").c_str(), &st), FailsWith(ELOOP));
    EXPECT_THAT(stat(At("a/link").c_str(), &st), FailsWith(ELOOP));
    EXPECT_THAT(open(At("a/link").c_str(), O_RDONLY), FailsWith(ELOOP));
    EXPECT_THAT(chdir(At("a/link").c_str()), FailsWith(ELOOP));
    // They are there, and those of others lead here.
    char text[16];
    EXPECT_THAT(readlink(At("a/link").c_str(), text, sizeof text), Returns(6));
    EXPECT_THAT(lstat(At("a/link").c_str(), &st), Succeeds());
    EXPECT_TRUE(Exists(At("b/into/file")));
    EXPECT_THAT(unlink(At("a/link").c_str()), Succeeds());
  });
}

}  // namespace
