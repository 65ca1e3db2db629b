// The stub's seccomp program, interpreted, against the rules it was made from.
#include "platform/systrap/filter.h"

#include <gtest/gtest.h>

#include <random>
#include <span>

#include "platform/native/evaluate_filter.h"

namespace platform::systrap {
namespace {

constexpr int kDirectCalls[] = {SYS_mmap,    SYS_mprotect, SYS_munmap,      SYS_brk,
                                SYS_madvise, SYS_futex,    SYS_sched_yield, SYS_rseq};

constexpr DispositionTable TestTable() {
  DispositionTable table{};
  for (const int nr : kDirectCalls) table[static_cast<size_t>(nr)] = Disposition::kDirect;
  for (const int nr : {SYS_clone, SYS_execve, SYS_rt_sigreturn}) {
    table[static_cast<size_t>(nr)] = Disposition::kContext;
  }
  return table;
}
constexpr FilterProgram kFilter = BuildFilter(TestTable());
static_assert(kFilter.size < kFilter.code.size());

uint32_t Evaluate(const seccomp_data& data) {
  return EvaluateFilter(std::span(kFilter.code.data(), kFilter.size), data);
}

seccomp_data Call(uint64_t nr, std::initializer_list<uint64_t> args, uint64_t ip = 0x555500001000) {
  seccomp_data data{};
  data.nr = static_cast<int>(nr);
  data.arch = AUDIT_ARCH_X86_64;
  data.instruction_pointer = ip;
  size_t i = 0;
  for (const uint64_t arg : args) data.args[i++] = arg;
  return data;
}

SyscallArgs ToArgs(const seccomp_data& data) {
  SyscallArgs call{.nr = static_cast<uint64_t>(data.nr)};
  for (int i = 0; i < 6; ++i) call.args[i] = data.args[i];
  return call;
}

TEST(Filter, AgreesWithIsDirectOnEdgesAndAtRandom) {
  std::mt19937_64 random(1);
  const uint64_t edges[] = {0,
                            1,
                            2,
                            3,
                            4,
                            7,
                            8,
                            22,
                            31,
                            0x22,
                            0x32,
                            128,
                            0x100022,
                            4096,
                            0xffffffff,
                            0x100000000,
                            0x7ffdffffffff,
                            0x7ffe00000000,
                            STUB_CODE,
                            ~uint64_t{0}};
  const auto pick = [&] {
    return random() % 4 == 0 ? random() >> (random() % 64) : edges[random() % std::size(edges)];
  };
  for (int i = 0; i < 200'000; ++i) {
    const int nr = kDirectCalls[random() % std::size(kDirectCalls)];
    const seccomp_data data =
        Call(static_cast<uint64_t>(nr), {pick(), pick(), pick(), pick(), pick(), pick()});
    const bool allowed = Evaluate(data) == SECCOMP_RET_ALLOW;
    ASSERT_EQ(allowed, native::IsDirect(ToArgs(data)))
        << nr << " " << std::hex << data.args[0] << " " << data.args[1] << " " << data.args[2]
        << " " << data.args[3];
  }
}

TEST(Filter, SendsEverythingElseToTheSentry) {
  for (uint64_t nr = 0; nr < 700; ++nr) {
    const uint32_t action = Evaluate(Call(nr, {}));
    const auto disposition = nr < kMaxSyscalls ? TestTable()[nr] : Disposition::kEmulate;
    if (disposition == Disposition::kContext) {
      EXPECT_EQ(action, SECCOMP_RET_TRAP) << nr;
    } else if (disposition != Disposition::kDirect) {
      EXPECT_EQ(action, SECCOMP_RET_USER_NOTIF) << nr;
    }
  }
}

TEST(Filter, AllowsNoCallFromTheStubThatHasPower) {
  const uint64_t in_code = STUB_CODE + 0x20;
  for (uint64_t nr = 0; nr < 700; ++nr) {
    const bool harmless = nr == SYS_rt_sigreturn || nr == SYS_sigaltstack;
    EXPECT_EQ(Evaluate(Call(nr, {}, in_code)),
              harmless ? SECCOMP_RET_ALLOW : SECCOMP_RET_USER_NOTIF)
        << nr;
  }
  EXPECT_EQ(Evaluate(Call(SYS_mprotect, {STUB_SETUP, STUB_CODE_SIZE, PROT_NONE}, in_code)),
            SECCOMP_RET_ALLOW);
  EXPECT_EQ(Evaluate(Call(SYS_mprotect, {STUB_SETUP, STUB_CODE_SIZE, PROT_EXEC}, in_code)),
            SECCOMP_RET_USER_NOTIF);
  EXPECT_EQ(Evaluate(Call(SYS_mprotect, {STUB_CODE, STUB_CODE_SIZE, PROT_NONE}, in_code)),
            SECCOMP_RET_USER_NOTIF);
  // A hole there would be code with every right.
  EXPECT_EQ(Evaluate(Call(SYS_munmap, {STUB_SETUP, STUB_CODE_SIZE}, in_code)),
            SECCOMP_RET_USER_NOTIF);
}

TEST(Filter, LetsTheSetUpCopyWork) {
  const uint64_t in_setup = STUB_SETUP + 0x20;
  EXPECT_EQ(Evaluate(Call(SYS_execve, {}, in_setup)), SECCOMP_RET_ALLOW);
  EXPECT_EQ(Evaluate(Call(STUB_NOTIFY_CALL, {}, in_setup)), SECCOMP_RET_USER_NOTIF);
  // Just outside it is application code as any other.
  EXPECT_EQ(Evaluate(Call(SYS_execve, {}, STUB_SETUP)), SECCOMP_RET_TRAP);
  EXPECT_EQ(Evaluate(Call(SYS_execve, {}, STUB_SETUP + STUB_CODE_SIZE + 1)), SECCOMP_RET_TRAP);
}

TEST(Filter, RefusesOtherArchitectures) {
  seccomp_data data = Call(SYS_futex, {});
  data.arch = AUDIT_ARCH_I386;
  EXPECT_EQ(Evaluate(data), SECCOMP_RET_ERRNO | ENOSYS);
}

}  // namespace
}  // namespace platform::systrap
