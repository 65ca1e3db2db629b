#include "sentry/task/job_control.h"

#include <algorithm>

namespace sentry {
// Reads the tables that Kernel keeps to itself. Every function wants Kernel::mu().
class JobControl {
 public:
  static ThreadGroup* Find(Kernel& kernel, Task& task, Pid pid)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu()) {
    if (pid == 0) return &task.group();
    ThreadGroup* group = kernel.FindGroupLocked(pid);
    if (group != nullptr) return group;
    Task* other = kernel.FindTaskLocked(pid);
    return other == nullptr ? nullptr : &other->group();
  }
  static ThreadGroup* Find(Kernel& kernel, Pid pid) ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu()) {
    return kernel.FindGroupLocked(pid);
  }
  static bool Exists(Kernel& kernel, Pid pid) ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu()) {
    return kernel.FindTaskLocked(pid) != nullptr;
  }
  // Of a process only: threads have no process group of their own.
  static ThreadGroup* Leader(Kernel& kernel, Task& task, Pid pid)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu()) {
    return pid == 0 ? &task.group() : kernel.FindGroupLocked(pid);
  }
  // A member of a process group in a session, or nullptr.
  static ThreadGroup* Member(Kernel& kernel, Pid pgid, const Ref<Session>& session)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu()) {
    for (const auto& [id, group] : kernel.groups_) {
      if (group->group == pgid && (!session || group->session == session)) return group.get();
    }
    return nullptr;
  }
  // Takes the terminal from every process of a session that has it.
  static void ClearSession(Kernel& kernel, const Session* session, const Terminal& terminal,
                           AfterUnlock& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu()) {
    for (const auto& [id, group] : kernel.groups_) {
      if (group->session.get() != session || group->terminal.get() != &terminal) continue;
      after.Release(Ref<RefCounted>(std::move(group->terminal)));
    }
  }
  // The terminal is nobody's any more.
  static void Free(Kernel& kernel, Terminal& terminal, AfterUnlock& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu()) {
    const Ref<Session> session = std::move(terminal.session);
    terminal.foreground = 0;
    if (session) ClearSession(kernel, session.get(), terminal, after);
  }
  static void SendToGroup(Kernel& kernel, Pid pgid, int sig, AfterUnlock& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu()) {
    if (pgid == 0) return;
    std::vector<ThreadGroup*> members;
    for (const auto& [id, group] : kernel.groups_) {
      if (group->group == pgid && !group->zombie) members.push_back(group.get());
    }
    for (ThreadGroup* member : members) {
      (void)kernel.SendLocked(*member, nullptr, MakeKernelSignalInfo(sig), after);
    }
  }
  static void Send(Kernel& kernel, ThreadGroup& group, int sig, AfterUnlock& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(kernel.mu()) {
    (void)kernel.SendLocked(group, nullptr, MakeKernelSignalInfo(sig), after);
  }
  static bool IsLeader(const ThreadGroup& group) {
    return group.session && group.session->id == group.id;
  }
  static void Claim(ThreadGroup& group, Terminal& terminal)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(group.kernel.mu()) {
    terminal.session = group.session;
    terminal.foreground = group.group;
    group.terminal = Ref<Terminal>::Share(terminal);
    group.old_foreground = 0;
  }
  static bool IsOrphaned(Kernel& kernel, Pid pgid,
                         const ThreadGroup* leaving) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    for (const auto& [id, group] : kernel.groups_) {
      if (group->group != pgid || group->zombie || group.get() == leaving) continue;
      const ThreadGroup* parent = group->parent;
      if (parent == nullptr || parent == leaving) continue;
      if (parent->group != pgid && parent->session == group->session) return false;
    }
    return true;
  }
};

bool IsOrphanedLocked(Kernel& kernel, Pid pgid, const ThreadGroup* leaving) {
  return JobControl::IsOrphaned(kernel, pgid, leaving);
}

