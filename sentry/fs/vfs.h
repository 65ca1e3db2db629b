// The virtual filesystem: path walk and everything that works on names.
#ifndef SENTRY_FS_VFS_H_
#define SENTRY_FS_VFS_H_

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/known_errors.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/file.h"
#include "sentry/fs/mount.h"
#include "sentry/fs/vfs/protections.h"
#include "sentry/task/credentials.h"

namespace sentry {

class DentryCache;
class MountTable;
class PathErrors;
class Task;

// Who walks: where absolute paths start, where relative ones do, and with whose rights.
struct WalkContext {
  Path root;
  Path start;
  Credentials creds;
  uint32_t umask = 022;
  Task* task = nullptr;  // For magic links of procfs; nullptr during set-up.
};

struct WalkOptions {
  bool follow_last = true;   // A symlink in the last component.
  bool allow_empty = false;  // AT_EMPTY_PATH.
  uint64_t resolve = 0;      // RESOLVE_* of openat2(2).
};

// Where an operation on a name works: the directory and the last component.
struct VfsPlace {
  Path parent;
  std::string name;  // Empty: the path was "/" or the like.
  bool trailing_slash = false;
  bool ordinary() const { return !name.empty() && name != "." && name != ".."; }
};

// One per kernel. Thread-safe. Lock order: rename_mu_, directory locks (by rising index), a
// filesystem's own locks, internal::tree_mu. A filesystem that lies on others (Inode::StackDepth)
// calls back: their locks of these kinds come after its own.
class Vfs {
 public:
  // How fifos and devices are opened, wherever their nodes lie: functions of other components.
  using FifoOpener = std::function<Result<Ref<File>>(Inode& fifo, OpenFlags flags)>;
  using DeviceOpener =
      std::function<Result<Ref<File>>(uint64_t rdev, Ref<Inode> node, OpenFlags flags, Task* task)>;

  Vfs();
  ~Vfs();
  Vfs(const Vfs&) = delete;
  Vfs& operator=(const Vfs&) = delete;

  // Call before guests run. Without openers such files are ENXIO.
  void set_special_openers(FifoOpener fifo, DeviceOpener device);

