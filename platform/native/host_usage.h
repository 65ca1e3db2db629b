// CPU time of a stub process as the host tells it, for all platforms made of host processes.
#ifndef PLATFORM_NATIVE_HOST_USAGE_H_
#define PLATFORM_NATIVE_HOST_USAGE_H_

#include <sys/types.h>
#include <time.h>

#include "platform/api/usage.h"

namespace platform::native {

// Zero for a process that is gone. The clocks of other processes (clock_getcpuclockid(3)) come in three
// kinds: 0 user and system time in ticks, 1 user time in ticks, 2 the scheduler's exact sum. The exact
// sum is divided as the ticks are (cputime_adjust() of Linux).
inline CpuTimes ReadCpuTimes(pid_t pid) {
  const auto read = [pid](unsigned kind) -> uint64_t {
    timespec now;
    const auto clock = static_cast<clockid_t>(~static_cast<unsigned>(pid) << 3 | kind);
    if (clock_gettime(clock, &now) != 0) return 0;
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  };
  const uint64_t exact = read(2), user = read(1), all = read(0);
  if (all == 0 || user >= all) return {.user_ns = exact};
  const auto share = static_cast<uint64_t>(static_cast<double>(exact) * static_cast<double>(user) /
                                           static_cast<double>(all));
  return {.user_ns = share, .system_ns = exact - share};
}

}  // namespace platform::native

#endif  // PLATFORM_NATIVE_HOST_USAGE_H_
