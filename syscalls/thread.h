// Threads: what of them is the host's.
#ifndef SYSCALLS_THREAD_H_
#define SYSCALLS_THREAD_H_

#include <cstdint>

#include "syscalls/syscall.h"

namespace syscalls {

// The host clears the word and wakes its waiters when the thread ends, if anybody shares the memory
// by then. Who is alone with it, as every program at its start, tells the host when that changes.
Control SetTidAddress(Task& task, uint64_t address);
Control Rseq(Task& task);
Control Membarrier(Task& task, int command, unsigned flags);

}  // namespace syscalls

#endif  // SYSCALLS_THREAD_H_
