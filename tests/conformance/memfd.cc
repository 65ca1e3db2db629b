// memfd_create(2), memfd_secret(2) and seals (fcntl(2)).
#include "tests/conformance/memory_support.h"

namespace {

constexpr unsigned kNoexecSeal = 8, kExec = 16;
constexpr int kAllSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

int Create(const char* name, unsigned flags) {
  return static_cast<int>(syscall(SYS_memfd_create, name, flags));
}
int Seals(const UniqueFd& fd) { return fcntl(fd.get(), F_GET_SEALS); }
int Seal(const UniqueFd& fd, int seals) { return fcntl(fd.get(), F_ADD_SEALS, seals); }

TEST(MemfdCreate, Flags) {
  EXPECT_THAT(Create("x", 0x20), FailsWith(EINVAL));
  EXPECT_THAT(Create("x", 0x80000000), FailsWith(EINVAL));
  EXPECT_THAT(Create("x", kNoexecSeal | kExec), FailsWith(EINVAL));
  EXPECT_THAT(Create("x", 21u << 26), FailsWith(EINVAL));  // A size without MFD_HUGETLB.
  UniqueFd closing(Create("x", MFD_CLOEXEC)), kept(Create("x", 0));
  EXPECT_THAT(fcntl(closing.get(), F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_THAT(fcntl(kept.get(), F_GETFD), Returns(0));
  EXPECT_EQ(fcntl(kept.get(), F_GETFL) & O_ACCMODE, O_RDWR);
}

TEST(MemfdCreate, Names) {
  EXPECT_THAT(Create(nullptr, 0), FailsWith(EFAULT));
  UniqueFd longest(Create(std::string(249, 'n').c_str(), 0));
  EXPECT_THAT(longest.get(), Succeeds());
  EXPECT_THAT(Create(std::string(250, 'n').c_str(), 0), FailsWith(EINVAL));
  UniqueFd empty(Create("", 0)), odd(Create("a/b c", 0)), odd_again(Create("a/b c", 0));
  EXPECT_THAT(empty.get(), Succeeds());
  char target[64] = {};
  EXPECT_GT(readlink(("/proc/self/fd/" + std::to_string(odd.get())).c_str(), target, 63), 0);
  EXPECT_STREQ(target, "/memfd:a/b c (deleted)");
}

TEST(MemfdCreate, Attributes) {
  UniqueFd fd = Memfd(0);
  struct stat st;
  ASSERT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFREG | 0777));
  EXPECT_EQ(st.st_uid, geteuid());
  EXPECT_EQ(st.st_size, 0);
  EXPECT_EQ(st.st_nlink, 0u);
  UniqueFd noexec = Memfd(0, kNoexecSeal);
  ASSERT_THAT(fstat(noexec.get(), &st), Returns(0));
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFREG | 0666));
}

TEST(MemfdCreate, EachIsItsOwn) {
  UniqueFd a = Memfd(kPage), b = Memfd(kPage);
  ASSERT_THAT(pwrite(a.get(), "a", 1, 0), Returns(1));
  EXPECT_EQ(ByteAt(b.get(), 0), 0);
  struct stat of_a, of_b;
  ASSERT_EQ(fstat(a.get(), &of_a) | fstat(b.get(), &of_b), 0);
  EXPECT_NE(of_a.st_ino, of_b.st_ino);
}

TEST(MemfdCreate, SparseAndLarge) {
  UniqueFd fd = Memfd(off_t{1} << 40);
  ASSERT_THAT(pwrite(fd.get(), "x", 1, off_t{1} << 39), Returns(1));
  struct stat st;
  ASSERT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_blocks, 8);
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_DATA), Returns(off_t{1} << 39));
  EXPECT_THAT(
      fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off_t{1} << 39, kPage),
      Returns(0));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_DATA), FailsWith(ENXIO));
}

TEST(MemfdCreate, InheritedByFork) {
  UniqueFd fd = Memfd(kPage);
  EXPECT_THAT(InChild([&] { return pwrite(fd.get(), "f", 1, 0) == 1 ? 0 : 1; }), Exited(0));
  EXPECT_EQ(ByteAt(fd.get(), 0), 'f');
}

TEST(MemfdCreate, Reopened) {
  UniqueFd fd = Memfd(kPage, MFD_ALLOW_SEALING);
  UniqueFd reader = Reopen(fd.get(), O_RDONLY), both = Reopen(fd.get(), O_RDWR);
  ASSERT_THAT(reader.get(), Succeeds());
  EXPECT_THAT(write(reader.get(), "x", 1), FailsWith(EBADF));
  ASSERT_THAT(pwrite(both.get(), "r", 1, 0), Returns(1));
  EXPECT_EQ(ByteAt(reader.get(), 0), 'r');
  // Seals belong to the file; adding some needs a descriptor that can write.
  EXPECT_THAT(Seal(reader, F_SEAL_GROW), FailsWith(EPERM));
  EXPECT_THAT(Seal(both, F_SEAL_GROW), Returns(0));
  EXPECT_THAT(Seals(reader), Returns(F_SEAL_GROW));
}

