#include "sentry/task/wait.h"

#include <sys/wait.h>

#include "sentry/task/task.h"

namespace sentry {
namespace {

bool Matches(const ThreadGroup& child, const WaitQuery& query) {
  if (query.kind == WaitQuery::Kind::kPid && child.id != query.id) return false;
  if (query.kind == WaitQuery::Kind::kProcessGroup && child.group != query.id) return false;
  if ((query.options & __WALL) != 0) return true;
  // A "clone" child is one that reports with another signal than SIGCHLD.
  const bool clone_child = child.exit_signal != SIGCHLD;
  return clone_child == ((query.options & __WCLONE) != 0);
}

WaitReport ReportOf(const ThreadGroup& child, int code, int status) {
  return {.pid = child.id,
          .uid = child.uid,
          .code = code,
          .status = status,
          .cpu_ns = child.dead_cpu_ns + child.children_cpu_ns};
}

}  // namespace

// Looks once. `pid` 0 in the result: nothing yet. ECHILD: no such child. A zombie that is to be
// reaped is left to the caller.
static Result<WaitReport> LookLocked(ThreadGroup& parent, const WaitQuery& query,
                                     ThreadGroup** zombie) {
  bool any = false;
  const bool keep = (query.options & WNOWAIT) != 0;
  for (const Ref<ThreadGroup>& child : parent.children) {
    if (!Matches(*child, query)) continue;
    any = true;
    if (child->zombie && (query.options & WEXITED) != 0) {
      if (!keep) *zombie = child.get();
      const bool killed = (child->exit_status & 0x7f) != 0;
      return ReportOf(*child, killed ? CLD_KILLED : CLD_EXITED, child->exit_status);
    }
    if (child->stop_unreported && (query.options & WSTOPPED) != 0) {
      if (!keep) child->stop_unreported = false;
      return ReportOf(*child, CLD_STOPPED, child->stop_signal << 8 | 0x7f);
    }
    if (child->continue_unreported && (query.options & WCONTINUED) != 0) {
      if (!keep) child->continue_unreported = false;
      return ReportOf(*child, CLD_CONTINUED, 0xffff);
    }
  }
  if (!any) return Errno(ECHILD);
  return WaitReport{};
}

Result<WaitReport> Kernel::LookForChild(ThreadGroup& parent, const WaitQuery& query) {
  AfterUnlock after(*this);
  absl::MutexLock lock(&mu_);
  ThreadGroup* zombie = nullptr;
  const WaitReport report = TRY(LookLocked(parent, query, &zombie));
  if (zombie != nullptr) {
    parent.children_cpu_ns += report.cpu_ns;
    ReapLocked(*zombie, after);
  }
  return report;
}

Result<WaitReport> WaitForChild(Task& task, const WaitQuery& query) {
  Kernel& kernel = task.kernel();
  WaitReport report = TRY(kernel.LookForChild(task.group(), query));
  if (report.pid != 0 || (query.options & WNOHANG) != 0) return report;
  Waiter waiter(task);
  waiter.Watch(&task.group().child_events, POLLIN);
  for (;;) {
    report = TRY(kernel.LookForChild(task.group(), query));
    if (report.pid != 0) return report;
    TRY(waiter.Sleep());
  }
}

int StatusForInfo(int code, int wait_status) {
  switch (code) {
    case CLD_EXITED:
    case CLD_STOPPED:
      return wait_status >> 8 & 0xff;
    case CLD_CONTINUED:
      return SIGCONT;
    default:
      return wait_status & 0x7f;
  }
}

SignalInfo ChildInfo(const WaitReport& report) {
  SignalInfo info = MakeSignalInfo(SIGCHLD, report.code, report.pid, report.uid);
  info.si_status = StatusForInfo(report.code, report.status);
  return info;
}

}  // namespace sentry
