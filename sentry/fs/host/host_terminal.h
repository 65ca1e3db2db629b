// ioctls of a donated terminal: tty_ioctl(4).
#ifndef SENTRY_FS_HOST_HOST_TERMINAL_H_
#define SENTRY_FS_HOST_HOST_TERMINAL_H_

#include <cstdint>

#include "base/result.h"
#include "sentry/fs/file.h"

namespace sentry {

class Task;

// What concerns the line (settings, window size, flow) goes to the host terminal `host_fd` with
// copied and checked arguments; what concerns sessions and process groups is the sentry's own.
// ENOTTY for everything else.
Result<int64_t> HostTerminalIoctl(Task& task, File& file, int host_fd, uint32_t command,
                                  uint64_t arg);
// TOSTOP: background processes may not write.
bool HostTerminalStopsOutput(int host_fd);

}  // namespace sentry

#endif  // SENTRY_FS_HOST_HOST_TERMINAL_H_
