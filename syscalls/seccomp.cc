#include "syscalls/seccomp.h"

#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/log.h"
#include "sentry/task/kernel.h"
#include "sentry/task/restart.h"
#include "sentry/task/seccomp.h"
#include "syscalls/common.h"
#include "syscalls/known_errors.h"

namespace syscalls {

namespace {

using sentry::SeccompFilters;

constexpr int kMaxErrno = 4095;
constexpr uint32_t kModeStrict = 1, kModeFilter = 2;

Verdict Return(int64_t value) { return {.kind = Verdict::Kind::kReturn, .value = value}; }

// SIGSYS with what asm-generic/siginfo.h calls _sigsys.
Verdict Trap(Task& task, const platform::SyscallArgs& call, uint32_t data) {
  sentry::SignalInfo info = sentry::MakeSignalInfo(SIGSYS, 1 /* SYS_SECCOMP */, 0, 0);
  info.si_errno = static_cast<int>(data);
  info.si_call_addr = reinterpret_cast<void*>(call.ip);
  info.si_syscall = static_cast<int>(call.nr);
  info.si_arch = AUDIT_ARCH_X86_64;
  task.RaiseForced(info);
  return Return(static_cast<int64_t>(call.nr));  // rax as before the call.
}

Verdict Kill(Task& task, bool whole_process) {
  bool last = false;
  {
    absl::MutexLock lock(&task.kernel().mu());
    last = task.group().tasks.size() == 1;
  }
  const int sig = task.seccomp_strict() ? SIGKILL : SIGSYS;
  if (whole_process || last) {
    task.kernel().ExitGroup(task, sig);
    return {.kind = Verdict::Kind::kGone};
  }
  // The host's thread has to end, too, which only exit(2) does: it makes that call next.
  task.seccomp_killed = sig;
  task.deferred_call = [](Task&, Context& context) {
    constexpr uint64_t kSyscallSize = 2;
    context.regs.rip -= kSyscallSize;
    return Return(SYS_exit);
  };
  return Return(-int64_t{sentry::kRestartNoIntr.code()});
}

// The calls of SECCOMP_MODE_STRICT.
class StrictProgram final : public sentry::SeccompProgram {
 public:
  StrictProgram() {
    for (const int nr : {SYS_read, SYS_write, SYS_exit, SYS_rt_sigreturn}) {
      always_[static_cast<size_t>(nr)] = true;
    }
  }
  uint32_t Evaluate(const seccomp_data& call) const override {
    return AlwaysAllows(static_cast<uint64_t>(call.nr)) ? SECCOMP_RET_ALLOW
                                                        : SECCOMP_RET_KILL_THREAD;
  }
};

// Puts a program in front of the caller's filters; with `synchronize` it gives the result to the
// process's other threads, or to nobody if one of them has filters that the caller has not: that
// one's id then. In one step, since another thread may do the same.
Result<int64_t> Install(Task& task, Ref<sentry::SeccompProgram> program, bool strict,
                        bool synchronize) {
  absl::MutexLock lock(&task.kernel().mu());
  const Ref<SeccompFilters> before = task.seccomp_ref();
  const std::vector<Task*>& threads = task.group().tasks;
  for (Task* other : threads) {
    const Ref<SeccompFilters> theirs = other->seccomp_ref();
    if (!synchronize || other == &task || !theirs) continue;
    if (!before || !before->Extends(*theirs)) return other->tid();
  }
  const Ref<SeccompFilters> filters = TRY(SeccompFilters::With(before, std::move(program)));
  // Of all threads: they are one program.
  if (SeesPathCalls(*filters)) task.CloseErrorsLocked();
  task.set_seccomp(filters, strict);
  for (Task* other : threads) {
    if (!synchronize || other == &task) continue;
    // seccomp_sync_threads(): they could not have installed it without, either.
    if (task.creds().no_new_privs) other->gains_no_new_privs = true;
    other->set_seccomp(filters, strict);
  }
  return 0;
}

Result<int64_t> InstallStrict(Task& task) {
  if (SeccompMode(task) == kModeFilter) return Errno(EINVAL);
  if (SeccompMode(task) == kModeStrict) return 0;
  return Install(task, MakeRef<StrictProgram>(), /*strict=*/true, /*synchronize=*/false);
}

Result<int64_t> InstallFilter(Task& task, uint32_t flags, UserAddr args) {
  constexpr uint32_t kTsync = SECCOMP_FILTER_FLAG_TSYNC;
  constexpr uint32_t kTsyncEsrch = 1u << 4;
  constexpr uint32_t kKnown =
      kTsync | SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW | kTsyncEsrch;
  // Listeners are for supervisors, which there are none of.
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  if (SeccompMode(task) == kModeStrict) return Errno(EINVAL);
  struct UserProgram {
    uint16_t length;
    uint8_t padding[6];
    uint64_t code;
  };
  UserProgram program{};
  TRY(task.mem().ReadBytes(args, std::as_writable_bytes(std::span(&program, 1))));
  if (program.length == 0 || program.length > BPF_MAXINSNS) return Errno(EINVAL);
  if (!task.creds().no_new_privs && !HasCapability(task, CAP_SYS_ADMIN)) return Errno(EACCES);
  std::vector<sock_filter> code(program.length);
  TRY(task.mem().ReadBytes(UserAddr{program.code}, std::as_writable_bytes(std::span(code))));
  Ref<sentry::SeccompProgram> compiled = TRY(sentry::CompileSeccomp(code));
  const int64_t refuses = TRY(
      Install(task, std::move(compiled), /*strict=*/false, /*synchronize=*/(flags & kTsync) != 0));
  if (refuses != 0 && (flags & kTsyncEsrch) != 0) return Errno(ESRCH);
  return refuses;
}

Result<int64_t> ActionAvailable(Task& task, UserAddr args) {
  uint32_t action = 0;
  TRY(task.mem().ReadBytes(args, std::as_writable_bytes(std::span(&action, 1))));
  switch (action) {
    case SECCOMP_RET_KILL_PROCESS:
    case SECCOMP_RET_KILL_THREAD:
    case SECCOMP_RET_TRAP:
    case SECCOMP_RET_ERRNO:
    case SECCOMP_RET_TRACE:
    case SECCOMP_RET_LOG:
    case SECCOMP_RET_ALLOW:
      return 0;
    default:
      return Errno(EOPNOTSUPP);
  }
}

}  // namespace

std::optional<Verdict> ApplySeccomp(Task& task, const platform::SyscallArgs& call) {
  if (task.gains_no_new_privs.exchange(false)) {
    sentry::Credentials creds = task.creds();
    creds.no_new_privs = true;
    task.set_creds(std::move(creds));
  }
  if (task.seccomp_killed != 0) {
    task.kernel().ExitTask(task, task.seccomp_killed);
    return Verdict{.kind = Verdict::Kind::kExitThread};
  }
  const Ref<SeccompFilters> filters = task.seccomp_ref();
  if (!filters) return std::nullopt;
  seccomp_data data{
      .nr = static_cast<int>(call.nr), .arch = AUDIT_ARCH_X86_64, .instruction_pointer = call.ip};
  std::copy(std::begin(call.args), std::end(call.args), data.args);
  const uint32_t result = filters->Evaluate(data);
  const uint32_t value = result & SECCOMP_RET_DATA;
  switch (result & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
      return std::nullopt;
    case SECCOMP_RET_LOG:
      LOG_INFO("seccomp: call %u of task %d", call.nr, task.tid());
      return std::nullopt;
    case SECCOMP_RET_ERRNO:
      return Return(-std::min<int64_t>(value, kMaxErrno));
    case SECCOMP_RET_TRACE:       // Nobody traces.
    case SECCOMP_RET_USER_NOTIF:  // Nobody listens.
      return Return(-ENOSYS);
    case SECCOMP_RET_TRAP:
      return Trap(task, call, value);
    default:
      return Kill(task, (result & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_KILL_THREAD);
  }
}

int64_t SeccompMode(const Task& task) {
  if (!task.has_seccomp()) return 0;
  return task.seccomp_strict() ? kModeStrict : kModeFilter;
}

Result<int64_t> SetSeccomp(Task& task, uint64_t mode, uint64_t filter) {
  if (mode == kModeStrict) return InstallStrict(task);
  if (mode == kModeFilter) return InstallFilter(task, 0, UserAddr{filter});
  return Errno(EINVAL);
}

Result<int64_t> Seccomp(Task& task, uint32_t operation, uint32_t flags, UserAddr args) {
  switch (operation) {
    case SECCOMP_SET_MODE_STRICT:
      if (flags != 0 || args.raw != 0) return Errno(EINVAL);
      return InstallStrict(task);
    case SECCOMP_SET_MODE_FILTER:
      return InstallFilter(task, flags, args);
    case SECCOMP_GET_ACTION_AVAIL:
      if (flags != 0) return Errno(EINVAL);
      return ActionAvailable(task, args);
    case SECCOMP_GET_NOTIF_SIZES: {
      if (flags != 0) return Errno(EINVAL);
      const std::array<uint16_t, 3> sizes = {sizeof(seccomp_notif), sizeof(seccomp_notif_resp),
                                             sizeof(seccomp_data)};
      TRY(task.mem().WriteBytes(args, std::as_bytes(std::span(sizes))));
      return 0;
    }
    default:
      return Errno(EINVAL);
  }
}

}  // namespace syscalls
