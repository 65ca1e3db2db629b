// The flags of mmap(2) for memory that is no file.
#include "tests/conformance/memory_support.h"

namespace {

using testing::Not;

constexpr int kHuge2M = MAP_HUGETLB | (21 << MAP_HUGE_SHIFT);
constexpr int kDroppable = 0x08;  // MAP_DROPPABLE, Linux 6.11.
constexpr int kUninitialized = 0x4000000;

uintptr_t Number(const void* at) { return reinterpret_cast<uintptr_t>(at); }

TEST(MmapFlags, TypeIsRequired) {
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_ANONYMOUS, -1, 0), FailsWith(EINVAL));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_ANONYMOUS | 0x0f, -1, 0), FailsWith(EINVAL));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_ANONYMOUS | 0x05, -1, 0), FailsWith(EINVAL));
}

TEST(MmapFlags, SharedValidateIsForFiles) {
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_SHARED_VALIDATE | MAP_ANONYMOUS, -1, 0),
              FailsWith(EINVAL));
}

TEST(MmapFlags, DescriptorOfAnonymousMemoryIsIgnored) {
  Mapping map(kPage, kReadWrite, kPrivate, 12345);
  map[0] = 1;
}

TEST(MmapFlags, OffsetOfAnonymousMemoryIsIgnoredWhenAligned) {
  Mapping map(kPage, kReadWrite, kPrivate, -1, 5 * kPage);
  map[0] = 1;
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, kPrivate, -1, 5), FailsWith(EINVAL));
}

TEST(MmapFlags, LengthIsRoundedUp) {
  Mapping map(1);
  map[kPage - 1] = 1;
  Mapping two(kPage + 1);
  two[2 * kPage - 1] = 1;
}

TEST(MmapFlags, LengthsThatOverflow) {
  EXPECT_THAT(mmap(nullptr, 0, PROT_READ, kPrivate, -1, 0), FailsWith(EINVAL));
  EXPECT_THAT(mmap(nullptr, SIZE_MAX, PROT_READ, kPrivate, -1, 0), FailsWith(ENOMEM));
  EXPECT_THAT(mmap(nullptr, SIZE_MAX - kPage, PROT_READ, kPrivate, -1, 0), FailsWith(ENOMEM));
  EXPECT_THAT(mmap(nullptr, size_t{1} << 47, PROT_NONE, kPrivate | MAP_NORESERVE, -1, 0),
              FailsWith(ENOMEM));
}

TEST(MmapFlags, FixedBeyondTheEnd) {
  for (const uintptr_t at : {uintptr_t{1} << 47, uintptr_t{1} << 56, UINTPTR_MAX - kPage + 1}) {
    EXPECT_THAT(mmap(reinterpret_cast<void*>(at), kPage, PROT_READ, kPrivate | MAP_FIXED, -1, 0),
                FailsWith(ENOMEM));
  }
}

TEST(MmapFlags, FixedMustBeAligned) {
  Mapping map(2 * kPage);
  for (const int flag : {MAP_FIXED, MAP_FIXED_NOREPLACE}) {
    EXPECT_THAT(mmap(map.get() + 1, kPage, PROT_READ, kPrivate | flag, -1, 0), FailsWith(EINVAL));
  }
}

TEST(MmapFlags, HintsThatCannotBeAreNotTaken) {
  // Unaligned ones are rounded; those beyond the end count for nothing.
  for (const uintptr_t hint : {uintptr_t{1} << 48, (uintptr_t{1} << 47) - kPage, UINTPTR_MAX}) {
    Mapping map(reinterpret_cast<void*>(hint), kPage, kReadWrite, kPrivate, -1, 0);
    EXPECT_LT(Number(map.get()), uintptr_t{1} << 47);
    map[0] = 1;
  }
}

