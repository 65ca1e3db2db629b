#include "syscalls/sched.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "base/host_cpus.h"
#include "sentry/task/kernel.h"
#include "syscalls/common.h"

namespace syscalls {
namespace {

using sentry::Credentials;

constexpr int kCapSysNice = 23;
constexpr int kMaxRealTime = 99;
constexpr int kPolicyDeadline = 6, kPolicyExt = 7;
constexpr int kResetOnFork = 0x40000000;
constexpr int kKeepPolicy = -1;       // SETPARAM_POLICY.
constexpr size_t kMaxCpuBytes = 128;  // As many CPUs as cpu_set_t knows.

// struct sched_attr, of which the first version had 48 bytes.
struct Attributes {
  uint32_t size = sizeof(Attributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;
  uint32_t util_min = 0, util_max = 0;
};
constexpr uint32_t kFirstSize = 48;
static_assert(sizeof(Attributes) == 56);
constexpr uint64_t kFlagReset = 1, kFlagKeepPolicy = 8, kFlagKeepParams = 16;
constexpr uint64_t kFlagsClamp = 0x60, kFlagsKnown = 0x7f;

// tid 0 is the caller.
Result<Ref<Task>> Find(Task& task, int tid) {
  if (tid < 0) return Errno(EINVAL);
  if (tid == 0) return Ref<Task>::Share(task);
  Ref<Task> found = task.kernel().FindTask(tid);
  if (!found) return Errno(ESRCH);
  return found;
}

bool IsRealTime(int policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }
// Those whose nice value counts.
bool IsFair(int policy) { return policy == SCHED_OTHER || policy == SCHED_BATCH; }
bool IsPolicy(int policy) {
  return IsFair(policy) || IsRealTime(policy) || policy == SCHED_IDLE || policy == kPolicyDeadline;
}

bool IsSameOwner(Task& task, Task& target) {
  const Result<Credentials> other = task.kernel().CredentialsOf(target.tid());
  const uint32_t own = task.creds().euid;
  return other.ok() && (own == other->euid || own == other->uid);
}

// What a process without CAP_SYS_NICE may do. Linux: user_check_sched_setscheduler().
bool IsAllowed(Task& task, Task& target, int policy, const Attributes& wanted, bool reset) {
  const uint64_t nice_limit = task.Limit(RLIMIT_NICE), rt_limit = task.Limit(RLIMIT_RTPRIO);
  const auto may_be = [nice_limit](int nice) {
    return static_cast<uint64_t>(20 - nice) <= nice_limit;
  };
  if (IsFair(policy) && wanted.nice < target.nice && !may_be(wanted.nice)) return false;
  if (IsRealTime(policy)) {
    if (policy != target.sched_policy && rt_limit == 0) return false;
    if (static_cast<int>(wanted.priority) > target.sched_priority && wanted.priority > rt_limit) {
      return false;
    }
  }
  if (policy == kPolicyDeadline) return false;
  if (target.sched_policy == SCHED_IDLE && policy != SCHED_IDLE && !may_be(target.nice)) {
    return false;
  }
  return IsSameOwner(task, target) && (reset || !target.sched_reset_on_fork);
}

bool IsDeadline(const Attributes& a) {
  constexpr uint64_t kSmallest = 1 << 10;  // Nanoseconds.
  const uint64_t period = a.period != 0 ? a.period : a.deadline;
  return a.deadline != 0 && a.runtime >= kSmallest && a.deadline >> 63 == 0 && period >> 63 == 0 &&
         a.runtime <= a.deadline && a.deadline <= period;
}

Status SetScheduler(Task& task, Task& target, int policy, const Attributes& wanted) {
  bool reset = (wanted.flags & kFlagReset) != 0;
  if (policy == kKeepPolicy) {
    policy = target.sched_policy;
    reset = target.sched_reset_on_fork;
  }
  if (!IsPolicy(policy)) return Errno(EINVAL);
  if ((wanted.flags & ~kFlagsKnown) != 0) return Errno(EINVAL);
  if (wanted.priority > kMaxRealTime) return Errno(EINVAL);
  if (policy == kPolicyDeadline && !IsDeadline(wanted)) return Errno(EINVAL);
  if (IsRealTime(policy) != (wanted.priority != 0)) return Errno(EINVAL);
  if (!task.creds().HasCapability(kCapSysNice) && !IsAllowed(task, target, policy, wanted, reset)) {
    return Errno(EPERM);
  }
  if ((wanted.flags & kFlagsClamp) != 0) return Errno(EOPNOTSUPP);
  const bool deadline = policy == kPolicyDeadline;
  target.sched_policy = policy;
  target.sched_priority = static_cast<int>(wanted.priority);
  target.sched_reset_on_fork = reset;
  if (IsFair(policy)) target.nice = wanted.nice;
  target.sched_runtime = deadline ? wanted.runtime : 0;
  target.sched_deadline = deadline ? wanted.deadline : 0;
  target.sched_period = deadline ? (wanted.period != 0 ? wanted.period : wanted.deadline) : 0;
  return kOk;
}

Status SetByParam(Task& task, int tid, int policy, UserPtr<const int> param) {
  if (!param || tid < 0) return Errno(EINVAL);
  Attributes wanted{.priority = static_cast<uint32_t>(TRY(task.mem().Read(param)))};
  const Ref<Task> target = TRY(Find(task, tid));
  wanted.nice = target->nice;
  if (policy != kKeepPolicy && (policy & kResetOnFork) != 0) {
    wanted.flags = kFlagReset;
    policy &= ~kResetOnFork;
  }
  return SetScheduler(task, *target, policy, wanted);
}

// sched_copy_attr(): a size that this kernel does not know is answered with its own.
Result<Attributes> ReadAttributes(Task& task, UserAddr addr) {
  uint32_t size = TRY(task.mem().Read(UserPtr<const uint32_t>{addr}));
  if (size == 0) size = kFirstSize;
  const Result<Attributes> read = size < kFirstSize ? Result<Attributes>(Errno(E2BIG))
                                                    : ReadGrowing<Attributes>(task, addr, size);
  if (!read.ok()) {
    if (read.error() == Errno(E2BIG)) {
      (void)task.mem().Write(UserPtr<uint32_t>{addr}, uint32_t{sizeof(Attributes)});
    }
    return read.error();
  }
  Attributes wanted = *read;
  if ((wanted.flags & kFlagsClamp) != 0 && size < sizeof(wanted)) return Errno(EINVAL);
  wanted.nice = std::clamp(wanted.nice, -20, 19);
  return wanted;
}

}  // namespace

Result<Unit> SchedYield(Task& task) {
  sched_yield();
  return kOk;
}

Result<int64_t> SchedGetaffinity(Task& task, int tid, uint32_t size, UserAddr mask) {
  if (size % sizeof(uint64_t) != 0) return Errno(EINVAL);
  cpu_set_t cpus = HostCpus();
  const auto bytes = std::as_bytes(std::span(&cpus, 1));
  // The kernel's mask is as long as the highest possible CPU wants.
  size_t needed = sizeof(uint64_t);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != std::byte{0}) needed = std::max(needed, (i / 8 + 1) * 8);
  }
  if (size < needed) return Errno(EINVAL);
  if (tid < 0) return Errno(ESRCH);
  const Ref<Task> target = TRY(Find(task, tid));
  {
    absl::MutexLock lock(&task.kernel().mu());
    if (target->affinity.has_value()) cpus = *target->affinity;
  }
  const size_t count = std::min<size_t>({size, bytes.size(), needed});
  TRY(task.mem().WriteBytes(mask, bytes.first(count)));
  return static_cast<int64_t>(count);
}

