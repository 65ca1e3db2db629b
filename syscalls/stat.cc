#include "syscalls/stat.h"

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "syscalls/common.h"

namespace syscalls {
namespace {

using sentry::Attributes;
using sentry::kAtFdCwd;

constexpr uint32_t kNoAutomount = 0x800;     // AT_NO_AUTOMOUNT: there are none.
constexpr uint32_t kStatxSyncType = 0x6000;  // AT_STATX_SYNC_TYPE.
constexpr int64_t kStatfsValid = 0x20;       // ST_VALID: f_flags means something.

abi::Timespec ToAbi(const timespec& time) { return {time.tv_sec, time.tv_nsec}; }
abi::StatxTime ToStatx(const timespec& time) {
  return {time.tv_sec, static_cast<uint32_t>(time.tv_nsec), 0};
}

abi::Stat ToStat(const Attributes& from) {
  return {.dev = from.dev,
          .ino = from.ino,
          .nlink = from.nlink,
          .mode = from.mode,
          .uid = from.uid,
          .gid = from.gid,
          .rdev = from.rdev,
          .size = static_cast<int64_t>(from.size),
          .blksize = from.blksize,
          .blocks = static_cast<int64_t>(from.blocks),
          .atime = ToAbi(from.atime),
          .mtime = ToAbi(from.mtime),
          .ctime = ToAbi(from.ctime)};
}

abi::Statx ToStatx(const Target& target, const Attributes& from, uint32_t asked) {
  abi::Statx out{.mask = STATX_BASIC_STATS,
                 .blksize = from.blksize,
                 .nlink = from.nlink,
                 .uid = from.uid,
                 .gid = from.gid,
                 .mode = static_cast<uint16_t>(from.mode),
                 .ino = from.ino,
                 .size = from.size,
                 .blocks = from.blocks,
                 .attributes_mask = STATX_ATTR_MOUNT_ROOT,
                 .atime = ToStatx(from.atime),
                 .btime = ToStatx(from.btime),
                 .ctime = ToStatx(from.ctime),
                 .mtime = ToStatx(from.mtime),
                 .rdev_major = major(from.rdev),
                 .rdev_minor = minor(from.rdev),
                 .dev_major = major(from.dev),
                 .dev_minor = minor(from.dev)};
  if (from.btime.tv_sec != 0) out.mask |= STATX_BTIME;
  if (target.path.mount) {
    constexpr uint32_t kUniqueId = 0x4000;  // STATX_MNT_ID_UNIQUE.
    const sentry::Mount& mount = *target.path.mount;
    const bool unique = (asked & kUniqueId) != 0;
    out.mask |= unique ? kUniqueId : STATX_MNT_ID;
    out.mnt_id = unique ? mount.unique_id() : static_cast<uint64_t>(mount.id());
    if (target.path.dentry == target.path.mount->root()) out.attributes |= STATX_ATTR_MOUNT_ROOT;
  }
  return out;
}

Status WriteStat(Task& task, sentry::Inode& inode, UserPtr<abi::Stat> out) {
  return task.mem().Write(out, ToStat(TRY(inode.GetAttributes())));
}

// ST_* of statfs(2).
uint64_t StatfsFlags(const sentry::Mount& mount) {
  constexpr uint64_t kNoAtime = 1024, kNoDirAtime = 2048, kRelatime = 4096, kNoSymfollow = 8192;
  const uint64_t flags = mount.flags();
  // MS_RDONLY, MS_NOSUID, MS_NODEV and MS_NOEXEC have the same numbers.
  uint64_t out = (flags & 0xf) | (mount.read_only() ? uint64_t{MS_RDONLY} : 0);
  if ((flags & MS_NOATIME) != 0) out |= kNoAtime;
  if ((flags & MS_NODIRATIME) != 0) out |= kNoDirAtime;
  if ((flags & MS_RELATIME) != 0) out |= kRelatime;
  if ((flags & sentry::Mount::kNoSymfollow) != 0) out |= kNoSymfollow;
  return out;
}

Status WriteStatfs(Task& task, const Target& target, UserPtr<abi::Statfs> out) {
  const sentry::FilesystemStats from = TRY(target.inode->StatFs());
  const uint64_t mount = target.path.mount ? StatfsFlags(*target.path.mount) : 0;
  const abi::Statfs stats{.type = static_cast<int64_t>(from.type),
                          .bsize = static_cast<int64_t>(from.bsize),
                          .blocks = from.blocks,
                          .bfree = from.bfree,
                          .bavail = from.bavail,
                          .files = from.files,
                          .ffree = from.ffree,
                          .namelen = static_cast<int64_t>(from.namelen),
                          .frsize = static_cast<int64_t>(from.bsize),
                          .flags = static_cast<int64_t>(from.flags | mount) | kStatfsValid};
  return task.mem().Write(out, stats);
}

}  // namespace

Status Newfstatat(Task& task, Fd dirfd, UserCString path, UserPtr<abi::Stat> out, uint32_t flags) {
  constexpr uint32_t kKnown = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | kNoAutomount | kStatxSyncType;
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  const Target target = TRY(ResolveAt(task, dirfd, path, flags, Follow::kYes));
  return WriteStat(task, *target.inode, out);
}

Status Stat(Task& task, UserCString path, UserPtr<abi::Stat> out) {
  return Newfstatat(task, kAtFdCwd, path, out, 0);
}

Status Lstat(Task& task, UserCString path, UserPtr<abi::Stat> out) {
  return Newfstatat(task, kAtFdCwd, path, out, AT_SYMLINK_NOFOLLOW);
}

Status Fstat(Task& task, Fd fd, UserPtr<abi::Stat> out) {
  const Ref<File> file = TRY(task.fds().Get(fd));
  return WriteStat(task, file->inode(), out);
}

Status Statx(Task& task, Fd dirfd, UserCString path, uint32_t flags, uint32_t mask,
             UserPtr<abi::Statx> out) {
  constexpr uint32_t kKnown = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | kNoAutomount | kStatxSyncType;
  if ((mask & STATX__RESERVED) != 0) return Errno(EINVAL);
  if ((flags & ~kKnown) != 0 || (flags & kStatxSyncType) == kStatxSyncType) return Errno(EINVAL);
  const Target target = TRY(ResolveAt(task, dirfd, path, flags, Follow::kYes));
  return task.mem().Write(out, ToStatx(target, TRY(target.inode->GetAttributes()), mask));
}

Status Statfs(Task& task, UserCString path, UserPtr<abi::Statfs> out) {
  return WriteStatfs(task, TRY(ResolveAt(task, kAtFdCwd, path, 0, Follow::kYes)), out);
}

Status Fstatfs(Task& task, Fd fd, UserPtr<abi::Statfs> out) {
  return WriteStatfs(task, TargetOf(*TRY(task.fds().Get(fd))), out);
}

// The host's cache is the only one, and it does not tell: everything of the file counts as cached.
Status Cachestat(Task& task, Fd fd, UserPtr<const abi::CachestatRange> range,
                 UserPtr<abi::Cachestat> out, uint32_t flags) {
  const Ref<File> file = TRY(GetFile(task, fd));
  const abi::CachestatRange asked = TRY(task.mem().Read(range));
  const Attributes attributes = TRY(file->inode().GetAttributes());
  if (flags != 0) return Errno(EINVAL);
  abi::Cachestat stat;
  // An overlay has no pages of its own.
  const bool has_pages = S_ISREG(attributes.mode) && file->inode().StackDepth() == 0;
  if (has_pages && asked.offset < attributes.size) {
    const uint64_t rest = attributes.size - asked.offset;
    const uint64_t length = asked.length == 0 ? rest : std::min(asked.length, rest);
    const uint64_t first = asked.offset / kPageSize;
    stat.cached = (asked.offset + length - 1) / kPageSize - first + 1;
  }
  return task.mem().Write(out, stat);
}

// What Linux answers on a filesystem without quotas, as tmpfs is by default.
Status QuotactlFd(Task& task, Fd fd, uint32_t command, uint32_t id, UserAddr data) {
  constexpr uint32_t kTypeMask = 0xff, kTypes = 3;  // SUBCMDMASK, MAXQUOTAS.
  TRY(task.fds().Get(fd));
  return Errno((command & kTypeMask) >= kTypes ? EINVAL : ENOSYS);
}

Status Sync(Task& task) { return kOk; }

Status Syncfs(Task& task, Fd fd) {
  TRY(GetFile(task, fd));
  return kOk;
}

Status Fsync(Task& task, Fd fd) {
  const Ref<File> file = TRY(GetFile(task, fd));
  return file->Sync();
}

Status SyncFileRange(Task& task, Fd fd, int64_t offset, int64_t length, uint32_t flags) {
  const Ref<File> file = TRY(GetFile(task, fd));
  int64_t end = 0;
  if ((flags & ~uint32_t{7}) != 0 || offset < 0 || length < 0 ||
      __builtin_add_overflow(offset, length, &end)) {
    return Errno(EINVAL);
  }
  const uint32_t mode = TRY(file->inode().GetAttributes()).mode;
  if (!S_ISREG(mode) && !S_ISBLK(mode) && !S_ISDIR(mode)) return Errno(ESPIPE);
  return S_ISREG(mode) ? file->Sync() : Status(kOk);
}

Status Fadvise64(Task& task, Fd fd, int64_t offset, int64_t length, int advice) {
  const Ref<File> file = TRY(GetFile(task, fd));
  if (S_ISFIFO(TRY(file->inode().GetAttributes()).mode)) return Errno(ESPIPE);
  if (length < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE) {
    return Errno(EINVAL);
  }
  return kOk;
}

Status Readahead(Task& task, Fd fd, int64_t offset, uint64_t count) {
  const Ref<File> file = TRY(task.fds().Get(fd));
  if (!file->flags().readable()) return Errno(EBADF);
  if (!S_ISREG(TRY(file->inode().GetAttributes()).mode)) return Errno(EINVAL);
  return kOk;
}

}  // namespace syscalls
