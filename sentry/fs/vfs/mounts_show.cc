// Mounts and paths as text.
#include <limits.h>

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "sentry/fs/vfs.h"
#include "sentry/fs/vfs/mount_table.h"

namespace sentry {

namespace {

constexpr size_t kMaxPathText = size_t{2} * PATH_MAX;

}  // namespace

Vfs::MountInfo Vfs::DescribeLocked(const Mount& mount, const Path& root) const {
  MountInfo info{.mount = Ref<Mount>::Share(const_cast<Mount&>(mount)),
                 .path = {},
                 .root = {},
                 .parent_id = mount.parent_ ? mount.parent_->id() : mount.id(),
                 .parent_unique_id = mount.parent_ ? mount.parent_->unique_id() : mount.unique_id(),
                 .group = mount.group_,
                 .master = mount.master_,
                 .unbindable = mount.unbindable_};
  info.path = PathStringLocked(root, {info.mount, mount.root_});
  if (!info.path.starts_with('/')) info.path.clear();
  // From the root of the filesystem, whatever part is mounted.
  absl::InlinedVector<std::string_view, 16> parts;
  size_t length = 0;
  for (const Dentry* dentry = mount.root_.get(); dentry->parent_ && length < kMaxPathText;
       dentry = dentry->parent_.get()) {
    parts.emplace_back(dentry->name_text());
    length += dentry->name_size_ + size_t{1};
  }
  if (parts.empty()) info.root.push_back('/');
  for (; !parts.empty(); parts.pop_back()) {
    info.root.push_back('/');
    info.root.append(parts.back());
  }
  if (mount.root_->deleted_) info.root.append("//deleted");
  return info;
}

std::vector<Vfs::MountInfo> Vfs::AllMounts(MountNamespace& ns, const Path& root) {
  std::vector<MountInfo> infos;
  {
    absl::ReaderMutexLock lock(&internal::tree_mu);
    infos.reserve(ns.mounts_.size());
    for (const Ref<Mount>& mount : ns.mounts_) infos.push_back(DescribeLocked(*mount, root));
  }
  // As Linux lists them since 6.8: by their unique numbers.
  std::sort(infos.begin(), infos.end(),
            [](const MountInfo& a, const MountInfo& b) { return a.mount->id() < b.mount->id(); });
  return infos;
}

std::vector<Vfs::MountInfo> Vfs::Mounts(const Path& root) {
  const Ref<MountNamespace> ns = NamespaceOf(*root.mount);
  if (!ns) return {};
  std::vector<MountInfo> infos = AllMounts(*ns, root);
  std::erase_if(infos, [](const MountInfo& info) { return info.path.empty(); });
  return infos;
}

std::string Vfs::PathString(const Path& root, const Path& path) {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  return PathStringLocked(root, path);
}

std::string Vfs::PathStringLocked(const Path& root, const Path& path) const {
  const Mount* mount = path.mount.get();
  const Dentry* dentry = path.dentry.get();
  if (mount == anonymous_mount_.get()) return std::string(dentry->name_text());
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
    parts.emplace_back(dentry->name_text());
    length += dentry->name_size_ + size_t{1};
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
