#include "platform/native/fp_state.h"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace platform::native {
namespace {

// struct _fpx_sw_bytes of arch/x86/include/uapi/asm/sigcontext.h, at offset 464 of a signal frame.
// The register set has the mask of enabled features there instead.
struct SoftwareBytes {
  uint32_t magic1 = 0;
  uint32_t extended_size = 0;  // With the second magic word.
  uint64_t features = 0;
  uint32_t state_size = 0;
  uint32_t padding[7] = {};
};
static_assert(sizeof(SoftwareBytes) == 48);

constexpr size_t kSoftwareBytes = kXstateFeatures;
constexpr size_t kLegacySize = 512;
constexpr size_t kHeaderEnd = 576;  // The XSAVE header: a mask of the features in use, and zeroes.
constexpr uint32_t kMagic1 = 0x46505853;
constexpr uint32_t kMagic2 = 0x46505845;

constexpr uint64_t kX87AndSse = 3;
constexpr uint64_t kProtectionKeys = uint64_t{1} << 9;
constexpr uint64_t kTileData = uint64_t{1} << 18;

template <typename T>
T Load(std::span<const std::byte> from, size_t offset) {
  T value;
  std::memcpy(&value, from.subspan(offset, sizeof(T)).data(), sizeof(T));
  return value;
}

template <typename T>
void Store(std::span<std::byte> to, size_t offset, const T& value) {
  std::memcpy(to.subspan(offset, sizeof(T)).data(), &value, sizeof(T));
}

// Where each feature ends. Asked for once: a virtual machine's CPUID is slow.
std::array<size_t, 64> FeatureEnds() {
  std::array<size_t, 64> ends{};
  for (uint32_t i = 2; i < 63; ++i) {
    uint32_t a, b, c, d;
    if (__get_cpuid_count(0xd, i, &a, &b, &c, &d) != 0) ends[i] = size_t{a} + b;
  }
  return ends;
}

// A state in which every feature has its initial value, but for what `current` says of protection
// keys.
std::vector<std::byte> InitialState(std::span<const std::byte> current) {
  std::vector<std::byte> state(current.begin(), current.end());
  std::fill_n(state.begin(), kSoftwareBytes, std::byte{0});
  Store<uint16_t>(state, 0, 0x37f);    // FCW
  Store<uint32_t>(state, 24, 0x1f80);  // MXCSR
  const uint64_t in_use = Load<uint64_t>(current, kLegacySize);
  Store<uint64_t>(state, kLegacySize, kX87AndSse | (in_use & kProtectionKeys));
  return state;
}

// The software-reserved bytes when the frame holds an extended state that can be trusted to be one.
bool ReadSoftwareBytes(std::span<const std::byte> frame, SoftwareBytes& bytes) {
  if (frame.size() < kHeaderEnd + sizeof(kMagic2)) return false;
  bytes = Load<SoftwareBytes>(frame, kSoftwareBytes);
  return bytes.magic1 == kMagic1 && bytes.state_size >= kHeaderEnd &&
         bytes.state_size <= frame.size() - sizeof(kMagic2) &&
         bytes.state_size <= bytes.extended_size &&
         Load<uint32_t>(frame, bytes.state_size) == kMagic2;
}

}  // namespace

uint64_t EnabledFeatures() {
  uint32_t low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32 | low) & ~kTileData;
}

size_t XstateSize(uint64_t features) {
  static const std::array<size_t, 64> ends = FeatureEnds();
  size_t size = kHeaderEnd;
  for (size_t i = 2; i < ends.size(); ++i) {
    if ((features >> i & 1) != 0) size = std::max(size, ends[i]);
  }
  return size;
}

std::vector<std::byte> ToSignalFrame(std::span<const std::byte> xstate) {
  const uint64_t features = Load<uint64_t>(xstate, kSoftwareBytes) & ~kTileData;
  const size_t size = std::min(xstate.size(), XstateSize(features));
  std::vector<std::byte> frame(xstate.begin(), xstate.begin() + static_cast<ptrdiff_t>(size));
  frame.resize(size + sizeof(kMagic2));
  Store(std::span(frame), kSoftwareBytes,
        SoftwareBytes{.magic1 = kMagic1,
                      .extended_size = static_cast<uint32_t>(frame.size()),
                      .features = features,
                      .state_size = static_cast<uint32_t>(size)});
  Store(std::span(frame), kLegacySize, Load<uint64_t>(frame, kLegacySize) & features);
  Store(std::span(frame), size, kMagic2);
  return frame;
}

Result<std::vector<std::byte>> FromSignalFrame(std::span<const std::byte> frame,
                                               std::span<const std::byte> current) {
  if (current.size() < kHeaderEnd) return Errno(EIO);
  std::vector<std::byte> state = InitialState(current);
  if (frame.empty()) return state;
  if (frame.size() < kLegacySize) return Errno(EINVAL);
  SoftwareBytes bytes;
  if (!ReadSoftwareBytes(frame, bytes)) {
    std::copy_n(frame.begin(), kSoftwareBytes, state.begin());
    return state;
  }
  const size_t size = std::min<size_t>(bytes.state_size, state.size());
  std::copy_n(frame.begin(), kSoftwareBytes, state.begin());
  std::copy(frame.begin() + kLegacySize, frame.begin() + static_cast<ptrdiff_t>(size),
            state.begin() + kLegacySize);
  const uint64_t in_use = Load<uint64_t>(frame, kLegacySize);
  Store(std::span(state), kLegacySize, in_use & bytes.features);
  return state;
}

}  // namespace platform::native
