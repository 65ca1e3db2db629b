#include "syscalls/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>

#include <algorithm>
#include <string>
#include <vector>

#include "syscalls/dispositions.h"

namespace syscalls {
namespace {

using platform::Disposition;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int> With(Disposition disposition) {
  std::vector<int> numbers;
  for (const AbiRow& row : abi::kRows) {
    if (row.disposition == disposition) numbers.push_back(row.nr);
  }
  return numbers;
}

TEST(Table, EndsWithLinux618) {
  EXPECT_EQ(abi::kRowCount, 470u);
  EXPECT_EQ(FindRow(469)->name, "file_setattr");
  EXPECT_EQ(FindRow(470), nullptr);
  EXPECT_EQ(FindRow(400)->support, Support::kGap);
}

TEST(Table, OnlyTheseAreDirect) {
  EXPECT_THAT(With(Disposition::kDirect),
              ElementsAre(SYS_mmap, SYS_mprotect, SYS_munmap, SYS_brk, SYS_sched_yield, SYS_madvise,
                          SYS_futex, SYS_rseq));
}

// And those that have the host make other calls than the application did.
TEST(Table, CallsThatChangeRegistersHaveContext) {
  EXPECT_THAT(With(Disposition::kContext),
              ElementsAre(SYS_rt_sigreturn, SYS_shmat, SYS_clone, SYS_fork, SYS_vfork, SYS_execve,
                          SYS_shmdt, SYS_sigaltstack, SYS_mlockall, SYS_execveat, SYS_clone3,
                          SYS_process_madvise));
}

TEST(Table, DispositionsDeriveFromTheRowsAtCompileTime) {
  constexpr platform::DispositionTable table = Dispositions();
  static_assert(table[SYS_read] == Disposition::kEmulate);
  static_assert(table[SYS_execve] == Disposition::kContext);
  static_assert(table[511] == Disposition::kEmulate);
}

TEST(Table, NamesAreThoseOfTheHeaders) {
  EXPECT_EQ(FindRow(SYS_openat)->name, "openat");
  EXPECT_EQ(FindRow(SYS_pwritev2)->name, "pwritev2");
  EXPECT_EQ(FindRow(SYS_set_mempolicy_home_node)->name, "set_mempolicy_home_node");
}

TEST(Table, EnoughCallsAreReal) {
  int real = 0;
  for (const AbiRow& row : abi::kRows) real += FindHandler(row.nr) != nullptr ? 1 : 0;
  EXPECT_GE(real, 200);
  EXPECT_EQ(FindHandler(SYS_ptrace), nullptr);
  EXPECT_EQ(FindHandler(1000), nullptr);
}

TEST(Table, DescribesEveryCall) {
  const std::string text = DescribeSyscalls();
  EXPECT_THAT(text, HasSubstr("openat "));
  EXPECT_THAT(text, HasSubstr("numbers without a call"));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'),
            2 + std::count_if(std::begin(abi::kRows), std::end(abi::kRows),
                              [](const AbiRow& row) { return row.support != Support::kGap; }));
}

Result<int64_t> Narrow(Task&, int value, uint8_t byte, int64_t wide) { return value + byte + wide; }
Result<int64_t> Fails(Task&) { return Errno(ENOENT); }
Result<Control> Continues(Task&, uint64_t go) {
  if (go == 0) return Errno(EPERM);
  return Control::ContinueWith(7, 3);
}

// The adapters do not look at the task.
Task& NoTask() {
  alignas(16) static char bytes[16];
  return *reinterpret_cast<Task*>(bytes);
}

TEST(Adapter, TruncatesAsTheAbiSays) {
  const platform::SyscallArgs call{.args = {0xffff'ffff'ffff'fffe, 0x101, uint64_t(-5)}};
  const Verdict verdict = Adapter<&Narrow>::Call(NoTask(), call, nullptr);
  EXPECT_EQ(verdict.kind, Verdict::Kind::kReturn);
  EXPECT_EQ(verdict.value, -2 + 1 - 5);
}

TEST(Adapter, TurnsErrorsIntoNegativeNumbers) {
  EXPECT_EQ(Adapter<&Fails>::Call(NoTask(), {}, nullptr).value, -ENOENT);
}

TEST(Adapter, PassesControl) {
  const platform::SyscallArgs go{.args = {1}};
  const Verdict verdict = Adapter<&Continues>::Call(NoTask(), go, nullptr);
  EXPECT_EQ(verdict.kind, Verdict::Kind::kContinue);
  EXPECT_EQ(verdict.host_fd, 7);
  EXPECT_EQ(verdict.guest_fd, 3);
  EXPECT_EQ(Adapter<&Continues>::Call(NoTask(), {}, nullptr).value, -EPERM);
}

}  // namespace
}  // namespace syscalls
