#include "sentry/mm/file_window.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>

namespace sentry {
namespace {

std::atomic<int> windows{0};

constexpr uint64_t kLeast = 64 << 10;
constexpr uint64_t kLargest = uint64_t{1} << 40;  // Address space is 2^47.

// Some more, so that a file which grows does not need another at once.
uint64_t Room(uint64_t size) { return std::bit_ceil(std::max(size, kLeast)); }

}  // namespace

std::unique_ptr<FileWindow> FileWindow::Map(int fd, uint64_t size, For use) {
  if (size > kLargest) return nullptr;
  if (windows.fetch_add(1, std::memory_order_relaxed) < kMost) {
    const int protection = PROT_READ | (use == For::kWriting ? PROT_WRITE : 0);
    void* const start = mmap(nullptr, Room(size), protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (start != MAP_FAILED) {
      return std::unique_ptr<FileWindow>(
          new FileWindow(static_cast<std::byte*>(start), Room(size)));
    }
  }
  windows.fetch_sub(1, std::memory_order_relaxed);
  return nullptr;
}

FileWindow::~FileWindow() {
  munmap(start_, size_);
  windows.fetch_sub(1, std::memory_order_relaxed);
}

bool FileWindow::Grow(uint64_t size) {
  if (size > kLargest) return false;
  void* const start = mremap(start_, size_, Room(size), MREMAP_MAYMOVE);
  if (start == MAP_FAILED) return false;
  start_ = static_cast<std::byte*>(start);
  size_ = Room(size);
  return true;
}

}  // namespace sentry