  // The root of a new mount namespace, which lives as long as a FsContext or somebody else holds it
  // (NamespaceOf); the first one stays.
  Path MountRoot(Ref<Inode> root, std::string fs_type, std::string source, uint64_t flags);
  // Joins a filesystem (its root inode; a directory or, for bind mounts of files, any type) at
  // `at`. ENOTDIR when only one of both is a directory. `flags`: MS_RDONLY (also of the
  // filesystem), MS_NOSUID and so on, see Mount::flags.
  Result<Ref<Mount>> MountAt(const Path& at, Ref<Inode> root, std::string fs_type,
                             std::string source, uint64_t flags);
  // The same with an instance that may be mounted already.
  Result<Ref<Mount>> MountAt(const Path& at, Ref<Superblock> superblock, std::string source,
                             uint64_t flags);
  Result<Ref<Superblock>> NewSuperblock(Ref<Inode> root, std::string fs_type);
  // Each place must be in `ns` (EINVAL), as for all that follows. MS_BIND, with MS_REC for
  // `recursive`: EINVAL for unbindable mounts.
  Status Bind(MountNamespace& ns, const Path& from, const Path& at, bool recursive);
  // MS_MOVE: EINVAL below a shared mount, ELOOP into itself.
  Status Move(MountNamespace& ns, const Path& from, const Path& at);
  // MS_BIND|MS_REMOUNT. EINVAL where `at` is no mount, EBUSY for read-only with writers.
  Status SetMountFlags(MountNamespace& ns, const Path& at, uint64_t set, uint64_t clear,
                       bool recursive);
  // MS_REMOUNT: the filesystem itself as well.
  Status SetReadOnly(MountNamespace& ns, const Path& at, bool read_only);
  Status SetPropagation(MountNamespace& ns, const Path& at, Propagation type, bool recursive);
  // Takes off the mount whose root `at` is: EINVAL if it is none, EBUSY for the root mount and when
  // it is in use or something is mounted below, unless `flags` has MNT_DETACH. MNT_EXPIRE: EAGAIN
  // at first. Requires: the caller holds one reference to at.mount.
  Status Unmount(MountNamespace& ns, const Path& at, int flags);
  // pivot_root(2) for a process with `root`. The caller moves what stands in the old root.
  Status PivotRoot(MountNamespace& ns, const Path& root, const Path& new_root, const Path& put_old);
  // unshare(CLONE_NEWNS): a copy; `places` are moved to it.
  Result<Ref<MountNamespace>> CopyNamespace(MountNamespace& ns, std::vector<Path*> places);
  // A tree that nobody sees but who holds the result: open_tree(OPEN_TREE_CLONE) of `from`, or a
  // mount of a fresh filesystem.
  Result<Path> CloneDetached(MountNamespace& ns, const Path& from, bool recursive,
                             Ref<MountNamespace>& holder, bool is_private = false);
  Path MountDetached(Ref<Superblock> superblock, std::string source, uint64_t flags,
                     Ref<MountNamespace>& holder);
  // move_mount(2) of the root of a detached tree.
  Status AttachDetached(MountNamespace& ns, MountNamespace& detached, const Mount& source,
                        const Path& at);
  // That of a mount; empty when it was taken off.
  Ref<MountNamespace> NamespaceOf(const Mount& mount);
  // The root of a namespace, topmost.
  Result<Path> RootOf(MountNamespace& ns);
  // Every mount with its path below `root`, for /proc/PID/mounts and mountinfo: of the namespace
  // that `root` is in.
  struct MountInfo {
    Ref<Mount> mount;
    std::string path;  // Empty if it is not below `root`.
    std::string root;  // Of the mount in its filesystem.
    int parent_id = 0;
    uint64_t parent_unique_id = 0;
    int group = 0, master = 0;  // 0: none.
    bool unbindable = false;
  };
  std::vector<MountInfo> Mounts(const Path& root);
  std::vector<MountInfo> AllMounts(MountNamespace& ns, const Path& root);

  Result<Path> Walk(const WalkContext& ctx, std::string_view path, const WalkOptions& options);
  // open(2) with everything but the descriptor: permissions, O_CREAT, O_EXCL, O_TRUNC, O_PATH,
  // O_TMPFILE, O_DIRECTORY, O_NOFOLLOW, fifos and devices. A fifo without its other end answers
  // EAGAIN together with nothing opened; see OpenFifo.
  Result<Ref<File>> Open(const WalkContext& ctx, std::string_view path, OpenFlags flags,
                         uint32_t mode, uint64_t resolve = 0);
  // Opens what a walk has found (O_PATH descriptors, exec, magic links).
  Result<Ref<File>> OpenPath(const WalkContext& ctx, const Path& path, OpenFlags flags);

  Status Mkdir(const WalkContext& ctx, std::string_view path, uint32_t mode);
  Status Mknod(const WalkContext& ctx, std::string_view path, uint32_t mode, uint64_t rdev);
  // bind(2): the name of a socket of `type` (SOCK_*).
  Status MakeSocket(const WalkContext& ctx, std::string_view path, uint32_t permissions, int type);
  Status Symlink(const WalkContext& ctx, std::string_view target, std::string_view path);
  Status Link(const WalkContext& ctx, const Path& target, std::string_view path);
  Status Unlink(const WalkContext& ctx, std::string_view path);
  Status Rmdir(const WalkContext& ctx, std::string_view path);
  Status Rename(const WalkContext& from, std::string_view old_path, const WalkContext& to,
                std::string_view new_path, uint32_t flags);

