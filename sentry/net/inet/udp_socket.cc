#include "sentry/net/inet/udp_socket.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace sentry {
namespace {

// Options that older headers lack.
constexpr int kUdpNoCheck6Send = 101, kUdpNoCheck6Receive = 102, kUdpSegment = 103, kUdpGro = 104;
constexpr int kSendCoverage = 10, kReceiveCoverage = 11;  // UDPLITE_*_CSCOV.
constexpr size_t kMaxSegments = 128;                      // UDP_MAX_SEGMENTS.

// What is left of 65535 bytes by the header of UDP and, within IPv4, that of IP.
size_t MaxPayload(const Endpoint& to) { return to.address.is_v4() ? 65507 : 65527; }

}  // namespace

UdpSocket::UdpSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags,
                     uint32_t uid)
    : DatagramSocket(std::move(space), what, flags, MakeRef<WaitPoint>(),
                     what.protocol == IPPROTO_UDPLITE ? Transport::kUdpLite : Transport::kUdp,
                     uid) {}

Result<size_t> UdpSocket::Send(IoSrc& src, OutgoingMessage& message) {
  if ((message.flags & MSG_OOB) != 0 && domain() == AF_INET) return Errno(EOPNOTSUPP);
  if (src.remaining() > 0xffff) return Errno(EMSGSIZE);
  const bool more = corked_ || (message.flags & MSG_MORE) != 0;
  if (more || gathering_) {
    const auto bytes = TRY(CopyIn(src, 0xffff));
    TRY(Gather(*bytes, message));
    if (!more) TRY(Push());
    return bytes->size();
  }
  const Endpoint to = TRY(Destination(message));
  DatagramOptions options = TRY(OptionsFor(message, to));
  if (options.segment == 0) options.segment = segment_;
  auto bytes = TRY(CopyIn(src, MaxPayload(to)));
  const size_t size = bytes->size();
  TRY(Transmit(to, options, std::move(bytes)));
  return size;
}

Status UdpSocket::Gather(const std::string& bytes, OutgoingMessage& message) {
  absl::MutexLock lock(&cork_mu_);
  if (pending_ == nullptr) {
    auto pending = std::make_unique<Pending>();
    pending->to = TRY(Destination(message));
    pending->options = TRY(OptionsFor(message, pending->to));
    if (pending->options.segment == 0) pending->options.segment = segment_;
    pending_ = std::move(pending);
  }
  if (bytes.size() > MaxPayload(pending_->to) - pending_->bytes.size()) {
    // What has been gathered is lost with it (udp_flush_pending_frames()).
    pending_ = nullptr;
    gathering_ = false;
    return Errno(EMSGSIZE);
  }
  pending_->bytes += bytes;
  gathering_ = true;
  return kOk;
}

Status UdpSocket::Push() {
  std::unique_ptr<Pending> pending;
  {
    absl::MutexLock lock(&cork_mu_);
    pending = std::move(pending_);
    gathering_ = false;
  }
  if (pending == nullptr) return kOk;
  return Transmit(pending->to, pending->options,
                  std::make_shared<const std::string>(std::move(pending->bytes)));
}

Status UdpSocket::Transmit(const Endpoint& to, const DatagramOptions& options,
                           std::shared_ptr<const std::string> bytes) {
  Datagram datagram{.to = to, .ttl = options.ttl, .tos = options.tos};
  datagram.from = TRY(SourceFor(to, options));
  const auto segment = static_cast<size_t>(options.segment);
  if (segment == 0 || bytes->size() <= segment) {
    datagram.bytes = std::move(bytes);
    TransmitOne(datagram);
    return kOk;
  }
  if (bytes->size() > segment * kMaxSegments) return Errno(EINVAL);
  for (size_t at = 0; at < bytes->size(); at += segment) {
    datagram.bytes = std::make_shared<const std::string>(bytes->substr(at, segment));
    TransmitOne(datagram);
  }
  return kOk;
}

void UdpSocket::TransmitOne(const Datagram& datagram) {
  if (datagram.to.address.is_multicast() || datagram.to.address.is_broadcast()) {
    TransmitToGroup(datagram);
    return;
  }
  const Ref<InetSocket> receiver = stack_.FindDatagram(transport_, datagram.to, datagram.from);
  if (receiver) {
    static_cast<DatagramSocket&>(*receiver).Deliver(datagram);
  } else {
    ReportUnreachable(datagram.to, *datagram.bytes);
  }
}

void UdpSocket::TransmitToGroup(const Datagram& datagram) {
  const bool group = datagram.to.address.is_multicast();
  if (group && !ip_.has(IpOptions::kMulticastLoop)) return;
  const std::vector<Ref<InetSocket>> candidates =
      stack_.FindMembers(transport_, datagram.to, datagram.from);
  std::vector<DatagramSocket*> receivers;
  bool joined = !group;  // The host takes messages to a group that somebody has joined.
  for (const Ref<InetSocket>& candidate : candidates) {
    auto& socket = static_cast<DatagramSocket&>(*candidate);
    const auto hears = socket.Hears(datagram.to.address, datagram.from.address);
    joined |= hears.has_value();
    if (!group || hears.value_or(socket.ip().has(IpOptions::kMulticastAll))) {
      receivers.push_back(&socket);
    }
  }
  if (!joined) return;
  for (DatagramSocket* receiver : receivers) receiver->Deliver(datagram);
}

Result<std::string> UdpSocket::GetOption(Task& task, int level, int name, size_t room) {
  if (level != what().protocol) return DatagramSocket::GetOption(task, level, name, room);
  switch (name) {
    case UDP_CORK:
      return OptionBytes(corked_ ? 1 : 0);
    case UDP_ENCAP:
      return OptionBytes(0);
    case kUdpNoCheck6Send:
      return OptionBytes(no_check6_send_.load());
    case kUdpNoCheck6Receive:
      return OptionBytes(no_check6_receive_.load());
    case kUdpSegment:
      return OptionBytes(segment_.load());
    case kUdpGro:
      return OptionBytes(gro_.load());
    case kSendCoverage:
    case kReceiveCoverage:
      return OptionBytes((name == kSendCoverage ? send_coverage_ : receive_coverage_).load());
    default:
      return Errno(ENOPROTOOPT);
  }
}

Status UdpSocket::SetOption(Task& task, int level, int name, std::span<const std::byte> value) {
  if (level != what().protocol) return DatagramSocket::SetOption(task, level, name, value);
  const int number = TRY(ReadIntOption(value));
  switch (name) {
    case UDP_ENCAP:
      return number == 0 ? Status(kOk) : Errno(ENOPROTOOPT);
    case UDP_CORK:
      corked_ = number != 0;
      return number != 0 ? Status(kOk) : Push();
    case kUdpNoCheck6Send:
      no_check6_send_ = number != 0;
      return kOk;
    case kUdpNoCheck6Receive:
      no_check6_receive_ = number != 0;
      return kOk;
    case kUdpSegment:
      if (number < 0 || number > 0xffff) return Errno(EINVAL);
      segment_ = number;
      return kOk;
    case kUdpGro:
      gro_ = number != 0;  // Nothing is ever joined, which a receiver has to expect.
      return kOk;
    case kSendCoverage:
    case kReceiveCoverage:
      if (!is_lite()) return Errno(ENOPROTOOPT);
      // The header is covered, 8 bytes; 0 stands for all.
      (name == kSendCoverage ? send_coverage_ : receive_coverage_) =
          number != 0 ? std::clamp(number, 8, 0xffff) : 0;
      return kOk;
    default:
      return Errno(ENOPROTOOPT);
  }
}

}  // namespace sentry
