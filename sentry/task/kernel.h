// The kernel: what all tasks share.
#ifndef SENTRY_TASK_KERNEL_H_
#define SENTRY_TASK_KERNEL_H_

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/fs/vfs.h"
#include "sentry/task/control_group.h"
#include "sentry/task/credentials.h"
#include "sentry/task/pi_futex.h"
#include "sentry/task/signal.h"
#include "sentry/task/syscall_dispatch.h"
#include "sentry/task/task.h"
#include "sentry/task/thread_group.h"
#include "sentry/task/wait_query.h"

namespace sentry {

class AfterUnlock;
class IpcNamespace;
class Namespaces;
class NetworkNamespace;

// One per sandbox, or in a pod one for each container: each is a pid namespace. Lock order,
// outermost first: Kernel::mu(), Vfs's, FdTable and FsContext, a file's or inode's own, WaitQueue's, Sleeper's. mu() guards the process tree, signals and job
// control; nothing that may block or touch application memory runs under it.
class Kernel {
 public:
  struct Options {
    std::string hostname = "sandbox";
    std::string domainname = "(none)";
    std::map<std::string, std::string>
        sysctls;  // By path below /proc/sys: shown so from the start.
    bool strace = false;
    // Called with no lock held when process 1 has exited, instead of Platform::Stop: of a container
    // whose end is not the sandbox's. Everything else in it is killed.
    std::function<void(int wait_status)> on_end;
  };

  Kernel(platform::Platform& platform, SyscallDispatcher& dispatcher, Options options);
  ~Kernel();

  platform::Platform& platform() const { return platform_; }
  SyscallDispatcher& dispatcher() const { return dispatcher_; }
  Vfs& vfs() { return vfs_; }
  absl::Mutex& mu() const ABSL_LOCK_RETURNED(mu_) { return mu_; }
  const Options& options() const { return options_; }
  PiFutexes& pi_futexes() { return pi_futexes_; }
  // Those of the sandbox's start. The network is set before guests run.
  const Namespaces& namespaces() const { return *namespaces_; }
  IpcNamespace& ipc() const;
  NetworkNamespace& network() const;
  void set_network(Ref<NetworkNamespace> network);
  // Takes part in those namespaces of `other` that `which` names (CLONE_NEW*). Before guests run.
  void JoinNamespaces(const Kernel& other, uint64_t which);
  // How many tasks there may be before clone(2) answers EAGAIN: pids.max of the first control
  // group. At any time; 0 leaves Linux's usual number.
  void LimitTasks(size_t most);
  // More than these the sandbox does not hold, whatever anybody's limit says.
  static constexpr size_t kMostTasks = 32768;

  // The root of its tree of control groups.
  ControlGroup& control_group() const { return *control_group_; }
  Ref<ControlGroup> ControlGroupOf(const ThreadGroup& group) ABSL_LOCKS_EXCLUDED(mu_);
  // Moves the process of a task. ESRCH; otherwise as ControlGroup::Move. A zombie stays.
  Status EnterControlGroup(Pid tid, const Ref<ControlGroup>& to) ABSL_LOCKS_EXCLUDED(mu_);
  // The live processes in a group, or with those in the groups below; by number.
  enum class Reach : uint8_t { kGroup, kSubtree };
  std::vector<Ref<ThreadGroup>> MembersOf(const ControlGroup& group, Reach reach)
      ABSL_LOCKS_EXCLUDED(mu_);

  // A process without a parent inside: the first one, and those that a container's caller adds.
  struct InitProcess {
    std::vector<std::string> argv;
    std::vector<std::string> envp;
    std::string path;  // Absolute, or relative to `cwd`; searched for nowhere.
    Path root;
    Path cwd;
    Credentials creds;
    std::vector<Ref<File>> stdio;  // Descriptors 0, 1, 2.
    Ref<Terminal> terminal;        // Becomes the controlling terminal when not empty.
    uint32_t umask = 022;
    std::vector<std::pair<int, rlimit>> limits;  // RLIMIT_*: instead of the usual ones.
    int oom_score_adj = 0;
    int nice = 0;
    uint32_t container = 0;  // ThreadGroup::container
    Ref<ContainerGroup> host_group;  // Likewise; empty but for a container in a pod.
    // Signals without a handler leave it alone, as they do process 1 of a pid namespace.
    bool unkillable = false;
    Ref<SeccompFilters> seccomp;                   // In force from its first call on.
    std::function<void(int wait_status)> on_exit;  // Not for the first. Called with no lock held.
  };
  // Loads it; it does not run before StartProcess. The first is process 1. Fails like execve(2);
  // ESRCH once process 1 has exited.
  Result<Ref<Task>> PrepareProcess(const InitProcess& init);
  void StartProcess(Task& task);
  // Both.
  Status CreateInit(const InitProcess& init);
  // Serves until the first process has exited; then kills what is left. Its wait(2) status.
  int Run();

