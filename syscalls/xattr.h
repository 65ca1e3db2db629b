// Extended attributes.
#ifndef SYSCALLS_XATTR_H_
#define SYSCALLS_XATTR_H_

#include "syscalls/syscall.h"

namespace syscalls {

Status Setxattr(Task& task, UserCString path, UserCString name, UserAddr value, uint64_t size,
                int flags);
Status Lsetxattr(Task& task, UserCString path, UserCString name, UserAddr value, uint64_t size,
                 int flags);
Status Fsetxattr(Task& task, Fd fd, UserCString name, UserAddr value, uint64_t size, int flags);
Result<int64_t> Getxattr(Task& task, UserCString path, UserCString name, UserAddr value,
                         uint64_t size);
Result<int64_t> Lgetxattr(Task& task, UserCString path, UserCString name, UserAddr value,
                          uint64_t size);
Result<int64_t> Fgetxattr(Task& task, Fd fd, UserCString name, UserAddr value, uint64_t size);
Result<int64_t> Listxattr(Task& task, UserCString path, UserAddr list, uint64_t size);
Result<int64_t> Llistxattr(Task& task, UserCString path, UserAddr list, uint64_t size);
Result<int64_t> Flistxattr(Task& task, Fd fd, UserAddr list, uint64_t size);
Status Removexattr(Task& task, UserCString path, UserCString name);
Status Lremovexattr(Task& task, UserCString path, UserCString name);
Status Fremovexattr(Task& task, Fd fd, UserCString name);

// Of Linux 6.13. `args` is a struct xattr_args of `size` bytes.
Status Setxattrat(Task& task, Fd dirfd, UserCString path, uint32_t at_flags, UserCString name,
                  UserAddr args, uint64_t size);
Result<int64_t> Getxattrat(Task& task, Fd dirfd, UserCString path, uint32_t at_flags,
                           UserCString name, UserAddr args, uint64_t size);
Result<int64_t> Listxattrat(Task& task, Fd dirfd, UserCString path, uint32_t at_flags,
                            UserAddr list, uint64_t size);
Status Removexattrat(Task& task, Fd dirfd, UserCString path, uint32_t at_flags, UserCString name);

}  // namespace syscalls

#endif  // SYSCALLS_XATTR_H_
