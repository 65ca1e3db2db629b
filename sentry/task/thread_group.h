// A process: tasks that share a pid, signals and a parent.
#ifndef SENTRY_TASK_THREAD_GROUP_H_
#define SENTRY_TASK_THREAD_GROUP_H_

#include <sys/resource.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/ref.h"
#include "sentry/fs/file.h"
#include "sentry/fs/wait_queue.h"
#include "sentry/task/signal.h"

namespace sentry {

class Kernel;
class Task;

using Pid = int32_t;

// Signal actions; shared with CLONE_SIGHAND. Guarded by Kernel::mu().
struct SignalHandlers : RefCounted {
  std::array<SignalAction, kSignalCount + 1> actions{};  // By number; 0 is unused.
};

// A session with its controlling terminal. Guarded by Kernel::mu().
struct Session : RefCounted {
  Pid id = 0;
  Ref<File> terminal;        // Empty without one.
  Pid foreground_group = 0;  // tcgetpgrp(3).
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
  std::vector<Ref<ThreadGroup>> children;  // Alive and zombies.
  int exit_signal = SIGCHLD;         // Sent to the parent at the end.
  Pid group = 0;                     // Process group.
  Ref<Session> session;
  Ref<SignalHandlers> handlers;
  SignalQueue pending;               // Signals to the process.
  bool has_execed = false;           // setpgid(2) is refused afterwards.
  bool child_subreaper = false;

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
  // signalfds wait here; notified with POLLIN after a signal has been queued to the process or to one
  // of its tasks.
  WaitQueue signal_events;

  std::array<rlimit, RLIM_NLIMITS> limits{};
  uint32_t host_limits = 0;  // Bits 1 << RLIMIT_* of those that the host keeps.
  uint64_t dead_cpu_ns = 0;           // CPU time of the process when a thread last exited.
  uint64_t children_cpu_ns = 0;       // Of reaped children.
  uint32_t uid = 0;                   // Real user id of the last task, for reports of its end.
  int64_t start_time_ns = 0;          // CLOCK_MONOTONIC.
  uint64_t personality = 0;
  int dumpable = 1;
  int oom_score_adj = 0;
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
