// A minimal sysfs: what programs look at to count processors, and places to mount on.
#ifndef SENTRY_FS_SYS_SYS_H_
#define SENTRY_FS_SYS_SYS_H_

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/inode.h"

namespace sentry {

// The root of a fresh tree. Read-only, without state.
Result<Ref<Inode>> CreateSys();

}  // namespace sentry

#endif  // SENTRY_FS_SYS_SYS_H_
