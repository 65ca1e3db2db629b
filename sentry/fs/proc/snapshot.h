// The process tree's part of /proc/PID/stat and status.
#ifndef SENTRY_FS_PROC_SNAPSHOT_H_
#define SENTRY_FS_PROC_SNAPSHOT_H_

#include <string>

#include "sentry/fs/proc/host_stat.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry::proc {

inline constexpr uint64_t kPageSize = 4096;

// Everything that the texts show, taken at one moment.
struct Snapshot {
  std::string comm;
  char state = 'Z';
  Pid ppid = 0, group = 0, session = 0, foreground = -1;
  uint64_t terminal = 0;
  int threads = 1, exit_signal = 0, exit_status = 0;
  int nice = 0, policy = 0, rt_priority = 0;
  bool has_execed = false;
  platform::CpuTimes cpu, children_cpu;
  int64_t start_time_ns = 0;
  uint64_t pending = 0, group_pending = 0, blocked = 0, ignored = 0, caught = 0;
  uint64_t queued = 0, queue_limit = 0, rss_limit = 0;
  std::optional<cpu_set_t> affinity;
  Credentials creds;
  int seccomp_mode = 0;
  size_t seccomp_filters = 0;
  // Empty, and zeroes, for a zombie.
  std::optional<Ref<Mm>> mm;
  int host_tid = 0;
  HostStat host;
  uint32_t umask = 0;
  size_t fd_size = 0;
};

// ESRCH once the process has been reaped.
Result<Snapshot> TakeSnapshot(const Subject& subject);

}  // namespace sentry::proc

#endif  // SENTRY_FS_PROC_SNAPSHOT_H_
