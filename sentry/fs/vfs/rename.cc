// rename(2), renameat2(2).
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "sentry/fs/notify.h"
#include "sentry/fs/vfs.h"
#include "sentry/fs/vfs/permissions.h"

namespace sentry {

Status Vfs::Rename(const WalkContext& from_ctx, std::string_view old_path,
                   const WalkContext& to_ctx, std::string_view new_path, uint32_t flags) {
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) != 0) return Errno(EINVAL);
  if ((flags & RENAME_EXCHANGE) != 0 && flags != RENAME_EXCHANGE) return Errno(EINVAL);
  const Place from = TRY(WalkToParent(from_ctx, old_path, 0));
  const Place to = TRY(WalkToParent(to_ctx, new_path, 0));
  if (from.parent.mount != to.parent.mount) return Errno(EXDEV);
  if (!from.ordinary()) return Errno(EBUSY);
  if (!to.ordinary()) return Errno((flags & RENAME_NOREPLACE) != 0 ? EEXIST : EBUSY);
  if (from.parent.mount->read_only()) return Errno(EROFS);

  const size_t first = DirectoryLockIndex(*from.parent.dentry);
  const size_t second = DirectoryLockIndex(*to.parent.dentry);
  if (from.parent.dentry == to.parent.dentry) {
    absl::WriterMutexLock lock(&directory_locks_[first]);
    return RenameLocked(from_ctx, from, to, flags);
  }
  absl::MutexLock rename_lock(&rename_mu_[from.parent.dentry->inode().StackDepth()]);
  absl::WriterMutexLock low(&directory_locks_[std::min(first, second)]);
  if (first == second) return RenameLocked(from_ctx, from, to, flags);
  absl::WriterMutexLock high(&directory_locks_[std::max(first, second)]);
  return RenameLocked(from_ctx, from, to, flags);
}

Status Vfs::CheckRename(const WalkContext& ctx, const Place& from, const Place& to, Dentry& source,
                        Dentry& target, uint32_t flags) {
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if (source.negative()) return Errno(ENOENT);
  if ((flags & RENAME_NOREPLACE) != 0 && !target.negative()) return Errno(EEXIST);
  if (exchange) {
    if (target.negative()) return Errno(ENOENT);
    if (!target.is_directory() && to.trailing_slash) return Errno(ENOTDIR);
  }
  if (!source.is_directory() && (from.trailing_slash || (!exchange && to.trailing_slash))) {
    return Errno(ENOTDIR);
  }
  if (source.IsAncestorOf(*to.parent.dentry)) return Errno(EINVAL);
  if (!target.negative() && target.IsAncestorOf(*from.parent.dentry)) {
    return Errno(exchange ? EINVAL : ENOTEMPTY);
  }
  return kOk;
}

namespace {

// fsnotify_move() of Linux.
void TellMove(Inode& from, std::string_view old_name, Inode& to, std::string_view new_name,
              const Dentry& moved) {
  const uint32_t directory = moved.is_directory() ? uint32_t{IN_ISDIR} : 0;
  const uint32_t cookie = notify::NextCookie();
  notify::OnEntry(from, old_name, IN_MOVED_FROM | directory, cookie);
  notify::OnEntry(to, new_name, IN_MOVED_TO | directory, cookie);
}

void TellMoves(const VfsPlace& from, const VfsPlace& to, const Dentry& source, const Dentry& target,
               bool exchange) {
  Inode& old_parent = from.parent.dentry->inode();
  Inode& new_parent = to.parent.dentry->inode();
  TellMove(old_parent, from.name, new_parent, to.name, source);
  const bool replaced = !exchange && !target.negative();
  if (replaced) notify::OnInode(target.inode(), IN_ATTRIB);
  notify::OnInode(source.inode(), IN_MOVE_SELF);
  if (exchange) {
    TellMove(new_parent, to.name, old_parent, from.name, target);
    notify::OnInode(target.inode(), IN_MOVE_SELF);
  }
  if (replaced) notify::OnRelease(target, 1);
}

}  // namespace

Status Vfs::RenameLocked(const WalkContext& ctx, const Place& from, const Place& to,
                         uint32_t flags) {
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  const Ref<Dentry> source = TRY(LookupLocked(from.parent.dentry, from.name));
  const Ref<Dentry> target = TRY(LookupLocked(to.parent.dentry, to.name));
  TRY(CheckRename(ctx, from, to, *source, *target, flags));
  if (!target->negative() && source->inode_ref() == target->inode_ref()) return kOk;

  TRY(CheckRemovable(ctx, from.parent, *source, source->is_directory()));
  if (target->negative()) {
    if (to.parent.dentry->unhashed()) return Errno(ENOENT);
    TRY(CheckAccess(TRY(GetAttributes(to.parent)), ctx.creds, W_OK | X_OK));
  } else {
    const bool directory = exchange ? target->is_directory() : source->is_directory();
    TRY(CheckRemovable(ctx, to.parent, *target, directory));
  }
  // A directory that moves gets a new "..".
  const bool moves = from.parent.dentry != to.parent.dentry;
  if (moves && source->is_directory()) {
    TRY(CheckAccess(TRY(source->inode().GetAttributes()), ctx.creds, W_OK));
  }
  if (moves && exchange && target->is_directory()) {
    TRY(CheckAccess(TRY(target->inode().GetAttributes()), ctx.creds, W_OK));
  }
  Inode& old_parent = from.parent.dentry->inode();
  Inode& new_parent = to.parent.dentry->inode();
  if ((flags & RENAME_WHITEOUT) == 0) {
    TRY(old_parent.Rename(from.name, new_parent, to.name, flags));
  } else {
    // Belongs to who renames, and nobody has rights to it.
    const NewNode whiteout = TRY(MakeNode(ctx, from.parent, S_IFCHR));
    TRY(old_parent.RenameLeaving(from.name, new_parent, to.name, whiteout));
  }
  if (!target->negative()) target->inode().InvalidateAttributes();
  source->inode().InvalidateAttributes();
  MoveNames(*source, to.parent.dentry, to.name, target.get(), flags);
  if (!target->negative() && !exchange) DetachMounts(*target);
  if (notify::AnyMarks()) TellMoves(from, to, *source, *target, exchange);
  return kOk;
}

}  // namespace sentry
