// madvise(2), process_madvise(2), process_mrelease(2).
#include <sys/uio.h>

#include "tests/conformance/memory_support.h"

namespace {

constexpr int kMadvCold = 20, kMadvPageout = 21;

TEST(MadviseErrors, Arguments) {
  Mapping map(2 * kPage);
  EXPECT_THAT(madvise(map.get() + 1, kPage, MADV_NORMAL), FailsWith(EINVAL));
  EXPECT_THAT(madvise(map.get(), kPage, 77), FailsWith(EINVAL));
  EXPECT_THAT(madvise(map.get(), kPage, -1), FailsWith(EINVAL));
  EXPECT_THAT(madvise(map.get(), 0, MADV_DONTNEED), Returns(0));
  EXPECT_THAT(madvise(map.get(), SIZE_MAX, MADV_NORMAL), FailsWith(EINVAL));
  EXPECT_THAT(madvise(map.get(), SIZE_MAX - 2 * kPage, MADV_NORMAL), FailsWith(EINVAL));
}

TEST(MadviseErrors, HolesAreReportedAtTheEnd) {
  Mapping map(3 * kPage);
  memset(map.get(), 1, 3 * kPage);
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(madvise(map.get(), 3 * kPage, MADV_DONTNEED), FailsWith(ENOMEM));
  // The rest has been done.
  EXPECT_EQ(map.page(0)[0], 0);
  EXPECT_EQ(map.page(2)[0], 0);
}

TEST(MadviseHints, AreAccepted) {
  Mapping map(4 * kPage);
  memset(map.get(), 9, 4 * kPage);
  for (const int advice :
       {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
        MADV_DONTDUMP, MADV_DODUMP, kMadvCold, kMadvPageout, MADV_MERGEABLE, MADV_UNMERGEABLE}) {
    EXPECT_THAT(madvise(map.get(), 4 * kPage, advice), Returns(0)) << advice;
    EXPECT_EQ(map[kPage], 9) << advice;
  }
}

TEST(MadviseHints, OfNothing) {
  Mapping map(2 * kPage);
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  for (const int advice : {MADV_WILLNEED, MADV_MERGEABLE, MADV_DONTFORK, kMadvCold}) {
    EXPECT_THAT(madvise(map.get(), 2 * kPage, advice), FailsWith(ENOMEM)) << advice;
  }
}

TEST(MadviseHints, OfFiles) {
  UniqueFd fd = OpenTemp(0, std::string(4 * kPage, 'f'));
  for (const int type : {MAP_PRIVATE, MAP_SHARED}) {
    Mapping map(4 * kPage, PROT_READ, type, fd.get());
    for (const int advice :
         {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, kMadvCold}) {
      EXPECT_THAT(madvise(map.get(), 4 * kPage, advice), Returns(0)) << advice;
    }
    EXPECT_EQ(map[kPage], 'f');
  }
}

TEST(MadviseDontNeed, PrivateMemoryIsZeroAgain) {
  Mapping map(4 * kPage);
  memset(map.get(), 1, 4 * kPage);
  ASSERT_THAT(madvise(map.page(1), 1, MADV_DONTNEED), Returns(0));  // Rounded up.
  EXPECT_EQ(map.page(0)[0], 1);
  EXPECT_EQ(map.page(1)[kPage - 1], 0);
  EXPECT_EQ(map.page(2)[0], 1);
}

TEST(MadviseDontNeed, SharedMemoryStays) {
  Mapping map(2 * kPage, kReadWrite, kShared);
  memset(map.get(), 2, 2 * kPage);
  ASSERT_THAT(madvise(map.get(), 2 * kPage, MADV_DONTNEED), Returns(0));
  EXPECT_EQ(map[kPage], 2);
}

TEST(MadviseDontNeed, OwnCopyOfAFileGoes) {
  UniqueFd fd = OpenTemp(0, std::string(2 * kPage, 'f'));
  Mapping map(2 * kPage, kReadWrite, MAP_PRIVATE, fd.get());
  memset(map.get(), 'x', 2 * kPage);
  ASSERT_THAT(madvise(map.page(1), kPage, MADV_DONTNEED), Returns(0));
  EXPECT_EQ(map[0], 'x');
  EXPECT_EQ(map[kPage], 'f');
}

TEST(MadviseDontNeed, LockedMemoryIsRefused) {
  Mapping map(2 * kPage);
  map[0] = 'l';
  ASSERT_THAT(mlock(map.get(), kPage), Returns(0));
  EXPECT_THAT(madvise(map.get(), kPage, MADV_DONTNEED), FailsWith(EINVAL));
  EXPECT_EQ(map[0], 'l');
  EXPECT_THAT(madvise(map.get(), kPage, kMadvDontneedLocked), Returns(0));
  EXPECT_EQ(map[0], 0);
}

TEST(MadviseFree, WrittenPagesStay) {
  Mapping map(4 * kPage);
  memset(map.get(), 1, 4 * kPage);
  ASSERT_THAT(madvise(map.get(), 4 * kPage, MADV_FREE), Returns(0));
  map[0] = 5;  // Cancels it for this page.
  EXPECT_EQ(map[0], 5);
  EXPECT_THAT(map[kPage], testing::AnyOf(0, 1));
}

TEST(MadviseFree, IsForPrivateAnonymousMemory) {
  Mapping shared(kPage, kReadWrite, kShared);
  EXPECT_THAT(madvise(shared.get(), kPage, MADV_FREE), FailsWith(EINVAL));
  UniqueFd fd = OpenTemp(0, "x");
  Mapping file(kPage, kReadWrite, MAP_PRIVATE, fd.get());
  EXPECT_THAT(madvise(file.get(), kPage, MADV_FREE), FailsWith(EINVAL));
}

TEST(MadviseRemove, PunchesAHoleIntoSharedMemory) {
  Mapping map(4 * kPage, kReadWrite, kShared);
  memset(map.get(), 1, 4 * kPage);
  ASSERT_THAT(madvise(map.page(1), 2 * kPage, MADV_REMOVE), Returns(0));
  EXPECT_EQ(map.page(0)[0], 1);
  EXPECT_EQ(map.page(1)[0], 0);
  EXPECT_EQ(map.page(3)[0], 1);
}

TEST(MadviseRemove, PunchesAHoleIntoAFile) {
  UniqueFd memfd = Memfd(4 * kPage);
  std::string path = "/dev/shm/remove.XXXXXX";
  UniqueFd tmpfs(mkstemp(path.data()));
  unlink(path.c_str());
  ASSERT_THAT(ftruncate(tmpfs.get(), 4 * kPage), Returns(0));
  for (const int fd : {memfd.get(), tmpfs.get()}) {
    Mapping map(4 * kPage, kReadWrite, MAP_SHARED, fd);
    memset(map.get(), 1, 4 * kPage);
    ASSERT_THAT(madvise(map.page(2), kPage, MADV_REMOVE), Returns(0));
    EXPECT_EQ(ByteAt(fd, 2 * kPage), 0);
    EXPECT_EQ(ByteAt(fd, kPage), 1);
    struct stat st;
    ASSERT_THAT(fstat(fd, &st), Returns(0));
    EXPECT_EQ(st.st_size, static_cast<off_t>(4 * kPage));
    EXPECT_EQ(st.st_blocks, 3 * 8);
  }
}

TEST(MadviseRemove, NeedsAWritableSharedMapping) {
  Mapping copy(kPage);
  EXPECT_THAT(madvise(copy.get(), kPage, MADV_REMOVE), FailsWith(EINVAL));
  UniqueFd fd = Memfd(kPage);
  UniqueFd reader = Reopen(fd.get(), O_RDONLY);
  Mapping map(kPage, PROT_READ, MAP_SHARED, reader.get());
  EXPECT_THAT(madvise(map.get(), kPage, MADV_REMOVE), FailsWith(EACCES));
}

TEST(MadviseFork, DontForkIsNotInTheChild) {
  Mapping map(3 * kPage);
  ASSERT_THAT(madvise(map.page(1), kPage, MADV_DONTFORK), Returns(0));
  EXPECT_THAT(
      InChild([&] {
        CHILD_CHECK(Readable(map.page(0)) && !Readable(map.page(1)) && Readable(map.page(2)));
        return 0;
      }),
      Exited(0));
  ASSERT_THAT(madvise(map.page(1), kPage, MADV_DOFORK), Returns(0));
  EXPECT_THAT(InChild([&] { return Readable(map.page(1)) ? 0 : 1; }), Exited(0));
}

TEST(MadviseFork, WipeOnForkIsZeroInTheChild) {
  Mapping map(2 * kPage);
  memset(map.get(), 'w', 2 * kPage);
  ASSERT_THAT(madvise(map.page(0), kPage, MADV_WIPEONFORK), Returns(0));
  EXPECT_THAT(InChild([&] { return map[0] == 0 && map[kPage] == 'w' ? 0 : 1; }), Exited(0));
  EXPECT_EQ(map[0], 'w');
  ASSERT_THAT(madvise(map.page(0), kPage, MADV_KEEPONFORK), Returns(0));
  EXPECT_THAT(InChild([&] { return map[0] == 'w' ? 0 : 1; }), Exited(0));
}

TEST(MadviseFork, WipeOnForkIsInherited) {
  Mapping map(kPage);
  ASSERT_THAT(madvise(map.get(), kPage, MADV_WIPEONFORK), Returns(0));
  EXPECT_THAT(InChild([&] {
                map[0] = 'c';
                return WEXITSTATUS(InChild([&] { return map[0] == 0 ? 0 : 1; }));
              }),
              Exited(0));
}

TEST(MadviseFork, WipeOnForkIsForPrivateAnonymousMemory) {
  Mapping shared(kPage, kReadWrite, kShared);
  EXPECT_THAT(madvise(shared.get(), kPage, MADV_WIPEONFORK), FailsWith(EINVAL));
}

TEST(MadvisePopulate, BringsPagesIn) {
  for (const int advice : {kMadvPopulateRead, kMadvPopulateWrite}) {
    Mapping map(4 * kPage);
    ASSERT_THAT(madvise(map.get(), 4 * kPage, advice), Returns(0));
    unsigned char resident[4] = {};
    ASSERT_THAT(mincore(map.get(), 4 * kPage, resident), Returns(0));
    EXPECT_EQ(resident[0] & resident[3] & 1, 1);
  }
}

TEST(MadvisePopulate, Errors) {
  Mapping map(3 * kPage);
  ASSERT_THAT(mprotect(map.page(1), kPage, PROT_READ), Returns(0));
  EXPECT_THAT(madvise(map.get(), 3 * kPage, kMadvPopulateRead), Returns(0));
  EXPECT_THAT(madvise(map.get(), 3 * kPage, kMadvPopulateWrite), FailsWith(EINVAL));
  ASSERT_THAT(mprotect(map.page(1), kPage, PROT_NONE), Returns(0));
  EXPECT_THAT(madvise(map.get(), 3 * kPage, kMadvPopulateRead), FailsWith(EINVAL));
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(madvise(map.get(), 3 * kPage, kMadvPopulateRead), FailsWith(ENOMEM));
}

TEST(MadvisePopulate, BeyondAFilesEnd) {
  UniqueFd fd = Memfd(kPage);
  Mapping map(2 * kPage, kReadWrite, MAP_SHARED, fd.get());
  EXPECT_THAT(madvise(map.get(), 2 * kPage, kMadvPopulateRead), FailsWith(EFAULT));
}

// Guards of Linux 6.13: pages that cannot be touched, without a mapping of their own.
class MadviseGuard : public testing::Test {
 protected:
  static constexpr int kInstall = 102, kRemove = 103;
  void SetUp() override {
    if (madvise(map_.get(), kPage, kInstall) != 0) GTEST_SKIP() << "before Linux 6.13";
    ASSERT_THAT(madvise(map_.get(), kPage, kRemove), Returns(0));
    memset(map_.get(), 'x', 3 * kPage);
  }
  Mapping map_{3 * kPage};
};

TEST_F(MadviseGuard, TouchingOneFaults) {
  ASSERT_THAT(madvise(map_.page(1), kPage, kInstall), Returns(0));
  EXPECT_EQ(map_.page(0)[0], 'x');
  EXPECT_EQ(map_.page(2)[0], 'x');
  EXPECT_THAT(InChild([&] { return *const_cast<volatile char*>(map_.page(1)); }), Killed(SIGSEGV));
  EXPECT_THAT(InChild([&] {
                *const_cast<volatile char*>(map_.page(1)) = 1;
                return 0;
              }),
              Killed(SIGSEGV));
  Pipe pipe;
  EXPECT_THAT(write(pipe.write.get(), map_.page(1), 1), FailsWith(EFAULT));
  // What was there is gone, as the manual says.
  ASSERT_THAT(madvise(map_.page(1), kPage, kRemove), Returns(0));
  EXPECT_EQ(map_.page(1)[0], 0);
}

TEST_F(MadviseGuard, StaysWhateverElseIsAdvised) {
  ASSERT_THAT(madvise(map_.page(1), kPage, kInstall), Returns(0));
  EXPECT_THAT(madvise(map_.get(), 3 * kPage, MADV_DONTNEED), Returns(0));
  EXPECT_THAT(mprotect(map_.get(), 3 * kPage, PROT_READ), Returns(0));
  EXPECT_THAT(madvise(map_.get(), 3 * kPage, kMadvPopulateRead), FailsWith(EFAULT));
  EXPECT_THAT(InChild([&] { return *const_cast<volatile char*>(map_.page(1)); }), Killed(SIGSEGV));
}

TEST_F(MadviseGuard, NotOfLockedMemory) {
  ASSERT_THAT(mlock(map_.get(), kPage), Returns(0));
  EXPECT_THAT(madvise(map_.get(), kPage, kInstall), FailsWith(EINVAL));
}

TEST(MadviseCollapse, NeedsRoomForAHugePage) {
  Mapping map(4 * kPage);
  map[0] = 1;
  EXPECT_THAT(madvise(map.get(), 4 * kPage, kMadvCollapse),
              testing::AnyOf(Returns(0), FailsWith(EINVAL)));
  EXPECT_EQ(map[0], 1);
}

TEST(MadvisePrivileged, PoisonNeedsIt) {
  Mapping map(kPage);
  EXPECT_THAT(AsNobody([&] {
                return madvise(map.get(), kPage, MADV_HWPOISON) == -1 &&
                               (errno == EPERM || errno == EINVAL)
                           ? 0
                           : 1;
              }),
              Exited(0));
}

long ProcessMadvise(int pidfd, const iovec* iov, size_t count, int advice, unsigned flags = 0) {
  return syscall(SYS_process_madvise, pidfd, iov, count, advice, flags);
}

TEST(ProcessMadvise, OwnMemory) {
  UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  Mapping map(4 * kPage);
  memset(map.get(), 1, 4 * kPage);
  const iovec parts[] = {{map.get(), kPage}, {map.page(2), 2 * kPage}};
  EXPECT_THAT(ProcessMadvise(self.get(), parts, 2, kMadvCold), Returns(3 * kPage));
  EXPECT_THAT(ProcessMadvise(self.get(), parts, 2, MADV_WILLNEED), Returns(3 * kPage));
  for (const int caller : {-10000, -10001}) {  // PIDFD_SELF_*, Linux 6.14.
    EXPECT_THAT(ProcessMadvise(caller, parts, 2, kMadvCold),
                testing::AnyOf(Returns(3 * kPage), FailsWith(EBADF)));
  }
  EXPECT_EQ(map[0], 1);
}

TEST(ProcessMadvise, Errors) {
  UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  UniqueFd file = OpenTemp();
  Mapping map(2 * kPage);
  const iovec one = {map.get(), kPage};
  EXPECT_THAT(ProcessMadvise(self.get(), &one, 1, kMadvCold, 1), FailsWith(EINVAL));
  EXPECT_THAT(ProcessMadvise(-1, &one, 1, kMadvCold), FailsWith(EBADF));
  EXPECT_THAT(ProcessMadvise(file.get(), &one, 1, kMadvCold), FailsWith(EBADF));
  EXPECT_THAT(ProcessMadvise(self.get(), &one, 2000, kMadvCold), FailsWith(EINVAL));
  EXPECT_THAT(ProcessMadvise(self.get(), reinterpret_cast<iovec*>(8), 1, kMadvCold),
              FailsWith(EFAULT));
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  const iovec gone = {map.page(1), kPage};
  EXPECT_THAT(ProcessMadvise(self.get(), &gone, 1, kMadvCold), FailsWith(ENOMEM));
  const iovec parts[] = {one, gone};
  EXPECT_THAT(ProcessMadvise(self.get(), parts, 2, kMadvCold), Returns(kPage));
}

TEST(ProcessMadvise, OfAChild) {
  Mapping map(2 * kPage);
  map[0] = 'c';
  Pipe go;
  const pid_t child = Start([&] {
    CHILD_CHECK(Await(go.read.get()));
    return map[0] == 'c' ? 0 : 1;
  });
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  const iovec one = {map.get(), 2 * kPage};
  EXPECT_THAT(ProcessMadvise(pidfd.get(), &one, 1, kMadvCold), Returns(2 * kPage));
  EXPECT_THAT(ProcessMadvise(pidfd.get(), &one, 1, MADV_DONTNEED), FailsWith(EINVAL));
  EXPECT_TRUE(Post(go.write.get()));
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(ProcessMadvise(pidfd.get(), &one, 1, kMadvCold), FailsWith(ESRCH));
}

TEST(ProcessMrelease, OnlyOfTheDying) {
  UniqueFd self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  UniqueFd file = OpenTemp();
  EXPECT_THAT(syscall(448, self.get(), 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(448, self.get(), 1), FailsWith(EINVAL));
  EXPECT_THAT(syscall(448, file.get(), 0), FailsWith(EBADF));
  EXPECT_THAT(syscall(448, -1, 0), FailsWith(EBADF));
  const pid_t child = Start([] { return 0; });
  UniqueFd pidfd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  ASSERT_THAT(Wait(child), Exited(0));
  EXPECT_THAT(syscall(448, pidfd.get(), 0), FailsWith(ESRCH));
}

}  // namespace
