// Memory that is shared with stubs, in equal pieces of one memfd.
#ifndef PLATFORM_SYSTRAP_SHARED_POOL_H_
#define PLATFORM_SYSTRAP_SHARED_POOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace platform::systrap {

// Mapped here as a whole, and piece by piece in stubs. Thread-safe.
class SharedPool {
 public:
  // `piece` is a multiple of the page size. Before the sentry's own seccomp program is installed.
  static Result<std::unique_ptr<SharedPool>> Create(const char* name, size_t piece, size_t count);
  ~SharedPool();

  // EAGAIN when all are in use. A piece that was used before holds what was left there.
  Result<size_t> Allocate() ABSL_LOCKS_EXCLUDED(mu_);
  void Free(size_t index) ABSL_LOCKS_EXCLUDED(mu_);
  std::byte* at(size_t index) const { return pages_ + index * piece_; }
  uint64_t offset(size_t index) const { return index * uint64_t{piece_}; }
  int fd() const { return fd_.get(); }

 private:
  SharedPool(UniqueFd fd, std::byte* pages, size_t piece, size_t count)
      : fd_(std::move(fd)), pages_(pages), piece_(piece), count_(count) {}
  const UniqueFd fd_;
  std::byte* const pages_;
  const size_t piece_;
  const size_t count_;
  absl::Mutex mu_;  // Leaf.
  std::vector<size_t> free_ ABSL_GUARDED_BY(mu_);
  size_t used_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_SHARED_POOL_H_
