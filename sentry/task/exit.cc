// The end of tasks and processes. Linux: kernel/exit.c.
#include "sentry/ipc/exit.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "sentry/fs/wake.h"
#include "sentry/task/job_control.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "sentry/time/process_timers.h"
#include "sentry/time/timer_queue.h"

namespace sentry {

// task.cc: keeps a thread until its last call-back has returned.
void BuryThread(Ref<Task> task, std::unique_ptr<platform::Thread> thread, Kernel::From from);

void Kernel::ExitGroup(Task& task, int wait_status) {
  AfterUnlock after(*this);
  absl::MutexLock lock(&mu_);
  BeginGroupExitLocked(task.group(), wait_status, after);
}

void Kernel::ExitTask(Task& task, int wait_status) {
  absl::MutexLock lock(&mu_);
  task.exit_status_ = wait_status;
  task.life_.fetch_or(Task::kKilled);
}

void Kernel::BeginGroupExitLocked(ThreadGroup& group, int wait_status, AfterUnlock& after) {
  if (group.exiting || group.tasks.empty()) return;
  group.exiting = true;
  group.exit_status = wait_status;
  group.stopped = false;
  for (Task* task : group.tasks) {
    task->final_cpu_ = task->CpuSplitLocked();
  }
  // Locks that outlive the process have to be given up first: the last task then kills it.
  const auto holds = [](const Task* task) { return task->robust_list() != 0; };
  if (group.host_gone || std::none_of(group.tasks.begin(), group.tasks.end(), holds)) {
    KillHostLocked(group);
  }
  for (Task* task : group.tasks) KillTaskLocked(*task, after);
}

// A process that has turned against its stub does not stop for its last call-back: so long it may
// take, whatever it does.
class ExitDeadline final : public Alarm {
 public:
  static constexpr int64_t kPatienceNs = 300'000'000;
  ExitDeadline(Kernel& kernel, ThreadGroup& group)
      : kernel_(kernel), group_(Ref<ThreadGroup>::Share(group)) {}
  void OnAlarm() override { kernel_.EndAnyway(*group_); }

