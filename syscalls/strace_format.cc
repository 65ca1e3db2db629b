#include "syscalls/strace_format.h"

#include <sys/syscall.h>

#include "syscalls/abi.h"

namespace syscalls {
namespace {

using enum TraceArg;

struct Row {
  uint16_t nr;
  TraceFormat format;
};

#define ROW(name, ...)        \
  Row {                       \
    SYS_##name, {             \
      .args = { __VA_ARGS__ } \
    }                         \
  }
#define ADDRESS_ROW(name, ...)                             \
  Row {                                                    \
    SYS_##name, { .args = {__VA_ARGS__}, .address = true } \
  }
#define NUMBER_ROW(nr, ...)   \
  Row {                       \
    nr, {                     \
      .args = { __VA_ARGS__ } \
    }                         \
  }

// Calls without a row are shown with three arguments in hexadecimal.
constexpr Row kRows[] = {
    ROW(read, kFd, kOutBuffer, kUnsigned),
    ROW(write, kFd, kBuffer, kUnsigned),
    ROW(open, kPath, kOpenFlags, kMode),
    ROW(close, kFd),
    ROW(stat, kPath, kOutStat),
    ROW(fstat, kFd, kOutStat),
    ROW(lstat, kPath, kOutStat),
    ROW(poll, kPollFds, kUnsigned, kInt),
    ROW(lseek, kFd, kLong, kWhence),
    ADDRESS_ROW(mmap, kHex, kUnsigned, kProt, kMapFlags, kFd, kHex),
    ROW(mprotect, kHex, kUnsigned, kProt),
    ROW(munmap, kHex, kUnsigned),
    ADDRESS_ROW(brk, kHex),
    ROW(rt_sigaction, kSignal, kSigaction, kOutSigaction, kUnsigned),
    ROW(rt_sigprocmask, kSigHow, kSigset, kOutSigset, kUnsigned),
    ROW(rt_sigreturn),
    ROW(ioctl, kFd, kIoctl, kHex),
    ROW(pread64, kFd, kOutBuffer, kUnsigned, kLong),
    ROW(pwrite64, kFd, kBuffer, kUnsigned, kLong),
    ROW(readv, kFd, kOutIovec, kUnsigned),
    ROW(writev, kFd, kIovec, kUnsigned),
    ROW(access, kPath, kAccess),
    ROW(pipe, kOutIntPair),
    ROW(select, kInt, kHex, kHex, kHex, kTimeval),
    ROW(sched_yield),
    ADDRESS_ROW(mremap, kHex, kUnsigned, kUnsigned, kMremapFlags, kHex),
    ROW(msync, kHex, kUnsigned, kHex),
    ROW(mincore, kHex, kUnsigned, kHex),
    ROW(madvise, kHex, kUnsigned, kMadvice),
    ROW(dup, kFd),
    ROW(dup2, kFd, kFd),
    ROW(pause),
    ROW(nanosleep, kTimespec, kHex),
    ROW(getitimer, kItimer, kOutItimerval),
    ROW(alarm, kInt),
    ROW(setitimer, kItimer, kItimerval, kOutItimerval),
    ROW(getpid),
    ROW(sendfile, kFd, kFd, kOutOffset, kUnsigned),
    ROW(socket, kInt, kInt, kInt),
    ROW(clone, kCloneFlags, kHex, kHex, kHex, kHex),
    ROW(fork),
    ROW(vfork),
    ROW(execve, kPath, kStrings, kEnvironment),
    ROW(exit, kInt),
    ROW(wait4, kInt, kOutWaitStatus, kWaitOptions, kHex),
    ROW(kill, kInt, kSignal),
    ROW(uname, kOutUname),
    ROW(fcntl, kFd, kFcntl, kFcntlArg),
    ROW(flock, kFd, kFlock),
    ROW(fsync, kFd),
    ROW(fdatasync, kFd),
    ROW(truncate, kPath, kLong),
    ROW(ftruncate, kFd, kLong),
    ROW(getdents, kFd, kHex, kUnsigned),
    ROW(getcwd, kOutString, kUnsigned),
    ROW(chdir, kPath),
    ROW(fchdir, kFd),
    ROW(rename, kPath, kPath),
    ROW(mkdir, kPath, kMode),
    ROW(rmdir, kPath),
    ROW(creat, kPath, kMode),
    ROW(link, kPath, kPath),
    ROW(unlink, kPath),
    ROW(symlink, kPath, kPath),
    ROW(readlink, kPath, kOutBuffer, kUnsigned),
    ROW(chmod, kPath, kMode),
    ROW(fchmod, kFd, kMode),
    ROW(chown, kPath, kInt, kInt),
    ROW(fchown, kFd, kInt, kInt),
    ROW(lchown, kPath, kInt, kInt),
    ROW(umask, kMode),
    ROW(gettimeofday, kOutTimeval, kHex),
    ROW(getrlimit, kResource, kOutRlimit),
    ROW(getrusage, kRusageWho, kHex),
    ROW(sysinfo, kHex),
    ROW(times, kHex),
    ROW(ptrace, kInt, kInt, kHex, kHex),
    ROW(getuid),
    ROW(syslog, kInt, kHex, kInt),
    ROW(getgid),
    ROW(setuid, kInt),
    ROW(setgid, kInt),
    ROW(geteuid),
    ROW(getegid),
    ROW(setpgid, kInt, kInt),
    ROW(getppid),
    ROW(getpgrp),
    ROW(setsid),
    ROW(setreuid, kInt, kInt),
    ROW(setregid, kInt, kInt),
    ROW(getgroups, kInt, kHex),
    ROW(setgroups, kInt, kHex),
    ROW(setresuid, kInt, kInt, kInt),
    ROW(getresuid, kOutInt, kOutInt, kOutInt),
    ROW(setresgid, kInt, kInt, kInt),
    ROW(getresgid, kOutInt, kOutInt, kOutInt),
    ROW(getpgid, kInt),
    ROW(setfsuid, kInt),
    ROW(setfsgid, kInt),
    ROW(getsid, kInt),
    ROW(capget, kHex, kHex),
    ROW(capset, kHex, kHex),
    ROW(rt_sigpending, kOutSigset, kUnsigned),
    ROW(rt_sigtimedwait, kSigset, kHex, kTimespec, kUnsigned),
    ROW(rt_sigqueueinfo, kInt, kSignal, kHex),
    ROW(rt_sigsuspend, kSigset, kUnsigned),
    ROW(sigaltstack, kHex, kHex),
    ROW(utime, kPath, kHex),
    ROW(mknod, kPath, kMode, kHex),
    ROW(personality, kHex),
    ROW(statfs, kPath, kHex),
    ROW(fstatfs, kFd, kHex),
    ROW(getpriority, kInt, kInt),
    ROW(setpriority, kInt, kInt, kInt),
    ROW(sched_getparam, kInt, kOutInt),
    ROW(sched_setscheduler, kInt, kInt, kHex),
    ROW(sched_getscheduler, kInt),
    ROW(mlock, kHex, kUnsigned),
    ROW(munlock, kHex, kUnsigned),
    ROW(prctl, kPrctl, kHex, kHex, kHex, kHex),
    ROW(arch_prctl, kArchPrctl, kHex),
    ROW(setrlimit, kResource, kRlimit),
    ROW(chroot, kPath),
    ROW(sync),
    ROW(mount, kPath, kPath, kPath, kMountFlags, kHex),
    ROW(umount2, kPath, kHex),
    ROW(sethostname, kBuffer, kInt),
    ROW(gettid),
    ROW(readahead, kFd, kLong, kUnsigned),
    ROW(setxattr, kPath, kPath, kBuffer, kUnsigned, kHex),
    ROW(lsetxattr, kPath, kPath, kBuffer, kUnsigned, kHex),
    ROW(fsetxattr, kFd, kPath, kBuffer, kUnsigned, kHex),
    ROW(getxattr, kPath, kPath, kOutBuffer, kUnsigned),
    ROW(lgetxattr, kPath, kPath, kOutBuffer, kUnsigned),
    ROW(fgetxattr, kFd, kPath, kOutBuffer, kUnsigned),
    ROW(listxattr, kPath, kHex, kUnsigned),
    ROW(llistxattr, kPath, kHex, kUnsigned),
    ROW(flistxattr, kFd, kHex, kUnsigned),
    ROW(removexattr, kPath, kPath),
    ROW(lremovexattr, kPath, kPath),
    ROW(fremovexattr, kFd, kPath),
    ROW(tkill, kInt, kSignal),
    ROW(time, kHex),
    ROW(futex, kHex, kFutex, kInt, kHex, kHex, kHex),
    ROW(sched_setaffinity, kInt, kUnsigned, kHex),
    ROW(sched_getaffinity, kInt, kUnsigned, kHex),
    ROW(epoll_create, kInt),
    ROW(getdents64, kFd, kHex, kUnsigned),
    ROW(set_tid_address, kHex),
    ROW(restart_syscall),
    ROW(fadvise64, kFd, kLong, kLong, kInt),
    ROW(timer_create, kClock, kHex, kOutInt),
    ROW(timer_settime, kInt, kInt, kItimerspec, kOutItimerspec),
    ROW(timer_gettime, kInt, kOutItimerspec),
    ROW(timer_getoverrun, kInt),
    ROW(timer_delete, kInt),
    ROW(clock_gettime, kClock, kOutTimespec),
    ROW(clock_getres, kClock, kOutTimespec),
    ROW(clock_nanosleep, kClock, kInt, kTimespec, kHex),
    ROW(exit_group, kInt),
    ROW(epoll_wait, kFd, kOutEpollEvents, kInt, kInt),
    ROW(epoll_ctl, kFd, kEpollOp, kFd, kEpollEvent),
    ROW(tgkill, kInt, kInt, kSignal),
    ROW(utimes, kPath, kHex),
    ROW(waitid, kInt, kInt, kHex, kWaitOptions, kHex),
    ROW(openat, kDirFd, kPath, kOpenFlags, kMode),
    ROW(mkdirat, kDirFd, kPath, kMode),
    ROW(mknodat, kDirFd, kPath, kMode, kHex),
    ROW(fchownat, kDirFd, kPath, kInt, kInt, kAtFlags),
    ROW(futimesat, kDirFd, kPath, kHex),
    ROW(newfstatat, kDirFd, kPath, kOutStat, kAtFlags),
    ROW(unlinkat, kDirFd, kPath, kAtFlags),
    ROW(renameat, kDirFd, kPath, kDirFd, kPath),
    ROW(linkat, kDirFd, kPath, kDirFd, kPath, kAtFlags),
    ROW(symlinkat, kPath, kDirFd, kPath),
    ROW(readlinkat, kDirFd, kPath, kOutBuffer, kUnsigned),
    ROW(fchmodat, kDirFd, kPath, kMode),
    ROW(faccessat, kDirFd, kPath, kAccess),
    ROW(pselect6, kInt, kHex, kHex, kHex, kTimespec, kHex),
    ROW(ppoll, kPollFds, kUnsigned, kTimespec, kSigset, kUnsigned),
    ROW(unshare, kCloneFlags),
    ROW(set_robust_list, kHex, kUnsigned),
    ROW(get_robust_list, kInt, kHex, kHex),
    ROW(splice, kFd, kOutOffset, kFd, kOutOffset, kUnsigned, kHex),
    ROW(tee, kFd, kFd, kUnsigned, kHex),
    ROW(sync_file_range, kFd, kLong, kLong, kHex),
    ROW(utimensat, kDirFd, kPath, kHex, kAtFlags),
    ROW(epoll_pwait, kFd, kOutEpollEvents, kInt, kInt, kSigset, kUnsigned),
    ROW(signalfd, kFd, kSigset, kUnsigned),
    ROW(timerfd_create, kClock, kOpenFlags),
    ROW(eventfd, kInt),
    ROW(fallocate, kFd, kInt, kLong, kLong),
    ROW(timerfd_settime, kFd, kInt, kItimerspec, kOutItimerspec),
    ROW(timerfd_gettime, kFd, kOutItimerspec),
    ROW(signalfd4, kFd, kSigset, kUnsigned, kOpenFlags),
    ROW(eventfd2, kInt, kOpenFlags),
    ROW(epoll_create1, kOpenFlags),
    ROW(dup3, kFd, kFd, kOpenFlags),
    ROW(pipe2, kOutIntPair, kOpenFlags),
    ROW(preadv, kFd, kOutIovec, kUnsigned, kLong),
    ROW(pwritev, kFd, kIovec, kUnsigned, kLong),
    ROW(prlimit64, kInt, kResource, kRlimit, kOutRlimit),
    ROW(syncfs, kFd),
    ROW(getcpu, kOutInt, kOutInt),
    ROW(renameat2, kDirFd, kPath, kDirFd, kPath, kRenameFlags),
    ROW(seccomp, kInt, kHex, kHex),
    ROW(process_vm_readv, kInt, kHex, kUnsigned, kHex, kUnsigned, kHex),
    ROW(process_vm_writev, kInt, kHex, kUnsigned, kHex, kUnsigned, kHex),
    ROW(remap_file_pages, kHex, kUnsigned, kProt, kUnsigned, kMapFlags),
    ROW(mbind, kHex, kUnsigned, kHex, kHex, kUnsigned, kHex),
    ROW(set_mempolicy, kHex, kHex, kUnsigned),
    ROW(get_mempolicy, kOutInt, kHex, kUnsigned, kHex, kHex),
    ROW(migrate_pages, kInt, kUnsigned, kHex, kHex),
    ROW(move_pages, kInt, kUnsigned, kHex, kHex, kHex, kHex),
    ROW(pkey_mprotect, kHex, kUnsigned, kProt, kInt),
    ROW(pkey_alloc, kHex, kHex),
    ROW(pkey_free, kInt),
    ROW(getrandom, kHex, kUnsigned, kRandomFlags),
    ROW(memfd_create, kPath, kMemfdFlags),
    ROW(execveat, kDirFd, kPath, kStrings, kEnvironment, kAtFlags),
    ROW(membarrier, kInt, kHex, kInt),
    ROW(mlock2, kHex, kUnsigned, kHex),
    ROW(copy_file_range, kFd, kOutOffset, kFd, kOutOffset, kUnsigned, kHex),
    ROW(preadv2, kFd, kOutIovec, kUnsigned, kLong, kNone),
    ROW(pwritev2, kFd, kIovec, kUnsigned, kLong, kNone),
    ROW(statx, kDirFd, kPath, kAtFlags, kHex, kOutStatx),
    ROW(rseq, kHex, kUnsigned, kHex, kHex),
    ROW(pidfd_send_signal, kFd, kSignal, kHex, kHex),
    ROW(pidfd_open, kInt, kHex),
    ROW(clone3, kHex, kUnsigned),
    ROW(close_range, kUnsigned, kUnsigned, kHex),
    ROW(openat2, kDirFd, kPath, kOpenHow, kUnsigned),
    ROW(faccessat2, kDirFd, kPath, kAccess, kAtFlags),
    ROW(epoll_pwait2, kFd, kOutEpollEvents, kInt, kTimespec, kSigset, kUnsigned),
    NUMBER_ROW(440, kFd, kHex, kUnsigned, kMadvice, kHex),  // process_madvise
    NUMBER_ROW(448, kFd, kHex),                             // process_mrelease
    NUMBER_ROW(450, kHex, kUnsigned, kUnsigned, kHex),      // set_mempolicy_home_node
    NUMBER_ROW(462, kHex, kUnsigned, kHex),                 // mseal
    NUMBER_ROW(452, kDirFd, kPath, kMode, kAtFlags),        // fchmodat2
};

#undef ROW
#undef ADDRESS_ROW
#undef NUMBER_ROW

using Table = std::array<TraceFormat, abi::kRowCount>;

constexpr Table Index() {
  Table table{};
  for (TraceFormat& format : table) format.args = {kHex, kHex, kHex};
  for (const Row& row : kRows) table[row.nr] = row.format;
  return table;
}
constexpr Table kIndex = Index();

}  // namespace

TraceFormat FindTraceFormat(uint64_t nr) {
  if (nr < kIndex.size()) return kIndex[nr];
  return {.args = {kHex, kHex, kHex, kHex, kHex, kHex}};
}

}  // namespace syscalls
