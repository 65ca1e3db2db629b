#include "syscalls/namespaces.h"

#include <linux/capability.h>
#include <sched.h>

#include "sentry/fs/anon/pidfd.h"
#include "sentry/fs/proc/namespace_file.h"
#include "sentry/ipc/exit.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "syscalls/known_errors.h"

namespace syscalls {
namespace {

using sentry::Namespace;
using sentry::NamespaceKind;
using sentry::Namespaces;

// Those of which there is one.
constexpr uint64_t kOnly = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWCGROUP | CLONE_NEWTIME;

void EnterNamespaces(Task& task, Ref<const Namespaces> namespaces) {
  // What semop(2) is to take back belongs to the old namespace.
  if (&namespaces->ipc() != &task.namespaces().ipc()) sentry::UnshareSemUndo(task);
  task.EnterNamespaces(std::move(namespaces));
}

// mntns_install() of Linux.
Status CheckMayEnterMounts(Task& task) {
  if (!HasCapability(task, CAP_SYS_CHROOT) || !HasCapability(task, CAP_SYS_ADMIN)) {
    return Errno(EPERM);
  }
  // Who shares the working directory would be torn apart.
  return task.fs().ref_count() > 1 ? Status(Errno(EINVAL)) : kOk;
}

Status EnterMounts(Task& task, Ref<sentry::MountNamespace> mounts) {
  sentry::Path root = TRY(task.vfs().RootOf(*mounts));
  sentry::Path cwd = root;
  CloseErrors(task);
  task.fs().EnterMounts(std::move(mounts), std::move(root), std::move(cwd));
  return kOk;
}

Status SetnsByFile(Task& task, Namespace& subject) {
  if (subject.kind() == NamespaceKind::kMount) {
    TRY(CheckMayEnterMounts(task));
    return EnterMounts(
        task, Ref<sentry::MountNamespace>::Share(static_cast<sentry::MountNamespace&>(subject)));
  }
  // userns_install() refuses one's own, before it looks at capabilities.
  if (subject.kind() == NamespaceKind::kUser) return Errno(EINVAL);
  if (!HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  EnterNamespaces(task, task.namespaces().Enter(subject));
  return kOk;
}

// Those of a process that `flags` names, all or none.
Status SetnsByPidFd(Task& task, const sentry::PidFile& file, uint64_t flags) {
  constexpr uint64_t kKnown = CLONE_NEWNS | Namespaces::kFlags | kOnly;
  if (flags == 0 || (flags & ~kKnown) != 0) return Errno(EINVAL);
  const Ref<Task> target = TRY(file.FindTask());
  const Ref<sentry::MountNamespace> mounts = target->fs_ref()->mounts();
  const Ref<const Namespaces> theirs = target->namespaces_ref();
  {
    absl::MutexLock lock(&task.kernel().mu());
    if (!target->alive()) return Errno(ESRCH);
  }
  if (!HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  if ((flags & CLONE_NEWUSER) != 0) return Errno(EINVAL);
  if ((flags & CLONE_NEWNS) != 0) {
    TRY(CheckMayEnterMounts(task));
    if (!mounts) return Errno(ESRCH);
    TRY(EnterMounts(task, mounts));
  }
  if ((flags & Namespaces::kFlags) != 0) {
    EnterNamespaces(task, task.namespaces().Enter(*theirs, flags));
  }
  return kOk;
}

}  // namespace

Result<Unit> Unshare(Task& task, uint64_t flags) {
  constexpr uint64_t kProcess = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;
  constexpr uint64_t kKnown =
      kOnly | CLONE_NEWNS | Namespaces::kFlags | kProcess | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM;
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  if ((flags & kOnly) != 0) return Errno(EPERM);
  if ((flags & kProcess) != 0) {
    // Possible only when there is nothing to part from.
    absl::MutexLock lock(&task.kernel().mu());
    if (task.group().tasks.size() > 1) return Errno(EINVAL);
  }
  const bool mounts = (flags & CLONE_NEWNS) != 0;
  const uint64_t others = flags & Namespaces::kFlags;
  if ((mounts || others != 0) && !HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  Ref<Namespaces> fresh;
  if (others != 0) fresh = TRY(task.namespaces().Unshare(others));
  if (mounts || (flags & CLONE_FS) != 0) task.UnshareFs();
  if (mounts) {
    CloseErrors(task);
    TRY(task.fs().CopyMounts(task.vfs()));
  }
  if ((flags & CLONE_FILES) != 0) task.UnshareFds();
  if ((flags & CLONE_SYSVSEM) != 0) sentry::UnshareSemUndo(task);
  if (fresh) EnterNamespaces(task, std::move(fresh));
  return kOk;
}

Result<Unit> Setns(Task& task, Fd fd, int type) {
  const Ref<sentry::File> file = TRY(task.fds().Get(fd));
  const uint64_t flags = static_cast<uint32_t>(type);
  if (auto* const one = sentry::FileCast<sentry::NamespaceFile>(*file)) {
    if (flags != 0 && flags != one->subject().flag()) return Errno(EINVAL);
    return SetnsByFile(task, one->subject());
  }
  if (auto* const process = sentry::FileCast<sentry::PidFile>(*file)) {
    return SetnsByPidFd(task, *process, flags);
  }
  return Errno(EINVAL);
}

}  // namespace syscalls