  Result<Attributes> GetAttributes(const Path& path) {
    return path.dentry->inode().GetAttributes();
  }
  // With the permission rules of chmod, chown, utimensat and truncate.
  Status SetAttributes(const WalkContext& ctx, const Path& path, const AttributeChange& change);
  // Likewise, for the rules of xattr(7).
  Result<std::string> GetXattr(const WalkContext& ctx, const Path& path, std::string_view name);
  Status SetXattr(const WalkContext& ctx, const Path& path, std::string_view name,
                  std::string_view value, int flags);
  Status RemoveXattr(const WalkContext& ctx, const Path& path, std::string_view name);
  Result<std::vector<std::string>> ListXattr(const WalkContext& ctx, const Path& path);
  // access(2) for the fsuid and capabilities of ctx.creds: `access` as in CheckAccess, plus EROFS
  // and noexec mounts.
  Status Access(const WalkContext& ctx, const Path& path, int access);

  // The application's call has answered `known`. If each call with this path has to, whoever makes
  // it, until names change, its program is told so; `root` is that of all its processes. Absolute
  // paths only: -ENOENT, and -EINVAL of readlink(2). Whether it was so.
  bool KeepError(const Ref<platform::KnownErrors>& program, const Path& root,
                 const platform::KnownError& known) ABSL_LOCKS_EXCLUDED(internal::tree_mu);

  // The path of `path` as seen from `root`: what getcwd(2) and /proc show. Prefixed with
  // "(unreachable)" when it is not below the root, suffixed " (deleted)" when unlinked. Cut, but
  // longer than PATH_MAX, when the true one is longer than twice that.
  std::string PathString(const Path& root, const Path& path);

  // MAY_* bits: R_OK, W_OK, X_OK as in access(2), with the credentials given.
  static Status CheckAccess(const Attributes& attributes, const Credentials& creds, int access);
  // Thread-safe, too.
  Protections& protections() { return protections_; }
  // Drops cached names that nobody uses.
  void ShrinkCaches();
  size_t cached_names() const;
  // About so much memory do they take, with their inodes.
  size_t cached_bytes() const;

  // A place for a file without a path, so that a magic link (/proc/PID/fd/N of a pipe) can lead to
  // it. Opening it asks the inode's Open, whatever its type.
  Path AnonymousPath(const File& file);

 private:
  friend class Walker;
  // A directory lock is one of a fixed number for each depth, by the inode's address.
  static constexpr size_t kDirectoryLocks = 64;
  static constexpr size_t kDepths = Inode::kMostStacked + 1;

  using Place = VfsPlace;
  Result<Place> WalkToParent(const WalkContext& ctx, std::string_view path, uint64_t resolve);

  size_t DirectoryLockIndex(const Dentry& directory) const;
  absl::Mutex& DirectoryLock(const Dentry& directory) const;
  // The child `name`, maybe negative; from the filesystem when it is not cached.
  Result<Ref<Dentry>> Lookup(const Ref<Dentry>& directory, std::string_view name);
  // Likewise. Requires: the directory's lock is held.
  Result<Ref<Dentry>> LookupLocked(const Ref<Dentry>& directory, std::string_view name);
  // Runs `attempt`, which makes or finds an inode; again with fewer names cached while a file
  // server has no room for another file (ENFILE).
  template <typename Attempt>
  auto WithRoom(Attempt attempt) -> decltype(attempt()) {
    auto result = attempt();
    for (int i = 0; i < 3 && !result.ok() && OutOfFiles(result.error()); ++i) {
      if (!ReleaseNames()) break;
      result = attempt();
    }
    return result;
  }
  static bool OutOfFiles(Errno e) { return e == Errno(ENFILE) || e == Errno(EMFILE); }
  // Drops a part of the cached names. False if nothing could go.
  bool ReleaseNames();
  // Takes a name out of the cache, so that it is looked up again.
  void Drop(Dentry& dentry) ABSL_LOCKS_EXCLUDED(internal::tree_mu);
  Ref<Dentry> FindCached(const Dentry& directory, std::string_view name);
  // Enters a child that has just been found or made; `inode` empty for a negative one.
  Result<Ref<Dentry>> Remember(const Ref<Dentry>& directory, std::string_view name,
                               Ref<Inode> inode);
  // Takes `dentry` off its name for good.
  void Forget(Dentry& dentry);
  // Behind a change of who may search it.
  void ForgetErrorsBelow(const Dentry& directory) ABSL_LOCKS_EXCLUDED(internal::tree_mu);
  void MoveNames(Dentry& from, const Ref<Dentry>& new_parent, std::string_view new_name,
                 Dentry* replaced, uint32_t flags);

