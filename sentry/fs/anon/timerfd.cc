#include "sentry/fs/anon/timerfd.h"

#include <sys/ioctl.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <span>
#include <utility>

#include "absl/strings/str_format.h"
#include "sentry/fs/anon/anon_inode.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// Expirations are counted exactly; how often the thread looks is bounded.
constexpr int64_t kMinSleepNs = 50'000;

// TFD_IOC_SET_TICKS; its own header does not go together with libc's.
constexpr uint32_t kSetTicks = _IOW('T', 0, uint64_t);

int64_t SaturatingAdd(int64_t a, int64_t b) { return b > INT64_MAX - a ? INT64_MAX : a + b; }

}  // namespace

class TimerFile::Alarm final : public sentry::Alarm {
 public:
  explicit Alarm(TimerFile& file) : file_(&file) {}
  void Detach() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    file_ = nullptr;
  }
  void OnAlarm() override ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (file_ != nullptr) file_->OnAlarm();
  }

 private:
  absl::Mutex mu_;  // Before the file's.
  TimerFile* file_ ABSL_GUARDED_BY(mu_);
};

TimerFile::TimerFile(ClockId clock, OpenFlags flags)
    : File(NewAnonInode(), flags), clock_(clock), alarm_(MakeRef<Alarm>(*this)) {}

TimerFile::~TimerFile() {
  alarm_->Detach();
  TimerQueue::Get().Cancel(*alarm_);
}

Result<itimerspec> TimerFile::SetTime(int flags, const itimerspec& value) {
  if ((flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) != 0) return Errno(EINVAL);
  if (!IsValid(value.it_value) || !IsValid(value.it_interval)) return Errno(EINVAL);
  const int64_t now = HostClockNs(clock_);
  absl::MutexLock lock(&mu_);
  AdvanceLocked(now);
  const itimerspec old = RemainingLocked(now);
  const int64_t first = ToNs(value.it_value);
  interval_ns_ = ToNs(value.it_interval);
  flags_ = flags;
  ticks_ = 0;
  told_ = false;
  if (first == 0) {
    next_ns_ = 0;
    TimerQueue::Get().Cancel(*alarm_);
  } else {
    next_ns_ = (flags & TFD_TIMER_ABSTIME) != 0 ? first : SaturatingAdd(now, first);
    ArmLocked();
  }
  return old;
}

itimerspec TimerFile::GetTime() {
  const int64_t now = HostClockNs(clock_);
  absl::MutexLock lock(&mu_);
  AdvanceLocked(now);
  return RemainingLocked(now);
}

itimerspec TimerFile::RemainingLocked(int64_t now_ns) const {
  const int64_t left = next_ns_ == 0 ? 0 : std::max<int64_t>(next_ns_ - now_ns, 1);
  return {.it_interval = ToTimespec(interval_ns_), .it_value = ToTimespec(left)};
}

void TimerFile::AdvanceLocked(int64_t now_ns) {
  if (next_ns_ == 0 || now_ns < next_ns_) return;
  if (interval_ns_ == 0) {
    ticks_ += 1;
    next_ns_ = 0;
    return;
  }
  const int64_t ticks = 1 + (now_ns - next_ns_) / interval_ns_;
  ticks_ += ticks;
  next_ns_ = SaturatingAdd(next_ns_, ticks * interval_ns_);
}

void TimerFile::ArmLocked() {
  const int64_t left = std::max<int64_t>(next_ns_ - HostClockNs(clock_), 0);
  TimerQueue::Get().Arm(*alarm_, SaturatingAdd(MonotonicNs(), left));
}

void TimerFile::OnAlarm() {
  const int64_t now = HostClockNs(clock_);
  bool ready;
  {
    absl::MutexLock lock(&mu_);
    AdvanceLocked(now);
    // Linux tells of one tick; the next is told of when that has been read.
    ready = ticks_ > 0 && !std::exchange(told_, ticks_ > 0);
    // A real-time clock that has been set back meanwhile.
    if (next_ns_ != 0 && !told_) {
      const int64_t left = std::max(next_ns_ - now, kMinSleepNs);
      TimerQueue::Get().Arm(*alarm_, SaturatingAdd(MonotonicNs(), left));
    }
  }
  if (ready) queue_.Notify(POLLIN | POLLRDNORM);
}

Result<size_t> TimerFile::Read(IoDst& dst) {
  if (dst.remaining() < sizeof(uint64_t)) return Errno(EINVAL);
  uint64_t ticks;
  {
    const int64_t now = HostClockNs(clock_);
    absl::MutexLock lock(&mu_);
    AdvanceLocked(now);
    ticks = std::exchange(ticks_, 0);
    if (std::exchange(told_, false) && next_ns_ != 0) ArmLocked();
  }
  if (ticks == 0) return Errno(EAGAIN);
  const size_t copied = TRY(dst.CopyOut(std::as_bytes(std::span(&ticks, 1))));
  return copied == sizeof(ticks) ? Result<size_t>(copied) : Errno(EFAULT);
}

Result<int64_t> TimerFile::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  if (command != kSetTicks) return Errno(ENOTTY);
  const uint64_t ticks = TRY(task.mem().Read(UserPtr<const uint64_t>{UserAddr{arg}}));
  if (ticks == 0) return Errno(EINVAL);
  {
    absl::MutexLock lock(&mu_);
    ticks_ = ticks;
  }
  queue_.Notify(POLLIN | POLLRDNORM);
  return 0;
}

std::string TimerFile::FdInfo() {
  const int64_t now = HostClockNs(clock_);
  absl::MutexLock lock(&mu_);
  AdvanceLocked(now);
  const itimerspec left = RemainingLocked(now);
  return absl::StrFormat(
      "clockid: %d\nticks: %u\nsettime flags: 0%o\nit_value: (%d, %d)\nit_interval: (%d, %d)\n",
      static_cast<int32_t>(clock_), ticks_, flags_, left.it_value.tv_sec, left.it_value.tv_nsec,
      left.it_interval.tv_sec, left.it_interval.tv_nsec);
}

uint32_t TimerFile::Poll() {
  const int64_t now = HostClockNs(clock_);
  absl::MutexLock lock(&mu_);
  AdvanceLocked(now);
  return ticks_ > 0 ? POLLIN : 0;
}

Result<Ref<File>> CreateTimerFd(ClockId clock, int flags) {
  if ((flags & ~(TFD_NONBLOCK | TFD_CLOEXEC)) != 0) return Errno(EINVAL);
  switch (static_cast<int32_t>(clock)) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_BOOTTIME:
      break;
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
      return Errno(EPERM);  // CAP_WAKE_ALARM would wake the host, which nobody here may.
    default:
      return Errno(EINVAL);
  }
  const OpenFlags open(O_RDWR | (flags & TFD_NONBLOCK));
  return Ref<File>(MakeRef<TimerFile>(clock, open));
}

}  // namespace sentry
