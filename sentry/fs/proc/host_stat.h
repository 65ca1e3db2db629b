// Numbers that only the host can tell of a process's stub.
#ifndef SENTRY_FS_PROC_HOST_STAT_H_
#define SENTRY_FS_PROC_HOST_STAT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "sentry/mm/mm.h"

namespace sentry::proc {

// Of the host's proc_pid_stat(5). Zeroes where the platform cannot tell.
struct HostStat {
  char state = 'S';
  uint64_t minor_faults = 0, major_faults = 0;
  uint64_t user_ticks = 0, system_ticks = 0;  // USER_HZ.
  uint64_t resident_pages = 0;                // With those of the stub, which are a few.
  int processor = 0;
};

// Of the whole process, or with `host_tid` (platform::Thread::host_tid) of that thread.
HostStat ReadHostStat(Mm& mm, int host_tid = 0);

// The host's proc_pid_status(5), read once.
class HostStatus {
 public:
  HostStatus() = default;  // Of nothing: every number is 0.
  explicit HostStatus(Mm& mm, int host_tid = 0);
  // The number behind "Name:"; 0 when there is none.
  uint64_t Number(std::string_view name) const;

 private:
  std::string text_;
};

}  // namespace sentry::proc

#endif  // SENTRY_FS_PROC_HOST_STAT_H_
