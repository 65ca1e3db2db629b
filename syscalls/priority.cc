#include "syscalls/priority.h"

#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <vector>

#include "sentry/task/kernel.h"

namespace syscalls {
namespace {

using sentry::Credentials;

constexpr int kCapSysAdmin = 21, kCapSysNice = 23;
// linux/ioprio.h. 2, a process group, lies between process and user.
constexpr int kIoprioProcess = 1, kIoprioUser = 3, kIoprioClassShift = 13;
constexpr int kClassNone = 0, kClassRealTime = 1, kClassBestEffort = 2, kClassIdle = 3;

struct Named {
  Ref<Task> task;
  Credentials creds;
};

// The tasks that getpriority(2) and setpriority(2) mean. ESRCH for none, EINVAL.
Result<std::vector<Named>> FindNamed(Task& task, int which, int who) {
  std::vector<Ref<Task>> found;
  if (which == PRIO_PROCESS) {
    Ref<Task> one = who == 0 ? Ref<Task>::Share(task) : task.kernel().FindTask(who);
    if (one) found.push_back(std::move(one));
  } else if (which == PRIO_PGRP || which == PRIO_USER) {
    const auto groups = task.kernel().AllGroups();
    absl::MutexLock lock(&task.kernel().mu());
    const int own = which == PRIO_PGRP ? task.group().group : static_cast<int>(task.creds().uid);
    const int wanted = who == 0 ? own : who;
    for (const auto& group : groups) {
      const int id = which == PRIO_PGRP ? group->group : static_cast<int>(group->uid);
      if (id != wanted) continue;
      for (Task* member : group->tasks) found.push_back(Ref<Task>::Share(*member));
    }
  } else {
    return Errno(EINVAL);
  }
  std::vector<Named> named;
  for (Ref<Task>& one : found) {
    const Result<Credentials> creds = task.kernel().CredentialsOf(one->tid());
    if (creds.ok()) named.push_back({std::move(one), *creds});
  }
  if (named.empty()) return Errno(ESRCH);
  return named;
}

bool MayChange(const Credentials& own, const Credentials& other) {
  return own.euid == other.uid || own.euid == other.euid || own.HasCapability(kCapSysNice);
}

}  // namespace

Result<int64_t> Getpriority(Task& task, int which, int who) {
  int lowest = 19;
  for (const Named& target : TRY(FindNamed(task, which, who))) {
    lowest = std::min(lowest, target.task->nice.load());
  }
  return 20 - lowest;  // Never negative: 40 … 1.
}

// The last failure is the result; the others are changed all the same (Linux).
Result<Unit> Setpriority(Task& task, int which, int who, int value) {
  value = std::clamp(value, -20, 19);
  const auto targets = TRY(FindNamed(task, which, who));
  const uint64_t limit = task.Limit(RLIMIT_NICE);
  Result<Unit> result = kOk;
  for (const Named& target : targets) {
    if (!MayChange(task.creds(), target.creds)) {
      result = Errno(EPERM);
    } else if (value < target.task->nice && !task.creds().HasCapability(kCapSysNice) &&
               static_cast<uint64_t>(20 - value) > limit) {
      result = Errno(EACCES);
    } else {
      target.task->nice = value;
    }
  }
  return result;
}

namespace {

// What a task without an I/O priority of its own has.
int EffectiveIoPriority(const Task& task) {
  const int own = task.ioprio;
  if (own >> kIoprioClassShift != kClassNone) return own;
  const int policy = task.sched_policy;
  int io_class = kClassBestEffort;
  if (policy == SCHED_FIFO || policy == SCHED_RR) io_class = kClassRealTime;
  if (policy == SCHED_IDLE) io_class = kClassIdle;
  return io_class << kIoprioClassShift | (task.nice + 20) / 5;
}

Status CheckIoPriority(Task& task, int priority) {
  constexpr int kLevels = 7;
  const int level = priority & kLevels;
  switch (priority >> kIoprioClassShift & kLevels) {
    case kClassNone:
      return level != 0 ? Status(Errno(EINVAL)) : Status(kOk);
    case kClassRealTime:
      if (!task.creds().HasCapability(kCapSysAdmin) && !task.creds().HasCapability(kCapSysNice)) {
        return Errno(EPERM);
      }
      return kOk;
    case kClassBestEffort:
    case kClassIdle:
      return kOk;
    default:
      return Errno(EINVAL);
  }
}

}  // namespace

Result<int64_t> IoprioGet(Task& task, int which, int who) {
  if (which < kIoprioProcess || which > kIoprioUser) return Errno(EINVAL);
  const auto targets = TRY(FindNamed(task, which - 1, who));
  if (which == kIoprioProcess) return targets.front().task->ioprio.load();
  int best = EffectiveIoPriority(*targets.front().task);
  for (const Named& target : targets) best = std::min(best, EffectiveIoPriority(*target.task));
  return best;
}

Result<Unit> IoprioSet(Task& task, int which, int who, int priority) {
  TRY(CheckIoPriority(task, priority));
  if (which < kIoprioProcess || which > kIoprioUser) return Errno(EINVAL);
  for (const Named& target : TRY(FindNamed(task, which - 1, who))) {
    const Credentials& own = task.creds();
    if (target.creds.uid != own.euid && target.creds.uid != own.uid &&
        !own.HasCapability(kCapSysNice)) {
      return Errno(EPERM);
    }
    target.task->ioprio = priority & 0xffff;
  }
  return kOk;
}

}  // namespace syscalls
