// The stub's seccomp program, made from the table of dispositions while compiling.
//
// Reachable unasked from application code, and nothing else (README.md has the reasons):
//   direct   futex, mmap, munmap, mprotect, madvise, brk, sched_yield, rseq, with bounded arguments
//   stub     rt_sigreturn, sigaltstack, mprotect(PROT_NONE) of the set-up copy
#ifndef PLATFORM_SYSTRAP_FILTER_H_
#define PLATFORM_SYSTRAP_FILTER_H_

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "platform/api/disposition.h"
#include "platform/native/direct.h"
#include "platform/native/layout.h"

namespace platform::systrap {

struct FilterProgram {
  std::array<sock_filter, 256> code{};
  size_t size = 0;
};

// Assembles front to back. Every jump goes forward over a block whose length is known when the
// block is closed.
class FilterBuilder {
 public:
  constexpr FilterProgram Build(const DispositionTable& table) {
    Load(offsetof(seccomp_data, arch));
    RequireEqual(AUDIT_ARCH_X86_64);
    Return(SECCOMP_RET_ERRNO | ENOSYS);  // int 0x80 and friends.
    StubRules();
    Load(offsetof(seccomp_data, nr));
    for (uint32_t nr = 0; nr < kMaxSyscalls; ++nr) {
      if (table[nr] == Disposition::kDirect) DirectRule(nr);
    }
    for (uint32_t nr = 0; nr < kMaxSyscalls; ++nr) {
      if (table[nr] == Disposition::kContext) ReturnIfEqual(nr, SECCOMP_RET_TRAP);
    }
    Return(SECCOMP_RET_USER_NOTIF);
    return program_;
  }

 private:
  static constexpr uint32_t Low(uint64_t v) { return static_cast<uint32_t>(v); }
  static constexpr uint32_t ArgLow(int i) {
    return static_cast<uint32_t>(offsetof(seccomp_data, args)) + 8u * static_cast<uint32_t>(i);
  }
  static constexpr uint32_t ArgHigh(int i) { return ArgLow(i) + 4; }
  static constexpr uint32_t kIpLow = offsetof(seccomp_data, instruction_pointer);
  static constexpr uint32_t kIpHigh = kIpLow + 4;

