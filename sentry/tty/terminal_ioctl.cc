#include "sentry/tty/terminal_ioctl.h"

#include <signal.h>
#include <sys/ioctl.h>

#include "sentry/task/task.h"

namespace sentry {
namespace {

Result<int64_t> SetForeground(Task& task, Terminal& terminal, uint64_t arg) {
  const Status access = CheckBackgroundAccess(task, terminal, SIGTTOU);
  if (!access.ok()) return access.error() == Errno(EIO) ? Errno(ENOTTY) : access.error();
  const Pid pgid = TRY(task.mem().Read(UserPtr<const Pid>{UserAddr{arg}}));
  TRY(SetForegroundGroup(task, terminal, pgid));
  return int64_t{0};
}

}  // namespace

Result<int64_t> JobControlIoctl(Task& task, File& file, Terminal& terminal, TerminalEnd end,
                                uint32_t command, uint64_t arg) {
  const UserPtr<Pid> out{UserAddr{arg}};
  switch (command) {
    case TIOCGPGRP:
      TRY(task.mem().Write(out, TRY(ForegroundGroup(task, terminal, end))));
      return int64_t{0};
    case TIOCSPGRP:
      return SetForeground(task, terminal, arg);
    case TIOCGSID:
      TRY(task.mem().Write(out, TRY(TerminalSession(task, terminal, end))));
      return int64_t{0};
    case TIOCSCTTY:
      TRY(SetControllingTerminal(task, terminal,
                                 {.readable = file.flags().readable(), .steal = arg == 1}));
      return int64_t{0};
    case TIOCNOTTY:
      // The master is nobody's terminal.
      if (end == TerminalEnd::kMaster) return Errno(ENOTTY);
      TRY(DropControllingTerminal(task, terminal));
      return int64_t{0};
    default:
      return Errno(ENOTTY);
  }
}

}  // namespace sentry
