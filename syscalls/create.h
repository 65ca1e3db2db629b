// Calls that make files without a name.
#ifndef SYSCALLS_CREATE_H_
#define SYSCALLS_CREATE_H_

#include <array>

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Status Pipe(Task& task, UserPtr<std::array<int, 2>> fds);
Status Pipe2(Task& task, UserPtr<std::array<int, 2>> fds, uint32_t flags);
Result<Fd> Eventfd(Task& task, uint32_t count);
Result<Fd> Eventfd2(Task& task, uint32_t count, int flags);
Result<Fd> MemfdCreate(Task& task, UserCString name, uint32_t flags);
Result<Fd> Signalfd(Task& task, Fd fd, UserAddr mask, uint64_t size);
Result<Fd> Signalfd4(Task& task, Fd fd, UserAddr mask, uint64_t size, int flags);
Result<Fd> TimerfdCreate(Task& task, int clock, int flags);
Status TimerfdSettime(Task& task, Fd fd, int flags, UserPtr<const abi::Itimerspec> value,
                      UserPtr<abi::Itimerspec> old);
Status TimerfdGettime(Task& task, Fd fd, UserPtr<abi::Itimerspec> value);

}  // namespace syscalls

#endif  // SYSCALLS_CREATE_H_
