// The tree of names that a `do` program sees.
#ifndef RUNSC_FILESYSTEM_H_
#define RUNSC_FILESYSTEM_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/result.h"
#include "runsc/config.h"
#include "sentry/fs/gofer/gofer_client.h"
#include "sentry/fs/vfs.h"
#include "sentry/task/kernel.h"

namespace runsc {

// The root with everything mounted: the host's files through the gofer (below a memory overlay),
// fresh /proc, /dev, /sys and /tmp, and the volumes. Both arguments must outlive the kernel's
// processes.
absl::StatusOr<sentry::Path> BuildTree(sentry::Kernel& kernel, sentry::GoferClient& files,
                                       const Config& config);

// The same without what is mounted on it: for `config.root` alone.
// Export `index` of the gofer as a tree: below an overlay where --overlay2 has one for it, whose
// data are in memory or in a filestore. `trees`: exports besides the root.
absl::StatusOr<Ref<sentry::Inode>> OpenTree(sentry::GoferClient& files, const Config& config,
                                            uint32_t index, size_t trees);
absl::StatusOr<sentry::Path> MountRootTree(sentry::Vfs& vfs, sentry::GoferClient& files,
                                           const Config& config);
// The place to mount a directory or a file at, made with those above it if it is missing.
Result<sentry::Path> MountPoint(sentry::Vfs& vfs, const sentry::WalkContext& ctx,
                                const std::string& path, bool directory);

// Set-up's own view: as root, at the root.
sentry::WalkContext SetUpContext(const sentry::Path& root);

// Where the program starts. Without --cwd: the caller's directory if it is there, else the root.
absl::StatusOr<sentry::Path> FindWorkingDirectory(sentry::Vfs& vfs, const sentry::Path& root,
                                                  const Config& config);

// What execvp(3) would execute for `command`: itself if it has a slash, else found along the list
// of directories `search`. EACCES if there was only something not executable, ENOENT if nothing.
Result<std::string> FindProgram(sentry::Vfs& vfs, const sentry::WalkContext& ctx,
                                const std::string& command, const std::string& search);

}  // namespace runsc

#endif  // RUNSC_FILESYSTEM_H_
