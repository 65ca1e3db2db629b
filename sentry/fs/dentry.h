// A name in a tree, and the mounts that join trees.
#ifndef SENTRY_FS_DENTRY_H_
#define SENTRY_FS_DENTRY_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/slab.h"
#include "sentry/fs/inode.h"

namespace sentry {

namespace internal {
// Guards the shape of every tree: parents, names, the table of cached names, mounts. A leaf, held
// for a few memory accesses only; a cached walk takes it once, shared.
inline absl::Mutex tree_mu(absl::kConstInit);
}  // namespace internal

// Concrete, owned by the VFS, whose table of names (DentryCache) holds every hashed dentry. A child
// holds its parent. The inode never changes: a name that appears or vanishes gets a new dentry. A
// negative dentry has no inode and says that the name does not exist; no walk returns one.
class Dentry final : public RefCounted {
 public:
  // `inode` empty: negative. `mode` is the inode's, of which the type is kept.
  static Ref<Dentry> Make(Ref<Dentry> parent, std::string_view name, Ref<Inode> inode,
                          uint32_t mode);
  ~Dentry() override;
  // The name lies behind the object.
  void operator delete(void* memory) { Slab::Free(memory); }

  bool negative() const { return inode_.get() == nullptr; }
  Inode& inode() const { return *inode_; }  // Requires: !negative().
  Ref<Inode> inode_ref() const { return inode_; }
  uint32_t type() const { return uint32_t{type_} << 12; }  // S_IF*.
  bool is_directory() const { return type() == S_IFDIR; }
  Ref<Dentry> parent() const ABSL_LOCKS_EXCLUDED(internal::tree_mu);  // Itself for a root.
  std::string name() const ABSL_LOCKS_EXCLUDED(internal::tree_mu);
  // True for itself, too.
  bool IsAncestorOf(const Dentry& other) const ABSL_LOCKS_EXCLUDED(internal::tree_mu);
  // Removed while still in use (unlinked working directory, deleted open file).
  bool unhashed() const ABSL_LOCKS_EXCLUDED(internal::tree_mu);

 private:
  friend class Vfs;
  friend class Walker;
  friend class DentryCache;
  friend class MountTable;

  // Of the memory behind it that names have.
  static constexpr size_t kLeastRoom = 8, kRoomUnit = 8, kMostRoom = 248;

  Dentry(Ref<Dentry> parent, std::string_view name, Ref<Inode> inode, uint32_t mode, size_t room);
  bool IsAncestorOfLocked(const Dentry& other) const ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  std::string_view name_text() const ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  // Elsewhere, if it does not fit behind the object. Requires: the name is not hashed.
  void SetName(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  void FreeName();
  // Bytes of the object and its name.
  size_t size() const { return sizeof(Dentry) - kLeastRoom + room_ * kRoomUnit; }

  // In an order without holes: there are very many of them.
  const uint8_t type_ : 4;         // DT_*: the type bits of a mode, shifted by 12.
  const bool caches_lookups_ : 1;  // The inode's answer.
  std::atomic<bool> used_{true};   // Since the clock hand of the cache last passed.
  bool hashed_ : 1 ABSL_GUARDED_BY(internal::tree_mu) = false;
  bool deleted_ : 1 ABSL_GUARDED_BY(internal::tree_mu) = false;
  bool linkable_ : 1 ABSL_GUARDED_BY(internal::tree_mu) = false;  // O_TMPFILE without O_EXCL.
  bool elsewhere_ : 1 = false;                                    // `name_` holds an address.
  const uint8_t room_;                                            // For the name.
  uint16_t name_size_ = 0;
  uint16_t mounts_ ABSL_GUARDED_BY(internal::tree_mu) = 0;    // Mounts on this dentry.
  uint32_t children_ ABSL_GUARDED_BY(internal::tree_mu) = 0;  // Hashed ones.
  const Ref<Inode> inode_;
  Ref<Dentry> parent_ ABSL_GUARDED_BY(internal::tree_mu);      // Empty for a root.
  Dentry* next_ ABSL_GUARDED_BY(internal::tree_mu) = nullptr;  // Of the same hash.
  char name_[kLeastRoom];                                      // And more, see room_.
};
static_assert(sizeof(Dentry) == 56);

// An instance of a filesystem, shared by all its mounts.
class Superblock final : public RefCounted {
 public:
  // `root`: without a parent. `dev`: what stat(2) says of it.
  Superblock(Ref<Dentry> root, std::string fs_type, uint64_t dev);
  // Tells who watches its inodes.
  ~Superblock() override;

