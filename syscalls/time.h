// Clocks, sleeping and timers.
#ifndef SYSCALLS_TIME_H_
#define SYSCALLS_TIME_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Status ClockGettime(Task& task, int clock, UserPtr<abi::Timespec> out);
Status ClockSettime(Task& task, int clock, UserPtr<const abi::Timespec> user);
Status Settimeofday(Task& task, UserPtr<const abi::Timeval> user,
                    UserPtr<const abi::Timezone> zone);
Result<int64_t> Adjtimex(Task& task, UserPtr<abi::Timex> user);
Result<int64_t> ClockAdjtime(Task& task, int clock, UserPtr<abi::Timex> user);
Status ClockGetres(Task& task, int clock, UserPtr<abi::Timespec> out);
Status Gettimeofday(Task& task, UserPtr<abi::Timeval> time, UserPtr<abi::Timezone> zone);
Result<int64_t> Time(Task& task, UserPtr<int64_t> out);
Result<int64_t> Times(Task& task, UserPtr<abi::Tms> out);

Result<int64_t> Nanosleep(Task& task, UserPtr<const abi::Timespec> duration,
                          UserPtr<abi::Timespec> remaining);
Result<int64_t> ClockNanosleep(Task& task, int clock, int flags,
                               UserPtr<const abi::Timespec> time,
                               UserPtr<abi::Timespec> remaining);

Result<int64_t> Alarm(Task& task, uint32_t seconds);
Status Getitimer(Task& task, int which, UserPtr<abi::Itimerval> out);
Status Setitimer(Task& task, int which, UserPtr<const abi::Itimerval> value,
                 UserPtr<abi::Itimerval> old);
Status TimerCreate(Task& task, int clock, UserPtr<const abi::Sigevent> event, UserPtr<int> id);
Status TimerSettime(Task& task, int id, int flags, UserPtr<const abi::Itimerspec> value,
                    UserPtr<abi::Itimerspec> old);
Status TimerGettime(Task& task, int id, UserPtr<abi::Itimerspec> out);
Result<int64_t> TimerGetoverrun(Task& task, int id);
Status TimerDelete(Task& task, int id);

}  // namespace syscalls

#endif  // SYSCALLS_TIME_H_
