#include "sentry/net/inet/icmp_socket.h"

#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

namespace sentry {
namespace {

constexpr size_t kEchoHeader = 8;  // Type, code, checksum, identifier, sequence.
constexpr size_t kMaxMessage = 65535;
constexpr int kIcmp6Filter = 1;  // ICMPV6_FILTER at level IPPROTO_ICMPV6.

bool IsIcmp(int protocol) { return protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6; }

// RFC 1071; `sum` is what comes before.
uint32_t AddUp(std::string_view bytes, uint32_t sum) {
  for (size_t i = 0; i < bytes.size(); i++) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    sum += i % 2 == 0 ? uint32_t{byte} << 8 : byte;
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

uint16_t Checksum(const Datagram& datagram, std::string_view bytes) {
  uint32_t sum = 0;
  if (!datagram.to.address.is_v4()) {
    const in6_addr from = datagram.from.address.v6(), to = datagram.to.address.v6();
    sum = AddUp({reinterpret_cast<const char*>(&from), sizeof(from)}, sum);
    sum = AddUp({reinterpret_cast<const char*>(&to), sizeof(to)}, sum);
    sum += static_cast<uint32_t>(bytes.size()) + IPPROTO_ICMPV6;
  }
  sum = AddUp(bytes, sum);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

void SetChecksum(const Datagram& datagram, std::string& bytes) {
  bytes[2] = bytes[3] = 0;
  const uint16_t sum = htons(Checksum(datagram, bytes));
  memcpy(bytes.data() + 2, &sum, sizeof(sum));
}

uint16_t EchoIdentifier(const std::string& bytes) {
  uint16_t id;
  memcpy(&id, bytes.data() + 4, sizeof(id));
  return ntohs(id);
}

void DeliverToRaw(InetStack& stack, const Datagram& datagram, int protocol) {
  Datagram copy = datagram;
  copy.to.port = static_cast<uint16_t>(protocol);
  copy.from.port = 0;
  const Endpoint from{datagram.from.address, static_cast<uint16_t>(protocol)};
  for (const Ref<InetSocket>& socket : stack.FindMembers(Transport::kRaw, copy.to, from)) {
    auto& raw = static_cast<RawSocket&>(*socket);
    const bool v4 = raw.what().domain == AF_INET;
    if (v4 != datagram.to.address.is_v4()) continue;
    const auto type = static_cast<uint8_t>(datagram.bytes->empty() ? 0 : (*datagram.bytes)[0]);
    if (IsIcmp(protocol) && !raw.Accepts(type)) continue;
    raw.Deliver(copy);
  }
}

}  // namespace

void TransmitIcmp(InetStack& stack, const Datagram& datagram) {
  const bool v4 = datagram.to.address.is_v4();
  DeliverToRaw(stack, datagram, v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6});
  const std::string& bytes = *datagram.bytes;
  if (bytes.size() < kEchoHeader || datagram.to.address.is_multicast() ||
      datagram.to.address.is_broadcast() || Checksum(datagram, bytes) != 0) {
    return;
  }
  const auto type = static_cast<uint8_t>(bytes[0]);
  if (type == (v4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY)) {
    Datagram reply = datagram;
    reply.to.port = EchoIdentifier(bytes);
    reply.from.port = 0;
    const auto ping = stack.FindDatagram(Transport::kPing, reply.to, reply.from);
    if (ping) static_cast<DatagramSocket&>(*ping).Deliver(reply);
  } else if (type == (v4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST)) {
    Datagram reply{.from = datagram.to, .to = datagram.from, .tos = datagram.tos};
    std::string answer = bytes;
    answer[0] = static_cast<char>(v4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY);
    SetChecksum(reply, answer);
    reply.bytes = std::make_shared<const std::string>(std::move(answer));
    TransmitIcmp(stack, reply);  // Once: a reply is not answered.
  }
}

PingSocket::PingSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags,
                       uint32_t uid)
    : DatagramSocket(std::move(space), what, flags, MakeRef<WaitPoint>(), Transport::kPing, uid) {}

Result<size_t> PingSocket::Send(IoSrc& src, OutgoingMessage& message) {
  if ((message.flags & MSG_OOB) != 0) return Errno(EOPNOTSUPP);
  if (src.remaining() < kEchoHeader) return Errno(EINVAL);
  if (src.remaining() > kMaxMessage) return Errno(EMSGSIZE);
  OutgoingMessage checked;
  SocketAddress to_address;
  if (message.to != nullptr) {
    // The port of an echo's destination means nothing.
    to_address = *message.to;
    auto in = to_address.As<sockaddr_in>();
    if (in.sin_port == 0) in.sin_port = htons(1);
    memcpy(to_address.bytes.data(), &in, 4);
    checked.to = &to_address;
  }
  const Endpoint to = TRY(Destination(checked));
  const DatagramOptions options = TRY(OptionsFor(message, to));
  auto copied = TRY(CopyIn(src, kMaxMessage));
  std::string bytes = *copied;
  const bool v4 = to.address.is_v4();
  if (static_cast<uint8_t>(bytes[0]) != (v4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST) || bytes[1] != 0) {
    return Errno(EINVAL);
  }
  Datagram datagram{.to = to, .ttl = options.ttl, .tos = options.tos};
  datagram.from = TRY(SourceFor(to, options));
  const uint16_t id = htons(datagram.from.port);
  memcpy(bytes.data() + 4, &id, sizeof(id));
  SetChecksum(datagram, bytes);
  const size_t size = bytes.size();
  datagram.bytes = std::make_shared<const std::string>(std::move(bytes));
  TransmitIcmp(stack_, datagram);
  return size;
}

RawSocket::RawSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags,
                     uint32_t uid)
    : DatagramSocket(std::move(space), what, flags, MakeRef<WaitPoint>(), Transport::kRaw, uid) {
  if (what.protocol == IPPROTO_RAW) ip().set(IpOptions::kHeaderIncluded, 1);
  options().Set(SocketOptions::kReuseAddress, true);  // INET_PROTOSW_REUSE.
  absl::MutexLock lock(&mu_);
  binding_ = NewBindingLocked();
  local_.port = static_cast<uint16_t>(what.protocol);
  stack_.Register(*binding_, local_);
}

