// How mounts hang together: what lies on what, and who hears of whose changes.
#ifndef SENTRY_FS_VFS_MOUNT_TABLE_H_
#define SENTRY_FS_VFS_MOUNT_TABLE_H_

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/result.h"
#include "sentry/fs/mount.h"
#include "sentry/fs/vfs/path_errors.h"

namespace sentry {

// Everything under internal::tree_mu. What is let go is handed out as Garbage, which the caller
// drops without the lock. See Documentation/filesystems/sharedsubtree.rst of Linux.
class MountTable {
 public:
  // `errors` hears of each change.
  explicit MountTable(PathErrors& errors) : errors_(errors) {}
  static constexpr size_t kMaxMounts = 100'000;  // Of a namespace, as fs.mount-max.

  using Tree = std::vector<Ref<Mount>>;  // Parents before children.
  struct Garbage {
    std::vector<Ref<Dentry>> dentries;
    std::vector<Ref<Mount>> mounts;
    // Whose lists still have mounts that are theirs no longer.
    absl::flat_hash_set<MountNamespace*> left;
  };
  // How a copy stands to its original in propagation.
  struct Copy {
    bool slave = false;             // Receives from it; otherwise a peer, if it has any.
    bool shared = false;            // Has peers of its own from now on.
    bool leaves_unbindable = true;  // As bind mounts do.
  };

  // nullptr if nothing is.
  Mount* MountedOn(const Mount& mount, const Dentry& dentry) const
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  // What is seen there: the last of those mounted on each other.
  std::pair<Mount*, Dentry*> Topmost(Mount& mount, Dentry& dentry) const
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);

  // In every namespace; looks through all.
  std::vector<Mount*> MountsOn(const Dentry& dentry) const
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);

  // Below `mount`, from `root` on; nothing holds it but the result. What is mounted on places that
  // have been moved out of reach is left out. `originals`: what each is a copy of.
  Tree CopyTree(Mount& mount, Dentry& root, const Copy& copy, Tree* originals = nullptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // `mount` alone.
  Ref<Mount> CopyMount(Mount& mount, Dentry& root, const Copy& copy)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // All of `mount` with what hangs on it.
  static Tree Subtree(Mount& mount) ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);

  // Joins `tree` at a place, and copies of it wherever that propagates to. ENOSPC, EINVAL
  // (unbindable below a shared mount); then the tree is garbage.
  Status Join(Tree tree, Mount& parent, Dentry& point, Garbage& garbage)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // Without propagation, as the root of a namespace.
  void SetRoot(MountNamespace& ns, Tree tree) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // Takes a mount off its place with all that hangs on it, which stays together and in its
  // namespace.
  void Lift(Mount& mount, Garbage& garbage) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // Puts it on another place in the same or another namespace; no propagation.
  void Put(Mount& mount, Mount& parent, Dentry& point)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // umount_tree(): with what hangs on it and what propagation made of it.
  void Remove(Mount& mount, Garbage& garbage) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // The end of a namespace.
  void Dissolve(MountNamespace& ns, Garbage& garbage)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  void SetPropagation(Mount& mount, Propagation type)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // Of a whole tree whose root is to hear of others in `ns`.
  void SetNamespace(const Tree& tree, MountNamespace& ns)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // Mounts that hear of changes on `point` in `parent`, without itself.
  std::vector<Mount*> Receivers(const Mount& parent, const Dentry& point) const
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);

 private:
  struct PeerGroup {
    std::vector<Mount*> members, slaves;
  };
  struct Placed {
    Tree tree;
    Mount* parent;
  };

  void NewGroup(Mount& mount) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  void JoinGroup(Mount& mount, int group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  void BecomeSlave(Mount& mount, int group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  void LeaveGroup(Mount& mount) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  void LeaveMaster(Mount& mount) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  void Link(Mount& mount, Mount& parent, Dentry& point)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  void Unlink(Mount& mount, Garbage& garbage) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // Puts a tree at a place, below what is there already.
  void Graft(const Tree& tree, Mount& parent, Dentry& point, Garbage& garbage)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // A copy that nobody has seen.
  void Drop(Tree tree, Garbage& garbage) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  std::vector<Placed> CopiesFor(const Tree& tree, const Mount& parent, const Dentry& point,
                                size_t limit) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  // From the list of `ns` what is not in it any more.
  static void DropStrangers(MountNamespace& ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  void RemoveOne(Mount& mount, Garbage& garbage) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu);
  const PeerGroup* FindGroup(int group) const ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);

  PathErrors& errors_;
  absl::flat_hash_map<std::pair<const Mount*, const Dentry*>, Mount*> mounted_on_
      ABSL_GUARDED_BY(internal::tree_mu);
  absl::flat_hash_map<int, PeerGroup> groups_ ABSL_GUARDED_BY(internal::tree_mu);
  int last_group_ ABSL_GUARDED_BY(internal::tree_mu) = 0;
};

}  // namespace sentry

#endif  // SENTRY_FS_VFS_MOUNT_TABLE_H_
