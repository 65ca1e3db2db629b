// Bytes and control messages between the application and a socket of the host.
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "sentry/mm/io_buffer.h"
#include "sentry/net/host/host_io.h"
#include "sentry/net/host/host_socket.h"

namespace sentry {
namespace {

constexpr uint32_t kSendFlags = MSG_OOB | MSG_DONTROUTE | MSG_EOR | MSG_CONFIRM | MSG_MORE;
constexpr uint32_t kReceiveFlags = MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE;
constexpr size_t kMaxControl = 1024;

// What may be said with a message: where from, and how it travels.
bool MaySend(const ControlMessage& message) {
  if (message.level == SOL_SOCKET && message.type == SCM_TXTIME) return true;
  switch (message.level) {
    case IPPROTO_IP:
      return message.type == IP_PKTINFO || message.type == IP_TTL || message.type == IP_TOS;
    case IPPROTO_IPV6:
      return message.type == IPV6_PKTINFO || message.type == IPV6_HOPLIMIT ||
             message.type == IPV6_TCLASS || message.type == IPV6_DONTFRAG;
    case IPPROTO_UDP:
      return message.type == UDP_SEGMENT;
    default:
      return false;
  }
}

// EINVAL for messages that are not known, as in Linux.
Result<std::vector<char>> EncodeControl(const std::vector<ControlMessage>& messages) {
  std::vector<char> bytes;
  for (const ControlMessage& message : messages) {
    if (!MaySend(message) || message.data.size() > kMaxControl) return Errno(EINVAL);
    const size_t at = bytes.size();
    bytes.resize(at + CMSG_SPACE(message.data.size()));
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(message.data.size());
    header.cmsg_level = message.level;
    header.cmsg_type = message.type;
    memcpy(bytes.data() + at, &header, sizeof(header));
    memcpy(bytes.data() + at + sizeof(header), message.data.data(), message.data.size());
    if (bytes.size() > kMaxControl) return Errno(EINVAL);
  }
  return bytes;
}

void DecodeControl(msghdr& header, ControlData& control) {
  for (cmsghdr* one = CMSG_FIRSTHDR(&header); one != nullptr; one = CMSG_NXTHDR(&header, one)) {
    // Descriptors do not travel on these sockets.
    if (one->cmsg_level == SOL_SOCKET && one->cmsg_type == SCM_RIGHTS) continue;
    const size_t size = one->cmsg_len - CMSG_LEN(0);
    control.others.push_back({one->cmsg_level, one->cmsg_type,
                              std::string(reinterpret_cast<const char*>(CMSG_DATA(one)), size)});
  }
}

}  // namespace

Result<size_t> HostSocket::Send(IoSrc& src, OutgoingMessage& message) {
  if (is_stream() && (message.flags & MSG_FASTOPEN) != 0) TRY(ConnectFirst(message));
  if (const Ref<TcpSocket> socket = memory()) return socket->Send(src, message);
  TRY(TakeError());
  if (auto sent = SendInMemory(src, message)) return *std::move(sent);
  if (!is_stream() && src.remaining() > IoBuffer::kMax) return Errno(EMSGSIZE);
  const std::vector<char> control = TRY(EncodeControl(message.control.others));
  msghdr header{};
  SocketAddress to;
  if (message.to != nullptr) {
    to = *message.to;
    header.msg_name = to.bytes.data();
    header.msg_namelen = to.size;
  }
  if (!control.empty()) {
    header.msg_control = const_cast<char*>(control.data());
    header.msg_controllen = control.size();
  }
  const Result<size_t> sent =
      SendToHost(fd_.get(), is_stream(), src, header, message.flags & kSendFlags);
  if (is_udp()) gathering_ = sent.ok() && (message.flags & MSG_MORE) != 0;
  if (!sent.ok() && sent.error() == Errno(EAGAIN)) return WouldBlock(POLLOUT);
  return sent;
}

Result<size_t> HostSocket::ReceiveFromHost(IoDst& dst, IncomingMessage& message) {
  const bool queue = (message.flags & MSG_ERRQUEUE) != 0;
  if (!queue) TRY(TakeError());
  if (is_stream() && !queue && message.minimum > 1 && HostHasTooFew(fd_.get(), message.minimum)) {
    return WouldBlock(POLLIN);
  }
  [[gnu::uninitialized]] IoBuffer buffer(dst.remaining());
  const auto bytes = buffer.bytes().first(std::min(buffer.bytes().size(), dst.remaining()));
  iovec io{.iov_base = bytes.data(), .iov_len = bytes.size()};
  alignas(cmsghdr) char control[kMaxControl];
  msghdr header{};
  header.msg_name = message.from.bytes.data();
  header.msg_namelen = SocketAddress::kMaxSize;
  header.msg_iov = &io;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  uint32_t flags = (message.flags & kReceiveFlags) | MSG_DONTWAIT;
  // The whole length of a datagram is always of interest; on a stream the flag throws bytes away.
  if (!is_stream()) flags |= MSG_TRUNC;
  const ssize_t count = recvmsg(fd_.get(), &header, static_cast<int>(flags));
  if (count < 0) {
    const Errno error = HostErrno();
    // The host's call, which does not wait, does not look whether there is an end.
    if (error == Errno(EAGAIN) && !queue && read_shut_) return size_t{0};
    return error == Errno(EAGAIN) && !queue ? WouldBlock(POLLIN) : error;
  }
  message.from.size = std::min<uint32_t>(header.msg_namelen, SocketAddress::kMaxSize);
  message.answer_flags |=
      static_cast<uint32_t>(header.msg_flags) & (MSG_TRUNC | MSG_EOR | MSG_OOB | MSG_ERRQUEUE);
  message.full_size = static_cast<size_t>(count);
  if ((message.flags & MSG_OOB) != 0) message.boundary = true;
  DecodeControl(header, message.control);
  const size_t received = std::min(static_cast<size_t>(count), bytes.size());
  if (received == 0) return size_t{0};
  // Thrown away, as asked for.
  if (is_stream() && (message.flags & MSG_TRUNC) != 0) return received;
  return dst.CopyOut(bytes.first(received));
}

}  // namespace sentry
