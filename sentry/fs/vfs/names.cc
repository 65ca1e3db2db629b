// Operations that make and remove names.
#include <limits.h>
#include <linux/capability.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <utility>

#include "sentry/fs/notify.h"
#include "sentry/fs/vfs.h"
#include "sentry/fs/vfs/permissions.h"

namespace sentry {

Status Vfs::CheckFreeName(const Place& place, bool directory) {
  const Ref<Dentry> child = TRY(LookupLocked(place.parent.dentry, place.name));
  if (!child->negative()) return Errno(EEXIST);
  if (place.trailing_slash && !directory) return Errno(ENOENT);
  if (place.parent.mount->read_only()) return Errno(EROFS);
  if (place.parent.dentry->unhashed()) return Errno(ENOENT);
  return kOk;
}

Status Vfs::CheckCreatable(const WalkContext& ctx, const Place& place, bool directory) {
  TRY(CheckFreeName(place, directory));
  return CheckAccess(TRY(GetAttributes(place.parent)), ctx.creds, W_OK | X_OK);
}

// inode_init_owner() and mode_strip_sgid() of Linux.
Result<NewNode> Vfs::MakeNode(const WalkContext& ctx, const Path& parent, uint32_t mode) {
  const Attributes directory = TRY(GetAttributes(parent));
  NewNode node{.mode = mode, .uid = ctx.creds.fsuid, .gid = ctx.creds.fsgid};
  if ((directory.mode & S_ISGID) == 0) return node;
  node.gid = directory.gid;
  if (S_ISDIR(mode)) {
    node.mode |= S_ISGID;
  } else if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
             !InGroup(ctx.creds, directory.gid) && !ctx.creds.HasCapability(CAP_FSETID)) {
    node.mode &= ~uint32_t{S_ISGID};
  }
  return node;
}

Status Vfs::Mkdir(const WalkContext& ctx, std::string_view path, uint32_t mode) {
  const Place place = TRY(WalkToParent(ctx, path, 0));
  if (!place.ordinary()) return Errno(EEXIST);
  absl::WriterMutexLock lock(&DirectoryLock(*place.parent.dentry));
  TRY(CheckCreatable(ctx, place, true));
  const uint32_t bits = mode & (0777 | S_ISVTX) & ~ctx.umask;
  const NewNode node = TRY(MakeNode(ctx, place.parent, S_IFDIR | bits));
  Inode& parent = place.parent.dentry->inode();
  Ref<Inode> made = TRY(WithRoom([&] { return parent.Mkdir(place.name, node); }));
  TRY(Remember(place.parent.dentry, place.name, std::move(made)));
  notify::OnEntry(place.parent.dentry->inode(), place.name, IN_CREATE | IN_ISDIR);
  return kOk;
}

Status Vfs::Mknod(const WalkContext& ctx, std::string_view path, uint32_t mode, uint64_t rdev) {
  if ((mode & S_IFMT) == 0) mode |= S_IFREG;
  switch (mode & S_IFMT) {
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
      rdev = 0;
      break;
    case S_IFCHR:
    case S_IFBLK:
      break;
    case S_IFDIR:
      return Errno(EPERM);
    default:
      return Errno(EINVAL);
  }
  return MakeNodeAt(ctx, path, {.mode = mode, .rdev = rdev});
}

Status Vfs::MakeSocket(const WalkContext& ctx, std::string_view path, uint32_t permissions,
                       int type) {
  return MakeNodeAt(ctx, path, {.mode = S_IFSOCK | permissions, .socket_type = type});
}

Status Vfs::MakeNodeAt(const WalkContext& ctx, std::string_view path, const NewNode& wanted) {
  const uint32_t mode = wanted.mode;
  const Place place = TRY(WalkToParent(ctx, path, 0));
  if (!place.ordinary()) return Errno(EEXIST);
  absl::WriterMutexLock lock(&DirectoryLock(*place.parent.dentry));
  TRY(CheckCreatable(ctx, place, false));
  if ((S_ISCHR(mode) || S_ISBLK(mode)) && !ctx.creds.HasCapability(CAP_MKNOD)) {
    return Errno(EPERM);
  }
  NewNode node = TRY(MakeNode(ctx, place.parent, (mode & S_IFMT) | (mode & 07777 & ~ctx.umask)));
  node.rdev = wanted.rdev;
  node.socket_type = wanted.socket_type;
  Inode& parent = place.parent.dentry->inode();
  Ref<Inode> made = TRY(WithRoom([&] { return parent.Create(place.name, node); }));
  TRY(Remember(place.parent.dentry, place.name, std::move(made)));
  notify::OnEntry(place.parent.dentry->inode(), place.name, IN_CREATE);
  return kOk;
}