  // What filename_create of Linux does: fails unless `place` can take a new name, of which the
  // directory's lock is held.
  Status MakeNodeAt(const WalkContext& ctx, std::string_view path, const NewNode& wanted);
  Status CheckCreatable(const WalkContext& ctx, const Place& place, bool directory);
  // The same without the permission.
  Status CheckFreeName(const Place& place, bool directory);
  Result<NewNode> MakeNode(const WalkContext& ctx, const Path& parent, uint32_t mode);
  Status Remove(const WalkContext& ctx, const Place& place, bool directory);
  Status CheckRemovable(const WalkContext& ctx, const Path& parent, Dentry& victim, bool directory);
  // Something is mounted there in the namespace of `parent`.
  bool IsMountPoint(const Mount& parent, const Dentry& dentry) const;
  // What others have mounted there goes with the name.
  void DetachMounts(const Dentry& dentry);
  Status CheckRename(const WalkContext& ctx, const Place& from, const Place& to, Dentry& source,
                     Dentry& target, uint32_t flags);
  Status RenameLocked(const WalkContext& ctx, const Place& from, const Place& to, uint32_t flags);

  struct OpenRequest;
  Result<Ref<File>> OpenCreating(const WalkContext& ctx, std::string_view path,
                                 const OpenRequest& request);
  Result<Ref<File>> OpenTemporary(const WalkContext& ctx, const Path& directory,
                                  const OpenRequest& request);
  Result<Ref<File>> OpenFound(const WalkContext& ctx, const Path& path, OpenFlags flags,
                              bool created);
  Result<Ref<File>> OpenInode(const WalkContext& ctx, const Path& path, OpenFlags flags);

  friend class MountNamespace;
  Mount* MountedOn(const Mount& mount, const Dentry& dentry) const
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  bool IsReachableLocked(const Path& path, const Path& from) const
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  bool SeesLocked(const MountNamespace& ns, const Path& path) const
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  MountInfo DescribeLocked(const Mount& mount, const Path& root) const
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  void Dissolve(MountNamespace& ns);
  std::string PathStringLocked(const Path& root, const Path& path) const
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);

  // The directory in which a walk has found `path` last.
  Ref<Dentry> DirectoryOf(const Path& path) const ABSL_LOCKS_EXCLUDED(internal::tree_mu);

  Protections protections_;
  const Ref<Mount> anonymous_mount_;
  FifoOpener open_fifo_;
  DeviceOpener open_device_;
  std::array<absl::Mutex, kDepths> rename_mu_;  // Serialise renames between directories, by depth.
  mutable std::array<absl::Mutex, kDirectoryLocks * kDepths> directory_locks_;
  std::unique_ptr<PathErrors> errors_;
  std::unique_ptr<DentryCache> names_;  // Its contents are guarded by internal::tree_mu.
  std::unique_ptr<MountTable> mounts_;  // Its contents are guarded by internal::tree_mu.
  // Of MountRoot; in front of all that they need when they go.
  std::vector<Ref<MountNamespace>> root_namespaces_;
};

}  // namespace sentry

#endif  // SENTRY_FS_VFS_H_
