#include "sentry/net/inet/datagram_socket.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "sentry/task/task.h"

namespace sentry {
namespace {

constexpr int kShutReceive = 1, kShutSend = 2;
constexpr size_t kMaxErrors = 64;
constexpr int kUdpSegment = 103, kIpv6FlowInfo = 11;  // Where headers lack them.

// An int, or one byte, in a control message.
Result<int> ReadControlInt(const std::string& data) {
  if (data.size() >= sizeof(int)) {
    int value;
    memcpy(&value, data.data(), sizeof(value));
    return value;
  }
  if (data.size() == 1) return static_cast<int>(static_cast<uint8_t>(data[0]));
  return Errno(EINVAL);
}

template <typename T>
Result<T> ReadControl(const std::string& data) {
  T value;
  if (data.size() < sizeof(value)) return Errno(EINVAL);
  memcpy(&value, data.data(), sizeof(value));
  return value;
}

uint8_t Hops(int value, uint8_t fallback) {
  return value < 0 ? fallback : static_cast<uint8_t>(value);
}

// ip_cmsg_send().
Status ApplyIpControl(const ControlMessage& control, DatagramOptions& options) {
  switch (control.type) {
    case IP_PKTINFO: {
      const auto info = TRY(ReadControl<in_pktinfo>(control.data));
      if (info.ipi_ifindex != 0 && info.ipi_ifindex != kLoopbackDevice) return Errno(ENODEV);
      if (info.ipi_spec_dst.s_addr != INADDR_ANY) {
        options.source = IpAddress::V4(ntohl(info.ipi_spec_dst.s_addr));
      }
      return kOk;
    }
    case IP_TTL: {
      const int ttl = TRY(ReadControl<int>(control.data));
      if (ttl < 1 || ttl > 255) return Errno(EINVAL);
      options.ttl = static_cast<uint8_t>(ttl);
      return kOk;
    }
    case IP_TOS: {
      const int tos = TRY(ReadControlInt(control.data));
      if (tos < 0 || tos > 255) return Errno(EINVAL);
      options.tos = static_cast<uint8_t>(tos);
      return kOk;
    }
    case IP_RETOPTS:
      return kOk;
    default:
      return Errno(EINVAL);
  }
}

// ip6_datagram_send_ctl().
Status ApplyIp6Control(const ControlMessage& control, DatagramOptions& options) {
  switch (control.type) {
    case IPV6_PKTINFO: {
      const auto info = TRY(ReadControl<in6_pktinfo>(control.data));
      if (info.ipi6_ifindex != 0 && info.ipi6_ifindex != kLoopbackDevice) return Errno(ENODEV);
      const IpAddress source = IpAddress::V6(info.ipi6_addr);
      if (!source.is_any()) options.source = source;
      return kOk;
    }
    case IPV6_HOPLIMIT:
    case IPV6_2292HOPLIMIT: {
      const int hops = TRY(ReadControl<int>(control.data));
      if (hops < -1 || hops > 255) return Errno(EINVAL);
      options.ttl = Hops(hops, 64);
      return kOk;
    }
    case IPV6_TCLASS: {
      const int traffic_class = TRY(ReadControl<int>(control.data));
      if (traffic_class < -1 || traffic_class > 255) return Errno(EINVAL);
      options.tos = Hops(traffic_class, 0);
      return kOk;
    }
    case IPV6_DONTFRAG:
    case kIpv6FlowInfo:
      return kOk;
    default:
      return Errno(EINVAL);
  }
}

}  // namespace

// What a message takes of SO_RCVBUF: sk_buff and shared info beside the bytes.
size_t DatagramSocket::Charge(size_t bytes) { return (bytes + 63) / 64 * 64 + 704; }

bool DatagramSocket::is_shut(int bits) const {
  absl::MutexLock lock(&queue_mu_);
  return (shut_ & bits) != 0;
}

Result<Endpoint> DatagramSocket::ReadDestination(const SocketAddress& address) const {
  if (domain() == AF_INET) {
    if (address.size < sizeof(sockaddr_in)) return Errno(EINVAL);
    auto in = address.As<sockaddr_in>();
    if (in.sin_family != AF_INET && in.sin_family != AF_UNSPEC) return Errno(EAFNOSUPPORT);
    in.sin_family = AF_INET;
    return ReadEndpoint(AF_INET, SocketAddress::Of(in));
  }
  if (address.family() == AF_INET) {
    if (v6_only()) return Errno(ENETUNREACH);
    return ReadEndpoint(AF_INET, address);
  }
  if (address.family() != AF_INET6) return Errno(EINVAL);
  return ReadEndpoint(AF_INET6, address);
}

Result<Endpoint> DatagramSocket::Destination(const OutgoingMessage& message) {
  Endpoint to;
  if (message.to != nullptr && message.to->size != 0) {
    to = TRY(ReadDestination(*message.to));
    if (to.port == 0 && NeedsPort()) return Errno(EINVAL);
  } else {
    absl::MutexLock lock(&mu_);
    if (!connected_) return Errno(EDESTADDRREQ);
    to = remote_;
  }
  if (is_shut(kShutSend)) return Errno(EPIPE);
  TRY(TakeError());
  if (to.address.is_any()) to = TRY(CheckDestination(to));
  if (to.address.is_v4() && domain() == AF_INET6 && v6_only()) return Errno(ENETUNREACH);
  if (to.address.is_broadcast() && !options().has(SocketOptions::kBroadcast)) {
    TRY(stack_.FindRoute(to.address));
    return Errno(EACCES);
  }
  if (!to.address.is_multicast()) {
    TRY(stack_.FindRoute(to.address));
  } else if (!to.address.is_v4()) {
    return Errno(ENETUNREACH);  // The loopback does no IPv6 multicast.
  } else if (ip_.get(IpOptions::kMulticastDevice) == 0 && options().bound_device == 0) {
    absl::MutexLock lock(&mu_);
    if (local_.address.is_any()) return Errno(ENETUNREACH);
  }
  return to;
}

Result<DatagramOptions> DatagramSocket::OptionsFor(const OutgoingMessage& message,
                                                   const Endpoint& to) const {
  DatagramOptions options;
  const bool v4 = to.address.is_v4(), group = to.address.is_multicast();
  if (v4) {
    options.ttl = Hops(ip_.get(group ? IpOptions::kMulticastTtl : IpOptions::kTtl), 64);
    options.tos = static_cast<uint8_t>(ip_.get(IpOptions::kTos));
  } else {
    options.ttl = Hops(ip_.get(group ? IpOptions::kMulticastHops6 : IpOptions::kUnicastHops6), 64);
    options.tos = Hops(ip_.get(IpOptions::kClass6), 0);
  }
  for (const ControlMessage& control : message.control.others) {
    if (control.level == SOL_SOCKET && control.type == SCM_TXTIME) {
      const bool known = this->options().has(SocketOptions::kSendTime);
      if (!known || control.data.size() != sizeof(uint64_t)) return Errno(EINVAL);
    } else if (control.level == IPPROTO_IP && v4) {
      TRY(ApplyIpControl(control, options));
    } else if (control.level == IPPROTO_IPV6 && domain() == AF_INET6) {
      TRY(ApplyIp6Control(control, options));
    } else if (control.level == IPPROTO_UDP && transport_ == Transport::kUdp &&
               control.type == kUdpSegment) {
      options.segment = TRY(ReadControl<uint16_t>(control.data));
    }
  }
  if (options.source && !stack_.IsLocal(*options.source)) {
    return Errno(options.source->is_v4() ? ENETUNREACH : EINVAL);
  }
  return options;
}

Result<Endpoint> DatagramSocket::SourceFor(const Endpoint& to, const DatagramOptions& options) {
  absl::MutexLock lock(&mu_);
  if (NeedsPort()) TRY(AutobindLocked());
  Endpoint from = local_;
  if (options.source) {
    from.address = *options.source;
  } else if (from.address.is_any() || from.address.is_multicast() || from.address.is_broadcast()) {
    from.address = IpAddress::LoopbackOf(to.address.is_v4());
  }
  if (from.address.is_v4() != to.address.is_v4()) return Errno(ENETUNREACH);
  return from;
}

Result<std::shared_ptr<const std::string>> DatagramSocket::CopyIn(IoSrc& src, size_t most) {
  if (src.remaining() > most) return Errno(EMSGSIZE);
  auto bytes = std::make_shared<std::string>(src.remaining(), '\0');
  const size_t wanted = bytes->size();
  if (wanted > 0) {
    const auto copied = src.CopyIn(std::as_writable_bytes(std::span(*bytes)));
    if (!copied.ok() || *copied != wanted) return Errno(EFAULT);
  }
  return std::shared_ptr<const std::string>(std::move(bytes));
}

Status DatagramSocket::Connect(Task& task, const SocketAddress& address) {
  if (address.size < sizeof(sa_family_t)) return Errno(EINVAL);
  if (address.family() == AF_UNSPEC) {
    Disconnect();
    return kOk;
  }
  Endpoint to;
  if (domain() == AF_INET6 && address.family() == AF_INET) {
    if (v6_only()) return Errno(EAFNOSUPPORT);
    to = TRY(ReadEndpoint(AF_INET, address));
  } else {
    to = TRY(ReadEndpoint(domain(), address));
  }
  to = TRY(CheckDestination(to));
  if (to.address.is_broadcast() && !options().has(SocketOptions::kBroadcast)) return Errno(EACCES);
  absl::MutexLock lock(&mu_);
  if (NeedsPort()) TRY(AutobindLocked());
  if (local_.address.is_any()) local_.address = IpAddress::LoopbackOf(to.address.is_v4());
  if (local_.address.is_v4() != to.address.is_v4()) return Errno(ENETUNREACH);
  remote_ = to;
  connected_ = true;
  if (binding_) {
    stack_.Update(*binding_, [&](PortBinding& binding) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      binding.local = local_;
      binding.remote = remote_;
    });
  }
  return kOk;
}

