// Sending to sockets and receiving from them: send(2), recv(2), sendmsg(2), recvmsg(2), …
#ifndef SYSCALLS_SOCKET_MESSAGE_H_
#define SYSCALLS_SOCKET_MESSAGE_H_

#include <cstdint>

#include "sentry/mm/io.h"
#include "sentry/net/socket.h"
#include "syscalls/abi_types.h"
#include "syscalls/common.h"
#include "syscalls/syscall.h"

namespace syscalls {

Result<int64_t> Sendto(Task& task, Fd fd, UserAddr buffer, uint64_t count, uint32_t flags,
                       UserAddr address, int address_size);
Result<int64_t> Recvfrom(Task& task, Fd fd, UserAddr buffer, uint64_t count, uint32_t flags,
                         UserAddr address, UserPtr<int> address_size);
Result<int64_t> Sendmsg(Task& task, Fd fd, UserPtr<const abi::MessageHeader> message,
                        uint32_t flags);
Result<int64_t> Recvmsg(Task& task, Fd fd, UserPtr<abi::MessageHeader> message, uint32_t flags);
Result<int64_t> Sendmmsg(Task& task, Fd fd, UserPtr<abi::NumberedMessage> messages, uint32_t count,
                         uint32_t flags);
Result<int64_t> Recvmmsg(Task& task, Fd fd, UserPtr<abi::NumberedMessage> messages, uint32_t count,
                         uint32_t flags, UserPtr<abi::Timespec> timeout);

// A whole call, with its waits, timeouts and signals; write(2) and read(2) on sockets use them,
// too.
Result<int64_t> SendAll(Task& task, sentry::Socket& socket, sentry::IoSrc& src,
                        sentry::OutgoingMessage& message);
Result<int64_t> ReceiveAll(Task& task, sentry::Socket& socket, sentry::IoDst& dst,
                           sentry::IncomingMessage& message);

}  // namespace syscalls

#endif  // SYSCALLS_SOCKET_MESSAGE_H_