  // Sends to the foreground process group of the terminal that init began with (^C from the
  // caller's terminal, or a signal that the front-end was sent); without one, to init.
  void SignalForeground(int sig);
  void SignalInit(int sig);
  // The same for a process that StartProcess started, and the terminal it began with.
  void SignalForegroundOf(Terminal& terminal, ThreadGroup& process, int sig);
  // Every process of one container.
  void SignalAll(int sig, uint32_t container);

  // The process tree. Everything ending in Locked wants mu().
  Ref<Task> FindTask(Pid tid);
  // platform::Thread::Interrupt, if there is such a task: its waits in the sentry go on.
  void InterruptThread(Pid tid) ABSL_LOCKS_EXCLUDED(mu_);
  Ref<ThreadGroup> FindGroup(Pid tgid);
  std::vector<Ref<ThreadGroup>> AllGroups();
  Ref<ThreadGroup> init() const;
  Result<Credentials> CredentialsOf(Pid tid);

  // signalfds wait here, whosever signals they read; notified with POLLIN after a signal was
  // queued.
  WaitQueue& signal_events() { return signal_events_; }

  // Queues a signal and wakes whoever is to act on it. No lock of a file or filesystem may be held:
  // a killed process lets go of its files here. To one task:
  void SendTo(Task& task, const SignalInfo& info) ABSL_LOCKS_EXCLUDED(mu_);
  // To a process.
  void SendTo(ThreadGroup& group, const SignalInfo& info) ABSL_LOCKS_EXCLUDED(mu_);
  // Of a POSIX timer, to a task or its process. Its room in the queue was taken by ChargeTimer.
  void SendTimerSignal(ThreadGroup& group, Task* only, const SignalInfo& info)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The room that a POSIX timer's signal may need. EAGAIN beyond RLIMIT_SIGPENDING.
  Result<SignalCharge> ChargeTimer(ThreadGroup& group) ABSL_LOCKS_EXCLUDED(mu_);
  // To every member of a process group that exists (ESRCH otherwise).
  Status SendToProcessGroup(Pid pgid, const SignalInfo& info) ABSL_LOCKS_EXCLUDED(mu_);
  // kill(2): `pid` as there. `info.si_signo` 0 only checks. ESRCH, EPERM; EAGAIN when a queued
  // signal (sigqueue(3)) is one too many.
  Status Kill(Task& sender, Pid pid, const SignalInfo& info) ABSL_LOCKS_EXCLUDED(mu_);
  // tgkill(2) and tkill(2) (`tgid` -1).
  Status KillTask(Task& sender, Pid tgid, Pid tid, const SignalInfo& info) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether `sender` may send `sig` to a process.
  bool MaySignalLocked(const Task& sender, const ThreadGroup& group, int sig) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Takes a pending signal out of `set`, whether blocked or not (sigtimedwait, signalfd).
  std::optional<SignalInfo> TakeSignal(Task& task, SignalSet set) ABSL_LOCKS_EXCLUDED(mu_);
  // sigtimedwait(2): EAGAIN past the deadline, EINTR for other signals.
  Result<SignalInfo> WaitForSignal(Task& task, SignalSet set, Deadline deadline)
      ABSL_LOCKS_EXCLUDED(mu_);

  // One look at the children, reaping what it reports; see sentry/task/wait.h.
  Result<WaitReport> LookForChild(ThreadGroup& parent, const WaitQuery& query)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Ends the calling task's process (exit_group, fatal signal) with a wait status. The call-back
  // then returns Verdict::kGone.
  void ExitGroup(Task& task, int wait_status) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends the calling task only. The call-back then returns Verdict::kExitThread.
  void ExitTask(Task& task, int wait_status) ABSL_LOCKS_EXCLUDED(mu_);

  // Who ends a task: anybody, or one of the task's own call-backs.
  enum class From : uint8_t { kOutside, kCallback, kHostDeath };

 private:
  friend class Task;
  friend class TaskBuilder;

  friend class AfterUnlock;
  friend class JobControl;

