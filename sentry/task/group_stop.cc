// Group stop: SIGSTOP and its like, SIGCONT, and what the parent hears of them.
#include <algorithm>

#include "sentry/task/kernel.h"
#include "sentry/task/wait.h"

namespace sentry {

void Kernel::StopLocked(ThreadGroup& group, int sig) {
  if (group.stopped || group.exiting) return;
  group.stopped = true;
  group.stop_signal = sig;
  group.stop_complete = false;
  group.continue_unreported = false;
  for (Task* task : group.tasks) InterruptLocked(*task);
}

void Kernel::CheckStopCompleteLocked(ThreadGroup& group, AfterUnlock& after) {
  if (!group.stopped || group.stop_complete || group.tasks.empty()) return;
  const bool all = std::all_of(group.tasks.begin(), group.tasks.end(),
                               [](const Task* task) { return task->parked_ || task->killed(); });
  if (!all) return;
  group.stop_complete = true;
  group.stop_unreported = true;
  NotifyParentLocked(group, CLD_STOPPED, group.stop_signal, after);
}

void Kernel::ContinueLocked(ThreadGroup& group, AfterUnlock& after) {
  if (!group.stopped) return;
  group.stopped = false;
  group.stop_unreported = false;
  for (Task* task : group.tasks) task->TellStateLocked();
  if (!group.stop_complete) return;
  group.stop_complete = false;
  group.continue_unreported = true;
  NotifyParentLocked(group, CLD_CONTINUED, SIGCONT, after);
}

void Kernel::NotifyParentLocked(ThreadGroup& group, int code, int status, AfterUnlock& after) {
  ThreadGroup* parent = group.parent;
  if (parent == nullptr) return;
  const SignalAction& action = parent->handlers->actions[SIGCHLD];
  if ((action.flags & SA_NOCLDSTOP) == 0) {
    SignalInfo info = MakeSignalInfo(SIGCHLD, code, group.id, group.uid);
    info.si_status = status;
    (void)SendLocked(*parent, nullptr, info, after);
  }
  parent->child_events.Notify(POLLIN);
}

}  // namespace sentry
