// Calls on descriptors themselves.
#ifndef SYSCALLS_FD_H_
#define SYSCALLS_FD_H_

#include "syscalls/syscall.h"

namespace syscalls {

Result<Control> Close(Task& task, Fd fd);
Status CloseRange(Task& task, uint32_t first, uint32_t last, uint32_t flags);
Result<Fd> Dup(Task& task, Fd fd);
Result<Fd> Dup2(Task& task, Fd from, Fd to);
Result<Fd> Dup3(Task& task, Fd from, Fd to, uint32_t flags);
Result<int64_t> Fcntl(Task& task, Fd fd, int command, uint64_t arg);
Status Flock(Task& task, Fd fd, int operation);
Result<int64_t> Ioctl(Task& task, Fd fd, uint32_t command, uint64_t arg);

}  // namespace syscalls

#endif  // SYSCALLS_FD_H_
