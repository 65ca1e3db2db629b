// seccomp(2), and what filters do to calls.
#ifndef SYSCALLS_SECCOMP_H_
#define SYSCALLS_SECCOMP_H_

#include <optional>

#include "syscalls/syscall.h"

namespace syscalls {

// What becomes of a call for a task with filters; nothing when they allow it.
std::optional<Verdict> ApplySeccomp(Task& task, const platform::SyscallArgs& call);

Result<int64_t> Seccomp(Task& task, uint32_t operation, uint32_t flags, UserAddr args);
// PR_SET_SECCOMP and PR_GET_SECCOMP.
Result<int64_t> SetSeccomp(Task& task, uint64_t mode, uint64_t filter);
int64_t SeccompMode(const Task& task);

}  // namespace syscalls

#endif  // SYSCALLS_SECCOMP_H_
