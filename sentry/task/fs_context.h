// Root, working directory and umask. Shared by tasks with CLONE_FS.
#ifndef SENTRY_TASK_FS_CONTEXT_H_
#define SENTRY_TASK_FS_CONTEXT_H_

#include <cstdint>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "sentry/fs/file.h"
#include "sentry/fs/mount.h"

namespace sentry {

class FsContext : public RefCounted {
 public:
  // `mounts`: what `root` and `cwd` are in.
  FsContext(Ref<MountNamespace> mounts, Path root, Path cwd, uint32_t umask);

  Ref<MountNamespace> mounts() const;
  // setns(2), unshare(2): into another namespace.
  void EnterMounts(Ref<MountNamespace> mounts, Path root, Path cwd);
  // Into a copy of its own (CLONE_NEWNS). EINVAL when it has none any more.
  Status CopyMounts(Vfs& vfs);
  // pivot_root(2): whoever stands in `from` stands in `to` now.
  void Replace(const Path& from, const Path& to);

  Path root() const;
  Path cwd() const;
  uint32_t umask() const;
  void set_root(Path root);
  void set_cwd(Path cwd);
  // Returns the old mask.
  uint32_t set_umask(uint32_t umask);
  Ref<FsContext> Copy() const;

 private:
  mutable absl::Mutex mu_;  // Leaf.
  Ref<MountNamespace> mounts_ ABSL_GUARDED_BY(mu_);
  Path root_ ABSL_GUARDED_BY(mu_);
  Path cwd_ ABSL_GUARDED_BY(mu_);
  uint32_t umask_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_TASK_FS_CONTEXT_H_
