#include "sentry/time/cpu_limit.h"

#include <signal.h>
#include <sys/resource.h>

#include <algorithm>

#include "sentry/task/kernel.h"
#include "sentry/time/clocks.h"

namespace sentry {
namespace {

constexpr int64_t kShortestLookNs = 5'000'000;
// Several threads may use up what is left at once.
constexpr int64_t kProcessors = 4;

int64_t LimitNs(uint64_t seconds) {
  constexpr uint64_t kMax = INT64_MAX / kNsPerSecond;
  return seconds >= kMax ? INT64_MAX : static_cast<int64_t>(seconds) * kNsPerSecond;
}

}  // namespace

void CpuLimit::OnAlarm() {
  const Ref<ThreadGroup> group = kernel_.FindGroup(tgid_);
  if (!group) return;
  const auto used = static_cast<int64_t>(ProcessCpuNs(kernel_, *group));
  int sig = 0;
  int64_t next = INT64_MAX;
  {
    absl::MutexLock lock(&kernel_.mu());
    if (group->exiting) return;
    rlimit limit = group->limits[RLIMIT_CPU];
    if (used >= LimitNs(limit.rlim_max)) {
      sig = SIGKILL;
    } else if (used >= LimitNs(limit.rlim_cur)) {
      sig = SIGXCPU;
      ++limit.rlim_cur;  // Again in a second (Linux).
      group->limits.Set(RLIMIT_CPU, limit);
    }
    next = std::min(LimitNs(limit.rlim_cur), LimitNs(limit.rlim_max));
  }
  if (sig != 0) kernel_.SendTo(*group, MakeKernelSignalInfo(sig));
  if (next == INT64_MAX || sig == SIGKILL) return;
  const int64_t left = std::max((next - used) / kProcessors, kShortestLookNs);
  TimerQueue::Get().Arm(*this, MonotonicNs() + left);
}

}  // namespace sentry
