#include "syscalls/thread.h"

#include <sys/syscall.h>

namespace syscalls {

Result<int64_t> SetTidAddress(Task& task, Context& context, uint64_t address) {
  (void)TRY(context.HostCall({.nr = SYS_set_tid_address, .args = {address}}));
  task.clear_child_tid = address;
  return task.tid();
}

// The host thread's own: its kernel keeps the area up to date, and restarts what it interrupts
// before the stub sees the signal. Processes and threads of clone and execve inherit it as Linux
// has it.
Control Rseq(Task& task) { return Control::Continue(); }

// Concerns memory and threads of the caller's own process, which are the host's.
Control Membarrier(Task& task) { return Control::Continue(); }

}  // namespace syscalls
