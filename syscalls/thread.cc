#include "syscalls/thread.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>
#include <vector>

#include "sentry/task/kernel.h"

namespace syscalls {
namespace {

constexpr int kCapSysNice = 23;
constexpr int kMaxRealTime = 99;
constexpr int kResetOnFork = 0x40000000;
constexpr size_t kMaxCpuBytes = 128;  // As many CPUs as cpu_set_t knows.

// tid 0 is the caller.
Result<Ref<Task>> Target(Task& task, int tid) {
  if (tid < 0) return Errno(EINVAL);
  if (tid == 0) return Ref<Task>::Share(task);
  Ref<Task> found = task.kernel().FindTask(tid);
  if (!found) return Errno(ESRCH);
  return found;
}

bool IsRealTime(int policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }
bool IsPolicy(int policy) {
  return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE ||
         IsRealTime(policy);
}

// The sentry's own CPUs: those that the sandbox may use.
cpu_set_t AvailableCpus() {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0) CPU_SET(0, &cpus);
  return cpus;
}

}  // namespace

Result<int64_t> SetTidAddress(Task& task, Context& context, uint64_t address) {
  (void)TRY(context.HostCall({.nr = SYS_set_tid_address, .args = {address}}));
  task.clear_child_tid = address;
  return task.tid();
}

// The host thread's own: its kernel keeps the area up to date, and restarts what it interrupts before
// the stub sees the signal. Processes and threads of clone and execve inherit it as Linux has it.
Control Rseq(Task& task) { return Control::Continue(); }

// Concerns memory and threads of the caller's own process, which are the host's.
Control Membarrier(Task& task) { return Control::Continue(); }

Result<Unit> SchedYield(Task& task) {
  sched_yield();
  return kOk;
}

Result<int64_t> SchedGetaffinity(Task& task, int tid, uint32_t size, UserAddr mask) {
  if (size % sizeof(uint64_t) != 0) return Errno(EINVAL);
  const Ref<Task> target = TRY(Target(task, tid));
  cpu_set_t cpus = AvailableCpus();
  const auto bytes = std::as_bytes(std::span(&cpus, 1));
  // The kernel's mask is as long as the highest possible CPU wants.
  size_t needed = sizeof(uint64_t);
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != std::byte{0}) needed = std::max(needed, (i / 8 + 1) * 8);
  }
  {
    absl::MutexLock lock(&task.kernel().mu());
    if (target->affinity.has_value()) cpus = *target->affinity;
  }
  if (size < needed) return Errno(EINVAL);
  const size_t count = std::min<size_t>({size, bytes.size(), needed});
  TRY(task.mem().WriteBytes(mask, bytes.first(count)));
  return static_cast<int64_t>(count);
}

Control SchedSetaffinity(Task& task, int tid, uint32_t size, UserAddr mask) {
  const Result<Ref<Task>> target = Target(task, tid);
  if (!target.ok()) return Control::Fail(Errno(ESRCH));
  cpu_set_t wanted;
  CPU_ZERO(&wanted);
  const auto bytes = std::as_writable_bytes(std::span(&wanted, 1));
  const Status read = task.mem().ReadBytes(mask, bytes.first(std::min<size_t>(size, kMaxCpuBytes)));
  if (!read.ok()) return Control::Fail(read.error());
  const cpu_set_t cpus = AvailableCpus();
  cpu_set_t both;
  CPU_AND(&both, &cpus, &wanted);
  if (CPU_COUNT(&both) == 0) return Control::Fail(Errno(EINVAL));
  // Recorded as a wish: the host schedules the sandbox as a whole.
  absl::MutexLock lock(&task.kernel().mu());
  (*target)->affinity = both;
  return Control::Return(0);
}

Result<Unit> SchedGetparam(Task& task, int tid, UserPtr<int> param) {
  if (!param) return Errno(EINVAL);
  const Ref<Task> target = TRY(Target(task, tid));
  return task.mem().Write(param, target->sched_priority.load());
}

Result<Unit> SchedSetparam(Task& task, int tid, UserPtr<const int> param) {
  const Ref<Task> target = TRY(Target(task, tid));
  return SchedSetscheduler(task, tid, target->sched_policy.load(), param);
}

Result<int64_t> SchedGetscheduler(Task& task, int tid) {
  const Ref<Task> target = TRY(Target(task, tid));
  return target->sched_policy.load();
}

