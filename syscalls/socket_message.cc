#include "syscalls/socket_message.h"

#include <sys/socket.h>

#include <algorithm>
#include <climits>
#include <optional>

#include "syscalls/file_io.h"
#include "syscalls/socket.h"
#include "syscalls/socket_control.h"

namespace syscalls {

using sentry::IncomingMessage;
using sentry::IoDst;
using sentry::IoSrc;
using sentry::OutgoingMessage;
using sentry::SocketAddress;

namespace {

constexpr uint32_t kMaxMessages = 1024;   // UIO_MAXIOV.
constexpr uint32_t kCompat = 0x80000000;  // MSG_CMSG_COMPAT.

UserSpan Span(UserAddr buffer, uint64_t count) { return {buffer, std::min(count, kMaxIo)}; }

template <typename Attempt>
auto Transfer(Task& task, sentry::Socket& socket, uint32_t events, uint32_t flags,
              sentry::Deadline deadline, Attempt attempt) -> decltype(attempt()) {
  if ((flags & MSG_DONTWAIT) != 0) return attempt();
  return RetrySocket(task, socket, events, deadline, attempt);
}

// How much a receive waits for: everything with MSG_WAITALL, otherwise SO_RCVLOWAT.
size_t WantedBytes(const sentry::Socket& socket, size_t size, uint32_t flags) {
  if ((flags & MSG_WAITALL) != 0) return size;
  return std::min<size_t>(static_cast<size_t>(socket.options().receive_low_water.load()), size);
}

}  // namespace

Result<int64_t> SendAll(Task& task, sentry::Socket& socket, IoSrc& src, OutgoingMessage& message) {
  if (socket.nonblocking()) message.flags |= MSG_DONTWAIT;
  task.group().io.writes.fetch_add(1, std::memory_order_relaxed);
  const sentry::Deadline deadline = SocketDeadline(socket.options().send_timeout_ns);
  int64_t total = 0;
  do {
    const Result<size_t> sent = Transfer(task, socket, POLLOUT, message.flags, deadline,
                                         [&] { return socket.Send(src, message); });
    if (!sent.ok()) {
      if (total != 0) return total;
      const bool raises = socket.is_stream() && (message.flags & MSG_NOSIGNAL) == 0;
      if (sent.error() == Errno(EPIPE) && raises) RaiseSignal(task, SIGPIPE);
      return sent.error();
    }
    total += static_cast<int64_t>(*sent);
    task.group().io.written_bytes.fetch_add(*sent, std::memory_order_relaxed);
    if (*sent == 0) break;
  } while (src.remaining() != 0 && socket.is_stream());
  return total;
}

Result<int64_t> ReceiveAll(Task& task, sentry::Socket& socket, IoDst& dst,
                           IncomingMessage& message) {
  if (socket.nonblocking()) message.flags |= MSG_DONTWAIT;
  task.group().io.reads.fetch_add(1, std::memory_order_relaxed);
  const bool waits = (message.flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) == 0;
  const bool peeks = (message.flags & MSG_PEEK) != 0;
  if ((message.flags & MSG_ERRQUEUE) != 0) message.flags |= MSG_DONTWAIT;
  const size_t target = socket.is_stream() && waits && (message.flags & MSG_OOB) == 0
                            ? WantedBytes(socket, dst.remaining(), message.flags)
                            : 1;
  // A peek takes nothing out: it can only wait until everything is there.
  if (peeks) message.minimum = std::max<size_t>(target, 1);
  const sentry::Deadline deadline = SocketDeadline(socket.options().receive_timeout_ns);
  size_t total = 0;
  do {
    const Result<size_t> received = Transfer(task, socket, POLLIN, message.flags, deadline,
                                             [&] { return socket.Receive(dst, message); });
    if (!received.ok()) {
      if (peeks && received.error() == Errno(EAGAIN) && message.minimum > 1) {
        // Time is up: what is there has to do.
        message.minimum = 1;
        const Result<size_t> rest = socket.Receive(dst, message);
        if (rest.ok()) return static_cast<int64_t>(*rest);
      }
      if (total != 0) break;
      return received.error();
    }
    total += *received;
    if (*received == 0 || message.boundary || peeks) break;
  } while (total < target && dst.remaining() != 0);
  task.group().io.read_bytes.fetch_add(total, std::memory_order_relaxed);
  if ((message.flags & MSG_TRUNC) != 0 && message.full_size > total) {
    return static_cast<int64_t>(message.full_size);
  }
  return static_cast<int64_t>(total);
}

Result<int64_t> Sendto(Task& task, Fd fd, UserAddr buffer, uint64_t count, uint32_t flags,
                       UserAddr address, int address_size) {
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  SocketAddress to;
  if (address) to = TRY(ReadAddress(task, address, address_size));
  OutgoingMessage message{.to = to.size > 0 ? &to : nullptr, .flags = flags & ~kCompat};
  IoSrc src(task.mem(), Span(buffer, count));
  return SendAll(task, *socket, src, message);
}

Result<int64_t> Recvfrom(Task& task, Fd fd, UserAddr buffer, uint64_t count, uint32_t flags,
                         UserAddr address, UserPtr<int> address_size) {
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  IncomingMessage message{.flags = flags & ~kCompat, .wants_name = static_cast<bool>(address)};
  IoDst dst(task.mem(), Span(buffer, count));
  const int64_t received = TRY(ReceiveAll(task, *socket, dst, message));
  if (address) TRY(WriteAddress(task, message.from, address, address_size));
  return received;
}

namespace {

Result<std::vector<UserSpan>> ReadSpans(Task& task, const abi::MessageHeader& header) {
  if (header.iov_length > kMaxMessages) return Errno(EMSGSIZE);
  return ReadIovec(task, UserPtr<const abi::Iovec>{UserAddr{header.iov}}, header.iov_length);
}

// copy_msghdr_from_user(): a name that is too long is cut.
Result<abi::MessageHeader> ReadHeader(Task& task, UserPtr<const abi::MessageHeader> message) {
  abi::MessageHeader header = TRY(task.mem().Read(message));
  if (header.name == 0) header.name_length = 0;
  if (static_cast<int32_t>(header.name_length) < 0) return Errno(EINVAL);
  header.name_length = std::min<uint32_t>(header.name_length, SocketAddress::kMaxSize);
  return header;
}

Result<int64_t> SendHeader(Task& task, sentry::Socket& socket,
                           UserPtr<const abi::MessageHeader> user, uint32_t flags) {
  const abi::MessageHeader header = TRY(ReadHeader(task, user));
  if (header.control_length > INT_MAX) return Errno(ENOBUFS);
  SocketAddress to;
  if (header.name_length > 0) {
    to = TRY(ReadAddress(task, UserAddr{header.name}, static_cast<int>(header.name_length)));
  }
  IoSrc src(task.mem(), TRY(ReadSpans(task, header)));
  OutgoingMessage message{.to = to.size > 0 ? &to : nullptr,
                          .flags = flags,
                          .control = TRY(ReadControl(task, socket, header))};
  return SendAll(task, socket, src, message);
}

Result<int64_t> ReceiveHeader(Task& task, sentry::Socket& socket, UserPtr<abi::MessageHeader> user,
                              uint32_t flags) {
  abi::MessageHeader header = TRY(ReadHeader(task, {user.addr}));
  const UserAddr name{header.name};
  const uint32_t room = header.name_length;
  IoDst dst(task.mem(), TRY(ReadSpans(task, header)));
  IncomingMessage message{.flags = flags & ~uint32_t{MSG_CMSG_CLOEXEC},
                          .wants_name = static_cast<bool>(name)};
  const int64_t received = TRY(ReceiveAll(task, socket, dst, message));
  header.flags = message.answer_flags;
  TRY(WriteControl(task, message.control, (flags & MSG_CMSG_CLOEXEC) != 0, header));
  if ((flags & MSG_CMSG_CLOEXEC) != 0) header.flags |= MSG_CMSG_CLOEXEC;
  header.name_length = 0;
  if (name) {
    const size_t count = std::min<size_t>(room, message.from.size);
    if (count > 0) TRY(task.mem().WriteBytes(name, message.from.data().first(count)));
    header.name_length = message.from.size;
  }
  TRY(task.mem().Write(user, header));
  return received;
}

UserPtr<abi::MessageHeader> HeaderOf(UserPtr<abi::NumberedMessage> message) {
  return {message.addr};
}

Status WriteLength(Task& task, UserPtr<abi::NumberedMessage> message, int64_t length) {
  return task.mem().Write(UserPtr<uint32_t>{message.addr + offsetof(abi::NumberedMessage, length)},
                          static_cast<uint32_t>(length));
}

}  // namespace

Result<int64_t> Sendmsg(Task& task, Fd fd, UserPtr<const abi::MessageHeader> message,
                        uint32_t flags) {
  if ((flags & kCompat) != 0) return Errno(EINVAL);
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  return SendHeader(task, *socket, message, flags);
}

Result<int64_t> Recvmsg(Task& task, Fd fd, UserPtr<abi::MessageHeader> message, uint32_t flags) {
  if ((flags & kCompat) != 0) return Errno(EINVAL);
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  return ReceiveHeader(task, *socket, message, flags);
}

Result<int64_t> Sendmmsg(Task& task, Fd fd, UserPtr<abi::NumberedMessage> messages, uint32_t count,
                         uint32_t flags) {
  if ((flags & kCompat) != 0) return Errno(EINVAL);
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  count = std::min(count, kMaxMessages);
  uint32_t done = 0;
  for (; done < count; ++done) {
    const auto at = messages + done;
    const Result<int64_t> sent = SendHeader(task, *socket, {HeaderOf(at).addr}, flags);
    const Status written = sent.ok() ? WriteLength(task, at, *sent) : Status(sent.error());
    if (!written.ok()) {
      if (done > 0) break;
      return written.error();
    }
  }
  return int64_t{done};
}

Result<int64_t> Recvmmsg(Task& task, Fd fd, UserPtr<abi::NumberedMessage> messages, uint32_t count,
                         uint32_t flags, UserPtr<abi::Timespec> timeout) {
  if ((flags & kCompat) != 0) return Errno(EINVAL);
  // Looked at after each message only, as in Linux (recvmmsg(2), BUGS).
  sentry::Deadline deadline = sentry::Deadline::Never();
  if (timeout) {
    deadline = sentry::Deadline::After(TRY(ToNanoseconds(TRY(task.mem().Read(timeout)))));
  }
  const Ref<sentry::Socket> socket = TRY(GetSocket(task, fd));
  TRY(socket->TakeError());
  count = std::min(count, kMaxMessages);
  uint32_t done = 0;
  Status failed = kOk;
  while (done < count) {
    const auto at = messages + done;
    const Result<int64_t> received =
        ReceiveHeader(task, *socket, HeaderOf(at), flags & ~uint32_t{MSG_WAITFORONE});
    failed = received.ok() ? WriteLength(task, at, *received) : Status(received.error());
    if (!failed.ok()) break;
    ++done;
    if ((flags & MSG_WAITFORONE) != 0) flags |= MSG_DONTWAIT;
    if (deadline.expired()) break;
  }
  if (done == 0 && !failed.ok()) return failed.error();
  // Told by the next call, unless it only means that there is nothing more.
  if (!failed.ok() && failed.error().code() < 512 && failed.error() != Errno(EAGAIN)) {
    socket->SetError(failed.error());
  }
  return int64_t{done};
}

}  // namespace syscalls
