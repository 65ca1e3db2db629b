// A thread of the application.
#ifndef SENTRY_TASK_TASK_H_
#define SENTRY_TASK_TASK_H_

#include <sched.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/fs/vfs.h"
#include "sentry/mm/mm.h"
#include "sentry/task/credentials.h"
#include "sentry/task/fd_table.h"
#include "sentry/task/fs_context.h"
#include "sentry/task/seccomp.h"
#include "sentry/task/signal.h"
#include "sentry/task/thread_group.h"
#include "sentry/task/waiter.h"

namespace sentry {

class Kernel;
class Namespaces;
class SemUndoList;
class TimedWait;

// Owned by the kernel's table until it has exited and its call-backs have returned. "Own" fields are
// touched by the task's own call-backs only; others are guarded by Kernel::mu().
class Task final : public RefCounted, public platform::Guest {
 public:
  Task(Kernel& kernel, Ref<ThreadGroup> group, Pid tid);
  ~Task() override;

  // The task whose call-back runs on this host thread; nullptr outside call-backs. For objects whose
  // content depends on who looks: /proc/self, signalfd.
  static Task* Current();
  static void SetCurrent(Task* task);

  Kernel& kernel() const { return kernel_; }
  ThreadGroup& group() const { return *group_; }
  Pid tid() const { return tid_; }  // Changes only when a non-leader executes execve.
  Pid tgid() const;

  // What the task uses; replaced by unshare and execve, by the task itself only.
  // The *_ref() forms are for other tasks as well. A task that has exited has an empty table and an
  // address space without memory.
  FdTable& fds() const { return *fds_; }
  Ref<FdTable> fds_ref() const ABSL_LOCKS_EXCLUDED(refs_mu_);
  FsContext& fs() const { return *fs_; }
  Ref<FsContext> fs_ref() const ABSL_LOCKS_EXCLUDED(refs_mu_);
  // All but that of mounts, which fs() has. A task that has exited is in the first ones.
  const Namespaces& namespaces() const { return *namespaces_; }
  Ref<const Namespaces> namespaces_ref() const ABSL_LOCKS_EXCLUDED(refs_mu_);
  void EnterNamespaces(Ref<const Namespaces> namespaces) ABSL_LOCKS_EXCLUDED(refs_mu_);
  Mm& mm() const { return *mm_; }
  Ref<Mm> mm_ref() const ABSL_LOCKS_EXCLUDED(refs_mu_);
  // unshare(2).
  void UnshareFds() ABSL_LOCKS_EXCLUDED(refs_mu_);
  void UnshareFs() ABSL_LOCKS_EXCLUDED(refs_mu_);
  UserMemory& mem() const { return mm_->memory(); }
  Vfs& vfs() const;
  platform::Thread& thread() const { return *thread_; }  // Own: an exited task has none.
  // False once it has ended. Guarded by Kernel::mu().
  bool alive() const { return thread_ != nullptr; }
  // The letter of proc_pid_stat(5): R, S, D, T or Z. From any task; may ask the host.
  char State() const ABSL_LOCKS_EXCLUDED(refs_mu_);
  // CPU time used so far, in nanoseconds; 0 once it has been added to the group's. From any task.
  uint64_t CpuTimeNs() const;
  // The same under Kernel::mu().
  uint64_t CpuTimeNsLocked() const { return CpuSplitLocked().total_ns(); }
  platform::CpuTimes CpuSplitLocked() const {
    return thread_ ? thread_->CpuSplit() : platform::CpuTimes();
  }
  // Of this thread alone. From any task; may ask the host.
  uint64_t ThreadCpuNs() const;
  // platform::Thread::SetHostLimit under Kernel::mu(), from any task.
  void SetHostLimitLocked(int resource, uint64_t value) {
    // A host that keeps no limits leaves them as numbers that are shown.
    if (thread_) (void)thread_->SetHostLimit(resource, value);
  }

  // platform::Thread::SetAffinity under Kernel::mu(), from any task.
  void SetAffinityLocked(const cpu_set_t& cpus) {
    affinity = cpus;
    // A host that does not let us leaves a wish that is shown.
    if (thread_) (void)thread_->SetAffinity(cpus);
  }

