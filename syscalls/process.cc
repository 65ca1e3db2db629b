#include "syscalls/process.h"

#include <linux/capability.h>
#include <linux/prctl.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>

#include "sentry/fs/anon/pidfd.h"
#include "sentry/task/job_control.h"
#include "sentry/task/kernel.h"
#include "sentry/task/restart.h"
#include "sentry/task/robust_list.h"
#include "sentry/task/wait.h"
#include "syscalls/abi_types.h"
#include "syscalls/convert.h"

namespace syscalls {

using sentry::Credentials;
using sentry::File;
using sentry::Kernel;
using sentry::Pid;
using sentry::SignalInfo;
using sentry::WaitQuery;
using sentry::WaitReport;

Control Exit(Task& task, int status) {
  if (sentry::HoldsRobustLocks(task)) return Control::Fail(sentry::kRestartNoIntr);
  task.set_robust_list(0);
  task.kernel().ExitTask(task, (status & 0xff) << 8);
  return Control::ExitThread();
}

Control ExitGroup(Task& task, int status) {
  if (sentry::HoldsRobustLocks(task)) return Control::Fail(sentry::kRestartNoIntr);
  task.set_robust_list(0);
  task.kernel().ExitGroup(task, (status & 0xff) << 8);
  return Control::Gone();
}

namespace {

Status WriteUsage(Task& task, UserPtr<rusage> to, const WaitReport& report) {
  const abi::Rusage usage = ToRusage(sentry::UsageOf(report));
  static_assert(sizeof(usage) == sizeof(rusage));
  return task.mem().WriteBytes(to.addr, std::as_bytes(std::span(&usage, 1)));
}

// What waitid(2)'s id means. P_PIDFD answers EAGAIN later for a non-blocking descriptor.
Result<WaitQuery> QueryOf(Task& task, int id_type, int id, int* options) {
  WaitQuery query;
  switch (id_type) {
    case P_ALL:
      return query;
    case P_PID:
      if (id <= 0) return Errno(EINVAL);
      query.kind = WaitQuery::Kind::kPid;
      query.id = id;
      return query;
    case P_PGID:
      if (id < 0) return Errno(EINVAL);
      query.kind = WaitQuery::Kind::kProcessGroup;
      query.id = id != 0 ? id : TRY(sentry::GetProcessGroup(task, 0));
      return query;
    case 3: {  // P_PIDFD.
      if (id < 0) return Errno(EINVAL);
      const Ref<File> file = TRY(task.fds().Get(Fd{id}));
      const auto* pidfd = sentry::FileCast<sentry::PidFile>(*file);
      if (pidfd == nullptr) return Errno(EBADF);
      query.kind = WaitQuery::Kind::kPid;
      query.id = pidfd->group().id;
      if (file->nonblocking()) *options |= WNOHANG | (1 << 30);
      return query;
    }
    default:
      return Errno(EINVAL);
  }
}

}  // namespace

Result<int64_t> Wait4(Task& task, int pid, UserPtr<int> status, int options,
                      UserPtr<rusage> usage) {
  constexpr unsigned kAllowed = WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL;
  if ((static_cast<unsigned>(options) & ~kAllowed) != 0) return Errno(EINVAL);
  if (pid == INT32_MIN) return Errno(ESRCH);
  WaitQuery query{.tid = task.tid(), .options = options | WEXITED};
  if (pid > 0) {
    query.kind = WaitQuery::Kind::kPid;
    query.id = pid;
  } else if (pid != -1) {
    query.kind = WaitQuery::Kind::kProcessGroup;
    query.id = pid == 0 ? TRY(sentry::GetProcessGroup(task, 0)) : -pid;
  }
  const WaitReport report = TRY(sentry::WaitForChild(task, query));
  if (report.pid == 0) return 0;
  if (status) TRY(task.mem().Write(status, report.status));
  if (usage) TRY(WriteUsage(task, usage, report));
  return report.pid;
}

namespace {

Status WaitForAny(Task& task, int id_type, int id, int options, UserPtr<rusage> usage,
                  SignalInfo& told) {
  constexpr unsigned kAllowed = WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED |
                                __WNOTHREAD | __WCLONE | __WALL;
  if ((static_cast<unsigned>(options) & ~kAllowed) != 0) return Errno(EINVAL);
  if ((options & (WEXITED | WSTOPPED | WCONTINUED)) == 0) return Errno(EINVAL);
  int all_options = options;
  WaitQuery query = TRY(QueryOf(task, id_type, id, &all_options));
  constexpr int kNonBlockingPidfd = 1 << 30;
  query.tid = task.tid();
  query.options = all_options & ~kNonBlockingPidfd;
  const WaitReport report = TRY(sentry::WaitForChild(task, query));
  if (report.pid == 0 && (all_options & kNonBlockingPidfd) != 0 && (options & WNOHANG) == 0) {
    return Errno(EAGAIN);
  }
  if (report.pid == 0) return kOk;
  if (usage) TRY(WriteUsage(task, usage, report));
  told = sentry::ChildInfo(report);
  return kOk;
}

}  // namespace

Result<Unit> Waitid(Task& task, int id_type, int id, UserAddr info, int options,
                    UserPtr<rusage> usage) {
  SignalInfo told;
  std::memset(&told, 0, sizeof(told));
  const Status waited = WaitForAny(task, id_type, id, options, usage, told);
  if (!info) return waited;
  // Linux writes the fields it knows and leaves the rest of the 128 bytes alone. It does so when
  // there is nothing to tell, too, and tells of a bad address rather than of any other error.
  constexpr size_t kHead = 3 * sizeof(int), kFields = 16, kFieldsSize = 12;
  const auto bytes = std::as_bytes(std::span(&told, 1));
  TRY(task.mem().WriteBytes(info, bytes.first(kHead)));
  TRY(task.mem().WriteBytes(info + kFields, bytes.subspan(kFields, kFieldsSize)));
  return waited;
}

Result<int64_t> Getpid(Task& task) { return task.tgid(); }
Result<int64_t> Gettid(Task& task) { return task.tid(); }

Result<int64_t> Getppid(Task& task) {
  absl::MutexLock lock(&task.kernel().mu());
  const sentry::ThreadGroup* parent = task.group().parent;
  return parent == nullptr ? 0 : parent->id;
}

Result<int64_t> Getpgrp(Task& task) { return Getpgid(task, 0); }
Result<int64_t> Getpgid(Task& task, int pid) {
  return int64_t{TRY(sentry::GetProcessGroup(task, pid))};
}
Result<Unit> Setpgid(Task& task, int pid, int pgid) {
  return sentry::SetProcessGroup(task, pid, pgid);
}
Result<int64_t> Getsid(Task& task, int pid) { return int64_t{TRY(sentry::GetSession(task, pid))}; }
Result<int64_t> Setsid(Task& task) { return int64_t{TRY(sentry::SetSession(task))}; }

Status Vhangup(Task& task) {
  if (!task.creds().HasCapability(CAP_SYS_TTY_CONFIG)) return Errno(EPERM);
  sentry::HangUpOwn(task);
  return kOk;
}

Result<int64_t> Personality(Task& task, uint32_t persona) {
  absl::MutexLock lock(&task.kernel().mu());
  const uint64_t old = task.group().personality;
  if (persona != 0xffffffff) task.group().personality = persona;
  return static_cast<int64_t>(old);
}

}  // namespace syscalls
