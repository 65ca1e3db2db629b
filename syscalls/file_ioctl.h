// ioctl(2) on what filesystems store.
#ifndef SYSCALLS_FILE_IOCTL_H_
#define SYSCALLS_FILE_IOCTL_H_

#include "syscalls/common.h"

namespace syscalls {

// What the VFS of Linux answers for every file, whatever the file's own ioctl knows: FIGETBSZ,
// FIOQSIZE, FICLONE, FICLONERANGE.
Result<int64_t> AnyFileIoctl(Task& task, File& file, uint32_t command, uint64_t arg);
// What is left for regular files and directories: FIONREAD, FS_IOC_GETFLAGS, …; ENOTTY for the
// rest.
Result<int64_t> StoredFileIoctl(Task& task, File& file, uint32_t command, uint64_t arg);

// FIOSETOWN, SIOCSPGRP, FIOGETOWN, SIOCGPGRP: F_SETOWN and F_GETOWN of sockets by their old names.
Result<int64_t> OwnerIoctl(Task& task, File& file, uint32_t command, uint64_t arg);

}  // namespace syscalls

#endif  // SYSCALLS_FILE_IOCTL_H_
