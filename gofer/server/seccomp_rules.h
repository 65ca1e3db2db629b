// The host calls of a gofer that has been set up, each with its reason.
#ifndef GOFER_SERVER_SECCOMP_RULES_H_
#define GOFER_SERVER_SECCOMP_RULES_H_

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/seccomp_rule.h"

namespace gofer {

inline constexpr uint64_t kAnyInt = 0xffffffff;
inline constexpr uint64_t kCwd = static_cast<uint32_t>(AT_FDCWD);

// Paths behind kCwd are numbers in /proc/self/fd; all others are single components or empty, which
// is what a filter cannot see.
inline constexpr SeccompRule kSeccompRules[] = {
    {SYS_statx, "attributes", 1, {{2, AT_SYMLINK_NOFOLLOW, AT_SYMLINK_NOFOLLOW}}},
    {SYS_openat2, "walking, and creating files", 0, {}},
    {SYS_openat,
     "opening what was walked to",
     2,
     {{0, kAnyInt, kCwd}, {2, O_CREAT | (O_TMPFILE & ~O_DIRECTORY), 0}}},
    {SYS_close, "descriptors", 0, {}},
    {SYS_sendmsg, "descriptors for the sentry", 1, {{2, kAnyInt, MSG_NOSIGNAL}}},
    {SYS_futex, "waking the sentry", 1, {{1, kAnyInt, FUTEX_WAKE}}},
    {SYS_recvfrom, "sleeping until the sentry rings", 1, {{3, kAnyInt, 0}}},
    {SYS_getdents64, "listings", 0, {}},
    {SYS_lseek, "continuing a listing", 1, {{2, kAnyInt, SEEK_SET}}},
    {SYS_readlinkat, "symlinks", 0, {}},
    {SYS_fstatfs, "statfs", 0, {}},
    {SYS_fsync, "directories", 0, {}},
    {SYS_getxattr, "extended attributes", 0, {}},
    {SYS_listxattr, "likewise", 0, {}},
    {SYS_setxattr, "likewise", 0, {}},
    {SYS_removexattr, "likewise", 0, {}},
    {SYS_truncate, "size", 0, {}},
    {SYS_fchmodat, "mode", 1, {{0, kAnyInt, kCwd}}},
    {SYS_fchownat, "owner", 1, {{4, kAnyInt, AT_EMPTY_PATH}}},
    {SYS_utimensat, "times", 1, {{3, kAnyInt, AT_EMPTY_PATH}}},
    {SYS_mkdirat, "new directories", 0, {}},
    {SYS_mknodat, "new files, fifos, names of sockets; no devices", 1, {{3, kAnyInt, 0}}},
    {SYS_symlinkat, "new symlinks", 0, {}},
    {SYS_linkat, "new links", 2, {{0, kAnyInt, kCwd}, {4, kAnyInt, AT_SYMLINK_FOLLOW}}},
    {SYS_unlinkat, "removing", 1, {{2, kAnyInt & ~uint64_t{AT_REMOVEDIR}, 0}}},
    {SYS_renameat2,
     "renaming",
     1,
     {{4, kAnyInt & ~uint64_t{RENAME_NOREPLACE | RENAME_EXCHANGE}, 0}}},
    {SYS_clock_gettime, "bounding a spin where the vDSO cannot tell the time", 0, {}},
    {SYS_getcpu, "likewise for the cpu", 0, {}},
    {SYS_munmap, "ending", 0, {}},
    {SYS_brk, "likewise: free(3) gives memory back", 0, {}},
    {SYS_exit_group, "ending", 0, {}},
};

// With Policy::sockets(). Names are the kernel's to follow: to what was walked to, and one
// component from there. Abstract ones are those of a network namespace that nobody else is in.
inline constexpr SeccompRule kSocketRules[] = {
    {SYS_socket, "sockets for the sentry", 2, {{0, kAnyInt, AF_UNIX}, {2, kAnyInt, 0}}},
    {SYS_connect, "--host-uds=open: sockets of the host", 0, {}},
    {SYS_bind, "--host-uds=create: likewise, new ones", 0, {}},
};

}  // namespace gofer

#endif  // GOFER_SERVER_SECCOMP_RULES_H_