  // platform::Thread::ForgetAnswers under Kernel::mu(), from any task: behind each change of what
  // getppid(2) and getpgrp(2) tell.
  void ForgetAnswersLocked() {
    if (thread_) thread_->ForgetAnswers();
  }

  // platform::KnownErrors::Close under Kernel::mu(), from any task.
  void CloseErrorsLocked() {
    const Ref<platform::KnownErrors> errors = thread_ ? thread_->known_errors() : nullptr;
    if (errors) errors->Close();
  }

  // The credentials, own. Others read a copy through Kernel::CredentialsOf.
  const Credentials& creds() const { return creds_; }
  void set_creds(Credentials creds);

  // seccomp(2). Set by the task itself or, for all threads, by one of them.
  bool has_seccomp() const { return has_seccomp_.load(std::memory_order_acquire); }
  bool seccomp_strict() const { return seccomp_strict_.load(std::memory_order_relaxed); }
  Ref<SeccompFilters> seccomp_ref() const ABSL_LOCKS_EXCLUDED(refs_mu_);
  void set_seccomp(Ref<SeccompFilters> filters, bool strict) ABSL_LOCKS_EXCLUDED(refs_mu_);

  // For path calls: start is the working directory or what `dirfd` names (EBADF, ENOTDIR).
  WalkContext walk_context() const;
  Result<WalkContext> walk_context(Fd dirfd) const;

  uint64_t Limit(int resource) const;  // rlim_cur of RLIMIT_*.

  // Those of fds() that take a number, below RLIMIT_NOFILE.
  Result<Fd> AddFd(Ref<File> file, bool close_on_exec, int from = 0);
  Result<Fd> ReplaceFd(Fd to, Ref<File> file, bool close_on_exec);
  Result<Fd> ReserveFd();
  // Whether there may be no number left, so that open(2) is EMFILE before it looks for anything.
  bool MayLackFds() const;

  // True when a signal is to be acted on or the task is to die: every wait ends.
  bool interrupted() const { return sleeper_.interrupted(); }
  Sleeper& sleeper() { return sleeper_; }

  // The signal mask, own (others read it under Kernel::mu()). Setting it may make a pending signal
  // deliverable, which is then delivered when the call returns.
  SignalSet signal_mask() const {
    const platform::LocalSignals* local = local_signals_.load(std::memory_order_acquire);
    return SignalSet((local != nullptr ? local->mask : mask_).load()) & ~SignalSet::Unmaskable();
  }
  void SetSignalMask(SignalSet mask);
  // sigsuspend, ppoll, …: `mask` holds during the call; the old one comes back after the handler.
  void SetTemporaryMask(SignalSet mask);
  // An action of its process has been set: before any of its threads can know.
  void PublishActionsLocked();
  // For calls that end without having been interrupted.
  void RestoreTemporaryMask();
  // A signal that the current call has earned, as if from the hardware: cannot be blocked or ignored.
  void RaiseForced(int sig);
  void RaiseForced(const SignalInfo& info);
  // Signals sent to this task alone. Guarded by Kernel::mu().
  SignalQueue& pending_signals() { return pending_; }

