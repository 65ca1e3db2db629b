// Between the kernel's time structures and those of the C library.
#ifndef SYSCALLS_CONVERT_H_
#define SYSCALLS_CONVERT_H_

#include <sys/time.h>
#include <time.h>

#include <algorithm>

#include "platform/api/usage.h"
#include "syscalls/abi_types.h"

namespace syscalls {

constexpr timespec ToHost(const abi::Timespec& t) { return {t.sec, t.nsec}; }
constexpr timeval ToHost(const abi::Timeval& t) { return {t.sec, t.usec}; }
constexpr itimerspec ToHost(const abi::Itimerspec& t) {
  return {ToHost(t.interval), ToHost(t.value)};
}
constexpr itimerval ToHost(const abi::Itimerval& t) {
  return {ToHost(t.interval), ToHost(t.value)};
}
constexpr abi::Timespec FromHost(const timespec& t) { return {t.tv_sec, t.tv_nsec}; }
constexpr abi::Timeval FromHost(const timeval& t) { return {t.tv_sec, t.tv_usec}; }
constexpr abi::Itimerspec FromHost(const itimerspec& t) {
  return {FromHost(t.it_interval), FromHost(t.it_value)};
}
constexpr abi::Itimerval FromHost(const itimerval& t) {
  return {FromHost(t.it_interval), FromHost(t.it_value)};
}

constexpr abi::Rusage ToRusage(const platform::Usage& usage) {
  const auto timeval_of = [](uint64_t ns) {
    return abi::Timeval{static_cast<int64_t>(ns / 1'000'000'000),
                        static_cast<int64_t>(ns % 1'000'000'000 / 1000)};
  };
  return {.utime = timeval_of(usage.cpu.user_ns),
          .stime = timeval_of(usage.cpu.system_ns),
          .maxrss = usage.max_rss_kib,
          .minflt = usage.minor_faults,
          .majflt = usage.major_faults,
          .nvcsw = usage.voluntary_switches,
          .nivcsw = usage.involuntary_switches};
}

// The other way round: `to` has used as much more.
constexpr void AddUsage(const platform::Usage& usage, abi::Rusage& to) {
  const abi::Rusage more = ToRusage(usage);
  const auto add = [](const abi::Timeval& time, abi::Timeval& sum) {
    const int64_t us = sum.usec + time.usec;
    sum.sec += time.sec + us / 1'000'000;
    sum.usec = us % 1'000'000;
  };
  add(more.utime, to.utime);
  add(more.stime, to.stime);
  to.maxrss = std::max(to.maxrss, more.maxrss);
  to.minflt += more.minflt;
  to.majflt += more.majflt;
  to.nvcsw += more.nvcsw;
  to.nivcsw += more.nivcsw;
}

}  // namespace syscalls

#endif  // SYSCALLS_CONVERT_H_
