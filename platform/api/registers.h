// The general registers of a guest thread.
#ifndef PLATFORM_API_REGISTERS_H_
#define PLATFORM_API_REGISTERS_H_

#include <cstdint>

namespace platform {

// x86-64 general registers. The segment bases are not here: they stay with the host thread and
// change through Context::HostCall(SYS_arch_prctl, …) or CloneRequest::tls.
struct Registers {
  uint64_t r15 = 0, r14 = 0, r13 = 0, r12 = 0, rbp = 0, rbx = 0, r11 = 0, r10 = 0;
  uint64_t r9 = 0, r8 = 0, rax = 0, rcx = 0, rdx = 0, rsi = 0, rdi = 0;
  uint64_t rip = 0, eflags = 0x202, rsp = 0;
  uint64_t trapno = 0, error_code = 0, cr2 = 0;  // Of the last fault; read only.
};

}  // namespace platform

#endif  // PLATFORM_API_REGISTERS_H_
