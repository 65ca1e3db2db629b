// How many tasks the sandbox holds.
#ifndef SENTRY_TASK_TASK_LIMIT_H_
#define SENTRY_TASK_TASK_LIMIT_H_

#include <cstddef>

namespace sentry {

// Lowers the number at which clone(2) answers EAGAIN, as a control group's pids.max does. Of the
// process, which holds one kernel; before guests run.
void LimitTasks(size_t most);

}  // namespace sentry

#endif  // SENTRY_TASK_TASK_LIMIT_H_
