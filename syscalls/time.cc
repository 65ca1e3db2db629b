#include "syscalls/time.h"

#include <signal.h>
#include <sys/timex.h>
#include <time.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

#include "sentry/task/kernel.h"
#include "sentry/task/wait.h"
#include "sentry/time/clocks.h"
#include "sentry/time/process_timers.h"
#include "syscalls/common.h"
#include "syscalls/convert.h"

namespace syscalls {
namespace {

using sentry::ClockId;
using sentry::Deadline;
using sentry::ProcessTimers;

constexpr int64_t kNsPerTick = 10'000'000;  // USER_HZ is 100.

// Sleeps until `deadline`; an interruption tells what remains and goes on after a stop or so.
Result<int64_t> SleepUntil(Task& task, Deadline deadline, UserPtr<abi::Timespec> remaining) {
  for (;;) {
    const Status slept = task.sleeper().Sleep(deadline);
    if (slept.ok()) continue;  // A wake-up that was meant for an earlier wait.
    if (slept.error() == Errno(ETIMEDOUT)) return 0;
    if (remaining) {
      const int64_t left = std::max<int64_t>(0, deadline.ns - sentry::MonotonicNs());
      TRY(task.mem().Write(remaining, ToTimespec(left)));
    }
    task.restart_block = [deadline, remaining](Task& self) {
      return ToVerdict(SleepUntil(self, deadline, remaining));
    };
    return sentry::kRestartBlock;
  }
}

// Sleeps until a point on `clock`; simply started again after an interruption.
Result<int64_t> SleepUntilAbsolute(Task& task, ClockId clock, int64_t until);

// The same for a time that was given as a distance: an interruption tells what remains.
Result<int64_t> SleepUntilReached(Task& task, ClockId clock, int64_t until,
                                  UserPtr<abi::Timespec> remaining) {
  const Result<int64_t> slept = SleepUntilAbsolute(task, clock, until);
  if (slept.ok() || slept.error() != sentry::kRestartNoHand) return slept;
  if (remaining) {
    const int64_t now = sentry::ToNs(TRY(sentry::ClockNow(task, clock)));
    TRY(task.mem().Write(remaining, ToTimespec(std::max<int64_t>(0, until - now))));
  }
  task.restart_block = [clock, until, remaining](Task& self) {
    return ToVerdict(SleepUntilReached(self, clock, until, remaining));
  };
  return sentry::kRestartBlock;
}

Result<int64_t> SleepUntilAbsolute(Task& task, ClockId clock, int64_t until) {
  for (;;) {
    const timespec now = TRY(sentry::ClockNow(task, clock));
    const int64_t left = until - sentry::ToNs(now);
    if (left <= 0) return 0;
    const Status slept = task.sleeper().Sleep(Deadline::After(left));
    // CPU clocks may lag behind: look again.
    if (slept.ok() || slept.error() == Errno(ETIMEDOUT)) continue;
    return sentry::kRestartNoHand;
  }
}

}  // namespace

Status ClockGettime(Task& task, int clock, UserPtr<abi::Timespec> out) {
  return task.mem().Write(out, FromHost(TRY(sentry::ClockNow(task, ClockId{clock}))));
}

Status ClockSettime(Task& task, int clock, UserPtr<const abi::Timespec> user) {
  if (clock < 0 && sentry::IsCpuClock(ClockId{clock})) {
    TRY(sentry::ClockNow(task, ClockId{clock}));
    return Errno(EPERM);
  }
  if (clock != CLOCK_REALTIME) return Errno(EINVAL);
  const abi::Timespec time = TRY(task.mem().Read(user));
  if (time.sec < 0 || time.nsec < 0 || time.nsec >= sentry::kNsPerSecond) return Errno(EINVAL);
  return Errno(EPERM);  // The clock is the host's, whatever the caller may do here.
}

Status Settimeofday(Task& task, UserPtr<const abi::Timeval> user,
                    UserPtr<const abi::Timezone> zone) {
  if (user) {
    const abi::Timeval time = TRY(task.mem().Read(user));
    if (time.sec < 0 || time.usec < 0 || time.usec >= 1'000'000) return Errno(EINVAL);
  }
  if (zone) TRY(task.mem().Read(zone));
  return Errno(EPERM);
}

Result<int64_t> Adjtimex(Task& task, UserPtr<abi::Timex> user) {
  abi::Timex state = TRY(task.mem().Read(user));
  // Only the single shot of adjtime(3) may be asked for without setting anything.
  constexpr uint32_t kReadOnly = 0xa001;  // ADJ_OFFSET_SS_READ.
  if (state.modes != 0 && state.modes != kReadOnly) return Errno(EPERM);
  // What Linux tells when nobody has disciplined its clock.
  state = abi::Timex{.modes = state.modes,
                     .max_error = 16'000'000,
                     .estimated_error = 16'000'000,
                     .status = STA_UNSYNC,
                     .constant = 2,
                     .precision = 1,
                     .tolerance = 32'768'000,
                     .tick = 10'000};
  const int64_t real = sentry::HostClockNs(ClockId{CLOCK_REALTIME});
  state.time = {real / sentry::kNsPerSecond, real % sentry::kNsPerSecond / 1000};
  const int64_t offset = sentry::HostClockNs(ClockId{CLOCK_TAI}) - real;
  state.tai = static_cast<int32_t>((offset + sentry::kNsPerSecond / 2) / sentry::kNsPerSecond);
  TRY(task.mem().Write(user, state));
  return TIME_ERROR;
}

Result<int64_t> ClockAdjtime(Task& task, int clock, UserPtr<abi::Timex> user) {
  TRY(sentry::ClockNow(task, ClockId{clock}));
  if (clock != CLOCK_REALTIME) return Errno(EOPNOTSUPP);
  return Adjtimex(task, user);
}

Status ClockGetres(Task& task, int clock, UserPtr<abi::Timespec> out) {
  const timespec resolution = TRY(sentry::ClockResolution(task, ClockId{clock}));
  return out ? task.mem().Write(out, FromHost(resolution)) : Status(kOk);
}

Status Gettimeofday(Task& task, UserPtr<abi::Timeval> time, UserPtr<abi::Timezone> zone) {
  if (time) {
    const timespec now = TRY(sentry::ClockNow(task, ClockId{CLOCK_REALTIME}));
    TRY(task.mem().Write(time, abi::Timeval{now.tv_sec, now.tv_nsec / 1000}));
  }
  return zone ? task.mem().Write(zone, abi::Timezone{}) : Status(kOk);
}

Result<int64_t> Time(Task& task, UserPtr<int64_t> out) {
  const timespec now = TRY(sentry::ClockNow(task, ClockId{CLOCK_REALTIME}));
  if (out) TRY(task.mem().Write(out, int64_t{now.tv_sec}));
  return int64_t{now.tv_sec};
}

Result<int64_t> Times(Task& task, UserPtr<abi::Tms> out) {
  if (out) {
    const platform::CpuTimes self = sentry::ProcessCpu(task.kernel(), task.group());
    const platform::CpuTimes children =
        sentry::UsageOfChildren(task.kernel(), task.group()).cpu;
    abi::Tms tms;
    tms.utime = static_cast<int64_t>(self.user_ns) / kNsPerTick;
    tms.stime = static_cast<int64_t>(self.system_ns) / kNsPerTick;
    tms.cutime = static_cast<int64_t>(children.user_ns) / kNsPerTick;
    tms.cstime = static_cast<int64_t>(children.system_ns) / kNsPerTick;
    TRY(task.mem().Write(out, tms));
  }
  return sentry::MonotonicNs() / kNsPerTick;
}

Result<int64_t> Nanosleep(Task& task, UserPtr<const abi::Timespec> user,
                          UserPtr<abi::Timespec> remaining) {
  const int64_t duration = TRY(ToNanoseconds(TRY(task.mem().Read(user))));
  return SleepUntil(task, Deadline::After(duration), remaining);
}

Result<int64_t> ClockNanosleep(Task& task, int clock, int flags,
                               UserPtr<const abi::Timespec> user,
                               UserPtr<abi::Timespec> remaining) {
  constexpr int kKindMask = 7, kDevice = 3, kThread = 4;
  if (clock < 0 && (clock & kKindMask) == kDevice) return Errno(EOPNOTSUPP);  // Of a descriptor.
  const ClockId id{clock};
  TRY(sentry::ClockNow(task, id));
  // Of which libc makes EINVAL for the first.
  if (clock == CLOCK_THREAD_CPUTIME_ID || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_MONOTONIC_COARSE ||
      clock == CLOCK_REALTIME_COARSE) {
    return Errno(EOPNOTSUPP);
  }
  const int64_t time = TRY(ToNanoseconds(TRY(task.mem().Read(user))));
  // Nobody can sleep until he has worked for so long.
  const int tid = ~(clock >> 3);
  if (clock < 0 && (clock & kThread) != 0 && (tid == 0 || tid == task.tid())) return Errno(EINVAL);
  if ((flags & TIMER_ABSTIME) != 0) return SleepUntilAbsolute(task, id, time);
  if (!sentry::IsCpuClock(id)) return SleepUntil(task, Deadline::After(time), remaining);
  const int64_t now = sentry::ToNs(TRY(sentry::ClockNow(task, id)));
  const int64_t until =
      time > std::numeric_limits<int64_t>::max() - now ? INT64_MAX : now + time;
  return SleepUntilReached(task, id, until, remaining);
}

Result<int64_t> Alarm(Task& task, uint32_t seconds) {
  return int64_t{ProcessTimers::Of(task)->SetAlarm(seconds)};
}

Status Getitimer(Task& task, int which, UserPtr<abi::Itimerval> out) {
  return task.mem().Write(out, FromHost(TRY(ProcessTimers::Of(task)->GetInterval(which))));
}

Status Setitimer(Task& task, int which, UserPtr<const abi::Itimerval> user,
                 UserPtr<abi::Itimerval> old) {
  // Linux takes a null pointer for zero here, although it calls that deprecated.
  abi::Itimerval value;
  if (user) value = TRY(task.mem().Read(user));
  const itimerval before = TRY(ProcessTimers::Of(task)->SetInterval(which, ToHost(value)));
  return old ? task.mem().Write(old, FromHost(before)) : Status(kOk);
}

Status TimerCreate(Task& task, int clock, UserPtr<const abi::Sigevent> user, UserPtr<int> id) {
  sigevent event{};
  if (user) {
    const abi::Sigevent given = TRY(task.mem().Read(user));
    static_assert(sizeof(event) == sizeof(given));
    memcpy(&event, &given, sizeof(event));
  }
  const std::shared_ptr<ProcessTimers> timers = ProcessTimers::Of(task);
  const int created =
      TRY(timers->Create(task, ClockId{clock}, user ? &event : nullptr));
  const Status written = task.mem().Write(id, created);
  if (!written.ok()) (void)timers->Delete(created);
  return written;
}

Status TimerSettime(Task& task, int id, int flags, UserPtr<const abi::Itimerspec> user,
                    UserPtr<abi::Itimerspec> old) {
  if (!user) return Errno(EINVAL);
  const abi::Itimerspec value = TRY(task.mem().Read(user));
  const itimerspec before = TRY(ProcessTimers::Of(task)->SetTime(id, flags, ToHost(value)));
  return old ? task.mem().Write(old, FromHost(before)) : Status(kOk);
}

Status TimerGettime(Task& task, int id, UserPtr<abi::Itimerspec> out) {
  return task.mem().Write(out, FromHost(TRY(ProcessTimers::Of(task)->GetTime(id))));
}

Result<int64_t> TimerGetoverrun(Task& task, int id) {
  return int64_t{TRY(ProcessTimers::Of(task)->GetOverrun(id))};
}

Status TimerDelete(Task& task, int id) { return ProcessTimers::Of(task)->Delete(id); }

}  // namespace syscalls
