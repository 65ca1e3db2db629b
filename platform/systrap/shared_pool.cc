#include "platform/systrap/shared_pool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>

namespace platform::systrap {

namespace {

// In stubs too, for as long as one is being made, and out of the way of what is mapped there then.
constexpr int kFirstFd = 1000;

}  // namespace

Result<std::unique_ptr<SharedPool>> SharedPool::Create(const char* name, size_t piece,
                                                       size_t count) {
  const UniqueFd low(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!low.valid()) return Errno::Last();
  UniqueFd fd(fcntl(low.get(), F_DUPFD_CLOEXEC, kFirstFd));
  if (!fd.valid()) return Errno::Last();
  const size_t size = piece * count;
  if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return Errno::Last();
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Errno::Last();
  }
  void* pages = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (pages == MAP_FAILED) return Errno::Last();
  return std::unique_ptr<SharedPool>(
      new SharedPool(std::move(fd), static_cast<std::byte*>(pages), piece, count));
}

SharedPool::~SharedPool() { munmap(pages_, piece_ * count_); }

Result<size_t> SharedPool::Allocate() {
  absl::MutexLock lock(&mu_);
  if (!free_.empty()) {
    const size_t index = free_.back();
    free_.pop_back();
    return index;
  }
  if (used_ == count_) return Errno(EAGAIN);
  return used_++;
}

void SharedPool::Free(size_t index) {
  absl::MutexLock lock(&mu_);
  free_.push_back(index);
}

}  // namespace platform::systrap
