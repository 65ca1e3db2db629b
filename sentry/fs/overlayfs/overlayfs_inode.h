// The inodes of an overlay that a process mounted.
#ifndef SENTRY_FS_OVERLAYFS_OVERLAYFS_INODE_H_
#define SENTRY_FS_OVERLAYFS_OVERLAYFS_INODE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "sentry/fs/overlay/listing.h"
#include "sentry/fs/overlayfs/overlayfs_tree.h"

namespace sentry {

// Any type; the base class is used for all but directories. Lock order: an inode's lock of
// copy_locks(), the locks of the layers below, mu_.
class OverlayfsInode : public Inode {
 public:
  struct Place {
    Ref<OverlayfsDirectory> parent;
    std::string name;
  };
  OverlayfsInode(Ref<OverlayfsTree> tree, Path upper, std::vector<Path> lower, uint32_t type,
                 const OverlayfsTree::Identity& identity, Place place);
  ~OverlayfsInode() override;

  Result<Attributes> GetAttributes() override;
  Status SetAttributes(const AttributeChange& change) override;
  Result<std::string> ReadLink() override { return top().dentry->inode().ReadLink(); }
  Result<Ref<File>> Open(OpenFlags flags) override;
  Result<std::string> GetXattr(std::string_view name) override;
  Status SetXattr(std::string_view name, std::string_view value, int flags) override;
  Status RemoveXattr(std::string_view name) override;
  Result<std::vector<std::string>> ListXattr() override;
  Result<FilesystemStats> StatFs() override;
  bool HasSetIdBits() const override { return top().dentry->inode().HasSetIdBits(); }
  unsigned StackDepth() const override { return tree_->depth(); }
  std::string ShowMountOptions() override { return tree_->layers().shown; }
  // As mount(2) of Linux, which ignores options here.
  Status Remount(const MountOptions& options) override { return kOk; }
  bool ReadOnlyFilesystem() const override { return !tree_->writable(); }

  OverlayfsTree& tree() const { return *tree_; }
  uint32_t type() const { return type_; }
  uint64_t ino() const { return identity_.ino; }
  // Of the upper layer; `dentry` empty if it is not there (yet).
  Path upper() const ABSL_LOCKS_EXCLUDED(mu_);
  bool has_upper() const { return static_cast<bool>(upper().dentry); }
  const std::vector<Path>& lower() const { return lower_; }
  // What has the attributes, and the data.
  Path top() const;
  // Makes sure that it lies in the upper layer, and so do the directories above. Only the first
  // `size` bytes of a file will be needed. EROFS.
  Status EnsureUpper(uint64_t size = UINT64_MAX);
  // Its name is taken away, or was not after all: what is copied up meanwhile gets none.
  void SetRemoved(bool removed) ABSL_LOCKS_EXCLUDED(mu_);
  // A file of O_TMPFILE: lies under that name in the working directory until it gets one or goes.
  void SetUnnamed(std::string temporary) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class OverlayfsDirectory;
  Status CopyUp(uint64_t size);
  Status CopyUpLocked(uint64_t size);
  bool removed() const ABSL_LOCKS_EXCLUDED(mu_);
  std::string unnamed() const {
    absl::MutexLock lock(&mu_);
    return unnamed_;
  }
  std::string Escaped(std::string_view name) const;

  const Ref<OverlayfsTree> tree_;
  const std::vector<Path> lower_;  // One at most, but for directories.
  const uint32_t type_;            // S_IF*.
  const OverlayfsTree::Identity identity_;
  Place place_;  // Where its lower part was found, which does not move; empty without one.
  mutable absl::Mutex mu_;           // Leaf.
  Path upper_ ABSL_GUARDED_BY(mu_);  // Set once.
  bool removed_ ABSL_GUARDED_BY(mu_) = false;
  std::string unnamed_ ABSL_GUARDED_BY(mu_);
};

class OverlayfsDirectory final : public OverlayfsInode {
 public:
  using OverlayfsInode::OverlayfsInode;

  Result<Ref<Inode>> Lookup(std::string_view name) override;
  Result<Ref<Inode>> Create(std::string_view name, const NewNode& node) override {
    return Add(name, node, {});
  }
  Result<Ref<Inode>> Mkdir(std::string_view name, const NewNode& node) override {
    return Add(name, node, {});
  }
  Result<Ref<Inode>> Symlink(std::string_view name, std::string_view target,
                             const NewNode& node) override {
    return Add(name, node, target);
  }
  Status Link(std::string_view name, Inode& target) override;
  Status Unlink(std::string_view name) override;
  Status Rmdir(std::string_view name) override;
  Status Rename(std::string_view name, Inode& new_parent, std::string_view new_name,
                uint32_t flags) override;
  Result<Ref<Inode>> CreateUnnamed(const NewNode& node, std::string_view target) override;
  Result<Ref<File>> Open(OpenFlags flags) override;

  // The names of all layers. `flags`: O_NOATIME or nothing.
  Result<std::shared_ptr<const Listing>> Merge(OpenFlags flags);
  uint64_t parent_ino() const { return parent_ino_.load(std::memory_order_relaxed); }
  void set_parent_ino(uint64_t ino) { parent_ino_.store(ino, std::memory_order_relaxed); }
  // By the child's destructor, and when its name goes.
  void DropChild(std::string_view name, const OverlayfsInode* child)
      ABSL_LOCKS_EXCLUDED(children_mu_);

 private:
  Result<Ref<OverlayfsInode>> FindChild(std::string_view name) ABSL_LOCKS_EXCLUDED(children_mu_);
  // A lower layer has something under that name, which nothing but the upper one hides.
  bool InLower(std::string_view name);
  bool merged() const { return !lower().empty(); }
  Result<Ref<Inode>> Add(std::string_view name, const NewNode& node, std::string_view target);
  Status Remove(std::string_view name, OverlayfsInode& child);
  // Of a file of the upper layer that has lost a name: whether it has others. If not, its number may
  // come again.
  bool ForgetUnlessNamed(const Path& upper, bool directory);
  Status CheckRenamed(const OverlayfsInode& inode) const;
  static void MovedTo(const OverlayfsDirectory& to, OverlayfsInode& inode);

  std::atomic<uint64_t> parent_ino_{0};
  absl::Mutex children_mu_;  // Leaf.
  // Those with a part in a lower layer, which another lookup must find again. Not held.
  std::map<std::string, OverlayfsInode*, std::less<>> children_ ABSL_GUARDED_BY(children_mu_);
};

}  // namespace sentry

#endif  // SENTRY_FS_OVERLAYFS_OVERLAYFS_INODE_H_
