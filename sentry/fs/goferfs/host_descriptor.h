// The host's side of an open file.
#ifndef SENTRY_FS_GOFERFS_HOST_DESCRIPTOR_H_
#define SENTRY_FS_GOFERFS_HOST_DESCRIPTOR_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/unique_fd.h"
#include "sentry/mm/file_window.h"

namespace sentry {

// A descriptor of the host, whose position means nothing. A file of which much is read in large
// pieces is mapped, so that they are copied once: from the host's page cache to the application.
// Thread-safe.
class HostDescriptor final : public RefCounted {
 public:
  // Reads of less are not worth the host's look at its size.
  static constexpr size_t kLarge = 32 << 10;

  explicit HostDescriptor(UniqueFd fd) : fd_(std::move(fd)) {}
  int get() const { return fd_.get(); }

  // Whether to ask for the window before a large read; counts `bytes` more.
  bool IsMapped(size_t bytes);
  // The file's first `size` bytes at least, for IoDst::CopyOutMapped: others may cut it at any
  // time. nullptr: it is not to be mapped.
  std::shared_ptr<const FileWindow> Window(uint64_t size) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  const UniqueFd fd_;
  std::atomic<uint64_t> read_{0};  // In large pieces, bytes; kNever: the host does not map it.
  absl::Mutex mu_;                 // Leaf.
  std::shared_ptr<const FileWindow> window_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_FS_GOFERFS_HOST_DESCRIPTOR_H_