Result<Unit> SchedSetaffinity(Task& task, int tid, uint32_t size, UserAddr mask) {
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  const auto bytes = std::as_writable_bytes(std::span(&wanted, 1));
  TRY(task.mem().ReadBytes(mask, bytes.first(std::min<size_t>(size, kMaxCpuBytes))));
  if (tid < 0) return Errno(ESRCH);
  const Ref<Task> target = TRY(Find(task, tid));
  if (!IsSameOwner(task, *target) && !task.creds().HasCapability(kCapSysNice)) {
    return Errno(EPERM);
  }
  const cpu_set_t cpus = HostCpus();
  cpu_set_t both;
  CPU_AND(&both, &cpus, &wanted);
  if (CPU_COUNT(&both) == 0) return Errno(EINVAL);
  absl::MutexLock lock(&task.kernel().mu());
  target->SetAffinityLocked(both);
  return kOk;
}

Result<Unit> SchedGetparam(Task& task, int tid, UserPtr<int> param) {
  if (!param) return Errno(EINVAL);
  const Ref<Task> target = TRY(Find(task, tid));
  return task.mem().Write(param, target->sched_priority.load());
}

Result<Unit> SchedSetparam(Task& task, int tid, UserPtr<const int> param) {
  return SetByParam(task, tid, kKeepPolicy, param);
}