 private:
  Kernel& kernel_;
  const Ref<ThreadGroup> group_;  // Which lets go of the alarm when its last task ends.
};

void Kernel::EndAnyway(ThreadGroup& group) {
  AfterUnlock after(*this);
  absl::MutexLock lock(&mu_);
  if (group.tasks.empty() || group.host_gone) return;
  KillHostLocked(group);
  for (Task* task : group.tasks) {
    if (task->LeaveState(Task::kAwaited)) after.Finish(Ref<Task>::Share(*task));
  }
}

void Kernel::KillHostLocked(ThreadGroup& group) {
  group.host_gone = true;
  // All live tasks share one host process.
  for (Task* task : group.tasks) {
    if (!task->thread_) continue;
    task->thread_->KillProcess();
    break;
  }
}

void Kernel::KillTaskLocked(Task& task, AfterUnlock& after) {
  const bool await = task.robust_list() != 0 && !task.group().host_gone && task.thread_;
  uint32_t before = task.life_.load();
  uint32_t wanted;
  do {
    wanted = before | Task::kKilled;
    if (before == 0 && await) wanted |= Task::kAwaited;
  } while (!task.life_.compare_exchange_weak(before, wanted));
  task.sleeper_.Interrupt();
  task.TellStateLocked();
  // With a call-back under way, its end finishes the task.
  if (before != 0) return;
  if (await) {
    task.thread_->Interrupt();
    if (task.group().exiting && !task.group().exit_deadline) {
      const auto deadline = MakeRef<ExitDeadline>(*this, task.group());
      TimerQueue::Get().Arm(*deadline, MonotonicNs() + ExitDeadline::kPatienceNs);
      task.group().exit_deadline = deadline;
    }
  } else {
    after.Finish(Ref<Task>::Share(task));
  }
}

void Kernel::FinishTask(Task& task, From from) {
  const Ref<Task> self = Ref<Task>::Share(task);
  pi_futexes_.OwnerDied(task, /*ends=*/true);
  ReleaseResources(task);
  std::unique_ptr<platform::Thread> thread;
  {
    AfterUnlock after(*this);
    const WakesAfter wakes;  // A parent that waits would run at once, into this lock.
    absl::MutexLock lock(&mu_);
    ThreadGroup& group = task.group();
    group.lost_threads = true;
    // As long as there are others, the host knows what the process has used.
    if (task.thread_ && (group.exiting || group.tasks.size() == 1)) {
      // The host may have forgotten a process that was killed.
      for (const platform::CpuTimes& used : {task.final_cpu_, task.CpuSplitLocked()}) {
        if (used.total_ns() > group.dead_cpu.total_ns()) group.dead_cpu = used;
      }
    }
    if (group.exiting && group.tasks.size() == 1 && !group.host_gone) KillHostLocked(task.group());
    task.mask_.store(task.signal_mask().bits());
    task.local_signals_.store(nullptr);  // Its place may be another thread's before long.
    thread = std::move(task.thread_);
    Task* executing = task.group().exec_task;
    if (executing != nullptr && executing != &task && thread) {
      executing->exec_graves_.push_back({self, std::move(thread)});
    }
    UnlinkTaskLocked(task, after);
  }
  if (from != From::kOutside && thread) BuryThread(self, std::move(thread), from);
}

void Kernel::AwaitExec(ThreadGroup& group) {
  {
    absl::MutexLock lock(&mu_);
    if (group.exec_task == nullptr) return;
  }
  platform_.EnterBlocking();
  {
    absl::MutexLock lock(&mu_);
    while (group.exec_task != nullptr) exec_done_.Wait(&mu_);
  }
  platform_.LeaveBlocking();
}

void Kernel::ReleaseResources(Task& task) {
  ExitIpc(task);
  Ref<FdTable> fds = MakeRef<FdTable>();
  Ref<Mm> mm = no_memory_;
  Ref<FsContext> fs = no_place_;
  task.EnterNamespaces(namespaces_);
  {
    absl::MutexLock lock(&task.refs_mu_);
    if (fs) std::swap(task.fs_, fs);
    std::swap(task.fds_, fds);
    std::swap(task.mm_, mm);
  }
  // The old ones go here: the last user of a table closes its files, with no lock held.
}

void Kernel::WakeVforkParentLocked(Task& task) {
  if (!task.vfork_parent_) return;
  const Ref<Task> parent = std::move(task.vfork_parent_);
  parent->vfork_waiting_ = false;
  parent->TellStateLocked();
}

void Kernel::UnlinkTaskLocked(Task& task, AfterUnlock& after) {
  ThreadGroup& group = task.group();
  WakeVforkParentLocked(task);
  std::erase(group.tasks, &task);
  task.pending_.Clear();
  if (group.exec_task != nullptr) group.exec_task->TellStateLocked();
  // The last to end decides the status (Linux 5.18).
  if (group.tasks.empty() && !group.exiting) group.exit_status = task.exit_status_;
  if (group.leader != &task) {
    const auto it = tasks_.find(task.tid_);
    if (it != tasks_.end() && it->second.get() == &task) {
      after.Release(std::move(it->second));
      tasks_.erase(it);
      --group.charged_tasks;
      group.control_group->UnchargeTasks(1);
    }
  }
  group.exit_events.Notify(POLLIN);  // Of pidfds for threads.
  if (group.tasks.empty()) {
    if (group.exit_deadline) {
      TimerQueue::Get().Cancel(static_cast<Alarm&>(*group.exit_deadline));
      after.Release(std::move(group.exit_deadline));
    }
    GroupDiedLocked(group, after);
  } else {
    CheckStopCompleteLocked(group, after);
  }
}

// zap_pid_ns_processes()
void Kernel::KillOthersLocked(AfterUnlock& after) {
  std::vector<ThreadGroup*> left;
  for (const auto& [id, group] : groups_) {
    if (!group->zombie) left.push_back(group.get());
  }
  for (ThreadGroup* group : left) BeginGroupExitLocked(*group, SIGKILL, after);
}

void Kernel::GroupDiedLocked(ThreadGroup& group, AfterUnlock& after) {
  group.zombie = true;
  group.exiting = true;
  group.control_group->RemoveProcess(group.dead_cpu);
  group.pending.Clear();
  if (group.timers) {
    group.timers->OnExit();
    after.Release(std::static_pointer_cast<void>(std::move(group.timers)));
  }
  LeaveSessionLocked(group, after);
  ReparentChildrenLocked(group, after);
  SignalOrphansLocked(group, after);
  group.exit_events.Notify(POLLIN);
  if (init_.get() == &group) {
    ended_ = true;
    if (!options_.on_end) return platform_.Stop();
    KillOthersLocked(after);
    after.Call([this, status = group.exit_status] { options_.on_end(status); });
    return;
  }
  if (group.parent == nullptr) {
    if (group.on_exit) {
      after.Call([told = std::move(group.on_exit), status = group.exit_status] { told(status); });
    }
    ReapLocked(group, after);
    return;
  }
  ReportDeathLocked(group, after);
}

// disassociate_ctty() of Linux: the death of a session's leader takes the terminal away from all of
// the session. Its foreground hears SIGHUP (stopped jobs are continued as orphans are); when the
// terminal has been lost before, what was its foreground then.
void Kernel::LeaveSessionLocked(ThreadGroup& group, AfterUnlock& after) {
  Ref<Terminal> terminal = std::move(group.terminal);
  const Session* const session = group.session.get();
  const Pid lost = std::exchange(group.old_foreground, 0);
  if (session == nullptr || session->id != group.id) {
    if (terminal) after.Release(Ref<RefCounted>(std::move(terminal)));
    return;
  }
  const Pid told = terminal ? terminal->foreground : lost;
  if (terminal) {
    terminal->foreground = 0;
    after.Release(Ref<RefCounted>(std::move(terminal->session)));
  }
  for (const auto& [id, member] : groups_) {
    if (member->zombie) continue;
    if (terminal && member->session.get() == session && member->terminal == terminal) {
      after.Release(Ref<RefCounted>(std::move(member->terminal)));
    }
    if (told == 0 || member->group != told) continue;
    (void)SendLocked(*member, nullptr, MakeKernelSignalInfo(SIGHUP), after);
    if (!terminal) (void)SendLocked(*member, nullptr, MakeKernelSignalInfo(SIGCONT), after);
  }
  if (terminal) after.Release(Ref<RefCounted>(std::move(terminal)));
}

void Kernel::ReparentChildrenLocked(ThreadGroup& group, AfterUnlock& after) {
  if (group.children.empty() || init_.get() == &group) return;
  ThreadGroup* heir = group.parent;
  while (heir != nullptr && (!heir->child_subreaper || heir->exiting)) heir = heir->parent;
  if (heir == nullptr) heir = init_.get();
  if (heir == nullptr) return;
  std::vector<Ref<ThreadGroup>> children = std::exchange(group.children, {});
  for (Ref<ThreadGroup>& child : children) {
    child->parent = heir;
    // A child that asked for another signal than SIGCHLD has a new parent that knows of nothing.
    child->exit_signal = SIGCHLD;
    heir->children.push_back(child);
    for (Task* task : child->tasks) {
      task->ForgetAnswersLocked();
      if (task->pdeath_signal == 0) continue;
      const SignalInfo info = MakeSignalInfo(task->pdeath_signal, SI_USER, group.id, group.uid);
      (void)SendLocked(*child, task, info, after);
    }
    if (child->zombie) ReportDeathLocked(*child, after);
  }
}

void Kernel::SignalOrphansLocked(ThreadGroup& group, AfterUnlock& after) {
  // Process groups that lose their last link to another group of the session: the own one, and
  // those of the children. Stopped members would never be continued (POSIX).
  std::vector<Pid> candidates = {group.group};
  for (const auto& [id, other] : groups_) {
    if (other->session == group.session && other->group != group.group) {
      candidates.push_back(other->group);
    }
  }
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
  for (const Pid pgid : candidates) {
    const auto stopped = [pgid](const auto& entry) {
      const ThreadGroup& member = *entry.second;
      return member.group == pgid && !member.zombie && member.stopped;
    };
    if (std::none_of(groups_.begin(), groups_.end(), stopped)) continue;
    if (!IsOrphanedLocked(*this, pgid, &group)) continue;
    for (const auto& [id, member] : groups_) {
      if (member->group != pgid || member->zombie) continue;
      (void)SendLocked(*member, nullptr, MakeKernelSignalInfo(SIGHUP), after);
      (void)SendLocked(*member, nullptr, MakeKernelSignalInfo(SIGCONT), after);
    }
  }
}

void Kernel::ReportDeathLocked(ThreadGroup& group, AfterUnlock& after) {
  ThreadGroup* parent = group.parent;
  if (parent == nullptr || parent->zombie) return;
  const SignalAction& action = parent->handlers->actions[SIGCHLD];
  const bool ignored = action.handler == reinterpret_cast<uint64_t>(SIG_IGN);
  const bool unwanted =
      group.exit_signal == SIGCHLD && (ignored || (action.flags & SA_NOCLDWAIT) != 0);
  if (group.exit_signal != 0 && !(group.exit_signal == SIGCHLD && ignored)) {
    const int status = group.exit_status;
    const int signal = status & 0x7f;
    SignalInfo info = MakeSignalInfo(group.exit_signal, signal != 0 ? CLD_KILLED : CLD_EXITED,
                                     group.id, group.uid);
    info.si_status = signal != 0 ? signal : status >> 8 & 0xff;
    constexpr uint64_t kNsPerTick = 10'000'000;  // USER_HZ is 100.
    info.si_utime = static_cast<clock_t>(group.dead_cpu.user_ns / kNsPerTick);
    info.si_stime = static_cast<clock_t>(group.dead_cpu.system_ns / kNsPerTick);
    (void)SendLocked(*parent, nullptr, info, after);
  }
  if (unwanted) ReapLocked(group, after);
  parent->child_events.Notify(POLLIN);
}

void Kernel::ReapLocked(ThreadGroup& group, AfterUnlock& after) {
  after.Release(Ref<RefCounted>(Ref<ThreadGroup>::Share(group)));
  if (group.parent != nullptr) {
    std::erase_if(group.parent->children,
                  [&group](const Ref<ThreadGroup>& child) { return child.get() == &group; });
    group.parent = nullptr;
  }
  if (group.leader != nullptr) {
    const auto task = tasks_.find(group.id);
    if (task != tasks_.end()) {
      after.Release(std::move(task->second));
      tasks_.erase(task);
    }
    group.leader = nullptr;
  }
  groups_.erase(group.id);
  group.control_group->UnchargeTasks(std::exchange(group.charged_tasks, 0));
}

}  // namespace sentry