void DatagramSocket::Disconnect() {
  Ref<PortBinding> dropped;
  absl::MutexLock lock(&mu_);
  connected_ = false;
  remote_ = {};
  if (!bound_address_) local_.address = IpAddress::AnyOf(domain());
  if (!bound_port_ && NeedsPort()) {
    local_.port = 0;
    dropped = std::exchange(binding_, nullptr);
    if (dropped) stack_.Forget(*dropped);
  } else if (binding_) {
    stack_.Update(*binding_, [&](PortBinding& binding) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      binding.local = local_;
      binding.remote = {};
    });
  }
}

Result<SocketAddress> DatagramSocket::PeerAddress() {
  absl::MutexLock lock(&mu_);
  if (!connected_ || (remote_.port == 0 && NeedsPort())) return Errno(ENOTCONN);
  return ToSocketAddress(domain(), remote_);
}

Status DatagramSocket::Shutdown(int how) {
  bool connected;
  {
    absl::MutexLock lock(&mu_);
    connected = connected_;
  }
  {
    absl::MutexLock lock(&queue_mu_);
    // Linux tells the waiters all the same, and notes what is shut.
    if (connected) shut_ |= how == SHUT_RDWR ? 3 : how == SHUT_RD ? kShutReceive : kShutSend;
  }
  Notify(kPollReadable | kPollWritable | POLLRDHUP | POLLHUP);
  return connected ? Status(kOk) : Errno(ENOTCONN);
}

