// Futexes: what of them is not the host's, and the robust list.
#ifndef SYSCALLS_FUTEX_H_
#define SYSCALLS_FUTEX_H_

#include <cstddef>
#include <cstdint>

#include "syscalls/syscall.h"

namespace syscalls {

// Direct for the plain operations; what arrives here is not.
Control Futex(Task& task, uint64_t address, uint32_t operation, uint32_t value, uint64_t timeout,
              uint64_t address2, uint32_t value3);
// futex_waitv(2) and the calls of Linux 6.7: words of the caller's own memory, so the host's.
Control FutexWaitv(Task& task);
Control FutexWake(Task& task);
Control FutexWait(Task& task);
Control FutexRequeue(Task& task);

Result<Unit> SetRobustList(Task& task, uint64_t head, size_t size);
Result<Unit> GetRobustList(Task& task, int tid, UserPtr<uint64_t> head, UserPtr<uint64_t> size);

}  // namespace syscalls

#endif  // SYSCALLS_FUTEX_H_
