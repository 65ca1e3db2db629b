// What the sentry needs of the host for the ptrace platform, beyond what every platform needs
// (threads, futex, memory of its own, the zygote's socket, clocks). The frequent ones first.
#ifndef PLATFORM_PTRACE_SECCOMP_RULES_H_
#define PLATFORM_PTRACE_SECCOMP_RULES_H_

#include <elf.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/seccomp_rule.h"
#include "platform/native/layout.h"

namespace platform::ptrace {

// PTRACE_GET_RSEQ_CONFIGURATION, Linux 5.13.
inline constexpr uint64_t kGetRseqConfiguration = 0x420f;
inline constexpr uint64_t kInt = 0xffffffff;  // The host looks at 32 bits.

inline constexpr SeccompRule kSentryRules[] = {
    {SYS_waitid,
     "the next stop of a stub",
     2,
     {{0, kInt, 1 /* P_PID */}, {3, kInt, WEXITED | WSTOPPED | WNOWAIT | __WALL}}},
    {SYS_waitid,
     "whether a stub has stopped again",
     2,
     {{0, kInt, 1 /* P_PID */}, {3, kInt, WEXITED | WSTOPPED | WNOWAIT | WNOHANG | __WALL}}},
    {SYS_ptrace, "a stub's registers", 1, {{0, ~uint64_t{0}, PTRACE_GETREGS}}},
    {SYS_ptrace, "a stub's registers", 1, {{0, ~uint64_t{0}, PTRACE_SETREGS}}},
    {SYS_ptrace, "lets a stub run", 1, {{0, ~uint64_t{0}, PTRACE_CONT}}},
    {SYS_ptrace, "lets a stub finish a call", 1, {{0, ~uint64_t{0}, PTRACE_SYSCALL}}},
    {SYS_ptrace, "has a fault described", 1, {{0, ~uint64_t{0}, PTRACE_SINGLESTEP}}},
    {SYS_ptrace,
     "a stub's vector registers",
     2,
     {{0, ~uint64_t{0}, PTRACE_GETREGSET}, {2, ~uint64_t{0}, NT_X86_XSTATE}}},
    {SYS_ptrace,
     "a stub's vector registers",
     2,
     {{0, ~uint64_t{0}, PTRACE_SETREGSET}, {2, ~uint64_t{0}, NT_X86_XSTATE}}},
    {SYS_ptrace, "what kind of fault it was", 1, {{0, ~uint64_t{0}, PTRACE_GETSIGINFO}}},
    {SYS_ptrace, "where a restartable sequence is", 1, {{0, ~uint64_t{0}, kGetRseqConfiguration}}},
    {SYS_ptrace, "takes a stub on", 1, {{0, ~uint64_t{0}, PTRACE_SEIZE}}},
    {SYS_ptrace, "stops a new stub", 1, {{0, ~uint64_t{0}, PTRACE_INTERRUPT}}},
    {SYS_ptrace, "a new stub blocks no signals", 1, {{0, ~uint64_t{0}, PTRACE_SETSIGMASK}}},
    {SYS_ptrace, "hands the first stub to its tracer", 1, {{0, ~uint64_t{0}, PTRACE_DETACH}}},
    {SYS_tgkill, "interrupts a stub", 1, {{2, kInt, STUB_INTERRUPT_SIGNAL}}},
    {SYS_kill, "ends a stub", 1, {{1, kInt, SIGKILL}}},
    {SYS_wait4, "collects a dead stub", 1, {{2, kInt, __WALL | WNOHANG}}},
    {SYS_process_vm_readv, "application memory", 0, {}},
    {SYS_process_vm_writev, "application memory", 0, {}},
    {SYS_sendmsg, "a descriptor to a stub", 1, {{2, kInt, MSG_DONTWAIT | MSG_NOSIGNAL}}},
};

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_SECCOMP_RULES_H_
