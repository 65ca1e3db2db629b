// The options of overlays that processes mount (Documentation/filesystems/overlayfs.rst).
#ifndef SENTRY_FS_OVERLAYFS_OPTIONS_H_
#define SENTRY_FS_OVERLAYFS_OPTIONS_H_

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sentry/fs/mount_options.h"

namespace sentry {

struct OverlayfsOptions {
  std::vector<std::string> lower;  // Paths, topmost first.
  std::string upper, work;         // Empty: none.
  bool user_xattr = false;         // "user.overlay." instead of "trusted.overlay.".
  std::string shown;               // For /proc/PID/mounts, with a comma in front of each.
};

// Takes "a,b=c" apart, where a backslash keeps a comma within a value.
MountOptions SplitOverlayfsOptions(std::string_view text);
// EINVAL for an option that is unknown, or that asks for what is not there: index, metacopy,
// redirect_dir and nfs_export can be switched off only.
Status CheckOverlayfsOption(const MountOption& option);
// EINVAL without lower layers, for empty names among them, for more than 500, and for an upper
// directory without one for work.
Result<OverlayfsOptions> ParseOverlayfsOptions(const MountOptions& options);

}  // namespace sentry

#endif  // SENTRY_FS_OVERLAYFS_OPTIONS_H_
