// What the host has accounted to the processes behind a guest process.
#ifndef PLATFORM_API_USAGE_H_
#define PLATFORM_API_USAGE_H_

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/ref.h"

namespace platform {

// CPU time, in nanoseconds.
struct CpuTimes {
  uint64_t user_ns = 0, system_ns = 0;
  uint64_t total_ns() const { return user_ns + system_ns; }
};

// See getrusage(2).
struct Usage {
  CpuTimes cpu;
  int64_t max_rss_kib = 0;
  int64_t minor_faults = 0, major_faults = 0;
  int64_t voluntary_switches = 0, involuntary_switches = 0;

  void Add(const Usage& other) {
    cpu.user_ns += other.cpu.user_ns;
    cpu.system_ns += other.cpu.system_ns;
    max_rss_kib = std::max(max_rss_kib, other.max_rss_kib);
    minor_faults += other.minor_faults;
    major_faults += other.major_faults;
    voluntary_switches += other.voluntary_switches;
    involuntary_switches += other.involuntary_switches;
  }
  static Usage Of(const rusage& raw) {
    const auto ns = [](const timeval& time) {
      return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 +
             static_cast<uint64_t>(time.tv_usec) * 1000;
    };
    return {.cpu = {ns(raw.ru_utime), ns(raw.ru_stime)},
            .max_rss_kib = raw.ru_maxrss,
            .minor_faults = raw.ru_minflt,
            .major_faults = raw.ru_majflt,
            .voluntary_switches = raw.ru_nvcsw,
            .involuntary_switches = raw.ru_nivcsw};
  }
};

// The accounts of one guest process: one host process after another (execve), each entered when it is
// reaped, which is a little after the guest hears of the end. Thread-safe; its lock is a leaf.
class UsageLedger final : public RefCounted {
 public:
  // A host process has begun.
  void Open() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    ++open_;
    ++begun_;
  }
  // Those before the present one have all been entered.
  bool entered() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return open_ <= 1;
  }
  // What they have used, once that is so or after `patience`; nothing if the present one is the
  // first.
  std::optional<Usage> Earlier(absl::Duration patience) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (begun_ <= 1) return std::nullopt;
    const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return open_ <= 1; };
    mu_.AwaitWithTimeout(absl::Condition(&done), patience);
    return total_;
  }
  // One of them has been reaped.
  void Close(const rusage& usage) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    --open_;
    total_.Add(Usage::Of(usage));
  }
  bool settled() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return open_ <= 0;
  }
  // What has been entered once no process is open any more, at the latest after `patience`: the host
  // may be slow to end a process that has been killed.
  Usage Settle(absl::Duration patience) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return open_ <= 0; };
    mu_.AwaitWithTimeout(absl::Condition(&done), patience);
    return total_;
  }

 private:
  mutable absl::Mutex mu_;
  int open_ ABSL_GUARDED_BY(mu_) = 0;
  int begun_ ABSL_GUARDED_BY(mu_) = 0;
  Usage total_ ABSL_GUARDED_BY(mu_);
};

}  // namespace platform

#endif  // PLATFORM_API_USAGE_H_
