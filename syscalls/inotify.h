// inotify(7).
#ifndef SYSCALLS_INOTIFY_H_
#define SYSCALLS_INOTIFY_H_

#include "syscalls/syscall.h"

namespace syscalls {

Result<Fd> InotifyInit1(Task& task, int flags);
Result<Fd> InotifyInit(Task& task);
Result<int64_t> InotifyAddWatch(Task& task, Fd fd, UserCString path, uint32_t mask);
Status InotifyRmWatch(Task& task, Fd fd, int wd);

}  // namespace syscalls

#endif  // SYSCALLS_INOTIFY_H_
