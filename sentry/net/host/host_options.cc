// Options of the host's sockets: the gofer has the table of what it passes on.
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "sentry/net/devices/devices.h"
#include "sentry/net/host/host_socket.h"
#include "sentry/net/inet/memberships.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// Options at SOL_SOCKET that the host's socket has to know as well, once the sentry has accepted
// the value.
constexpr int kSendTime = 61;  // SO_TXTIME.
constexpr int kPassedOn[] = {SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE, SO_BROADCAST, SO_OOBINLINE,
                             SO_SNDBUF, SO_RCVBUF, SO_RCVLOWAT, SO_DONTROUTE, SO_PRIORITY,
                             SO_NO_CHECK, SO_TIMESTAMP, SO_TIMESTAMPNS, SO_RXQ_OVFL,
                             SO_MAX_PACING_RATE, SO_LINGER, SO_TIMESTAMPING,
                             // SO_TIMESTAMP_NEW and its like.
                             63, 64, 65, kSendTime};
// Whose value only the host's socket knows.
constexpr int kAskedFor[] = {SO_ERROR,        SO_SNDBUF,  SO_RCVBUF,
                             SO_INCOMING_CPU, SO_MEMINFO, SO_BINDTODEVICE};

template <size_t N>
bool IsIn(const int (&list)[N], int name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

// Of the value of an option that is a list of sources what belongs to it: the gofer knows no longer
// ones than Linux allows, and so the answer for those is ours. EINVAL, ENOBUFS.
Result<std::span<const std::byte>> SourceListIn(int level, int name,
                                                std::span<const std::byte> value) {
  const size_t header = SourceListHeader(name);
  if (value.size() < header) return Errno(EINVAL);
  uint32_t count;
  memcpy(&count, value.data() + header - sizeof(count), sizeof(count));
  if (count > Memberships::MaxSources(level == IPPROTO_IP ? AF_INET : AF_INET6)) {
    return Errno(ENOBUFS);
  }
  const size_t entry = name == IP_MSFILTER ? sizeof(in_addr) : sizeof(sockaddr_storage);
  return value.first(std::min(value.size(), header + count * entry));
}

}  // namespace

// sock_setbindtodevice() of Linux; the rights are the guest's, not the gofer's. Anybody may choose
// a device once; to change it takes a right.
Status HostSocket::SetDevice(Task& task, std::span<const std::byte> value) {
  const std::string_view bytes(reinterpret_cast<const char*>(value.data()),
                               std::min<size_t>(value.size(), IFNAMSIZ - 1));
  const std::string_view name = bytes.substr(0, bytes.find('\0'));
  int index = 0;
  if (!name.empty()) {
    const auto tables = space_->devices().Tables();
    const Link* const link = tables->FindLink(name);
    if (link == nullptr) return Errno(ENODEV);
    index = link->index;
  }
  if (options().bound_device != 0 && !task.creds().HasCapability(CAP_NET_RAW)) {
    return Errno(EPERM);
  }
  TRY(client_.SetOption(fd_.get(), SOL_SOCKET, SO_BINDTODEVICE, std::as_bytes(std::span(name))));
  options().bound_device = index;
  return kOk;
}