Result<int64_t> SchedGetscheduler(Task& task, int tid) {
  const Ref<Task> target = TRY(Find(task, tid));
  return target->sched_policy | (target->sched_reset_on_fork ? kResetOnFork : 0);
}

Result<Unit> SchedSetscheduler(Task& task, int tid, int policy, UserPtr<const int> param) {
  if (policy < 0) return Errno(EINVAL);
  return SetByParam(task, tid, policy, param);
}

Result<Unit> SchedSetattr(Task& task, int tid, UserAddr attributes, uint32_t flags) {
  if (!attributes || tid < 0 || flags != 0) return Errno(EINVAL);
  Attributes wanted = TRY(ReadAttributes(task, attributes));
  int policy = static_cast<int>(wanted.policy);
  if (policy < 0) return Errno(EINVAL);
  if ((wanted.flags & kFlagKeepPolicy) != 0) policy = kKeepPolicy;
  const Ref<Task> target = TRY(Find(task, tid));
  if ((wanted.flags & kFlagKeepParams) != 0) {
    wanted.nice = target->nice;
    wanted.priority = static_cast<uint32_t>(target->sched_priority.load());
    wanted.runtime = target->sched_runtime;
    wanted.deadline = target->sched_deadline;
    wanted.period = target->sched_period;
  }
  return SetScheduler(task, *target, policy, wanted);
}

Result<Unit> SchedGetattr(Task& task, int tid, UserAddr attributes, uint32_t size, uint32_t flags) {
  if (!attributes || tid < 0 || size > kPageSize || size < kFirstSize || flags != 0) {
    return Errno(EINVAL);
  }
  const Ref<Task> target = TRY(Find(task, tid));
  const int policy = target->sched_policy;
  Attributes told{.policy = static_cast<uint32_t>(policy)};
  told.size = std::min<uint32_t>(size, sizeof(told));
  if (target->sched_reset_on_fork) told.flags = kFlagReset;
  if (IsFair(policy) || policy == SCHED_IDLE) told.nice = target->nice;
  told.priority = static_cast<uint32_t>(target->sched_priority.load());
  told.runtime = target->sched_runtime;
  told.deadline = target->sched_deadline;
  told.period = target->sched_period;
  return task.mem().WriteBytes(attributes, std::as_bytes(std::span(&told, 1)).first(told.size));
}

Result<int64_t> SchedGetPriorityMax(Task& task, int policy) {
  if (!IsPolicy(policy) && policy != kPolicyExt) return Errno(EINVAL);
  return IsRealTime(policy) ? kMaxRealTime : 0;
}

Result<int64_t> SchedGetPriorityMin(Task& task, int policy) {
  if (!IsPolicy(policy) && policy != kPolicyExt) return Errno(EINVAL);
  return IsRealTime(policy) ? 1 : 0;
}

Result<Unit> SchedRrGetInterval(Task& task, int tid, UserPtr<timespec> interval) {
  const Ref<Task> target = TRY(Find(task, tid));
  timespec slice{};
  const int policy = target->sched_policy.load();
  if (policy == SCHED_RR) slice.tv_nsec = 100'000'000;
  if (IsFair(policy) || policy == SCHED_IDLE) slice.tv_nsec = 4'000'000;
  return task.mem().Write(interval, slice);
}

}  // namespace syscalls
