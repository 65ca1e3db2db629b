// Sockets: making, naming and connecting them, and their options. Sending and receiving:
// socket_message.h.
#ifndef SYSCALLS_SOCKET_H_
#define SYSCALLS_SOCKET_H_

#include <array>

#include "sentry/net/socket.h"
#include "syscalls/abi_types.h"
#include "syscalls/common.h"
#include "syscalls/syscall.h"

namespace syscalls {

Result<Fd> Socket(Task& task, int domain, int type, int protocol);
Status Socketpair(Task& task, int domain, int type, int protocol, UserPtr<std::array<int, 2>> fds);
Status Bind(Task& task, Fd fd, UserAddr address, int size);
Status Listen(Task& task, Fd fd, int backlog);
Status Connect(Task& task, Fd fd, UserAddr address, int size);
Result<Fd> Accept(Task& task, Fd fd, UserAddr address, UserPtr<int> size);
Result<Fd> Accept4(Task& task, Fd fd, UserAddr address, UserPtr<int> size, int flags);
Status Getsockname(Task& task, Fd fd, UserAddr address, UserPtr<int> size);
Status Getpeername(Task& task, Fd fd, UserAddr address, UserPtr<int> size);
Status Shutdown(Task& task, Fd fd, int how);
Status Getsockopt(Task& task, Fd fd, int level, int option, UserAddr value, UserPtr<int> size);
Status Setsockopt(Task& task, Fd fd, int level, int option, UserAddr value, int size);

// The socket behind a descriptor: EBADF, ENOTSOCK.
Result<Ref<sentry::Socket>> GetSocket(Task& task, Fd fd);
// move_addr_to_kernel(), move_addr_to_user(): EINVAL for sizes that cannot be.
Result<sentry::SocketAddress> ReadAddress(Task& task, UserAddr address, int size);
Status WriteAddress(Task& task, const sentry::SocketAddress& from, UserAddr address,
                    UserPtr<int> size);

// SO_RCVTIMEO, SO_SNDTIMEO, for all the waits of one call: 0 is for ever.
inline sentry::Deadline SocketDeadline(int64_t timeout_ns) {
  return timeout_ns == 0 ? sentry::Deadline::Never() : sentry::Deadline::After(timeout_ns);
}
// What a call answers whose wait ended with `error`: EAGAIN past the deadline, EINTR instead of a
// restart where there is one (sock_intr_errno()).
inline Errno WaitEnded(Errno error, sentry::Deadline deadline) {
  if (error == Errno(ETIMEDOUT)) return Errno(EAGAIN);
  return deadline.ns != sentry::Deadline::Never().ns ? Errno(EINTR) : error;
}

// RetryWhileBlocked() with the answers of sockets.
template <typename Attempt>
auto RetrySocket(Task& task, sentry::Socket& socket, uint32_t events, sentry::Deadline deadline,
                 Attempt attempt,
                 sentry::WaitQueue::Turn turn = sentry::WaitQueue::Turn::kEverybody)
    -> decltype(attempt()) {
  bool blocked = false;
  auto result = sentry::RetryWhileBlocked(
      task, socket, events,
      [&] {
        auto tried = attempt();
        blocked = !tried.ok() && tried.error() == Errno(EAGAIN);
        return tried;
      },
      deadline, turn);
  if (!blocked || result.error() == Errno(EAGAIN)) return result;
  return WaitEnded(result.error(), deadline);
}

}  // namespace syscalls

#endif  // SYSCALLS_SOCKET_H_
