#include "base/classic_bpf.h"

#include <array>
#include <cstddef>
#include <vector>

namespace classic_bpf {
namespace {

bool IsConditional(const sock_filter& jump) { return BPF_OP(jump.code) != BPF_JA; }

bool IsKnownJump(const sock_filter& one) {
  switch (one.code) {
    case BPF_JMP | BPF_JA:
    case BPF_JMP | BPF_JEQ | BPF_K:
    case BPF_JMP | BPF_JEQ | BPF_X:
    case BPF_JMP | BPF_JGT | BPF_K:
    case BPF_JMP | BPF_JGT | BPF_X:
    case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_X:
    case BPF_JMP | BPF_JSET | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_X:
      return true;
    default:
      return false;
  }
}

bool StaysInside(const sock_filter& jump, size_t left) {
  return IsConditional(jump) ? jump.jt < left && jump.jf < left : jump.k < left;
}

bool IsCalculation(const sock_filter& one) {
  if (BPF_CLASS(one.code) != BPF_ALU || (one.code & ~0xffu) != 0) return false;
  const bool by_constant = BPF_SRC(one.code) == BPF_K;
  switch (BPF_OP(one.code)) {
    case BPF_ADD:
    case BPF_SUB:
    case BPF_MUL:
    case BPF_AND:
    case BPF_OR:
    case BPF_XOR:
      return true;
    case BPF_DIV:
    case BPF_MOD:
      return !by_constant || one.k != 0;
    case BPF_LSH:
    case BPF_RSH:
      return !by_constant || one.k < 32;
    case BPF_NEG:
      return by_constant;
    default:
      return false;
  }
}

// check_load_and_stores()
bool ReadsWhatWasWritten(std::span<const sock_filter> code) {
  std::vector<uint16_t> written(code.size(), UINT16_MAX);
  uint16_t now = 0;
  for (size_t at = 0; at < code.size(); ++at) {
    const sock_filter& one = code[at];
    now &= written[at];
    const auto leads_to = [&](size_t skipped) { written[at + 1 + skipped] &= now; };
    if (one.code == BPF_ST || one.code == BPF_STX) {
      now |= static_cast<uint16_t>(1u << one.k);
    } else if (one.code == (BPF_LD | BPF_MEM) || one.code == (BPF_LDX | BPF_MEM)) {
      if ((now >> one.k & 1) == 0) return false;
    } else if (BPF_CLASS(one.code) == BPF_JMP) {
      leads_to(IsConditional(one) ? one.jt : one.k);
      if (IsConditional(one)) leads_to(one.jf);
      now = UINT16_MAX;
    }
  }
  return true;
}

// nullopt: divided by nothing.
std::optional<uint32_t> Calculate(uint32_t operation, uint32_t a, uint32_t b) {
  switch (operation) {
    case BPF_ADD:
      return a + b;
    case BPF_SUB:
      return a - b;
    case BPF_MUL:
      return a * b;
    case BPF_DIV:
      return b == 0 ? std::optional<uint32_t>() : a / b;
    case BPF_MOD:
      return b == 0 ? std::optional<uint32_t>() : a % b;
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
      return 0 - a;  // BPF_NEG
  }
}

bool Holds(uint32_t test, uint32_t a, uint32_t b) {
  switch (test) {
    case BPF_JEQ:
      return a == b;
    case BPF_JGT:
      return a > b;
    case BPF_JGE:
      return a >= b;
    default:
      return (a & b) != 0;  // BPF_JSET
  }
}

}  // namespace

bool IsPlain(const sock_filter& one) {
  switch (one.code) {
    case BPF_LD | BPF_IMM:
    case BPF_LDX | BPF_IMM:
    case BPF_MISC | BPF_TAX:
    case BPF_MISC | BPF_TXA:
    case BPF_RET | BPF_K:
    case BPF_RET | BPF_A:
      return true;
    case BPF_LD | BPF_MEM:
    case BPF_LDX | BPF_MEM:
    case BPF_ST:
    case BPF_STX:
      return one.k < BPF_MEMWORDS;
    default:
      return IsCalculation(one);
  }
}

bool IsValid(std::span<const sock_filter> code,
             absl::FunctionRef<bool(const sock_filter&)> is_known) {
  if (code.empty() || code.size() > BPF_MAXINSNS) return false;
  for (size_t at = 0; at < code.size(); ++at) {
    const bool fine =
        IsKnownJump(code[at]) ? StaysInside(code[at], code.size() - at - 1) : is_known(code[at]);
    if (!fine) return false;
  }
  return BPF_CLASS(code.back().code) == BPF_RET && ReadsWhatWasWritten(code);
}

std::optional<uint32_t> Run(
    std::span<const sock_filter> code,
    absl::FunctionRef<std::optional<uint32_t>(const sock_filter& one, uint32_t x)> load) {
  uint32_t a = 0, x = 0;
  std::array<uint32_t, BPF_MEMWORDS> memory = {};
  for (size_t at = 0; at < code.size(); ++at) {
    const sock_filter& one = code[at];
    const uint32_t operand = BPF_SRC(one.code) == BPF_X ? x : one.k;
    switch (BPF_CLASS(one.code)) {
      case BPF_LD:
      case BPF_LDX: {
        const uint32_t mode = BPF_MODE(one.code);
        const std::optional<uint32_t> value = mode == BPF_MEM   ? memory[one.k]
                                              : mode == BPF_IMM ? one.k
                                                                : load(one, x);
        if (!value.has_value()) return std::nullopt;
        (BPF_CLASS(one.code) == BPF_LD ? a : x) = *value;
        break;
      }
      case BPF_ST:
        memory[one.k] = a;
        break;
      case BPF_STX:
        memory[one.k] = x;
        break;
      case BPF_ALU: {
        const auto value = Calculate(BPF_OP(one.code), a, operand);
        if (!value.has_value()) return 0;
        a = *value;
        break;
      }
      case BPF_JMP:
        if (!IsConditional(one)) {
          at += one.k;
        } else {
          at += Holds(BPF_OP(one.code), a, operand) ? one.jt : one.jf;
        }
        break;
      case BPF_RET:
        return BPF_RVAL(one.code) == BPF_A ? a : one.k;
      default:
        (BPF_MISCOP(one.code) == BPF_TAX ? x : a) = BPF_MISCOP(one.code) == BPF_TAX ? a : x;
    }
  }
  return 0;  // Not reached: the last instruction returns.
}

}  // namespace classic_bpf
