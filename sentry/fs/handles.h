// What file handles (name_to_handle_at(2)) lead to.
#ifndef SENTRY_FS_HANDLES_H_
#define SENTRY_FS_HANDLES_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/dentry.h"

namespace sentry {

// Filesystems here cannot find an inode by its number, so files that a handle was made of are
// remembered: the last kMost of them, which stay in memory. One that was removed under the name by
// which it is remembered, or is forgotten, is stale. One for all kernels of the process.
// Thread-safe.
class HandleTable {
 public:
  static constexpr size_t kMost = 1024;

  static HandleTable& Get();

  void Add(const Superblock& filesystem, uint64_t ino, Ref<Dentry> dentry) ABSL_LOCKS_EXCLUDED(mu_);
  // ESTALE.
  Result<Ref<Dentry>> Find(const Superblock& filesystem, uint64_t ino) ABSL_LOCKS_EXCLUDED(mu_);
  // A name is gone: the reference that was kept to it, for the caller to release without its locks.
  Ref<Dentry> Forget(const Dentry& dentry) {
    return count_.load(std::memory_order_acquire) == 0 ? Ref<Dentry>() : Take(dentry);
  }
  void Unmounted(const Superblock& filesystem) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    const Superblock* filesystem;
    uint64_t ino;
    Ref<Dentry> dentry;
    uint64_t used;  // When, counted in uses.
  };
  Ref<Dentry> Take(const Dentry& dentry) ABSL_LOCKS_EXCLUDED(mu_);
  Entry* FindLocked(const Superblock& filesystem, uint64_t ino) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  std::atomic<size_t> count_{0};
  absl::Mutex mu_;  // Leaf; taken with internal::tree_mu held.
  uint64_t uses_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<Entry> entries_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_FS_HANDLES_H_
