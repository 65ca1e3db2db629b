// Namespaces and the other things that a task shares: unshare(2), setns(2).
#ifndef SYSCALLS_NAMESPACES_H_
#define SYSCALLS_NAMESPACES_H_

#include "syscalls/common.h"

namespace syscalls {

Result<Unit> Unshare(Task& task, uint64_t flags);
Result<Unit> Setns(Task& task, Fd fd, int type);

}  // namespace syscalls

#endif  // SYSCALLS_NAMESPACES_H_
