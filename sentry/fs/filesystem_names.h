// The names of the filesystems that can be mounted, in the order of sysfs(2) and /proc/filesystems.
// What makes them is a table of syscalls/filesystems.cc, which checks that it has these.
#ifndef SENTRY_FS_FILESYSTEM_NAMES_H_
#define SENTRY_FS_FILESYSTEM_NAMES_H_

#include <string_view>

namespace sentry {

inline constexpr std::string_view kFilesystemNames[] = {
    "sysfs", "tmpfs", "proc", "devtmpfs", "devpts", "ramfs", "mqueue", "cgroup2", "overlay",
};

}  // namespace sentry

#endif  // SENTRY_FS_FILESYSTEM_NAMES_H_
