// The table of cached names.
#ifndef SENTRY_FS_VFS_DENTRY_CACHE_H_
#define SENTRY_FS_VFS_DENTRY_CACHE_H_

#include <cstddef>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "sentry/fs/dentry.h"

namespace sentry {

// Holds every hashed dentry, found by parent and name. Those that nobody else uses are evicted in
// clock order once there are more than kCapacity names. Guarded by internal::tree_mu.
class DentryCache {
 public:
  static constexpr size_t kCapacity = 20'000;

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
  // Evicts up to `count` names that nobody uses, passing `steps` names at most.
  void Shrink(size_t count, size_t steps, std::vector<Ref<Dentry>>& evicted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  size_t size() const ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu) { return names_.size(); }

 private:
  struct Key {
    const Dentry* parent;
    std::string_view name;
  };
  static Key KeyOf(const Dentry* dentry) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    return {dentry->parent_.get(), dentry->name_};
  }
  static Key KeyOf(const Key& key) { return key; }
  struct Hash {
    using is_transparent = void;
    template <typename T>
    size_t operator()(const T& t) const {
      const Key key = KeyOf(t);
      return absl::HashOf(key.parent, key.name);
    }
  };
  struct Equal {
    using is_transparent = void;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      const Key left = KeyOf(a), right = KeyOf(b);
      return left.parent == right.parent && left.name == right.name;
    }
  };

  absl::flat_hash_set<Dentry*, Hash, Equal> names_;
  Dentry* hand_ = nullptr;  // Of the ring of all hashed dentries.
};

}  // namespace sentry

#endif  // SENTRY_FS_VFS_DENTRY_CACHE_H_
