#include "platform/native/stub.h"

#include <cstring>

namespace platform::native {
namespace {

// arch/x86/include/uapi/asm/ucontext.h, which glibc's headers collide with.
constexpr uint64_t kSigcontextSs = 2;     // UC_SIGCONTEXT_SS
constexpr uint64_t kStrictRestoreSs = 4;  // UC_STRICT_RESTORE_SS

}  // namespace

prctl_mm_map BreakMap(uint64_t start, uint64_t stack_top) {
  static_assert(kBatchStruct + sizeof(prctl_mm_map) <= 0x1000);
  // The kernel wants every field in order and inside the address space; only the break matters.
  return {.start_code = 0x10000,
          .end_code = 0x20000,
          .start_data = 0x20000,
          .end_data = 0x20000,
          .start_brk = start,
          .brk = start,
          .start_stack = stack_top - 16,
          .arg_start = 0x10000,
          .arg_end = 0x10000,
          .env_start = 0x10000,
          .env_end = 0x10000,
          .auxv = nullptr,
          .auxv_size = 0,
          .exe_fd = ~__u32{0}};
}

void LoadRegisters(const MachineContext& m, Registers& r) {
  r = Registers{.r15 = m.r15,
                .r14 = m.r14,
                .r13 = m.r13,
                .r12 = m.r12,
                .rbp = m.rbp,
                .rbx = m.rbx,
                .r11 = m.r11,
                .r10 = m.r10,
                .r9 = m.r9,
                .r8 = m.r8,
                .rax = m.rax,
                .rcx = m.rcx,
                .rdx = m.rdx,
                .rsi = m.rsi,
                .rdi = m.rdi,
                .rip = m.rip,
                .eflags = m.eflags,
                .rsp = m.rsp,
                .trapno = m.trapno,
                .error_code = m.err,
                .cr2 = m.cr2};
}

void StoreRegisters(const Registers& r, MachineContext& m) {
  m.r8 = r.r8, m.r9 = r.r9, m.r10 = r.r10, m.r11 = r.r11;
  m.r12 = r.r12, m.r13 = r.r13, m.r14 = r.r14, m.r15 = r.r15;
  m.rdi = r.rdi, m.rsi = r.rsi, m.rbp = r.rbp, m.rbx = r.rbx;
  m.rdx = r.rdx, m.rax = r.rax, m.rcx = r.rcx, m.rsp = r.rsp;
  m.rip = r.rip, m.eflags = r.eflags;
}

UserContext MakeFrame(const Registers& regs, uint64_t slot) {
  UserContext frame;
  frame.flags = kSigcontextSs | kStrictRestoreSs;
  // rt_sigreturn(2) restores the alternate stack from the frame.
  frame.stack = {.base = slot + STUB_SLOT_STACK, .size = STUB_SLOT_USED - STUB_SLOT_STACK};
  StoreRegisters(regs, frame.machine);
  frame.machine.cs = 0x33;
  frame.machine.ss = 0x2b;
  return frame;
}

size_t FpStateSize(std::span<const std::byte, 512> legacy) {
  // struct _fpx_sw_bytes at offset 464: magic1, extended_size (with the trailing magic).
  constexpr uint32_t kMagic1 = 0x46505853;
  uint32_t magic, size;
  std::memcpy(&magic, legacy.data() + 464, sizeof(magic));
  std::memcpy(&size, legacy.data() + 468, sizeof(size));
  return magic == kMagic1 && size >= 512 ? size : 512;
}

}  // namespace platform::native
