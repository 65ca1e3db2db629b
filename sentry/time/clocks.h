// Clocks: clock_gettime(2).
#ifndef SENTRY_TIME_CLOCKS_H_
#define SENTRY_TIME_CLOCKS_H_

#include <time.h>

#include <cstdint>

#include "base/result.h"
#include "platform/api/usage.h"

namespace sentry {

class Kernel;
class Task;
class ThreadGroup;

// CLOCK_*, or a CPU clock of some process or thread (clock_getcpuclockid(3)).
enum class ClockId : int32_t {};

inline constexpr int64_t kNsPerSecond = 1'000'000'000;

// Nanoseconds, saturated; and back. Requires a normalised, non-negative time.
int64_t ToNs(const timespec& time);
timespec ToTimespec(int64_t ns);
// Whether a time given by the application makes sense (tv_sec >= 0, 0 <= tv_nsec < 1e9).
bool IsValid(const timespec& time);

// True for the clocks of the host: CLOCK_REALTIME, MONOTONIC, BOOTTIME, TAI, ….
bool IsHostClock(ClockId clock);
// True for CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID and the CPU clocks of others.
bool IsCpuClock(ClockId clock);
// Now on a host clock, in nanoseconds. Requires: IsHostClock(clock).
int64_t HostClockNs(ClockId clock);
int64_t MonotonicNs();

// EINVAL for clocks that do not exist, or whose process does not.
Result<timespec> ClockNow(Task& task, ClockId clock);
Result<timespec> ClockResolution(Task& task, ClockId clock);

// CPU time used by a process, dead threads included; the sum in nanoseconds.
platform::CpuTimes ProcessCpu(Kernel& kernel, ThreadGroup& group);
uint64_t ProcessCpuNs(Kernel& kernel, ThreadGroup& group);

}  // namespace sentry

#endif  // SENTRY_TIME_CLOCKS_H_