TEST(MemfdSeals, NoneUnlessAllowed) {
  UniqueFd fd = Memfd(kPage);
  EXPECT_THAT(Seals(fd), Returns(F_SEAL_SEAL));
  EXPECT_THAT(Seal(fd, F_SEAL_WRITE), FailsWith(EPERM));
  UniqueFd open = Memfd(kPage, MFD_ALLOW_SEALING);
  EXPECT_THAT(Seals(open), Returns(0));
  EXPECT_THAT(Seal(open, 0), Returns(0));
  EXPECT_THAT(Seal(open, 0x4000), FailsWith(EINVAL));
}

TEST(MemfdSeals, OtherFiles) {
  std::string path = "/dev/shm/seals.XXXXXX";
  UniqueFd tmpfs(mkstemp(path.data()));
  unlink(path.c_str());
  EXPECT_THAT(Seals(tmpfs), Returns(F_SEAL_SEAL));
  EXPECT_THAT(Seal(tmpfs, F_SEAL_WRITE), FailsWith(EPERM));
  Pipe pipe;
  EXPECT_THAT(Seals(pipe.read), FailsWith(EINVAL));
  UniqueFd root(open("/", O_RDONLY));
  EXPECT_THAT(Seals(root), FailsWith(EINVAL));
}

TEST(MemfdSeals, Shrink) {
  UniqueFd fd = Memfd(2 * kPage, MFD_ALLOW_SEALING);
  ASSERT_THAT(Seal(fd, F_SEAL_SHRINK), Returns(0));
  EXPECT_THAT(ftruncate(fd.get(), kPage), FailsWith(EPERM));
  EXPECT_THAT(ftruncate(fd.get(), 3 * kPage), Returns(0));
  EXPECT_THAT(pwrite(fd.get(), "x", 1, 0), Returns(1));
  EXPECT_EQ(Reopen(fd.get(), O_RDWR | O_TRUNC).get(), -1);
}

TEST(MemfdSeals, Grow) {
  UniqueFd fd = Memfd(kPage, MFD_ALLOW_SEALING);
  ASSERT_THAT(Seal(fd, F_SEAL_GROW), Returns(0));
  EXPECT_THAT(ftruncate(fd.get(), 2 * kPage), FailsWith(EPERM));
  EXPECT_THAT(pwrite(fd.get(), "x", 1, kPage), FailsWith(EPERM));
  EXPECT_THAT(fallocate(fd.get(), 0, 0, 2 * kPage), FailsWith(EPERM));
  EXPECT_THAT(pwrite(fd.get(), "x", 1, kPage - 1), Returns(1));
  EXPECT_THAT(ftruncate(fd.get(), 1), Returns(0));
}

TEST(MemfdSeals, Write) {
  UniqueFd fd = Memfd(kPage, MFD_ALLOW_SEALING);
  ASSERT_THAT(Seal(fd, F_SEAL_WRITE), Returns(0));
  EXPECT_THAT(pwrite(fd.get(), "x", 1, 0), FailsWith(EPERM));
  EXPECT_THAT(fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPage),
              FailsWith(EPERM));
  EXPECT_THAT(mmap(nullptr, kPage, kReadWrite, MAP_SHARED, fd.get(), 0), FailsWith(EPERM));
  EXPECT_THAT(ftruncate(fd.get(), 2 * kPage), Returns(0));
  Mapping copy(kPage, kReadWrite, MAP_PRIVATE, fd.get());
  copy[0] = 'p';
  EXPECT_EQ(ByteAt(fd.get(), 0), 0);
}

TEST(MemfdSeals, WriteWaitsForWritableMappings) {
  UniqueFd fd = Memfd(kPage, MFD_ALLOW_SEALING);
  {
    Mapping map(kPage, kReadWrite, MAP_SHARED, fd.get());
    EXPECT_THAT(Seal(fd, F_SEAL_WRITE), FailsWith(EBUSY));
    EXPECT_THAT(Seals(fd), Returns(0));
  }
  {
    // It could be made writable.
    Mapping map(kPage, PROT_READ, MAP_SHARED, fd.get());
    EXPECT_THAT(Seal(fd, F_SEAL_WRITE), FailsWith(EBUSY));
  }
  Mapping copy(kPage, kReadWrite, MAP_PRIVATE, fd.get());
  EXPECT_THAT(Seal(fd, F_SEAL_WRITE), Returns(0));
}

TEST(MemfdSeals, WriteWithAReadOnlyMapping) {
  UniqueFd fd = Memfd(kPage, MFD_ALLOW_SEALING);
  UniqueFd reader = Reopen(fd.get(), O_RDONLY);
  Mapping map(kPage, PROT_READ, MAP_SHARED, reader.get());
  EXPECT_THAT(Seal(fd, F_SEAL_WRITE), Returns(0));
  EXPECT_THAT(mprotect(map.get(), kPage, kReadWrite), FailsWith(EACCES));
}