// udp_queue_rcv_one_skb(): filters of UDP see its header in front, which is never cut.
void DatagramSocket::Deliver(const Datagram& datagram) {
  if (options().filter.empty()) return Queue(datagram);
  constexpr size_t kHeader = 8;
  const bool udp = transport_ == Transport::kUdp || transport_ == Transport::kUdpLite;
  const size_t header = udp ? kHeader : 0;
  std::string packet(header, '\0');
  packet += *datagram.bytes;
  if (udp) {
    const std::array<uint16_t, 3> fields = {htons(datagram.from.port), htons(datagram.to.port),
                                            htons(static_cast<uint16_t>(packet.size()))};
    memcpy(packet.data(), fields.data(), sizeof(fields));
  }
  const auto kept =
      options().filter.Keep(std::as_bytes(std::span(packet)), std::max<size_t>(header, 1));
  if (kept == packet.size()) return Queue(datagram);
  if (!kept) {
    absl::MutexLock lock(&queue_mu_);
    drops_++;
    return;
  }
  Datagram cut = datagram;
  cut.bytes = std::make_shared<const std::string>(packet.substr(header, *kept - header));
  Queue(cut);
}

void DatagramSocket::Queue(const Datagram& datagram) {
  {
    absl::MutexLock lock(&queue_mu_);
    // The one that crosses the limit still gets in (__udp_enqueue_schedule_skb()).
    if (charged_ > static_cast<size_t>(options().receive_buffer.load())) {
      drops_++;
      return;
    }
    charged_ += Charge(datagram.bytes->size());
    Queued queued{.datagram = datagram, .drops = drops_};
    if (options().stamps()) clock_gettime(CLOCK_REALTIME, &queued.stamp);
    queue_.push_back(std::move(queued));
  }
  Notify(kPollReadable);
}

