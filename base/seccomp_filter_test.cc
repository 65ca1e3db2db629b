#include "base/seccomp_filter.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <type_traits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace {

constexpr uint64_t kAll = ~uint64_t{0};
constexpr uint64_t kHighValue = uint64_t{7} << 32 | 1;

constexpr SeccompRule kRows[] = {
    {SYS_exit_group, "to end the test", 0, {}},
    {SYS_getppid, "no rules", 0, {}},
    {SYS_lseek,
     "two alternatives, this one with three rules",
     3,
     {{0, 0xffffffff, 5}, {1, kAll, kHighValue}, {2, 0xffffffff, SEEK_END}}},
    {SYS_lseek, "the second alternative", 1, {{2, 0xffffffff, SEEK_SET}}},
    {SYS_fcntl, "a mask", 1, {{1, ~uint64_t{3}, 0}}},
    {SYS_getpid, "behind rows with rules", 0, {}},
};
constexpr auto kProgram = CompileAllowList(kRows);
static_assert(kProgram.size <= kProgram.code.size());
static_assert(kProgram.code[kProgram.size - 1].k == SECCOMP_RET_KILL_PROCESS);

// Whether `call` survives under the filter. What the call answers does not matter.
template <typename Call>
bool Allowed(Call call) {
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSYS, SIG_DFL);  // The sanitizers' handlers would report it.
    if (!InstallSeccompFilter(kProgram).ok()) _exit(2);
    call();
    syscall(SYS_exit_group, 0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) || WTERMSIG(status) == SIGSYS);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFEXITED(status);
}

TEST(SeccompFilter, AllowsListedCallsOnly) {
  EXPECT_TRUE(Allowed([] { syscall(SYS_getppid); }));
  EXPECT_TRUE(Allowed([] { syscall(SYS_getpid); }));
  EXPECT_FALSE(Allowed([] { syscall(SYS_getuid); }));
  EXPECT_FALSE(Allowed([] { syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY); }));
}

TEST(SeccompFilter, AllRulesOfARowMustHold) {
  EXPECT_TRUE(Allowed([] { syscall(SYS_lseek, 5, kHighValue, SEEK_END); }));
  EXPECT_FALSE(Allowed([] { syscall(SYS_lseek, 6, kHighValue, SEEK_END); }));
  EXPECT_FALSE(Allowed([] { syscall(SYS_lseek, 5, kHighValue, SEEK_CUR); }));
  EXPECT_FALSE(Allowed([] { syscall(SYS_lseek, 5, 1, SEEK_END); }));
  EXPECT_FALSE(Allowed([] { syscall(SYS_lseek, 5, uint64_t{7} << 32, SEEK_END); }));
}

TEST(SeccompFilter, RowsOfOneCallAreAlternatives) {
  EXPECT_TRUE(Allowed([] { syscall(SYS_lseek, 6, 0, SEEK_SET); }));
  EXPECT_TRUE(Allowed([] { syscall(SYS_fcntl, -1, F_SETFD, 0); }));
  EXPECT_FALSE(Allowed([] { syscall(SYS_fcntl, -1, F_SETFL, 0); }));
  EXPECT_FALSE(Allowed([] { syscall(SYS_fcntl, -1, kHighValue, 0); }));
}

TEST(SeccompFilter, RejectsX32) {
  EXPECT_FALSE(Allowed([] { syscall(seccomp_internal::kX32Bit | SYS_getppid); }));
}

TEST(SeccompFilter, RejectsTheOtherArchitecture) {
  // The number is listed, but means iopl to i386.
  EXPECT_FALSE(Allowed([] {
    long result;
    asm volatile("int $0x80" : "=a"(result) : "a"(SYS_getppid) : "memory");
  }));
}

}  // namespace