Status RawSocket::Bind(Task& task, const SocketAddress& address) {
  const Endpoint wanted = TRY(ReadEndpoint(domain(), address));
  if (!wanted.address.is_any() && !stack_.IsLocal(wanted.address) &&
      !wanted.address.is_multicast() && !wanted.address.is_broadcast()) {
    return Errno(EADDRNOTAVAIL);
  }
  absl::MutexLock lock(&mu_);
  if (connected_) return Errno(EINVAL);
  local_.address = wanted.address;
  bound_address_ = !wanted.address.is_any();
  stack_.Update(*binding_, [&](PortBinding& binding) { binding.local.address = wanted.address; });
  return kOk;
}

Result<size_t> RawSocket::Send(IoSrc& src, OutgoingMessage& message) {
  if ((message.flags & MSG_OOB) != 0) return Errno(EOPNOTSUPP);
  const Endpoint to = TRY(Destination(message));
  const DatagramOptions options = TRY(OptionsFor(message, to));
  auto bytes = TRY(CopyIn(src, kMaxMessage));
  const size_t size = bytes->size();
  Datagram datagram{.to = to, .ttl = options.ttl, .tos = options.tos};
  datagram.from = TRY(SourceFor(to, options));
  int protocol = what().protocol;
  if (domain() == AF_INET && ip().has(IpOptions::kHeaderIncluded)) {
    // The header is the application's; only what it says of the protocol matters here.
    iphdr header;
    if (size < sizeof(header)) return Errno(EINVAL);
    memcpy(&header, bytes->data(), sizeof(header));
    if (header.ihl < 5 || size < header.ihl * size_t{4}) return Errno(EINVAL);
    protocol = header.protocol;
    datagram.ttl = header.ttl;
    bytes = std::make_shared<const std::string>(bytes->substr(header.ihl * size_t{4}));
  } else if (protocol == IPPROTO_ICMPV6 && size >= kEchoHeader) {
    std::string with_sum = *bytes;
    SetChecksum(datagram, with_sum);
    bytes = std::make_shared<const std::string>(std::move(with_sum));
  }
  datagram.bytes = std::move(bytes);
  if (protocol == (to.address.is_v4() ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6})) {
    TransmitIcmp(stack_, datagram);
  } else {
    DeliverToRaw(stack_, datagram, protocol);
  }
  return size;
}

std::string RawSocket::Header(const Datagram& datagram) const {
  if (domain() != AF_INET) return {};
  iphdr header{};
  header.version = 4;
  header.ihl = 5;
  header.tos = datagram.tos;
  header.tot_len = htons(static_cast<uint16_t>(sizeof(header) + datagram.bytes->size()));
  header.frag_off = htons(IP_DF);
  header.ttl = datagram.ttl;
  header.protocol = static_cast<uint8_t>(datagram.to.port);
  header.saddr = htonl(datagram.from.address.v4());
  header.daddr = htonl(datagram.to.address.v4());
  std::string bytes = OptionBytes(header);
  const auto sum = static_cast<uint16_t>(~AddUp(bytes, 0));
  header.check = htons(sum);
  return OptionBytes(header);
}

bool RawSocket::Accepts(uint8_t type) const {
  // ICMP_FILTER is about the first 32 types only.
  if (domain() == AF_INET && type >= 32) return true;
  return (blocked_[type / 32].load(std::memory_order_relaxed) >> type % 32 & 1) == 0;
}

Result<std::string> RawSocket::GetOption(Task& task, int level, int name, size_t room) {
  if (level == SOL_RAW && what().protocol == IPPROTO_ICMP && name == ICMP_FILTER) {
    return OptionBytes(blocked_[0].load());
  }
  if (level == IPPROTO_ICMPV6 && what().protocol == IPPROTO_ICMPV6 && name == kIcmp6Filter) {
    std::string bytes;
    for (const auto& word : blocked_) bytes += OptionBytes(word.load());
    return bytes;
  }
  return DatagramSocket::GetOption(task, level, name, room);
}

Status RawSocket::SetOption(Task& task, int level, int name, std::span<const std::byte> value) {
  const bool filter4 = level == SOL_RAW && what().protocol == IPPROTO_ICMP && name == ICMP_FILTER;
  const bool filter6 =
      level == IPPROTO_ICMPV6 && what().protocol == IPPROTO_ICMPV6 && name == kIcmp6Filter;
  if (filter4 || filter6) {
    std::array<uint32_t, 8> words{};
    const size_t most = filter4 ? sizeof(uint32_t) : sizeof(words);
    memcpy(words.data(), value.data(), std::min(value.size(), most));
    for (size_t i = 0; i < words.size(); i++) blocked_[i] = words[i];
    return kOk;
  }
  // Where ICMPv6 has its checksum is known, and IPV6_CHECKSUM of others changes nothing here.
  if (level == IPPROTO_RAW || (level == IPPROTO_IPV6 && name == IPV6_CHECKSUM)) {
    return what().protocol == IPPROTO_ICMPV6 ? Errno(EINVAL) : Status(kOk);
  }
  return DatagramSocket::SetOption(task, level, name, value);
}

}  // namespace sentry
