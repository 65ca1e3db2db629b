// Limits of memory, brk(2), the stack.
#include <alloca.h>

#include "tests/conformance/memory_support.h"

namespace {

void* Anonymous(size_t size, int protection = kReadWrite) {
  return mmap(nullptr, size, protection, kPrivate, -1, 0);
}

constexpr size_t kMiB = 1 << 20;

TEST(LimitAs, CoversMappings) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(SetLimit(RLIMIT_AS, 512 * kMiB));
                CHILD_CHECK(Anonymous(1024 * kMiB, PROT_NONE) == MAP_FAILED && errno == ENOMEM);
                void* const half = Anonymous(200 * kMiB, PROT_NONE);
                CHILD_CHECK(half != MAP_FAILED);
                CHILD_CHECK(Anonymous(400 * kMiB, PROT_NONE) == MAP_FAILED && errno == ENOMEM);
                CHILD_CHECK(mremap(half, 200 * kMiB, 600 * kMiB, MREMAP_MAYMOVE) == MAP_FAILED);
                CHILD_CHECK(errno == ENOMEM);
                CHILD_CHECK(munmap(half, 200 * kMiB) == 0);
                CHILD_CHECK(Anonymous(300 * kMiB, PROT_NONE) != MAP_FAILED);
                return 0;
              }),
              Exited(0));
}

TEST(LimitAs, CoversTheBreak) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(SetLimit(RLIMIT_AS, 256 * kMiB));
                CHILD_CHECK(sbrk(512 * kMiB) == reinterpret_cast<void*>(-1) && errno == ENOMEM);
                CHILD_CHECK(sbrk(kMiB) != reinterpret_cast<void*>(-1));
                return 0;
              }),
              Exited(0));
}

TEST(LimitAs, InheritedByFork) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(SetLimit(RLIMIT_AS, 512 * kMiB));
                return WEXITSTATUS(InChild([] {
                  CHILD_CHECK(Anonymous(1024 * kMiB, PROT_NONE) == MAP_FAILED && errno == ENOMEM);
                  return 0;
                }));
              }),
              Exited(0));
}

TEST(LimitAs, CanBeRaisedToTheHardLimit) {
  EXPECT_THAT(InChild([] {
                rlimit limit = {256 * kMiB, RLIM_INFINITY};
                CHILD_CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
                CHILD_CHECK(Anonymous(512 * kMiB, PROT_NONE) == MAP_FAILED);
                limit.rlim_cur = 2048 * kMiB;
                CHILD_CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
                CHILD_CHECK(Anonymous(512 * kMiB, PROT_NONE) != MAP_FAILED);
                return 0;
              }),
              Exited(0));
}