TEST(MmapFlags, FileHintsThatCannotBeAreNotTaken) {
  UniqueFd fd = OpenTemp(0, "hint");
  for (const uintptr_t hint : {uintptr_t{1} << 48, (uintptr_t{1} << 47) - kPage}) {
    Mapping map(reinterpret_cast<void*>(hint), kPage, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    EXPECT_LT(Number(map.get()), uintptr_t{1} << 47);
    EXPECT_STREQ(map.get(), "hint");
  }
}

TEST(MmapFlags, UnalignedHintIsRounded) {
  char* free_place;
  {
    Mapping map(16 * kPage, PROT_NONE);
    free_place = map.get();
  }
  Mapping map(free_place + 100, kPage, PROT_READ, kPrivate, -1, 0);
  EXPECT_EQ(Number(map.get()) % kPage, 0u);
}

TEST(MmapFlags, LowHintIsRaisedToTheMinimum) {
  Mapping map(reinterpret_cast<void*>(1), kPage, PROT_READ, kPrivate, -1, 0);
  EXPECT_GE(Number(map.get()), 4096u);
}

TEST(MmapFlags, FixedReplacesPartsOfSeveralMappings) {
  Mapping map(6 * kPage);
  memset(map.get(), 1, 6 * kPage);
  ASSERT_THAT(mprotect(map.page(2), kPage, PROT_READ), Returns(0));
  ASSERT_THAT(mmap(map.page(1), 3 * kPage, kReadWrite, kPrivate | MAP_FIXED, -1, 0), Succeeds());
  EXPECT_EQ(map.page(0)[0], 1);
  for (size_t i = 1; i < 4; ++i) EXPECT_EQ(map.page(i)[0], 0);
  EXPECT_EQ(map.page(4)[0], 1);
}

TEST(MmapFlags, FixedNoReplaceInAHole) {
  Mapping map(3 * kPage);
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(mmap(map.page(1), kPage, kReadWrite, kPrivate | MAP_FIXED_NOREPLACE, -1, 0),
              Returns(static_cast<void*>(map.page(1))));
  EXPECT_THAT(mmap(map.page(0), kPage, kReadWrite, kPrivate | MAP_FIXED_NOREPLACE, -1, 0),
              FailsWith(EEXIST));
  EXPECT_THAT(mmap(map.page(2), 2 * kPage, kReadWrite, kPrivate | MAP_FIXED_NOREPLACE, -1, 0),
              FailsWith(EEXIST));
}

TEST(MmapFlags, FixedNoReplaceOfAFile) {
  UniqueFd fd = OpenTemp(0, "file");
  Mapping map(2 * kPage);
  EXPECT_THAT(mmap(map.get(), kPage, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd.get(), 0),
              FailsWith(EEXIST));
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(mmap(map.page(1), kPage, PROT_READ, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd.get(), 0),
              Returns(static_cast<void*>(map.page(1))));
  EXPECT_STREQ(map.page(1), "file");
}

TEST(MmapFlags, PopulateBringsPagesIn) {
  Mapping map(8 * kPage, kReadWrite, kPrivate | MAP_POPULATE);
  unsigned char resident[8] = {};
  ASSERT_THAT(mincore(map.get(), 8 * kPage, resident), Returns(0));
  for (const unsigned char page : resident) EXPECT_EQ(page & 1, 1);
}

TEST(MmapFlags, NonblockTakesPopulateAway) {
  Mapping map(8 * kPage, kReadWrite, kPrivate | MAP_POPULATE | MAP_NONBLOCK);
  unsigned char resident[8] = {};
  ASSERT_THAT(mincore(map.get(), 8 * kPage, resident), Returns(0));
  for (const unsigned char page : resident) EXPECT_EQ(page & 1, 0);
}

TEST(MmapFlags, PopulateOfNoAccessIsNoError) {
  Mapping map(4 * kPage, PROT_NONE, kPrivate | MAP_POPULATE);
  EXPECT_FALSE(Readable(map.get()));
}

TEST(MmapFlags, LockedBringsPagesIn) {
  Mapping map(4 * kPage, kReadWrite, kPrivate | MAP_LOCKED);
  unsigned char resident[4] = {};
  ASSERT_THAT(mincore(map.get(), 4 * kPage, resident), Returns(0));
  for (const unsigned char page : resident) EXPECT_EQ(page & 1, 1);
}

TEST(MmapFlags, LockedBeyondTheLimit) {
  EXPECT_THAT(
      AsNobody([] {
        CHILD_CHECK(SetLimit(RLIMIT_MEMLOCK, 4 * kPage));
        CHILD_CHECK(mmap(nullptr, 8 * kPage, kReadWrite, kPrivate | MAP_LOCKED, -1, 0) ==
                    MAP_FAILED);
        CHILD_CHECK(errno == EAGAIN);
        CHILD_CHECK(SetLimit(RLIMIT_MEMLOCK, 0));
        CHILD_CHECK(mmap(nullptr, kPage, kReadWrite, kPrivate | MAP_LOCKED, -1, 0) == MAP_FAILED);
        CHILD_CHECK(errno == EPERM);
        return 0;
      }),
      Exited(0));
}

TEST(MmapFlags, ReserveLargeAndCommitLittle) {
  constexpr size_t kLarge = size_t{64} << 30;
  Mapping map(kLarge, PROT_NONE, kPrivate | MAP_NORESERVE);
  for (size_t at = 0; at < kLarge; at += kLarge / 16) {
    ASSERT_THAT(mprotect(map.get() + at, kPage, kReadWrite), Returns(0));
    map[at] = 'c';
  }
  EXPECT_EQ(map[kLarge / 2], 'c');
  EXPECT_FALSE(Readable(map.get() + kPage));
}

TEST(MmapFlags, LegacyFlagsAreIgnored) {
  for (const int flag : {MAP_DENYWRITE, MAP_EXECUTABLE, MAP_STACK, MAP_NORESERVE, kUninitialized}) {
    Mapping map(kPage, kReadWrite, kPrivate | flag);
    EXPECT_EQ(map[0], 0);
    map[0] = 1;
  }
}

TEST(MmapFlags, Low32Bits) {
  std::vector<char*> maps;
  for (int i = 0; i < 8; ++i) {
    void* at = mmap(nullptr, 16 * kPage, kReadWrite, kPrivate | MAP_32BIT, -1, 0);
    ASSERT_THAT(at, Succeeds());
    EXPECT_LT(Number(at) + 16 * kPage, uintptr_t{1} << 31);
    maps.push_back(static_cast<char*>(at));
  }
  for (char* at : maps) munmap(at, 16 * kPage);
}

TEST(MmapFlags, Low32BitsOfAFile) {
  UniqueFd fd = OpenTemp(0, "low");
  Mapping map(kPage, PROT_READ, MAP_PRIVATE | MAP_32BIT, fd.get());
  EXPECT_LT(Number(map.get()), uintptr_t{1} << 31);
  EXPECT_STREQ(map.get(), "low");
}

TEST(MmapFlags, HugePagesComeFromThePool) {
  // As many as the administrator has set aside, mostly none.
  void* at = mmap(nullptr, 2 << 20, kReadWrite, kPrivate | kHuge2M, -1, 0);
  if (at == MAP_FAILED) {
    EXPECT_EQ(errno, ENOMEM);
  } else {
    static_cast<char*>(at)[0] = 1;
    munmap(at, 2 << 20);
  }
}

TEST(MmapFlags, HugePagesOfASizeThatIsNot) {
  EXPECT_THAT(
      mmap(nullptr, 2 << 20, kReadWrite, kPrivate | MAP_HUGETLB | (13 << MAP_HUGE_SHIFT), -1, 0),
      FailsWith(EINVAL));
}

TEST(MmapFlags, Droppable) {
  void* at = mmap(nullptr, kPage, kReadWrite, kDroppable | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    EXPECT_EQ(errno, EINVAL);  // Before Linux 6.11.
    return;
  }
  static_cast<char*>(at)[0] = 1;
  munmap(at, kPage);
  EXPECT_THAT(mmap(nullptr, kPage, kReadWrite, kDroppable | MAP_ANONYMOUS | MAP_LOCKED, -1, 0),
              FailsWith(EINVAL));
}

TEST(MmapFlags, GrowsDown) {
  // A region of its own with much room below.
  constexpr size_t kRoom = 1024 * kPage;
  Mapping room(kRoom, PROT_NONE);
  char* const top = room.get() + kRoom - kPage;
  ASSERT_THAT(munmap(room.get(), kRoom), Returns(0));
  void* at = mmap(top, kPage, kReadWrite, kPrivate | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0);
  ASSERT_THAT(at, Returns(static_cast<void*>(top)));
  volatile char* down = top;
  for (int i = 1; i <= 64; ++i) {
    down = top - static_cast<size_t>(i) * kPage;
    ASSERT_EQ(FaultOf(down, Access::kWrite).signal, 0) << i;
  }
  EXPECT_EQ(*down, 0);
  munmap(top - 64 * kPage, 65 * kPage);
}

TEST(MmapFlags, GrowsDownToTheGuardGap) {
  // Nothing grows nearer than 256 pages (stack_guard_gap) to what lies below.
  constexpr size_t kRoom = 1024 * kPage;
  Mapping room(kRoom, kReadWrite);
  char* const top = room.get() + kRoom - kPage;
  ASSERT_THAT(munmap(room.page(1), kRoom - kPage), Returns(0));
  ASSERT_THAT(mmap(top, kPage, kReadWrite, kPrivate | MAP_GROWSDOWN | MAP_FIXED, -1, 0),
              Succeeds());
  EXPECT_EQ(FaultOf(room.page(1) + 256 * kPage, Access::kWrite).signal, 0);
  const Fault fault = FaultOf(room.page(1) + 100 * kPage, Access::kWrite);
  EXPECT_EQ(fault.signal, SIGSEGV);
  EXPECT_EQ(fault.code, SEGV_MAPERR);
  EXPECT_EQ(fault.addr, room.page(1) + 100 * kPage);
}

TEST(MmapFlags, SharedAnonymousIsOneForParentAndChild) {
  Mapping map(2 * kPage, kReadWrite, kShared);
  EXPECT_THAT(InChild([&] {
                map[0] = 'a';
                map[kPage] = 'b';
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(map[0], 'a');
  EXPECT_EQ(map[kPage], 'b');
}

TEST(MmapFlags, ZeroDevicePrivate) {
  UniqueFd zero(open("/dev/zero", O_RDWR));
  Mapping map(4 * kPage, kReadWrite, MAP_PRIVATE, zero.get());
  for (size_t at = 0; at < 4 * kPage; at += 64) ASSERT_EQ(map[at], 0);
  map[0] = 1;
  Mapping again(4 * kPage, kReadWrite, MAP_PRIVATE, zero.get());
  EXPECT_EQ(again[0], 0);
}

TEST(MmapFlags, ZeroDeviceSharedWithChildrenOnly) {
  UniqueFd zero(open("/dev/zero", O_RDWR));
  Mapping map(kPage, kReadWrite, MAP_SHARED, zero.get());
  Mapping other(kPage, kReadWrite, MAP_SHARED, zero.get());
  EXPECT_THAT(InChild([&] {
                map[0] = 'z';
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(map[0], 'z');
  EXPECT_EQ(other[0], 0);  // Each mapping is memory of its own.
}

TEST(MmapFlags, ZeroDeviceAtAnyOffset) {
  UniqueFd zero(open("/dev/zero", O_RDWR));
  Mapping map(kPage, kReadWrite, MAP_PRIVATE, zero.get(), off_t{1} << 40);
  EXPECT_EQ(map[0], 0);
}

TEST(MmapFlags, NullDeviceCannotBeMapped) {
  UniqueFd null(open("/dev/null", O_RDWR));
  EXPECT_THAT(mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, null.get(), 0), FailsWith(ENODEV));
}

TEST(MmapFlags, LowestAddressesNeedAPrivilege) {
  EXPECT_THAT(AsNobody([] {
                for (const uintptr_t at : {uintptr_t{0}, uintptr_t{0x1000} - kPage}) {
                  CHILD_CHECK(mmap(reinterpret_cast<void*>(at), kPage, PROT_READ,
                                   kPrivate | MAP_FIXED, -1, 0) == MAP_FAILED);
                  CHILD_CHECK(errno == EPERM);
                }
                return 0;
              }),
              Exited(0));
}

TEST(MmapFlags, ExecutableWithoutReadingRuns) {
  Mapping map(kPage);
  const unsigned char code[] = {0xb8, 0x07, 0, 0, 0, 0xc3};  // mov $7,%eax; ret
  memcpy(map.get(), code, sizeof code);
  ASSERT_THAT(mprotect(map.get(), kPage, PROT_EXEC), Returns(0));
  EXPECT_EQ(reinterpret_cast<int (*)()>(map.get())(), 7);
}

TEST(MmapFlags, WritingImpliesReading) {
  Mapping map(kPage, PROT_WRITE);
  map[0] = 5;
  EXPECT_EQ(map[0], 5);
}

}  // namespace