Result<Unit> SchedSetscheduler(Task& task, int tid, int policy, UserPtr<const int> param) {
  if (!param || policy < 0) return Errno(EINVAL);
  const Ref<Task> target = TRY(Target(task, tid));
  const int priority = TRY(task.mem().Read(param));
  policy &= ~kResetOnFork;
  if (!IsPolicy(policy)) return Errno(EINVAL);
  if (IsRealTime(policy) ? priority < 1 || priority > kMaxRealTime : priority != 0) {
    return Errno(EINVAL);
  }
  if (IsRealTime(policy) && !task.creds().HasCapability(kCapSysNice) &&
      task.Limit(RLIMIT_RTPRIO) < static_cast<uint64_t>(priority)) {
    return Errno(EPERM);
  }
  target->sched_policy = policy;
  target->sched_priority = priority;
  return kOk;
}

Result<int64_t> SchedGetPriorityMax(Task& task, int policy) {
  if (!IsPolicy(policy) && policy != SCHED_DEADLINE) return Errno(EINVAL);
  return IsRealTime(policy) ? kMaxRealTime : 0;
}

Result<int64_t> SchedGetPriorityMin(Task& task, int policy) {
  if (!IsPolicy(policy) && policy != SCHED_DEADLINE) return Errno(EINVAL);
  return IsRealTime(policy) ? 1 : 0;
}

Result<Unit> SchedRrGetInterval(Task& task, int tid, UserPtr<timespec> interval) {
  const Ref<Task> target = TRY(Target(task, tid));
  timespec slice{};
  const int policy = target->sched_policy.load();
  if (policy == SCHED_RR) slice.tv_nsec = 100'000'000;
  if (policy == SCHED_OTHER) slice.tv_nsec = 4'000'000;
  return task.mem().Write(interval, slice);
}

namespace {

// The tasks that getpriority(2) and setpriority(2) mean. ESRCH for none, EINVAL.
Result<std::vector<Ref<Task>>> Named(Task& task, int which, int who) {
  std::vector<Ref<Task>> named;
  if (which == PRIO_PROCESS) {
    Ref<Task> one = who == 0 ? Ref<Task>::Share(task) : task.kernel().FindTask(who);
    if (one) named.push_back(std::move(one));
  } else if (which == PRIO_PGRP || which == PRIO_USER) {
    const auto groups = task.kernel().AllGroups();
    absl::MutexLock lock(&task.kernel().mu());
    const int own = which == PRIO_PGRP ? task.group().group : static_cast<int>(task.creds().uid);
    const int wanted = who == 0 ? own : who;
    for (const auto& group : groups) {
      const int id = which == PRIO_PGRP ? group->group : static_cast<int>(group->uid);
      if (id != wanted) continue;
      for (Task* member : group->tasks) named.push_back(Ref<Task>::Share(*member));
    }
  } else {
    return Errno(EINVAL);
  }
  if (named.empty()) return Errno(ESRCH);
  return named;
}

}  // namespace

Result<int64_t> Getpriority(Task& task, int which, int who) {
  int lowest = 19;
  for (const Ref<Task>& target : TRY(Named(task, which, who))) {
    lowest = std::min(lowest, target->nice.load());
  }
  return 20 - lowest;  // Never negative: 40 … 1.
}

Result<Unit> Setpriority(Task& task, int which, int who, int value) {
  value = std::clamp(value, -20, 19);
  const auto targets = TRY(Named(task, which, who));
  const uint64_t limit = task.Limit(RLIMIT_NICE);
  for (const Ref<Task>& target : targets) {
    const bool lowers = value < target->nice.load();
    if (lowers && !task.creds().HasCapability(kCapSysNice) &&
        static_cast<uint64_t>(20 - value) > limit) {
      return Errno(EACCES);
    }
    target->nice = value;
  }
  return kOk;
}

namespace {
// 2, a process group, lies between them.
constexpr int kIoprioProcess = 1, kIoprioUser = 3, kIoprioClassShift = 13;
}

Result<int64_t> IoprioGet(Task& task, int which, int who) {
  if (which < kIoprioProcess || which > kIoprioUser) return Errno(EINVAL);
  return TRY(Named(task, which - 1, who)).front()->ioprio.load();
}

Result<Unit> IoprioSet(Task& task, int which, int who, int priority) {
  const int io_class = priority >> kIoprioClassShift;
  constexpr int kNone = 0, kRealTime = 1, kIdle = 3, kCapSysAdmin = 21;
  if (io_class < kNone || io_class > kIdle) return Errno(EINVAL);
  if (io_class == kNone && (priority & 7) != 0) return Errno(EINVAL);
  if (io_class == kRealTime && !task.creds().HasCapability(kCapSysAdmin) &&
      !task.creds().HasCapability(kCapSysNice)) {
    return Errno(EPERM);
  }
  if (which < kIoprioProcess || which > kIoprioUser) return Errno(EINVAL);
  for (const Ref<Task>& target : TRY(Named(task, which - 1, who))) target->ioprio = priority;
  return kOk;
}

}  // namespace syscalls