  SignalStack signal_stack;          // Own.
  int seccomp_killed = 0;            // Own: its next call ends it, with this signal as the reason.
  // Another thread's seccomp(2) has set it for this one, which then is its own before its next call.
  std::atomic<bool> gains_no_new_privs{false};
  uint64_t clear_child_tid = 0;      // Own. The host does the clearing.
  bool clear_child_tid_due = false;  // Own. Only it does not know yet.
  Status TellClearChildTid(platform::Context& context);
  // The head of the list of robust futexes, 0: none. Own; get_robust_list(2) looks.
  uint64_t robust_list() const {
    const platform::LocalSignals* local = local_signals_.load(std::memory_order_acquire);
    return (local != nullptr ? local->robust_list : robust_list_).load();
  }
  void set_robust_list(uint64_t head) {
    platform::LocalSignals* local = local_signals_.load(std::memory_order_acquire);
    (local != nullptr ? local->robust_list : robust_list_).store(head);
  }
  bool futexes_released = false;     // It has ended. Guarded by PiFutexes' lock.
  std::string comm;                  // Guarded by Kernel::mu(); at most 15 bytes.
  int pdeath_signal = 0;             // Guarded by Kernel::mu().
  // Recorded for getpriority(2), sched_*(2) and prctl(2) only: the host schedules.
  std::atomic<int> nice{0};
  std::atomic<int> sched_policy{0}, sched_priority{0};
  std::atomic<bool> sched_reset_on_fork{false};
  std::atomic<uint64_t> sched_runtime{0}, sched_deadline{0}, sched_period{0};
  std::atomic<int> ioprio{0};
  std::atomic<uint64_t> timer_slack_ns{50000};
  bool io_flusher = false;  // Own: PR_SET_IO_FLUSHER. Told only.
  // set_mempolicy(2). Told only. Written by the task itself.
  MemoryPolicy memory_policy() const {
    const uint32_t mode = memory_policy_.load(std::memory_order_relaxed);
    return {.mode = mode & ~kNodeInPolicy, .nodes = (mode & kNodeInPolicy) != 0 ? uint64_t{1} : 0};
  }
  void set_memory_policy(MemoryPolicy policy) {
    memory_policy_.store(policy.mode | (policy.nodes != 0 ? kNodeInPolicy : 0),
                         std::memory_order_relaxed);
  }
  // Own: what semop(2) with SEM_UNDO takes back; shared with CLONE_SYSVSEM, empty until used.
  Ref<SemUndoList> sem_undo;
  // Own: what the present call is to map, where the file has no such descriptor itself.
  UniqueFd mapping_fd;
  // sched_setaffinity(2), empty until set. The host thread has it, too. Guarded by Kernel::mu().
  std::optional<cpu_set_t> affinity;
  Ref<TimedWait> timed_wait;  // Own: empty before the first.
  // For kRestartBlock: what restart_syscall(2) does. Own.
  std::function<platform::Verdict(Task&)> restart_block;
  // A call that turned out to want the thread's context: answered with kRestartNoIntr, it is carried
  // out by the OnInterrupt that follows. Own.
  std::function<platform::Verdict(Task&, platform::Context&)> deferred_call;

  // platform::Guest.
  platform::Verdict OnSyscall(const platform::SyscallArgs& call) override;
  platform::Verdict OnContextSyscall(const platform::SyscallArgs& call,
                                     platform::Context& context) override;
  platform::Verdict OnInterrupt(platform::Context& context, bool restartable_syscall) override;
  platform::Verdict OnFault(const siginfo_t& info, platform::Context& context) override;
  void OnHostDeath(int wait_status) override;
  void ShareSignals(platform::LocalSignals* signals) override;

 private:
  friend class Kernel;
  friend class TaskBuilder;  // clone.cc and exec.cc put tasks together.

  // Bits of `life_`. A task is finished exactly once: by its own call-back when that ends after
  // kKilled was set, by whoever set kKilled when no call-back was under way.
  // kStarting counts as a call-back: between becoming visible and Thread::Start.
  // kAwaited, with kKilled: the next call-back finishes the task, because its robust locks have to be
  // given up by a thread that stands still.
  static constexpr uint32_t kInCallback = 1, kKilled = 2, kStarting = 4, kAwaited = 8;

  // Of a call-back that finds the task killed.
  platform::Verdict Gone(platform::Context* context = nullptr);
  // At the end of the last call-back: gives up robust locks. False when that takes another call-back,
  // with a context.
  bool ReleaseLocksAtEnd(platform::Context* context);
  // Makes the next call-back the last; false when none can come any more.
  bool AwaitCallback();
  // What surrounds every call-back.
  bool Enter();
  platform::Verdict Leave(platform::Verdict verdict, platform::Context* context = nullptr);
  // Clears a bit of life_; true when the caller is the one who has to finish the task.
  bool LeaveState(uint32_t bit) {
    const uint32_t before = life_.fetch_and(~bit);
    return (before & kKilled) != 0 && (before & (kInCallback | kStarting | kAwaited)) == bit;
  }
  bool killed() const { return (life_.load() & kKilled) != 0; }

