// fcntl(2) and flock(2).
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <limits>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/net/socket.h"
#include "sentry/task/async_io.h"
#include "sentry/task/file_locks.h"
#include "sentry/task/kernel.h"
#include "syscalls/common.h"
#include "syscalls/fd.h"
#include "syscalls/file_ioctl.h"

namespace syscalls {
namespace {

using sentry::AsyncIo;
using sentry::FileCast;
using sentry::FileLock;
using sentry::FileLocks;
using sentry::LockOwner;

constexpr int kDupfdQuery = 1027;                    // F_DUPFD_QUERY.
constexpr int kCreatedQuery = 1028;                  // F_CREATED_QUERY.
constexpr int kGetRwHint = 1035, kSetRwHint = 1036;  // F_GET_RW_HINT, F_SET_RW_HINT.
constexpr uint64_t kMaxRwHint = 5;                   // RWH_WRITE_LIFE_EXTREME.

Result<int64_t> DupFrom(Task& task, Ref<File> file, uint64_t from, bool close_on_exec) {
  const uint64_t limit = task.Limit(RLIMIT_NOFILE);
  if (from >= limit || from > std::numeric_limits<int>::max()) return Errno(EINVAL);
  const Fd fd = TRY(task.AddFd(std::move(file), close_on_exec, static_cast<int>(from)));
  return static_cast<int64_t>(fd);
}

// The bytes [start, end) that a struct flock names.
Status ResolveRange(File& file, const abi::Flock& flock, FileLock& lock) {
  int64_t base = 0;
  if (flock.whence == SEEK_CUR) {
    base = TRY(file.Seek(0, SEEK_CUR));
  } else if (flock.whence == SEEK_END) {
    base = static_cast<int64_t>(TRY(file.inode().GetAttributes()).size);
  } else if (flock.whence != SEEK_SET) {
    return Errno(EINVAL);
  }
  int64_t start = 0, end = 0;
  if (__builtin_add_overflow(base, flock.start, &start)) return Errno(EOVERFLOW);
  if (start < 0) return Errno(EINVAL);
  if (flock.length > 0) {
    if (__builtin_add_overflow(start, flock.length - 1, &end)) return Errno(EOVERFLOW);
    lock.end = static_cast<uint64_t>(end) + 1;
  } else if (flock.length < 0) {
    lock.end = static_cast<uint64_t>(start);
    if (__builtin_add_overflow(start, flock.length, &start) || start < 0) return Errno(EINVAL);
  }
  lock.start = static_cast<uint64_t>(start);
  return kOk;
}

LockOwner OwnerOf(Task& task, const Ref<File>& file, int command) {
  if (command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW) {
    return {.description = file};
  }
  return {.process = Ref<sentry::ThreadGroup>::Share(task.group())};
}

Result<int64_t> GetLock(Task& task, const Ref<File>& file, int command, uint64_t arg) {
  const UserPtr<abi::Flock> user{UserAddr{arg}};
  abi::Flock flock = TRY(task.mem().Read(user));
  const bool ofd = command == F_OFD_GETLK;
  if (flock.type != F_RDLCK && flock.type != F_WRLCK) return Errno(EINVAL);
  FileLock lock{.owner = OwnerOf(task, file, command), .exclusive = flock.type == F_WRLCK};
  TRY(ResolveRange(*file, flock, lock));
  if (ofd && flock.pid != 0) return Errno(EINVAL);
  const auto conflict = FileLocks::Records().FindConflict(file->inode(), lock);
  if (!conflict) {
    flock.type = F_UNLCK;
  } else {
    flock.type = conflict->exclusive ? F_WRLCK : F_RDLCK;
    flock.whence = SEEK_SET;
    flock.start = static_cast<int64_t>(conflict->start);
    flock.length =
        conflict->end == UINT64_MAX ? 0 : static_cast<int64_t>(conflict->end - conflict->start);
    flock.pid = conflict->owner.process ? conflict->owner.process->id : -1;
  }
  TRY(task.mem().Write(user, flock));
  return 0;
}

Result<int64_t> SetLock(Task& task, Fd fd, const Ref<File>& file, int command, uint64_t arg) {
  const abi::Flock flock = TRY(task.mem().Read(UserPtr<const abi::Flock>{UserAddr{arg}}));
  FileLock lock{.owner = OwnerOf(task, file, command), .exclusive = flock.type == F_WRLCK};
  lock.pid = lock.owner.description ? -1 : task.tgid();
  TRY(ResolveRange(*file, flock, lock));
  if (lock.owner.description && flock.pid != 0) return Errno(EINVAL);
  if (flock.type == F_UNLCK) {
    FileLocks::Records().Unlock(file->inode(), lock.owner, lock.start, lock.end);
    return 0;
  }
  if (flock.type != F_RDLCK && flock.type != F_WRLCK) return Errno(EINVAL);
  if (lock.exclusive ? !file->flags().writable() : !file->flags().readable()) return Errno(EBADF);
  const bool wait = command == F_SETLKW || command == F_OFD_SETLKW;
  TRY(wait ? FileLocks::Records().Lock(task, file->inode(), lock)
           : FileLocks::Records().TryLock(file->inode(), lock));
  // Another thread may have closed the descriptor meanwhile, and its close has found no lock.
  auto again = task.fds().Get(fd);
  if (!again.ok() || !(*again == file)) {
    FileLocks::Records().Unlock(file->inode(), lock.owner, lock.start, lock.end);
    return Errno(EBADF);
  }
  return 0;
}

// setfl() of Linux.
Result<int64_t> SetStatusFlags(Task& task, File& file, Fd fd, uint64_t arg) {
  constexpr uint32_t kSettable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_ASYNC;
  OpenFlags flags(static_cast<uint32_t>(arg) & kSettable);
  // Only what can become ready tells anybody.
  if (file.wait_queue() == nullptr) flags = flags.Without(O_ASYNC);
  const OpenFlags old = file.flags();
  if (flags.has(O_DIRECT) && !old.has(O_DIRECT)) {
    // FMODE_CAN_ODIRECT, and packets of pipes.
    const uint32_t mode = TRY(file.inode().GetAttributes()).mode;
    const bool regular = S_ISREG(mode) && file.path().dentry;
    if (!regular && !S_ISFIFO(mode)) return Errno(EINVAL);
  }
  if (flags.has(O_NOATIME) && !old.has(O_NOATIME)) {
    const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
    if (task.creds().fsuid != attributes.uid && !HasCapability(task, CAP_FOWNER)) {
      return Errno(EPERM);
    }
  }
  file.SetStatusFlags(flags);
  if (flags.has(O_ASYNC) != old.has(O_ASYNC)) AsyncIo::FollowFlag(task.kernel(), file, fd);
  return 0;
}

Result<int64_t> SetOwner(Task& task, File& file, AsyncIo::Kind kind, sentry::Pid id) {
  const Ref<AsyncIo> async = AsyncIo::Of(task.kernel(), file);
  TRY(async->SetOwner(kind, id, task.creds()));
  if (sentry::FileCast<sentry::Socket>(file) != nullptr) async->FollowUrgent(file);
  return 0;
}

AsyncIo::Owner OwnerOfEvents(File& file) {
  const Ref<AsyncIo> async = AsyncIo::Find(file);
  return async ? async->owner() : AsyncIo::Owner();
}

Result<int64_t> SetOwnerEx(Task& task, File& file, uint64_t arg) {
  const auto owner = TRY(task.mem().Read(UserPtr<const abi::FileOwner>{UserAddr{arg}}));
  if (owner.type < F_OWNER_TID || owner.type > F_OWNER_PGRP) return Errno(EINVAL);
  return SetOwner(task, file, static_cast<AsyncIo::Kind>(owner.type), owner.pid);
}

// F_SETOWN and its like.
Result<int64_t> EventOwner(Task& task, File& file, int command, uint64_t arg) {
  switch (command) {
    case F_SETOWN: {
      const auto id = static_cast<int32_t>(arg);
      if (id == std::numeric_limits<int32_t>::min()) return Errno(EINVAL);
      return SetOwner(task, file, id < 0 ? AsyncIo::Kind::kGroup : AsyncIo::Kind::kProcess,
                      id < 0 ? -id : id);
    }
    case F_GETOWN: {
      const AsyncIo::Owner owner = OwnerOfEvents(file);
      return owner.kind == AsyncIo::Kind::kGroup ? -owner.id : owner.id;
    }
    case F_SETOWN_EX:
      return SetOwnerEx(task, file, arg);
    case F_GETOWN_EX: {
      const AsyncIo::Owner owner = OwnerOfEvents(file);
      const abi::FileOwner out{static_cast<int32_t>(owner.kind), owner.id};
      TRY(task.mem().Write(UserPtr<abi::FileOwner>{UserAddr{arg}}, out));
      return 0;
    }
    case F_SETSIG:
      if (arg > uint64_t{sentry::kSignalCount}) return Errno(EINVAL);
      AsyncIo::Of(task.kernel(), file)->set_signal(static_cast<int>(arg));
      return 0;
    default: {  // F_GETSIG.
      const Ref<AsyncIo> async = AsyncIo::Find(file);
      return async ? async->signal() : 0;
    }
  }
}

// No lease is ever given: it would have to be broken by opens of which the host knows nothing.
// EAGAIN is what Linux answers while others have the file open.
Result<int64_t> SetLease(Task& task, File& file, uint64_t arg) {
  const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
  const auto type = static_cast<int32_t>(arg);
  if (type == F_UNLCK) return Errno(EAGAIN);
  if (type != F_RDLCK && type != F_WRLCK) return Errno(EINVAL);
  if (task.creds().fsuid != attributes.uid && !HasCapability(task, CAP_LEASE)) {
    return Errno(EACCES);
  }
  if (!S_ISREG(attributes.mode)) return Errno(EINVAL);
  return Errno(EAGAIN);
}

Result<int64_t> WriteHint(Task& task, File& file, int command, uint64_t arg) {
  const UserPtr<uint64_t> user{UserAddr{arg}};
  if (command == kGetRwHint) {
    TRY(task.mem().Write(user, uint64_t{file.inode().write_hint.load(std::memory_order_relaxed)}));
    return 0;
  }
  const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
  if (task.creds().fsuid != attributes.uid && !HasCapability(task, CAP_FOWNER)) {
    return Errno(EPERM);
  }
  const uint64_t hint = TRY(task.mem().Read(UserPtr<const uint64_t>{UserAddr{arg}}));
  if (hint > kMaxRwHint) return Errno(EINVAL);
  file.inode().write_hint.store(static_cast<uint8_t>(hint), std::memory_order_relaxed);
  return 0;
}

Result<int64_t> PipeSize(File& file, int command, uint64_t arg) {
  auto* pipe = FileCast<sentry::PipeFile>(file);
  if (pipe == nullptr) return Errno(EBADF);
  if (command == F_GETPIPE_SZ) return static_cast<int64_t>(pipe->pipe().capacity());
  if (arg > std::numeric_limits<int>::max()) return Errno(EINVAL);
  return static_cast<int64_t>(TRY(pipe->pipe().SetCapacity(arg)));
}

// What O_PATH descriptors answer as well.
bool AllowedForPath(int command) {
  return command == F_DUPFD || command == F_DUPFD_CLOEXEC || command == kDupfdQuery ||
         command == F_GETFD || command == F_SETFD || command == F_GETFL;
}

}  // namespace

Result<int64_t> Fcntl(Task& task, Fd fd, int command, uint64_t arg) {
  sentry::FdEntry entry = TRY(task.fds().GetEntry(fd));
  Ref<File>& file = entry.file;
  if (file->flags().has(O_PATH) && !AllowedForPath(command)) return Errno(EBADF);
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      return DupFrom(task, std::move(file), arg, command == F_DUPFD_CLOEXEC);
    case F_GETFD:
      return entry.close_on_exec ? FD_CLOEXEC : 0;
    case F_SETFD:
      TRY(task.fds().SetCloseOnExec(fd, (arg & FD_CLOEXEC) != 0));
      return 0;
    case F_GETFL: {
      const OpenFlags flags =
          file->flags().Without(O_CLOEXEC | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC);
      return flags.raw();
    }
    case F_SETFL:
      return SetStatusFlags(task, *file, fd, arg);
    case F_GETLK:
    case F_OFD_GETLK:
      return GetLock(task, file, command, arg);
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return SetLock(task, fd, file, command, arg);
    case F_SETOWN:
    case F_SETOWN_EX:
    case F_SETSIG:
    case F_GETOWN:
    case F_GETSIG:
    case F_GETOWN_EX:
      return EventOwner(task, *file, command, arg);
    case F_SETLEASE:
      return SetLease(task, *file, arg);
    case kGetRwHint:
    case kSetRwHint:
      return WriteHint(task, *file, command, arg);
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ:
      return PipeSize(*file, command, arg);
    case F_ADD_SEALS:
      if (!file->flags().writable()) return Errno(EPERM);  // Whatever the file is.
      TRY(file->AddSeals(static_cast<int>(arg)));
      return 0;
    case F_GET_SEALS:
      return static_cast<int64_t>(TRY(file->GetSeals()));
    case F_GETLEASE:
      return F_UNLCK;
    case F_NOTIFY:  // dnotify(7): inotify(7) replaced it.
      return S_ISDIR(TRY(file->inode().GetAttributes()).mode) ? Errno(EINVAL) : Errno(ENOTDIR);
    case kDupfdQuery: {
      const Ref<File> other = TRY(task.fds().Get(static_cast<Fd>(arg)));
      return other == file ? 1 : 0;
    }
    case kCreatedQuery:
      return file->created() ? 1 : 0;
    default:
      return Errno(EINVAL);
  }
}

