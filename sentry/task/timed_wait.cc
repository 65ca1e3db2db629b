#include "sentry/task/timed_wait.h"

#include <sys/syscall.h>

#include <cerrno>
#include <utility>

#include "sentry/task/kernel.h"

namespace sentry {

bool TimedWait::Begin(const Call& call, int64_t ns) {
  if (std::exchange(goes_on_, false) && call == call_) return !deadline_.expired();
  TimerQueue::Get().Cancel(*this);
  call_ = call;
  deadline_ = Deadline::After(ns);
  return true;
}

void TimedWait::Continue(platform::Registers& regs) {
  const Call call{.address = regs.rdi,
                  .timeout = regs.r10,
                  .operation = static_cast<uint32_t>(regs.rsi),
                  .value = static_cast<uint32_t>(regs.rdx)};
  if (regs.rax != SYS_futex || call != call_) return;
  if (deadline_.expired()) {
    constexpr uint64_t kSyscallSize = 2;
    regs.rip += kSyscallSize;
    regs.rax = static_cast<uint64_t>(-int64_t{ETIMEDOUT});
    return;
  }
  goes_on_ = true;
  if (deadline_.ns != INT64_MAX) TimerQueue::Get().Arm(*this, deadline_.ns);
}

void TimedWait::OnAlarm() { kernel_.InterruptThread(tid_); }

}  // namespace sentry
