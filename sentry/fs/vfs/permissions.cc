// Who may do what to an inode.
#include "sentry/fs/vfs/permissions.h"

#include <linux/capability.h>
#include <linux/xattr.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "sentry/fs/notify.h"
#include "sentry/fs/vfs.h"

namespace sentry {

bool InGroup(const Credentials& creds, uint32_t gid) {
  return creds.fsgid == gid ||
         std::find(creds.groups.begin(), creds.groups.end(), gid) != creds.groups.end();
}

bool OwnerOrCapable(const Credentials& creds, const Attributes& attributes) {
  return creds.fsuid == attributes.uid || creds.HasCapability(CAP_FOWNER);
}

Status CheckSticky(const Credentials& creds, const Attributes& directory,
                   const Attributes& victim) {
  const bool sticky = (directory.mode & S_ISVTX) != 0 && victim.uid != creds.fsuid &&
                      directory.uid != creds.fsuid && !creds.HasCapability(CAP_FOWNER);
  return sticky ? Status(Errno(EPERM)) : kOk;
}

uint32_t ModeAfterChown(const Attributes& attributes, const Credentials& creds) {
  uint32_t mode = attributes.mode & 07777;
  if (S_ISDIR(attributes.mode)) return mode;
  mode &= ~uint32_t{S_ISUID};
  const bool drop_group = (mode & S_IXGRP) != 0 ||
                          (!InGroup(creds, attributes.gid) && !creds.HasCapability(CAP_FSETID));
  if (drop_group) mode &= ~uint32_t{S_ISGID};
  return mode;
}

Status Vfs::CheckAccess(const Attributes& attributes, const Credentials& creds, int access) {
  const uint32_t mode = attributes.mode;
  uint32_t granted = mode & 7;
  if (creds.fsuid == attributes.uid) {
    granted = mode >> 6 & 7;
  } else if ((mode >> 3 & 7) != (mode & 7) && InGroup(creds, attributes.gid)) {
    granted = mode >> 3 & 7;
  }
  const uint32_t wanted = static_cast<uint32_t>(access) & 7;
  if ((wanted & ~granted) == 0) return kOk;
  const bool directory = S_ISDIR(mode);
  const bool reads = directory ? (wanted & W_OK) == 0 : wanted == R_OK;
  if (reads && creds.HasCapability(CAP_DAC_READ_SEARCH)) return kOk;
  const bool executable = directory || (wanted & X_OK) == 0 || (mode & 0111) != 0;
  if (executable && creds.HasCapability(CAP_DAC_OVERRIDE)) return kOk;
  return Errno(EACCES);
}

Status Vfs::Access(const WalkContext& ctx, const Path& path, int access) {
  const Attributes attributes = TRY(GetAttributes(path));
  if ((access & X_OK) != 0 && S_ISREG(attributes.mode) && (path.mount->flags() & MS_NOEXEC) != 0) {
    return Errno(EACCES);
  }
  TRY(CheckAccess(attributes, ctx.creds, access));
  const bool special =
      !S_ISREG(attributes.mode) && !S_ISDIR(attributes.mode) && !S_ISLNK(attributes.mode);
  if ((access & W_OK) != 0 && !special && path.mount->read_only()) return Errno(EROFS);
  return kOk;
}

namespace {

Status CheckOwnerChange(const Attributes& attributes, const Credentials& creds,
                        const AttributeChange& change) {
  if (creds.HasCapability(CAP_CHOWN)) return kOk;
  const bool owner = creds.fsuid == attributes.uid;
  if (change.uid && !(owner && *change.uid == attributes.uid)) return Errno(EPERM);
  if (change.gid && !(owner && (*change.gid == attributes.gid || InGroup(creds, *change.gid)))) {
    return Errno(EPERM);
  }
  return kOk;
}

Status CheckTimeChange(const Attributes& attributes, const Credentials& creds,
                       const AttributeChange& change) {
  if (OwnerOrCapable(creds, attributes)) return kOk;
  const auto now = [](const std::optional<timespec>& time) {
    return time && time->tv_nsec == UTIME_NOW;
  };
  if (!now(change.atime) || !now(change.mtime)) return Errno(EPERM);
  return Vfs::CheckAccess(attributes, creds, W_OK);
}

Status CheckSizeChange(const Attributes& attributes, const Credentials& creds) {
  if (S_ISDIR(attributes.mode)) return Errno(EISDIR);
  if (!S_ISREG(attributes.mode)) return Errno(EINVAL);
  return Vfs::CheckAccess(attributes, creds, W_OK);
}

Status CheckModeChange(const Attributes& attributes, const Credentials& creds,
                       AttributeChange& change) {
  if (S_ISLNK(attributes.mode)) return Errno(EOPNOTSUPP);
  if (!OwnerOrCapable(creds, attributes)) return Errno(EPERM);
  *change.mode &= 07777;
  const uint32_t gid = change.gid.value_or(attributes.gid);
  if (!InGroup(creds, gid) && !creds.HasCapability(CAP_FSETID)) *change.mode &= ~uint32_t{S_ISGID};
  return kOk;
}

// fsnotify_change() of Linux.
uint32_t EventOf(const AttributeChange& change) {
  uint32_t event = 0;
  if (change.uid || change.gid || change.mode) event |= IN_ATTRIB;
  if (change.size) event |= IN_MODIFY;
  if (change.atime && change.mtime) {
    event |= IN_ATTRIB;
  } else if (change.atime) {
    event |= IN_ACCESS;
  } else if (change.mtime) {
    event |= IN_MODIFY;
  }
  return event;
}

void ReplaceNow(std::optional<timespec>& time) {
  if (time && time->tv_nsec == UTIME_NOW) time = FileTime();
}

}  // namespace

Status Vfs::SetAttributes(const WalkContext& ctx, const Path& path,
                          const AttributeChange& requested) {
  AttributeChange change = requested;
  const Attributes attributes = TRY(GetAttributes(path));
  if (change.size) TRY(CheckSizeChange(attributes, ctx.creds));
  if (path.mount->read_only()) return Errno(EROFS);
  if (change.uid || change.gid) {
    TRY(CheckOwnerChange(attributes, ctx.creds, change));
    const uint32_t mode = ModeAfterChown(attributes, ctx.creds);
    if (!change.mode && mode != (attributes.mode & 07777)) change.mode = mode;
  } else if (change.mode) {
    TRY(CheckModeChange(attributes, ctx.creds, change));
  }
  if (change.size && !ctx.creds.HasCapability(CAP_FSETID)) {
    const uint32_t mode = ModeAfterChown(attributes, ctx.creds);
    if (mode != (attributes.mode & 07777)) change.mode = mode;
  }
  if (change.atime || change.mtime) TRY(CheckTimeChange(attributes, ctx.creds, change));
  ReplaceNow(change.atime);
  ReplaceNow(change.mtime);
  TRY(path.dentry->inode().SetAttributes(change));
  if (change.mode && path.dentry->is_directory()) ForgetErrorsBelow(*path.dentry);
  notify::OnDentry(*path.dentry, EventOf(requested));
  return kOk;
}

namespace {

// xattr_permission() of Linux.
Status CheckXattr(const WalkContext& ctx, const Path& path, std::string_view name, int access) {
  const bool writes = access == W_OK;
  if (writes && path.mount->read_only()) return Errno(EROFS);
  if (name.empty() || name.size() > XATTR_NAME_MAX) return Errno(ERANGE);
  if (name.starts_with(XATTR_SECURITY_PREFIX) || name.starts_with(XATTR_SYSTEM_PREFIX)) {
    if (!writes || !name.starts_with(XATTR_SECURITY_PREFIX)) return kOk;
    return ctx.creds.HasCapability(CAP_SYS_ADMIN) || name == XATTR_NAME_CAPS ? kOk
                                                                             : Status(Errno(EPERM));
  }
  const Errno hidden(writes ? EPERM : ENODATA);
  if (name.starts_with(XATTR_TRUSTED_PREFIX)) {
    if (!ctx.creds.HasCapability(CAP_SYS_ADMIN)) return hidden;
    return kOk;
  }
  const Attributes attributes = TRY(path.dentry->inode().GetAttributes());
  if (!name.starts_with(XATTR_USER_PREFIX)) return Errno(EOPNOTSUPP);
  if (!S_ISREG(attributes.mode) && !S_ISDIR(attributes.mode)) return hidden;
  if (writes && S_ISDIR(attributes.mode) && (attributes.mode & S_ISVTX) != 0 &&
      !OwnerOrCapable(ctx.creds, attributes)) {
    return Errno(EPERM);
  }
  return Vfs::CheckAccess(attributes, ctx.creds, access);
}

}  // namespace

Result<std::string> Vfs::GetXattr(const WalkContext& ctx, const Path& path, std::string_view name) {
  TRY(CheckXattr(ctx, path, name, R_OK));
  return path.dentry->inode().GetXattr(name);
}

Status Vfs::SetXattr(const WalkContext& ctx, const Path& path, std::string_view name,
                     std::string_view value, int flags) {
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) return Errno(EINVAL);
  if (value.size() > XATTR_SIZE_MAX) return Errno(E2BIG);
  TRY(CheckXattr(ctx, path, name, W_OK));
  TRY(path.dentry->inode().SetXattr(name, value, flags));
  notify::OnDentry(*path.dentry, IN_ATTRIB);
  return kOk;
}

Status Vfs::RemoveXattr(const WalkContext& ctx, const Path& path, std::string_view name) {
  TRY(CheckXattr(ctx, path, name, W_OK));
  TRY(path.dentry->inode().RemoveXattr(name));
  notify::OnDentry(*path.dentry, IN_ATTRIB);
  return kOk;
}

Result<std::vector<std::string>> Vfs::ListXattr(const WalkContext& ctx, const Path& path) {
  std::vector<std::string> names = TRY(path.dentry->inode().ListXattr());
  if (!ctx.creds.HasCapability(CAP_SYS_ADMIN)) {
    std::erase_if(names,
                  [](const std::string& name) { return name.starts_with(XATTR_TRUSTED_PREFIX); });
  }
  return names;
}

}  // namespace sentry
