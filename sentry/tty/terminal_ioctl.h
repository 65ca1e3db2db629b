// The part of ioctl_tty(2) that is the same for every kind of terminal.
#ifndef SENTRY_TTY_TERMINAL_IOCTL_H_
#define SENTRY_TTY_TERMINAL_IOCTL_H_

#include <cstdint>

#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/task/job_control.h"
#include "sentry/task/terminal.h"

namespace sentry {

// TIOCSCTTY, TIOCNOTTY, TIOCGPGRP, TIOCSPGRP, TIOCGSID. ENOTTY for every other command.
Result<int64_t> JobControlIoctl(Task& task, File& file, Terminal& terminal, TerminalEnd end,
                                uint32_t command, uint64_t arg);

}  // namespace sentry

#endif  // SENTRY_TTY_TERMINAL_IOCTL_H_
