#include "sentry/task/seccomp.h"

#include <linux/audit.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

namespace sentry {
namespace {

constexpr size_t kMaxInstructions = 4096;  // BPF_MAXINSNS
constexpr size_t kMaxTotal = 32768;        // MAX_INSNS_PER_PATH
constexpr size_t kPenalty = 4;             // Of each filter in that.
constexpr uint32_t kScratch = BPF_MEMWORDS;

// What an instruction does with the machine. The codes are those that Linux lets pass for seccomp.
bool IsKnown(const sock_filter& instruction) {
  switch (instruction.code) {
    case BPF_LD | BPF_W | BPF_ABS:
      return instruction.k < sizeof(seccomp_data) && instruction.k % 4 == 0;
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
    case BPF_ALU | BPF_ADD | BPF_K:
    case BPF_ALU | BPF_ADD | BPF_X:
    case BPF_ALU | BPF_SUB | BPF_K:
    case BPF_ALU | BPF_SUB | BPF_X:
    case BPF_ALU | BPF_MUL | BPF_K:
    case BPF_ALU | BPF_MUL | BPF_X:
    case BPF_ALU | BPF_DIV | BPF_X:
    case BPF_ALU | BPF_AND | BPF_K:
    case BPF_ALU | BPF_AND | BPF_X:
    case BPF_ALU | BPF_OR | BPF_K:
    case BPF_ALU | BPF_OR | BPF_X:
    case BPF_ALU | BPF_XOR | BPF_K:
    case BPF_ALU | BPF_XOR | BPF_X:
    case BPF_ALU | BPF_LSH | BPF_X:
    case BPF_ALU | BPF_RSH | BPF_X:
    case BPF_ALU | BPF_NEG:
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
      return true;
    case BPF_ALU | BPF_DIV | BPF_K:
      return instruction.k != 0;
    case BPF_ALU | BPF_LSH | BPF_K:
    case BPF_ALU | BPF_RSH | BPF_K:
      return instruction.k < 32;
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
      return instruction.k < kScratch;
    default:
      return false;
  }
}

bool IsJump(const sock_filter& instruction) {
  switch (instruction.code) {
    case BPF_JMP | BPF_JA:
    case BPF_JMP | BPF_JEQ | BPF_K:
    case BPF_JMP | BPF_JEQ | BPF_X:
    case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_X:
    case BPF_JMP | BPF_JGT | BPF_K:
    case BPF_JMP | BPF_JGT | BPF_X:
    case BPF_JMP | BPF_JSET | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_X:
      return true;
    default:
      return false;
  }
}

// bpf_check_classic(): jumps lead forward and stay inside, scratch memory is written before it is
// read, and the last instruction returns.
bool StaysInside(std::span<const sock_filter> code, size_t at) {
  const size_t left = code.size() - at - 1;
  const sock_filter& jump = code[at];
  if (jump.code == (BPF_JMP | BPF_JA)) return jump.k < left;
  return jump.jt < left && jump.jf < left;
}

bool ReadsWrittenMemory(std::span<const sock_filter> code) {
  std::vector<uint16_t> written(code.size(), UINT16_MAX);
  uint16_t now = 0;
  for (size_t at = 0; at < code.size(); ++at) {
    const sock_filter& instruction = code[at];
    now &= written[at];
    const auto leads_to = [&](size_t target) { written[target] &= now; };
    if (instruction.code == BPF_ST || instruction.code == BPF_STX) {
      now |= static_cast<uint16_t>(1u << instruction.k);
    } else if (instruction.code == (BPF_LD | BPF_MEM) || instruction.code == (BPF_LDX | BPF_MEM)) {
      if ((now >> instruction.k & 1) == 0) return false;
    } else if (instruction.code == (BPF_JMP | BPF_JA)) {
      leads_to(at + 1 + instruction.k);
      now = UINT16_MAX;
    } else if (IsJump(instruction)) {
      leads_to(at + 1 + instruction.jt);
      leads_to(at + 1 + instruction.jf);
      now = UINT16_MAX;
    }
  }
  return true;
}

bool IsValid(std::span<const sock_filter> code) {
  if (code.empty() || code.size() > kMaxInstructions) return false;
  for (size_t at = 0; at < code.size(); ++at) {
    if (IsJump(code[at]) ? !StaysInside(code, at) : !IsKnown(code[at])) return false;
  }
  return BPF_CLASS(code.back().code) == BPF_RET && ReadsWrittenMemory(code);
}

uint32_t Calculate(uint16_t operation, uint32_t a, uint32_t b) {
  switch (operation) {
    case BPF_ADD:
      return a + b;
    case BPF_SUB:
      return a - b;
    case BPF_MUL:
      return a * b;
    case BPF_DIV:
      return b == 0 ? 0 : a / b;
    case BPF_AND:
      return a & b;
    case BPF_OR:
      return a | b;
    case BPF_XOR:
      return a ^ b;
    case BPF_LSH:
      return a << (b & 31);
    case BPF_RSH:
      return a >> (b & 31);
    default:
      return -a;  // BPF_NEG
  }
}

bool Holds(uint16_t test, uint32_t a, uint32_t b) {
  switch (test) {
    case BPF_JEQ:
      return a == b;
    case BPF_JGE:
      return a >= b;
    case BPF_JGT:
      return a > b;
    default:
      return (a & b) != 0;  // BPF_JSET
  }
}

// The machine of bpf(4) for checked code. `known` bytes of the data may be looked at; a load behind
// them ends it with nothing.
std::optional<uint32_t> Interpret(std::span<const sock_filter> code, const seccomp_data& data,
                                  size_t known) {
  uint32_t a = 0, x = 0;
  uint32_t memory[kScratch] = {};
  for (size_t at = 0; at < code.size(); ++at) {
    const sock_filter& instruction = code[at];
    const uint32_t k = instruction.k;
    const bool with_x = BPF_SRC(instruction.code) == BPF_X;
    switch (BPF_CLASS(instruction.code)) {
      case BPF_LD:
      case BPF_LDX: {
        uint32_t value = k;  // BPF_IMM
        if (BPF_MODE(instruction.code) == BPF_MEM) value = memory[k];
        if (BPF_MODE(instruction.code) == BPF_LEN) value = sizeof(data);
        if (BPF_MODE(instruction.code) == BPF_ABS) {
          if (k + sizeof(value) > known) return std::nullopt;
          memcpy(&value, reinterpret_cast<const char*>(&data) + k, sizeof(value));
        }
        (BPF_CLASS(instruction.code) == BPF_LD ? a : x) = value;
        break;
      }
      case BPF_ST:
        memory[k] = a;
        break;
      case BPF_STX:
        memory[k] = x;
        break;
      case BPF_ALU:
        a = Calculate(BPF_OP(instruction.code), a, with_x ? x : k);
        break;
      case BPF_JMP:
        if (BPF_OP(instruction.code) == BPF_JA) {
          at += k;
        } else {
          at +=
              Holds(BPF_OP(instruction.code), a, with_x ? x : k) ? instruction.jt : instruction.jf;
        }
        break;
      case BPF_RET:
        return BPF_RVAL(instruction.code) == BPF_A ? a : k;
      default:
        (BPF_MISCOP(instruction.code) == BPF_TAX ? x : a) =
            BPF_MISCOP(instruction.code) == BPF_TAX ? a : x;
        break;
    }
  }
  return SECCOMP_RET_KILL_PROCESS;  // Not reached: the last instruction returns.
}

class BpfProgram final : public SeccompProgram {
 public:
  explicit BpfProgram(std::span<const sock_filter> code) : code_(code.begin(), code.end()) {
    // As Linux's cache: the number and the architecture are known, nothing else.
    seccomp_data data{.arch = AUDIT_ARCH_X86_64};
    for (size_t nr = 0; nr < always_.size(); ++nr) {
      data.nr = static_cast<int>(nr);
      const auto action = Interpret(code_, data, offsetof(seccomp_data, instruction_pointer));
      always_[nr] = action.has_value() && *action == SECCOMP_RET_ALLOW;
    }
  }
  uint32_t Evaluate(const seccomp_data& call) const override {
    return *Interpret(code_, call, sizeof(call));
  }
  size_t size() const override { return code_.size(); }