Result<int64_t> OwnerIoctl(Task& task, File& file, uint32_t command, uint64_t arg) {
  if (FileCast<sentry::Socket>(file) == nullptr) return Errno(ENOTTY);
  const UserPtr<int32_t> user{UserAddr{arg}};
  if (command == FIOSETOWN || command == SIOCSPGRP) {
    return EventOwner(task, file, F_SETOWN, static_cast<uint64_t>(TRY(task.mem().Read(user))));
  }
  const int64_t owner = TRY(EventOwner(task, file, F_GETOWN, 0));
  TRY(task.mem().Write(user, static_cast<int32_t>(owner)));
  return 0;
}

Status Flock(Task& task, Fd fd, int operation) {
  const Ref<File> file = TRY(GetFile(task, fd));
  const int kind = operation & ~LOCK_NB;
  const LockOwner owner{.description = file};
  if (kind == LOCK_UN) {
    FileLocks::Whole().Unlock(file->inode(), owner);
    return kOk;
  }
  if (kind != LOCK_SH && kind != LOCK_EX) return Errno(EINVAL);
  const FileLock lock{.owner = owner, .exclusive = kind == LOCK_EX, .pid = task.tgid()};
  if ((operation & LOCK_NB) != 0) return FileLocks::Whole().TryLock(file->inode(), lock);
  return FileLocks::Whole().Lock(task, file->inode(), lock);
}

}  // namespace syscalls
