#include "sentry/time/clocks.h"

#include <algorithm>

#include "sentry/task/kernel.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// The bits of a CPU clock id (include/linux/posix-timers.h): ~pid << 3, per-thread flag, kind.
constexpr int32_t kPerThread = 4;
constexpr int32_t kKindMask = 3;
constexpr int32_t kKindUser = 1;  // CPUCLOCK_VIRT: without system time.
constexpr int32_t kKindFd = 3;    // A character device's clock (/dev/ptp0), not a CPU clock.

// The host clock behind an id: alarm clocks tell the time of those they are alarms for.
clockid_t HostClock(ClockId clock) {
  switch (static_cast<int32_t>(clock)) {
    case CLOCK_REALTIME_ALARM: return CLOCK_REALTIME;
    case CLOCK_BOOTTIME_ALARM: return CLOCK_BOOTTIME;
    default: return static_cast<int32_t>(clock);
  }
}

Result<int64_t> CpuClockNs(Task& task, ClockId clock) {
  const int32_t raw = static_cast<int32_t>(clock);
  Kernel& kernel = task.kernel();
  const auto of_process = [&](ThreadGroup& group) {
    const platform::CpuTimes used = ProcessCpu(kernel, group);
    const bool user_only = raw < 0 && (raw & kKindMask) == kKindUser;
    return static_cast<int64_t>(user_only ? used.user_ns : used.total_ns());
  };
  if (raw == CLOCK_PROCESS_CPUTIME_ID) return of_process(task.group());
  if (raw == CLOCK_THREAD_CPUTIME_ID) return static_cast<int64_t>(task.ThreadCpuNs());
  const Pid pid = ~(raw >> 3);
  if ((raw & kPerThread) != 0) {
    if (pid == 0 || pid == task.tid()) return static_cast<int64_t>(task.ThreadCpuNs());
    const Ref<Task> other = kernel.FindTask(pid);
    // Threads of other processes are not for us to see.
    if (!other || &other->group() != &task.group()) return Errno(EINVAL);
    return static_cast<int64_t>(other->ThreadCpuNs());
  }
  if (pid == 0) return of_process(task.group());
  const Ref<ThreadGroup> group = kernel.FindGroup(pid);
  if (!group) return Errno(EINVAL);
  return of_process(*group);
}

}  // namespace

int64_t ToNs(const timespec& time) {
  if (time.tv_sec >= INT64_MAX / kNsPerSecond) return INT64_MAX;
  return time.tv_sec * kNsPerSecond + time.tv_nsec;
}

timespec ToTimespec(int64_t ns) {
  return {.tv_sec = ns / kNsPerSecond, .tv_nsec = ns % kNsPerSecond};
}

bool IsValid(const timespec& time) {
  return time.tv_sec >= 0 && time.tv_nsec >= 0 && time.tv_nsec < kNsPerSecond;
}

bool IsHostClock(ClockId clock) {
  switch (static_cast<int32_t>(clock)) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
    case CLOCK_TAI:
      return true;
    default:
      return false;
  }
}

bool IsCpuClock(ClockId clock) {
  const int32_t raw = static_cast<int32_t>(clock);
  if (raw == CLOCK_PROCESS_CPUTIME_ID || raw == CLOCK_THREAD_CPUTIME_ID) return true;
  return raw < 0 && (raw & kKindMask) != kKindFd;
}

int64_t HostClockNs(ClockId clock) {
  timespec now{};
  clock_gettime(HostClock(clock), &now);
  return ToNs(now);
}

int64_t MonotonicNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return ToNs(now);
}

Result<timespec> ClockNow(Task& task, ClockId clock) {
  if (IsHostClock(clock)) {
    timespec now{};
    if (clock_gettime(HostClock(clock), &now) != 0) return Errno::Last();
    return now;
  }
  if (!IsCpuClock(clock)) return Errno(EINVAL);
  return ToTimespec(TRY(CpuClockNs(task, clock)));
}

Result<timespec> ClockResolution(Task& task, ClockId clock) {
  timespec resolution{.tv_sec = 0, .tv_nsec = 1};
  if (IsHostClock(clock)) {
    if (clock_getres(HostClock(clock), &resolution) != 0) return Errno::Last();
    return resolution;
  }
  if (!IsCpuClock(clock)) return Errno(EINVAL);
  TRY(CpuClockNs(task, clock));  // Its process has to exist.
  return resolution;
}

platform::CpuTimes ProcessCpu(Kernel& kernel, ThreadGroup& group) {
  absl::MutexLock lock(&kernel.mu());
  // Each thread tells what its whole process has used, see platform::Thread::CpuTimeNs.
  platform::CpuTimes total = group.dead_cpu;
  for (Task* task : group.tasks) {
    const platform::CpuTimes used = task->CpuSplitLocked();
    if (used.total_ns() > total.total_ns()) total = used;
  }
  return total;
}

uint64_t ProcessCpuNs(Kernel& kernel, ThreadGroup& group) {
  return ProcessCpu(kernel, group).total_ns();
}

}  // namespace sentry
