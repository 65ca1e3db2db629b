// A small sysfs: processors, caches and memory nodes, network devices, and places to mount on.
#ifndef SENTRY_FS_SYS_SYS_H_
#define SENTRY_FS_SYS_SYS_H_

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/inode.h"
#include "sentry/net/namespace.h"

namespace sentry {

// The root of a fresh tree. Read-only, without state; shows the devices of `network`.
Result<Ref<Inode>> CreateSys(Ref<NetworkNamespace> network);

}  // namespace sentry

#endif  // SENTRY_FS_SYS_SYS_H_
