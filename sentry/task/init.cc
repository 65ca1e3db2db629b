// The first process.
#include <sys/resource.h>
#include <time.h>

#include "sentry/task/job_control.h"
#include "sentry/task/task_builder.h"

namespace sentry {

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
    session->terminal = init.terminal;
    session->foreground_group = pid;
  }
  group->session = std::move(session);
  group->handlers = MakeRef<SignalHandlers>();
  for (int i = 0; i < RLIM_NLIMITS; ++i) {
    getrlimit(static_cast<__rlimit_resource>(i), &group->limits[static_cast<size_t>(i)]);
  }
  group->uid = init.creds.uid;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  group->start_time_ns = now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
  Ref<Task> task = MakeRef<Task>(kernel, std::move(group), pid);
  task->creds_ = init.creds;
  task->fds_ = MakeRef<FdTable>();
  task->fs_ = MakeRef<FsContext>(init.root, init.cwd, 022);
  task->comm = CommOf(init.path);
  return task;
}

Status TaskBuilder::CreateInit(Kernel& kernel, const Kernel::InitProcess& init) {
  const Ref<Task> task = TRY(NewInitTask(kernel, init));
  for (const Ref<File>& file : init.stdio) {
    TRY(task->fds_->Add(file, /*close_on_exec=*/false, UINT64_MAX));
  }
  const WalkContext walk = task->walk_context();
  const Program program = TRY(FindProgram(kernel.vfs(), {.walk = walk,
                                                         .interpreters = walk,
                                                         .path = init.path,
                                                         .exec_name = init.path,
                                                         .argv = init.argv}));
  LoadRequest request{.walk = walk,
                      .envp = init.envp,
                      .exec_name = init.path,
                      .creds = init.creds,
                      .stack_limit = task->Limit(RLIMIT_STACK)};
  LoadedProgram loaded = TRY(LoadProgram(kernel.platform(), kernel.vfs(), program, request));
  task->mm_ = loaded.mm;
  std::unique_ptr<platform::Thread> thread = TRY(loaded.image->Start(loaded.registers, *task));
  {
    absl::MutexLock lock(&kernel.mu());
    Adopt(kernel, *task, std::move(thread));
  }
  Start(*task);
  return kOk;
}

void TaskBuilder::Adopt(Kernel& kernel, Task& task, std::unique_ptr<platform::Thread> thread) {
  ThreadGroup& group = task.group();
  task.thread_ = std::move(thread);
  task.life_.store(Task::kStarting);
  group.leader = &task;
  group.tasks.push_back(&task);
  group.has_execed = true;
  kernel.tasks_[task.tid_] = Ref<Task>::Share(task);
  kernel.groups_[group.id] = Ref<ThreadGroup>::Share(group);
  kernel.init_ = Ref<ThreadGroup>::Share(group);
}

}  // namespace sentry
