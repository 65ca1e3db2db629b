#include "syscalls/thread.h"

#include <sys/syscall.h>

namespace syscalls {

Control SetTidAddress(Task& task, uint64_t address) {
  task.clear_child_tid = address;
  task.clear_child_tid_due = true;
  if (!task.mm().ever_shared()) return Control::Return(task.tid());
  task.deferred_call = [](Task& self, Context& context) {
    const Status told = self.TellClearChildTid(context);
    return told.ok() ? Control::Return(self.tid()).verdict : Control::Fail(told.error()).verdict;
  };
  return Control::Fail(sentry::kRestartNoIntr);
}

// The host thread's own: its kernel keeps the area up to date, and restarts what it interrupts
// before the stub sees the signal. Processes and threads of clone and execve inherit it as Linux
// has it.
Control Rseq(Task& task) { return Control::Continue(); }

// Concerns memory and threads of the caller's own process, which are the host's.
Control Membarrier(Task& task) { return Control::Continue(); }

}  // namespace syscalls
