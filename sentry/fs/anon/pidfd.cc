#include "sentry/fs/anon/pidfd.h"

#include <utility>

#include "sentry/fs/anon/anon_inode.h"
#include "sentry/task/kernel.h"

namespace sentry {

PidFile::PidFile(Ref<ThreadGroup> group, OpenFlags flags)
    : File(NewAnonInode(), flags), group_(std::move(group)) {}

uint32_t PidFile::Poll() {
  absl::MutexLock lock(&group_->kernel.mu());
  return group_->zombie ? POLLIN | POLLRDNORM : 0;
}

Result<Ref<File>> CreatePidFd(Ref<ThreadGroup> group, uint32_t flags) {
  if ((flags & ~uint32_t{O_NONBLOCK}) != 0) return Errno(EINVAL);
  return Ref<File>(MakeRef<PidFile>(std::move(group), OpenFlags(O_RDWR | flags)));
}

}  // namespace sentry
