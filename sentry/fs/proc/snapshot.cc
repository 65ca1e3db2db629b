#include "sentry/fs/proc/snapshot.h"

#include <algorithm>

#include "sentry/task/wait.h"
#include "sentry/time/clocks.h"

namespace sentry::proc {
namespace {

void ReadSignalsLocked(const ThreadGroup& group, Task* task, Snapshot& out) {
  out.group_pending = group.pending.pending().bits();
  out.queued = group.pending.size();
  if (task != nullptr) {
    out.pending = task->pending_signals().pending().bits();
    out.queued += task->pending_signals().size();
    out.blocked = task->signal_mask().bits();
  }
  if (!group.handlers) return;
  for (int sig = 1; sig <= kSignalCount; ++sig) {
    const uint64_t handler = group.handlers->actions[sig].handler;
    const uint64_t bit = SignalSet::Of(sig).bits();
    if (handler == reinterpret_cast<uint64_t>(SIG_IGN)) out.ignored |= bit;
    if (handler > reinterpret_cast<uint64_t>(SIG_IGN)) out.caught |= bit;
  }
}

void ReadTaskLocked(Task& task, Snapshot& out) {
  out.comm = task.comm;
  out.nice = task.nice.load(std::memory_order_relaxed);
  out.policy = task.sched_policy.load(std::memory_order_relaxed);
  out.rt_priority = task.sched_priority.load(std::memory_order_relaxed);
  out.affinity = task.affinity;
  if (const Ref<SeccompFilters> filters = task.seccomp_ref()) {
    out.seccomp_mode = task.seccomp_strict() ? 1 : 2;
    out.seccomp_filters = filters->count();
  }
  if (task.alive()) out.host_tid = task.thread().host_tid();
}

void ReadGroupLocked(const ThreadGroup& group, Snapshot& out) {
  out.ppid = group.parent != nullptr ? group.parent->id : 0;
  out.group = group.group;
  out.threads = std::max(1, static_cast<int>(group.tasks.size()));
  out.exit_signal = group.exit_signal;
  out.exit_status = group.zombie ? group.exit_status : 0;
  out.start_time_ns = group.start_time_ns;
  out.has_execed = group.has_execed;
  out.queue_limit = group.limits[RLIMIT_SIGPENDING].rlim_cur;
  out.rss_limit = group.limits[RLIMIT_RSS].rlim_cur;
}

// What is asked of others with no lock held.
void ReadHost(const Subject& subject, Snapshot& out) {
  out.host = ReadHostStat(**out.mm, subject.tid != 0 ? out.host_tid : 0);
}

}  // namespace

Result<Snapshot> TakeSnapshot(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  const Ref<Task> task = TRY(subject.Named());
  Snapshot out;
  out.state = task->alive() ? task->State() : 'Z';
  Ref<Terminal> terminal;
  const auto creds = subject.kernel->CredentialsOf(subject.pid());
  if (creds.ok()) out.creds = *creds;
  {
    absl::MutexLock lock(&subject.kernel->mu());
    ReadTaskLocked(*task, out);
    ReadGroupLocked(*group, out);
    if (group->session) out.session = group->session->id;
    terminal = group->terminal;
    if (terminal) out.foreground = terminal->foreground;
    ReadSignalsLocked(*group, task.get(), out);
  }
  if (subject.tid != 0) out.exit_signal = -1;
  const auto live = subject.AnyTask();
  if (live.ok()) {
    out.mm = (*live)->mm_ref();
    out.umask = (*live)->fs_ref()->umask();
    out.fd_size = (*live)->fds_ref()->List().size();
    ReadHost(subject, out);
  }
  out.cpu = ProcessCpu(*subject.kernel, *group);
  out.children_cpu = UsageOfChildren(*subject.kernel, *group).cpu;
  if (terminal) out.terminal = terminal->device();
  return out;
}

}  // namespace sentry::proc