  Pid AllocatePidLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // A number of the caller's choice: EINVAL, EEXIST.
  Result<Pid> ClaimPidLocked(Pid pid) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsPidTakenLocked(Pid pid) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Task* FindTaskLocked(Pid tid) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  ThreadGroup* FindGroupLocked(Pid tgid) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // signal_delivery.cc
  enum class Room : uint8_t { kCharged, kPrepaid };
  Status SendLocked(ThreadGroup& group, Task* only, const SignalInfo& info, AfterUnlock& after,
                    Room room = Room::kCharged) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Puts it into a queue within RLIMIT_SIGPENDING (send_signal() of Linux); EAGAIN beyond it for
  // what must not get lost.
  Status QueueLocked(ThreadGroup& group, SignalQueue& queue, const SignalInfo& info, Room room)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::shared_ptr<UserSignals> SignalsOfUserLocked(uint32_t uid) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WakeForSignalLocked(ThreadGroup& group, Task* only, int sig, AfterUnlock& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Interrupts whatever the task does.
  void InterruptLocked(Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Interrupts it if a signal is deliverable now, and finds others for what it has just blocked.
  void RecheckSignalsLocked(Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // group_stop.cc
  void StopLocked(ThreadGroup& group, int sig) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ContinueLocked(ThreadGroup& group, AfterUnlock& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CheckStopCompleteLocked(ThreadGroup& group, AfterUnlock& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NotifyParentLocked(ThreadGroup& group, int code, int status, AfterUnlock& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // exit.cc
  void KillOthersLocked(AfterUnlock& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BeginGroupExitLocked(ThreadGroup& group, int wait_status, AfterUnlock& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void KillTaskLocked(Task& task, AfterUnlock& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Of a process that has been killed and does not stop to give up its locks.
  friend class ExitDeadline;
  void EndAnyway(ThreadGroup& group) ABSL_LOCKS_EXCLUDED(mu_);
  void KillHostLocked(ThreadGroup& group) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The end of a task, once for each. Inside one of its own call-backs its thread outlives it.
  void FinishTask(Task& task, From from) ABSL_LOCKS_EXCLUDED(mu_);
  void ReleaseResources(Task& task) ABSL_LOCKS_EXCLUDED(mu_);
  void UnlinkTaskLocked(Task& task, AfterUnlock& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GroupDiedLocked(ThreadGroup& group, AfterUnlock& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReparentChildrenLocked(ThreadGroup& group, AfterUnlock& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LeaveSessionLocked(ThreadGroup& group, AfterUnlock& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SignalOrphansLocked(ThreadGroup& group, AfterUnlock& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Tells the parent of a zombie, or reaps it when the parent does not want to know.
  void ReportDeathLocked(ThreadGroup& group, AfterUnlock& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReapLocked(ThreadGroup& group, AfterUnlock& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WakeVforkParentLocked(Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Returns once no task of the group is in the middle of execve.
  void AwaitExec(ThreadGroup& group) ABSL_LOCKS_EXCLUDED(mu_);

  platform::Platform& platform_;
  SyscallDispatcher& dispatcher_;
  const Options options_;
  Vfs vfs_;
  WaitQueue signal_events_;
  const Ref<Mm> no_memory_;  // Of tasks that have exited.
  Ref<FsContext> no_place_;  // Likewise, at the first root; set before there are any.
  PiFutexes pi_futexes_;
  Ref<Namespaces> namespaces_;
  mutable absl::Mutex mu_;
  absl::flat_hash_map<Pid, Ref<Task>> tasks_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<Pid, Ref<ThreadGroup>> groups_ ABSL_GUARDED_BY(mu_);
  absl::CondVar exec_done_;  // An exec_task has gone.
  Ref<ThreadGroup> init_ ABSL_GUARDED_BY(mu_);
  // Users with queued signals; the others are forgotten now and then.
  absl::flat_hash_map<uint32_t, std::shared_ptr<UserSignals>> user_signals_ ABSL_GUARDED_BY(mu_);
  Ref<Terminal> console_ ABSL_GUARDED_BY(mu_);  // The one that init began with.
  Pid last_pid_ ABSL_GUARDED_BY(mu_) = 0;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // Init has exited: nothing new starts.
  const Ref<ControlGroup> control_group_;
};

// What must wait until Kernel::mu() is released: the ends of tasks, and last references. Declare it
// before the lock.
class AfterUnlock {
 public:
  // kCallback where a task whose own call-back this is may be among them.
  explicit AfterUnlock(Kernel& kernel, Kernel::From from = Kernel::From::kOutside)
      : kernel_(kernel), from_(from) {}
  ~AfterUnlock();
  AfterUnlock(const AfterUnlock&) = delete;
  AfterUnlock& operator=(const AfterUnlock&) = delete;

  void Finish(Ref<Task> task) { dead_.push_back(std::move(task)); }
  void Release(Ref<RefCounted> object) { garbage_.push_back(std::move(object)); }
  void Release(std::shared_ptr<void> object) { shared_.push_back(std::move(object)); }
  void Call(std::function<void()> function) { calls_.push_back(std::move(function)); }

 private:
  Kernel& kernel_;
  const Kernel::From from_;
  std::vector<Ref<Task>> dead_;
  std::vector<Ref<RefCounted>> garbage_;
  std::vector<std::shared_ptr<void>> shared_;
  std::vector<std::function<void()>> calls_;
};

}  // namespace sentry

#endif  // SENTRY_TASK_KERNEL_H_
