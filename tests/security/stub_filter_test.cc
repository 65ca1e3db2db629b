// The seccomp program of application processes, evaluated for every call number and many arguments:
// what reaches the host unasked.
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <map>
#include <set>
#include <span>

#include "platform/native/layout.h"
#include "platform/systrap/filter.h"
#include "syscalls/dispositions.h"
#include "platform/native/evaluate_filter.h"

namespace {

constexpr auto kFilter = platform::systrap::BuildFilter(syscalls::Dispositions());
// An application's code, and the stub's.
constexpr uint64_t kApplication = 0x401000;

uint32_t Answer(uint32_t nr, std::initializer_list<uint64_t> args, uint64_t ip = kApplication,
                uint32_t arch = AUDIT_ARCH_X86_64) {
  seccomp_data data{.nr = static_cast<int>(nr), .arch = arch, .instruction_pointer = ip};
  size_t i = 0;
  for (const uint64_t arg : args) data.args[i++] = arg;
  return EvaluateFilter(std::span(kFilter.code).first(kFilter.size), data);
}

// Every combination of some telling values for the first four arguments.
template <typename Visit>
void ForManyArguments(Visit visit) {
  constexpr uint64_t kValues[] = {
      0, 1, 3, 4, 7, 9, 0x22, 0x32, 0x1000, 0x7f0000000000, STUB_CODE, STUB_SETUP, ~uint64_t{0}};
  for (const uint64_t a : kValues) {
    for (const uint64_t b : kValues) {
      for (const uint64_t c : kValues) {
        for (const uint64_t d : kValues) visit(a, b, c, d);
      }
    }
  }
}

TEST(StubFilter, AtMostTenCallsReachTheHostUnasked) {
  std::set<uint32_t> unasked;
  for (uint32_t nr = 0; nr < 1024; ++nr) {
    ForManyArguments([&](uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
      const uint32_t answer = Answer(nr, {a, b, c, d});
      if (answer == SECCOMP_RET_ALLOW) unasked.insert(nr);
      EXPECT_TRUE(answer == SECCOMP_RET_ALLOW || answer == SECCOMP_RET_TRAP ||
                  answer == SECCOMP_RET_USER_NOTIF)
          << nr;
    });
  }
  const std::set<uint32_t> expected = {SYS_mmap,    SYS_mprotect, SYS_munmap,     SYS_brk,
                                       SYS_madvise, SYS_futex,    SYS_sched_yield, SYS_rseq};
  EXPECT_LE(unasked.size(), 10u);
  for (const uint32_t nr : unasked) EXPECT_TRUE(expected.contains(nr)) << "call " << nr;
}

TEST(StubFilter, TheStubsOwnCallsHaveNoPower) {
  // The address in seccomp_data is the one behind the instruction.
  std::set<uint32_t> unasked;
  for (uint64_t ip = STUB_CODE + 2; ip < STUB_CODE + STUB_CODE_SIZE; ip += 64) {
    for (uint32_t nr = 0; nr < 1024; ++nr) {
      if (Answer(nr, {0, 0, ~uint64_t{0}, ~uint64_t{0}}, ip) == SECCOMP_RET_ALLOW) {
        unasked.insert(nr);
      }
    }
  }
  for (const uint32_t nr : unasked) {
    EXPECT_TRUE(nr == SYS_rt_sigreturn || nr == SYS_sigaltstack) << "call " << nr;
  }
}

TEST(StubFilter, MappingsOfFilesAreAskedFor) {
  EXPECT_NE(Answer(SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE, 3, 0}), SECCOMP_RET_ALLOW);
  EXPECT_NE(Answer(SYS_mmap, {0, 4096, PROT_READ, MAP_SHARED, 3, 0}), SECCOMP_RET_ALLOW);
}

TEST(StubFilter, WhatBecomesExecutableIsAskedFor) {
  constexpr int kReadWrite = PROT_READ | PROT_WRITE;
  EXPECT_EQ(Answer(SYS_mprotect, {0x10000, 4096, kReadWrite}), SECCOMP_RET_ALLOW);
  for (const int prot : {PROT_EXEC, PROT_READ | PROT_EXEC, kReadWrite | PROT_EXEC}) {
    EXPECT_NE(Answer(SYS_mprotect, {0x10000, 4096, static_cast<uint64_t>(prot)}),
              SECCOMP_RET_ALLOW);
    EXPECT_NE(Answer(SYS_pkey_mprotect, {0x10000, 4096, static_cast<uint64_t>(prot), 0}),
              SECCOMP_RET_ALLOW);
  }
}

TEST(StubFilter, TheStubsMemoryIsOutOfReach) {
  for (const uint32_t nr : {SYS_munmap, SYS_mprotect, SYS_madvise}) {
    EXPECT_NE(Answer(nr, {STUB_CODE, 4096, 0}), SECCOMP_RET_ALLOW) << nr;
    EXPECT_NE(Answer(nr, {STUB_REGION_START, 4096, 0}), SECCOMP_RET_ALLOW) << nr;
    // A range that begins below and is larger than anything.
    EXPECT_NE(Answer(nr, {0x1000, ~uint64_t{0} - 0xfff, 0}), SECCOMP_RET_ALLOW) << nr;
  }
  EXPECT_NE(Answer(SYS_mmap, {STUB_CODE, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                              ~uint64_t{0}, 0}),
            SECCOMP_RET_ALLOW);
}

TEST(StubFilter, OtherArchitecturesDoNotExist) {
  for (uint32_t nr = 0; nr < 1024; ++nr) {
    EXPECT_EQ(Answer(nr, {0, 0, 0, 0}, kApplication, AUDIT_ARCH_I386), SECCOMP_RET_ERRNO | ENOSYS);
  }
  EXPECT_NE(Answer(0x40000000u | SYS_mmap, {0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS}),
            SECCOMP_RET_ALLOW);
}

}  // namespace
