// Memory calls: those the host is to execute once they have been checked.
#ifndef SYSCALLS_MEMORY_H_
#define SYSCALLS_MEMORY_H_

#include "syscalls/syscall.h"

namespace syscalls {

bool Aligned(uint64_t addr);
// [addr, addr+length) after rounding the length up to pages, when all of it is the application's.
// `error` otherwise: what Linux says of addresses beyond the end differs from call to call.
Status CheckRange(Task& task, uint64_t addr, uint64_t length, int error);
// For calls that keep their arguments' meaning whatever lies there.
Result<Control> ContinueWithin(Task& task, uint64_t addr, uint64_t length, int error);

Result<Control> Mmap(Task& task, uint64_t addr, uint64_t length, int prot, int flags, Fd fd,
                     uint64_t offset);
Result<Control> Munmap(Task& task, uint64_t addr, uint64_t length);
Result<Control> Mprotect(Task& task, uint64_t addr, uint64_t length, uint64_t prot);
Result<Control> Mremap(Task& task, uint64_t addr, uint64_t old_length, uint64_t new_length,
                       uint64_t flags, uint64_t new_addr);
Result<Control> RemapFilePages(Task& task, uint64_t addr, uint64_t size, int prot,
                               uint64_t page_offset, int flags);
Result<Control> Mseal(Task& task, uint64_t addr, uint64_t length, uint64_t flags);
Result<Control> PkeyMprotect(Task& task, uint64_t addr, uint64_t length, uint64_t prot, int key);
Result<Control> PkeyAlloc(Task& task, uint64_t flags, uint64_t rights);
Result<Control> PkeyFree(Task& task, int key);
Result<Control> Brk(Task& task, uint64_t addr);
Result<Control> ArchPrctl(Task& task, int option, uint64_t addr);

}  // namespace syscalls

#endif  // SYSCALLS_MEMORY_H_