  const Ref<Dentry>& root() const { return root_; }
  const std::string& fs_type() const { return fs_type_; }
  uint64_t dev() const { return dev_; }
  bool read_only() const { return read_only_.load(std::memory_order_relaxed); }
  // Files open for writing through any mount.
  int writers() const { return writers_.load(std::memory_order_relaxed); }
  void AddWriter(int by) { writers_.fetch_add(by, std::memory_order_relaxed); }
  void set_read_only(bool on) { read_only_.store(on, std::memory_order_relaxed); }

 private:
  const Ref<Dentry> root_;
  const std::string fs_type_;
  const uint64_t dev_;
  std::atomic<bool> read_only_{false};
  std::atomic<int> writers_{0};
};

class MountNamespace;

// A filesystem, or a part of it, joined to the tree. Held by its namespace while it is in one.
class Mount final : public RefCounted {
 public:
  // The flags that a mount has of its own.
  static constexpr uint64_t kNoSymfollow = 256;  // MS_NOSYMFOLLOW.
  static constexpr uint64_t kFlags = 1 | 2 | 4 | 8 | kNoSymfollow | 1024 | 2048 | (1 << 21);

  Mount(Ref<Superblock> superblock, Ref<Dentry> root, std::string source, uint64_t flags);

  const Ref<Dentry>& root() const { return root_; }
  Superblock& superblock() const { return *superblock_; }
  // MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOSYMFOLLOW, MS_NOATIME, MS_NODIRATIME,
  // MS_RELATIME.
  uint64_t flags() const { return flags_.load(std::memory_order_relaxed); }
  // During set-up; processes change them through Vfs::SetMountFlags.
  void set_flags(uint64_t flags) { flags_.store(flags & kFlags, std::memory_order_relaxed); }
  // By itself or because the filesystem is.
  bool read_only() const { return (flags() & 1) != 0 || superblock_->read_only(); }
  const std::string& fs_type() const { return superblock_->fs_type(); }
  const std::string& source() const { return source_; }
  int id() const { return id_; }
  // Of statmount(2) and STATX_MNT_ID_UNIQUE: never used again.
  uint64_t unique_id() const { return (uint64_t{1} << 31) + static_cast<uint64_t>(id_); }
  // Files open for writing, which keep it from becoming read-only.
  void AddWriter(int by) {
    writers_.fetch_add(by, std::memory_order_relaxed);
    superblock_->AddWriter(by);
  }

 private:
  friend class Vfs;
  friend class Walker;
  friend class MountTable;
  friend class MountNamespace;
  const Ref<Superblock> superblock_;
  const Ref<Dentry> root_;
  const std::string source_;
  std::atomic<uint64_t> flags_;
  std::atomic<int> writers_{0};
  const int id_;
  // Empty for the root mount and for one that was taken off.
  Ref<Mount> parent_ ABSL_GUARDED_BY(internal::tree_mu);
  Ref<Dentry> mount_point_ ABSL_GUARDED_BY(internal::tree_mu);
  std::vector<Mount*> children_ ABSL_GUARDED_BY(internal::tree_mu);
  MountNamespace* ns_ ABSL_GUARDED_BY(internal::tree_mu) = nullptr;
  int group_ ABSL_GUARDED_BY(internal::tree_mu) = 0;   // Of peers; 0: not shared.
  int master_ ABSL_GUARDED_BY(internal::tree_mu) = 0;  // The group it receives from.
  bool unbindable_ ABSL_GUARDED_BY(internal::tree_mu) = false;
  bool expiring_ ABSL_GUARDED_BY(internal::tree_mu) = false;  // MNT_EXPIRE, once.
};

// A place in the tree.
struct Path {
  Ref<Mount> mount;
  Ref<Dentry> dentry;
};

}  // namespace sentry

#endif  // SENTRY_FS_DENTRY_H_
