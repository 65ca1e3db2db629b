#include "sentry/fs/anon/pidfd.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "sentry/fs/anon/anon_inode.h"
#include "sentry/task/kernel.h"

namespace sentry {

PidFile::PidFile(Ref<ThreadGroup> group, Ref<Task> thread, OpenFlags flags)
    : File(NewAnonInode(), flags), group_(std::move(group)), thread_(std::move(thread)) {}

PidFile::~PidFile() = default;

Result<Ref<Task>> PidFile::FindTask() const {
  const Ref<Task> task = group_->kernel.FindTask(thread_ ? thread_->tid() : group_->id);
  // The number may be another one's by now.
  if (!task || &task->group() != group_.get()) return Errno(ESRCH);
  if (thread_ && task.get() != thread_.get()) return Errno(ESRCH);
  return task;
}

uint32_t PidFile::Poll() {
  const bool reaped = !FindTask().ok();
  absl::MutexLock lock(&group_->kernel.mu());
  const bool ended = thread_ ? !thread_->alive() : group_->zombie;
  if (reaped) return POLLIN | POLLRDNORM | POLLHUP;
  return ended ? POLLIN | POLLRDNORM : 0;
}

std::string PidFile::FdInfo() const {
  const Result<Ref<Task>> task = FindTask();
  const Pid pid = task.ok() ? (*task)->tid() : -1;
  return absl::StrFormat("Pid:\t%d\nNSpid:\t%d\n", pid, pid);
}

Result<Ref<File>> CreatePidFd(Ref<ThreadGroup> group, uint32_t flags) {
  if ((flags & ~uint32_t{O_NONBLOCK}) != 0) return Errno(EINVAL);
  return Ref<File>(MakeRef<PidFile>(std::move(group), Ref<Task>(), OpenFlags(O_RDWR | flags)));
}

Result<Ref<File>> CreateThreadPidFd(Ref<Task> thread, uint32_t flags) {
  if ((flags & ~uint32_t{O_NONBLOCK | O_EXCL}) != 0) return Errno(EINVAL);
  Ref<ThreadGroup> group = Ref<ThreadGroup>::Share(thread->group());
  return Ref<File>(
      MakeRef<PidFile>(std::move(group), std::move(thread), OpenFlags(O_RDWR | flags)));
}

}  // namespace sentry
