// The robust futexes of a thread that ends: get_robust_list(2). Linux: exit_robust_list in
// kernel/futex/core.c.
#ifndef SENTRY_TASK_ROBUST_LIST_H_
#define SENTRY_TASK_ROBUST_LIST_H_

#include "platform/api/platform.h"
#include "sentry/task/task.h"

namespace sentry {

// Whether the list that the task has registered names a lock. For the task itself.
bool HoldsRobustLocks(Task& task);

// Marks the locks that the task still holds with FUTEX_OWNER_DIED and wakes one waiter each; the
// list is forgotten. What cannot be read ends the walk, as in Linux. For the task itself.
void ReleaseRobustLocks(Task& task, platform::Context& context);

}  // namespace sentry

#endif  // SENTRY_TASK_ROBUST_LIST_H_
