#include "base/large_buffer.h"

#include <array>
#include <cstdlib>
#include <new>
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

void* LargeBuffer::Allocate(size_t size) { return malloc(size); }
void LargeBuffer::Free(void* block, size_t) { free(block); }
void LargeBuffer::Trim() {}

#else

namespace {

// What a connection has in flight, and a little more.
constexpr size_t kMostKeptBytes = 512 << 10;
constexpr size_t kClasses = 5;  // Halves of the largest, and of those.

size_t ClassSize(size_t index) {
  return ((LargeBuffer::kSize - LargeBuffer::kHeader) >> index) + LargeBuffer::kHeader;
}

size_t ClassFor(size_t size) {
  size_t index = 0;
  while (index + 1 < kClasses && size <= ClassSize(index + 1)) ++index;
  return index;
}

// Kept blocks are chained through their first bytes.
struct KeptBlock {
  KeptBlock* next;
};

struct Kept {
  absl::Mutex mu;  // Leaf.
  std::array<KeptBlock*, kClasses> first ABSL_GUARDED_BY(mu) = {};
  size_t bytes ABSL_GUARDED_BY(mu) = 0;
};

Kept& kept() {
  static Kept& one = *new Kept;
  return one;
}

}  // namespace

void* LargeBuffer::Allocate(size_t size) {
  const size_t index = ClassFor(size);
  {
    absl::MutexLock lock(&kept().mu);
    KeptBlock*& first = kept().first[index];
    if (first != nullptr) {
      kept().bytes -= ClassSize(index);
      return std::exchange(first, first->next);
    }
  }
  return malloc(ClassSize(index));
}

void LargeBuffer::Free(void* block, size_t size) {
  const size_t index = ClassFor(size);
  {
    absl::MutexLock lock(&kept().mu);
    if (kept().bytes + ClassSize(index) <= kMostKeptBytes) {
      kept().bytes += ClassSize(index);
      KeptBlock*& first = kept().first[index];
      first = new (block) KeptBlock{.next = first};
      return;
    }
  }
  free(block);
}

void LargeBuffer::Trim() {
  std::array<KeptBlock*, kClasses> chains = {};
  {
    absl::MutexLock lock(&kept().mu);
    chains.swap(kept().first);
    kept().bytes = 0;
  }
  for (KeptBlock* block : chains) {
    while (block != nullptr) free(std::exchange(block, block->next));
  }
}

#endif  // LARGE_BUFFER_IS_MALLOC
