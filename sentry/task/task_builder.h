// Puts tasks and processes together: for clone.cc, exec.cc and the first process.
#ifndef SENTRY_TASK_TASK_BUILDER_H_
#define SENTRY_TASK_TASK_BUILDER_H_

#include <memory>

#include "base/result.h"
#include "sentry/loader/loader.h"
#include "sentry/task/clone.h"
#include "sentry/task/exec.h"
#include "sentry/task/kernel.h"

namespace sentry {

class TaskBuilder {
 public:
  static Result<Ref<Task>> Prepare(Kernel& kernel, const Kernel::InitProcess& init);
  static void Start(Task& task);
  static Result<Pid> Clone(Task& parent, platform::Context& context, const CloneArgs& args);
  static Status Exec(Task& task, platform::Context& context, ExecArgs args);

 private:
  // init
  static Result<Ref<Task>> NewInitTask(Kernel& kernel, const Kernel::InitProcess& init);
  static Status Adopt(Kernel& kernel, Task& task, const Kernel::InitProcess& init,
                      std::unique_ptr<platform::Thread>& thread)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu());

  // clone.cc
  static bool IsContainerFull(Kernel& kernel, const ThreadGroup& group)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu());
  // `into`: the control group of a new process, or empty for the parent's.
  static Result<Ref<Task>> NewTask(Task& parent, const CloneArgs& args,
                                   const Ref<ControlGroup>& into);
  // Requires: Kernel::mu() held.
  static Ref<ThreadGroup> NewGroup(Task& parent, const CloneArgs& args);
  static Status InheritResources(Task& parent, Task& child, const CloneArgs& args);
  // Makes the child visible. EINTR-like kRestartNoIntr when the parent is being killed.
  static Status Link(Task& parent, Task& child, const CloneArgs& args);
  static void WaitForVfork(Task& parent);

  // exec.cc
  static Status EndOtherTasks(Task& task);
  static void TakeLeadership(Task& task);
  static void Commit(Task& task, LoadedProgram program, const Credentials& creds, bool secure);
};

}  // namespace sentry

#endif  // SENTRY_TASK_TASK_BUILDER_H_
