// pidfd_open(2).
#ifndef SENTRY_FS_ANON_PIDFD_H_
#define SENTRY_FS_ANON_PIDFD_H_

#include <string>

#include "sentry/fs/file.h"
#include "sentry/task/thread_group.h"

namespace sentry {

// Refers to a process, also after it has been reaped. Readable once it has ended.
class PidFile final : public File {
 public:
  static constexpr char kKind = 0;

  PidFile(Ref<ThreadGroup> group, OpenFlags flags);

  // For pidfd_send_signal, pidfd_getfd and waitid(P_PIDFD).
  ThreadGroup& group() const { return *group_; }

  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &group_->exit_events; }
  std::string AnonymousName() const override { return "anon_inode:[pidfd]"; }
  const void* kind() const override { return &kKind; }

 private:
  const Ref<ThreadGroup> group_;
};

// `flags`: PIDFD_NONBLOCK; EINVAL otherwise.
Result<Ref<File>> CreatePidFd(Ref<ThreadGroup> group, uint32_t flags);

}  // namespace sentry

#endif  // SENTRY_FS_ANON_PIDFD_H_
