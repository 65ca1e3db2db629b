// From a table of allowed host calls to the BPF program, at compile time.
#ifndef BASE_SECCOMP_FILTER_H_
#define BASE_SECCOMP_FILTER_H_

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "base/seccomp_rule.h"

template <size_t Capacity>
struct SeccompProgram {
  std::array<sock_filter, Capacity> code{};
  size_t size = 0;
};

namespace seccomp_internal {

inline constexpr uint32_t kX32Bit = 0x40000000;
// An argument rule is two halves of three instructions each.
inline constexpr size_t kInstructionsPerArgRule = 6;
// The comparison of the number, the answer, and loading the number again.
inline constexpr size_t kInstructionsPerRow = 3 + 3 * kInstructionsPerArgRule;
inline constexpr size_t kInstructionsAround = 6;

constexpr uint32_t ArgOffset(uint8_t index, bool high_half) {
  return offsetof(seccomp_data, args) + index * sizeof(uint64_t) + (high_half ? 4 : 0);
}

template <size_t Capacity>
class Assembler {
 public:
  constexpr void Load(uint32_t offset) { Emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset); }
  constexpr void And(uint32_t mask) { Emit(BPF_ALU | BPF_AND | BPF_K, 0, 0, mask); }
  // Skips `count` instructions unless the accumulator is `value`.
  constexpr void SkipUnlessEqual(uint32_t value, uint8_t count) {
    Emit(BPF_JMP | BPF_JEQ | BPF_K, 0, count, value);
  }
  constexpr void SkipIfBelow(uint32_t value, uint8_t count) {
    Emit(BPF_JMP | BPF_JGE | BPF_K, 0, count, value);
  }
  constexpr void Return(uint32_t action) { Emit(BPF_RET | BPF_K, 0, 0, action); }

  // One row. Leaves the number in the accumulator.
  constexpr void Row(const SeccompRule& row) {
    const size_t rules = row.arg_rule_count;
    const uint32_t action =
        row.refuse_with == 0 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | row.refuse_with;
    if (rules == 0) {
      SkipUnlessEqual(row.nr, 1);
      Return(action);
      return;
    }
    // Another number goes behind the row; a failing argument goes to where the number is loaded
    // again.
    size_t left = rules * kInstructionsPerArgRule + 1;
    SkipUnlessEqual(row.nr, static_cast<uint8_t>(left + 1));
    for (size_t i = 0; i < rules; ++i) {
      const ArgRule& rule = row.arg_rules[i];
      for (const bool high : {true, false}) {
        const int shift = high ? 32 : 0;
        Load(ArgOffset(rule.index, high));
        And(static_cast<uint32_t>(rule.mask >> shift));
        left -= 3;
        SkipUnlessEqual(static_cast<uint32_t>(rule.value >> shift), static_cast<uint8_t>(left));
      }
    }
    Return(action);
    Load(offsetof(seccomp_data, nr));
  }

  constexpr SeccompProgram<Capacity> program() const { return program_; }

 private:
  constexpr void Emit(int code, uint8_t jt, uint8_t jf, uint32_t k) {
    program_.code[program_.size++] = {static_cast<uint16_t>(code), jt, jf, k};
  }

  SeccompProgram<Capacity> program_;
};

}  // namespace seccomp_internal

// Allows the calls of `rows` and kills the process at any other, at another architecture's and at
// the x32 ones. Rows are compared in their order: frequent calls come first.
template <size_t N>
constexpr auto CompileAllowList(const SeccompRule (&rows)[N]) {
  using namespace seccomp_internal;
  constexpr size_t kCapacity = N * kInstructionsPerRow + kInstructionsAround;
  static_assert(kCapacity <= BPF_MAXINSNS);
  Assembler<kCapacity> out;
  out.Load(offsetof(seccomp_data, arch));
  out.SkipUnlessEqual(AUDIT_ARCH_X86_64, 2);
  out.Load(offsetof(seccomp_data, nr));
  out.SkipIfBelow(kX32Bit, 1);
  out.Return(SECCOMP_RET_KILL_PROCESS);
  for (const SeccompRule& row : rows) out.Row(row);
  out.Return(SECCOMP_RET_KILL_PROCESS);
  return out.program();
}

// Puts `program` on the calling thread and on all it creates, for good.
template <size_t Capacity>
Status InstallSeccompFilter(const SeccompProgram<Capacity>& program) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Errno::Last();
  const sock_fprog code{.len = static_cast<unsigned short>(program.size),
                        .filter = const_cast<sock_filter*>(program.code.data())};
  if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &code) != 0) return Errno::Last();
  return kOk;
}

#endif  // BASE_SECCOMP_FILTER_H_
