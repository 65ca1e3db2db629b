// A process: tasks that share a pid, signals and a parent.
#ifndef SENTRY_TASK_THREAD_GROUP_H_
#define SENTRY_TASK_THREAD_GROUP_H_

#include <sys/resource.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/ref.h"
#include "platform/api/usage.h"
#include "sentry/fs/file.h"
#include "sentry/fs/wait_queue.h"
#include "sentry/task/container_group.h"
#include "sentry/task/control_group.h"
#include "sentry/task/signal.h"
#include "sentry/task/terminal.h"

namespace sentry {

class Kernel;
class Task;

using Pid = int32_t;

// Signal actions; shared with CLONE_SIGHAND. Guarded by Kernel::mu().
struct SignalHandlers : RefCounted {
  std::array<SignalAction, kSignalCount + 1> actions{};  // By number; 0 is unused.
  bool shared = false;  // By processes, not threads only: CLONE_SIGHAND without CLONE_THREAD.

  // Those that have the action that all begin with.
  SignalSet Untouched() const;
};

// A session. Its terminal is what its processes say (ThreadGroup::terminal).
struct Session : RefCounted {
  Pid id = 0;
  // What is scheduled together (CONFIG_SCHED_AUTOGROUP of Linux, sched(7)) is a session: its
  // number, never that of another one, and the niceness of the whole, which is told only.
  const uint64_t autogroup = ++last_autogroup;
  int autogroup_nice = 0;
  static inline std::atomic<uint64_t> last_autogroup{0};
};

// The resource limits of a process. Changed under Kernel::mu(); a soft limit may be read without, so
// that a write to a file takes no lock of everybody's.
class ResourceLimits {
 public:
  using Array = std::array<rlimit, RLIM_NLIMITS>;

  ResourceLimits() { Assign({}); }
  ResourceLimits& operator=(const ResourceLimits& other) {
    Assign(other.values_);
    return *this;
  }
  void Assign(const Array& values) {
    for (size_t i = 0; i < values.size(); ++i) Set(i, values[i]);
  }
  void Set(size_t resource, const rlimit& value) {
    values_.at(resource) = value;
    soft_.at(resource).store(value.rlim_cur, std::memory_order_relaxed);
  }
  const rlimit& operator[](size_t resource) const { return values_.at(resource); }
  const Array& all() const { return values_; }
  // rlim_cur. Any thread, without a lock.
  uint64_t Soft(size_t resource) const {
    return soft_.at(resource).load(std::memory_order_relaxed);
  }

 private:
  Array values_{};
  std::array<std::atomic<uint64_t>, RLIM_NLIMITS> soft_{};
};

// Every field is guarded by Kernel::mu() unless it says otherwise. Plain data: the rules are in
// the files of sentry/task/ (exit.cc, wait.cc, signal_delivery.cc, job_control.cc).
class ThreadGroup : public RefCounted {
 public:
  explicit ThreadGroup(Kernel& kernel) : kernel(kernel) {}

  Kernel& kernel;
  Pid id = 0;                        // tgid; constant once set.
  Task* leader = nullptr;            // May already have exited.
  std::vector<Task*> tasks;          // Alive.
  ThreadGroup* parent = nullptr;     // nullptr for init.
  Pid parent_tid = 0;                // The parent's thread that made it, for __WNOTHREAD.
  std::vector<Ref<ThreadGroup>> children;  // Alive and zombies.
  int exit_signal = SIGCHLD;         // Sent to the parent at the end.
  Pid group = 0;                     // Process group.
  Ref<Session> session;
  Ref<Terminal> terminal;            // The controlling one; inherited by fork(2).
  Pid old_foreground = 0;            // Of the terminal that this session leader lost.
  Ref<SignalHandlers> handlers;
  SignalQueue pending;               // Signals to the process.
  bool has_execed = false;           // setpgid(2) is refused afterwards.
  bool child_subreaper = false;
  bool unkillable = false;           // The first process of a pid namespace: pid_namespaces(7).

  bool exiting = false;              // exit_group or a fatal signal.
  Ref<RefCounted> exit_deadline;     // The alarm while its threads are awaited, see exit.cc.
  bool host_gone = false;            // Its host process has been killed, or died: no call-backs.
  int exit_status = 0;               // As wait(2) reports it, valid when exiting or zombie.
  bool zombie = false;               // All tasks gone, not yet reaped.
  bool stopped = false;              // Group stop in force.
  int stop_signal = 0;
  bool stop_complete = false;        // Every task stands still.
  Task* exec_task = nullptr;         // Waits in execve for the other tasks to end.
  bool stop_unreported = false;      // A stop that wait(WUNTRACED) has not told.
  bool continue_unreported = false;  // Likewise WCONTINUED.

  // wait4 of this process sleeps here; notified with POLLIN when a child changes state.
  WaitQueue child_events;
  // pidfds of this process and vfork parents wait here; POLLIN at exit (and exec, for vfork).
  WaitQueue exit_events;
  // Of a process without a parent inside: told its wait status once, with no lock held.
  std::function<void(int)> on_exit;

  ResourceLimits limits;
  uint32_t host_limits = 0;  // Bits 1 << RLIMIT_* of those that the host keeps.
  platform::CpuTimes dead_cpu;        // CPU time of the process at its end, or so far.
  bool lost_threads = false;          // It has had more than it has now.
  Ref<platform::UsageLedger> ledger = MakeRef<platform::UsageLedger>();
  // Of reaped children and those that they have waited for, but for what the host has not said yet.
  platform::Usage children_usage;
  std::vector<Ref<platform::UsageLedger>> unsettled_children;
  uint32_t uid = 0;                   // Real user id of the last task, for reports of its end.
  int64_t start_time_ns = 0;          // CLOCK_MONOTONIC.
  uint64_t personality = 0;
  int dumpable = 1;
  int thp_disabled = 0;               // PR_SET_THP_DISABLE: as PR_GET_THP_DISABLE tells it.
  bool merges_memory = false;         // PR_SET_MEMORY_MERGE: recorded only.
  int mce_policy = 2;                 // PR_MCE_KILL_DEFAULT.
  int oom_score_adj = 0;
  Ref<ControlGroup> control_group;   // Inherited; never empty once there are tasks.
  size_t charged_tasks = 0;          // To it: those being made and zombies as well.
  uint32_t container = 0;  // Which one of a pod, where several share a kernel. Inherited.
  Ref<ContainerGroup> host_group;  // Of a container in a pod; inherited.
  uint32_t coredump_filter = 0x33;   // core(5). Told only: no core is written.
  // Bytes and calls of read(2), write(2) and their kin, for /proc/PID/io. Not guarded.
  struct IoCounts {
    std::atomic<uint64_t> read_bytes{0}, written_bytes{0}, reads{0}, writes{0};
  };
  IoCounts io;
  // Interval timers and POSIX timers; owned by sentry/time.
  std::shared_ptr<class ProcessTimers> timers;
};

}  // namespace sentry

#endif  // SENTRY_TASK_THREAD_GROUP_H_