Result<Pid> SetSession(Task& task) {
  Kernel& kernel = task.kernel();
  ThreadGroup& group = task.group();
  Ref<Session> old;  // Released with no lock held.
  Ref<Terminal> terminal;
  absl::MutexLock lock(&kernel.mu());
  if (group.group == group.id || JobControl::Member(kernel, group.id, nullptr) != nullptr) {
    return Errno(EPERM);
  }
  Ref<Session> session = MakeRef<Session>();
  session->id = group.id;
  old = std::exchange(group.session, std::move(session));
  terminal = std::move(group.terminal);
  group.group = group.id;
  for (Task* member : group.tasks) member->ForgetAnswersLocked();
  return group.id;
}

Status SetProcessGroup(Task& task, Pid pid, Pid pgid) {
  // Who is to be in a group of its own names it, too.
  if (pgid < 0 || (pgid == 0 && pid < 0)) return Errno(EINVAL);
  Kernel& kernel = task.kernel();
  absl::MutexLock lock(&kernel.mu());
  ThreadGroup& self = task.group();
  ThreadGroup* target = JobControl::Leader(kernel, task, pid);
  if (target == nullptr) return Errno(ESRCH);
  if (target != &self) {
    if (target->parent != &self) return Errno(ESRCH);
    if (target->session != self.session) return Errno(EPERM);
    if (target->has_execed) return Errno(EACCES);
  }
  if (target->session->id == target->id) return Errno(EPERM);
  if (pgid == 0) pgid = target->id;
  if (pgid != target->id && JobControl::Member(kernel, pgid, self.session) == nullptr) {
    return Errno(EPERM);
  }
  target->group = pgid;
  for (Task* member : target->tasks) member->ForgetAnswersLocked();
  return kOk;
}

Result<Pid> GetProcessGroup(Task& task, Pid pid) {
  absl::MutexLock lock(&task.kernel().mu());
  const ThreadGroup* group = JobControl::Find(task.kernel(), task, pid);
  if (group == nullptr) return Errno(ESRCH);
  return group->group;
}

Result<Pid> GetSession(Task& task, Pid pid) {
  absl::MutexLock lock(&task.kernel().mu());
  const ThreadGroup* group = JobControl::Find(task.kernel(), task, pid);
  if (group == nullptr) return Errno(ESRCH);
  return group->session->id;
}

Result<Ref<Terminal>> ControllingTerminal(Task& task) {
  absl::MutexLock lock(&task.kernel().mu());
  Ref<Terminal> terminal = task.group().terminal;
  if (!terminal) return Errno(ENXIO);
  return terminal;
}

bool IsControllingTerminal(Task& task, Terminal& terminal) {
  absl::MutexLock lock(&task.kernel().mu());
  return task.group().terminal.get() == &terminal;
}

void ClaimOnOpen(Task& task, Terminal& terminal, OpenFlags flags) {
  if (flags.has(O_NOCTTY) || !flags.readable()) return;
  absl::MutexLock lock(&task.kernel().mu());
  ThreadGroup& group = task.group();
  if (!JobControl::IsLeader(group) || group.terminal || terminal.session) return;
  JobControl::Claim(group, terminal);
}

Status SetControllingTerminal(Task& task, Terminal& terminal, const ClaimOptions& options) {
  constexpr int kCapSysAdmin = 21;
  Kernel& kernel = task.kernel();
  const bool admin = task.creds().HasCapability(kCapSysAdmin);
  AfterUnlock after(kernel);
  absl::MutexLock lock(&kernel.mu());
  ThreadGroup& group = task.group();
  if (JobControl::IsLeader(group) && terminal.session == group.session) return kOk;
  if (!JobControl::IsLeader(group) || group.terminal) return Errno(EPERM);
  if (terminal.session && !(options.steal && admin)) return Errno(EPERM);
  if (terminal.session) JobControl::Free(kernel, terminal, after);
  // Who may only write must not come to read it as /dev/tty (Linux).
  if (!options.readable && !admin) return Errno(EPERM);
  JobControl::Claim(group, terminal);
  return kOk;
}

