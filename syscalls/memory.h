// Memory calls: those the host is to execute once they have been checked.
#ifndef SYSCALLS_MEMORY_H_
#define SYSCALLS_MEMORY_H_

#include "syscalls/syscall.h"

namespace syscalls {

Result<Control> Mmap(Task& task, uint64_t addr, uint64_t length, int prot, int flags, Fd fd,
                     uint64_t offset);
Result<Control> Munmap(Task& task, uint64_t addr, uint64_t length);
Result<Control> Mprotect(Task& task, uint64_t addr, uint64_t length, uint64_t prot);
Result<Control> Mremap(Task& task, uint64_t addr, uint64_t old_length, uint64_t new_length,
                       uint64_t flags, uint64_t new_addr);
Result<Control> Madvise(Task& task, uint64_t addr, uint64_t length, int advice);
Result<Control> Msync(Task& task, uint64_t addr, uint64_t length, int flags);
Result<Control> Mincore(Task& task, uint64_t addr, uint64_t length, uint64_t vector);
Result<Control> Mlock(Task& task, uint64_t addr, uint64_t length);
Result<Control> Mlock2(Task& task, uint64_t addr, uint64_t length, int flags);
Result<Control> Munlock(Task& task, uint64_t addr, uint64_t length);
Result<Control> Mlockall(Task& task, int flags);
Result<Control> Munlockall(Task& task);
Result<Control> Brk(Task& task, uint64_t addr);
Result<Control> ArchPrctl(Task& task, int option, uint64_t addr);

}  // namespace syscalls

#endif  // SYSCALLS_MEMORY_H_
