// Process groups, sessions and their terminal: setsid(2), setpgid(2), tty_ioctl(4).
#ifndef SENTRY_TASK_JOB_CONTROL_H_
#define SENTRY_TASK_JOB_CONTROL_H_

#include "base/result.h"
#include "sentry/task/kernel.h"

namespace sentry {

// setsid(2): the new session's id. EPERM for a process group leader.
Result<Pid> SetSession(Task& task);
// setpgid(2): ESRCH, EACCES, EPERM, EINVAL as there. 0 stands for the caller.
Status SetProcessGroup(Task& task, Pid pid, Pid pgid);
// getpgid(2) and getsid(2): ESRCH. 0 stands for the caller.
Result<Pid> GetProcessGroup(Task& task, Pid pid);
Result<Pid> GetSession(Task& task, Pid pid);

// Whether `terminal` is the controlling terminal of the task's session: the same file or inode, or
// a terminal with the same device number.
bool IsControllingTerminal(Task& task, File& terminal);
// The controlling terminal of the task's session (/dev/tty): ENXIO without one.
Result<Ref<File>> ControllingTerminal(Task& task);
// TIOCSCTTY: EPERM unless a session leader without a terminal asks, or when it is another's.
Status SetControllingTerminal(Task& task, Ref<File> terminal);
// TIOCNOTTY: ENOTTY when it is not the controlling one.
Status DropControllingTerminal(Task& task, File& terminal);
// TIOCGPGRP, TIOCSPGRP, TIOCGSID: ENOTTY when it is not the controlling one.
Result<Pid> ForegroundGroup(Task& task, File& terminal);
Status SetForegroundGroup(Task& task, File& terminal, Pid pgid);
Result<Pid> TerminalSession(Task& task, File& terminal);
// What a background process meets: File::CheckTerminalAccess for a terminal with or without TOSTOP.
Status CheckBackgroundAccess(Task& task, File& terminal, File::TerminalAccess access, bool tostop);

// A process group is orphaned when no member has a parent in the same session but another group.
// `leaving` is not counted.
bool IsOrphanedLocked(Kernel& kernel, Pid pgid, const ThreadGroup* leaving);

}  // namespace sentry

#endif  // SENTRY_TASK_JOB_CONTROL_H_
