// File handles: names for files that need no path.
#ifndef SYSCALLS_HANDLES_H_
#define SYSCALLS_HANDLES_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

// `mount_id`: an int, or 64 bits with AT_HANDLE_MNT_ID_UNIQUE.
Status NameToHandleAt(Task& task, Fd dirfd, UserCString path, UserPtr<abi::FileHandle> handle,
                      UserAddr mount_id, uint32_t flags);
Result<Fd> OpenByHandleAt(Task& task, Fd mount_fd, UserPtr<const abi::FileHandle> handle,
                          uint32_t flags);

}  // namespace syscalls

#endif  // SYSCALLS_HANDLES_H_