void DatagramSocket::ReportUnreachable(const Endpoint& to, const std::string& bytes) {
  const bool wants_queue =
      ip_.has(to.address.is_v4() ? IpOptions::kReceiveErrors : IpOptions::kReceiveErrors6);
  {
    absl::MutexLock lock(&mu_);
    if (!wants_queue && !(connected_ && remote_ == to)) return;
  }
  if (wants_queue) {
    absl::MutexLock lock(&queue_mu_);
    if (errors_.size() < kMaxErrors) errors_.push_back({to, bytes});
  }
  SetError(Errno(ECONNREFUSED));
  Notify(kPollReadable | kPollWritable | POLLERR);
}

uint32_t DatagramSocket::Poll() {
  uint32_t events = kPollWritable;
  absl::MutexLock lock(&queue_mu_);
  if (has_error() || !errors_.empty()) {
    events |= POLLERR;
    if (options().has(SocketOptions::kSelectErrorQueue)) events |= POLLPRI;
  }
  if ((shut_ & kShutReceive) != 0) events |= kPollReadable | POLLRDHUP;
  if (shut_ == (kShutReceive | kShutSend)) events |= POLLHUP;
  if (!queue_.empty()) events |= kPollReadable;
  return events;
}

Result<size_t> DatagramSocket::Receive(IoDst& dst, IncomingMessage& message) {
  if ((message.flags & MSG_ERRQUEUE) != 0) return ReceiveError(dst, message);
  if ((message.flags & MSG_OOB) != 0 && transport_ != Transport::kUdp &&
      transport_ != Transport::kUdpLite) {
    return Errno(EOPNOTSUPP);
  }
  TRY(TakeError());
  Queued queued;
  {
    absl::MutexLock lock(&queue_mu_);
    if (queue_.empty()) {
      if ((shut_ & kShutReceive) != 0) return size_t{0};
      return Errno(EAGAIN);
    }
    if ((message.flags & MSG_PEEK) != 0) {
      queued = queue_.front();
    } else {
      queued = std::move(queue_.front());
      queue_.pop_front();
      charged_ -= Charge(queued.datagram.bytes->size());
    }
  }
  const std::string header = Header(queued.datagram);
  const std::string& bytes = *queued.datagram.bytes;
  message.full_size = header.size() + bytes.size();
  const size_t room = dst.remaining();
  size_t copied = 0;
  if (!header.empty() && room > 0) {
    copied =
        TRY(dst.CopyOut(std::as_bytes(std::span(header)).first(std::min(room, header.size()))));
  }
  if (dst.remaining() > 0 && !bytes.empty()) {
    const size_t count = std::min(dst.remaining(), bytes.size());
    copied += TRY(dst.CopyOut(std::as_bytes(std::span(bytes)).first(count)));
  }
  if (copied < message.full_size) message.answer_flags |= MSG_TRUNC;
  message.from = ToSocketAddress(domain(), queued.datagram.from);
  AddControl(queued, message);
  return copied;
}

InetRow DatagramSocket::Row() {
  InetRow row{.domain = domain(), .protocol = what().protocol, .state = TCP_CLOSE};
  row.uid = uid_;
  row.inode = inode_number();
  {
    absl::MutexLock lock(&mu_);
    row.local = local_;
    row.remote = connected_ ? remote_ : Endpoint{IpAddress::AnyOf(domain()), 0};
    if (connected_) row.state = TCP_ESTABLISHED;
  }
  absl::MutexLock lock(&queue_mu_);
  row.receive_queue = charged_;
  row.drops = drops_;
  return row;
}

Result<int64_t> DatagramSocket::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  int32_t answer = 0;
  switch (command) {
    case SIOCINQ: {
      absl::MutexLock lock(&queue_mu_);
      if (!queue_.empty()) answer = static_cast<int32_t>(queue_.front().datagram.bytes->size());
      break;
    }
    case SIOCOUTQ:
      break;  // What is sent has arrived.
    default:
      return InetSocket::Ioctl(task, command, arg);
  }
  TRY(task.mem().Write(UserPtr<int32_t>{UserAddr{arg}}, answer));
  return int64_t{0};
}

Result<int> DatagramSocket::PathMtu() {
  absl::MutexLock lock(&mu_);
  if (!connected_) return Errno(ENOTCONN);
  return remote_.address.is_v4() ? 65535 : 65536;
}

}  // namespace sentry
