// Advice about memory, what is resident and what is locked.
#ifndef SYSCALLS_MEMORY_ADVICE_H_
#define SYSCALLS_MEMORY_ADVICE_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Result<Control> Madvise(Task& task, uint64_t addr, uint64_t length, int advice);
Result<int64_t> ProcessMadvise(Task& task, Context& context, Fd pidfd,
                               UserPtr<const abi::Iovec> iov, uint64_t count, int advice,
                               uint32_t flags);
Status ProcessMrelease(Task& task, Fd pidfd, uint32_t flags);
Result<Control> Msync(Task& task, uint64_t addr, uint64_t length, int flags);
Result<Control> Mincore(Task& task, uint64_t addr, uint64_t length, uint64_t vector);
Result<Control> Mlock(Task& task, uint64_t addr, uint64_t length);
Result<Control> Mlock2(Task& task, uint64_t addr, uint64_t length, int flags);
Result<Control> Munlock(Task& task, uint64_t addr, uint64_t length);
Status Mlockall(Task& task, Context& context, int flags);
Result<Control> Munlockall(Task& task);

}  // namespace syscalls

#endif  // SYSCALLS_MEMORY_ADVICE_H_
