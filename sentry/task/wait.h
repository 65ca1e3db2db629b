// Waiting for children: what wait4(2) and waitid(2) share.
#ifndef SENTRY_TASK_WAIT_H_
#define SENTRY_TASK_WAIT_H_

#include <cstdint>

#include "base/result.h"
#include "sentry/task/kernel.h"

namespace sentry {

// ECHILD without a child that could match, kRestartSys when a signal arrives.
Result<WaitReport> WaitForChild(Task& task, const WaitQuery& query);

// The exit code or signal number, as si_status has it.
int StatusForInfo(int code, int wait_status);
SignalInfo ChildInfo(const WaitReport& report);
// What the reported child has used; waits a moment for the host's accounts of a dead one.
platform::Usage UsageOf(const WaitReport& report);
// Of the children that a process has waited for. Waits likewise.
platform::Usage UsageOfChildren(Kernel& kernel, ThreadGroup& group);

}  // namespace sentry

#endif  // SENTRY_TASK_WAIT_H_
