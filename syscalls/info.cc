#include "syscalls/info.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/restart.h"
#include "sentry/task/wait.h"
#include "sentry/time/clocks.h"
#include "sentry/time/process_timers.h"
#include "syscalls/common.h"
#include "syscalls/convert.h"
#include "syscalls/known_errors.h"

namespace syscalls {
namespace {

constexpr int kMaxHostname = 64;

void SetField(char (&field)[65], std::string_view text) {
  memcpy(field, text.data(), std::min(text.size(), sizeof(field) - 1));
}

}  // namespace

Status Uname(Task& task, UserPtr<abi::Utsname> out) {
  abi::Utsname name;
  SetField(name.sysname, "Linux");
  const auto names = task.namespaces().uts().names();
  SetField(name.nodename, names.host);
  // What the ABI document describes.
  SetField(name.release, "6.18.0");
  SetField(name.version, "#1 SMP PREEMPT_DYNAMIC sandbox");
  SetField(name.machine, "x86_64");
  SetField(name.domainname, names.domain);
  return task.mem().Write(out, name);
}

Status Sethostname(Task& task, UserAddr name, int length) {
  if (!HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  if (length < 0 || length > kMaxHostname) return Errno(EINVAL);
  std::string text(static_cast<size_t>(length), '\0');
  TRY(task.mem().ReadBytes(name, std::as_writable_bytes(std::span(text))));
  task.namespaces().uts().set_hostname(text.substr(0, text.find('\0')));
  return kOk;
}

Status Setdomainname(Task& task, UserAddr name, int length) {
  if (!HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  if (length < 0 || length > kMaxHostname) return Errno(EINVAL);
  std::string text(static_cast<size_t>(length), '\0');
  TRY(task.mem().ReadBytes(name, std::as_writable_bytes(std::span(text))));
  task.namespaces().uts().set_domainname(text.substr(0, text.find('\0')));
  return kOk;
}

Status Sysinfo(Task& task, UserPtr<abi::Sysinfo> out) {
  struct sysinfo host {};
  if (sysinfo(&host) != 0) return Errno::Last();
  const size_t processes = task.kernel().AllGroups().size();
  const abi::Sysinfo info{.uptime = host.uptime,
                          .loads = {host.loads[0], host.loads[1], host.loads[2]},
                          .totalram = host.totalram,
                          .freeram = host.freeram,
                          .sharedram = host.sharedram,
                          .bufferram = host.bufferram,
                          .procs = static_cast<uint16_t>(std::min<size_t>(processes, UINT16_MAX)),
                          .mem_unit = host.mem_unit};
  return task.mem().Write(out, info);
}

Result<int64_t> Getrandom(Task& task, UserAddr buffer, uint64_t size, uint32_t flags) {
  if ((flags & ~uint32_t{GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE}) != 0) return Errno(EINVAL);
  if ((flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE)) {
    return Errno(EINVAL);
  }
  size = std::min<uint64_t>(size, INT32_MAX);
  std::array<std::byte, 256> chunk;  // getrandom(2) fills so much without interruption.
  uint64_t done = 0;
  while (done < size) {
    const size_t want = std::min<uint64_t>(chunk.size(), size - done);
    if (getrandom(chunk.data(), want, 0) != static_cast<ssize_t>(want)) return Errno(EIO);
    const size_t copied = task.mem().WriteSome(buffer + done, std::span(chunk.data(), want));
    done += copied;
    if (copied < want) break;
    if (done < size && task.interrupted()) break;
  }
  if (done == 0 && size != 0) return Errno(EFAULT);
  return static_cast<int64_t>(done);
}

namespace {

// The host knows best what its process has used; those before the last execve(2) have been entered.
Result<Control> UsageSoFar(Task& task, int who, UserPtr<abi::Rusage> out) {
  Ref<platform::UsageLedger> ledger;
  {
    absl::MutexLock lock(&task.kernel().mu());
    ledger = task.group().ledger;
  }
  // The last of them is killed behind the execve, which the host may take its time for.
  const bool waits = !ledger->entered();
  if (waits) task.kernel().platform().EnterBlocking();
  const auto earlier = ledger->Earlier(absl::Milliseconds(50));
  if (waits) task.kernel().platform().LeaveBlocking();
  if (!earlier.has_value()) return Control::Continue();
  task.deferred_call = [who, out, before = *earlier](Task& self, Context& context) {
    const auto sum = [&]() -> Result<Unit> {
      (void)TRY(context.HostCall(
          {.nr = SYS_getrusage, .args = {static_cast<uint64_t>(int64_t{who}), out.addr.raw}}));
      abi::Rusage now = TRY(self.mem().Read(UserPtr<const abi::Rusage>{out.addr}));
      AddUsage(before, now);
      return self.mem().Write(out, now);
    }();
    return Control::Return(sum.ok() ? 0 : -int64_t{sum.error().code()}).verdict;
  };
  return sentry::kRestartNoIntr;
}

}  // namespace

Result<Control> Getrusage(Task& task, int who, UserPtr<abi::Rusage> out) {
  switch (who) {
    case RUSAGE_SELF:
    case RUSAGE_THREAD:
      return UsageSoFar(task, who, out);
    case RUSAGE_CHILDREN: {
      TRY(task.mem().Write(out, ToRusage(sentry::UsageOfChildren(task.kernel(), task.group()))));
      return Control::Return(0);
    }
    default:
      return Errno(EINVAL);
  }
}

namespace {

// Memory is the host's, and so are the limits of it.
constexpr uint32_t kHostLimits =
    1u << RLIMIT_AS | 1u << RLIMIT_DATA | 1u << RLIMIT_STACK | 1u << RLIMIT_MEMLOCK;

// prlimit(2) on a group. `value` null: only asks.
Status ChangeLimit(Task& task, sentry::ThreadGroup& group, uint32_t resource,
                   const abi::Rlimit* value, abi::Rlimit* old) {
  const bool privileged = HasCapability(task, CAP_SYS_RESOURCE);
  absl::MutexLock lock(&task.kernel().mu());
  const rlimit limit_before = group.limits[resource];
  if (old != nullptr) *old = {limit_before.rlim_cur, limit_before.rlim_max};
  if (value == nullptr) return kOk;
  if (value->maximum > limit_before.rlim_max && !privileged) return Errno(EPERM);
  group.limits.Set(resource, {value->current, value->maximum});
  if ((kHostLimits >> resource & 1) != 0 && !group.tasks.empty()) {
    group.host_limits |= 1u << resource;
    group.tasks.front()->SetHostLimitLocked(static_cast<int>(resource), value->current);
  }
  // From here on open(2) may be EMFILE in front of any error of a name.
  if (resource == RLIMIT_NOFILE && value->current < limit_before.rlim_cur) {
    for (Task* const member : group.tasks) member->CloseErrorsLocked();
  }
  return kOk;
}

// RLIMIT_CPU is kept by a timer, made when somebody sets it.
void KeepCpuLimit(Task& task, sentry::ThreadGroup& group) {
  std::shared_ptr<sentry::ProcessTimers> timers =
      sentry::ProcessTimers::Of(task.kernel(), group);
  timers->KeepCpuLimit();
}

// Who may look at and change the limits of another process: one with the same ids.
Status MayChangeLimits(Task& task, sentry::Pid pid) {
  const sentry::Credentials other = TRY(task.kernel().CredentialsOf(pid));
  const uint32_t uid = task.creds().uid, gid = task.creds().gid;
  const bool same = uid == other.uid && uid == other.euid && uid == other.suid &&
                    gid == other.gid && gid == other.egid && gid == other.sgid;
  if (!same && !HasCapability(task, CAP_SYS_RESOURCE)) return Errno(EPERM);
  return kOk;
}

}  // namespace

Status Prlimit64(Task& task, int pid, uint32_t resource, UserPtr<const abi::Rlimit> user,
                 UserPtr<abi::Rlimit> old) {
  if (resource >= RLIM_NLIMITS) return Errno(EINVAL);
  abi::Rlimit value, before;
  if (user) {
    value = TRY(task.mem().Read(user));
    if (value.current > value.maximum) return Errno(EINVAL);
    constexpr uint64_t kMaxOpen = 1 << 20;  // /proc/sys/fs/nr_open.
    if (resource == RLIMIT_NOFILE && value.maximum > kMaxOpen) return Errno(EPERM);
  }
  Ref<sentry::ThreadGroup> group = Ref<sentry::ThreadGroup>::Share(task.group());
  if (pid != 0 && pid != task.tgid()) {
    const Ref<Task> other = task.kernel().FindTask(pid);
    if (!other) return Errno(ESRCH);
    TRY(MayChangeLimits(task, pid));
    group = Ref<sentry::ThreadGroup>::Share(other->group());
  }
  TRY(ChangeLimit(task, *group, resource, user ? &value : nullptr, &before));
  if (user && resource == RLIMIT_CPU) KeepCpuLimit(task, *group);
  return old ? task.mem().Write(old, before) : Status(kOk);
}

Status Getrlimit(Task& task, uint32_t resource, UserPtr<abi::Rlimit> out) {
  if (resource >= RLIM_NLIMITS) return Errno(EINVAL);
  abi::Rlimit limit;
  TRY(ChangeLimit(task, task.group(), resource, nullptr, &limit));
  return task.mem().Write(out, limit);
}

Status Setrlimit(Task& task, uint32_t resource, UserPtr<const abi::Rlimit> value) {
  TRY(task.mem().Read(value));
  return Prlimit64(task, 0, resource, value, UserPtr<abi::Rlimit>{});
}

// Two words of the caller's own memory, and only the host knows where the thread runs.
Control Getcpu(Task& task) { return Control::Continue(); }

Result<int64_t> Syslog(Task& task, int type, UserAddr buffer, int length) {
  constexpr int kReadAll = 3, kReadClear = 4, kSizeBuffer = 10;
  if (type < 0 || type > kSizeBuffer) return Errno(EINVAL);
  if (type != kReadAll && type != kSizeBuffer && !HasCapability(task, CAP_SYSLOG)) {
    return Errno(EPERM);
  }
  if ((type == 2 || type == kReadAll || type == kReadClear) && (!buffer || length < 0)) {
    return Errno(EINVAL);
  }
  if (type == kSizeBuffer) return 1 << 16;
  return 0;  // There are no messages.
}

}  // namespace syscalls