 private:
  const std::vector<sock_filter> code_;
};

}  // namespace

Result<Ref<SeccompProgram>> CompileSeccomp(std::span<const sock_filter> code) {
  if (!IsValid(code)) return Errno(EINVAL);
  return Ref<SeccompProgram>(MakeRef<BpfProgram>(code));
}

Result<Ref<SeccompFilters>> SeccompFilters::With(const Ref<SeccompFilters>& before,
                                                 Ref<SeccompProgram> added) {
  Ref<SeccompFilters> filters = MakeRef<SeccompFilters>();
  if (before) filters->programs_ = before->programs_;
  filters->programs_.push_back(std::move(added));
  size_t total = 0;
  for (const auto& program : filters->programs_) total += program->size() + kPenalty;
  if (total > kMaxTotal) return Errno(ENOMEM);
  return filters;
}

bool SeccompFilters::Extends(const SeccompFilters& others) const {
  return others.count() <= count() &&
         std::equal(others.programs_.begin(), others.programs_.end(), programs_.begin(),
                    [](const auto& a, const auto& b) { return a.get() == b.get(); });
}

bool SeccompFilters::AlwaysAllow(uint64_t nr) const {
  return std::all_of(programs_.begin(), programs_.end(),
                     [nr](const auto& program) { return program->AlwaysAllows(nr); });
}

uint32_t SeccompFilters::Evaluate(const seccomp_data& call) const {
  uint32_t result = SECCOMP_RET_ALLOW;
  for (auto it = programs_.rbegin(); it != programs_.rend(); ++it) {
    if ((*it)->AlwaysAllows(static_cast<uint64_t>(call.nr))) continue;
    const uint32_t action = (*it)->Evaluate(call);
    // Compared as signed numbers: KILL_PROCESS has the highest bit.
    if (static_cast<int32_t>(action & SECCOMP_RET_ACTION_FULL) <
        static_cast<int32_t>(result & SECCOMP_RET_ACTION_FULL)) {
      result = action;
    }
  }
  return result;
}

}  // namespace sentry
