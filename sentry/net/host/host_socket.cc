#include "sentry/net/host/host_socket.h"

#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "sentry/fs/host/host_poller.h"
#include "sentry/net/devices/ioctl.h"
#include "sentry/net/host/host_io.h"
#include "sentry/net/inet/inet_stack.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

uint16_t PortOf(const SocketAddress& address) {
  // Of both families at the same place.
  return ntohs(address.As<sockaddr_in>().sin_port);
}

// Of an address that bind(2) and connect(2) take; that of AF_INET6 is SIN6_LEN_RFC2133.
size_t LeastSize(int domain) { return domain == AF_INET ? sizeof(sockaddr_in) : 24; }

}  // namespace

// inet_bind_sk(), inet6_bind_sk(): what the gofer, which knows no family of the socket, does not
// see.
Result<SocketAddress> HostSocket::CheckBindAddress(const SocketAddress& address) const {
  if (what().type == SOCK_RAW || address.size < LeastSize(what().domain)) return address;
  if (address.family() == what().domain) return address;
  auto name = address.As<sockaddr_in>();
  const bool any = address.family() == AF_UNSPEC && name.sin_addr.s_addr == INADDR_ANY;
  if (what().domain != AF_INET || !any) return Errno(EAFNOSUPPORT);
  name.sin_family = AF_INET;
  return SocketAddress::Of(name);
}

// inet_stream_connect(), tcp_v4_connect() and the like.
Status HostSocket::CheckConnectAddress(const SocketAddress& address) const {
  if (address.size < sizeof(sa_family_t)) return Errno(EINVAL);
  const sa_family_t family = address.family();
  if (family == AF_UNSPEC) return kOk;
  if (address.size < LeastSize(what().domain)) return Errno(EINVAL);
  return family == AF_INET || family == AF_INET6 ? Status(kOk) : Errno(EAFNOSUPPORT);
}

Result<Ref<Socket>> HostSocket::Create(Task& task, const SocketKind& what, OpenFlags flags) {
  auto space = Ref<NetworkNamespace>::Share(task.namespaces().network());
  TRY(CheckProtocol(what));
  if (what.type == SOCK_RAW && !task.creds().HasCapability(CAP_NET_RAW)) return Errno(EPERM);
  UniqueFd fd = TRY(space->net_client()->MakeSocket(what.domain, what.type, what.protocol));
  SocketKind kind = what;
  if (kind.protocol == 0) {
    kind.protocol = what.type == SOCK_STREAM ? int{IPPROTO_TCP} : int{IPPROTO_UDP};
  }
  return Ref<Socket>(MakeRef<HostSocket>(std::move(space), kind, flags, std::move(fd)));
}

HostSocket::HostSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags,
                       UniqueFd fd, std::optional<SocketAddress> peer)
    : Socket(what, flags),
      space_(std::move(space)),
      client_(*space_->net_client()),
      fd_(std::move(fd)),
      accepted_from_(std::move(peer)),
      uid_(Task::Current() == nullptr ? 0 : Task::Current()->creds().fsuid) {
  client_.Add(*this);
}

HostSocket::~HostSocket() {
  client_.ports().Erase(*this);
  client_.Remove(*this);
  HostPoller::Get().Remove(fd_.get());
}

Errno HostSocket::WouldBlock(uint32_t events) {
  // News comes once: whoever was woken for what somebody else took has to ask again.
  if (!wait_queue()->empty()) ArmHostEvents(events);
  return Errno(EAGAIN);
}

Status HostSocket::Bind(Task& task, const SocketAddress& given) {
  const SocketAddress address = TRY(CheckBindAddress(given));
  // inet_bind() of Linux looks at the family first; the gofer checks the rest.
  const uint16_t port = PortOf(address);
  const bool privileged =
      port != 0 && port < space_->inet().first_unprivileged && what().type != SOCK_RAW;
  const bool inet = address.family() == AF_INET || address.family() == AF_INET6;
  if (inet && privileged && !task.creds().HasCapability(CAP_NET_BIND_SERVICE)) {
    return Errno(EACCES);
  }
  if (const Ref<TcpSocket> socket = memory()) return socket->Bind(task, address);
  TRY(BindBoth(task, address));
  LearnNames(Endpoint{});
  return kOk;
}

