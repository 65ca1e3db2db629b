#include "syscalls/fd.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "sentry/task/async_io.h"
#include "sentry/task/file_locks.h"
#include "syscalls/common.h"
#include "syscalls/file_ioctl.h"

namespace syscalls {
namespace {

using sentry::FileLocks;

// Closing any descriptor of a file drops the process's record locks on it, as POSIX wants.
void DropRecordLocks(Task& task, File& file) {
  if (FileLocks::Records().empty()) return;
  FileLocks::Records().Unlock(file.inode(),
                              {.process = Ref<sentry::ThreadGroup>::Share(task.group())});
}

Result<int64_t> SetFlagFromUser(Task& task, File& file, uint64_t arg, uint32_t flag) {
  const int on = TRY(task.mem().Read(UserPtr<const int>{UserAddr{arg}}));
  file.SetStatusFlags(on != 0 ? file.flags().With(flag) : file.flags().Without(flag));
  return 0;
}

}  // namespace

Result<Control> Close(Task& task, Fd fd) {
  const Ref<File> file = TRY(task.fds().Remove(fd));
  DropRecordLocks(task, *file);
  // The descriptor that once made a mapping goes as well.
  if (task.thread().HoldsDescriptor(static_cast<int>(fd))) return Control::Continue();
  return Control::Return(0);
}

Status CloseRange(Task& task, uint32_t first, uint32_t last, uint32_t flags) {
  if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) != 0) return Errno(EINVAL);
  if (first > last) return Errno(EINVAL);
  if ((flags & CLOSE_RANGE_UNSHARE) != 0) task.UnshareFds();
  task.fds().CloseRange(first, last, (flags & CLOSE_RANGE_CLOEXEC) != 0);
  if ((flags & CLOSE_RANGE_CLOEXEC) == 0) task.thread().ReleaseDescriptors(first, last);
  return kOk;
}

Result<Fd> Dup(Task& task, Fd fd) { return task.AddFd(TRY(task.fds().Get(fd)), false); }

namespace {

Result<Fd> Duplicate(Task& task, Fd from, Fd to, bool close_on_exec) {
  Ref<File> file = TRY(task.fds().Get(from));
  Ref<File> replaced;
  if (!FileLocks::Records().empty()) {
    if (auto old = task.fds().Get(to); old.ok()) replaced = std::move(*old);
  }
  const Fd result = TRY(task.ReplaceFd(to, std::move(file), close_on_exec));
  if (replaced) DropRecordLocks(task, *replaced);
  task.thread().ReleaseDescriptors(static_cast<uint32_t>(to), static_cast<uint32_t>(to));
  return result;
}

}  // namespace

Result<Fd> Dup2(Task& task, Fd from, Fd to) {
  if (from == to) {
    TRY(task.fds().Get(from));
    return to;
  }
  return Duplicate(task, from, to, false);
}

Result<Fd> Dup3(Task& task, Fd from, Fd to, uint32_t flags) {
  if ((flags & ~static_cast<uint32_t>(O_CLOEXEC)) != 0 || from == to) return Errno(EINVAL);
  return Duplicate(task, from, to, (flags & O_CLOEXEC) != 0);
}

Result<int64_t> Ioctl(Task& task, Fd fd, uint32_t command, uint64_t arg) {
  const Ref<File> file = TRY(GetFile(task, fd));
  switch (command) {
    case FIOCLEX:
    case FIONCLEX:
      TRY(task.fds().SetCloseOnExec(fd, command == FIOCLEX));
      return 0;
    case FIONBIO:
      return SetFlagFromUser(task, *file, arg, O_NONBLOCK);
    case FIOASYNC:
      if (file->wait_queue() == nullptr) return Errno(ENOTTY);  // Nobody would be told.
      TRY(SetFlagFromUser(task, *file, arg, O_ASYNC));
      sentry::AsyncIo::FollowFlag(task.kernel(), *file, fd);
      return 0;
    case FIOSETOWN:
    case SIOCSPGRP:
    case FIOGETOWN:
    case SIOCGPGRP:
      return OwnerIoctl(task, *file, command, arg);
    case FIGETBSZ:
    case FIOQSIZE:
    case FICLONE:
    case FICLONERANGE:
    case FIDEDUPERANGE:
    case FS_IOC_FIEMAP:
      return AnyFileIoctl(task, *file, command, arg);
    default:
      break;
  }
  Result<int64_t> result = file->Ioctl(task, command, arg);
  if (result.ok() || result.error() != Errno(ENOTTY)) return result;
  return StoredFileIoctl(task, *file, command, arg);
}

}  // namespace syscalls
