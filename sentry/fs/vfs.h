// The virtual filesystem: path walk and everything that works on names.
#ifndef SENTRY_FS_VFS_H_
#define SENTRY_FS_VFS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/file.h"
#include "sentry/task/credentials.h"

namespace sentry {

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
  bool follow_last = true;     // A symlink in the last component.
  bool allow_empty = false;    // AT_EMPTY_PATH.
  uint64_t resolve = 0;        // RESOLVE_* of openat2(2).
};

// One per kernel. Thread-safe. Lock order: rename_mu_, mounts_mu_, a filesystem's own locks,
// Dentry::mu_.
class Vfs {
 public:
  // Joins the first filesystem.
  Path MountRoot(Ref<Inode> root, std::string fs_type, std::string source, uint64_t flags);
  // Joins a filesystem (its root inode; a directory or, for bind mounts of files, any type) at `at`.
  Result<Ref<Mount>> MountAt(const Path& at, Ref<Inode> root, std::string fs_type,
                             std::string source, uint64_t flags);
  // Every mount with its path below `root`, for /proc/PID/mounts and mountinfo.
  struct MountInfo {
    Ref<Mount> mount;
    std::string path;
    int parent_id;
  };
  std::vector<MountInfo> Mounts(const Path& root);

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
  Status Symlink(const WalkContext& ctx, std::string_view target, std::string_view path);
  Status Link(const WalkContext& ctx, const Path& target, std::string_view path);
  Status Unlink(const WalkContext& ctx, std::string_view path);
  Status Rmdir(const WalkContext& ctx, std::string_view path);
  Status Rename(const WalkContext& from, std::string_view old_path, const WalkContext& to,
                std::string_view new_path, uint32_t flags);

  Result<Attributes> GetAttributes(const Path& path) { return path.dentry->inode().GetAttributes(); }
  // With the permission rules of chmod, chown, utimensat and truncate.
  Status SetAttributes(const WalkContext& ctx, const Path& path, const AttributeChange& change);

  // The path of `path` as seen from `root`: what getcwd(2) and /proc show. Prefixed with
  // "(unreachable)" when it is not below the root, suffixed " (deleted)" when unlinked.
  std::string PathString(const Path& root, const Path& path);

  // MAY_* bits: R_OK, W_OK, X_OK as in access(2), with the credentials given.
  static Status CheckAccess(const Attributes& attributes, const Credentials& creds, int access);
  // Drops cached names that nobody uses.
  void ShrinkCaches();

 private:
  // The implementation's own members go here.
};

}  // namespace sentry

#endif  // SENTRY_FS_VFS_H_
