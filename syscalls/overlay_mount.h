// Mounting overlays: the paths among their options.
#ifndef SYSCALLS_OVERLAY_MOUNT_H_
#define SYSCALLS_OVERLAY_MOUNT_H_

#include "sentry/fs/overlayfs/options.h"
#include "syscalls/filesystems.h"

namespace syscalls {

inline Status CheckOverlay(const sentry::MountOption& option) {
  return sentry::CheckOverlayfsOption(option);
}
// As Linux: ENOENT and the like for paths, EINVAL for what is no directory or read-only, ELOOP for
// layers that lie in each other.
Result<Ref<sentry::Inode>> CreateOverlay(const FilesystemRequest& request);

}  // namespace syscalls

#endif  // SYSCALLS_OVERLAY_MOUNT_H_
