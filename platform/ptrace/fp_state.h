// Between the two shapes of a thread's extended state: the register set of ptrace(2) and the one in
// signal frames. Both are an XSAVE area in standard form.
#ifndef PLATFORM_PTRACE_FP_STATE_H_
#define PLATFORM_PTRACE_FP_STATE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"

namespace platform::ptrace {

// NT_X86_XSTATE of Linux with room to spare (AMX needs 11 KiB).
inline constexpr size_t kMaxXstate = 16384;

// `xstate` as PTRACE_GETREGSET returned it. Leaves out tile data, which Linux puts into frames only
// for processes that have asked for it.
std::vector<std::byte> ToSignalFrame(std::span<const std::byte> xstate);

// What PTRACE_SETREGSET wants: as long as `current`, the state at present. Rules of
// arch/x86/kernel/fpu/signal.c: an area whose magic words or sizes are wrong counts as plain
// FXSAVE; what the frame leaves out gets its initial value. An empty frame means the initial state;
// protection keys then stay as they are. EINVAL for less than an FXSAVE area; the kernel judges the
// contents.
Result<std::vector<std::byte>> FromSignalFrame(std::span<const std::byte> frame,
                                               std::span<const std::byte> current);

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_FP_STATE_H_
