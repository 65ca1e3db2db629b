// What the sentry and the stub share: the batch, and the frames of rt_sigreturn(2).
#ifndef PLATFORM_NATIVE_STUB_H_
#define PLATFORM_NATIVE_STUB_H_

#include <linux/prctl.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "platform/api/registers.h"
#include "platform/native/layout.h"

extern "C" {
extern const char sandbox_stub_begin[];
extern const char sandbox_stub_end[];
extern const char sandbox_stub_handler[];
extern const char sandbox_stub_zygote[];
extern const char sandbox_stub_wait_for_tracer[];
extern const char sandbox_stub_syscall[];
}

namespace platform::native {

// The address of a stub symbol in the copy that starts at `copy` (STUB_CODE or STUB_SETUP).
inline uint64_t StubAddress(const char* symbol, uint64_t copy) {
  return copy + static_cast<uint64_t>(symbol - sandbox_stub_begin);
}
inline bool InStub(uint64_t ip, uint64_t copy) { return ip > copy && ip <= copy + STUB_CODE_SIZE; }

struct BatchCall {
  uint64_t nr = 0;
  uint64_t args[6] = {};
  uint64_t unused = 0;
};
struct BatchHeader {
  uint64_t count = 0;
  uint64_t unused[7] = {};
};
static_assert(sizeof(BatchCall) == 64 && sizeof(BatchHeader) == 64);
// The last 128 bytes of the page carry a struct argument (prctl_mm_map).
inline constexpr size_t kBatchStruct = 0xf80;
inline constexpr size_t kMaxBatch = (kBatchStruct - sizeof(BatchHeader)) / sizeof(BatchCall);

inline constexpr size_t kMaxSlots = (STUB_REGION_END - STUB_SLOTS) / STUB_SLOT_SIZE;
constexpr uint64_t SlotAddress(size_t index) {
  return STUB_SLOTS + index * uint64_t{STUB_SLOT_SIZE};
}

// struct ucontext of arch/x86/include/uapi/asm/{ucontext,sigcontext}.h, up to the signal mask.
struct SignalStackRecord {
  uint64_t base = 0;
  uint64_t flags = 0;
  uint64_t size = 0;
};
struct MachineContext {
  uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  uint64_t rdi = 0, rsi = 0, rbp = 0, rbx = 0, rdx = 0, rax = 0, rcx = 0, rsp = 0, rip = 0;
  uint64_t eflags = 0;
  uint16_t cs = 0, gs = 0, fs = 0, ss = 0;
  uint64_t err = 0, trapno = 0, oldmask = 0, cr2 = 0, fpstate = 0;
  uint64_t reserved[8] = {};
};
struct UserContext {
  uint64_t flags = 0;
  uint64_t link = 0;
  SignalStackRecord stack;
  MachineContext machine;
  uint64_t mask = 0;
};
static_assert(sizeof(MachineContext) == 256 && sizeof(UserContext) == 304);

// The argument of prctl(PR_SET_MM_MAP) that places the break at `start`.
prctl_mm_map BreakMap(uint64_t start, uint64_t stack_top);

void LoadRegisters(const MachineContext& machine, Registers& regs);
void StoreRegisters(const Registers& regs, MachineContext& machine);
// A frame for a thread that was not interrupted by a signal; without extended state.
UserContext MakeFrame(const Registers& regs, uint64_t slot);

// Where a synthetic frame's extended state goes, and how much fits.
inline constexpr size_t kFrameFpState = STUB_SLOT_FRAME + 0x400;
inline constexpr size_t kMaxFpState = STUB_SLOT_STACK - kFrameFpState;

// The size of the extended state in a signal frame whose first 512 bytes are given: with the magic
// behind it, or 512 for a frame without the software-reserved bytes.
size_t FpStateSize(std::span<const std::byte, 512> legacy);

}  // namespace platform::native

#endif  // PLATFORM_NATIVE_STUB_H_
