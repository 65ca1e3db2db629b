// Mounts, and paths as text.
#include <limits.h>
#include <sys/mount.h>

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "sentry/fs/vfs.h"

namespace sentry {

namespace {

// A runaway guard against applications that mount in a loop; the limit of Linux.
constexpr size_t kMaxMounts = 100'000;
constexpr size_t kMaxPathText = size_t{2} * PATH_MAX;

Result<Ref<Dentry>> RootDentry(Ref<Inode> root) {
  const uint32_t mode = TRY(root->GetAttributes()).mode;
  return MakeRef<Dentry>(Ref<Dentry>(), "", std::move(root), mode);
}

}  // namespace

Path Vfs::MountRoot(Ref<Inode> root, std::string fs_type, std::string source, uint64_t flags) {
  Ref<Dentry> dentry = MakeRef<Dentry>(Ref<Dentry>(), "", std::move(root), uint32_t{S_IFDIR});
  Ref<Mount> mount =
      MakeRef<Mount>(std::move(dentry), std::move(fs_type), std::move(source), flags);
  absl::WriterMutexLock lock(&internal::tree_mu);
  mounts_.push_back(mount);
  return {mount, mount->root()};
}

Result<Ref<Mount>> Vfs::MountAt(const Path& at, Ref<Inode> root, std::string fs_type,
                                std::string source, uint64_t flags) {
  Ref<Dentry> dentry = TRY(RootDentry(std::move(root)));
  if (dentry->is_directory() != at.dentry->is_directory()) return Errno(ENOTDIR);
  Ref<Mount> mount =
      MakeRef<Mount>(std::move(dentry), std::move(fs_type), std::move(source), flags);
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (at.dentry->deleted_) return Errno(ENOENT);
  if (mounts_.size() >= kMaxMounts) return Errno(ENOSPC);
  if (at.dentry->mounts_ == UINT16_MAX) return Errno(ENOSPC);
  Mount*& here = mounted_on_[{at.mount.get(), at.dentry.get()}];
  if (here != nullptr) return Errno(EBUSY);
  here = mount.get();
  ++at.dentry->mounts_;
  mount->parent_ = at.mount;
  mount->mount_point_ = at.dentry;
  mounts_.push_back(mount);
  return mount;
}

Status Vfs::Unmount(const Path& at, int flags) {
  if (at.dentry != at.mount->root()) return Errno(EINVAL);
  // Released without the lock, mount points after the mounts.
  std::vector<Ref<Dentry>> points;
  std::vector<Ref<Mount>> gone;
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (!at.mount->parent_) return Errno(EBUSY);
  gone.push_back(at.mount);
  // Each mount that hangs on one that goes: parents come before children in mounts_.
  for (const Ref<Mount>& mount : mounts_) {
    if (mount->parent_ && std::find(gone.begin(), gone.end(), mount->parent_) != gone.end()) {
      gone.push_back(mount);
    }
  }
  if (gone.size() > 1 && (flags & MNT_DETACH) == 0) return Errno(EBUSY);
  for (const Ref<Mount>& mount : gone) {
    mounted_on_.erase({mount->parent_.get(), mount->mount_point_.get()});
    --mount->mount_point_->mounts_;
    points.push_back(std::move(mount->mount_point_));
    mounts_.erase(std::find(mounts_.begin(), mounts_.end(), mount));
  }
  std::vector<Ref<Mount>> parents;
  for (const Ref<Mount>& mount : gone) parents.push_back(std::move(mount->parent_));
  gone.insert(gone.end(), parents.begin(), parents.end());
  return kOk;
}

Mount* Vfs::MountedOn(const Mount& mount, const Dentry& dentry) const {
  const auto it = mounted_on_.find({&mount, &dentry});
  return it == mounted_on_.end() ? nullptr : it->second;
}

bool Vfs::IsMountPoint(const Dentry& dentry) const {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  return dentry.mounts_ != 0;
}

std::vector<Vfs::MountInfo> Vfs::Mounts(const Path& root) {
  std::vector<MountInfo> infos;
  absl::ReaderMutexLock lock(&internal::tree_mu);
  for (const Ref<Mount>& mount : mounts_) {
    std::string path = PathStringLocked(root, {mount, mount->root()});
    if (!path.starts_with('/')) continue;
    infos.push_back({.mount = mount,
                     .path = std::move(path),
                     .parent_id = mount->parent_ ? mount->parent_->id() : mount->id()});
  }
  return infos;
}

std::string Vfs::PathString(const Path& root, const Path& path) {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  return PathStringLocked(root, path);
}

std::string Vfs::PathStringLocked(const Path& root, const Path& path) const {
  const Mount* mount = path.mount.get();
  const Dentry* dentry = path.dentry.get();
  if (mount == anonymous_mount_.get()) return dentry->name_;
  absl::InlinedVector<std::string_view, 32> parts;  // From the last to the first.
  size_t length = 0;
  bool reachable = true;
  while (dentry != root.dentry.get() || mount != root.mount.get()) {
    if (dentry == mount->root_.get()) {
      if (!mount->parent_) {
        reachable = false;
        break;
      }
      dentry = mount->mount_point_.get();
      mount = mount->parent_.get();
      continue;
    }
    if (!dentry->parent_) break;
    if (length > kMaxPathText) break;
    parts.push_back(dentry->name_);
    length += dentry->name_.size() + 1;
    dentry = dentry->parent_.get();
  }
  std::string text = reachable ? "" : "(unreachable)";
  if (parts.empty()) text += '/';
  for (; !parts.empty(); parts.pop_back()) {
    text += '/';
    text += parts.back();
  }
  if (path.dentry->deleted_) text += " (deleted)";
  return text;
}

}  // namespace sentry
