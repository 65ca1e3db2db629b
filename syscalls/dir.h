// Reading directories.
#ifndef SYSCALLS_DIR_H_
#define SYSCALLS_DIR_H_

#include "syscalls/syscall.h"

namespace syscalls {

Result<int64_t> Getdents(Task& task, Fd fd, UserAddr buffer, uint32_t size);
Result<int64_t> Getdents64(Task& task, Fd fd, UserAddr buffer, uint32_t size);

}  // namespace syscalls

#endif  // SYSCALLS_DIR_H_
