#include "sentry/task/job_control.h"

#include <algorithm>

namespace sentry {
namespace {

bool SameTerminal(File& a, File& b) {
  if (&a == &b || &a.inode() == &b.inode()) return true;
  if (!a.is_terminal() || !b.is_terminal()) return false;
  const Result<Attributes> left = a.inode().GetAttributes();
  const Result<Attributes> right = b.inode().GetAttributes();
  return left.ok() && right.ok() && left->rdev != 0 && left->rdev == right->rdev;
}

}  // namespace

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
  static bool IsOrphaned(Kernel& kernel, Pid pgid, const ThreadGroup* leaving)
      ABSL_NO_THREAD_SAFETY_ANALYSIS {
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
  absl::MutexLock lock(&kernel.mu());
  if (group.group == group.id || JobControl::Member(kernel, group.id, nullptr) != nullptr) {
    return Errno(EPERM);
  }
  Ref<Session> session = MakeRef<Session>();
  session->id = group.id;
  old = std::exchange(group.session, std::move(session));
  group.group = group.id;
  return group.id;
}

Status SetProcessGroup(Task& task, Pid pid, Pid pgid) {
  if (pgid < 0) return Errno(EINVAL);
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

Result<Ref<File>> ControllingTerminal(Task& task) {
  absl::MutexLock lock(&task.kernel().mu());
  Ref<File> terminal = task.group().session->terminal;
  if (!terminal) return Errno(ENXIO);
  return terminal;
}

bool IsControllingTerminal(Task& task, File& terminal) {
  // Compared with no lock held: attributes may have to be asked for.
  const Result<Ref<File>> own = ControllingTerminal(task);
  return own.ok() && SameTerminal(**own, terminal);
}

Status SetControllingTerminal(Task& task, Ref<File> terminal) {
  if (IsControllingTerminal(task, *terminal)) return kOk;
  Kernel& kernel = task.kernel();
  // One that belongs to another session can only be stolen, which is not supported.
  std::vector<Ref<File>> others;
  for (const Ref<ThreadGroup>& group : kernel.AllGroups()) {
    absl::MutexLock lock(&kernel.mu());
    if (group->session && group->session->terminal) others.push_back(group->session->terminal);
  }
  for (const Ref<File>& other : others) {
    if (SameTerminal(*other, *terminal)) return Errno(EPERM);
  }
  absl::MutexLock lock(&kernel.mu());
  ThreadGroup& group = task.group();
  Session& session = *group.session;
  if (session.id != group.id || session.terminal) return Errno(EPERM);
  session.terminal = std::move(terminal);
  session.foreground_group = group.group;
  return kOk;
}

Status DropControllingTerminal(Task& task, File& terminal) {
  if (!IsControllingTerminal(task, terminal)) return Errno(ENOTTY);
  Kernel& kernel = task.kernel();
  Ref<File> dropped;
  Pid foreground = 0;
  {
    absl::MutexLock lock(&kernel.mu());
    Session& session = *task.group().session;
    if (session.id != task.group().id) return kOk;
    dropped = std::move(session.terminal);
    foreground = std::exchange(session.foreground_group, 0);
  }
  if (foreground != 0) {
    (void)kernel.SendToProcessGroup(foreground, MakeKernelSignalInfo(SIGHUP));
    (void)kernel.SendToProcessGroup(foreground, MakeKernelSignalInfo(SIGCONT));
  }
  return kOk;
}

Result<Pid> ForegroundGroup(Task& task, File& terminal) {
  if (!IsControllingTerminal(task, terminal)) return Errno(ENOTTY);
  absl::MutexLock lock(&task.kernel().mu());
  return task.group().session->foreground_group;
}

Status SetForegroundGroup(Task& task, File& terminal, Pid pgid) {
  if (!IsControllingTerminal(task, terminal)) return Errno(ENOTTY);
  TRY(CheckBackgroundAccess(task, terminal, File::TerminalAccess::kChange, /*tostop=*/true));
  if (pgid < 0) return Errno(EINVAL);
  Kernel& kernel = task.kernel();
  absl::MutexLock lock(&kernel.mu());
  const Ref<Session>& session = task.group().session;
  const ThreadGroup* member = JobControl::Member(kernel, pgid, nullptr);
  if (member == nullptr) return Errno(ESRCH);
  if (member->session != session) return Errno(EPERM);
  session->foreground_group = pgid;
  return kOk;
}

Result<Pid> TerminalSession(Task& task, File& terminal) {
  if (!IsControllingTerminal(task, terminal)) return Errno(ENOTTY);
  absl::MutexLock lock(&task.kernel().mu());
  return task.group().session->id;
}

Status CheckBackgroundAccess(Task& task, File& terminal, File::TerminalAccess access,
                             bool tostop) {
  if (access == File::TerminalAccess::kWrite && !tostop) return kOk;
  if (!IsControllingTerminal(task, terminal)) return kOk;
  Kernel& kernel = task.kernel();
  const int sig = access == File::TerminalAccess::kRead ? SIGTTIN : SIGTTOU;
  Pid pgid = 0;
  {
    absl::MutexLock lock(&kernel.mu());
    const ThreadGroup& group = task.group();
    pgid = group.group;
    const Pid foreground = group.session->foreground_group;
    if (foreground == 0 || foreground == pgid) return kOk;
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

}  // namespace sentry
