// Process groups, sessions and their terminal: setsid(2), setpgid(2), tty_ioctl(4).
#ifndef SENTRY_TASK_JOB_CONTROL_H_
#define SENTRY_TASK_JOB_CONTROL_H_

#include "base/result.h"
#include "sentry/task/kernel.h"
#include "sentry/task/terminal.h"

namespace sentry {

// setsid(2): the new session's id. EPERM for a process group leader.
Result<Pid> SetSession(Task& task);
// setpgid(2): ESRCH, EACCES, EPERM, EINVAL as there. 0 stands for the caller.
Status SetProcessGroup(Task& task, Pid pid, Pid pgid);
// getpgid(2) and getsid(2): ESRCH. 0 stands for the caller.
Result<Pid> GetProcessGroup(Task& task, Pid pid);
Result<Pid> GetSession(Task& task, Pid pid);

// The controlling terminal of the task's process (/dev/tty): ENXIO without one.
Result<Ref<Terminal>> ControllingTerminal(Task& task);
bool IsControllingTerminal(Task& task, Terminal& terminal);
// What opening a terminal without O_NOCTTY does: a session leader without a terminal gets it, if it
// is nobody's and the description can read.
void ClaimOnOpen(Task& task, Terminal& terminal, OpenFlags flags);
// Which end of a terminal a call came through. Masters of pseudo-terminals see the slave's state
// although it is not their controlling terminal.
enum class TerminalEnd : uint8_t { kLine, kMaster };
// TIOCSCTTY through a description that can read or not: EPERM unless a session leader without a
// terminal asks and it is nobody's. `steal` (CAP_SYS_ADMIN) takes it from another session.
struct ClaimOptions {
  bool readable = true, steal = false;
};
Status SetControllingTerminal(Task& task, Terminal& terminal, const ClaimOptions& options);
// TIOCNOTTY: ENOTTY when it is not the controlling one. A session leader gives it up for all.
Status DropControllingTerminal(Task& task, Terminal& terminal);
// TIOCGPGRP, TIOCSPGRP, TIOCGSID: ENOTTY when it is not the controlling one.
Result<Pid> ForegroundGroup(Task& task, Terminal& terminal, TerminalEnd end);
Status SetForegroundGroup(Task& task, Terminal& terminal, Pid pgid);
Result<Pid> TerminalSession(Task& task, Terminal& terminal, TerminalEnd end);
// What a background process meets: `sig` is SIGTTIN for reading, SIGTTOU for writing and changing.
// Sent, it is kRestartSys; EIO for readers who would not have it and for orphaned groups.
Status CheckBackgroundAccess(Task& task, Terminal& terminal, int sig);

// Sends to the terminal's foreground process group, if it has one: ^C and the like. Under no lock.
void SignalForeground(Kernel& kernel, Terminal& terminal, int sig);
// The line is lost: descriptions become useless, the session leader hears SIGHUP and SIGCONT,
// nobody has the terminal any more. Under no lock.
void HangUp(Kernel& kernel, Terminal& terminal);
// The same for the caller's own terminal, if any: vhangup(2).
void HangUpOwn(Task& task);

// A process group is orphaned when no member has a parent in the same session but another group.
// `leaving` is not counted.
bool IsOrphanedLocked(Kernel& kernel, Pid pgid, const ThreadGroup* leaving);

}  // namespace sentry

#endif  // SENTRY_TASK_JOB_CONTROL_H_
