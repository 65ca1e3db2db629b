// Mounts and mount namespaces: mount(2) and its kin without their arguments.
#include <sys/mount.h>

#include <algorithm>
#include <utility>

#include "sentry/fs/vfs.h"
#include "sentry/fs/vfs/mount_table.h"

namespace sentry {

namespace {

uint64_t NumberFor(MountNamespace::Kind kind) {
  if (kind == MountNamespace::Kind::kDetached) return 0;
  static std::atomic<bool> has_first{false};
  return has_first.exchange(true) ? Namespace::NextIno()
                                  : Namespace::FirstIno(NamespaceKind::kMount);
}

Ref<Mount> NewMount(Ref<Superblock> superblock, std::string source, uint64_t flags) {
  const Ref<Dentry> root = superblock->root();
  return MakeRef<Mount>(std::move(superblock), root, std::move(source), flags);
}

// What mount(2) makes of flags that say nothing of access times.
uint64_t WithAtime(uint64_t flags) {
  return (flags & (MS_NOATIME | MS_STRICTATIME)) != 0 ? flags : flags | MS_RELATIME;
}

}  // namespace

MountNamespace::MountNamespace(Vfs& vfs, Kind kind)
    : Namespace(NamespaceKind::kMount, NumberFor(kind)), vfs_(vfs), kind_(kind) {}

MountNamespace::~MountNamespace() { vfs_.Dissolve(*this); }

void MountNamespace::Changed() {
  events_.fetch_add(1, std::memory_order_relaxed);
  changed_.Notify(POLLERR | POLLPRI);
}

void Vfs::Dissolve(MountNamespace& ns) {
  MountTable::Garbage garbage;
  absl::WriterMutexLock lock(&internal::tree_mu);
  mounts_->Dissolve(ns, garbage);
}

Result<Ref<Superblock>> Vfs::NewSuperblock(Ref<Inode> root, std::string fs_type) {
  const Attributes attributes = TRY(root->GetAttributes());
  Ref<Dentry> dentry = Dentry::Make(Ref<Dentry>(), "", std::move(root), attributes.mode);
  Ref<Superblock> superblock =
      MakeRef<Superblock>(std::move(dentry), std::move(fs_type), attributes.dev);
  superblock->set_read_only(superblock->root()->inode().ReadOnlyFilesystem());
  return superblock;
}

Path Vfs::MountRoot(Ref<Inode> root, std::string fs_type, std::string source, uint64_t flags) {
  const Result<Attributes> attributes = root->GetAttributes();
  Ref<Dentry> dentry = Dentry::Make(Ref<Dentry>(), "", std::move(root), uint32_t{S_IFDIR});
  const Ref<Superblock> superblock = MakeRef<Superblock>(std::move(dentry), std::move(fs_type),
                                                         attributes.ok() ? attributes->dev : 0);
  const Ref<Mount> mount = NewMount(superblock, std::move(source), WithAtime(flags));
  const Ref<MountNamespace> ns = MakeRef<MountNamespace>(*this, MountNamespace::Kind::kNamed);
  absl::WriterMutexLock lock(&internal::tree_mu);
  root_namespaces_.push_back(ns);
  mounts_->SetRoot(*ns, {mount});
  return {mount, mount->root()};
}

Result<Ref<Mount>> Vfs::MountAt(const Path& at, Ref<Inode> root, std::string fs_type,
                                std::string source, uint64_t flags) {
  Ref<Superblock> superblock = TRY(NewSuperblock(std::move(root), std::move(fs_type)));
  if ((flags & MS_RDONLY) != 0) superblock->set_read_only(true);
  return MountAt(at, std::move(superblock), std::move(source), WithAtime(flags));
}

Result<Ref<Mount>> Vfs::MountAt(const Path& at, Ref<Superblock> superblock, std::string source,
                                uint64_t flags) {
  if (superblock->root()->is_directory() != at.dentry->is_directory()) return Errno(ENOTDIR);
  Ref<Mount> mount = NewMount(std::move(superblock), std::move(source), flags);
  MountTable::Garbage garbage;
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (at.dentry->deleted_) return Errno(ENOENT);
  if (at.mount->ns_ == nullptr) return Errno(EINVAL);
  const auto [parent, point] = mounts_->Topmost(*at.mount, *at.dentry);
  TRY(mounts_->Join({mount}, *parent, *point, garbage));
  return mount;
}

bool Vfs::SeesLocked(const MountNamespace& ns, const Path& path) const {
  return path.mount->ns_ == &ns;
}

Status Vfs::Bind(MountNamespace& ns, const Path& from, const Path& at, bool recursive) {
  MountTable::Garbage garbage;
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (!SeesLocked(ns, at)) return Errno(EINVAL);
  // may_copy_tree(): what /proc/PID/ns leads to is in no namespace of mounts.
  if (!from.dentry->inode().BindsAnywhere()) {
    if (from.mount->ns_ == nullptr) return Errno(EINVAL);
    if (!SeesLocked(ns, from) && !from.mount->ns_->detached()) return Errno(EINVAL);
  }
  if (from.mount->unbindable_) return Errno(EINVAL);
  if (at.dentry->deleted_) return Errno(ENOENT);
  if (from.dentry->is_directory() != at.dentry->is_directory()) return Errno(ENOTDIR);
  MountTable::Tree tree;
  if (recursive) {
    tree = mounts_->CopyTree(*from.mount, *from.dentry, {});
  } else {
    tree.push_back(mounts_->CopyMount(*from.mount, *from.dentry, {}));
  }
  const auto [parent, point] = mounts_->Topmost(*at.mount, *at.dentry);
  return mounts_->Join(std::move(tree), *parent, *point, garbage);
}

// do_move_mount() of Linux.
Status Vfs::Move(MountNamespace& ns, const Path& from, const Path& at) {
  MountTable::Garbage garbage;
  absl::WriterMutexLock lock(&internal::tree_mu);
  Mount& moved = *from.mount;
  if (!SeesLocked(ns, at) || !SeesLocked(ns, from)) return Errno(EINVAL);
  if (from.dentry != moved.root_ || !moved.parent_) return Errno(EINVAL);
  if (moved.parent_->group_ != 0) return Errno(EINVAL);
  if (at.dentry->deleted_) return Errno(ENOENT);
  if (from.dentry->is_directory() != at.dentry->is_directory()) return Errno(EINVAL);
  const auto [parent, point] = mounts_->Topmost(*at.mount, *at.dentry);
  const MountTable::Tree tree = MountTable::Subtree(moved);
  for (const Ref<Mount>& mount : tree) {
    if (mount.get() == parent) return Errno(ELOOP);
    if (mount->unbindable_ && parent->group_ != 0) return Errno(EINVAL);
  }
  const Ref<Mount> old_parent = moved.parent_;
  const Ref<Dentry> old_point = moved.mount_point_;
  mounts_->Lift(moved, garbage);
  const Status joined = mounts_->Join(tree, *parent, *point, garbage);
  if (!joined.ok()) mounts_->Put(moved, *old_parent, *old_point);
  garbage.mounts.push_back(old_parent);
  garbage.dentries.push_back(old_point);
  garbage.mounts.insert(garbage.mounts.end(), tree.begin(), tree.end());
  ns.Changed();
  return joined;
}

Status Vfs::SetMountFlags(MountNamespace& ns, const Path& at, uint64_t set, uint64_t clear,
                          bool recursive) {
  MountTable::Tree tree;
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (at.mount->ns_ == nullptr || at.dentry != at.mount->root_) return Errno(EINVAL);
  if (!SeesLocked(ns, at) && !at.mount->ns_->detached()) return Errno(EINVAL);
  tree = recursive ? MountTable::Subtree(*at.mount) : MountTable::Tree{at.mount};
  if ((set & MS_RDONLY) != 0) {
    for (const Ref<Mount>& mount : tree) {
      if (mount->writers_.load(std::memory_order_relaxed) != 0) return Errno(EBUSY);
    }
  }
  for (const Ref<Mount>& mount : tree) {
    mount->flags_.store(((mount->flags() & ~clear) | set) & Mount::kFlags,
                        std::memory_order_relaxed);
  }
  at.mount->ns_->Changed();
  return kOk;
}

Status Vfs::SetReadOnly(MountNamespace& ns, const Path& at, bool read_only) {
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (!SeesLocked(ns, at) || at.dentry != at.mount->root_) return Errno(EINVAL);
  Superblock& superblock = at.mount->superblock();
  if (read_only && superblock.writers() != 0) return Errno(EBUSY);
  if (!read_only && superblock.root()->inode().ReadOnlyFilesystem()) return Errno(EROFS);
  superblock.set_read_only(read_only);
  ns.Changed();
  return kOk;
}

Status Vfs::SetPropagation(MountNamespace& ns, const Path& at, Propagation type, bool recursive) {
  MountTable::Tree tree;
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (at.mount->ns_ == nullptr || at.dentry != at.mount->root_) return Errno(EINVAL);
  if (!SeesLocked(ns, at) && !at.mount->ns_->detached()) return Errno(EINVAL);
  tree = recursive ? MountTable::Subtree(*at.mount) : MountTable::Tree{at.mount};
  for (const Ref<Mount>& mount : tree) mounts_->SetPropagation(*mount, type);
  at.mount->ns_->Changed();
  return kOk;
}

Status Vfs::Unmount(MountNamespace& ns, const Path& at, int flags) {
  MountTable::Garbage garbage;
  absl::WriterMutexLock lock(&internal::tree_mu);
  // "." may have been mounted over since.
  const auto [mount, dentry] = mounts_->Topmost(*at.mount, *at.dentry);
  if (mount->ns_ != &ns || dentry != mount->root_.get()) return Errno(EINVAL);
  if (!mount->parent_) return Errno(EBUSY);
  // The namespace's reference and, as a rule, the caller's.
  const uint32_t own_references = mount == at.mount.get() ? 2 : 1;
  const bool busy = !mount->children_.empty() || mount->ref_count() > own_references;
  if (busy && (flags & MNT_DETACH) == 0) return Errno(EBUSY);
  if ((flags & MNT_EXPIRE) != 0 && !std::exchange(mount->expiring_, true)) return Errno(EAGAIN);
  mounts_->Remove(*mount, garbage);
  return kOk;
}

Status Vfs::PivotRoot(MountNamespace& ns, const Path& root, const Path& new_root,
                      const Path& put_old) {
  MountTable::Garbage garbage;
  absl::WriterMutexLock lock(&internal::tree_mu);
  Mount& old_mount = *root.mount;
  Mount& new_mount = *new_root.mount;
  if (!SeesLocked(ns, root) || !SeesLocked(ns, new_root) || !SeesLocked(ns, put_old)) {
    return Errno(EINVAL);
  }
  const bool shared = put_old.mount->group_ != 0 ||
                      (new_mount.parent_ && new_mount.parent_->group_ != 0) ||
                      (old_mount.parent_ && old_mount.parent_->group_ != 0);
  if (shared) return Errno(EINVAL);
  if (new_root.dentry->deleted_) return Errno(ENOENT);
  if (&new_mount == &old_mount || put_old.mount.get() == &old_mount) return Errno(EBUSY);
  if (root.dentry != old_mount.root_ || new_root.dentry != new_mount.root_ || !new_mount.parent_) {
    return Errno(EINVAL);
  }
  // `put_old` must be at or below the new root, and that below the old one.
  if (!IsReachableLocked(put_old, new_root) || !IsReachableLocked(new_root, root)) {
    return Errno(EINVAL);
  }
  const Ref<Mount> above = old_mount.parent_;
  const Ref<Dentry> point = old_mount.mount_point_;
  garbage.mounts.push_back(above);
  garbage.dentries.push_back(point);
  mounts_->Lift(new_mount, garbage);
  if (above) mounts_->Lift(old_mount, garbage);
  if (above) {
    mounts_->Put(new_mount, *above, *point);
  } else {
    ns.root_ = &new_mount;
  }
  const auto [parent, old_point] = mounts_->Topmost(*put_old.mount, *put_old.dentry);
  mounts_->Put(old_mount, *parent, *old_point);
  ns.Changed();
  return kOk;
}

bool Vfs::IsReachableLocked(const Path& path, const Path& from) const {
  const Mount* mount = path.mount.get();
  const Dentry* dentry = path.dentry.get();
  while (mount != from.mount.get()) {
    if (!mount->parent_) return false;
    dentry = mount->mount_point_.get();
    mount = mount->parent_.get();
  }
  return from.dentry->IsAncestorOfLocked(*dentry);
}

Result<Ref<MountNamespace>> Vfs::CopyNamespace(MountNamespace& ns, std::vector<Path*> places) {
  Ref<MountNamespace> copy = MakeRef<MountNamespace>(*this, MountNamespace::Kind::kNamed);
  MountTable::Garbage garbage;
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (ns.root_ == nullptr) return Errno(EINVAL);
  MountTable::Tree originals;
  MountTable::Tree copies =
      mounts_->CopyTree(*ns.root_, *ns.root_->root_, {.leaves_unbindable = false}, &originals);
  for (Path* const place : places) {
    const auto it = std::find(originals.begin(), originals.end(), place->mount);
    if (it == originals.end()) continue;
    garbage.mounts.push_back(
        std::exchange(place->mount, copies[static_cast<size_t>(it - originals.begin())]));
  }
  mounts_->SetRoot(*copy, copies);
  garbage.mounts.insert(garbage.mounts.end(), originals.begin(), originals.end());
  return copy;
}

Result<Path> Vfs::CloneDetached(MountNamespace& ns, const Path& from, bool recursive,
                                Ref<MountNamespace>& holder, bool is_private) {
  Ref<MountNamespace> detached = MakeRef<MountNamespace>(*this, MountNamespace::Kind::kDetached);
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (from.mount->ns_ == nullptr || from.mount->unbindable_) return Errno(EINVAL);
  if (!SeesLocked(ns, from) && !from.mount->ns_->detached()) return Errno(EINVAL);
  MountTable::Tree tree;
  if (recursive) {
    tree = mounts_->CopyTree(*from.mount, *from.dentry, {});
  } else {
    tree.push_back(mounts_->CopyMount(*from.mount, *from.dentry, {}));
  }
  // clone_private_mount() of Linux: what is mounted elsewhere does not come here, too.
  if (is_private) mounts_->SetPropagation(*tree.front(), Propagation{MS_PRIVATE});
  const Ref<Mount> root = tree.front();
  mounts_->SetRoot(*detached, std::move(tree));
  holder = std::move(detached);
  return Path{root, root->root_};
}

Path Vfs::MountDetached(Ref<Superblock> superblock, std::string source, uint64_t flags,
                        Ref<MountNamespace>& holder) {
  holder = MakeRef<MountNamespace>(*this, MountNamespace::Kind::kDetached);
  const Ref<Mount> mount = NewMount(std::move(superblock), std::move(source), flags);
  absl::WriterMutexLock lock(&internal::tree_mu);
  mounts_->SetRoot(*holder, {mount});
  return {mount, mount->root()};
}

Status Vfs::AttachDetached(MountNamespace& ns, MountNamespace& detached, const Mount& source,
                           const Path& at) {
  MountTable::Garbage garbage;
  absl::WriterMutexLock lock(&internal::tree_mu);
  // Whole trees only: not a mount that hangs on another one.
  if (!SeesLocked(ns, at) || detached.root_ == nullptr || detached.root_ != &source) {
    return Errno(EINVAL);
  }
  if (at.dentry->deleted_) return Errno(ENOENT);
  if (detached.root_->root_->is_directory() != at.dentry->is_directory()) return Errno(EINVAL);
  const auto [parent, point] = mounts_->Topmost(*at.mount, *at.dentry);
  MountTable::Tree tree = MountTable::Subtree(*detached.root_);
  garbage.mounts.insert(garbage.mounts.end(), tree.begin(), tree.end());
  TRY(mounts_->Join(std::move(tree), *parent, *point, garbage));
  detached.root_ = nullptr;
  return kOk;
}

Ref<MountNamespace> Vfs::NamespaceOf(const Mount& mount) {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  if (mount.ns_ == nullptr || !mount.ns_->TryAddRef()) return {};
  return Ref<MountNamespace>::Adopt(mount.ns_);
}

Result<Path> Vfs::RootOf(MountNamespace& ns) {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  if (ns.root_ == nullptr) return Errno(EINVAL);
  const auto [mount, dentry] = mounts_->Topmost(*ns.root_, *ns.root_->root_);
  return Path{Ref<Mount>::Share(*mount), Ref<Dentry>::Share(*dentry)};
}

Mount* Vfs::MountedOn(const Mount& mount, const Dentry& dentry) const {
  return mounts_->MountedOn(mount, dentry);
}

bool Vfs::IsMountPoint(const Mount& parent, const Dentry& dentry) const {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  if (dentry.mounts_ == 0) return false;
  const std::vector<Mount*> mounts = mounts_->MountsOn(dentry);
  return std::any_of(mounts.begin(), mounts.end(),
                     [&parent](const Mount* mount) { return mount->ns_ == parent.ns_; });
}

void Vfs::DetachMounts(const Dentry& dentry) {
  MountTable::Garbage garbage;
  {
    absl::ReaderMutexLock lock(&internal::tree_mu);
    if (dentry.mounts_ == 0) return;
  }
  absl::WriterMutexLock lock(&internal::tree_mu);
  for (Mount* const mount : mounts_->MountsOn(dentry)) {
    // Propagation may have taken it with another.
    if (mount->ns_ != nullptr) mounts_->Remove(*mount, garbage);
  }
}

}  // namespace sentry
