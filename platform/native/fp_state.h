// Between the two shapes of a thread's extended state: the register set of ptrace(2) and the one in
// signal frames. Both are an XSAVE area in standard form; in the first, eight of the bytes that
// XSAVE leaves alone hold the mask of enabled features.
#ifndef PLATFORM_NATIVE_FP_STATE_H_
#define PLATFORM_NATIVE_FP_STATE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace platform::native {

// NT_X86_XSTATE of Linux with room to spare (AMX needs 11 KiB).
inline constexpr size_t kMaxXstate = 16384;

// Where the mask of enabled features is in the register set.
inline constexpr size_t kXstateFeatures = 464;

// What this machine has enabled (XGETBV), without tile data.
uint64_t EnabledFeatures();
// The size of an XSAVE area in standard form that holds `features`.
size_t XstateSize(uint64_t features);

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

}  // namespace platform::native

#endif  // PLATFORM_NATIVE_FP_STATE_H_
