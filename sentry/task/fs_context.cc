#include "sentry/task/fs_context.h"

#include <utility>

#include "sentry/fs/vfs.h"

namespace sentry {

FsContext::FsContext(Ref<MountNamespace> mounts, Path root, Path cwd, uint32_t umask)
    : mounts_(std::move(mounts)), root_(std::move(root)), cwd_(std::move(cwd)), umask_(umask) {}

Ref<MountNamespace> FsContext::mounts() const {
  absl::MutexLock lock(&mu_);
  return mounts_;
}

void FsContext::EnterMounts(Ref<MountNamespace> mounts, Path root, Path cwd) {
  absl::MutexLock lock(&mu_);
  std::swap(mounts_, mounts);
  std::swap(root_, root);
  std::swap(cwd_, cwd);
}

Status FsContext::CopyMounts(Vfs& vfs) {
  const Ref<MountNamespace> old = mounts();
  if (!old) return Errno(EINVAL);
  Path new_root = root(), new_cwd = cwd();
  Ref<MountNamespace> copy = TRY(vfs.CopyNamespace(*old, {&new_root, &new_cwd}));
  EnterMounts(std::move(copy), std::move(new_root), std::move(new_cwd));
  return kOk;
}

void FsContext::Replace(const Path& from, const Path& to) {
  Path old_root, old_cwd;  // Released without the lock.
  const auto is_old = [&from](const Path& path) {
    return path.mount == from.mount && path.dentry == from.dentry;
  };
  absl::MutexLock lock(&mu_);
  if (is_old(root_)) old_root = std::exchange(root_, to);
  if (is_old(cwd_)) old_cwd = std::exchange(cwd_, to);
}

Path FsContext::root() const {
  absl::MutexLock lock(&mu_);
  return root_;
}

Path FsContext::cwd() const {
  absl::MutexLock lock(&mu_);
  return cwd_;
}

uint32_t FsContext::umask() const {
  absl::MutexLock lock(&mu_);
  return umask_;
}

// The old path is released by the parameter, with no lock held.
void FsContext::set_root(Path root) {
  absl::MutexLock lock(&mu_);
  std::swap(root_, root);
}

void FsContext::set_cwd(Path cwd) {
  absl::MutexLock lock(&mu_);
  std::swap(cwd_, cwd);
}

uint32_t FsContext::set_umask(uint32_t umask) {
  absl::MutexLock lock(&mu_);
  return std::exchange(umask_, umask & 0777);
}

Ref<FsContext> FsContext::Copy() const {
  absl::MutexLock lock(&mu_);
  return MakeRef<FsContext>(mounts_, root_, cwd_, umask_);
}

}  // namespace sentry
