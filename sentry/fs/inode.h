// An inode: an object of a filesystem, without a name.
#ifndef SENTRY_FS_INODE_H_
#define SENTRY_FS_INODE_H_

#include <atomic>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/fs/mount_options.h"
#include "sentry/fs/types.h"

namespace sentry {

class ControlGroup;
class File;
class Task;
struct Credentials;
struct Path;

// Owner and mode of something that is being created.
struct NewNode {
  uint32_t mode = 0;  // S_IF* and permission bits, umask already applied.
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t rdev = 0;
  int socket_type =
      0;  // With S_IFSOCK: SOCK_* of the socket that is to have the name, if there is one.
};

// Subclassed by each filesystem, which overrides only what it supports: the defaults are the
// errnos Linux gives. Permissions, sticky bits, read-only mounts and name lengths have been checked
// by the VFS before an operation is called, and names are never empty, "." or "..". The VFS holds
// the directory's lock exclusively around everything that changes a directory. Thread-safe.
class Inode : public RefCounted {
 public:
  virtual Result<Attributes> GetAttributes() = 0;
  virtual Status SetAttributes(const AttributeChange& change) { return Errno(EPERM); }

  // Directories.
  virtual Result<Ref<Inode>> Lookup(std::string_view name) { return Errno(ENOTDIR); }
  // Creates a regular file, fifo, socket or device node, as node.mode says.
  virtual Result<Ref<Inode>> Create(std::string_view name, const NewNode& node) {
    return Errno(EPERM);
  }
  virtual Result<Ref<Inode>> Mkdir(std::string_view name, const NewNode& node) {
    return Errno(EPERM);
  }
  virtual Result<Ref<Inode>> Symlink(std::string_view name, std::string_view target,
                                     const NewNode& node) {
    return Errno(EPERM);
  }
  virtual Status Link(std::string_view name, Inode& target) { return Errno(EPERM); }
  virtual Status Unlink(std::string_view name) { return Errno(EPERM); }
  virtual Status Rmdir(std::string_view name) { return Errno(EPERM); }
  // Moves `name` of this directory to `new_name` of `new_parent` (same filesystem). `flags` as in
  // renameat2(2). The VFS has checked existence, types and loops; a target that exists is replaced.
  virtual Status Rename(std::string_view name, Inode& new_parent, std::string_view new_name,
                        uint32_t flags) {
    return Errno(EXDEV);
  }
  // The same with RENAME_WHITEOUT: `whiteout`, a device 0:0, is then under the old name. There is
  // no moment at which nothing is.
  virtual Status RenameLeaving(std::string_view name, Inode& new_parent, std::string_view new_name,
                               const NewNode& whiteout) {
    return Errno(EINVAL);
  }
  // An unnamed file in this directory's filesystem (O_TMPFILE). The upper filesystem of an overlay
  // makes every type, with `target` for symlinks.
  virtual Result<Ref<Inode>> CreateUnnamed(const NewNode& node, std::string_view target) {
    return Errno(EOPNOTSUPP);
  }

  virtual Result<std::string> ReadLink() { return Errno(EINVAL); }
  // Procfs: a link that leads to an object rather than to a path (/proc/PID/fd/N, exe, cwd, root).
  // EINVAL means "follow ReadLink"; other errors are final.
  virtual Status MagicLink(Task& task, Path& target) { return Errno(EINVAL); }

  // Opens this inode. Files that the VFS itself implements for any filesystem (fifos, devices) are
  // handled before this is called.
  virtual Result<Ref<File>> Open(OpenFlags flags) = 0;
  // True when Open is to be called whatever the type: pipes and donated host files, which are
  // reached through /proc/PID/fd.
  virtual bool OpensItself() const { return false; }
  // True of namespaces, which keep alive by being mounted somewhere (ip-netns(8)).
  virtual bool BindsAnywhere() const { return false; }
  // Of a directory of cgroup2: the group that it stands for. nullptr for everything else.
  virtual ControlGroup* control_group() const { return nullptr; }

  // Of names that are sockets of the host: a connection to it, which never blocks; and, once, the
  // descriptor that was bound when Create made the name. Other names are the sentry's own affair.
  virtual Result<UniqueFd> ConnectHostSocket(int type) { return Errno(ECONNREFUSED); }
  virtual Result<UniqueFd> TakeHostSocket() { return Errno(EOPNOTSUPP); }

  virtual Result<std::string> GetXattr(std::string_view name) { return Errno(EOPNOTSUPP); }
  virtual Status SetXattr(std::string_view name, std::string_view value, int flags) {
    return Errno(EOPNOTSUPP);
  }
  virtual Status RemoveXattr(std::string_view name) { return Errno(EOPNOTSUPP); }
  // Linux lists nothing where nothing is supported.
  virtual Result<std::vector<std::string>> ListXattr() { return std::vector<std::string>(); }
  virtual Result<FilesystemStats> StatFs() { return FilesystemStats{}; }

  // Of the filesystem, asked of its root. What /proc/PID/mounts shows of its own options, with a
  // comma in front of each; and mount(MS_REMOUNT), EINVAL for what it does not know or cannot
  // change.
  virtual std::string ShowMountOptions() { return {}; }
  virtual Status Remount(const MountOptions& options) {
    return options.empty() ? Status(kOk) : Errno(EINVAL);
  }

  // Of the root: nothing here can be changed, whatever the mount says (an overlay without upper).
  virtual bool ReadOnlyFilesystem() const { return false; }
  // How many filesystems lie below this one: 0 but for overlays that processes mount, whose
  // operations go through the VFS again. At most kMostStacked, as in Linux.
  static constexpr unsigned kMostStacked = 2;
  virtual unsigned StackDepth() const { return 0; }

  // False when names below this directory may change without the VFS (procfs, shared host mounts):
  // each walk asks Lookup again, without a lock of the VFS held. Never changes.
  virtual bool CachesLookups() const { return true; }
  // True when the mode, known without asking anybody or locking anything, lets everyone search
  // this directory: walks then need no attributes.
  virtual bool AnyoneMaySearch() const { return false; }
  // True when the mode, known without asking anybody, has a set-id bit that a write may have to
  // clear.
  virtual bool HasSetIdBits() const { return false; }
  // The link count or the like changed through another inode (a name of this one was removed).
  virtual void InvalidateAttributes() {}
  // Hands over the inodes that only this one keeps alive, so that a deep tree is destroyed without
  // recursion. Called when nobody else has a reference.
  virtual void TakeChildren(std::vector<Ref<Inode>>& children) {}

  // Who writes a file and who executes it exclude each other (ETXTBSY). Counted by File.
  bool AddWriter() { return Count(1); }
  bool AddExecution() { return Count(-1); }
  void RemoveWriter() { writers_.fetch_sub(1, std::memory_order_release); }
  void RemoveExecution() { writers_.fetch_add(1, std::memory_order_release); }
  bool executing() const { return writers_.load(std::memory_order_acquire) < 0; }

 private:
  // False when others count in the other direction.
  bool Count(int step) {
    int count = writers_.load(std::memory_order_relaxed);
    do {
      if (count * step < 0) return false;
    } while (!writers_.compare_exchange_weak(count, count + step, std::memory_order_acq_rel));
    return true;
  }

  std::atomic<int> writers_{0};  // Negative: executions.

 public:
  // RWH_* of fcntl(F_SET_RW_HINT): remembered only. Last, so that subclasses go on right behind it.
  std::atomic<uint8_t> write_hint{0};
};

}  // namespace sentry

#endif  // SENTRY_FS_INODE_H_
