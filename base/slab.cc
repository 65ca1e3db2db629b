#include "base/slab.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "absl/synchronization/mutex.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLAB_IS_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define SLAB_IS_MALLOC 1
#endif
#endif

#ifdef SLAB_IS_MALLOC

void* Slab::Allocate(size_t size) { return ::operator new(size); }
void Slab::Free(void* object) { ::operator delete(object); }
size_t Slab::BytesInUse() { return 0; }

#else

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kChunk = 64 * kPage;  // Pages come from malloc in such pieces, and stay.
constexpr size_t kUnit = 8;
constexpr size_t kSizes = Slab::kMostSize / kUnit + 1;
// So many empty pages are kept; others are given back to the host.
constexpr size_t kMostEmpty = 64;

// At the start of a page. Guarded by the mutex of its size, which does not change while an object
// lives.
struct Page {
  Page* next;
  Page* previous;
  void* free;      // A list through the objects.
  uint16_t size;   // Of an object.
  uint16_t used;   // Objects.
  uint16_t fresh;  // Where the first object that was never used begins.
};

bool IsFull(const Page& page) { return page.free == nullptr && page.fresh + page.size > kPage; }

class EmptyPages {
 public:
  void* Take() {
    absl::MutexLock lock(&mu_);
    if (pages_.empty()) {
      auto* chunk = static_cast<char*>(std::aligned_alloc(kPage, kChunk));
      if (chunk == nullptr) std::abort();  // As operator new does.
      for (size_t at = kChunk; at > 0; at -= kPage) pages_.push_back(chunk + at - kPage);
    }
    void* const page = pages_.back();
    pages_.pop_back();
    ++used_;
    return page;
  }
  void Give(void* page) {
    absl::MutexLock lock(&mu_);
    if (pages_.size() >= kMostEmpty) madvise(page, kPage, MADV_DONTNEED);
    pages_.push_back(page);
    --used_;
  }
  size_t used() {
    absl::MutexLock lock(&mu_);
    return used_;
  }

 private:
  absl::Mutex mu_;  // Leaf.
  size_t used_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<void*> pages_ ABSL_GUARDED_BY(mu_);
};

// The pages of one size that have room.
class SizeClass {
 public:
  void* Allocate(size_t size, EmptyPages& empty) {
    absl::MutexLock lock(&mu_);
    if (first_ == nullptr) {
      auto* page = static_cast<Page*>(empty.Take());
      *page = {.next = nullptr,
               .previous = nullptr,
               .free = nullptr,
               .size = static_cast<uint16_t>(size),
               .used = 0,
               .fresh = sizeof(Page)};
      Link(*page);
    }
    Page& page = *first_;
    void* object = page.free;
    if (object != nullptr) {
      page.free = *static_cast<void**>(object);
    } else {
      object = reinterpret_cast<char*>(&page) + page.fresh;
      page.fresh = static_cast<uint16_t>(page.fresh + size);
    }
    ++page.used;
    if (IsFull(page)) Unlink(page);
    return object;
  }

  void Free(Page& page, void* object, EmptyPages& empty) {
    absl::MutexLock lock(&mu_);
    const bool was_full = IsFull(page);
    *static_cast<void**>(object) = page.free;
    page.free = object;
    if (was_full) Link(page);
    if (--page.used != 0) return;
    Unlink(page);
    empty.Give(&page);
  }

 private:
  void Link(Page& page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    page.next = first_;
    page.previous = nullptr;
    if (first_ != nullptr) first_->previous = &page;
    first_ = &page;
  }
  void Unlink(Page& page) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    (page.previous != nullptr ? page.previous->next : first_) = page.next;
    if (page.next != nullptr) page.next->previous = page.previous;
  }

  absl::Mutex mu_;  // Before that of the empty pages.
  Page* first_ ABSL_GUARDED_BY(mu_) = nullptr;
};

struct Sizes {
  EmptyPages empty;
  SizeClass classes[kSizes];
};

Sizes& AllSizes() {
  static Sizes& sizes = *new Sizes;  // Objects may outlive everything.
  return sizes;
}

}  // namespace

void* Slab::Allocate(size_t size) {
  const size_t index = (size + kUnit - 1) / kUnit;
  Sizes& sizes = AllSizes();
  return sizes.classes[index].Allocate(index * kUnit, sizes.empty);
}

void Slab::Free(void* object) {
  auto& page = *reinterpret_cast<Page*>(reinterpret_cast<uintptr_t>(object) & ~(kPage - 1));
  Sizes& sizes = AllSizes();
  sizes.classes[page.size / kUnit].Free(page, object, sizes.empty);
}

size_t Slab::BytesInUse() { return AllSizes().empty.used() * kPage; }

#endif  // SLAB_IS_MALLOC
