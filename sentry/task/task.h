// A thread of the application.
#ifndef SENTRY_TASK_TASK_H_
#define SENTRY_TASK_TASK_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/ref.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/fs/vfs.h"
#include "sentry/mm/mm.h"
#include "sentry/task/credentials.h"
#include "sentry/task/fd_table.h"
#include "sentry/task/fs_context.h"
#include "sentry/task/signal.h"
#include "sentry/task/thread_group.h"
#include "sentry/task/waiter.h"

namespace sentry {

class Kernel;

// Owned by its ThreadGroup (through the kernel's table) until it has exited and its call-backs have
// returned. "Own" fields are touched by the task's own call-backs only; others are guarded by
// Kernel::mu().
class Task final : public RefCounted, public platform::Guest {
 public:
  Task(Kernel& kernel, Ref<ThreadGroup> group, Pid tid);
  ~Task() override;

  Kernel& kernel() const { return kernel_; }
  ThreadGroup& group() const { return *group_; }
  Pid tid() const { return tid_; }  // Changes only when a non-leader executes execve.
  Pid tgid() const;

  // What the task uses; replaced by unshare and execve, by the task itself only.
  FdTable& fds() const { return *fds_; }
  Ref<FdTable> fds_ref() const { return fds_; }
  FsContext& fs() const { return *fs_; }
  Ref<FsContext> fs_ref() const { return fs_; }
  Mm& mm() const { return *mm_; }
  Ref<Mm> mm_ref() const { return mm_; }
  UserMemory& mem() const { return mm_->memory(); }
  Vfs& vfs() const;
  platform::Thread& thread() const { return *thread_; }

  // The credentials, own. Others read a copy through Kernel::CredentialsOf.
  const Credentials& creds() const { return creds_; }
  void set_creds(Credentials creds);

  // For path calls: start is the working directory or what `dirfd` names (EBADF, ENOTDIR).
  WalkContext walk_context() const;
  Result<WalkContext> walk_context(Fd dirfd) const;

  uint64_t Limit(int resource) const;  // rlim_cur of RLIMIT_*.

  // True when a signal is to be acted on or the task is to die: every wait ends.
  bool interrupted() const { return sleeper_.interrupted(); }
  Sleeper& sleeper() { return sleeper_; }

  // The signal mask, own (others read it under Kernel::mu()). Setting it may make a pending signal
  // deliverable, which is then delivered when the call returns.
  SignalSet signal_mask() const { return SignalSet(mask_.load(std::memory_order_relaxed)); }
  void SetSignalMask(SignalSet mask);
  // sigsuspend, ppoll, …: `mask` holds during the call; the old one comes back after the handler.
  void SetTemporaryMask(SignalSet mask);
  // For calls that end without having been interrupted.
  void RestoreTemporaryMask();
  // Signals sent to this task alone. Guarded by Kernel::mu().
  SignalQueue& pending_signals() { return pending_; }

  SignalStack signal_stack;          // Own.
  uint64_t clear_child_tid = 0;      // Own. The host does the clearing.
  uint64_t robust_list = 0;          // Own.
  std::string comm;                  // Guarded by Kernel::mu(); at most 15 bytes.
  int pdeath_signal = 0;             // Guarded by Kernel::mu().
  bool keep_caps = false;            // Own.
  // For kRestartBlock: what restart_syscall(2) does. Own.
  std::function<platform::Verdict(Task&)> restart_block;

  // platform::Guest.
  platform::Verdict OnSyscall(const platform::SyscallArgs& call) override;
  platform::Verdict OnContextSyscall(const platform::SyscallArgs& call,
                                     platform::Context& context) override;
  platform::Verdict OnInterrupt(platform::Context& context, bool restartable_syscall) override;
  platform::Verdict OnFault(const siginfo_t& info, platform::Context& context) override;
  void OnHostDeath(int wait_status) override;

 private:
  friend class Kernel;
  friend class TaskBuilder;  // clone.cc and exec.cc put tasks together.

  Kernel& kernel_;
  Ref<ThreadGroup> group_;
  Pid tid_;
  Ref<FdTable> fds_;
  Ref<FsContext> fs_;
  Ref<Mm> mm_;
  Credentials creds_;
  std::unique_ptr<platform::Thread> thread_;
  Sleeper sleeper_;
  std::atomic<uint64_t> mask_{0};
  std::optional<SignalSet> saved_mask_;  // Own: the mask under a temporary one.
  SignalQueue pending_;                  // Signals to this task; guarded by Kernel::mu().
  // The implementation's own members go here.
};

}  // namespace sentry

#endif  // SENTRY_TASK_TASK_H_
