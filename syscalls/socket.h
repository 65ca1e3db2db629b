// Connected pairs of stream sockets; everything else about sockets is still to come.
#ifndef SYSCALLS_SOCKET_H_
#define SYSCALLS_SOCKET_H_

#include <array>

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Status Socketpair(Task& task, int domain, int type, int protocol,
                  UserPtr<std::array<int, 2>> fds);
Result<int64_t> Sendto(Task& task, Fd fd, UserAddr buffer, uint64_t count, uint32_t flags,
                       UserAddr address);
Result<int64_t> Recvfrom(Task& task, Fd fd, UserAddr buffer, uint64_t count, uint32_t flags,
                         UserAddr address);
Result<int64_t> Sendmsg(Task& task, Fd fd, UserPtr<const abi::MessageHeader> message,
                        uint32_t flags);
Result<int64_t> Recvmsg(Task& task, Fd fd, UserPtr<abi::MessageHeader> message, uint32_t flags);
Status Shutdown(Task& task, Fd fd, int how);
Status Getsockopt(Task& task, Fd fd, int level, int option, UserPtr<int> value,
                  UserPtr<uint32_t> length);
Status Getsockname(Task& task, Fd fd, UserPtr<uint16_t> address, UserPtr<uint32_t> length);

}  // namespace syscalls

#endif  // SYSCALLS_SOCKET_H_
