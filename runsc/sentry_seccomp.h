// The host calls of a sentry that has been set up, each with its reason, and the programs made of
// them.
#ifndef RUNSC_SENTRY_SECCOMP_H_
#define RUNSC_SENTRY_SECCOMP_H_

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/result.h"
#include "base/seccomp_rule.h"
#include "platform/native/layout.h"
#include "platform/ptrace/seccomp_rules.h"
#include "runsc/config.h"

namespace runsc {

namespace sentry_rules {

inline constexpr uint64_t kInt = 0xffffffff;
// The flags of pthread_create(3), which are those of a thread and of nothing else.
inline constexpr uint64_t kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                                    CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                                    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
// The type in an ioctl's number; direction, number and size are free.
inline constexpr uint64_t kIoctlType = 0xff00;

// For every platform. In the order of frequency as far as it matters.
inline constexpr SeccompRule kCommon[] = {
    {SYS_futex, "locks, waiting, waking the gofer", 0, {}},
    // Files that the gofer opened, memfds, and what the sandbox was started with.
    {SYS_read, "files, and the front-end's commands", 0, {}},
    {SYS_write, "files, log", 0, {}},
    {SYS_pread64, "files", 0, {}},
    {SYS_pwrite64, "files", 0, {}},
    {SYS_close, "files", 0, {}},
    // glibc's fstat(3). The path must be empty, which no filter can see: there is nothing to name.
    {SYS_newfstatat, "files", 1, {{3, kInt, AT_EMPTY_PATH}}},
    {SYS_lseek, "files", 0, {}},
    {SYS_ftruncate, "files", 0, {}},
    {SYS_fallocate, "files", 0, {}},
    {SYS_fsync, "files", 0, {}},
    {SYS_memfd_create, "tmpfs, shared memory", 0, {}},
    {SYS_fcntl, "access mode of standard input", 1, {{1, kInt, F_GETFL}}},
    {SYS_fcntl, "copies of descriptors", 1, {{1, kInt, F_DUPFD_CLOEXEC}}},
    {SYS_fcntl, "memfds that keep their size", 1, {{1, kInt, F_ADD_SEALS}}},
    {SYS_fcntl, "likewise", 1, {{1, kInt, F_GET_SEALS}}},
    // Numbers of asm/ioctls.h, whose header does not get along with libc's.
    // Terminals: settings and size, but not pushing input into it (TIOCSTI, TIOCLINUX) or taking
    // it.
    {SYS_ioctl, "TCGETS, TCSETS, TCSETSW", 1, {{1, kInt - 3, 0x5400}}},
    {SYS_ioctl, "TCSETSF, TCGETA, TCSETA, TCSETAW", 1, {{1, kInt - 3, 0x5404}}},
    {SYS_ioctl, "TCSETAF, TCSBRK, TCXONC, TCFLSH", 1, {{1, kInt - 3, 0x5408}}},
    {SYS_ioctl, "TCGETS2", 1, {{1, kInt, 0x802c542a}}},
    {SYS_ioctl, "TCSETS2", 1, {{1, kInt, 0x402c542b}}},
    {SYS_ioctl, "TCSETSW2, TCSETSF2", 1, {{1, kInt - 1, 0x402c542c}}},
    {SYS_ioctl, "TCSBRKP", 1, {{1, kInt, 0x5425}}},
    {SYS_ioctl, "TIOCOUTQ", 1, {{1, kInt, 0x5411}}},
    {SYS_ioctl, "TIOCGWINSZ", 1, {{1, kInt, 0x5413}}},
    {SYS_ioctl, "TIOCSWINSZ", 1, {{1, kInt, 0x5414}}},
    {SYS_ioctl, "FIONREAD", 1, {{1, kInt, 0x541b}}},
    {SYS_ioctl, "TIOCGETD", 1, {{1, kInt, 0x5424}}},
    // The gofer, the front-end and the zygote.
    {SYS_recvmsg, "descriptors from the gofer", 0, {}},
    {SYS_recvfrom, "the front-end's commands", 0, {}},
    // On sockets that the network gofer has made.
    {SYS_sendmsg, "sockets; requests to the network gofer", 0, {}},
    {SYS_accept4, "sockets that listen", 0, {}},
    {SYS_sendto, "waking the gofer, reports; no address", 1, {{4, ~uint64_t{0}, 0}}},
    {SYS_poll, "readiness of the descriptors it was started with", 0, {}},
    {SYS_epoll_create1, "likewise", 0, {}},
    {SYS_epoll_ctl, "likewise", 0, {}},
    {SYS_epoll_wait, "likewise", 0, {}},
    // The sentry's own memory and threads.
    {SYS_mmap, "memory and files, nothing executable", 1, {{2, PROT_EXEC, 0}}},
    {SYS_munmap, "memory", 0, {}},
    {SYS_mremap, "memory", 0, {}},
    {SYS_mprotect, "memory, nothing executable", 1, {{2, PROT_EXEC, 0}}},
    {SYS_madvise, "returning memory", 0, {}},
    {SYS_brk, "memory", 0, {}},
    {SYS_clone, "threads", 1, {{0, kInt, kThread}}},
    // Its flags are in memory, where no filter sees them. libc then uses clone.
    {SYS_clone3, "refused", 0, {}, ENOSYS},
    {SYS_openat, "refused: abseil asks /sys for the clock's frequency", 0, {}, ENOENT},
    {SYS_set_robust_list, "threads", 0, {}},
    {SYS_rseq, "threads", 0, {}},
    {SYS_rt_sigprocmask, "threads", 0, {}},
    {SYS_sched_getparam, "abseil's locks order their waiters", 0, {}},
    {SYS_sched_getscheduler, "likewise", 0, {}},
    {SYS_rt_sigaction, "libc's own two signals, at the first thread", 1, {{0, kInt - 1, 32}}},
    {SYS_gettid, "locks, names of threads", 0, {}},
    {SYS_sched_yield, "spinning", 0, {}},
    {SYS_sched_getaffinity, "whether spinning pays; getcpu(3)", 0, {}},
    {SYS_exit, "threads", 0, {}},
    {SYS_exit_group, "the end", 0, {}},
    {SYS_sched_setaffinity, "CPUs of stubs' threads, as they asked; the spinner's", 0, {}},
    // Limits that the host keeps for stubs. No filter can see that it is none of the sentry's own.
    {SYS_prlimit64, "RLIMIT_DATA, RLIMIT_STACK of stubs", 1, {{1, kInt - 1, RLIMIT_DATA}}},
    {SYS_prlimit64, "RLIMIT_MEMLOCK, RLIMIT_AS of stubs", 1, {{1, kInt - 1, RLIMIT_MEMLOCK}}},
    // Time and chance.
    {SYS_clock_gettime, "clocks that the vDSO does not know", 0, {}},
    {SYS_clock_getres, "likewise", 0, {}},
    {SYS_clock_nanosleep, "waiting", 0, {}},
    {SYS_getcpu, "where the vDSO does not know", 0, {}},
    {SYS_getrandom, "getrandom(2), AT_RANDOM", 0, {}},
    {SYS_restart_syscall, "after a stop", 0, {}},
    {SYS_sysinfo, "sysinfo(2)", 0, {}},
    {SYS_prctl, "names of threads", 1, {{0, kInt, 15 /* PR_SET_NAME */}}},
};

inline constexpr SeccompRule kSystrapOnly[] = {
    {SYS_ioctl, "seccomp notifications", 1, {{1, kIoctlType, uint64_t{SECCOMP_IOC_MAGIC} << 8}}},
    {SYS_process_vm_readv, "arguments of system calls", 0, {}},
    {SYS_process_vm_writev, "their results", 0, {}},
    {SYS_poll, "notifications", 0, {}},
    {SYS_tgkill, "interrupting stubs", 1, {{2, kInt, STUB_INTERRUPT_SIGNAL}}},
    {SYS_kill, "ending stubs", 1, {{1, kInt, SIGKILL}}},
    {SYS_sched_setscheduler, "… in nobody's way", 1, {{1, kInt, SCHED_BATCH}}},
    {SYS_wait4, "reaping stubs", 0, {}},
};

// With --host-uds, on sockets that the gofer has bound or connected.
inline constexpr SeccompRule kHostSockets[] = {
    {SYS_listen, "--host-uds=create", 0, {}},
    {SYS_shutdown, "--host-uds", 0, {}},
};

// What is frequent on a platform comes first.
inline constexpr auto kSystrap = JoinRules(kSystrapOnly, kCommon);
inline constexpr auto kPtrace = JoinRules(platform::ptrace::kSentryRules, kCommon);
inline constexpr auto kSystrapWithSockets = JoinRules(kSystrap.rows, kHostSockets);
inline constexpr auto kPtraceWithSockets = JoinRules(kPtrace.rows, kHostSockets);

}  // namespace sentry_rules

// Locks this process and all its threads, for good. What is not in the table kills it.
Status InstallSentryFilter(PlatformKind platform, HostUds sockets);

}  // namespace runsc

#endif  // RUNSC_SENTRY_SECCOMP_H_