  // Remembers a restart code and hides it; see restart.h.
  platform::Verdict FilterRestart(platform::Verdict verdict, const platform::SyscallArgs& call);
  void RunDeferredCall(platform::Context& context);
  // Decides how the interrupted call goes on; `action` is the handler about to run, or nullptr.
  void ApplyRestart(platform::Registers& regs, bool restartable, const SignalAction* action);

  // The next signal with a handler. Carries out default actions, stops and death on the way.
  struct Delivery {
    SignalInfo info;
    SignalAction action;
  };
  std::optional<Delivery> NextDelivery(bool& stopped);
  void Park();  // Until the group stop ends.
  void DeliverSignals(platform::Context& context, bool restartable);
  // Enters the handler, or turns the signal into a SIGSEGV.
  void EnterHandler(platform::Context& context, const Delivery& delivery);
  // A fault: cannot be blocked or ignored.
  void ForceSignal(const SignalInfo& info);

  Kernel& kernel_;
  Ref<ThreadGroup> group_;
  Pid tid_;
  mutable absl::Mutex refs_mu_;  // Leaf: replacing the five below, and reading them from outside.
  Ref<SeccompFilters> seccomp_;
  std::atomic<bool> has_seccomp_{false}, seccomp_strict_{false};
  // Filters have a say in what the platform would answer in place.
  std::atomic<bool> filters_local_calls_{false};
  Ref<FdTable> fds_;
  Ref<FsContext> fs_;
  Ref<const Namespaces> namespaces_;
  Ref<Mm> mm_;
  Credentials creds_;  // Written under Kernel::mu().
  std::unique_ptr<platform::Thread> thread_;  // Set and reset under Kernel::mu().
  Sleeper sleeper_;
  void StoreSignalMask(SignalSet mask);
  // Tells a thread that changes its mask itself whether it may. Under Kernel::mu(), behind each change
  // of what is pending and in front of looking at the mask.
  void PublishPendingLocked();

  std::atomic<uint64_t> mask_{0};  // While it is not in local_signals_.
  std::atomic<uint64_t> robust_list_{0};  // While it is not there, either.
  // memory_policy() in one word: /proc shows others' as well.
  static constexpr uint32_t kNodeInPolicy = uint32_t{1} << 31;
  std::atomic<uint32_t> memory_policy_{0};
  std::atomic<platform::LocalSignals*> local_signals_{nullptr};  // Written under Kernel::mu().
  std::optional<SignalSet> saved_mask_;  // Own: the mask under a temporary one.
  SignalQueue pending_;                  // Signals to this task; guarded by Kernel::mu().

  std::atomic<uint32_t> life_{0};
  int restart_code_ = 0;      // Own: of the call that has just ended, until the next OnInterrupt.
  uint64_t restart_nr_ = 0;   // Own: its number.
  int exit_status_ = 0;       // Own: as wait(2) reports it.

  // The rest is guarded by Kernel::mu().
  // Waits that only death, SIGCONT or an event of the tree ends: group stop, vfork, execve.
  absl::CondVar state_cv_;
  bool parked_ = false;              // Stands still for a group stop.
  SignalSet sigwait_;                // What sigtimedwait waits for.
  Ref<Task> vfork_parent_;           // Waits for this task's execve or end.
  platform::CpuTimes final_cpu_;     // CPU time when the process was killed.
  bool vfork_waiting_ = false;       // This task's own wait for a child.
  // In execve: the threads of the other tasks, which end with the old host process.
  struct Grave {
    Ref<Task> task;
    std::unique_ptr<platform::Thread> thread;  // Destroyed before the guest that it calls.
  };
  std::vector<Grave> exec_graves_;
};

}  // namespace sentry

#endif  // SENTRY_TASK_TASK_H_