Status DropControllingTerminal(Task& task, Terminal& terminal) {
  Kernel& kernel = task.kernel();
  AfterUnlock after(kernel);
  absl::MutexLock lock(&kernel.mu());
  ThreadGroup& group = task.group();
  if (group.terminal.get() != &terminal) return Errno(ENOTTY);
  if (JobControl::IsLeader(group)) {
    const Pid foreground = terminal.foreground;
    JobControl::Free(kernel, terminal, after);
    JobControl::SendToGroup(kernel, foreground, SIGHUP, after);
    JobControl::SendToGroup(kernel, foreground, SIGCONT, after);
  }
  if (group.terminal) after.Release(Ref<RefCounted>(std::move(group.terminal)));
  return kOk;
}

Result<Pid> ForegroundGroup(Task& task, Terminal& terminal, TerminalEnd end) {
  absl::MutexLock lock(&task.kernel().mu());
  const bool own = task.group().terminal.get() == &terminal;
  if (end == TerminalEnd::kLine && !own) return Errno(ENOTTY);
  return terminal.foreground;
}

Status SetForegroundGroup(Task& task, Terminal& terminal, Pid pgid) {
  if (pgid < 0) return Errno(EINVAL);
  Kernel& kernel = task.kernel();
  absl::MutexLock lock(&kernel.mu());
  const ThreadGroup& group = task.group();
  if (group.terminal.get() != &terminal || !(terminal.session == group.session)) {
    return Errno(ENOTTY);
  }
  const ThreadGroup* member = JobControl::Member(kernel, pgid, nullptr);
  // A number without a process group may still be a process's or thread's, which is then of none.
  if (member == nullptr) {
    return JobControl::Exists(kernel, pgid) ? Errno(EPERM) : Errno(ESRCH);
  }
  if (!(member->session == group.session)) return Errno(EPERM);
  terminal.foreground = pgid;
  return kOk;
}

Result<Pid> TerminalSession(Task& task, Terminal& terminal, TerminalEnd end) {
  absl::MutexLock lock(&task.kernel().mu());
  const bool own = task.group().terminal.get() == &terminal;
  if ((end == TerminalEnd::kLine && !own) || !terminal.session) return Errno(ENOTTY);
  return terminal.session->id;
}

Status CheckBackgroundAccess(Task& task, Terminal& terminal, int sig) {
  Kernel& kernel = task.kernel();
  Pid pgid = 0;
  {
    absl::MutexLock lock(&kernel.mu());
    const ThreadGroup& group = task.group();
    if (group.terminal.get() != &terminal) return kOk;
    pgid = group.group;
    if (terminal.foreground == 0 || terminal.foreground == pgid) return kOk;
    const bool held =
        task.signal_mask().has(sig) || group.handlers->actions[static_cast<size_t>(sig)].handler ==
                                           reinterpret_cast<uint64_t>(SIG_IGN);
    if (held) {
      if (sig == SIGTTIN) return Errno(EIO);
      return kOk;  // A background writer that does not want to be stopped writes (Linux).
    }
    if (IsOrphanedLocked(kernel, pgid, nullptr)) return Errno(EIO);
  }
  (void)kernel.SendToProcessGroup(pgid, MakeKernelSignalInfo(sig));
  return kRestartSys;
}

void SignalForeground(Kernel& kernel, Terminal& terminal, int sig) {
  AfterUnlock after(kernel);
  absl::MutexLock lock(&kernel.mu());
  JobControl::SendToGroup(kernel, terminal.foreground, sig, after);
}

// tty_signal_session_leader() of Linux: only the leader hears of it now; the foreground does when
// the leader ends (old_foreground).
void HangUp(Kernel& kernel, Terminal& terminal) {
  terminal.CutOff();
  AfterUnlock after(kernel);
  absl::MutexLock lock(&kernel.mu());
  const Ref<Session> session = terminal.session;
  const Pid foreground = terminal.foreground;
  JobControl::Free(kernel, terminal, after);
  if (!session) return;
  ThreadGroup* leader = JobControl::Find(kernel, session->id);
  if (leader == nullptr || leader->zombie) return;
  leader->old_foreground = foreground;
  JobControl::Send(kernel, *leader, SIGHUP, after);
  JobControl::Send(kernel, *leader, SIGCONT, after);
}

void HangUpOwn(Task& task) {
  const Result<Ref<Terminal>> terminal = ControllingTerminal(task);
  if (terminal.ok()) HangUp(task.kernel(), **terminal);
}

}  // namespace sentry
