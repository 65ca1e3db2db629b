// Mounts: mount(2), umount2(2), pivot_root(2), and the calls on descriptors of them.
#ifndef SYSCALLS_MOUNT_H_
#define SYSCALLS_MOUNT_H_

#include "sentry/fs/vfs.h"
#include "syscalls/syscall.h"

namespace syscalls {

Status Mount(Task& task, UserCString source, UserCString target, UserCString type, uint64_t flags,
             UserAddr data);
Status Umount2(Task& task, UserCString target, uint32_t flags);
Status PivotRoot(Task& task, UserCString new_root, UserCString put_old);

Result<int64_t> Sysfs(Task& task, int option, uint64_t first, UserAddr second);

Result<Fd> OpenTree(Task& task, Fd dirfd, UserCString path, uint32_t flags);
Result<Fd> OpenTreeAttr(Task& task, Fd dirfd, UserCString path, uint32_t flags, UserAddr attr,
                        uint64_t size);
Status MoveMount(Task& task, Fd from_dir, UserCString from, Fd to_dir, UserCString to,
                 uint32_t flags);
Result<Fd> Fsopen(Task& task, UserCString type, uint32_t flags);
Status Fsconfig(Task& task, Fd fd, uint32_t command, UserCString key, UserAddr value, int aux);
Result<Fd> Fsmount(Task& task, Fd fd, uint32_t flags, uint32_t attributes);
Result<Fd> Fspick(Task& task, Fd dirfd, UserCString path, uint32_t flags);
Status MountSetattr(Task& task, Fd dirfd, UserCString path, uint32_t flags, UserAddr attr,
                    uint64_t size);
Status Statmount(Task& task, UserAddr request, UserAddr buffer, uint64_t size, uint32_t flags);
Result<int64_t> Listmount(Task& task, UserAddr request, UserAddr ids, uint64_t count,
                          uint32_t flags);

// The namespace of the caller; EINVAL for one that has none any more.
Result<Ref<sentry::MountNamespace>> MountsOf(Task& task);

}  // namespace syscalls

#endif  // SYSCALLS_MOUNT_H_
