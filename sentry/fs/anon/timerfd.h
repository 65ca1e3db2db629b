// timerfd_create(2).
#ifndef SENTRY_FS_ANON_TIMERFD_H_
#define SENTRY_FS_ANON_TIMERFD_H_

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/file.h"
#include "sentry/time/clocks.h"
#include "sentry/time/timer_queue.h"

namespace sentry {

class TimerFile final : public File {
 public:
  static constexpr char kKind = 0;

  TimerFile(ClockId clock, OpenFlags flags);
  ~TimerFile() override;

  // timerfd_settime(2) and timerfd_gettime(2): times in the form of itimerspec; the old setting.
  // `flags`: TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET (accepted; the clock is never set).
  Result<itimerspec> SetTime(int flags, const itimerspec& value) ABSL_LOCKS_EXCLUDED(mu_);
  itimerspec GetTime() ABSL_LOCKS_EXCLUDED(mu_);

  Result<size_t> Read(IoDst& dst) override;
  Result<int64_t> Seek(int64_t offset, int whence) override { return 0; }  // noop_llseek().
  // TFD_IOC_SET_TICKS.
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override
      ABSL_LOCKS_EXCLUDED(mu_);
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &queue_; }
  std::string AnonymousName() const override { return "anon_inode:[timerfd]"; }
  // The lines in /proc/PID/fdinfo.
  std::string FdInfo() ABSL_LOCKS_EXCLUDED(mu_);
  const void* kind() const override { return &kKind; }

 private:
  class Alarm;  // What the timer queue holds, so that it does not keep the file open.

  void OnAlarm() ABSL_LOCKS_EXCLUDED(mu_);
  // Counts the expirations up to now and moves the next one behind it.
  void AdvanceLocked(int64_t now_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ArmLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  itimerspec RemainingLocked(int64_t now_ns) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const ClockId clock_;
  const Ref<Alarm> alarm_;
  absl::Mutex mu_;
  int64_t next_ns_ ABSL_GUARDED_BY(mu_) = 0;      // On clock_; 0 when disarmed.
  int64_t interval_ns_ ABSL_GUARDED_BY(mu_) = 0;  // 0 for one shot.
  uint64_t ticks_ ABSL_GUARDED_BY(mu_) = 0;       // Expirations not yet read.
  bool told_ ABSL_GUARDED_BY(mu_) = false;        // Whoever waits has heard of the unread ticks.
  int flags_ ABSL_GUARDED_BY(mu_) = 0;            // Of the last SetTime.
  WaitQueue queue_;
};

// EINVAL for clocks other than REALTIME, MONOTONIC and BOOTTIME and for unknown flags; EPERM for
// the clocks that wake a sleeping machine.
Result<Ref<File>> CreateTimerFd(ClockId clock, int flags);

}  // namespace sentry

#endif  // SENTRY_FS_ANON_TIMERFD_H_