  constexpr void Emit(uint16_t code, uint32_t k, uint8_t jt = 0, uint8_t jf = 0) {
    program_.code[program_.size++] = sock_filter{code, jt, jf, k};
  }
  constexpr void Load(uint32_t offset) { Emit(BPF_LD | BPF_W | BPF_ABS, offset); }
  constexpr void And(uint32_t mask) { Emit(BPF_ALU | BPF_AND | BPF_K, mask); }
  constexpr void Return(uint32_t action) { Emit(BPF_RET | BPF_K, action); }
  constexpr void ReturnIfEqual(uint32_t value, uint32_t action) {
    Emit(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    Return(action);
  }
  // Jump over the next instruction, a Return, when the condition holds.
  constexpr void RequireEqual(uint32_t value) { Emit(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0); }
  constexpr void RequireBelow(uint32_t value) { Emit(BPF_JMP | BPF_JGE | BPF_K, value, 0, 1); }

  // A block that is skipped unless the accumulator equals `value`.
  constexpr size_t OpenIfEqual(uint32_t value) {
    Emit(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 0);
    return program_.size - 1;
  }
  constexpr size_t OpenIfAtLeast(uint32_t value) {
    Emit(BPF_JMP | BPF_JGE | BPF_K, value, 0, 0);
    return program_.size - 1;
  }
  constexpr size_t OpenUnlessAtLeast(uint32_t value) {
    Emit(BPF_JMP | BPF_JGE | BPF_K, value, 0, 0);
    program_.code[program_.size - 1].jf = kTaken;
    return program_.size - 1;
  }
  constexpr void Close(size_t open) {
    const auto length = static_cast<uint8_t>(program_.size - open - 1);
    sock_filter& jump = program_.code[open];
    if (jump.jf == kTaken) {
      jump.jf = 0;
      jump.jt = length;
    } else {
      jump.jf = length;
    }
  }

  constexpr void StubRules() {
    Load(kIpHigh);
    const size_t region = OpenIfEqual(Low(STUB_REGION_START >> 32));
    Load(kIpLow);
    // The address is the one behind the call, so the first byte of a page is not in it.
    const size_t above_setup = OpenIfAtLeast(Low(STUB_SETUP) + 1);
    const size_t in_setup = OpenUnlessAtLeast(Low(STUB_SETUP) + STUB_CODE_SIZE + 1);
    Load(offsetof(seccomp_data, nr));
    ReturnIfEqual(STUB_NOTIFY_CALL, SECCOMP_RET_USER_NOTIF);
    Return(SECCOMP_RET_ALLOW);
    Close(in_setup);
    Close(above_setup);
    const size_t above_code = OpenIfAtLeast(Low(STUB_CODE) + 1);
    const size_t in_code = OpenUnlessAtLeast(Low(STUB_CODE) + STUB_CODE_SIZE + 1);
    Load(offsetof(seccomp_data, nr));
    ReturnIfEqual(SYS_rt_sigreturn, SECCOMP_RET_ALLOW);
    ReturnIfEqual(SYS_sigaltstack, SECCOMP_RET_ALLOW);
    const size_t take_away = OpenIfEqual(SYS_mprotect);
    ReturnUnlessArg(0, STUB_SETUP);
    ReturnUnlessArg(1, STUB_CODE_SIZE);
    ReturnUnlessArg(2, PROT_NONE);
    Return(SECCOMP_RET_ALLOW);
    Close(take_away);
    Return(SECCOMP_RET_USER_NOTIF);
    Close(in_code);
    Close(above_code);
    Close(region);
  }

  constexpr void ReturnUnlessArg(int index, uint64_t value) {
    Load(ArgLow(index));
    RequireEqual(Low(value));
    Return(SECCOMP_RET_USER_NOTIF);
    Load(ArgHigh(index));
    RequireEqual(Low(value >> 32));
    Return(SECCOMP_RET_USER_NOTIF);
  }

  // platform::native::IsDirectRange.
  constexpr void RequireRange() {
    Load(ArgHigh(0));
    RequireBelow(native::kDirectAddressLimit);
    Return(SECCOMP_RET_USER_NOTIF);
    Load(ArgHigh(1));
    RequireEqual(0);
    Return(SECCOMP_RET_USER_NOTIF);
  }

  constexpr void RequireOnly(int index, uint64_t mask) {
    Load(ArgLow(index));
    And(~Low(mask));
    RequireEqual(0);
    Return(SECCOMP_RET_USER_NOTIF);
    Load(ArgHigh(index));
    RequireEqual(0);
    Return(SECCOMP_RET_USER_NOTIF);
  }

  // platform::native::IsDirect, call by call.
  constexpr void DirectRule(uint32_t nr) {
    const size_t block = OpenIfEqual(nr);
    switch (nr) {
      case SYS_sched_yield:
      case SYS_brk:
        Return(SECCOMP_RET_ALLOW);
        break;
      case SYS_futex:
        Load(ArgLow(1));
        And(~uint32_t{FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME});
        for (uint32_t op = 0; op < 16; ++op) {
          if (native::IsRelativeWait(op)) {
            const size_t wait = OpenIfEqual(op);
            ReturnUnlessArg(3, 0);
            Return(SECCOMP_RET_ALLOW);
            Close(wait);
          } else if (native::IsDirectFutex(op)) {
            ReturnIfEqual(op, SECCOMP_RET_ALLOW);
          }
        }
        break;
      case SYS_munmap:
        RequireRange();
        Return(SECCOMP_RET_ALLOW);
        break;
      case SYS_mprotect:
        RequireRange();
        RequireOnly(2, native::kDirectProtChange);
        Return(SECCOMP_RET_ALLOW);
        break;
      case SYS_madvise:
        RequireRange();
        Load(ArgLow(2));
        for (uint32_t advice = 0; advice < 32; ++advice) {
          if (native::IsDirectAdvice(advice)) ReturnIfEqual(advice, SECCOMP_RET_ALLOW);
        }
        break;
      case SYS_rseq:
        Load(ArgHigh(0));
        RequireBelow(native::kDirectAddressLimit);
        Return(SECCOMP_RET_USER_NOTIF);
        Load(ArgLow(2));
        RequireBelow(native::kRseqUnregister + 1);
        Return(SECCOMP_RET_USER_NOTIF);
        Return(SECCOMP_RET_ALLOW);
        break;
      case SYS_mmap: {
        RequireOnly(2, native::kDirectProt);
        RequireOnly(3, native::kDirectMapFlags);
        Load(ArgLow(3));
        And(MAP_ANONYMOUS);
        RequireEqual(MAP_ANONYMOUS);
        Return(SECCOMP_RET_USER_NOTIF);
        Load(ArgLow(3));
        And(MAP_FIXED | MAP_FIXED_NOREPLACE);
        ReturnIfEqual(0, SECCOMP_RET_ALLOW);
        RequireRange();
        Return(SECCOMP_RET_ALLOW);
        break;
      }
      default:
        break;  // Direct in the table, but nothing is known about it here: ask.
    }
    Return(SECCOMP_RET_USER_NOTIF);
    Close(block);
  }

  static constexpr uint8_t kTaken = 0xff;
  FilterProgram program_;
};

constexpr FilterProgram BuildFilter(const DispositionTable& table) {
  return FilterBuilder().Build(table);
}

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_FILTER_H_
