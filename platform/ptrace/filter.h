// The seccomp filter of every stub of the ptrace platform, the zygote included.
#ifndef PLATFORM_PTRACE_FILTER_H_
#define PLATFORM_PTRACE_FILTER_H_

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "platform/native/layout.h"

namespace platform::ptrace {

// Every call stops in the tracer, and fails with ENOSYS where there is none. The exceptions are
// what the zygote does, and what fills a fresh stub, from the set-up copy, which is gone before the
// application starts; and waiting for a tracer. Calls of other architectures do not exist.
inline constexpr sock_filter kStubFilter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    // Which page of the stub?
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, instruction_pointer) + 4),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, STUB_REGION_START >> 32, 0, 8),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, instruction_pointer)),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffffffff & ~(STUB_CODE_SIZE - 1)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, STUB_CODE & 0xffffffff, 1, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, STUB_SETUP & 0xffffffff, 2, 4),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pause, 3, 2),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, STUB_NOTIFY_CALL, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_FILTER_H_
