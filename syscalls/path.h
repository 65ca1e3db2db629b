// Names: making, moving and removing them, and the working directory.
#ifndef SYSCALLS_PATH_H_
#define SYSCALLS_PATH_H_

#include "syscalls/syscall.h"

namespace syscalls {

Status Link(Task& task, UserCString from, UserCString to);
Status Linkat(Task& task, Fd from_dir, UserCString from, Fd to_dir, UserCString to,
              uint32_t flags);
Status Symlink(Task& task, UserCString target, UserCString path);
Status Symlinkat(Task& task, UserCString target, Fd dirfd, UserCString path);
Status Unlink(Task& task, UserCString path);
Status Unlinkat(Task& task, Fd dirfd, UserCString path, uint32_t flags);
Status Rename(Task& task, UserCString from, UserCString to);
Status Renameat(Task& task, Fd from_dir, UserCString from, Fd to_dir, UserCString to);
Status Renameat2(Task& task, Fd from_dir, UserCString from, Fd to_dir, UserCString to,
                 uint32_t flags);
Status Mkdir(Task& task, UserCString path, uint32_t mode);
Status Mkdirat(Task& task, Fd dirfd, UserCString path, uint32_t mode);
Status Rmdir(Task& task, UserCString path);
Status Mknod(Task& task, UserCString path, uint32_t mode, uint32_t device);
Status Mknodat(Task& task, Fd dirfd, UserCString path, uint32_t mode, uint32_t device);
Result<int64_t> Readlink(Task& task, UserCString path, UserAddr buffer, int size);
Result<int64_t> Readlinkat(Task& task, Fd dirfd, UserCString path, UserAddr buffer, int size);

Status Chdir(Task& task, UserCString path);
Status Fchdir(Task& task, Fd fd);
Status Chroot(Task& task, UserCString path);
Result<int64_t> Getcwd(Task& task, UserAddr buffer, uint64_t size);
Result<int64_t> Umask(Task& task, uint32_t mask);


}  // namespace syscalls

#endif  // SYSCALLS_PATH_H_
