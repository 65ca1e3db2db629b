#include "syscalls/path.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <sys/stat.h>

#include <algorithm>
#include <span>

#include "syscalls/common.h"
#include "syscalls/known_errors.h"

namespace syscalls {
namespace {

using sentry::kAtFdCwd;
using sentry::WalkContext;

// A directory that the task may enter.
Result<Path> EnterDirectory(Task& task, const Target& target) {
  const sentry::Attributes attributes = TRY(target.inode->GetAttributes());
  if (!S_ISDIR(attributes.mode) || !target.path.dentry) return Errno(ENOTDIR);
  TRY(sentry::Vfs::CheckAccess(attributes, task.creds(), X_OK));
  return target.path;
}

// Large device numbers as user space packs them into 32 bits.
uint64_t DecodeDevice(uint32_t device) {
  const uint64_t major = (device >> 8) & 0xfff;
  const uint64_t minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  return (minor & 0xff) | (major << 8) | ((minor & ~uint64_t{0xff}) << 12);
}

}  // namespace

Status Linkat(Task& task, Fd from_dir, UserCString from, Fd to_dir, UserCString to,
              uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) != 0) {
    return Errno(EINVAL);
  }
  if ((flags & AT_EMPTY_PATH) != 0 && !HasCapability(task, CAP_DAC_READ_SEARCH)) {
    return Errno(ENOENT);
  }
  const Target target = TRY(ResolveAt(task, from_dir, from, flags, Follow::kNo));
  if (!target.path.dentry) return Errno(EXDEV);
  const std::string name = TRY(task.mem().ReadPath(to));
  return task.vfs().Link(TRY(ContextFor(task, to_dir, name)), target.path, name);
}

Status Link(Task& task, UserCString from, UserCString to) {
  return Linkat(task, kAtFdCwd, from, kAtFdCwd, to, 0);
}

Status Symlinkat(Task& task, UserCString target, Fd dirfd, UserCString path) {
  const std::string text = TRY(task.mem().ReadPath(target));
  if (text.empty()) return Errno(ENOENT);
  const std::string name = TRY(task.mem().ReadPath(path));
  return task.vfs().Symlink(TRY(ContextFor(task, dirfd, name)), text, name);
}

Status Symlink(Task& task, UserCString target, UserCString path) {
  return Symlinkat(task, target, kAtFdCwd, path);
}

Status Unlinkat(Task& task, Fd dirfd, UserCString path, uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(AT_REMOVEDIR)) != 0) return Errno(EINVAL);
  const std::string name = TRY(task.mem().ReadPath(path));
  const WalkContext context = TRY(ContextFor(task, dirfd, name));
  if ((flags & AT_REMOVEDIR) != 0) return task.vfs().Rmdir(context, name);
  return task.vfs().Unlink(context, name);
}

Status Unlink(Task& task, UserCString path) { return Unlinkat(task, kAtFdCwd, path, 0); }
Status Rmdir(Task& task, UserCString path) {
  return Unlinkat(task, kAtFdCwd, path, AT_REMOVEDIR);
}

Status Renameat2(Task& task, Fd from_dir, UserCString from, Fd to_dir, UserCString to,
                 uint32_t flags) {
  constexpr uint32_t kKnown = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  if ((flags & RENAME_EXCHANGE) != 0 && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) != 0) {
    return Errno(EINVAL);
  }
  if ((flags & RENAME_WHITEOUT) != 0 && !HasCapability(task, CAP_MKNOD)) return Errno(EPERM);
  const std::string old_name = TRY(task.mem().ReadPath(from));
  const std::string new_name = TRY(task.mem().ReadPath(to));
  return task.vfs().Rename(TRY(ContextFor(task, from_dir, old_name)), old_name,
                           TRY(ContextFor(task, to_dir, new_name)), new_name, flags);
}

Status Renameat(Task& task, Fd from_dir, UserCString from, Fd to_dir, UserCString to) {
  return Renameat2(task, from_dir, from, to_dir, to, 0);
}

Status Rename(Task& task, UserCString from, UserCString to) {
  return Renameat2(task, kAtFdCwd, from, kAtFdCwd, to, 0);
}

