#include "syscalls/attributes.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <array>

#include "sentry/time/clocks.h"
#include "syscalls/common.h"
#include "syscalls/file_io.h"

namespace syscalls {
namespace {

using sentry::AttributeChange;
using sentry::Attributes;
using sentry::Credentials;
using sentry::kAtFdCwd;

bool IsOwner(Task& task, const Attributes& attributes) {
  return task.creds().fsuid == attributes.uid || HasCapability(task, CAP_FOWNER);
}

Status Change(Task& task, const Target& target, const AttributeChange& change) {
  if (target.path.dentry && !target.path.dentry->negative()) {
    return task.vfs().SetAttributes(task.walk_context(), target.path, change);
  }
  // A pipe or the like: the rules of the VFS, as far as they concern it.
  const Attributes attributes = TRY(target.inode->GetAttributes());
  if (!IsOwner(task, attributes)) return Errno(EPERM);
  if (change.uid && *change.uid != attributes.uid && !HasCapability(task, CAP_CHOWN)) {
    return Errno(EPERM);
  }
  if (change.gid && !task.creds().InGroup(*change.gid) && !HasCapability(task, CAP_CHOWN)) {
    return Errno(EPERM);
  }
  return target.inode->SetAttributes(change);
}

// For access(2): the real ids decide, and capabilities only for root.
Credentials RealCredentials(const Credentials& creds) {
  Credentials real = creds;
  real.fsuid = creds.uid;
  real.fsgid = creds.gid;
  real.effective = creds.uid == 0 ? creds.permitted : 0;
  return real;
}

}  // namespace

Status Faccessat2(Task& task, Fd dirfd, UserCString path, int mode, uint32_t flags) {
  if ((mode & ~(R_OK | W_OK | X_OK)) != 0) return Errno(EINVAL);
  constexpr uint32_t kKnown = AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH;
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  const std::string name = TRY(ReadPathOrEmpty(task, path, flags));
  const bool itself = name.empty() && (flags & AT_EMPTY_PATH) != 0;
  sentry::WalkContext context = itself ? task.walk_context() : TRY(ContextFor(task, dirfd, name));
  if ((flags & AT_EACCESS) == 0) context.creds = RealCredentials(task.creds());
  // AT_EACCESS has the number of AT_REMOVEDIR, not one that a walk knows.
  const Target target = TRY(
      ResolveIn(task, context, dirfd, name, flags & ~static_cast<uint32_t>(AT_EACCESS),
                Follow::kYes));
  if (mode == F_OK) return kOk;
  if (target.path.dentry) return task.vfs().Access(context, target.path, mode);
  return sentry::Vfs::CheckAccess(TRY(target.inode->GetAttributes()), context.creds, mode);
}

Status Faccessat(Task& task, Fd dirfd, UserCString path, int mode) {
  return Faccessat2(task, dirfd, path, mode, 0);
}

Status Access(Task& task, UserCString path, int mode) {
  return Faccessat2(task, kAtFdCwd, path, mode, 0);
}

Status Fchmodat2(Task& task, Fd dirfd, UserCString path, uint32_t mode, uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
    return Errno(EINVAL);
  }
  const Target target = TRY(ResolveAt(task, dirfd, path, flags, Follow::kYes));
  return Change(task, target, {.mode = mode & 07777});
}

Status Fchmodat(Task& task, Fd dirfd, UserCString path, uint32_t mode) {
  return Fchmodat2(task, dirfd, path, mode, 0);
}

Status Chmod(Task& task, UserCString path, uint32_t mode) {
  return Fchmodat2(task, kAtFdCwd, path, mode, 0);
}

Status Fchmod(Task& task, Fd fd, uint32_t mode) {
  return Change(task, TargetOf(*TRY(GetFile(task, fd))), {.mode = mode & 07777});
}

namespace {

AttributeChange Owner(uint32_t uid, uint32_t gid) {
  AttributeChange change;
  if (uid != ~uint32_t{0}) change.uid = uid;
  if (gid != ~uint32_t{0}) change.gid = gid;
  return change;
}

}  // namespace

Status Fchownat(Task& task, Fd dirfd, UserCString path, uint32_t uid, uint32_t gid,
                uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
    return Errno(EINVAL);
  }
  const Target target = TRY(ResolveAt(task, dirfd, path, flags, Follow::kYes));
  return Change(task, target, Owner(uid, gid));
}

Status Chown(Task& task, UserCString path, uint32_t uid, uint32_t gid) {
  return Fchownat(task, kAtFdCwd, path, uid, gid, 0);
}

