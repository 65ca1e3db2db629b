#include "syscalls/socket.h"

#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "sentry/fs/pipe/socket_pair.h"
#include "sentry/task/waiter.h"
#include "syscalls/common.h"
#include "syscalls/file_io.h"

namespace syscalls {

using sentry::IoDst;
using sentry::IoSrc;
using sentry::SocketPairFile;

namespace {

constexpr uint32_t kSendFlags = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE | MSG_EOR;
constexpr uint32_t kReceiveFlags = MSG_DONTWAIT | MSG_PEEK | MSG_WAITALL | MSG_CMSG_CLOEXEC;

Result<Ref<File>> GetSocket(Task& task, Fd fd) {
  Ref<File> file = TRY(GetFile(task, fd));
  if (sentry::FileCast<SocketPairFile>(*file) == nullptr) return Errno(ENOTSOCK);
  return file;
}

template <typename Attempt>
Result<size_t> Transfer(Task& task, File& file, uint32_t events, uint32_t flags, Attempt attempt) {
  if ((flags & MSG_DONTWAIT) != 0) return attempt();
  return sentry::RetryWhileBlocked(task, file, events, attempt);
}

Result<int64_t> Send(Task& task, File& file, IoSrc& src, uint32_t flags) {
  if ((flags & ~kSendFlags) != 0) return Errno(EOPNOTSUPP);
  int64_t total = 0;
  do {
    const auto sent =
        Transfer(task, file, POLLOUT, flags, [&]() -> Result<size_t> { return file.Write(src); });
    if (!sent.ok()) {
      if (sent.error() == Errno(EPIPE) && (flags & MSG_NOSIGNAL) == 0) RaiseSignal(task, SIGPIPE);
      if (total != 0) return total;
      return sent.error();
    }
    total += static_cast<int64_t>(*sent);
  } while (src.remaining() != 0 && (flags & MSG_DONTWAIT) == 0 && !file.nonblocking());
  return total;
}

Result<size_t> PeekInto(SocketPairFile& file, IoDst& dst) {
  std::vector<std::byte> bytes(std::min<size_t>(dst.remaining(), 65536));
  const size_t count = TRY(file.Peek(bytes));
  return dst.CopyOut(std::span(bytes).first(count));
}

Result<int64_t> Receive(Task& task, File& file, IoDst& dst, uint32_t flags) {
  if ((flags & ~kReceiveFlags) != 0) return Errno(EOPNOTSUPP);
  auto& socket = *sentry::FileCast<SocketPairFile>(file);
  int64_t total = 0;
  do {
    const auto received = Transfer(task, file, POLLIN, flags, [&]() -> Result<size_t> {
      return (flags & MSG_PEEK) != 0 ? PeekInto(socket, dst) : file.Read(dst);
    });
    if (!received.ok()) {
      if (total != 0) return total;
      return received.error();
    }
    total += static_cast<int64_t>(*received);
    if (*received == 0) break;
  } while ((flags & (MSG_WAITALL | MSG_PEEK)) == MSG_WAITALL && dst.remaining() != 0);
  return total;
}

UserSpan Span(UserAddr buffer, uint64_t count) { return {buffer, std::min(count, kMaxIo)}; }

}  // namespace

Status Socketpair(Task& task, int domain, int type, int protocol,
                  UserPtr<std::array<int, 2>> fds) {
  constexpr int kTypeMask = 0xf;
  if ((type & ~(kTypeMask | SOCK_CLOEXEC | SOCK_NONBLOCK)) != 0) return Errno(EINVAL);
  if (domain != AF_UNIX) return Errno(EAFNOSUPPORT);
  if (protocol != 0 && protocol != AF_UNIX) return Errno(EPROTONOSUPPORT);
  // Messages with boundaries come with the sockets.
  if ((type & kTypeMask) != SOCK_STREAM) return Errno(ESOCKTNOSUPPORT);
  auto ends = TRY(sentry::CreateSocketPair(
      sentry::OpenFlags((type & SOCK_NONBLOCK) != 0 ? O_NONBLOCK : 0)));
  const bool close_on_exec = (type & SOCK_CLOEXEC) != 0;
  const Fd first = TRY(AddFile(task, std::move(ends.first), close_on_exec));
  const Result<Fd> second = AddFile(task, std::move(ends.second), close_on_exec);
  Status written = Errno(EMFILE);
  if (second.ok()) {
    written = task.mem().Write(
        fds, std::array<int, 2>{static_cast<int>(first), static_cast<int>(*second)});
  }
  if (!written.ok()) {
    (void)task.fds().Remove(first);
    if (second.ok()) (void)task.fds().Remove(*second);
  }
  return written;
}

Result<int64_t> Sendto(Task& task, Fd fd, UserAddr buffer, uint64_t count, uint32_t flags,
                       UserAddr address) {
  const Ref<File> file = TRY(GetSocket(task, fd));
  if (address) return Errno(EISCONN);
  IoSrc src(task.mem(), Span(buffer, count));
  return Send(task, *file, src, flags);
}

// A stream's peer has no address to tell: `address` stays as it is.
Result<int64_t> Recvfrom(Task& task, Fd fd, UserAddr buffer, uint64_t count, uint32_t flags,
                         UserAddr address) {
  const Ref<File> file = TRY(GetSocket(task, fd));
  IoDst dst(task.mem(), Span(buffer, count));
  return Receive(task, *file, dst, flags);
}

Result<int64_t> Sendmsg(Task& task, Fd fd, UserPtr<const abi::MessageHeader> message,
                        uint32_t flags) {
  const Ref<File> file = TRY(GetSocket(task, fd));
  const abi::MessageHeader header = TRY(task.mem().Read(message));
  // Descriptors and credentials in flight come with the sockets.
  if (header.control_length != 0) return Errno(EOPNOTSUPP);
  IoSrc src(task.mem(),
            TRY(ReadIovec(task, UserPtr<const abi::Iovec>{UserAddr{header.iov}},
                          header.iov_length)));
  return Send(task, *file, src, flags);
}

Result<int64_t> Recvmsg(Task& task, Fd fd, UserPtr<abi::MessageHeader> message, uint32_t flags) {
  const Ref<File> file = TRY(GetSocket(task, fd));
  abi::MessageHeader header = TRY(task.mem().Read(message));
  IoDst dst(task.mem(),
            TRY(ReadIovec(task, UserPtr<const abi::Iovec>{UserAddr{header.iov}},
                          header.iov_length)));
  const int64_t received = TRY(Receive(task, *file, dst, flags));
  header.name_length = 0;
  header.control_length = 0;
  header.flags = 0;
  TRY(task.mem().Write(message, header));
  return received;
}

Status Shutdown(Task& task, Fd fd, int how) {
  const Ref<File> file = TRY(GetSocket(task, fd));
  return sentry::FileCast<SocketPairFile>(*file)->Shutdown(how);
}

Status Getsockopt(Task& task, Fd fd, int level, int option, UserPtr<int> value,
                  UserPtr<uint32_t> length) {
  TRY(GetSocket(task, fd));
  if (level != SOL_SOCKET) return Errno(EOPNOTSUPP);
  int answer = 0;
  switch (option) {
    case SO_TYPE: answer = SOCK_STREAM; break;
    case SO_DOMAIN: answer = AF_UNIX; break;
    case SO_PROTOCOL:
    case SO_ERROR:
    case SO_ACCEPTCONN: answer = 0; break;
    default: return Errno(ENOPROTOOPT);
  }
  const uint32_t room = TRY(task.mem().Read(length));
  if (static_cast<int32_t>(room) < 0) return Errno(EINVAL);
  const uint32_t size = std::min<uint32_t>(room, sizeof(answer));
  TRY(task.mem().WriteBytes(value.addr, std::as_bytes(std::span(&answer, 1)).first(size)));
  return task.mem().Write(length, size);
}

Status Getsockname(Task& task, Fd fd, UserPtr<uint16_t> address, UserPtr<uint32_t> length) {
  TRY(GetSocket(task, fd));
  // Unnamed: the family alone.
  const uint16_t family = AF_UNIX;
  const uint32_t room = TRY(task.mem().Read(length));
  const size_t size = std::min<size_t>(room, sizeof(family));
  TRY(task.mem().WriteBytes(address.addr, std::as_bytes(std::span(&family, 1)).first(size)));
  return task.mem().Write(length, static_cast<uint32_t>(sizeof(family)));
}

}  // namespace syscalls
