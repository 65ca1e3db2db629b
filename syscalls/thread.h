// Threads: their identity towards the host, scheduling.
#ifndef SYSCALLS_THREAD_H_
#define SYSCALLS_THREAD_H_

#include <time.h>

#include <cstddef>
#include <cstdint>

#include "syscalls/syscall.h"

namespace syscalls {

// Disposition context: the host clears the word and wakes its waiters when the thread ends.
Result<int64_t> SetTidAddress(Task& task, Context& context, uint64_t address);
Control Rseq(Task& task);
Control Membarrier(Task& task);

Result<Unit> SchedYield(Task& task);
Result<int64_t> SchedGetaffinity(Task& task, int tid, uint32_t size, UserAddr mask);
Control SchedSetaffinity(Task& task, int tid, uint32_t size, UserAddr mask);
Result<Unit> SchedGetparam(Task& task, int tid, UserPtr<int> param);
Result<Unit> SchedSetparam(Task& task, int tid, UserPtr<const int> param);
Result<int64_t> SchedGetscheduler(Task& task, int tid);
Result<Unit> SchedSetscheduler(Task& task, int tid, int policy, UserPtr<const int> param);
Result<int64_t> SchedGetPriorityMax(Task& task, int policy);
Result<int64_t> SchedGetPriorityMin(Task& task, int policy);
Result<Unit> SchedRrGetInterval(Task& task, int tid, UserPtr<timespec> interval);
Result<int64_t> Getpriority(Task& task, int which, int who);
Result<Unit> Setpriority(Task& task, int which, int who, int value);
Result<int64_t> IoprioGet(Task& task, int which, int who);
Result<Unit> IoprioSet(Task& task, int which, int who, int priority);

}  // namespace syscalls

#endif  // SYSCALLS_THREAD_H_
