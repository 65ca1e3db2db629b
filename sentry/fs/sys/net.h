// /sys/class/net and /sys/devices/virtual/net: Documentation/ABI/testing/sysfs-class-net.
#ifndef SENTRY_FS_SYS_NET_H_
#define SENTRY_FS_SYS_NET_H_

#include "base/ref.h"
#include "sentry/fs/inode.h"
#include "sentry/net/namespace.h"

namespace sentry {

// Both follow the devices of the namespace. Where a device of the host really sits is not told: all
// of them show as virtual ones.
struct NetTree {
  Ref<Inode> links;    // class/net
  Ref<Inode> devices;  // devices/virtual/net
};
NetTree CreateNetTree(Ref<NetworkNamespace> network);

}  // namespace sentry

#endif  // SENTRY_FS_SYS_NET_H_