Status Lchown(Task& task, UserCString path, uint32_t uid, uint32_t gid) {
  return Fchownat(task, kAtFdCwd, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}

Status Fchown(Task& task, Fd fd, uint32_t uid, uint32_t gid) {
  return Change(task, TargetOf(*TRY(GetFile(task, fd))), Owner(uid, gid));
}

namespace {

// Access and modification time, in the form of utimensat(2).
using Times = std::array<abi::Timespec, 2>;
constexpr Times kBothNow{abi::Timespec{0, UTIME_NOW}, abi::Timespec{0, UTIME_NOW}};

Status SetTimes(Task& task, const Target& target, const Times& times) {
  const bool named = static_cast<bool>(target.path.dentry);
  const timespec now = TRY(sentry::ClockNow(task, sentry::ClockId{CLOCK_REALTIME}));
  const auto value = [&](const abi::Timespec& time) -> std::optional<timespec> {
    if (time.nsec == UTIME_OMIT) return std::nullopt;
    if (time.nsec == UTIME_NOW && !named) return now;  // The VFS knows what UTIME_NOW permits.
    return timespec{time.sec, time.nsec};
  };
  return Change(task, target, {.atime = value(times[0]), .mtime = value(times[1])});
}

bool ValidNanoseconds(int64_t nsec) {
  return nsec == UTIME_NOW || nsec == UTIME_OMIT || (nsec >= 0 && nsec < 1'000'000'000);
}

Result<Times> ReadTimevals(Task& task, UserPtr<const abi::Timeval> user) {
  if (!user) return kBothNow;
  const auto values = TRY((task.mem().Read(UserPtr<const std::array<abi::Timeval, 2>>{user.addr})));
  Times times;
  for (size_t i = 0; i < 2; ++i) {
    if (values[i].usec < 0 || values[i].usec >= 1'000'000) return Errno(EINVAL);
    times[i] = {values[i].sec, values[i].usec * 1000};
  }
  return times;
}

}  // namespace

Status Utimensat(Task& task, Fd dirfd, UserCString path, UserPtr<const abi::Timespec> user,
                 uint32_t flags) {
  Times times = kBothNow;
  if (user) {
    times = TRY(task.mem().Read(UserPtr<const Times>{user.addr}));
    if (times[0].nsec == UTIME_OMIT && times[1].nsec == UTIME_OMIT) return kOk;
    if (!ValidNanoseconds(times[0].nsec) || !ValidNanoseconds(times[1].nsec)) {
      return Errno(EINVAL);
    }
  }
  if ((flags & ~static_cast<uint32_t>(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
    return Errno(EINVAL);
  }
  if (!path && dirfd != kAtFdCwd) {  // futimens(3).
    if (flags != 0 && flags != AT_EMPTY_PATH) return Errno(EINVAL);
    return SetTimes(task, TargetOf(*TRY(GetFile(task, dirfd))), times);
  }
  return SetTimes(task, TRY(ResolveAt(task, dirfd, path, flags, Follow::kYes)), times);
}

Status Futimesat(Task& task, Fd dirfd, UserCString path, UserPtr<const abi::Timeval> user) {
  const Times times = TRY(ReadTimevals(task, user));
  if (!path && dirfd != kAtFdCwd) {
    return SetTimes(task, TargetOf(*TRY(GetFile(task, dirfd))), times);
  }
  return SetTimes(task, TRY(ResolveAt(task, dirfd, path, 0, Follow::kYes)), times);
}

Status Utimes(Task& task, UserCString path, UserPtr<const abi::Timeval> user) {
  return Futimesat(task, kAtFdCwd, path, user);
}

Status Utime(Task& task, UserCString path, UserPtr<const abi::Utimbuf> user) {
  Times times = kBothNow;
  if (user) {
    const abi::Utimbuf buf = TRY(task.mem().Read(user));
    times = {abi::Timespec{buf.actime, 0}, abi::Timespec{buf.modtime, 0}};
  }
  return SetTimes(task, TRY(ResolveAt(task, kAtFdCwd, path, 0, Follow::kYes)), times);
}

Status Truncate(Task& task, UserCString path, int64_t length) {
  if (length < 0) return Errno(EINVAL);
  const Target target = TRY(ResolveAt(task, kAtFdCwd, path, 0, Follow::kYes));
  const Attributes attributes = TRY(target.inode->GetAttributes());
  if (S_ISDIR(attributes.mode)) return Errno(EISDIR);
  if (!S_ISREG(attributes.mode)) return Errno(EINVAL);
  TRY(sentry::Vfs::CheckAccess(attributes, task.creds(), W_OK));
  if (target.inode->executing()) return Errno(ETXTBSY);
  TRY(CheckFileSize(task, static_cast<uint64_t>(length)));
  return Change(task, target, {.size = static_cast<uint64_t>(length)});
}

Status Ftruncate(Task& task, Fd fd, int64_t length) {
  if (length < 0) return Errno(EINVAL);
  const Ref<File> file = TRY(GetFile(task, fd));
  // Linux says EINVAL, not EBADF, for a file that is not open for writing.
  if (!file->flags().writable()) return Errno(EINVAL);
  if (!S_ISREG(TRY(file->inode().GetAttributes()).mode)) return Errno(EINVAL);
  TRY(CheckFileSize(task, static_cast<uint64_t>(length)));
  TRY(file->Truncate(static_cast<uint64_t>(length)));
  sentry::notify::OnFile(*file, IN_MODIFY);
  return kOk;
}

Status Fallocate(Task& task, Fd fd, int mode, int64_t offset, int64_t length) {
  const Ref<File> file = TRY(GetFile(task, fd));
  if (offset < 0 || length <= 0) return Errno(EINVAL);
  constexpr int kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE |
                         FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
  if ((mode & ~kKnown) != 0) return Errno(EOPNOTSUPP);
  const bool punches = (mode & FALLOC_FL_PUNCH_HOLE) != 0;
  if (punches && (mode & FALLOC_FL_KEEP_SIZE) == 0) return Errno(EOPNOTSUPP);
  if (punches && (mode & FALLOC_FL_ZERO_RANGE) != 0) return Errno(EOPNOTSUPP);
  if (!file->flags().writable()) return Errno(EBADF);
  const Attributes attributes = TRY(file->inode().GetAttributes());
  if (S_ISFIFO(attributes.mode)) return Errno(ESPIPE);
  if (S_ISDIR(attributes.mode)) return Errno(EISDIR);
  if (!S_ISREG(attributes.mode)) return Errno(ENODEV);
  int64_t end = 0;
  if (__builtin_add_overflow(offset, length, &end)) return Errno(EFBIG);
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0) TRY(CheckFileSize(task, static_cast<uint64_t>(end)));
  TRY(file->Allocate(mode, offset, length));
  sentry::notify::OnFile(*file, IN_MODIFY);
  return kOk;
}

}  // namespace syscalls
