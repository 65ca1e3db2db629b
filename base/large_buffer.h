// Memory for what passes through: blocks that are filled, emptied and given back at once.
#ifndef BASE_LARGE_BUFFER_H_
#define BASE_LARGE_BUFFER_H_

#include <cstddef>

// Blocks of a few sizes. The one that came back last is handed out first, so that bytes which pass
// through lie in the processor's cache; malloc would return its top to the host each time, and
// fault it in again. Few are kept. Thread-safe.
//
// Sanitizers see ordinary allocations.
class LargeBuffer {
 public:
  static constexpr size_t kHeader = 64;  // Room for the owner's, in front of what passes through.
  static constexpr size_t kSize = 65536 + kHeader;  // The largest.

  // At least `size` bytes, up to kSize; nullptr without memory.
  static void* Allocate(size_t size = kSize);
  // `size` as for Allocate.
  static void Free(void* block, size_t size = kSize);
  // Gives those back to the host that are kept: whoever passed bytes through has gone.
  static void Trim();
};

#endif  // BASE_LARGE_BUFFER_H_
