// The stub's seccomp program, interpreted: which call from where goes where.
#include "platform/ptrace/filter.h"

#include <gtest/gtest.h>

#include "platform/native/evaluate_filter.h"

namespace platform::ptrace {
namespace {

uint32_t Evaluate(const seccomp_data& data) { return EvaluateFilter(kStubFilter, data); }

uint32_t From(uint64_t ip, int nr, uint32_t arch = AUDIT_ARCH_X86_64) {
  return Evaluate({.nr = nr, .arch = arch, .instruction_pointer = ip});
}

TEST(StubFilter, ApplicationCallsStop) {
  for (const uint64_t ip :
       {uint64_t{0x400000}, uint64_t{STUB_SETUP & 0xffffffff}, uint64_t{STUB_CODE + 0x1000},
        uint64_t{STUB_SETUP - 2}, uint64_t{STUB_SETUP + 0x1000}, ~uint64_t{0}}) {
    for (int nr = -1; nr < 512; ++nr) EXPECT_EQ(From(ip, nr), SECCOMP_RET_TRACE) << ip << " " << nr;
  }
}

TEST(StubFilter, StubsMayWait) {
  for (int nr = -1; nr < 512; ++nr) {
    EXPECT_EQ(From(STUB_CODE + 16, nr), nr == SYS_pause ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRACE);
  }
}

TEST(StubFilter, TheSetUpCopyMayDoAllButReport) {
  for (int nr = -1; nr < 512; ++nr) EXPECT_EQ(From(STUB_SETUP + 16, nr), SECCOMP_RET_ALLOW) << nr;
  EXPECT_EQ(From(STUB_SETUP + 16, STUB_NOTIFY_CALL), SECCOMP_RET_TRACE);
}

TEST(StubFilter, OtherArchitecturesFail) {
  EXPECT_EQ(From(STUB_SETUP + 16, SYS_pause, AUDIT_ARCH_I386), SECCOMP_RET_ERRNO | ENOSYS);
}

}  // namespace
}  // namespace platform::ptrace
