// Where the vDSO lies in this process, and where a stub's is moved to.
#ifndef PLATFORM_NATIVE_VDSO_LAYOUT_H_
#define PLATFORM_NATIVE_VDSO_LAYOUT_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "platform/native/layout.h"

namespace platform::native {

// The address ranges of the vDSO and its data pages, in order. Empty without a vDSO.
struct VdsoLayout {
  struct Area {
    uint64_t start = 0, end = 0;
  };
  uint64_t start() const { return areas.front().start; }
  uint64_t size() const { return areas.back().end - areas.front().start; }

  std::vector<Area> areas;  // Adjacent.
  uint64_t code = 0;        // The ELF header, AT_SYSINFO_EHDR.
};

// This process's. Reads /proc/self/maps the first time, so call it once before /proc is out of
// reach.
const VdsoLayout& HostVdso();

// A stub's vDSO lies in the 256 MiB below the stub, so that the rest of the address space is in one
// piece.
inline constexpr uint64_t kVdsoWindow = 0x10000000;

// Where `size` bytes that lie at `from` are moved to: a page of the window that `random` chooses,
// wholly below the stub, and apart from where they are, since mremap(2) moves nothing onto itself.
constexpr uint64_t PlaceVdso(uint64_t from, uint64_t size, uint64_t random) {
  constexpr uint64_t kPage = 0x1000, kFirst = STUB_REGION_START - kVdsoWindow;
  const uint64_t last = STUB_REGION_START - size;
  const uint64_t target = kFirst + random % ((last - kFirst) / kPage + 1) * kPage;
  if (std::max(from, target) >= std::min(from, target) + size) return target;
  return from >= kFirst + size ? kFirst : last;
}

}  // namespace platform::native

#endif  // PLATFORM_NATIVE_VDSO_LAYOUT_H_
