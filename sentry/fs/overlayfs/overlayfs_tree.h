// What the inodes of one mounted overlay share: its layers, and how they are worked on.
#ifndef SENTRY_FS_OVERLAYFS_OVERLAYFS_TREE_H_
#define SENTRY_FS_OVERLAYFS_OVERLAYFS_TREE_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/mutex_pool.h"
#include "sentry/fs/overlayfs/overlayfs.h"

namespace sentry {

class OverlayfsInode;
class OverlayfsDirectory;

// Held by the inodes. Layers are used through the VFS, so that whoever looks at them directly sees
// what the overlay does, with the credentials of who mounted it. Thread-safe.
class OverlayfsTree final : public RefCounted {
 public:
  // What stat(2) says.
  struct Identity {
    uint64_t ino;
    uint64_t dev;
  };
  OverlayfsTree(Vfs& vfs, const Credentials& creds, OverlayfsLayers layers, unsigned depth);

  bool writable() const { return layers_.upper.has_value(); }
  unsigned depth() const { return depth_; }
  uint64_t dev() const { return dev_; }
  const OverlayfsLayers& layers() const { return layers_; }
  // Makes a new "work" in the working directory, in place of an old one: whoever has that open
  // reaches nothing of this overlay.
  Status Prepare();

  // A name in a directory of a layer; no symlink is followed.
  Result<Path> Find(const Path& directory, std::string_view name) const;
  Result<Ref<File>> Open(const Path& path, OpenFlags flags) const;
  static bool IsWhiteout(const Path& path);
  bool IsOpaque(const Path& directory) const;
  Status SetOpaque(const Path& directory) const;
  // Its names but "." and "..". `flags`: O_NOATIME or nothing.
  Result<std::vector<DirEntry>> List(const Path& directory, OpenFlags flags = {}) const;

  // Something without a place yet; it lies in the working directory until MoveIn or Discard.
  struct Temporary {
    std::string name;
    Path path;
  };
  Result<Temporary> MakeTemporary(const NewNode& node, std::string_view target);
  // To `name`, in place of a whiteout or a file. What fails is discarded.
  Status MoveIn(const Temporary& temporary, const Path& directory, std::string_view name);
  // The same, but what fails stays where it is.
  Status TryMoveIn(const Temporary& temporary, const Path& directory, std::string_view name);
  void Discard(const Temporary& temporary);
  Status MakeWhiteout(const Path& directory, std::string_view name);
  // In place of an empty directory, in which whiteouts may lie.
  Status ReplaceDirectoryByWhiteout(const Path& directory, std::string_view name);
  // An empty directory of the upper layer, in which whiteouts may lie.
  Status RemoveDirectory(const Path& directory, std::string_view name);
  Status Unlink(const Path& directory, std::string_view name);
  Status Link(const Path& target, const Path& directory, std::string_view name);
  // Likewise, in place of a whiteout.
  Status LinkOver(const Path& target, const Path& directory, std::string_view name);
  Status Rename(const Path& from, std::string_view name, const Path& to, std::string_view new_name,
                uint32_t flags);
  // Of a directory to where a whiteout may lie. There is no moment at which nothing hides what is
  // below. `left`: the whiteout lies where the directory was.
  Status RenameDirectory(const Path& from, std::string_view name, const Path& to,
                         std::string_view new_name, bool& left);

  // Attributes that are the overlay's own, which nobody sees.
  const std::string& prefix() const { return prefix_; }
  bool IsPrivate(std::string_view name) const { return name.starts_with(prefix_); }

  // The inode of `upper` and what lies below it, the only one for that file. `parent`: nullptr for
  // the root.
  Result<Ref<OverlayfsInode>> Make(Path upper, std::vector<Path> lower, OverlayfsDirectory* parent,
                                   std::string_view name);
  // After a copy-up: the inode is that of `upper`, and keeps its identity while the overlay is
  // mounted.
  void Adopt(OverlayfsInode& inode, const Path& upper, const Identity& identity);
  // The file of the upper layer is gone.
  void ForgetIdentity(uint64_t upper_ino);
  // By the inode's destructor.
  void Drop(const OverlayfsInode& inode, const Inode& upper);
  uint64_t ShownIno(const Path& layer, uint64_t ino);

  // Of inodes, while they are copied up or removed.
  MutexPool& copy_locks() { return copy_locks_; }

 private:
  WalkContext In(const Path& directory) const;
  Status RemoveOldWork();
  std::string NewTemporaryName();
  Identity IdentityOf(const Path& upper, const Attributes& attributes);

  Vfs& vfs_;
  const Credentials creds_;
  const OverlayfsLayers layers_;
  const unsigned depth_;
  const uint64_t dev_;
  const std::string prefix_;
  bool same_fs_ = true;  // All layers; then files have the numbers that they have there.
  Path work_;            // "work" in the working directory.
  std::atomic<uint64_t> next_ino_{2};  // Of directories, where layers are of several filesystems.
  MutexPool copy_locks_;
  absl::Mutex mu_;                                                                    // Leaf.
  absl::flat_hash_map<const Inode*, OverlayfsInode*> by_upper_ ABSL_GUARDED_BY(mu_);  // Not held.
  // Of files that were copied up, by their number in the upper layer.
  absl::flat_hash_map<uint64_t, Identity> copied_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint64_t, uint64_t> devs_ ABSL_GUARDED_BY(mu_);  // Shown ones by real ones.
};

}  // namespace sentry

#endif  // SENTRY_FS_OVERLAYFS_OVERLAYFS_TREE_H_
