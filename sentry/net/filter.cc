#include "sentry/net/filter.h"

#include <algorithm>
#include <climits>
#include <optional>
#include <utility>

#include "base/classic_bpf.h"

namespace sentry {
namespace {

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
      return true;
    default:
      return classic_bpf::IsPlain(one);
  }
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

// What a load of class LD or LDX brings; nullopt outside of the packet.
std::optional<uint32_t> Fetch(std::span<const std::byte> packet, const sock_filter& one,
                              uint32_t x) {
  const uint32_t width = BPF_SIZE(one.code);
  const size_t size = width == BPF_W ? 4 : width == BPF_H ? 2 : 1;
  switch (BPF_MODE(one.code)) {
    case BPF_ABS:
      return Load(packet, one.k, size);
    case BPF_IND:
      return Load(packet, uint32_t{x + one.k}, size);
    case BPF_MSH: {
      const auto byte = Load(packet, one.k, 1);
      return byte ? (*byte & 0xf) << 2 : byte;
    }
    default:
      return static_cast<uint32_t>(packet.size());  // BPF_LEN
  }
}

}  // namespace

Result<Ref<SocketFilter>> SocketFilter::Create(std::span<const sock_filter> code) {
  if (!classic_bpf::IsValid(code, IsKnown)) return Errno(EINVAL);
  return MakeRef<SocketFilter>(std::vector(code.begin(), code.end()));
}

uint32_t SocketFilter::Run(std::span<const std::byte> packet) const {
  const auto load = [packet](const sock_filter& one, uint32_t x) { return Fetch(packet, one, x); };
  return classic_bpf::Run(code_, load).value_or(0);
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
