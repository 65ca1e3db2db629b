// Threads: what of them is the host's.
#ifndef SYSCALLS_THREAD_H_
#define SYSCALLS_THREAD_H_

#include <cstdint>

#include "syscalls/syscall.h"

namespace syscalls {

// Disposition context: the host clears the word and wakes its waiters when the thread ends.
Result<int64_t> SetTidAddress(Task& task, Context& context, uint64_t address);
Control Rseq(Task& task);
Control Membarrier(Task& task);

}  // namespace syscalls

#endif  // SYSCALLS_THREAD_H_
