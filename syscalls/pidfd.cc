// Descriptors that stand for processes: pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2).
#include <fcntl.h>
#include <linux/capability.h>

#include "absl/strings/numbers.h"
#include "sentry/fs/anon/pidfd.h"
#include "sentry/task/kernel.h"
#include "syscalls/common.h"
#include "syscalls/signal.h"

namespace syscalls {
namespace {

using sentry::Fd;
using sentry::File;
using sentry::PidFile;
using sentry::SignalInfo;

constexpr uint32_t kThread = O_EXCL;  // PIDFD_THREAD.
// pidfd_send_signal(2), Linux 6.9: whom the signal reaches, whatever the descriptor stands for.
constexpr uint32_t kToThread = 1, kToProcess = 2, kToProcessGroup = 4;

Result<Ref<File>> GetPidFd(Task& task, Fd fd) {
  Ref<File> file = TRY(task.fds().Get(fd));
  if (sentry::FileCast<PidFile>(*file) == nullptr) return Errno(EBADF);
  return file;
}

// A directory /proc/PID stands for its process, too (pidfd_send_signal(2)). EBADF for other files.
Result<Ref<sentry::ThreadGroup>> GroupOfDirectory(Task& task, const File& file) {
  const sentry::Path& path = file.path();
  if (!path.dentry || !path.mount || path.mount->fs_type() != "proc") return Errno(EBADF);
  if (path.dentry->parent().get() != path.mount->root().get()) return Errno(EBADF);
  int pid = 0;
  if (!absl::SimpleAtoi(path.dentry->name(), &pid)) return Errno(EBADF);
  Ref<sentry::ThreadGroup> group = task.kernel().FindGroup(pid);
  if (!group) return Errno(ESRCH);
  return group;
}

// What pidfd_send_signal(2) is given: a pidfd, or a directory made into one.
Result<Ref<File>> GetSignalTarget(Task& task, Fd fd) {
  if (fd == sentry::kSelfThread) return sentry::CreateThreadPidFd(Ref<Task>::Share(task), O_EXCL);
  if (fd == sentry::kSelfProcess) {
    return sentry::CreatePidFd(Ref<sentry::ThreadGroup>::Share(task.group()), 0);
  }
  Ref<File> file = TRY(task.fds().Get(fd));
  if (sentry::FileCast<PidFile>(*file) != nullptr) return file;
  return sentry::CreatePidFd(TRY(GroupOfDirectory(task, *file)), 0);
}

// ptrace_may_access(PTRACE_MODE_ATTACH_REALCREDS) of Linux. EPERM.
Status MayAttach(Task& task, Task& other) {
  if (&task.group() == &other.group() || HasCapability(task, CAP_SYS_PTRACE)) return kOk;
  const sentry::Credentials& own = task.creds();
  const sentry::Credentials theirs = TRY(task.kernel().CredentialsOf(other.tid()));
  const bool same = own.uid == theirs.uid && own.uid == theirs.euid && own.uid == theirs.suid &&
                    own.gid == theirs.gid && own.gid == theirs.egid && own.gid == theirs.sgid;
  absl::MutexLock lock(&task.kernel().mu());
  return same && other.group().dumpable == 1 ? Status(kOk) : Status(Errno(EPERM));
}

}  // namespace

Result<int64_t> PidfdOpen(Task& task, int pid, uint32_t flags) {
  if ((flags & ~(uint32_t{O_NONBLOCK} | kThread)) != 0 || pid <= 0) return Errno(EINVAL);
  Ref<File> file;
  if ((flags & kThread) != 0) {
    Ref<Task> thread = task.kernel().FindTask(pid);
    if (!thread) return Errno(ESRCH);
    file = TRY(sentry::CreateThreadPidFd(std::move(thread), flags));
  } else {
    Ref<sentry::ThreadGroup> group = task.kernel().FindGroup(pid);
    // A thread is no process: EINVAL, since Linux 6.15 ENOENT.
    if (!group) return Errno(task.kernel().FindTask(pid) ? ENOENT : ESRCH);
    file = TRY(sentry::CreatePidFd(std::move(group), flags));
  }
  return static_cast<int64_t>(TRY(task.AddFd(std::move(file), /*close_on_exec=*/true)));
}

Result<Unit> PidfdSendSignal(Task& task, Fd fd, int sig, UserAddr info, uint32_t flags) {
  if (flags != 0 && flags != kToThread && flags != kToProcess && flags != kToProcessGroup) {
    return Errno(EINVAL);
  }
  const Ref<File> file = TRY(GetSignalTarget(task, fd));
  const auto& pidfd = *sentry::FileCast<PidFile>(*file);
  const bool to_thread = flags == kToThread || (flags == 0 && pidfd.thread() != nullptr);
  SignalInfo queued = UserInfo(task, sig, to_thread ? SI_TKILL : SI_USER);
  const sentry::Pid pid = pidfd.group().id;
  if (info) {
    queued = TRY(ReadInfo(task, info));
    if (queued.si_signo != sig) return Errno(EINVAL);
    const sentry::Pid named = pidfd.thread() != nullptr ? pidfd.thread()->tid() : pid;
    if (!MayClaim(task, queued, flags == kToProcessGroup ? -1 : named)) return Errno(EPERM);
  }
  if (sig < 0 || sig > sentry::kSignalCount) return Errno(EINVAL);
  const Ref<Task> target = TRY(pidfd.FindTask());
  // Process group 1 cannot be said to kill(2): -1 means everybody. Nobody but init's own is in it.
  if (flags == kToProcessGroup && pid == 1) return Errno(EPERM);
  if (to_thread) return task.kernel().KillTask(task, pid, target->tid(), queued);
  return task.kernel().Kill(task, flags == kToProcessGroup ? -pid : pid, queued);
}

Result<int64_t> PidfdGetfd(Task& task, Fd pidfd, Fd target, uint32_t flags) {
  if (flags != 0) return Errno(EINVAL);
  const Ref<File> process = TRY(GetPidFd(task, pidfd));
  const Ref<Task> other = TRY(sentry::FileCast<PidFile>(*process)->FindTask());
  TRY(MayAttach(task, *other));
  {
    absl::MutexLock lock(&task.kernel().mu());
    if (!other->alive()) return Errno(ESRCH);
  }
  Ref<File> file = TRY(other->fds_ref()->Get(target));
  return static_cast<int64_t>(TRY(task.AddFd(std::move(file), /*close_on_exec=*/true)));
}

}  // namespace syscalls
