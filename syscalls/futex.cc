#include "syscalls/futex.h"

#include <linux/futex.h>
#include <time.h>

#include "sentry/task/kernel.h"
#include "sentry/task/pi_futex.h"
#include "sentry/task/restart.h"
#include "sentry/task/timed_wait.h"
#include "syscalls/common.h"

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif

namespace syscalls {
namespace {

using sentry::Deadline;
using sentry::PiFutexes;

constexpr size_t kRobustListSize = 24;

bool IsPlain(uint32_t command) {
  switch (command) {
    case FUTEX_WAIT:
    case FUTEX_WAKE:
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
    case FUTEX_WAKE_OP:
    case FUTEX_WAIT_BITSET:
    case FUTEX_WAKE_BITSET:
      return true;
    default:
      return false;
  }
}

struct PiCall {
  uint32_t command = 0;
  PiFutexes::Word word;
  PiFutexes::Word second;
  uint32_t value = 0, value3 = 0;
  int count = 0;
  Deadline deadline;
};

// Absolute: of the real-time clock, or of the monotonic one.
Result<Deadline> ReadTime(Task& task, uint64_t address, bool real_time) {
  if (address == 0) return Deadline::Never();
  const int64_t at =
      TRY(ToNanoseconds(TRY(task.mem().Read(UserPtr<const abi::Timespec>{UserAddr{address}}))));
  if (!real_time) return Deadline{at};
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const int64_t real_now = now.tv_sec * int64_t{1'000'000'000} + now.tv_nsec;
  return Deadline::After(at - real_now);
}

// With `context` when the first try has said that it is needed.
Result<int64_t> RunPi(Task& task, Context* context, const PiCall& call) {
  PiFutexes& futexes = task.kernel().pi_futexes();
  switch (call.command) {
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
    case FUTEX_TRYLOCK_PI:
      TRY(futexes.Lock(task, context, call.word, call.deadline,
                       /*try_only=*/call.command == FUTEX_TRYLOCK_PI));
      return 0;
    case FUTEX_UNLOCK_PI:
      TRY(futexes.Unlock(task, context, call.word));
      return 0;
    case FUTEX_WAIT_REQUEUE_PI:
      TRY(futexes.WaitRequeue(task, call.word, call.value, call.second, call.deadline));
      return 0;
    case FUTEX_CMP_REQUEUE_PI:
      if (call.value != 1) return Errno(EINVAL);
      return int64_t{
          TRY(futexes.Requeue(task, context, call.word, call.second, call.count, call.value3))};
    default:
      return Errno(ENOSYS);
  }
}

// Whether the host is to carry it out: what it refuses it ends at once.
bool NoteTimedWait(Task& task, const sentry::TimedWait::Call& call) {
  const auto time = task.mem().Read(UserPtr<const abi::Timespec>{UserAddr{call.timeout}});
  const Result<int64_t> ns = time.ok() ? ToNanoseconds(*time) : time.error();
  if (!ns.ok()) return true;
  if (!task.timed_wait || task.timed_wait->tid() != task.tid()) {
    task.timed_wait = MakeRef<sentry::TimedWait>(task.kernel(), task.tid());
  }
  return task.timed_wait->Begin(call, *ns);
}

Verdict ToAnswer(const Result<int64_t>& result) {
  return Control::Return(result.ok() ? *result : -int64_t{result.error().code()}).verdict;
}

}  // namespace

Control Futex(Task& task, uint64_t address, uint32_t operation, uint32_t value, uint64_t timeout,
              uint64_t address2, uint32_t value3) {
  const uint32_t command = operation & static_cast<uint32_t>(FUTEX_CMD_MASK);
  if (command == FUTEX_WAIT && timeout != 0 &&
      !NoteTimedWait(
          task, {.address = address, .timeout = timeout, .operation = operation, .value = value})) {
    return Control::Return(-ETIMEDOUT);
  }
  if (IsPlain(command)) return Control::Continue();
  const bool shared = (operation & FUTEX_PRIVATE_FLAG) == 0;
  const bool real_time = (operation & FUTEX_CLOCK_REALTIME) != 0;
  PiCall call{.command = command,
              .word = {UserAddr{address}, shared},
              .second = {UserAddr{address2}, shared},
              .value = value,
              .value3 = value3,
              .count = static_cast<int>(timeout)};
  if (command == FUTEX_LOCK_PI || command == FUTEX_LOCK_PI2 || command == FUTEX_WAIT_REQUEUE_PI) {
    const Result<Deadline> deadline =
        ReadTime(task, timeout, real_time || command == FUTEX_LOCK_PI);
    if (!deadline.ok()) return Control::Fail(deadline.error());
    call.deadline = *deadline;
  }
  if (real_time && command != FUTEX_LOCK_PI2 && command != FUTEX_WAIT_REQUEUE_PI) {
    return Control::Fail(Errno(ENOSYS));
  }
  const Result<int64_t> result = RunPi(task, nullptr, call);
  if (result.ok() || result.error() != PiFutexes::kNeedsContext) return {ToAnswer(result)};
  task.deferred_call = [call](Task& self, Context& context) {
    return ToAnswer(RunPi(self, &context, call));
  };
  return Control::Fail(sentry::kRestartNoIntr);
}

Control FutexWaitv(Task& task) { return Control::Continue(); }
Control FutexWake(Task& task) { return Control::Continue(); }
Control FutexWait(Task& task) { return Control::Continue(); }
Control FutexRequeue(Task& task) { return Control::Continue(); }

Result<Unit> SetRobustList(Task& task, uint64_t head, size_t size) {
  if (size != kRobustListSize) return Errno(EINVAL);
  task.set_robust_list(head);
  return kOk;
}

// Linux asks for PTRACE_MODE_READ_REALCREDS.
Result<Unit> GetRobustList(Task& task, int tid, UserPtr<uint64_t> head, UserPtr<uint64_t> size) {
  Ref<Task> target = tid == 0 ? Ref<Task>::Share(task) : task.kernel().FindTask(tid);
  if (!target) return Errno(ESRCH);
  if (&target->group() != &task.group()) {
    const sentry::Credentials other = TRY(task.kernel().CredentialsOf(target->tid()));
    const sentry::Credentials& own = task.creds();
    constexpr int kCapSysPtrace = 19;
    const bool same = own.uid == other.uid && own.uid == other.euid && own.uid == other.suid &&
                      own.gid == other.gid && own.gid == other.egid && own.gid == other.sgid;
    if (!same && !own.HasCapability(kCapSysPtrace)) return Errno(EPERM);
  }
  TRY(task.mem().Write(size, uint64_t{kRobustListSize}));
  return task.mem().Write(head, target->robust_list());
}

}  // namespace syscalls
