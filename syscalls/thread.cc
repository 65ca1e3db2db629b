#include "syscalls/thread.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>

#include <bit>

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

// As a rule the host does it unasked. The host thread's own: its kernel keeps the area up to date,
// and restarts what it interrupts before the stub sees the signal. Processes and threads of clone
// and execve inherit it as Linux has it.
Control Rseq(Task& task) { return Control::Continue(); }

// Concerns memory and threads of the caller's own process, which are the host's. Only what has been
// registered is known here: patching calls registers the process on the host, too.
Control Membarrier(Task& task, int command, unsigned flags) {
  constexpr int kGetRegistrations = 1 << 9;
  constexpr int kRegisters = MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
                             MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
                             MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE |
                             MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ;
  std::atomic<int>& registered = task.mm().membarriers;
  if (flags == 0 && command == kGetRegistrations) return Control::Return(registered);
  if (flags == 0 && (command & kRegisters) == command && std::popcount(unsigned(command)) == 1) {
    registered |= command;
  }
  if (flags == 0 && command == MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE &&
      (registered & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE) == 0) {
    return Control::Fail(Errno(EPERM));
  }
  return Control::Continue();
}

}  // namespace syscalls
