// What is known of files and filesystems.
#ifndef SYSCALLS_STAT_H_
#define SYSCALLS_STAT_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Status Stat(Task& task, UserCString path, UserPtr<abi::Stat> out);
Status Lstat(Task& task, UserCString path, UserPtr<abi::Stat> out);
Status Fstat(Task& task, Fd fd, UserPtr<abi::Stat> out);
Status Newfstatat(Task& task, Fd dirfd, UserCString path, UserPtr<abi::Stat> out,
                  uint32_t flags);
Status Statx(Task& task, Fd dirfd, UserCString path, uint32_t flags, uint32_t mask,
             UserPtr<abi::Statx> out);
Status Statfs(Task& task, UserCString path, UserPtr<abi::Statfs> out);
Status Fstatfs(Task& task, Fd fd, UserPtr<abi::Statfs> out);

// quotactl_fd(2).
Status QuotactlFd(Task& task, Fd fd, uint32_t command, uint32_t id, UserAddr data);
Status Cachestat(Task& task, Fd fd, UserPtr<const abi::CachestatRange> range,
                 UserPtr<abi::Cachestat> out, uint32_t flags);
Status Sync(Task& task);
Status Syncfs(Task& task, Fd fd);
Status Fsync(Task& task, Fd fd);
Status SyncFileRange(Task& task, Fd fd, int64_t offset, int64_t length, uint32_t flags);
Status Fadvise64(Task& task, Fd fd, int64_t offset, int64_t length, int advice);
Status Readahead(Task& task, Fd fd, int64_t offset, uint64_t count);

}  // namespace syscalls

#endif  // SYSCALLS_STAT_H_