TEST(MemfdSeals, FutureWrite) {
  UniqueFd fd = Memfd(kPage, MFD_ALLOW_SEALING);
  Mapping before(kPage, kReadWrite, MAP_SHARED, fd.get());
  ASSERT_THAT(Seal(fd, kSealFutureWrite), Returns(0));
  EXPECT_THAT(mmap(nullptr, kPage, kReadWrite, MAP_SHARED, fd.get(), 0), FailsWith(EPERM));
  EXPECT_THAT(pwrite(fd.get(), "x", 1, 0), FailsWith(EPERM));
  Mapping after(kPage, PROT_READ, MAP_SHARED, fd.get());
  EXPECT_THAT(mprotect(after.get(), kPage, kReadWrite), FailsWith(EACCES));
  before[0] = 'b';
  EXPECT_EQ(after[0], 'b');
}

TEST(MemfdSeals, SealEndsIt) {
  UniqueFd fd = Memfd(kPage, MFD_ALLOW_SEALING);
  ASSERT_THAT(Seal(fd, F_SEAL_SEAL | F_SEAL_GROW), Returns(0));
  EXPECT_THAT(Seal(fd, F_SEAL_SHRINK), FailsWith(EPERM));
  EXPECT_THAT(Seal(fd, F_SEAL_GROW), FailsWith(EPERM));
  EXPECT_THAT(Seals(fd), Returns(F_SEAL_SEAL | F_SEAL_GROW));
}

TEST(MemfdSeals, AllTogether) {
  UniqueFd fd = Memfd(kPage, MFD_ALLOW_SEALING);
  ASSERT_THAT(Seal(fd, kAllSeals), Returns(0));
  EXPECT_THAT(Seals(fd), Returns(kAllSeals));
  Mapping map(kPage, PROT_READ, MAP_PRIVATE, fd.get());
  EXPECT_EQ(map[0], 0);
}

TEST(MemfdSeals, Exec) {
  UniqueFd fd = Memfd(kPage, kNoexecSeal);
  EXPECT_THAT(Seals(fd), Returns(kSealExec));
  EXPECT_THAT(fchmod(fd.get(), 0777), FailsWith(EPERM));
  EXPECT_THAT(fchmod(fd.get(), 0600), Returns(0));
  EXPECT_THAT(Seal(fd, F_SEAL_GROW), Returns(0));
  EXPECT_THAT(Seals(fd), Returns(kSealExec | F_SEAL_GROW));
}

TEST(MemfdSeals, ExecOfAnExecutable) {
  UniqueFd fd = Memfd(kPage, MFD_ALLOW_SEALING | kExec);
  ASSERT_THAT(Seal(fd, kSealExec), Returns(0));
  // What stays executable is not to change any more.
  EXPECT_THAT(Seals(fd),
              Returns(kSealExec | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | kSealFutureWrite));
  EXPECT_THAT(fchmod(fd.get(), 0666), FailsWith(EPERM));
  UniqueFd plain = Memfd(kPage, MFD_ALLOW_SEALING | kExec);
  ASSERT_THAT(fchmod(plain.get(), 0666), Returns(0));
  ASSERT_THAT(Seal(plain, kSealExec), Returns(0));
  EXPECT_THAT(Seals(plain), Returns(kSealExec));
}

TEST(MemfdHuge, SizesAndMappings) {
  const int fd = Create("huge", MFD_HUGETLB | (21u << 26));
  if (fd == -1) {
    EXPECT_THAT(errno, testing::AnyOf(ENODEV, ENOSYS));
    return;
  }
  UniqueFd huge(fd);
  EXPECT_THAT(ftruncate(fd, kPage), FailsWith(EINVAL));
  EXPECT_THAT(ftruncate(fd, 2 << 20), Returns(0));
  EXPECT_THAT(write(fd, "x", 1), FailsWith(EINVAL));
  void* at = mmap(nullptr, 2 << 20, kReadWrite, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) {
    EXPECT_EQ(errno, ENOMEM);  // None are set aside.
  } else {
    munmap(at, 2 << 20);
  }
  EXPECT_THAT(Create("odd", MFD_HUGETLB | (13u << 26)), FailsWith(ENODEV));
}

TEST(MemfdSecret, WhereThereIsSuchAThing) {
  const int fd = static_cast<int>(syscall(447, 0));
  if (fd == -1) {
    EXPECT_EQ(errno, ENOSYS);
    return;
  }
  UniqueFd secret(fd);
  EXPECT_THAT(read(fd, &errno, 1), FailsWith(EINVAL));
}

TEST(Userfaultfd, HasFlagsOfItsOwn) {
  EXPECT_THAT(syscall(SYS_userfaultfd, 0x4000),
              testing::AnyOf(FailsWith(EINVAL), FailsWith(EPERM), FailsWith(ENOSYS)));
}

}  // namespace
