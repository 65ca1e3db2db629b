// Opening files by name.
#ifndef SYSCALLS_OPEN_H_
#define SYSCALLS_OPEN_H_

#include "syscalls/abi_types.h"
#include "syscalls/common.h"
#include "syscalls/syscall.h"

namespace syscalls {

// The flags that open(2) knows, O_LARGEFILE among them; others are ignored.
OpenFlags CleanOpenFlags(uint32_t flags);
Result<Fd> Open(Task& task, UserCString path, uint32_t flags, uint32_t mode);
Result<Fd> Openat(Task& task, Fd dirfd, UserCString path, uint32_t flags, uint32_t mode);
Result<Fd> Openat2(Task& task, Fd dirfd, UserCString path, UserAddr how, uint64_t size);
Result<Fd> Creat(Task& task, UserCString path, uint32_t mode);

}  // namespace syscalls

#endif  // SYSCALLS_OPEN_H_
