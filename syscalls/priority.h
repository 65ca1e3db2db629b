// Nice values and I/O priorities: recorded, checked and reported.
#ifndef SYSCALLS_PRIORITY_H_
#define SYSCALLS_PRIORITY_H_

#include <cstdint>

#include "syscalls/syscall.h"

namespace syscalls {

Result<int64_t> Getpriority(Task& task, int which, int who);
Result<Unit> Setpriority(Task& task, int which, int who, int value);
Result<int64_t> IoprioGet(Task& task, int which, int who);
Result<Unit> IoprioSet(Task& task, int which, int who, int priority);

}  // namespace syscalls

#endif  // SYSCALLS_PRIORITY_H_