Status Mkdirat(Task& task, Fd dirfd, UserCString path, uint32_t mode) {
  const std::string name = TRY(task.mem().ReadPath(path));
  return task.vfs().Mkdir(TRY(ContextFor(task, dirfd, name)), name, mode & 01777);
}

Status Mkdir(Task& task, UserCString path, uint32_t mode) {
  return Mkdirat(task, kAtFdCwd, path, mode);
}

Status Mknodat(Task& task, Fd dirfd, UserCString path, uint32_t mode, uint32_t device) {
  switch (mode & S_IFMT) {
    case 0:
      mode |= S_IFREG;
      break;
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
      break;
    case S_IFCHR:
    case S_IFBLK:
      if (!HasCapability(task, CAP_MKNOD)) return Errno(EPERM);
      break;
    case S_IFDIR:
      return Errno(EPERM);
    default:
      return Errno(EINVAL);
  }
  const std::string name = TRY(task.mem().ReadPath(path));
  return task.vfs().Mknod(TRY(ContextFor(task, dirfd, name)), name, mode & (S_IFMT | 07777),
                          DecodeDevice(device));
}

Status Mknod(Task& task, UserCString path, uint32_t mode, uint32_t device) {
  return Mknodat(task, kAtFdCwd, path, mode, device);
}

Result<int64_t> Readlinkat(Task& task, Fd dirfd, UserCString path, UserAddr buffer, int size) {
  if (size <= 0) return Errno(EINVAL);
  const std::string name = TRY(task.mem().ReadPath(path));
  // An empty path means a symlink opened with O_PATH|O_NOFOLLOW.
  const uint32_t flags = name.empty() ? AT_EMPTY_PATH : 0;
  if (name.empty() && dirfd == kAtFdCwd) return Errno(ENOENT);
  const WalkContext context =
      name.empty() ? task.walk_context() : TRY(ContextFor(task, dirfd, name));
  const Target target = TRY(ResolveIn(task, context, dirfd, name, flags, Follow::kNo));
  Result<std::string> text = target.inode->ReadLink();
  if (!text.ok()) {
    return name.empty() && text.error() == Errno(EINVAL) ? Errno(ENOENT) : text.error();
  }
  const size_t length = std::min(text->size(), static_cast<size_t>(size));
  TRY(task.mem().WriteBytes(buffer, std::as_bytes(std::span(text->data(), length))));
  return static_cast<int64_t>(length);
}

Result<int64_t> Readlink(Task& task, UserCString path, UserAddr buffer, int size) {
  if (size <= 0) return Errno(EINVAL);
  return Readlinkat(task, kAtFdCwd, path, buffer, size);
}

Status Chdir(Task& task, UserCString path) {
  const Target target = TRY(ResolveAt(task, kAtFdCwd, path, 0, Follow::kYes));
  task.fs().set_cwd(TRY(EnterDirectory(task, target)));
  return kOk;
}

Status Fchdir(Task& task, Fd fd) {
  const Ref<File> file = TRY(task.fds().Get(fd));
  task.fs().set_cwd(TRY(EnterDirectory(task, TargetOf(*file))));
  return kOk;
}

Status Chroot(Task& task, UserCString path) {
  const Target target = TRY(ResolveAt(task, kAtFdCwd, path, 0, Follow::kYes));
  Path root = TRY(EnterDirectory(task, target));
  if (!HasCapability(task, CAP_SYS_CHROOT)) return Errno(EPERM);
  CloseErrors(task);
  task.fs().set_root(std::move(root));
  return kOk;
}

Result<int64_t> Getcwd(Task& task, UserAddr buffer, uint64_t size) {
  const Path cwd = task.fs().cwd();
  const Path root = task.fs().root();
  if (cwd.dentry->unhashed() && !(cwd.dentry == root.dentry)) return Errno(ENOENT);
  const std::string text = task.vfs().PathString(root, cwd);
  if (text.size() + 1 > PATH_MAX) return Errno(ENAMETOOLONG);
  if (text.size() + 1 > size) return Errno(ERANGE);
  TRY(task.mem().WriteBytes(buffer, std::as_bytes(std::span(text.c_str(), text.size() + 1))));
  return static_cast<int64_t>(text.size() + 1);
}

Result<int64_t> Umask(Task& task, uint32_t mask) {
  return static_cast<int64_t>(task.fs().set_umask(mask & 0777));
}

}  // namespace syscalls
