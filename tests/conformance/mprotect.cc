// mprotect(2), mseal(2) and protection keys.
#include "tests/conformance/memory_support.h"

namespace {

constexpr int kGrowsDown = PROT_GROWSDOWN, kGrowsUp = PROT_GROWSUP;
constexpr long kMseal = 462;

bool HaveMseal() { return syscall(kMseal, 0, 0, 0) == 0; }

TEST(MprotectErrors, AlignmentAndLength) {
  Mapping map(2 * kPage);
  EXPECT_THAT(mprotect(map.get() + 1, kPage, PROT_READ), FailsWith(EINVAL));
  EXPECT_THAT(mprotect(map.get(), 0, PROT_NONE), Returns(0));
  EXPECT_TRUE(Readable(map.get()));
  EXPECT_THAT(mprotect(map.get(), 1, PROT_NONE), Returns(0));  // Rounded up.
  EXPECT_FALSE(Readable(map.get() + kPage - 1));
  EXPECT_TRUE(Readable(map.page(1)));
}

TEST(MprotectErrors, LengthsThatOverflow) {
  Mapping map(kPage);
  EXPECT_THAT(mprotect(map.get(), SIZE_MAX, PROT_READ), FailsWith(ENOMEM));
  EXPECT_THAT(mprotect(map.get(), SIZE_MAX - 2 * kPage, PROT_READ), FailsWith(ENOMEM));
}

TEST(MprotectErrors, BeyondTheEnd) {
  EXPECT_THAT(mprotect(reinterpret_cast<void*>(uintptr_t{1} << 47), kPage, PROT_READ),
              FailsWith(ENOMEM));
  EXPECT_THAT(mprotect(reinterpret_cast<void*>(UINTPTR_MAX - 2 * kPage + 1), kPage, PROT_READ),
              FailsWith(ENOMEM));
}

TEST(MprotectErrors, UnknownBits) {
  Mapping map(kPage);
  EXPECT_THAT(mprotect(map.get(), kPage, 0x7000), FailsWith(EINVAL));
  EXPECT_THAT(mprotect(map.get(), kPage, kGrowsDown | kGrowsUp | PROT_READ), FailsWith(EINVAL));
}

TEST(MprotectErrors, UnknownBitsComeBeforeHoles) {
  void* const nothing = reinterpret_cast<void*>(0x10000);
  constexpr uintptr_t kEnd = uintptr_t{1} << 47;
  EXPECT_THAT(mprotect(nothing, kPage, 0x7000), FailsWith(EINVAL));
  EXPECT_THAT(mprotect(reinterpret_cast<void*>(kEnd - kPage), kPage, 0x800), FailsWith(EINVAL));
  EXPECT_THAT(mprotect(nothing, SIZE_MAX, 0x800), FailsWith(ENOMEM));
  EXPECT_THAT(mprotect(reinterpret_cast<void*>(kEnd - kPage), 0, PROT_READ), Returns(0));
}

TEST(MprotectErrors, HoleAfterTheBeginning) {
  Mapping map(3 * kPage);
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(mprotect(map.get(), 3 * kPage, PROT_READ), FailsWith(ENOMEM));
  // What lies before the hole has changed.
  EXPECT_FALSE(Writable(map.page(0)));
  EXPECT_TRUE(Writable(map.page(2)));
}

TEST(MprotectErrors, HoleAtTheBeginning) {
  Mapping map(2 * kPage);
  ASSERT_THAT(munmap(map.page(0), kPage), Returns(0));
  EXPECT_THAT(mprotect(map.get(), 2 * kPage, PROT_READ), FailsWith(ENOMEM));
  EXPECT_TRUE(Writable(map.page(1)));
}

TEST(MprotectSplits, MiddleOfAMapping) {
  Mapping map(3 * kPage);
  memset(map.get(), 7, 3 * kPage);
  ASSERT_THAT(mprotect(map.page(1), kPage, PROT_READ), Returns(0));
  EXPECT_TRUE(Writable(map.page(0)));
  EXPECT_FALSE(Writable(map.page(1)));
  EXPECT_TRUE(Writable(map.page(2)));
  ASSERT_THAT(mprotect(map.get(), 3 * kPage, kReadWrite), Returns(0));
  EXPECT_TRUE(Writable(map.page(1)));
  EXPECT_EQ(map.page(1)[5], 7);
}

TEST(MprotectFaults, CodesTellWhy) {
  Mapping map(2 * kPage, PROT_READ);
  const Fault denied = FaultOf(map.get() + 3, Access::kWrite);
  EXPECT_EQ(denied.signal, SIGSEGV);
  EXPECT_EQ(denied.code, SEGV_ACCERR);
  EXPECT_EQ(denied.addr, map.get() + 3);
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  const Fault unmapped = FaultOf(map.page(1) + 9);
  EXPECT_EQ(unmapped.signal, SIGSEGV);
  EXPECT_EQ(unmapped.code, SEGV_MAPERR);
  EXPECT_EQ(unmapped.addr, map.page(1) + 9);
}

TEST(MprotectFaults, NoAccessAtAll) {
  Mapping map(kPage, PROT_NONE);
  const Fault fault = FaultOf(map.get());
  EXPECT_EQ(fault.signal, SIGSEGV);
  EXPECT_EQ(fault.code, SEGV_ACCERR);
}

TEST(MprotectFaults, HandlerCanMakeRoom) {
  // Write barriers of garbage collectors.
  static char* page;
  Mapping map(kPage, PROT_READ);
  page = map.get();
  ScopedAction action(SIGSEGV, [](int) { mprotect(page, kPage, kReadWrite); });
  *const_cast<volatile char*>(map.get()) = 'b';
  EXPECT_EQ(map[0], 'b');
}

TEST(MprotectFaults, NothingToExecute) {
  Mapping map(kPage);
  map[0] = static_cast<char>(0xc3);  // ret
  EXPECT_THAT(InChild([&] {
                reinterpret_cast<void (*)()>(map.get())();
                return 0;
              }),
              Killed(SIGSEGV));
}

TEST(MprotectGrows, NeedsAStack) {
  Mapping map(2 * kPage);
  EXPECT_THAT(mprotect(map.get(), kPage, PROT_READ | kGrowsDown), FailsWith(EINVAL));
  EXPECT_THAT(mprotect(map.get(), kPage, PROT_READ | kGrowsUp), FailsWith(EINVAL));
}

TEST(MprotectGrows, ReachesTheBeginningOfAStack) {
  Mapping room(600 * kPage, PROT_NONE);
  char* const at = room.page(590);
  ASSERT_THAT(munmap(room.get(), 600 * kPage), Returns(0));
  ASSERT_THAT(mmap(at, 4 * kPage, kReadWrite, kPrivate | MAP_GROWSDOWN | MAP_FIXED, -1, 0),
              Succeeds());
  ASSERT_THAT(mprotect(at + 3 * kPage, kPage, PROT_READ | kGrowsDown), Returns(0));
  EXPECT_FALSE(Writable(at));  // The whole mapping, from its lowest page on.
  EXPECT_TRUE(Readable(at));
  munmap(at, 4 * kPage);
}

TEST(MprotectMaps, ShownInProc) {
  Mapping map(3 * kPage);
  ASSERT_THAT(mprotect(map.page(1), kPage, PROT_READ), Returns(0));
  ASSERT_THAT(mprotect(map.page(2), kPage, PROT_NONE), Returns(0));
  EXPECT_EQ(PermissionsOf(map.page(0)), "rw-p");
  EXPECT_EQ(PermissionsOf(map.page(1)), "r--p");
  EXPECT_EQ(PermissionsOf(map.page(2)), "---p");
}

TEST(MprotectMaps, KernelRespectsIt) {
  Mapping map(2 * kPage);
  UniqueFd fd = OpenTemp(0, std::string(2 * kPage, 'x'));
  ASSERT_THAT(mprotect(map.page(1), kPage, PROT_READ), Returns(0));
  EXPECT_THAT(pread(fd.get(), map.page(1), 10, 0), FailsWith(EFAULT));
  EXPECT_THAT(pread(fd.get(), map.get(), 2 * kPage, 0),
              testing::AnyOf(Returns(kPage), FailsWith(EFAULT)));
  ASSERT_THAT(mprotect(map.page(1), kPage, PROT_NONE), Returns(0));
  EXPECT_THAT(pwrite(fd.get(), map.page(1), 10, 0), FailsWith(EFAULT));
}

TEST(MprotectThreads, ManyPagesOneAfterTheOther) {
  Mapping map(256 * kPage);
  for (size_t i = 0; i < 256; i += 2) {
    ASSERT_THAT(mprotect(map.page(i), kPage, PROT_READ), Returns(0));
  }
  for (size_t i = 0; i < 256; ++i) EXPECT_EQ(Writable(map.page(i)), i % 2 == 1);
}

TEST(Mseal, Errors) {
  if (!HaveMseal()) GTEST_SKIP() << "before Linux 6.10";
  Mapping map(2 * kPage);
  EXPECT_THAT(syscall(kMseal, map.get(), kPage, 1), FailsWith(EINVAL));
  EXPECT_THAT(syscall(kMseal, map.get() + 1, kPage, 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(kMseal, map.get(), 0, 0), Returns(0));
  EXPECT_THAT(syscall(kMseal, map.get(), SIZE_MAX - kPage, 0), FailsWith(EINVAL));
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(syscall(kMseal, map.get(), 2 * kPage, 0), FailsWith(ENOMEM));
}

TEST(Mseal, NothingChangesAnyMore) {
  if (!HaveMseal()) GTEST_SKIP() << "before Linux 6.10";
  EXPECT_THAT(
      InChild([] {
        void* const at = mmap(nullptr, 2 * kPage, kReadWrite, kPrivate, -1, 0);
        char* const data = static_cast<char*>(at);
        data[0] = 's';
        CHILD_CHECK(syscall(kMseal, at, kPage, 0) == 0);
        CHILD_CHECK(syscall(kMseal, at, kPage, 0) == 0);  // Again is no error.
        CHILD_CHECK(munmap(at, kPage) == -1 && errno == EPERM);
        CHILD_CHECK(munmap(at, 2 * kPage) == -1 && errno == EPERM);
        CHILD_CHECK(mprotect(at, kPage, PROT_READ) == -1 && errno == EPERM);
        CHILD_CHECK(mremap(at, kPage, 2 * kPage, MREMAP_MAYMOVE) == MAP_FAILED && errno == EPERM);
        CHILD_CHECK(mmap(at, kPage, PROT_READ, kPrivate | MAP_FIXED, -1, 0) == MAP_FAILED);
        CHILD_CHECK(errno == EPERM);
        data[0] = 't';  // Contents do.
        CHILD_CHECK(munmap(data + kPage, kPage) == 0);
        return 0;
      }),
      Exited(0));
}

TEST(Mseal, ReadOnlyMemoryCannotBeDropped) {
  if (!HaveMseal()) GTEST_SKIP() << "before Linux 6.10";
  EXPECT_THAT(InChild([] {
                void* const at = mmap(nullptr, kPage, PROT_READ, kPrivate, -1, 0);
                CHILD_CHECK(syscall(kMseal, at, kPage, 0) == 0);
                CHILD_CHECK(madvise(at, kPage, MADV_DONTNEED) == -1 && errno == EPERM);
                CHILD_CHECK(madvise(at, kPage, MADV_WILLNEED) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(Mseal, InheritedByFork) {
  if (!HaveMseal()) GTEST_SKIP() << "before Linux 6.10";
  EXPECT_THAT(InChild([] {
                void* const at = mmap(nullptr, kPage, kReadWrite, kPrivate, -1, 0);
                CHILD_CHECK(syscall(kMseal, at, kPage, 0) == 0);
                return WEXITSTATUS(
                    InChild([&] { return munmap(at, kPage) == -1 && errno == EPERM ? 0 : 1; }));
              }),
              Exited(0));
}

TEST(Pkey, WithoutAKeyItIsMprotect) {
  Mapping map(2 * kPage);
  EXPECT_THAT(syscall(SYS_pkey_mprotect, map.get(), kPage, PROT_READ, -1), Returns(0));
  EXPECT_FALSE(Writable(map.get()));
  EXPECT_THAT(syscall(SYS_pkey_mprotect, map.get() + 1, kPage, PROT_READ, -1), FailsWith(EINVAL));
  ASSERT_THAT(munmap(map.page(1), kPage), Returns(0));
  EXPECT_THAT(syscall(SYS_pkey_mprotect, map.get(), 2 * kPage, PROT_READ, -1), FailsWith(ENOMEM));
}

TEST(Pkey, KeysThatAreNot) {
  Mapping map(kPage);
  EXPECT_THAT(syscall(SYS_pkey_mprotect, map.get(), kPage, PROT_READ, 15), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_pkey_mprotect, map.get(), kPage, PROT_READ, 1000), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_pkey_free, 14), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_pkey_free, -1), FailsWith(EINVAL));
}

TEST(Pkey, AllocationErrors) {
  EXPECT_THAT(syscall(SYS_pkey_alloc, 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_pkey_alloc, 0, 0x100), FailsWith(EINVAL));
}

TEST(Pkey, AllocatedAndFreedWhereThereAreAny) {
  EXPECT_THAT(InChild([] {
                const long key = syscall(SYS_pkey_alloc, 0, 0);
                if (key == -1) return errno == ENOSPC || errno == EINVAL ? 0 : 1;
                void* const at = mmap(nullptr, kPage, kReadWrite, kPrivate, -1, 0);
                CHILD_CHECK(syscall(SYS_pkey_mprotect, at, kPage, kReadWrite, key) == 0);
                CHILD_CHECK(syscall(SYS_pkey_free, key) == 0);
                CHILD_CHECK(syscall(SYS_pkey_free, key) == -1 && errno == EINVAL);
                return 0;
              }),
              Exited(0));
}

TEST(ShadowStack, OnlyWhereTheProcessorHasIt) {
  EXPECT_THAT(syscall(453, 0, kPage, 0), testing::AnyOf(FailsWith(EOPNOTSUPP), FailsWith(ENOSYS)));
}

}  // namespace