Status HostSocket::SetSocketOption(Task& task, int name, std::span<const std::byte> value) {
  if (name == SO_BINDTODEVICE) return SetDevice(task, value);
  if (name == SO_BINDTOIFINDEX) {
    const int index = TRY(ReadIntOption(value));
    if (index < 0) return Errno(EINVAL);
    if (index == 0) return SetDevice(task, {});
    const auto tables = space_->devices().Tables();
    const Link* const link = tables->FindLink(index);
    if (link == nullptr) return Errno(ENODEV);
    return SetDevice(task, std::as_bytes(std::span(link->name)));
  }
  // Filters go to no socket of the host: its programs are not for guests to write.
  if (name == SO_ATTACH_FILTER) return Errno(ENOPROTOOPT);
  TRY(Socket::SetOption(task, SOL_SOCKET, name, value));
  if (!IsIn(kPassedOn, name)) return kOk;
  if (name == SO_LINGER) {
    // A close that waits would be the sentry's own: only one that resets is passed on.
    const bool resets = options().has(SocketOptions::kLingers) && options().linger_seconds == 0;
    const linger passed{.l_onoff = resets ? 1 : 0, .l_linger = 0};
    return client_.SetOption(fd_.get(), SOL_SOCKET, name, std::as_bytes(std::span(&passed, 1)));
  }
  const size_t most =
      name == SO_MAX_PACING_RATE || name == kSendTime ? sizeof(uint64_t) : sizeof(int);
  const Status passed =
      client_.SetOption(fd_.get(), SOL_SOCKET, name, value.first(std::min(value.size(), most)));
  // The rights of the guest are not the gofer's.
  const bool needs_rights = name == SO_PRIORITY || name == kSendTime;
  return !passed.ok() && passed.error() == Errno(EPERM) && needs_rights ? kOk : passed;
}

Status HostSocket::SetOption(Task& task, int level, int name, std::span<const std::byte> value) {
  if (const Ref<TcpSocket> socket = memory()) {
    // Timeouts and the like are looked at here as well.
    if (level == SOL_SOCKET && name != SO_BINDTODEVICE && name != SO_BINDTOIFINDEX) {
      TRY(Socket::SetOption(task, level, name, value));
    }
    return socket->SetOption(task, level, name, value);
  }
  NoteOption(level, name, value);
  if (level == SOL_SOCKET) {
    TRY(SetSocketOption(task, name, value));
  } else if ((level == IPPROTO_IP && name == IP_TRANSPARENT) ||
             (level == IPPROTO_IPV6 && name == IPV6_TRANSPARENT)) {
    return Errno(EPERM);  // Of the host's network only its administrator may.
  } else if (IsSourceList(level, name)) {
    TRY(client_.SetOption(fd_.get(), level, name, TRY(SourceListIn(level, name, value))));
  } else {
    TRY(client_.SetOption(fd_.get(), level, name, value));
  }
  const bool device = name == SO_BINDTODEVICE || name == SO_BINDTOIFINDEX;
  if (level == SOL_SOCKET && device) HostSocket::OnLastClose();  // Of the twin.
  Remember(level, name, value);
  if (const Ref<TcpSocket> named = twin()) (void)named->SetOption(task, level, name, value);
  return kOk;
}

Result<std::string> HostSocket::GetSources(int level, int name, std::span<const std::byte> asked) {
  if (const Ref<TcpSocket> socket = memory()) return socket->GetSources(level, name, asked);
  const size_t header = SourceListHeader(name);
  if (asked.size() < header) return Errno(EINVAL);
  return client_.GetSources(fd_.get(), level, name, asked.first(header));
}

Result<std::string> HostSocket::GetOption(Task& task, int level, int name, size_t room) {
  if (const Ref<TcpSocket> socket = memory()) return socket->GetOption(task, level, name, room);
  if (level == SOL_SOCKET) {
    if (name == SO_ERROR && has_error()) return Socket::GetOption(task, level, name, room);
    if (!IsIn(kAskedFor, name)) return Socket::GetOption(task, level, name, room);
  }
  std::string bytes = TRY(client_.GetOption(fd_.get(), level, name, room));
  const Ref<TcpSocket> listener = memory_listener();
  if (level != IPPROTO_TCP || name != TCP_INFO || !listener) return bytes;
  // Who waits to be accepted does so in either queue.
  constexpr size_t kAt = offsetof(tcp_info, tcpi_unacked);
  uint32_t count;
  if (bytes.size() < kAt + sizeof(count)) return bytes;
  memcpy(&count, bytes.data() + kAt, sizeof(count));
  count += static_cast<uint32_t>(listener->Row().receive_queue);
  memcpy(bytes.data() + kAt, &count, sizeof(count));
  return bytes;
}

}  // namespace sentry
