// A name in a tree, and the mounts that join trees.
#ifndef SENTRY_FS_DENTRY_H_
#define SENTRY_FS_DENTRY_H_

#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/fs/inode.h"

namespace sentry {

// Concrete, owned by the VFS. A child holds its parent; a parent knows its children without holding
// them, except in filesystems that live only in dentries. A negative dentry has no inode.
class Dentry : public RefCounted {
 public:
  Dentry(Ref<Dentry> parent, std::string name, Ref<Inode> inode);
  ~Dentry() override;

  bool negative() const;
  Inode& inode() const;                  // Requires: !negative().
  Ref<Inode> inode_ref() const;
  Ref<Dentry> parent() const;            // Itself for a root.
  std::string name() const;
  bool IsAncestorOf(const Dentry& other) const;
  // Removed from its parent while still in use (unlinked working directory, deleted open file).
  bool unhashed() const;

 private:
  friend class Vfs;
  mutable absl::Mutex mu_;  // Leaf.
  Ref<Dentry> parent_ ABSL_GUARDED_BY(mu_);
  std::string name_ ABSL_GUARDED_BY(mu_);
  Ref<Inode> inode_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, Dentry*> children_ ABSL_GUARDED_BY(mu_);
  bool unhashed_ ABSL_GUARDED_BY(mu_) = false;
};

// A filesystem joined to the tree.
class Mount : public RefCounted {
 public:
  Mount(Ref<Dentry> root, std::string fs_type, std::string source, uint64_t flags);

  const Ref<Dentry>& root() const { return root_; }
  uint64_t flags() const { return flags_; }  // MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC.
  bool read_only() const;
  const std::string& fs_type() const { return fs_type_; }
  const std::string& source() const { return source_; }
  int id() const { return id_; }

 private:
  friend class Vfs;
  const Ref<Dentry> root_;
  const std::string fs_type_;
  const std::string source_;
  const uint64_t flags_;
  const int id_;
  Ref<Mount> parent_;        // Guarded by Vfs::mounts_mu_; empty for the root mount.
  Ref<Dentry> mount_point_;  // Likewise.
};

}  // namespace sentry

#endif  // SENTRY_FS_DENTRY_H_