TEST(LimitData, CoversWhatCanBeWrittenPrivately) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(SetLimit(RLIMIT_DATA, 64 * kMiB));
                CHILD_CHECK(Anonymous(128 * kMiB) == MAP_FAILED && errno == ENOMEM);
                CHILD_CHECK(Anonymous(128 * kMiB, PROT_READ) != MAP_FAILED);
                CHILD_CHECK(mmap(nullptr, 128 * kMiB, kReadWrite, kShared, -1, 0) != MAP_FAILED);
                CHILD_CHECK(sbrk(128 * kMiB) == reinterpret_cast<void*>(-1) && errno == ENOMEM);
                void* const reserved = Anonymous(128 * kMiB, PROT_NONE);
                CHILD_CHECK(reserved != MAP_FAILED);
                CHILD_CHECK(mprotect(reserved, 128 * kMiB, kReadWrite) == -1 && errno == ENOMEM);
                CHILD_CHECK(mprotect(reserved, kMiB, kReadWrite) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(LimitMaps, TooManyMappings) {
  EXPECT_THAT(
      InChild([] {
        // Every other page of another protection is a mapping of its own.
        constexpr size_t kPages = 140000;
        char* const at = static_cast<char*>(Anonymous(kPages * kPage, PROT_NONE));
        CHILD_CHECK(at != MAP_FAILED);
        size_t i = 0;
        while (i < kPages && mprotect(at + i * kPage, kPage, PROT_READ) == 0) i += 2;
        CHILD_CHECK(i < kPages && errno == ENOMEM);
        // mmap(2) may be let through once more.
        bool refused = false;
        for (const int protection : {PROT_READ | PROT_EXEC, PROT_READ, PROT_READ | PROT_EXEC}) {
          refused = refused || (Anonymous(kPage, protection) == MAP_FAILED && errno == ENOMEM);
        }
        CHILD_CHECK(refused);
        CHILD_CHECK(munmap(at, kPages * kPage) == 0);
        CHILD_CHECK(Anonymous(kPage, PROT_READ | PROT_EXEC) != MAP_FAILED);
        return 0;
      }),
      Exited(0));
}

TEST(Overcommit, MoreThanThereIsIsRefused) {
  if (ReadFile("/proc/sys/vm/overcommit_memory") != "0\n") GTEST_SKIP() << "another policy";
  EXPECT_THAT(Anonymous(size_t{1} << 46), FailsWith(ENOMEM));
  void* at = mmap(nullptr, size_t{1} << 44, PROT_NONE, kPrivate | MAP_NORESERVE, -1, 0);
  EXPECT_THAT(at, Succeeds());
  munmap(at, size_t{1} << 44);
}

TEST(BreakGrowth, SameAsTheKernelSays) {
  EXPECT_THAT(InChild([] {
                const long begin = syscall(SYS_brk, 0);
                CHILD_CHECK(syscall(SYS_brk, begin + 100) == begin + 100);  // Not rounded.
                *reinterpret_cast<char*>(begin + 99) = 1;
                CHILD_CHECK(syscall(SYS_brk, begin + 5 * long{kPage}) == begin + 5 * long{kPage});
                CHILD_CHECK(syscall(SYS_brk, begin) == begin);
                CHILD_CHECK(syscall(SYS_brk, 0) == begin);
                return 0;
              }),
              Exited(0));
}

TEST(BreakGrowth, StopsAtAMapping) {
  EXPECT_THAT(InChild([] {
                const long now = syscall(SYS_brk, 0);
                char* const in_the_way =
                    reinterpret_cast<char*>((now + long{64 * kPage}) & ~long{kPage - 1});
                CHILD_CHECK(mmap(in_the_way, kPage, PROT_READ, kPrivate | MAP_FIXED_NOREPLACE, -1,
                                 0) == in_the_way);
                CHILD_CHECK(syscall(SYS_brk, now + long{256 * kPage}) == now);
                CHILD_CHECK(syscall(SYS_brk, now + long{8 * kPage}) == now + long{8 * kPage});
                return 0;
              }),
              Exited(0));
}

TEST(BreakGrowth, ContentsGoWhenItShrinks) {
  EXPECT_THAT(InChild([] {
                char* const begin = reinterpret_cast<char*>((syscall(SYS_brk, 0) + 4095) & ~4095L);
                CHILD_CHECK(brk(begin + 4 * kPage) == 0);
                memset(begin, 7, 4 * kPage);
                CHILD_CHECK(brk(begin + kPage) == 0);
                CHILD_CHECK(FaultOf(begin + 2 * kPage).signal == SIGSEGV);
                CHILD_CHECK(brk(begin + 4 * kPage) == 0);
                CHILD_CHECK(begin[0] == 7 && begin[2 * kPage] == 0);
                return 0;
              }),
              Exited(0));
}

TEST(BreakGrowth, IsExecutableNever) {
  EXPECT_THAT(InChild([] {
                char* const at = static_cast<char*>(sbrk(kPage));
                *at = static_cast<char>(0xc3);
                reinterpret_cast<void (*)()>(at)();
                return 0;
              }),
              Killed(SIGSEGV));
}

// Uses `bytes` of the stack, a page at a time.
__attribute__((noinline)) char UseStack(size_t bytes) {
  volatile char* const room = static_cast<volatile char*>(alloca(bytes));
  for (size_t at = bytes; at >= kPage; at -= kPage) room[at - 1] = static_cast<char>(at);
  return room[bytes - 1];
}

TEST(Stack, GrowsToItsLimit) {
  EXPECT_THAT(InChild([] {
                UseStack(6 * kMiB);
                return 0;
              }),
              Exited(0));
}

TEST(Stack, BeyondTheLimitIsAFault) {
  EXPECT_THAT(InChild([] {
                rlimit limit;
                CHILD_CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
                limit.rlim_cur = kMiB;
                CHILD_CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
                UseStack(3 * kMiB);
                return 0;
              }),
              Killed(SIGSEGV));
}

TEST(Stack, LimitThatIsRaisedCounts) {
  EXPECT_THAT(InChild([] {
                rlimit limit;
                CHILD_CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
                limit.rlim_cur = kMiB;
                CHILD_CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
                limit.rlim_cur = 7 * kMiB;
                CHILD_CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
                UseStack(5 * kMiB);
                return 0;
              }),
              Exited(0));
}

TEST(Stack, OverflowIsHandledOnAnotherStack) {
  EXPECT_THAT(InChild([] {
                static char other[64 << 10];
                const stack_t alternate = {other, 0, sizeof other};
                CHILD_CHECK(sigaltstack(&alternate, nullptr) == 0);
                ScopedAction action(
                    SIGSEGV,
                    [](int, siginfo_t* info, void*) {
                      _exit(info->si_code == SEGV_MAPERR || info->si_code == SEGV_ACCERR ? 7 : 8);
                    },
                    SA_ONSTACK);
                rlimit limit;
                CHILD_CHECK(getrlimit(RLIMIT_STACK, &limit) == 0);
                limit.rlim_cur = kMiB;
                CHILD_CHECK(setrlimit(RLIMIT_STACK, &limit) == 0);
                UseStack(3 * kMiB);
                return 0;
              }),
              Exited(7));
}

TEST(Stack, IsWritableAndNotExecutable) {
  char local = 0;
  EXPECT_EQ(PermissionsOf(&local), "rw-p");
}

}  // namespace
