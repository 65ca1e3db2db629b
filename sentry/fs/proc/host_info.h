// What the sentry can tell of the machine without opening any file of the host.
#ifndef SENTRY_FS_PROC_HOST_INFO_H_
#define SENTRY_FS_PROC_HOST_INFO_H_

#include <string>

namespace sentry {

// Texts of /proc.
std::string CpuInfoText();
std::string MemInfoText();
std::string UptimeText();

}  // namespace sentry

#endif  // SENTRY_FS_PROC_HOST_INFO_H_
