// Processes: their end, waiting for them, ids and sessions, prctl.
#ifndef SYSCALLS_PROCESS_H_
#define SYSCALLS_PROCESS_H_

#include <sys/resource.h>

#include <cstdint>

#include "syscalls/syscall.h"

namespace syscalls {

Control Exit(Task& task, int status);
Control ExitGroup(Task& task, int status);
Result<int64_t> Wait4(Task& task, int pid, UserPtr<int> status, int options,
                      UserPtr<rusage> usage);
// `info` is a siginfo_t of 128 bytes.
Result<Unit> Waitid(Task& task, int id_type, int id, UserAddr info, int options,
                    UserPtr<rusage> usage);

Result<int64_t> Getpid(Task& task);
Result<int64_t> Gettid(Task& task);
Result<int64_t> Getppid(Task& task);
Result<int64_t> Getpgrp(Task& task);
Result<int64_t> Getpgid(Task& task, int pid);
Result<Unit> Setpgid(Task& task, int pid, int pgid);
Result<int64_t> Getsid(Task& task, int pid);
Result<int64_t> Setsid(Task& task);
Status Vhangup(Task& task);

Control Prctl(Task& task, int option, uint64_t arg2, uint64_t arg3, uint64_t arg4,
              uint64_t arg5);
// 0 when the tasks share what `type` (KCMP_*) says, 1 or 2 for an order of what they have.
Result<int64_t> Kcmp(Task& task, int pid1, int pid2, int type, uint64_t idx1, uint64_t idx2);
Result<int64_t> Personality(Task& task, uint32_t persona);

}  // namespace syscalls

#endif  // SYSCALLS_PROCESS_H_
