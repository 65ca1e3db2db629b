// Calls about the memory of other processes.
#ifndef SYSCALLS_PROCESS_VM_H_
#define SYSCALLS_PROCESS_VM_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

enum class MemoryAccess : uint8_t { kRead, kAttach };

// Whether `task` may look into `other`, as ptrace(2) says under "Ptrace access mode checking": with
// the filesystem ids (kRead) or the real ones (kAttach). EPERM.
Status MayAccessMemory(Task& task, Task& other, MemoryAccess access);
// A live task of the process behind a pidfd. EBADF for other files, ESRCH when it has ended.
Result<Ref<Task>> TaskOfPidfd(Task& task, Fd pidfd);

Result<int64_t> ProcessVmReadv(Task& task, int pid, UserPtr<const abi::Iovec> local,
                               uint64_t local_count, UserPtr<const abi::Iovec> remote,
                               uint64_t remote_count, uint64_t flags);
Result<int64_t> ProcessVmWritev(Task& task, int pid, UserPtr<const abi::Iovec> local,
                                uint64_t local_count, UserPtr<const abi::Iovec> remote,
                                uint64_t remote_count, uint64_t flags);

}  // namespace syscalls

#endif  // SYSCALLS_PROCESS_VM_H_
