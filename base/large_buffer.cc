#include "base/large_buffer.h"

#include <array>
#include <cstdlib>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LARGE_BUFFER_IS_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LARGE_BUFFER_IS_MALLOC 1
#endif
#endif

#ifdef LARGE_BUFFER_IS_MALLOC

void* LargeBuffer::Allocate() { return malloc(kSize); }
void LargeBuffer::Free(void* block) { free(block); }
void LargeBuffer::Trim() {}

#else

namespace {

// What a connection has in flight, and a little more; 512 KiB.
constexpr size_t kMostKept = 8;

struct Kept {
  absl::Mutex mu;  // Leaf.
  std::array<void*, kMostKept> blocks ABSL_GUARDED_BY(mu) = {};
  size_t count ABSL_GUARDED_BY(mu) = 0;
};

Kept& kept() {
  static Kept& one = *new Kept;
  return one;
}

}  // namespace

void* LargeBuffer::Allocate() {
  {
    absl::MutexLock lock(&kept().mu);
    if (kept().count > 0) return kept().blocks[--kept().count];
  }
  return malloc(kSize);
}

void LargeBuffer::Free(void* block) {
  {
    absl::MutexLock lock(&kept().mu);
    if (kept().count < kMostKept) {
      kept().blocks[kept().count++] = block;
      return;
    }
  }
  free(block);
}

void LargeBuffer::Trim() {
  std::array<void*, kMostKept> blocks;
  size_t count;
  {
    absl::MutexLock lock(&kept().mu);
    blocks = kept().blocks;
    count = std::exchange(kept().count, 0);
  }
  while (count > 0) free(blocks[--count]);
}

#endif  // LARGE_BUFFER_IS_MALLOC
