#include "sentry/net/host/host_io.h"

#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "sentry/mm/io_buffer.h"

namespace sentry {

bool HostHasTooFew(int fd, size_t wanted) {
  int32_t available = 0;
  if (ioctl(fd, FIONREAD, &available) != 0) return false;
  if (static_cast<size_t>(available) >= wanted) return false;
  pollfd end{.fd = fd, .events = POLLRDHUP, .revents = 0};
  return poll(&end, 1, 0) == 0;
}

Result<size_t> SendToHost(int fd, bool is_stream, IoSrc& src, msghdr header, uint32_t flags) {
  const size_t wanted = std::min(src.remaining(), IoBuffer::kMax);
  [[gnu::uninitialized]] IoBuffer buffer(wanted);
  const auto bytes = buffer.bytes().first(wanted);
  const size_t size = wanted == 0 ? 0 : TRY(src.CopyIn(bytes));
  if (!is_stream && size < wanted) return Errno(EFAULT);
  iovec io{.iov_base = bytes.data(), .iov_len = size};
  header.msg_iov = &io;
  header.msg_iovlen = 1;
  const ssize_t sent = sendmsg(fd, &header, static_cast<int>(flags | MSG_DONTWAIT | MSG_NOSIGNAL));
  if (sent < 0) {
    const Errno error = HostErrno();
    src.Unread(size);
    return error;
  }
  if (static_cast<size_t>(sent) < size) src.Unread(size - static_cast<size_t>(sent));
  return static_cast<size_t>(sent);
}

}  // namespace sentry
