// The frame on the application's stack around a signal handler: struct rt_sigframe of x86-64
// (arch/x86/kernel/signal_64.c).
#ifndef SENTRY_TASK_SIGNAL_FRAME_H_
#define SENTRY_TASK_SIGNAL_FRAME_H_

#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/mm/user_memory.h"
#include "sentry/task/signal.h"

namespace sentry {

// Whether `sp` lies on the alternate stack (never for SS_AUTODISARM, as in Linux).
bool OnSignalStack(const SignalStack& stack, uint64_t sp);

// Writes the frame and turns context.regs into those of the handler's entry. `mask` is what the
// handler's return brings back; `stack` is the alternate stack, disarmed when it says so. EFAULT
// when the stack has no room or the action no restorer: nothing of `context` has changed then.
Status PushSignalFrame(UserMemory& mem, platform::Context& context, const SignalInfo& info,
                       const SignalAction& action, SignalSet mask, SignalStack& stack);

// rt_sigreturn(2): the reverse of the frame that context.regs.rsp stands 8 bytes behind. EFAULT or
// EINVAL for a frame that cannot be.
struct RestoredState {
  SignalSet mask;
  SignalStack stack;
};
Result<RestoredState> PopSignalFrame(UserMemory& mem, platform::Context& context);

}  // namespace sentry

#endif  // SENTRY_TASK_SIGNAL_FRAME_H_
