#include "syscalls/inotify.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "sentry/fs/anon/inotify.h"
#include "syscalls/common.h"

namespace syscalls {
namespace {

using sentry::InotifyFile;

}  // namespace

Result<Fd> InotifyInit1(Task& task, int flags) {
  return task.AddFd(TRY(sentry::CreateInotify(task.creds().uid, flags)), (flags & IN_CLOEXEC) != 0);
}

Result<Fd> InotifyInit(Task& task) { return InotifyInit1(task, 0); }

Result<int64_t> InotifyAddWatch(Task& task, Fd fd, UserCString path, uint32_t mask) {
  constexpr uint32_t kOptions =
      IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ONESHOT;
  constexpr uint32_t kReported = IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ISDIR;
  constexpr uint32_t kKnown = IN_ALL_EVENTS | kReported | kOptions;
  if ((mask & ~kKnown) != 0 || (mask & kKnown) == 0) return Errno(EINVAL);
  const Ref<File> file = TRY(GetFile(task, fd));
  if ((mask & IN_MASK_ADD) != 0 && (mask & IN_MASK_CREATE) != 0) return Errno(EINVAL);
  auto* const inotify = sentry::FileCast<InotifyFile>(*file);
  if (inotify == nullptr) return Errno(EINVAL);
  const Target target =
      TRY(ResolveAt(task, sentry::kAtFdCwd, path,
                    (mask & IN_DONT_FOLLOW) != 0 ? AT_SYMLINK_NOFOLLOW : 0, Follow::kYes));
  if ((mask & IN_ONLYDIR) != 0 && !target.path.dentry->is_directory()) return Errno(ENOTDIR);
  TRY(sentry::Vfs::CheckAccess(TRY(target.inode->GetAttributes()), task.creds(), R_OK));
  return TRY(inotify->AddWatch(target.path, mask));
}

Status InotifyRmWatch(Task& task, Fd fd, int wd) {
  const Ref<File> file = TRY(GetFile(task, fd));
  auto* const inotify = sentry::FileCast<InotifyFile>(*file);
  if (inotify == nullptr) return Errno(EINVAL);
  return inotify->RemoveWatch(wd);
}

}  // namespace syscalls
