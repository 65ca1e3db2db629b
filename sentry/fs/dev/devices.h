// Character devices and the content of a fresh /dev.
#ifndef SENTRY_FS_DEV_DEVICES_H_
#define SENTRY_FS_DEV_DEVICES_H_

#include <cstdint>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/fs/inode.h"
#include "sentry/fs/vfs.h"

namespace sentry {

class Devpts;
class Task;

// Opens the character device `rdev` (makedev(3)) through the node `inode`. ENXIO for devices that
// do not exist, and for /dev/tty without a controlling terminal or without `task`.
Result<Ref<File>> OpenDevice(uint64_t rdev, Ref<Inode> inode, OpenFlags flags,
                             Task* task = nullptr);

// OpenDevice, with /dev/ptmx (wherever a node of that number lies) for `terminals`.
Vfs::DeviceOpener DeviceOpener(Ref<Devpts> terminals);

// A fresh tree (on tmpfs) for /dev: the devices above, links to /proc/self/fd, shm, pts, mqueue.
Result<Ref<Inode>> CreateDevTree();

}  // namespace sentry

#endif  // SENTRY_FS_DEV_DEVICES_H_
