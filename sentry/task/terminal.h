// What job control knows of a terminal, whatever its bytes come from.
#ifndef SENTRY_TASK_TERMINAL_H_
#define SENTRY_TASK_TERMINAL_H_

#include <cstdint>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/types.h"

namespace sentry {

class File;
class Inode;
struct Session;

// The session and the foreground process group of a terminal (tty_struct.ctrl of Linux). Subclassed
// by each kind: the slave of a pseudo-terminal, the terminal that the sandbox was started on.
// Processes that have it as their controlling terminal hold a reference (ThreadGroup::terminal);
// the rules are in job_control.cc.
class Terminal : public RefCounted {
 public:
  // st_rdev of its node: tty_nr of proc_pid_stat(5).
  virtual uint64_t device() const = 0;
  // A new description of it, opened through `node`: its own or /dev/tty. `flags` may have O_NOCTTY.
  virtual Result<Ref<File>> Open(Ref<Inode> node, OpenFlags flags) = 0;
  // Makes every open description useless, as when the line is lost: vhangup(2). The processes are
  // the caller's business (HangUp in job_control.h, which calls this). No lock is held.
  virtual void CutOff() {}

  // Guarded by Kernel::mu().
  Ref<Session> session;    // Whose controlling terminal it is. Its leader's end clears it.
  int32_t foreground = 0;  // tcgetpgrp(3); 0 without one.
};

}  // namespace sentry

#endif  // SENTRY_TASK_TERMINAL_H_
