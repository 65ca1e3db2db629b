// The first process.
#include <sys/resource.h>
#include <time.h>

#include <array>

#include "sentry/task/job_control.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/task_builder.h"

namespace sentry {

namespace {

// What a Linux system gives its first process (the kernel's INIT_RLIMITS and what systemd makes of
// them). The sentry may not ask the host for its own: its filter is in force already.
std::array<rlimit, RLIM_NLIMITS> InitialLimits() {
  std::array<rlimit, RLIM_NLIMITS> limits;
  limits.fill({.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY});
  limits[RLIMIT_STACK].rlim_cur = 8 << 20;
  limits[RLIMIT_CORE].rlim_cur = 0;
  limits[RLIMIT_NOFILE] = {.rlim_cur = 1024, .rlim_max = 1 << 20};
  limits[RLIMIT_NPROC] = {.rlim_cur = 16384, .rlim_max = 16384};
  limits[RLIMIT_MEMLOCK] = {.rlim_cur = 8 << 20, .rlim_max = 8 << 20};
  limits[RLIMIT_SIGPENDING] = {.rlim_cur = 16384, .rlim_max = 16384};
  limits[RLIMIT_MSGQUEUE] = {.rlim_cur = 819200, .rlim_max = 819200};
  limits[RLIMIT_NICE] = {.rlim_cur = 0, .rlim_max = 0};
  limits[RLIMIT_RTPRIO] = {.rlim_cur = 0, .rlim_max = 0};
  return limits;
}

}  // namespace

std::string CommOf(const std::string& path) {
  return path.substr(path.find_last_of('/') + 1).substr(0, 15);
}

Result<Ref<Task>> TaskBuilder::NewInitTask(Kernel& kernel, const Kernel::InitProcess& init) {
  Ref<ThreadGroup> group = MakeRef<ThreadGroup>(kernel);
  Ref<Session> session = MakeRef<Session>();
  absl::MutexLock lock(&kernel.mu());
  const Pid pid = kernel.AllocatePidLocked();
  group->id = group->group = session->id = pid;
  if (init.terminal) {
    init.terminal->session = session;
    init.terminal->foreground = pid;
    group->terminal = init.terminal;
    if (!kernel.init_) kernel.console_ = init.terminal;
  }
  group->session = std::move(session);
  group->handlers = MakeRef<SignalHandlers>();
  group->limits.Assign(InitialLimits());
  for (const auto& [resource, limit] : init.limits) {
    group->limits.Set(static_cast<size_t>(resource), limit);
  }
  group->uid = init.creds.uid;
  group->oom_score_adj = init.oom_score_adj;
  group->container = init.container;
  group->host_group = init.host_group;
  group->unkillable = init.unkillable;
  group->on_exit = init.on_exit;
  group->control_group = kernel.control_group_;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  group->start_time_ns = now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
  Ref<Task> task = MakeRef<Task>(kernel, std::move(group), pid);
  task->creds_ = init.creds;
  task->nice = init.nice;
  task->fds_ = MakeRef<FdTable>();
  task->fs_ = MakeRef<FsContext>(kernel.vfs().NamespaceOf(*init.root.mount), init.root, init.cwd,
                                 init.umask);
  task->EnterNamespaces(kernel.namespaces_);
  task->comm = CommOf(init.path);
  task->set_seccomp(init.seccomp, /*strict=*/false);
  return task;
}

Result<Ref<Task>> TaskBuilder::Prepare(Kernel& kernel, const Kernel::InitProcess& init) {
  Ref<Task> task = TRY(NewInitTask(kernel, init));
  for (const Ref<File>& file : init.stdio) {
    TRY(task->fds_->Add(file, /*close_on_exec=*/false, UINT64_MAX));
  }
  const WalkContext walk = task->walk_context();
  const Program program = TRY(FindProgram(kernel.vfs(), {.walk = walk,
                                                         .interpreters = walk,
                                                         .path = init.path,
                                                         .exec_name = init.path,
                                                         .argv = init.argv}));
  ExecCredentials becomes = TRY(CredentialsFor(program, init.creds));
  LoadRequest request{.walk = walk,
                      .envp = init.envp,
                      .exec_name = init.path,
                      .creds = becomes.creds,
                      .secure = becomes.secure,
                      .stack_limit = task->Limit(RLIMIT_STACK),
                      .host_group = init.host_group};
  LoadedProgram loaded = TRY(LoadProgram(kernel.platform(), kernel.vfs(), program, request));
  task->mm_ = loaded.mm;
  task->creds_ = std::move(becomes.creds);
  std::unique_ptr<platform::Thread> thread = TRY(loaded.image->Start(loaded.registers, *task));
  Status adopted = kOk;
  {
    absl::MutexLock lock(&kernel.mu());
    if (!kernel.no_place_) {
      kernel.no_place_ = MakeRef<FsContext>(task->fs_->mounts(), init.root, init.root, 022);
    }
    adopted = Adopt(kernel, *task, init, thread);
  }
  if (!adopted.ok()) thread->KillProcess();
  TRY(adopted);
  return task;
}

Status TaskBuilder::Adopt(Kernel& kernel, Task& task, const Kernel::InitProcess& init,
                          std::unique_ptr<platform::Thread>& thread) {
  ThreadGroup& group = task.group();
  if (kernel.ended_) return Errno(ESRCH);
  task.thread_ = std::move(thread);
  task.thread_->SetLedger(group.ledger);
  task.life_.store(Task::kStarting);
  group.leader = &task;
  group.tasks.push_back(&task);
  group.has_execed = true;
  for (const auto& [resource, limit] : init.limits) {
    if (resource != RLIMIT_DATA && resource != RLIMIT_STACK && resource != RLIMIT_MEMLOCK &&
        resource != RLIMIT_AS) {
      continue;
    }
    group.host_limits |= 1u << resource;
    task.SetHostLimitLocked(resource, limit.rlim_cur);
  }
  kernel.tasks_[task.tid_] = Ref<Task>::Share(task);
  kernel.groups_[group.id] = Ref<ThreadGroup>::Share(group);
  group.charged_tasks = 1;
  group.control_group->AddProcess(1);
  if (!kernel.init_) kernel.init_ = Ref<ThreadGroup>::Share(group);
  return kOk;
}

}  // namespace sentry
