// proc(5).
#ifndef SENTRY_FS_PROC_PROC_H_
#define SENTRY_FS_PROC_PROC_H_

#include "base/ref.h"
#include "sentry/fs/inode.h"

namespace sentry {

class Kernel;

// The root of a procfs that shows the processes of `kernel`, which must outlive it.
Ref<Inode> CreateProc(Kernel& kernel);

}  // namespace sentry

#endif  // SENTRY_FS_PROC_PROC_H_
