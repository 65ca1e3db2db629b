// Control messages as they lie in application memory: cmsg(3).
#ifndef SYSCALLS_SOCKET_CONTROL_H_
#define SYSCALLS_SOCKET_CONTROL_H_

#include <cstdint>

#include "base/result.h"
#include "sentry/net/message.h"
#include "sentry/net/socket.h"
#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

// What sendmsg(2) is given. EINVAL for what is malformed or not for this family, EBADF, EPERM,
// ESRCH, ENOBUFS for too much.
Result<sentry::ControlData> ReadControl(Task& task, const sentry::Socket& socket,
                                        const abi::MessageHeader& header);

// Writes what was received into the header's room, installing files. Sets control_length and, when
// something did not fit, MSG_CTRUNC in flags. `close_on_exec`: MSG_CMSG_CLOEXEC.
Status WriteControl(Task& task, sentry::ControlData& control, bool close_on_exec,
                    abi::MessageHeader& header);

}  // namespace syscalls

#endif  // SYSCALLS_SOCKET_CONTROL_H_
