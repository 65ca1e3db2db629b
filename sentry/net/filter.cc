#include "sentry/net/filter.h"

#include <algorithm>
#include <array>
#include <climits>
#include <optional>
#include <utility>

namespace sentry {
namespace {

bool IsConditional(const sock_filter& one) {
  return BPF_CLASS(one.code) == BPF_JMP && BPF_OP(one.code) != BPF_JA;
}

bool IsKnownAlu(const sock_filter& one) {
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

bool IsKnown(const sock_filter& one) {
  switch (one.code) {
    case BPF_LD | BPF_W | BPF_ABS:
    case BPF_LD | BPF_H | BPF_ABS:
    case BPF_LD | BPF_B | BPF_ABS:
      return one.k <= INT_MAX;
    case BPF_LD | BPF_W | BPF_IND:
    case BPF_LD | BPF_H | BPF_IND:
    case BPF_LD | BPF_B | BPF_IND:
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_B | BPF_MSH:
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
      return BPF_CLASS(one.code) == BPF_ALU && (one.code & ~0xffu) == 0 && IsKnownAlu(one);
  }
}

bool IsJumpInside(const sock_filter& one, size_t left) {
  switch (one.code) {
    case BPF_JMP | BPF_JA:
      return one.k < left;
    case BPF_JMP | BPF_JEQ | BPF_K:
    case BPF_JMP | BPF_JEQ | BPF_X:
    case BPF_JMP | BPF_JGT | BPF_K:
    case BPF_JMP | BPF_JGT | BPF_X:
    case BPF_JMP | BPF_JGE | BPF_K:
    case BPF_JMP | BPF_JGE | BPF_X:
    case BPF_JMP | BPF_JSET | BPF_K:
    case BPF_JMP | BPF_JSET | BPF_X:
      return one.jt < left && one.jf < left;
    default:
      return false;
  }
}

// check_load_and_stores(): whichever way leads to a read of scratch memory writes it before.
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

// Big-endian; nullopt outside of the packet.
std::optional<uint32_t> Load(std::span<const std::byte> packet, uint64_t at, size_t size) {
  if (at > packet.size() || packet.size() - at < size) return std::nullopt;
  uint32_t value = 0;
  for (const std::byte byte : packet.subspan(at, size)) {
    value = value << 8 | static_cast<uint32_t>(byte);
  }
  return value;
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

bool Holds(uint32_t operation, uint32_t a, uint32_t b) {
  switch (operation) {
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

struct Machine {
  std::span<const std::byte> packet;
  uint32_t a = 0, x = 0;
  std::array<uint32_t, BPF_MEMWORDS> memory = {};

  // What a load of class LD or LDX brings; nullopt outside of the packet.
  std::optional<uint32_t> Fetch(const sock_filter& one) const {
    const uint32_t width = BPF_SIZE(one.code);
    const size_t size = width == BPF_W ? 4 : width == BPF_H ? 2 : 1;
    switch (BPF_MODE(one.code)) {
      case BPF_ABS:
        return Load(packet, one.k, size);
      case BPF_IND:
        return Load(packet, uint32_t{x + one.k}, size);
      case BPF_LEN:
        return static_cast<uint32_t>(packet.size());
      case BPF_MEM:
        return memory[one.k];
      case BPF_MSH: {
        const auto byte = Load(packet, one.k, 1);
        return byte ? (*byte & 0xf) << 2 : byte;
      }
      default:
        return one.k;  // BPF_IMM
    }
  }
};

}  // namespace

Result<Ref<SocketFilter>> SocketFilter::Create(std::span<const sock_filter> code) {
  if (code.empty() || code.size() > BPF_MAXINSNS) return Errno(EINVAL);
  for (size_t at = 0; at < code.size(); ++at) {
    const bool jumps = BPF_CLASS(code[at].code) == BPF_JMP;
    if (jumps ? !IsJumpInside(code[at], code.size() - at - 1) : !IsKnown(code[at])) {
      return Errno(EINVAL);
    }
  }
  const uint16_t last = code.back().code;
  if (last != (BPF_RET | BPF_K) && last != (BPF_RET | BPF_A)) return Errno(EINVAL);
  if (!ReadsWhatWasWritten(code)) return Errno(EINVAL);
  return MakeRef<SocketFilter>(std::vector(code.begin(), code.end()));
}

uint32_t SocketFilter::Run(std::span<const std::byte> packet) const {
  Machine m{.packet = packet};
  for (size_t at = 0; at < code_.size(); ++at) {
    const sock_filter& one = code_[at];
    const uint32_t operand = BPF_SRC(one.code) == BPF_X ? m.x : one.k;
    switch (BPF_CLASS(one.code)) {
      case BPF_LD:
      case BPF_LDX: {
        const auto value = m.Fetch(one);
        if (!value) return 0;
        (BPF_CLASS(one.code) == BPF_LD ? m.a : m.x) = *value;
        break;
      }
      case BPF_ST:
        m.memory[one.k] = m.a;
        break;
      case BPF_STX:
        m.memory[one.k] = m.x;
        break;
      case BPF_ALU: {
        const auto value = Calculate(BPF_OP(one.code), m.a, operand);
        if (!value) return 0;
        m.a = *value;
        break;
      }
      case BPF_JMP:
        if (!IsConditional(one)) {
          at += one.k;
        } else {
          at += Holds(BPF_OP(one.code), m.a, operand) ? one.jt : one.jf;
        }
        break;
      case BPF_RET:
        return BPF_RVAL(one.code) == BPF_A ? m.a : one.k;
      default:
        (BPF_MISCOP(one.code) == BPF_TAX ? m.x : m.a) = BPF_MISCOP(one.code) == BPF_TAX ? m.a : m.x;
    }
  }
  return 0;
}

void FilterSlot::Set(Ref<SocketFilter> filter) {
  absl::MutexLock lock(&mu_);
  attached_.store(static_cast<bool>(filter), std::memory_order_release);
  std::swap(filter_, filter);
}

Ref<SocketFilter> FilterSlot::Get() const {
  absl::MutexLock lock(&mu_);
  return filter_;
}

std::optional<size_t> FilterSlot::Keep(std::span<const std::byte> packet, size_t least) const {
  if (empty()) return packet.size();
  const Ref<SocketFilter> filter = Get();
  if (!filter) return packet.size();
  const size_t kept = filter->Run(packet);
  if (kept == 0) return std::nullopt;
  return std::min(std::max(kept, least), packet.size());
}

}  // namespace sentry
