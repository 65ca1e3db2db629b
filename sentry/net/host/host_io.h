// What every socket of the host does with bytes.
#ifndef SENTRY_NET_HOST_HOST_IO_H_
#define SENTRY_NET_HOST_HOST_IO_H_

#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "sentry/mm/io.h"

namespace sentry {

// Of a host's call on a socket. It never blocks, so that an interrupted call cannot happen; should
// it, it is tried again.
inline Errno HostErrno() {
  const Errno error = Errno::Last();
  return error == Errno(EINTR) ? Errno(EAGAIN) : error;
}

// Whether a receive on the stream `fd` would get fewer bytes than `wanted` although more may come.
bool HostHasTooFew(int fd, size_t wanted);

// sendmsg(2) of what `src` holds, or of as much as goes at once; `header` has everything else.
// What the host does not take stays in `src`. EFAULT when a datagram cannot be read whole.
Result<size_t> SendToHost(int fd, bool is_stream, IoSrc& src, msghdr header, uint32_t flags);

}  // namespace sentry

#endif  // SENTRY_NET_HOST_HOST_IO_H_
