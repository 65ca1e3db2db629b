// The table of cached names.
#ifndef SENTRY_FS_VFS_DENTRY_CACHE_H_
#define SENTRY_FS_VFS_DENTRY_CACHE_H_

#include <cstddef>
#include <string_view>
#include <vector>

#include "sentry/fs/dentry.h"
#include "sentry/fs/vfs/path_errors.h"

namespace sentry {

// Holds every hashed dentry, found by parent and name. Those that nobody else uses are evicted in
// the order of a clock, which goes round the table, once all take more memory than they may: at
// first kLeastBytes, and more, up to kMostBytes, while names come back that were evicted not long
// ago. Guarded by internal::tree_mu.
class DentryCache {
 public:
  static constexpr size_t kLeastBytes = 8 << 20;
  static constexpr size_t kMostBytes = 40 << 20;
  // What an inode of the rootfs, a file of the host below an overlay, takes with its places in
  // tables; others take less or are kept by their filesystem anyway.
  static constexpr size_t kInodeBytes = 192;

  // `errors` hears of each name that goes.
  explicit DentryCache(PathErrors& errors) : errors_(errors) {}
  ~DentryCache();

  // Null if the name is not cached. Marks it as used.
  Dentry* Find(const Dentry& parent, std::string_view name) const
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  // Requires: the name is not cached. Releases what it evicts through `evicted`, which must be
  // destroyed without the lock.
  void Insert(Dentry& dentry, std::vector<Ref<Dentry>>& evicted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // Takes a hashed dentry out; the table's reference is the caller's.
  Ref<Dentry> Remove(Dentry& dentry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // Evicts about `count` names that nobody uses, passing about `steps` names and places at most.
  void Shrink(size_t count, size_t steps, std::vector<Ref<Dentry>>& evicted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // Gives back what the table itself does not need any more.
  void Compact() ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // Steps by which Shrink passes everything twice: the first time may only clear marks of use.
  size_t TwiceAround() const ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu) {
    return 2 * (size_ + buckets_.size());
  }
  size_t size() const ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu) { return size_; }
  size_t bytes() const ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu) { return bytes_; }
  size_t limit() const ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu) { return limit_; }

 private:
  static constexpr size_t kLeastBuckets = 64;
  // Which names were evicted lately, by hash: a few may be forgotten, or taken for others.
  static constexpr size_t kGhosts = 1 << 16;
  using Ghost = uint16_t;
  static size_t HashOf(const Dentry* parent, std::string_view name);
  static size_t HashOf(const Dentry& dentry) ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu) {
    return HashOf(dentry.parent_.get(), dentry.name_text());
  }
  static Ghost GhostOf(size_t hash) { return static_cast<Ghost>(hash >> 48 | 1); }
  static size_t CostOf(const Dentry& dentry) {
    return dentry.size() + sizeof(Dentry*) + (dentry.negative() ? 0 : kInodeBytes);
  }
  void Rehash(size_t buckets) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // The reference of what `link` leads to.
  Ref<Dentry> Unlink(Dentry** link) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // A name has been evicted, or comes back: the limit follows.
  void Evicted(const Dentry& dentry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  void Inserted(size_t hash, size_t cost) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);

  PathErrors& errors_;
  std::vector<Dentry*> buckets_;  // As many as a power of two, each a list.
  size_t size_ = 0;
  size_t bytes_ = 0;
  size_t limit_ = kLeastBytes;
  size_t hand_ = 0;            // Of the clock: a bucket.
  std::vector<Ghost> ghosts_;  // Empty until the first is evicted.
};

}  // namespace sentry

#endif  // SENTRY_FS_VFS_DENTRY_CACHE_H_
