// /sys/devices/system/cpu and node: Documentation/ABI/testing/sysfs-devices-system-cpu,
// Documentation/ABI/stable/sysfs-devices-node.
#ifndef SENTRY_FS_SYS_CPU_H_
#define SENTRY_FS_SYS_CPU_H_

#include "sentry/fs/sys/tree.h"

namespace sentry {

// As many processors as the sandbox may use, each a core of one package, on one memory node. Caches
// are those that the processor tells of (cpuid); of which cores share them only the number is
// known.
void AddCpus(SysTree& tree);
void AddNode(SysTree& tree);

}  // namespace sentry

#endif  // SENTRY_FS_SYS_CPU_H_
