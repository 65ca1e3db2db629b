#include "sentry/task/wait.h"

#include <sys/wait.h>

#include <algorithm>

#include "sentry/task/task.h"

namespace sentry {
namespace {

// How long the host may take to end a process that has been killed.
constexpr absl::Duration kPatience = absl::Milliseconds(300);

// With __WNOTHREAD only the children of the calling thread count. Those of a thread that has ended are
// taken over by another one, here the leader.
bool IsOfThread(const ThreadGroup& parent, const ThreadGroup& child, Pid tid) {
  const auto alive = [&](Pid pid) {
    return std::any_of(parent.tasks.begin(), parent.tasks.end(),
                       [pid](const Task* task) { return task->tid() == pid; });
  };
  const Pid maker = alive(child.parent_tid) ? child.parent_tid : parent.id;
  return maker == tid;
}

bool Matches(const ThreadGroup& parent, const ThreadGroup& child, const WaitQuery& query) {
  if ((query.options & __WNOTHREAD) != 0 && !IsOfThread(parent, child, query.tid)) return false;
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
          .usage = child.children_usage};
}

// Adds what the host has said meanwhile.
void SettleLocked(ThreadGroup& group) {
  std::erase_if(group.unsettled_children, [&group](const Ref<platform::UsageLedger>& ledger) {
    if (!ledger->settled()) return false;
    group.children_usage.Add(ledger->Settle(absl::ZeroDuration()));
    return true;
  });
}

}  // namespace

// Looks once. `pid` 0 in the result: nothing yet. ECHILD: no such child. A zombie that is to be
// reaped is left to the caller.
static Result<WaitReport> LookLocked(ThreadGroup& parent, const WaitQuery& query,
                                     ThreadGroup** zombie) {
  bool any = false;
  const bool keep = (query.options & WNOWAIT) != 0;
  for (const Ref<ThreadGroup>& child : parent.children) {
    if (!Matches(parent, *child, query)) continue;
    any = true;
    if (child->zombie && (query.options & WEXITED) != 0) {
      if (!keep) *zombie = child.get();
      const bool killed = (child->exit_status & 0x7f) != 0;
      WaitReport report =
          ReportOf(*child, killed ? CLD_KILLED : CLD_EXITED, child->exit_status);
      report.usage.cpu.user_ns += child->dead_cpu.user_ns;
      report.usage.cpu.system_ns += child->dead_cpu.system_ns;
      report.own_cpu = child->dead_cpu;
      report.ledger = child->ledger;
      report.unsettled = child->unsettled_children;
      return report;
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
    parent.children_usage.Add(zombie->children_usage);
    parent.unsettled_children.push_back(zombie->ledger);
    for (auto& ledger : zombie->unsettled_children) parent.unsettled_children.push_back(ledger);
    SettleLocked(parent);
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
  // A signal counts only when there is nothing to report: it often tells of the very child.
  Status slept = kOk;
  for (;;) {
    report = TRY(kernel.LookForChild(task.group(), query));
    if (report.pid != 0) return report;
    if (!slept.ok()) return slept.error();
    slept = waiter.Sleep();
  }
}

platform::Usage UsageOf(const WaitReport& report) {
  if (!report.ledger) return report.usage;
  const platform::Usage accounts = report.ledger->Settle(kPatience);
  platform::Usage usage = report.usage;
  // The accounts say the same more exactly.
  if (accounts.cpu.total_ns() != 0) {
    usage.cpu.user_ns -= std::min(usage.cpu.user_ns, report.own_cpu.user_ns);
    usage.cpu.system_ns -= std::min(usage.cpu.system_ns, report.own_cpu.system_ns);
  }
  usage.Add(accounts);
  for (const auto& ledger : report.unsettled) usage.Add(ledger->Settle(kPatience));
  return usage;
}

platform::Usage UsageOfChildren(Kernel& kernel, ThreadGroup& group) {
  std::vector<Ref<platform::UsageLedger>> ledgers;
  {
    absl::MutexLock lock(&kernel.mu());
    ledgers = group.unsettled_children;
  }
  for (const auto& ledger : ledgers) (void)ledger->Settle(kPatience);
  absl::MutexLock lock(&kernel.mu());
  SettleLocked(group);
  return group.children_usage;
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