Status HostSocket::Listen(Task& task, int backlog) {
  if (const Ref<TcpSocket> socket = memory()) return socket->Listen(task, backlog);
  TRY(client_.Listen(fd_.get(), backlog));
  engaged_ = true;
  ListenInMemory(task, backlog);
  listening_.store(true, std::memory_order_release);
  return kOk;
}

Status HostSocket::Connect(Task& task, const SocketAddress& address) {
  TRY(CheckConnectAddress(address));
  if (const auto outcome = ConnectInMemory(task, address)) return *outcome;
  {
    absl::MutexLock lock(&mu_);
    connecting_to_ = address;
  }
  TRY(ConnectOnHost(address));
  LearnConnection(address);
  return kOk;
}

Status HostSocket::ConnectOnHost(const SocketAddress& address) {
  const Status status = client_.Connect(fd_.get(), address);
  // Once more after one that failed, it is free to go elsewhere.
  if (status.ok() || status.error() == Errno(EINPROGRESS)) engaged_ = true;
  return status;
}

// connect(2) once more: it tells the outcome, and the host's socket learns that it was told.
Status HostSocket::FinishConnect() {
  if (const Ref<TcpSocket> socket = memory()) return socket->FinishConnect();
  pollfd ready{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  if (poll(&ready, 1, 0) <= 0) {
    (void)WouldBlock(POLLOUT);
    return Errno(EALREADY);
  }
  SocketAddress address;
  {
    absl::MutexLock lock(&mu_);
    address = connecting_to_;
  }
  const Status status = client_.Connect(fd_.get(), address);
  const bool known = !status.ok() && status.error() == Errno(EISCONN);
  return known ? Status(kOk) : status;
}

Result<Ref<Socket>> HostSocket::Accept(Task& task, OpenFlags flags) {
  if (const Ref<TcpSocket> listener = memory_listener()) {
    auto accepted = listener->Accept(task, flags);
    if (accepted.ok()) return accepted;
  }
  SocketAddress from;
  socklen_t size = SocketAddress::kMaxSize;
  UniqueFd fd(accept4(fd_.get(), reinterpret_cast<sockaddr*>(from.bytes.data()), &size,
                      SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.valid()) {
    const Errno error = HostErrno();
    return error == Errno(EAGAIN) ? WouldBlock(POLLIN) : error;
  }
  from.size = std::min<uint32_t>(size, SocketAddress::kMaxSize);
  auto accepted = MakeRef<HostSocket>(space_, what(), flags, std::move(fd), from);
  accepted->options().InheritFrom(options());
  return Ref<Socket>(std::move(accepted));
}

Result<SocketAddress> HostSocket::LocalAddress() {
  if (const Ref<TcpSocket> socket = memory()) return socket->LocalAddress();
  return client_.LocalName(fd_.get());
}

Result<SocketAddress> HostSocket::PeerAddress() {
  if (accepted_from_.has_value()) return *accepted_from_;
  if (const Ref<TcpSocket> socket = memory()) return socket->PeerAddress();
  return client_.PeerName(fd_.get());
}

Status HostSocket::Shutdown(int how) {
  if (const Ref<TcpSocket> socket = memory()) return socket->Shutdown(how);
  const Ref<TcpSocket> listener = memory_listener();
  // Also of one that is not connected (inet_shutdown()).
  if (is_udp() && how != SHUT_WR) read_shut_ = true;
  if (is_udp() && how != SHUT_RD) write_shut_ = true;
  TRY(client_.Shutdown(fd_.get(), how));
  if (how != SHUT_WR && is_listening()) {
    listening_ = false;
    if (listener) (void)listener->Shutdown(how);
  }
  Notify(POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  return kOk;
}

uint32_t HostSocket::Poll() {
  constexpr short kAll =
      POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND | POLLRDHUP;
  if (const Ref<TcpSocket> socket = memory()) return socket->Poll();
  uint32_t events = has_error() ? POLLERR : 0;
  if (const Ref<TcpSocket> listener = memory_listener()) events |= listener->Poll();
  if (is_udp() && !inbox_.empty()) events |= kPollReadable;
  pollfd ready{.fd = fd_.get(), .events = kAll, .revents = 0};
  if (poll(&ready, 1, 0) <= 0) return events;
  return events | static_cast<uint16_t>(ready.revents);
}

void HostSocket::ArmHostEvents(uint32_t events) {
  if (is_in_memory()) return;
  const Status armed = HostPoller::Get().Arm(fd_.get(), *wait_queue(), events);
  if (!armed.ok()) Notify(events);
}

InetTable HostSocket::table() const {
  if (what().type == SOCK_STREAM) return InetTable::kTcp;
  if (what().type == SOCK_RAW) return InetTable::kRaw;
  return what().protocol == IPPROTO_UDP ? InetTable::kUdp : InetTable::kIcmp;
}

InetRow HostSocket::Describe() {
  InetRow row{.domain = what().domain, .protocol = what().protocol};
  row.uid = uid_;
  row.inode = inode_number();
  const auto endpoint = [&row](const Result<SocketAddress>& name) {
    const Endpoint nobody{IpAddress::AnyOf(row.domain), 0};
    const Result<Endpoint> read = name.ok() ? ReadEndpoint(row.domain, *name) : nobody;
    return read.ok() ? *read : nobody;
  };
  const Result<SocketAddress> peer = PeerAddress();
  row.local = endpoint(LocalAddress());
  row.remote = endpoint(peer);
  row.state = peer.ok() ? TCP_ESTABLISHED : is_listening() ? TCP_LISTEN : TCP_CLOSE;
  int32_t count = 0;
  if (ioctl(fd_.get(), FIONREAD, &count) == 0) row.receive_queue = static_cast<uint32_t>(count);
  if (ioctl(fd_.get(), TIOCOUTQ, &count) == 0) row.send_queue = static_cast<uint32_t>(count);
  if (is_udp()) row.receive_queue += inbox_.charged();
  if (what().type != SOCK_STREAM) return row;
  const Ref<TcpSocket> listener = memory_listener();
  const auto bytes = client_.GetOption(fd_.get(), IPPROTO_TCP, TCP_INFO, sizeof(tcp_info));
  tcp_info info{};
  if (!bytes.ok() || bytes->empty()) return row;
  memcpy(&info, bytes->data(), std::min(bytes->size(), sizeof(info)));
  row.state = info.tcpi_state;
  if (row.state == TCP_LISTEN) {
    // Who waits to be accepted, and how many may (tcp_get_info() of Linux).
    row.receive_queue = info.tcpi_unacked + (listener ? listener->Row().receive_queue : 0);
    row.send_queue = info.tcpi_sacked;
  }
  return row;
}

Result<int64_t> HostSocket::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  if (const Ref<TcpSocket> socket = memory()) return socket->Ioctl(task, command, arg);
  if (command == FIONREAD || command == TIOCOUTQ) {
    int32_t count = 0;
    const auto first = command == FIONREAD && is_udp() ? inbox_.First(false) : std::nullopt;
    if (first) {
      count = static_cast<int32_t>(first->size);
    } else if (ioctl(fd_.get(), command, &count) != 0) {
      return Errno::Last();
    }
    TRY(task.mem().Write(UserPtr<int32_t>{UserAddr{arg}}, count));
    return int64_t{0};
  }
  return DeviceIoctl(task, space_->devices(), what().domain, command, arg);
}

}  // namespace sentry
