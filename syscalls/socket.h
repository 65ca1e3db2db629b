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

// Runs `attempt` until it answers something else than EAGAIN, as long as `timeout_ns` (0: for ever)
// allows. EAGAIN past it; EINTR instead of a restart where there is a timeout (sock_intr_errno()).
template <typename Attempt>
auto RetrySocket(Task& task, sentry::WaitQueue& queue, uint32_t events, int64_t timeout_ns,
                 Attempt attempt) -> decltype(attempt()) {
  const auto blocked = [](const auto& r) { return !r.ok() && r.error() == Errno(EAGAIN); };
  auto result = attempt();
  if (!blocked(result)) return result;
  const auto deadline =
      timeout_ns == 0 ? sentry::Deadline::Never() : sentry::Deadline::After(timeout_ns);
  sentry::Waiter waiter(task);
  waiter.Watch(&queue, events);
  for (;;) {
    result = attempt();
    if (!blocked(result)) return result;
    const Status slept = waiter.Sleep(deadline);
    if (slept.ok()) continue;
    if (slept.error() == Errno(ETIMEDOUT)) return Errno(EAGAIN);
    return timeout_ns != 0 ? Errno(EINTR) : slept.error();
  }
}

}  // namespace syscalls

#endif  // SYSCALLS_SOCKET_H_
