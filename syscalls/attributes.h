// What stat(2) shows and chmod, chown, utimensat and truncate change.
#ifndef SYSCALLS_ATTRIBUTES_H_
#define SYSCALLS_ATTRIBUTES_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Status Access(Task& task, UserCString path, int mode);
Status Faccessat(Task& task, Fd dirfd, UserCString path, int mode);
Status Faccessat2(Task& task, Fd dirfd, UserCString path, int mode, uint32_t flags);

Status Chmod(Task& task, UserCString path, uint32_t mode);
Status Fchmod(Task& task, Fd fd, uint32_t mode);
Status Fchmodat(Task& task, Fd dirfd, UserCString path, uint32_t mode);
Status Fchmodat2(Task& task, Fd dirfd, UserCString path, uint32_t mode, uint32_t flags);
Status Chown(Task& task, UserCString path, uint32_t uid, uint32_t gid);
Status Lchown(Task& task, UserCString path, uint32_t uid, uint32_t gid);
Status Fchown(Task& task, Fd fd, uint32_t uid, uint32_t gid);
Status Fchownat(Task& task, Fd dirfd, UserCString path, uint32_t uid, uint32_t gid,
                uint32_t flags);
Status Utime(Task& task, UserCString path, UserPtr<const abi::Utimbuf> times);
Status Utimes(Task& task, UserCString path, UserPtr<const abi::Timeval> times);
Status Futimesat(Task& task, Fd dirfd, UserCString path, UserPtr<const abi::Timeval> times);
Status Utimensat(Task& task, Fd dirfd, UserCString path, UserPtr<const abi::Timespec> times,
                 uint32_t flags);
Status Truncate(Task& task, UserCString path, int64_t length);
Status Ftruncate(Task& task, Fd fd, int64_t length);
Status Fallocate(Task& task, Fd fd, int mode, int64_t offset, int64_t length);

}  // namespace syscalls

#endif  // SYSCALLS_ATTRIBUTES_H_
