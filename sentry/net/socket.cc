#include "sentry/net/socket.h"

#include <sys/socket.h>

#include "absl/strings/str_format.h"
#include "sentry/fs/anon/anon_inode.h"
#include "sentry/task/task.h"

namespace sentry {

Socket::Socket(SocketKind what, OpenFlags flags, Ref<WaitPoint> wait_point)
    : File(MakeRef<AnonInode>(AnonInode::kSocketDevice, S_IFSOCK | 0777), flags.With(O_RDWR)),
      what_(what),
      wait_point_(std::move(wait_point)),
      inode_number_(static_cast<AnonInode&>(inode()).number()) {}

std::string Socket::AnonymousName() const { return absl::StrFormat("socket:[%u]", inode_number_); }

// tcp_sendmsg_fastopen() of Linux, towards somebody of whom there is no cookie.
Status Socket::ConnectFirst(OutgoingMessage& message) {
  Task* const task = Task::Current();
  const bool waits = (message.flags & MSG_DONTWAIT) == 0;
  Status connected = kOk;
  if (!message.connecting) {
    if (message.to == nullptr) return Errno(PeerAddress().ok() ? EISCONN : EINVAL);
    if (task == nullptr || message.to->family() == AF_UNSPEC) return Errno(EOPNOTSUPP);
    connected = Connect(*task, *message.to);
    message.connecting = true;
    if (connected.ok() && !waits) return Errno(EINPROGRESS);
  }
  message.to = nullptr;
  const bool under_way = !connected.ok() && connected.error() == Errno(EINPROGRESS);
  if (under_way && !waits) return connected;
  if (connected.ok() || under_way) connected = FinishConnect();
  if (!connected.ok() && connected.error() == Errno(EALREADY)) return Errno(EAGAIN);
  if (connected.ok()) message.flags &= ~uint32_t{MSG_FASTOPEN};
  return connected;
}

Result<std::string> Socket::GetOption(Task& task, int level, int name, size_t room) {
  if (level != SOL_SOCKET) return Errno(ENOPROTOOPT);
  switch (name) {
    case SO_TYPE:
      return OptionBytes(what_.type);
    case SO_DOMAIN:
      return OptionBytes(what_.domain);
    case SO_PROTOCOL:
      return OptionBytes(what_.protocol);
    case SO_ACCEPTCONN:
      return OptionBytes(IsListening() ? 1 : 0);
    case SO_ERROR: {
      const Status error = TakeError();
      return OptionBytes(error.ok() ? 0 : error.error().code());
    }
    case SO_PEERNAME: {
      const Result<SocketAddress> peer = PeerAddress();
      if (!peer.ok()) return Errno(ENOTCONN);
      if (peer->size < room) return Errno(EINVAL);  // Wanted in full, as long as it is.
      return std::string(reinterpret_cast<const char*>(peer->bytes.data()), room);
    }
    case SO_COOKIE:
      if (room < sizeof inode_number_) return Errno(EINVAL);
      return OptionBytes(inode_number_);
    default: {
      auto value = GetFamilySocketOption(task, name);
      if (value.ok() || value.error() != Errno(ENOPROTOOPT)) return value;
      return options_.Get(task, what_, name);
    }
  }
}

Status Socket::SetOption(Task& task, int level, int name, std::span<const std::byte> value) {
  if (level != SOL_SOCKET) return Errno(ENOPROTOOPT);
  return options_.Set(task, what_, name, value);
}

}  // namespace sentry
