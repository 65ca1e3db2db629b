// The bytes of one file in memory.
#ifndef SENTRY_FS_TMPFS_FILE_DATA_H_
#define SENTRY_FS_TMPFS_FILE_DATA_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/mm/file_window.h"
#include "sentry/mm/io.h"

namespace sentry {

// Small files lie in the sentry's own memory, where they need no descriptor and no host call; what
// grows, is mapped or is sparse moves to a memfd. A memfd that has been read, or written over,
// about twice is mapped: its bytes are then copied instead of asking the host for them, which costs
// five times as much, and large pieces go straight between the mapping and the application. Mapping
// it earlier would not pay, since each page is a fault. Thread-safe. Application memory is never
// touched with mu_ held.
class FileData {
 public:
  static constexpr size_t kSmall = 4096;
  // Reads and writes of more go straight through the mapping.
  static constexpr size_t kStraight = 4096;

  explicit FileData(Tmpfs& fs) : fs_(fs) {}
  ~FileData();
  // Uses an existing memfd (memfd_create(2)). Call first.
  void Adopt(UniqueFd memfd) ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t size() const { return size_.load(std::memory_order_acquire); }
  uint64_t blocks() ABSL_LOCKS_EXCLUDED(mu_);  // Of 512 bytes.

  Result<size_t> Read(IoDst& dst, int64_t offset) ABSL_LOCKS_EXCLUDED(mu_);
  // At `offset`, or at the end if it is SeekableFile::kAppend; `end` is the position behind.
  Result<size_t> Write(IoSrc& src, int64_t offset, int64_t& end) ABSL_LOCKS_EXCLUDED(mu_);
  Status Truncate(uint64_t size) ABSL_LOCKS_EXCLUDED(mu_);
  Status Allocate(int mode, int64_t offset, int64_t length) ABSL_LOCKS_EXCLUDED(mu_);
  // SEEK_DATA and SEEK_HOLE.
  Result<int64_t> SeekExtent(int64_t offset, int whence) ABSL_LOCKS_EXCLUDED(mu_);
  // The memfd, which is made if need be; valid as long as this object.
  Result<int> HostFd() ABSL_LOCKS_EXCLUDED(mu_);
  // Likewise, for somebody who may make holes in it (MADV_REMOVE).
  Result<int> HostFdForSharing() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Status MoveToMemfdLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<size_t> StoreLocked(std::span<const std::byte> bytes, uint64_t offset)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<size_t> StoreInMemfdLocked(std::span<const std::byte> bytes, uint64_t offset)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Brings the charge for the memfd up to date.
  void RechargeLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What is there from `at` on: all of `into` or up to the end.
  Result<size_t> Load(std::span<std::byte> into, uint64_t at) ABSL_LOCKS_EXCLUDED(mu_);
  // A piece of the file as it is mapped, and what keeps it so. What it shows may be gone when it is
  // touched, once mu_ is free: only for IoDst::CopyOutMapped and the like.
  struct Piece {
    std::shared_ptr<FileWindow> window;
    std::span<std::byte> bytes;  // Empty: not mapped.
  };
  Piece MappedPiece(uint64_t at, size_t size) ABSL_LOCKS_EXCLUDED(mu_);
  size_t StoreStraight(IoSrc& src, int64_t offset) ABSL_LOCKS_EXCLUDED(mu_, writing_mu_);
  // Bytes that were read through the window: all of `into` or up to the end. 0: ask the host.
  size_t ReadWindow(std::span<std::byte> into, uint64_t at) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether the file is used often enough; counts `bytes` more.
  bool IsWarm(size_t bytes);
  // The bytes from `at` on, at most `size` of them, if they are mapped and may be touched.
  std::span<std::byte> WindowLocked(uint64_t at, size_t size) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  // Maps what may be touched.
  void MapWindowLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NeverMapLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  Tmpfs& fs_;  // Held by the inode.
  std::atomic<uint64_t> size_{0};
  std::atomic<int> host_fd_{-1};  // memfd_, once there is one; for readers without the lock.
  enum class Windowed : uint8_t { kNotYet, kMapped, kNever };
  std::atomic<Windowed> windowed_{Windowed::kNotYet};  // Stored with mu_ held.
  std::atomic<uint32_t> pages_used_{0};                // Read or written over while kNotYet.
  // One writer at a time, as in Linux: of two writes to one place the later one is seen whole. Held
  // while application memory is touched, so nothing that a fault may need takes it. Before mu_.
  absl::Mutex writing_mu_;
  absl::Mutex mu_;
  std::string small_ ABSL_GUARDED_BY(mu_);  // The content while there is no memfd.
  UniqueFd memfd_ ABSL_GUARDED_BY(mu_);
  // Somebody may have allocated pages behind the end.
  bool allocated_behind_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t charged_ ABSL_GUARDED_BY(mu_) = 0;  // Bytes.
  // Every page in front of this byte is there, and it is not behind the end: touching them through
  // the window changes nothing.
  uint64_t dense_ ABSL_GUARDED_BY(mu_) = 0;
  // Others have it only while they copy.
  std::shared_ptr<FileWindow> window_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_FS_TMPFS_FILE_DATA_H_
