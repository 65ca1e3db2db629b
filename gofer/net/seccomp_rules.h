// The host calls of a network gofer that has been set up, each with its reason.
#ifndef GOFER_NET_SECCOMP_RULES_H_
#define GOFER_NET_SECCOMP_RULES_H_

#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/seccomp_rule.h"

namespace gofer {

inline constexpr uint64_t kNetInt = 0xffffffff;

inline constexpr SeccompRule kNetSeccompRules[] = {
    {SYS_recvmsg, "requests; what the host says of its devices", 0, {}},
    {SYS_sendmsg, "answers, with descriptors", 1, {{2, kNetInt, MSG_NOSIGNAL}}},
    {SYS_close, "descriptors", 0, {}},
    {SYS_socket, "IPv4", 1, {{0, kNetInt, AF_INET}}},
    {SYS_socket, "IPv6", 1, {{0, kNetInt, AF_INET6}}},
    {SYS_bind, "as asked", 0, {}},
    {SYS_connect, "as asked; never waits", 0, {}},
    {SYS_listen, "as asked", 0, {}},
    {SYS_getsockname, "as asked", 0, {}},
    {SYS_getpeername, "as asked", 0, {}},
    {SYS_shutdown, "as asked", 0, {}},
    {SYS_setsockopt, "options of its table", 0, {}},
    {SYS_getsockopt, "likewise", 0, {}},
    {SYS_munmap, "ending", 0, {}},
    {SYS_brk, "ending: free(3) gives memory back", 0, {}},
    {SYS_exit_group, "ending", 0, {}},
};

}  // namespace gofer

#endif  // GOFER_NET_SECCOMP_RULES_H_
