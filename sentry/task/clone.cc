#include "sentry/task/clone.h"

#include <sched.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "sentry/fs/anon/pidfd.h"
#include "sentry/ipc/exit.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/task_builder.h"
#include "sentry/time/process_timers.h"

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

namespace sentry {
namespace {

// Those of which there is one.
constexpr uint64_t kOnlyNamespaces = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWCGROUP;
constexpr int kCapSysAdmin = 21;

// copy_process()'s rules, in its order.
Status CheckFlags(const CloneArgs& args, const Credentials& creds) {
  const uint64_t flags = args.flags;
  const auto has = [flags](uint64_t flag) { return (flags & flag) != 0; };
  if (has(CLONE_FS) && (has(CLONE_NEWNS) || has(CLONE_NEWUSER))) return Errno(EINVAL);
  if (has(CLONE_THREAD) && !has(CLONE_SIGHAND)) return Errno(EINVAL);
  if (has(CLONE_SIGHAND) && !has(CLONE_VM)) return Errno(EINVAL);
  if (has(CLONE_THREAD) && (has(CLONE_NEWUSER) || has(CLONE_NEWPID))) return Errno(EINVAL);
  if (has(CLONE_PIDFD) && has(CLONE_DETACHED)) return Errno(EINVAL);
  if (has(CLONE_PIDFD) && has(CLONE_PARENT_SETTID) && args.pidfd == args.parent_tid) {
    return Errno(EINVAL);
  }
  // As for a user who may not make any.
  if (has(kOnlyNamespaces)) return Errno(EPERM);
  if (has(CLONE_NEWNS | Namespaces::kFlags) && !creds.HasCapability(kCapSysAdmin)) {
    return Errno(EPERM);
  }
  // Its adjustments would be those of another namespace.
  if (has(CLONE_NEWIPC) && has(CLONE_SYSVSEM)) return Errno(EINVAL);
  return kOk;
}

// CLONE_INTO_CGROUP: the control group that the child begins in. EBADF for a descriptor of anything
// else; a thread stays in its process's (EOPNOTSUPP).
Result<Ref<ControlGroup>> GroupOfChild(Task& parent, const CloneArgs& args) {
  const Ref<File> file = TRY(parent.fds().Get(Fd{args.cgroup}));
  ControlGroup* const group = file->inode().control_group();
  if (group == nullptr) return Errno(EBADF);
  if ((args.flags & CLONE_THREAD) != 0) return Errno(EOPNOTSUPP);
  if (group->removed()) return Errno(ENODEV);
  if (group->gives_pids()) return Errno(EBUSY);
  return Ref<ControlGroup>::Share(*group);
}

// A thread can neither be taken back nor outlive what is said about it here, so that nothing but
// the end of its process can make the clone fail once the host has the thread.
bool MayRunAtOnce(uint64_t flags) {
  constexpr uint64_t kOthers = CLONE_PIDFD | CLONE_VFORK | CLONE_NEWNS | Namespaces::kFlags;
  return (flags & CLONE_THREAD) != 0 && (flags & kOthers) == 0;
}

// CLONE_PARENT_SETTID and CLONE_CHILD_SETTID. Neither failure is reported (Linux).
void WriteTids(UserMemory& parent, UserMemory& child, Pid tid, const CloneArgs& args) {
  const auto bytes = std::as_bytes(std::span(&tid, 1));
  if ((args.flags & CLONE_PARENT_SETTID) != 0) {
    (void)parent.WriteBytes(UserAddr{args.parent_tid}, bytes);
  }
  if ((args.flags & CLONE_CHILD_SETTID) != 0) {
    (void)child.WriteBytes(UserAddr{args.child_tid}, bytes);
  }
}

}  // namespace

Result<Pid> CloneTask(Task& parent, platform::Context& context, const CloneArgs& args) {
  return TaskBuilder::Clone(parent, context, args);
}

Result<Pid> TaskBuilder::Clone(Task& parent, platform::Context& context, const CloneArgs& args) {
  TRY(CheckFlags(args, parent.creds()));
  const uint64_t flags = args.flags;
  Ref<ControlGroup> into;
  if ((flags & CLONE_INTO_CGROUP) != 0) into = TRY(GroupOfChild(parent, args));
  const Ref<Task> child = TRY(NewTask(parent, args, into));
  Result<Pid> result = [&]() -> Result<Pid> {
    TRY(InheritResources(parent, *child, args));
    if ((flags & CLONE_VM) != 0) {
      parent.mm_->SetShared();
      TRY(parent.TellClearChildTid(context));
    }
    platform::CloneRequest request{
        .flags = flags, .tls = args.tls, .registers = context.regs, .may_run = MayRunAtOnce(flags)};
    if ((flags & CLONE_CHILD_CLEARTID) != 0) request.child_tid = args.child_tid;
    request.registers.rax = 0;
    if (args.stack != 0) request.registers.rsp = args.stack;
    // Whoever may run finds its number; whoever looks at a child's memory needs the child's.
    if (request.may_run) WriteTids(parent.mem(), parent.mem(), child->tid(), args);
    Result<std::unique_ptr<platform::Thread>> cloned = context.Clone(request, *child);
    if (!cloned.ok()) {
      // The C library takes a number for a sign that the stack is in use.
      if (request.may_run) WriteTids(parent.mem(), parent.mem(), 0, args);
      return cloned.error();
    }
    std::unique_ptr<platform::Thread> thread = *std::move(cloned);
    const Ref<platform::AddressSpace> space =
        Ref<platform::AddressSpace>::Share(thread->address_space());
    child->mm_ = (flags & CLONE_VM) != 0 ? parent.mm_ : parent.mm_->Fork(space);
    {
      absl::MutexLock lock(&parent.kernel().mu());
      child->thread_ = std::move(thread);
      if ((flags & CLONE_THREAD) == 0) child->thread_->SetLedger(child->group().ledger);
    }
    if (!request.may_run) WriteTids(parent.mem(), child->mem(), child->tid(), args);
    return child->tid();
  }();
  if (result.ok() && (flags & CLONE_PIDFD) != 0) {
    const Result<Ref<File>> file = CreatePidFd(Ref<ThreadGroup>::Share(child->group()), 0);
    const Result<Fd> fd =
        file.ok() ? parent.AddFd(*file, /*close_on_exec=*/true) : Result<Fd>(file.error());
    if (!fd.ok()) {
      result = fd.error();
    } else if (const auto number = static_cast<int>(*fd);
               !parent.mem()
                    .WriteBytes(UserAddr{args.pidfd}, std::as_bytes(std::span(&number, 1)))
                    .ok()) {
      (void)parent.fds().Remove(*fd);
      result = Errno(EFAULT);
    }
  }
  if (result.ok()) {
    const Status linked = Link(parent, *child, args);
    if (!linked.ok()) result = linked.error();
  }
  if (!result.ok()) {
    // Nobody has seen the child: its thread, which never ran, goes with it.
    absl::MutexLock lock(&parent.kernel().mu());
    if (child->thread_ && (flags & CLONE_THREAD) == 0) child->thread_->KillProcess();
    --child->group().charged_tasks;
    child->group().control_group->UnchargeTasks(1);
    return result;
  }
  Start(*child);
  if ((flags & CLONE_THREAD) == 0 && parent.Limit(RLIMIT_CPU) != RLIM_INFINITY) {
    ProcessTimers::Of(parent.kernel(), child->group())->KeepCpuLimit();
  }
  if ((flags & CLONE_VFORK) != 0) WaitForVfork(parent);
  return result;
}

Ref<ThreadGroup> TaskBuilder::NewGroup(Task& parent, const CloneArgs& args) {
  const ThreadGroup& from = parent.group();
  Ref<ThreadGroup> group = MakeRef<ThreadGroup>(parent.kernel());
  group->exit_signal = args.exit_signal;
  group->group = from.group;
  group->session = from.session;
  if ((args.flags & CLONE_SIGHAND) != 0) {
    group->handlers = from.handlers;
    group->handlers->shared = true;
    for (Task* task : from.tasks) task->PublishActionsLocked();
  } else {
    group->handlers = MakeRef<SignalHandlers>();
    group->handlers->actions = from.handlers->actions;
    if ((args.flags & CLONE_CLEAR_SIGHAND) != 0) {
      for (SignalAction& action : group->handlers->actions) {
        if (action.handler != reinterpret_cast<uint64_t>(SIG_IGN)) action = {};
      }
    }
  }
  group->limits = from.limits;
  group->host_limits = from.host_limits;
  group->personality = from.personality;
  group->dumpable = from.dumpable;
  group->thp_disabled = from.thp_disabled;
  group->merges_memory = from.merges_memory;
  group->mce_policy = from.mce_policy;
  group->oom_score_adj = from.oom_score_adj;
  group->container = from.container;
  group->host_group = from.host_group;
  group->coredump_filter = from.coredump_filter;
  group->uid = from.uid;
  return group;
}

namespace {

// sched_fork().
void InheritScheduling(const Task& parent, Task& child) {
  const int nice = parent.nice;
  child.nice = nice;
  child.sched_policy = parent.sched_policy.load();
  child.sched_priority = parent.sched_priority.load();
  child.sched_runtime = parent.sched_runtime.load();
  child.sched_deadline = parent.sched_deadline.load();
  child.sched_period = parent.sched_period.load();
  if (!parent.sched_reset_on_fork) return;
  const int policy = parent.sched_policy;
  if (policy == SCHED_FIFO || policy == SCHED_RR || policy == 6 /* SCHED_DEADLINE */) {
    child.sched_policy = SCHED_OTHER;
    child.sched_priority = 0;
    child.nice = 0;
  } else {
    child.nice = std::max(nice, 0);
  }
}

}  // namespace

// pids.limit of a container that shares its kernel with others.
bool TaskBuilder::IsContainerFull(Kernel& kernel, const ThreadGroup& group) {
  const size_t most = group.host_group ? group.host_group->most_tasks.load() : 0;
  if (most == 0) return false;
  const auto is_in = [&group](const auto& entry) {
    return entry.second->group().container == group.container;
  };
  return static_cast<size_t>(std::count_if(kernel.tasks_.begin(), kernel.tasks_.end(), is_in)) >=
         most;
}

Result<Ref<Task>> TaskBuilder::NewTask(Task& parent, const CloneArgs& args,
                                       const Ref<ControlGroup>& into) {
  Kernel& kernel = parent.kernel();
  absl::MutexLock lock(&kernel.mu());
  if (parent.killed() || kernel.ended_) return kRestartNoIntr;
  uint64_t of_user = 0;
  for (const auto& [id, task] : kernel.tasks_) of_user += task->creds_.uid == parent.creds_.uid;
  const bool privileged = parent.creds_.HasCapability(21) || parent.creds_.HasCapability(24);
  if (kernel.tasks_.size() >= Kernel::kMostTasks || IsContainerFull(kernel, parent.group()) ||
      (!privileged && parent.creds_.uid != 0 &&
       of_user >= parent.group().limits[RLIMIT_NPROC].rlim_cur)) {
    return Errno(EAGAIN);
  }
  const bool is_thread = (args.flags & CLONE_THREAD) != 0;
  const Pid tid = args.set_tid.empty() ? kernel.AllocatePidLocked()
                                       : TRY(kernel.ClaimPidLocked(args.set_tid.front()));
  Ref<ThreadGroup> group =
      is_thread ? Ref<ThreadGroup>::Share(parent.group()) : NewGroup(parent, args);
  if (!is_thread) {
    group->id = tid;
    group->control_group = into ? into : parent.group().control_group;
  }
  TRY(group->control_group->ChargeTask());
  ++group->charged_tasks;
  Ref<Task> child = MakeRef<Task>(kernel, std::move(group), tid);
  child->creds_ = parent.creds_;
  child->comm = parent.comm;
  child->mask_.store(parent.saved_mask_.value_or(parent.signal_mask()).bits());
  InheritScheduling(parent, *child);
  child->ioprio = parent.ioprio.load();
  child->timer_slack_ns = parent.timer_slack_ns.load();
  child->io_flusher = parent.io_flusher;
  child->set_memory_policy(parent.memory_policy());
  child->affinity = parent.affinity;
  // The alternate stack stays with a copy of the memory, and with vfork (sigaltstack(2)).
  const uint64_t sharing = args.flags & (CLONE_VM | CLONE_VFORK);
  if (sharing != CLONE_VM) child->signal_stack = parent.signal_stack;
  if ((args.flags & CLONE_CHILD_CLEARTID) != 0) child->clear_child_tid = args.child_tid;
  return child;
}

Status TaskBuilder::InheritResources(Task& parent, Task& child, const CloneArgs& args) {
  child.fds_ = (args.flags & CLONE_FILES) != 0 ? parent.fds_ : parent.fds_->Copy();
  child.fs_ = (args.flags & CLONE_FS) != 0 ? parent.fs_ : parent.fs_->Copy();
  if ((args.flags & CLONE_NEWNS) != 0) {
    // One program, two places: its errors would be told to both.
    {
      absl::MutexLock lock(&parent.kernel().mu());
      parent.CloseErrorsLocked();
    }
    TRY(child.fs_->CopyMounts(parent.kernel().vfs()));
  }
  Ref<const Namespaces> namespaces = parent.namespaces_;
  if ((args.flags & Namespaces::kFlags) != 0) {
    namespaces = TRY(namespaces->Unshare(args.flags & Namespaces::kFlags));
  }
  child.EnterNamespaces(std::move(namespaces));
  if ((args.flags & CLONE_SYSVSEM) != 0) ShareSemUndo(parent, child);
  return kOk;
}

Status TaskBuilder::Link(Task& parent, Task& child, const CloneArgs& args) {
  Kernel& kernel = parent.kernel();
  const uint64_t flags = args.flags;
  absl::MutexLock lock(&kernel.mu());
  ThreadGroup& group = child.group();
  // A signal that kills the parent must not miss the child; Linux restarts the call.
  if (parent.killed() || kernel.ended_) return kRestartNoIntr;
  // Nor may filters that another thread gives to the whole process meanwhile.
  child.set_seccomp(parent.seccomp_ref(), parent.seccomp_strict());
  if ((flags & CLONE_THREAD) == 0) {
    ThreadGroup* ancestor = &parent.group();
    if ((flags & CLONE_PARENT) != 0) {
      group.exit_signal = ancestor->exit_signal;
      if (ancestor->parent == nullptr) return Errno(EINVAL);
      ancestor = ancestor->parent;
    }
    // What has changed since: the process group may have been left.
    group.group = parent.group().group;
    group.session = parent.group().session;
    group.terminal = parent.group().terminal;
    group.parent = ancestor;
    group.parent_tid = ancestor == &parent.group() ? parent.tid_ : 0;
    group.leader = &child;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    group.start_time_ns = now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
    ancestor->children.push_back(Ref<ThreadGroup>::Share(group));
    kernel.groups_[group.id] = Ref<ThreadGroup>::Share(group);
    group.control_group->AddProcess(0);
  }
  group.tasks.push_back(&child);
  child.PublishPendingLocked();
  kernel.tasks_[child.tid_] = Ref<Task>::Share(child);
  if ((flags & CLONE_VFORK) != 0) {
    child.vfork_parent_ = Ref<Task>::Share(parent);
    parent.vfork_waiting_ = true;
  }
  // Nobody finishes the child before its thread has been started.
  child.life_.store(Task::kStarting);
  if (group.stopped) kernel.InterruptLocked(child);
  return kOk;
}

void TaskBuilder::Start(Task& child) {
  child.thread_->Start();
  if (child.LeaveState(Task::kStarting)) {
    child.kernel().FinishTask(child, Kernel::From::kCallback);
  }
}

void TaskBuilder::WaitForVfork(Task& parent) {
  Kernel& kernel = parent.kernel();
  kernel.platform().EnterBlocking();
  {
    absl::MutexLock lock(&kernel.mu());
    while (parent.vfork_waiting_ && !parent.killed()) parent.state_cv_.Wait(&kernel.mu());
    parent.vfork_waiting_ = false;
  }
  kernel.platform().LeaveBlocking();
}

}  // namespace sentry
