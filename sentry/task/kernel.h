// The kernel: what all tasks share.
#ifndef SENTRY_TASK_KERNEL_H_
#define SENTRY_TASK_KERNEL_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/fs/vfs.h"
#include "sentry/task/credentials.h"
#include "sentry/task/signal.h"
#include "sentry/task/syscall_dispatch.h"
#include "sentry/task/task.h"
#include "sentry/task/thread_group.h"

namespace sentry {

// One per sandbox. Lock order, outermost first: Kernel::mu(), Vfs's, FdTable and FsContext, a
// file's or inode's own, WaitQueue's, Sleeper's. mu() guards the process tree, signals and job
// control; nothing that may block or touch application memory runs under it.
class Kernel {
 public:
  struct Options {
    std::string hostname = "sandbox";
    bool strace = false;
  };

  Kernel(platform::Platform& platform, SyscallDispatcher& dispatcher, Options options);
  ~Kernel();

  platform::Platform& platform() const { return platform_; }
  SyscallDispatcher& dispatcher() const { return dispatcher_; }
  Vfs& vfs() { return vfs_; }
  absl::Mutex& mu() const ABSL_LOCK_RETURNED(mu_) { return mu_; }
  const Options& options() const { return options_; }

  // The first process. Fails like execve(2); `error` says what could not be executed.
  struct InitProcess {
    std::vector<std::string> argv;
    std::vector<std::string> envp;
    std::string path;           // Absolute, or relative to `cwd`; searched for nowhere.
    Path root;
    Path cwd;
    Credentials creds;
    std::vector<Ref<File>> stdio;  // Descriptors 0, 1, 2.
    Ref<File> terminal;            // Becomes the controlling terminal when not empty.
  };
  Status CreateInit(const InitProcess& init);
  // Serves until the first process has exited; then kills what is left. Its wait(2) status.
  int Run();

  // Sends to the foreground process group of the first session (^C from the caller's terminal, or a
  // signal that the front-end was sent); without one, to init.
  void SignalForeground(int sig);
  void SignalInit(int sig);

  // The process tree. Everything ending in Locked wants mu().
  Ref<Task> FindTask(Pid tid);
  Ref<ThreadGroup> FindGroup(Pid tgid);
  std::vector<Ref<ThreadGroup>> AllGroups();
  Ref<ThreadGroup> init() const;
  Result<Credentials> CredentialsOf(Pid tid);

  // Queues a signal and wakes whoever is to act on it. To one task:
  void SendTo(Task& task, const SignalInfo& info) ABSL_LOCKS_EXCLUDED(mu_);
  // To a process.
  void SendTo(ThreadGroup& group, const SignalInfo& info) ABSL_LOCKS_EXCLUDED(mu_);
  // To every member of a process group that exists (ESRCH otherwise).
  Status SendToProcessGroup(Pid pgid, const SignalInfo& info) ABSL_LOCKS_EXCLUDED(mu_);

  // Ends the calling task's process (exit_group, fatal signal) with a wait status.
  void ExitGroup(Task& task, int wait_status) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the calling task only.
  void ExitTask(Task& task, int wait_status) ABSL_LOCKS_EXCLUDED(mu_);

  std::string hostname() const;
  void set_hostname(std::string name);

 private:
  friend class Task;
  friend class TaskBuilder;

  platform::Platform& platform_;
  SyscallDispatcher& dispatcher_;
  const Options options_;
  Vfs vfs_;
  mutable absl::Mutex mu_;
  absl::flat_hash_map<Pid, Ref<Task>> tasks_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<Pid, Ref<ThreadGroup>> groups_ ABSL_GUARDED_BY(mu_);
  // The implementation's own members go here.
};

}  // namespace sentry

#endif  // SENTRY_TASK_KERNEL_H_