Status Vfs::Symlink(const WalkContext& ctx, std::string_view target, std::string_view path) {
  if (target.empty()) return Errno(ENOENT);
  if (target.size() >= PATH_MAX) return Errno(ENAMETOOLONG);
  const Place place = TRY(WalkToParent(ctx, path, 0));
  if (!place.ordinary()) return Errno(EEXIST);
  absl::WriterMutexLock lock(&DirectoryLock(*place.parent.dentry));
  TRY(CheckCreatable(ctx, place, false));
  const NewNode node = TRY(MakeNode(ctx, place.parent, S_IFLNK | 0777));
  Inode& parent = place.parent.dentry->inode();
  Ref<Inode> made = TRY(WithRoom([&] { return parent.Symlink(place.name, target, node); }));
  TRY(Remember(place.parent.dentry, place.name, std::move(made)));
  notify::OnEntry(place.parent.dentry->inode(), place.name, IN_CREATE);
  return kOk;
}

Status Vfs::Link(const WalkContext& ctx, const Path& target, std::string_view path) {
  const Place place = TRY(WalkToParent(ctx, path, 0));
  if (!place.ordinary()) return Errno(EEXIST);
  bool linkable;
  {
    absl::ReaderMutexLock lock(&internal::tree_mu);
    linkable = target.dentry->linkable_;
  }
  absl::WriterMutexLock lock(&DirectoryLock(*place.parent.dentry));
  TRY(CheckFreeName(place, false));
  if (target.mount != place.parent.mount) return Errno(EXDEV);
  Inode& inode = target.dentry->inode();
  const Attributes attributes = TRY(inode.GetAttributes());
  TRY(protections_.CheckLink(attributes, ctx.creds));
  TRY(CheckAccess(TRY(GetAttributes(place.parent)), ctx.creds, W_OK | X_OK));
  if (S_ISDIR(attributes.mode)) return Errno(EPERM);
  if (attributes.nlink == 0 && !linkable) return Errno(ENOENT);
  TRY(place.parent.dentry->inode().Link(place.name, inode));
  inode.InvalidateAttributes();
  TRY(Remember(place.parent.dentry, place.name, target.dentry->inode_ref()));
  notify::OnInode(inode, IN_ATTRIB);
  notify::OnEntry(place.parent.dentry->inode(), place.name, IN_CREATE);
  return kOk;
}

// may_delete() of Linux.
Status Vfs::CheckRemovable(const WalkContext& ctx, const Path& parent, Dentry& victim,
                           bool directory) {
  const Attributes parent_attributes = TRY(GetAttributes(parent));
  TRY(CheckAccess(parent_attributes, ctx.creds, W_OK | X_OK));
  if ((parent_attributes.mode & S_ISVTX) != 0) {
    TRY(CheckSticky(ctx.creds, parent_attributes, TRY(victim.inode().GetAttributes())));
  }
  if (directory && !victim.is_directory()) return Errno(ENOTDIR);
  if (!directory && victim.is_directory()) return Errno(EISDIR);
  if (IsMountPoint(*parent.mount, victim)) return Errno(EBUSY);
  return kOk;
}

Status Vfs::Remove(const WalkContext& ctx, const Place& place, bool directory) {
  const Ref<Dentry>& parent = place.parent.dentry;
  if (place.parent.mount->read_only()) return Errno(EROFS);
  Ref<Dentry> victim;
  absl::WriterMutexLock lock(&DirectoryLock(*parent));
  victim = TRY(LookupLocked(parent, place.name));
  if (victim->negative()) return Errno(ENOENT);
  if (!directory && place.trailing_slash) {
    return Errno(victim->is_directory() ? EISDIR : ENOTDIR);
  }
  TRY(CheckRemovable(ctx, place.parent, *victim, directory));
  TRY(directory ? parent->inode().Rmdir(place.name) : parent->inode().Unlink(place.name));
  victim->inode().InvalidateAttributes();
  Forget(*victim);
  DetachMounts(*victim);
  if (!directory) notify::OnInode(victim->inode(), IN_ATTRIB);
  notify::OnRelease(*victim, 1);
  notify::OnEntry(parent->inode(), place.name,
                  directory ? uint32_t{IN_DELETE | IN_ISDIR} : uint32_t{IN_DELETE});
  return kOk;
}

Status Vfs::Unlink(const WalkContext& ctx, std::string_view path) {
  const Place place = TRY(WalkToParent(ctx, path, 0));
  if (!place.ordinary()) return Errno(EISDIR);
  return Remove(ctx, place, false);
}

Status Vfs::Rmdir(const WalkContext& ctx, std::string_view path) {
  const Place place = TRY(WalkToParent(ctx, path, 0));
  if (place.name == "..") return Errno(ENOTEMPTY);
  if (place.name == ".") return Errno(EINVAL);
  if (place.name.empty()) return Errno(EBUSY);
  return Remove(ctx, place, true);
}

}  // namespace sentry
