// Scheduling: policies are recorded and reported, the affinity is the host thread's.
#ifndef SYSCALLS_SCHED_H_
#define SYSCALLS_SCHED_H_

#include <time.h>

#include <cstdint>

#include "syscalls/syscall.h"

namespace syscalls {

Result<Unit> SchedYield(Task& task);
Result<int64_t> SchedGetaffinity(Task& task, int tid, uint32_t size, UserAddr mask);
Result<Unit> SchedSetaffinity(Task& task, int tid, uint32_t size, UserAddr mask);
Result<Unit> SchedGetparam(Task& task, int tid, UserPtr<int> param);
Result<Unit> SchedSetparam(Task& task, int tid, UserPtr<const int> param);
Result<int64_t> SchedGetscheduler(Task& task, int tid);
Result<Unit> SchedSetscheduler(Task& task, int tid, int policy, UserPtr<const int> param);
Result<Unit> SchedSetattr(Task& task, int tid, UserAddr attributes, uint32_t flags);
Result<Unit> SchedGetattr(Task& task, int tid, UserAddr attributes, uint32_t size, uint32_t flags);
Result<int64_t> SchedGetPriorityMax(Task& task, int policy);
Result<int64_t> SchedGetPriorityMin(Task& task, int policy);
Result<Unit> SchedRrGetInterval(Task& task, int tid, UserPtr<timespec> interval);

}  // namespace syscalls

#endif  // SYSCALLS_SCHED_H_
