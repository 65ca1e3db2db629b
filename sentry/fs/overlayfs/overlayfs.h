// An overlay that a process mounts: what the kernel's overlayfs is. Changes lie in the upper
// directory as Linux stores them, so that another overlay, or Linux, can go on with it.
#ifndef SENTRY_FS_OVERLAYFS_OVERLAYFS_H_
#define SENTRY_FS_OVERLAYFS_OVERLAYFS_H_

#include <optional>
#include <string>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/mount.h"
#include "sentry/fs/vfs.h"

namespace sentry {

struct OverlayfsLayers {
  // Directories on mounts that nobody sees (Vfs::CloneDetached), which `holders` keep. Topmost
  // first.
  std::vector<Path> lower;
  // Both or none, on one mount.
  std::optional<Path> upper, work;
  std::vector<Ref<MountNamespace>> holders;
  bool user_xattr = false;
  std::string shown;  // See OverlayfsOptions.
};

// The root of a new overlay, which works on its layers with `creds`. Errors as of making a
// directory in `work`; EINVAL when a layer lies on too many overlays, or the upper one on any.
Result<Ref<Inode>> CreateOverlayfs(Vfs& vfs, const Credentials& creds, OverlayfsLayers layers);

}  // namespace sentry

#endif  // SENTRY_FS_OVERLAYFS_OVERLAYFS_H_
