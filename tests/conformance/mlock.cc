// mlock(2) and its family, mincore(2), msync(2).
#include "tests/conformance/memory_support.h"

namespace {

TEST(Mlock, BringsPagesIn) {
  Mapping map(4 * kPage);
  ASSERT_THAT(mlock(map.get(), 4 * kPage), Returns(0));
  unsigned char resident[4] = {};
  ASSERT_THAT(mincore(map.get(), 4 * kPage, resident), Returns(0));
  EXPECT_EQ(resident[0] & resident[3] & 1, 1);
  EXPECT_THAT(munlock(map.get(), 4 * kPage), Returns(0));
}

TEST(Mlock, RoundsToPages) {
  Mapping map(3 * kPage);
  EXPECT_THAT(mlock(map.get() + kPage - 1, 2), Returns(0));
  unsigned char resident[3] = {};
  ASSERT_THAT(mincore(map.get(), 3 * kPage, resident), Returns(0));
  EXPECT_EQ(resident[0] & resident[1] & 1, 1);
  EXPECT_EQ(resident[2] & 1, 0);
  EXPECT_THAT(mlock(map.get(), 0), Returns(0));
}

TEST(Mlock, Errors) {
  Mapping map(2 * kPage);
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(mlock(map.get(), 2 * kPage), FailsWith(ENOMEM));
  EXPECT_THAT(munlock(map.get(), 2 * kPage), FailsWith(ENOMEM));
  EXPECT_THAT(mlock(map.get() + kPage, SIZE_MAX - kPage),
              testing::AnyOf(FailsWith(EINVAL), FailsWith(ENOMEM)));
  EXPECT_THAT(syscall(SYS_mlock2, map.get(), kPage, 2), FailsWith(EINVAL));
}

TEST(Mlock, OnFaultBringsNothingIn) {
  Mapping map(4 * kPage);
  ASSERT_THAT(mlock2(map.get(), 4 * kPage, MLOCK_ONFAULT), Returns(0));
  unsigned char resident[4] = {};
  ASSERT_THAT(mincore(map.get(), 4 * kPage, resident), Returns(0));
  EXPECT_EQ(resident[0] & 1, 0);
  map[0] = 1;
}

TEST(Mlock, LimitOfAnOrdinaryUser) {
  EXPECT_THAT(AsNobody([] {
                CHILD_CHECK(SetLimit(RLIMIT_MEMLOCK, 4 * kPage));
                Mapping map(16 * kPage);
                CHILD_CHECK(mlock(map.get(), 4 * kPage) == 0);
                CHILD_CHECK(mlock(map.get(), 4 * kPage) == 0);  // Counted once.
                CHILD_CHECK(mlock(map.page(4), kPage) == -1 && errno == ENOMEM);
                CHILD_CHECK(munlock(map.get(), kPage) == 0);
                CHILD_CHECK(mlock(map.page(4), kPage) == 0);
                CHILD_CHECK(mlock(map.page(5), 16 * kPage) == -1 && errno == ENOMEM);
                return 0;
              }),
              Exited(0));
}

TEST(Mlock, LimitOfZeroIsNoPermission) {
  EXPECT_THAT(AsNobody([] {
                CHILD_CHECK(SetLimit(RLIMIT_MEMLOCK, 0));
                Mapping map(kPage);
                CHILD_CHECK(mlock(map.get(), kPage) == -1 && errno == EPERM);
                CHILD_CHECK(mlockall(MCL_CURRENT) == -1 && errno == EPERM);
                CHILD_CHECK(munlock(map.get(), kPage) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(Mlock, UnmappingGivesBack) {
  EXPECT_THAT(AsNobody([] {
                CHILD_CHECK(SetLimit(RLIMIT_MEMLOCK, 4 * kPage));
                for (int i = 0; i < 8; ++i) {
                  Mapping map(4 * kPage);
                  CHILD_CHECK(mlock(map.get(), 4 * kPage) == 0);
                }
                return 0;
              }),
              Exited(0));
}

TEST(Mlock, NotInheritedByFork) {
  EXPECT_THAT(
      AsNobody([] {
        CHILD_CHECK(SetLimit(RLIMIT_MEMLOCK, 4 * kPage));
        Mapping map(4 * kPage), other(4 * kPage);
        CHILD_CHECK(mlock(map.get(), 4 * kPage) == 0);
        return WEXITSTATUS(InChild([&] { return mlock(other.get(), 4 * kPage) == 0 ? 0 : 1; }));
      }),
      Exited(0));
}

TEST(Mlockall, Flags) {
  EXPECT_THAT(mlockall(0), FailsWith(EINVAL));
  EXPECT_THAT(mlockall(MCL_ONFAULT), FailsWith(EINVAL));
  EXPECT_THAT(mlockall(8), FailsWith(EINVAL));
  EXPECT_THAT(munlockall(), Returns(0));
}

TEST(Mlockall, FutureMappingsAreLocked) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(mlockall(MCL_FUTURE) == 0);
                unsigned char resident[2] = {};
                {
                  Mapping map(2 * kPage);
                  CHILD_CHECK(mincore(map.get(), 2 * kPage, resident) == 0);
                  CHILD_CHECK((resident[0] & resident[1] & 1) == 1);
                }
                CHILD_CHECK(munlockall() == 0);
                Mapping map(2 * kPage);
                CHILD_CHECK(mincore(map.get(), 2 * kPage, resident) == 0);
                CHILD_CHECK((resident[0] & 1) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(Mlockall, FutureOnFault) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(mlockall(MCL_FUTURE | MCL_ONFAULT) == 0);
                unsigned char resident[2] = {};
                Mapping map(2 * kPage);
                CHILD_CHECK(mincore(map.get(), 2 * kPage, resident) == 0);
                CHILD_CHECK((resident[0] & 1) == 0);
                map[0] = 1;
                return 0;
              }),
              Exited(0));
}

TEST(Mlockall, FutureWithinTheLimit) {
  EXPECT_THAT(AsNobody([] {
                CHILD_CHECK(SetLimit(RLIMIT_MEMLOCK, 64 * kPage));
                CHILD_CHECK(mlockall(MCL_FUTURE) == 0);
                CHILD_CHECK(mmap(nullptr, 128 * kPage, kReadWrite, kPrivate, -1, 0) == MAP_FAILED);
                CHILD_CHECK(errno == EAGAIN);
                Mapping map(8 * kPage);
                return 0;
              }),
              Exited(0));
}

TEST(Mlockall, CurrentNeedsRoomForEverything) {
  EXPECT_THAT(AsNobody([] {
                CHILD_CHECK(SetLimit(RLIMIT_MEMLOCK, 4 * kPage));
                CHILD_CHECK(mlockall(MCL_CURRENT) == -1 && errno == ENOMEM);
                return 0;
              }),
              Exited(0));
}

TEST(Mlockall, CurrentIsLockedAndUnlocked) {
  EXPECT_THAT(InChild([] {
                Mapping map(4 * kPage);
                map[0] = 1;
                if (mlockall(MCL_CURRENT | MCL_ONFAULT) != 0) return errno == ENOMEM ? 0 : 1;
                // Locked pages cannot be dropped.
                CHILD_CHECK(madvise(map.get(), kPage, MADV_DONTNEED) == -1 && errno == EINVAL);
                CHILD_CHECK(munlockall() == 0);
                CHILD_CHECK(madvise(map.get(), kPage, MADV_DONTNEED) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(MincoreErrors, Arguments) {
  Mapping map(2 * kPage);
  unsigned char vector[4];
  EXPECT_THAT(mincore(map.get() + 1, kPage, vector), FailsWith(EINVAL));
  EXPECT_THAT(mincore(map.get(), kPage, reinterpret_cast<unsigned char*>(8)), FailsWith(EFAULT));
  EXPECT_THAT(mincore(map.get(), 0, vector), Returns(0));
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(mincore(map.get(), 2 * kPage, vector), FailsWith(ENOMEM));
  EXPECT_THAT(mincore(reinterpret_cast<void*>(uintptr_t{1} << 47), kPage, vector),
              FailsWith(ENOMEM));
  EXPECT_THAT(mincore(map.get(), SIZE_MAX, vector), FailsWith(ENOMEM));
}

TEST(MincoreErrors, VectorThatCannotBeWritten) {
  Mapping map(kPage), vector(kPage, PROT_READ);
  EXPECT_THAT(mincore(map.get(), kPage, reinterpret_cast<unsigned char*>(vector.get())),
              FailsWith(EFAULT));
}

TEST(Mincore, FollowsTouchesAndAdvice) {
  Mapping map(8 * kPage);
  unsigned char resident[8];
  map[2 * kPage] = 1;
  map[5 * kPage] = 1;
  ASSERT_THAT(mincore(map.get(), 8 * kPage, resident), Returns(0));
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(resident[i] & 1, i == 2 || i == 5) << i;
  ASSERT_THAT(madvise(map.page(2), kPage, MADV_DONTNEED), Returns(0));
  ASSERT_THAT(mincore(map.get(), 8 * kPage, resident), Returns(0));
  EXPECT_EQ(resident[2] & 1, 0);
}

TEST(Mincore, OfAFile) {
  UniqueFd fd = Memfd(4 * kPage);
  ASSERT_THAT(pwrite(fd.get(), "x", 1, kPage), Returns(1));
  Mapping map(4 * kPage, PROT_READ, MAP_SHARED, fd.get());
  unsigned char resident[4];
  ASSERT_THAT(mincore(map.get(), 4 * kPage, resident), Returns(0));
  EXPECT_EQ(resident[1] & 1, 1);
  EXPECT_EQ(resident[3] & 1, 0);
}

TEST(Msync, Flags) {
  UniqueFd fd = OpenTemp(0, std::string(2 * kPage, 'm'));
  Mapping map(2 * kPage, kReadWrite, MAP_SHARED, fd.get());
  map[0] = 's';
  for (const int flags : {0, MS_ASYNC, MS_SYNC, MS_INVALIDATE, MS_SYNC | MS_INVALIDATE}) {
    EXPECT_THAT(msync(map.get(), 2 * kPage, flags), Returns(0)) << flags;
  }
  EXPECT_THAT(msync(map.get(), kPage, MS_SYNC | MS_ASYNC), FailsWith(EINVAL));
  EXPECT_THAT(msync(map.get(), kPage, 8), FailsWith(EINVAL));
  EXPECT_THAT(msync(map.get() + 1, kPage, MS_SYNC), FailsWith(EINVAL));
  EXPECT_THAT(msync(map.get(), 0, MS_SYNC), Returns(0));
  EXPECT_EQ(ByteAt(fd.get(), 0), 's');
}

TEST(Msync, ArgumentsComeBeforeHoles) {
  void* const nothing = reinterpret_cast<void*>(8 * kPage);
  EXPECT_THAT(msync(nothing, kPage, 8), FailsWith(EINVAL));
  EXPECT_THAT(msync(nothing, SIZE_MAX / 2, MS_ASYNC | MS_SYNC), FailsWith(EINVAL));
  EXPECT_THAT(msync(nothing, SIZE_MAX, MS_SYNC), Returns(0)) << "rounded up that is nothing";
  EXPECT_THAT(msync(nothing, 0, MS_SYNC), Returns(0));
  EXPECT_THAT(msync(nothing, kPage, MS_SYNC), FailsWith(ENOMEM));
}

TEST(Msync, Holes) {
  Mapping map(3 * kPage);
  EXPECT_THAT(msync(map.get(), 3 * kPage, MS_SYNC), Returns(0));
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(msync(map.get(), 3 * kPage, MS_SYNC), FailsWith(ENOMEM));
  EXPECT_THAT(msync(map.get(), SIZE_MAX - 2 * kPage, MS_SYNC), FailsWith(ENOMEM));
}

TEST(Msync, LockedMemoryIsNotInvalidated) {
  UniqueFd fd = OpenTemp(0, "x");
  Mapping map(kPage, kReadWrite, MAP_SHARED, fd.get());
  ASSERT_THAT(mlock(map.get(), kPage), Returns(0));
  EXPECT_THAT(msync(map.get(), kPage, MS_INVALIDATE), FailsWith(EBUSY));
  EXPECT_THAT(msync(map.get(), kPage, MS_SYNC), Returns(0));
}

}  // namespace
