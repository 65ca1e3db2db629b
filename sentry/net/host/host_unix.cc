#include "sentry/net/host/host_unix.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "sentry/fs/host/host_poller.h"
#include "sentry/mm/io_buffer.h"
#include "sentry/net/host/host_io.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

constexpr uint32_t kSendFlags = MSG_OOB | MSG_EOR | MSG_MORE;
constexpr uint32_t kReceiveFlags = MSG_OOB | MSG_PEEK | MSG_TRUNC;
constexpr uint32_t kAnswerFlags = MSG_TRUNC | MSG_CTRUNC | MSG_EOR | MSG_OOB;

}  // namespace

HostUnixSocket::HostUnixSocket(const SocketKind& what, OpenFlags flags, Ref<WaitPoint> wait_point,
                               UniqueFd fd, State state, const SocketAddress& local,
                               const SocketAddress& peer)
    : Socket(what, flags, std::move(wait_point)),
      fd_(std::move(fd)),
      state_(state),
      local_(local),
      peer_(peer.size != 0 ? peer : SocketAddress::Of(sa_family_t{AF_UNIX})) {}

HostUnixSocket::~HostUnixSocket() { HostPoller::Get().Remove(fd_.get()); }

Errno HostUnixSocket::WouldBlock(uint32_t events) {
  if (!wait_queue()->empty()) ArmHostEvents(events);
  return Errno(EAGAIN);
}

Status HostUnixSocket::Listen(Task& task, int backlog) {
  if (state_ == State::kConnected) return Errno(EINVAL);
  if (listen(fd_.get(), backlog) != 0) return Errno::Last();
  listening_.store(true, std::memory_order_relaxed);
  return kOk;
}

Result<Ref<Socket>> HostUnixSocket::Accept(Task& task, OpenFlags flags) {
  UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.valid()) {
    const Errno error = HostErrno();
    return error == Errno(EAGAIN) ? WouldBlock(POLLIN) : error;
  }
  auto accepted = MakeRef<HostUnixSocket>(what(), flags, MakeRef<WaitPoint>(), std::move(fd),
                                          State::kConnected, local_, peer_);
  accepted->options().InheritFrom(options());
  return Ref<Socket>(std::move(accepted));
}

Result<SocketAddress> HostUnixSocket::PeerAddress() {
  if (state_ != State::kConnected) return Errno(ENOTCONN);
  return peer_;
}

Status HostUnixSocket::Shutdown(int how) {
  if (shutdown(fd_.get(), how) != 0) return Errno::Last();
  Notify(POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  return kOk;
}

Result<size_t> HostUnixSocket::Send(IoSrc& src, OutgoingMessage& message) {
  TRY(TakeError());
  if (!message.control.rights.empty()) return Errno(EPERM);
  if (!message.control.others.empty()) return Errno(EINVAL);
  if (message.to != nullptr) return Errno(EISCONN);
  if (!is_stream() && src.remaining() > IoBuffer::kMax) return Errno(EMSGSIZE);
  const Result<size_t> sent =
      SendToHost(fd_.get(), is_stream(), src, msghdr{}, message.flags & kSendFlags);
  if (!sent.ok() && sent.error() == Errno(EAGAIN)) return WouldBlock(POLLOUT);
  return sent;
}

Result<size_t> HostUnixSocket::Receive(IoDst& dst, IncomingMessage& message) {
  TRY(TakeError());
  if (is_stream() && message.minimum > 1 && HostHasTooFew(fd_.get(), message.minimum)) {
    return WouldBlock(POLLIN);
  }
  [[gnu::uninitialized]] IoBuffer buffer(dst.remaining());
  const auto bytes = buffer.bytes().first(std::min(buffer.bytes().size(), dst.remaining()));
  iovec io{.iov_base = bytes.data(), .iov_len = bytes.size()};
  msghdr header{};  // No room for control messages: the host drops descriptors.
  header.msg_iov = &io;
  header.msg_iovlen = 1;
  uint32_t flags = (message.flags & kReceiveFlags) | MSG_DONTWAIT;
  if (!is_stream()) flags |= MSG_TRUNC;  // The whole length is always of interest.
  const ssize_t count = recvmsg(fd_.get(), &header, static_cast<int>(flags));
  if (count < 0) {
    const Errno error = HostErrno();
    return error == Errno(EAGAIN) ? WouldBlock(POLLIN) : error;
  }
  message.answer_flags |= static_cast<uint32_t>(header.msg_flags) & kAnswerFlags;
  message.full_size = static_cast<size_t>(count);
  if ((message.flags & MSG_OOB) != 0) message.boundary = true;
  const size_t received = std::min(static_cast<size_t>(count), bytes.size());
  if (received == 0) return size_t{0};
  return dst.CopyOut(bytes.first(received));
}

Result<int64_t> HostUnixSocket::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  if (command != FIONREAD && command != TIOCOUTQ) return Errno(ENOTTY);
  int32_t count = 0;
  if (ioctl(fd_.get(), command, &count) != 0) return Errno::Last();
  TRY(task.mem().Write(UserPtr<int32_t>{UserAddr{arg}}, count));
  return int64_t{0};
}

uint32_t HostUnixSocket::Poll() {
  constexpr short kAll =
      POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND | POLLRDHUP;
  const uint32_t events = has_error() ? POLLERR : 0;
  pollfd ready{.fd = fd_.get(), .events = kAll, .revents = 0};
  if (poll(&ready, 1, 0) <= 0) return events;
  return events | static_cast<uint16_t>(ready.revents);
}

void HostUnixSocket::ArmHostEvents(uint32_t events) {
  const Status armed = HostPoller::Get().Arm(fd_.get(), *wait_queue(), events);
  if (!armed.ok()) Notify(events);
}

Result<std::string> HostUnixSocket::GetFamilySocketOption(Task& task, int name) {
  constexpr uint32_t kNobody = 65534;
  if (name != SO_PEERCRED) return Errno(ENOPROTOOPT);
  if (state_ != State::kConnected) {
    return OptionBytes(ucred{.pid = 0, .uid = UINT32_MAX, .gid = UINT32_MAX});
  }
  return OptionBytes(ucred{.pid = 0, .uid = kNobody, .gid = kNobody});
}

}  // namespace sentry
