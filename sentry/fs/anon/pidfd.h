// pidfd_open(2).
#ifndef SENTRY_FS_ANON_PIDFD_H_
#define SENTRY_FS_ANON_PIDFD_H_

#include <string>

#include "sentry/fs/file.h"
#include "sentry/task/thread_group.h"

namespace sentry {

// PIDFD_SELF_THREAD and PIDFD_SELF_THREAD_GROUP, Linux 6.14: the caller, without a descriptor, for
// some calls.
inline constexpr Fd kSelfThread{-10000}, kSelfProcess{-10001};

// Refers to a process, also after it has been reaped, or to one of its threads (PIDFD_THREAD).
// Readable once that has ended.
class PidFile final : public File {
 public:
  static constexpr char kKind = 0;

  // `thread` is empty for a process.
  PidFile(Ref<ThreadGroup> group, Ref<Task> thread, OpenFlags flags);
  ~PidFile() override;

  // For pidfd_send_signal, pidfd_getfd and waitid(P_PIDFD).
  ThreadGroup& group() const { return *group_; }
  Task* thread() const { return thread_.get(); }
  // The thread or the process's leader, also as a zombie. ESRCH once it has been reaped.
  Result<Ref<Task>> FindTask() const;

  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &group_->exit_events; }
  std::string AnonymousName() const override { return "anon_inode:[pidfd]"; }
  // The lines in /proc/PID/fdinfo.
  std::string FdInfo() const;
  // PIDFD_GET_INFO.
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;
  const void* kind() const override { return &kKind; }

 private:
  const Ref<ThreadGroup> group_;
  const Ref<Task> thread_;
};

// `flags`: PIDFD_NONBLOCK and, with a thread, PIDFD_THREAD; EINVAL otherwise.
Result<Ref<File>> CreatePidFd(Ref<ThreadGroup> group, uint32_t flags);
Result<Ref<File>> CreateThreadPidFd(Ref<Task> thread, uint32_t flags);

}  // namespace sentry

#endif  // SENTRY_FS_ANON_PIDFD_H_
