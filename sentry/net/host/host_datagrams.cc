// The sender and the receiver are known to the host by the same names as ever, so that ports,
// errors and everybody outside are as they were; only the way of a message is shorter. Whatever a
// message has to go with (control messages, odd flags), and sockets with options that show or
// change how a message travels, stay the host's affair, and so does a message that nobody here
// would hear.
#include "sentry/net/host/host_datagrams.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sentry/net/host/host_socket.h"

namespace sentry {
namespace {

constexpr size_t kMaxPayload = 65507;  // Of IPv4; those of up to 20 bytes more take the long way.
constexpr uint32_t kPlainFlags = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CONFIRM;
// Those who wait in the host's queue have a turn now and then although the inbox is never empty.
constexpr uint32_t kTurns = 16;

// What the message takes beside its bytes, as DatagramSocket::Charge().
size_t Charge(size_t bytes) { return (bytes + 63) / 64 * 64 + 704; }

// Options with which a socket can still do without the host: they say nothing about messages that
// arrive, and of those that are sent only what nobody asks for here.
constexpr int kSocketLevel[] = {SO_REUSEADDR, SO_RCVBUF,    SO_SNDBUF,    SO_RCVBUFFORCE,
                                SO_RCVTIMEO,  SO_SNDTIMEO,  SO_BROADCAST, SO_SNDBUFFORCE,
                                SO_PRIORITY,  SO_KEEPALIVE, SO_LINGER,    SO_RCVLOWAT,
                                SO_NO_CHECK,  SO_BUSY_POLL};
constexpr int kIpLevel[] = {IP_RECVERR,       IP_TOS,          IP_TTL,      IP_MTU_DISCOVER,
                            IP_MULTICAST_TTL, IP_MULTICAST_IF, IP_FREEBIND, IP_MULTICAST_LOOP,
                            IP_MULTICAST_ALL};
constexpr int kIp6Level[] = {IPV6_RECVERR,        IPV6_V6ONLY,        IPV6_UNICAST_HOPS,
                             IPV6_TCLASS,         IPV6_MTU_DISCOVER,  IPV6_MULTICAST_IF,
                             IPV6_MULTICAST_HOPS, IPV6_MULTICAST_LOOP};

bool NeedsHost(int level, int name, std::span<const std::byte> value) {
  const auto is_in = [name](const auto& list) {
    return std::find(std::begin(list), std::end(list), name) != std::end(list);
  };
  const bool known = (level == SOL_SOCKET && is_in(kSocketLevel)) ||
                     (level == IPPROTO_IP && is_in(kIpLevel)) ||
                     (level == IPPROTO_IPV6 && is_in(kIp6Level));
  // Turning off what is off changes nothing.
  const bool off =
      std::all_of(value.begin(), value.end(), [](std::byte byte) { return byte == std::byte{0}; });
  return !known && !off;
}

}  // namespace

bool DatagramInbox::Put(InboxMessage message, size_t limit) {
  absl::MutexLock lock(&mu_);
  if (charged_ > limit) return false;
  charged_ += Charge(message.size);
  queue_.push_back(std::move(message));
  return true;
}

std::optional<InboxMessage> DatagramInbox::First(bool take) {
  absl::MutexLock lock(&mu_);
  if (queue_.empty()) return std::nullopt;
  if (!take) return queue_.front();
  InboxMessage message = std::move(queue_.front());
  queue_.pop_front();
  charged_ -= Charge(message.size);
  return message;
}

bool DatagramInbox::empty() const {
  absl::MutexLock lock(&mu_);
  return queue_.empty();
}

size_t DatagramInbox::charged() const {
  absl::MutexLock lock(&mu_);
  return charged_;
}

void HostDatagramPorts::Set(HostSocket& socket, int domain, bool v6_only, const Endpoint& local,
                            const Endpoint& remote) {
  absl::MutexLock lock(&mu_);
  EraseLocked(socket);
  named_[&socket] = local.port;
  ports_[local.port].push_back({&socket, domain, v6_only, local, remote});
}

void HostDatagramPorts::Erase(HostSocket& socket) {
  absl::MutexLock lock(&mu_);
  EraseLocked(socket);
}

void HostDatagramPorts::EraseLocked(HostSocket& socket) {
  const auto named = named_.find(&socket);
  if (named == named_.end()) return;
  const auto port = ports_.find(named->second);
  std::erase_if(port->second, [&](const Entry& entry) { return entry.socket == &socket; });
  if (port->second.empty()) ports_.erase(port);
  named_.erase(named);
}

bool HostDatagramPorts::Has(uint16_t port) const {
  absl::MutexLock lock(&mu_);
  return ports_.contains(port);
}

int HostDatagramPorts::Score(const Entry& entry, const Endpoint& to, const Endpoint& from) {
  const bool v4 = to.address.is_v4();
  if (entry.domain == AF_INET ? !v4 : v4 && entry.v6_only) return -1;
  const bool any = entry.local.address.is_any();
  if (!any && entry.local.address != to.address) return -1;
  if (entry.remote.port != 0 && entry.remote != from) return -1;
  return (entry.domain == AF_INET ? 1 : 0) + (any ? 0 : 2) + (entry.remote.port != 0 ? 8 : 0);
}

Ref<HostSocket> HostDatagramPorts::Find(const Endpoint& to, const Endpoint& from) {
  absl::MutexLock lock(&mu_);
  const auto port = ports_.find(to.port);
  if (port == ports_.end()) return nullptr;
  int best = -1;
  HostSocket* found = nullptr;
  for (const Entry& entry : port->second) {
    const int score = Score(entry, to, from);
    if (score < best || score < 0) continue;
    best = score;
    found = entry.socket;
  }
  if (found == nullptr || !found->TryAddRef()) return nullptr;
  return Ref<HostSocket>::Adopt(found);
}

bool HostSocket::is_udp() const {
  return what().type == SOCK_DGRAM && what().protocol == IPPROTO_UDP;
}

void HostSocket::LearnNames(const Result<Endpoint>& remote) {
  if (!is_udp() || needs_host_.load(std::memory_order_relaxed)) return;
  Result<Endpoint> local = Errno(EADDRNOTAVAIL);
  // Who talks to somebody outside does not hear those inside.
  if (remote.ok() && (remote->port == 0 || remote->address.is_loopback())) {
    const Result<SocketAddress> name = LocalAddress();
    if (name.ok()) local = ReadEndpoint(what().domain, *name);
  }
  const bool known = local.ok() && local->port != 0;
  {
    absl::MutexLock lock(&mu_);
    local_ = known ? *local : Endpoint{};
    remote_ = known ? *remote : Endpoint{};
  }
  if (known) {
    client_.ports().Set(*this, what().domain, v6_only_, *local, *remote);
  } else {
    client_.ports().Erase(*this);
  }
}

void HostSocket::LearnConnection(const SocketAddress& address) {
  if (!is_udp()) return;
  Result<Endpoint> remote = Endpoint{};
  if (address.family() != AF_UNSPEC) remote = ReadEndpoint(what().domain, address);
  if (remote.ok() && remote->port != 0 && remote->address.is_any()) {
    remote = Endpoint{IpAddress::LoopbackOf(remote->address.is_v4()), remote->port};
  }
  LearnNames(remote);
}

void HostSocket::NoteOption(int level, int name, std::span<const std::byte> value) {
  if (!is_udp()) return;
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && !value.empty()) {
    v6_only_ = value.front() != std::byte{0};
  }
  if (!NeedsHost(level, name, value)) return;
  needs_host_ = true;
  client_.ports().Erase(*this);
}

std::optional<Endpoint> HostSocket::LoopbackTarget(const OutgoingMessage& message) {
  Endpoint to;
  if (message.to != nullptr && message.to->size != 0) {
    if (message.to->family() != what().domain) return std::nullopt;
    const Result<Endpoint> read = ReadEndpoint(what().domain, *message.to);
    if (!read.ok()) return std::nullopt;
    to = *read;
  } else {
    absl::MutexLock lock(&mu_);
    to = remote_;
  }
  if (to.port == 0) return std::nullopt;
  if (to.address.is_any()) to.address = IpAddress::LoopbackOf(to.address.is_v4());
  if (!to.address.is_loopback() || to.address.is_broadcast()) return std::nullopt;
  if (what().domain == AF_INET6 && to.address.is_v4() && v6_only_) return std::nullopt;
  return to;
}

std::optional<Endpoint> HostSocket::NameFor(const Endpoint& to) {
  const auto name = [this] {
    absl::MutexLock lock(&mu_);
    return local_;
  };
  Endpoint from = name();
  if (from.port == 0) {
    // As the host's sendmsg(2) would; its own would not tell in time for this message.
    if (!client_
             .Bind(fd_.get(), ToSocketAddress(what().domain, {IpAddress::AnyOf(what().domain), 0}))
             .ok()) {
      return std::nullopt;
    }
    LearnNames(Endpoint{});
    from = name();
    if (from.port == 0) return std::nullopt;
  }
  if (from.address.is_any()) from.address = IpAddress::LoopbackOf(to.address.is_v4());
  if (!from.address.is_loopback() || from.address.is_v4() != to.address.is_v4()) {
    return std::nullopt;
  }
  return from;
}

std::optional<Result<size_t>> HostSocket::SendInMemory(IoSrc& src, const OutgoingMessage& message) {
  if (!is_udp() || needs_host_.load(std::memory_order_relaxed)) return std::nullopt;
  if (gathering_ || write_shut_ || (message.flags & ~kPlainFlags) != 0 ||
      !message.control.others.empty())
    return std::nullopt;
  if (src.remaining() > kMaxPayload) return std::nullopt;
  const std::optional<Endpoint> to = LoopbackTarget(message);
  if (!to || !client_.ports().Has(to->port)) return std::nullopt;
  const std::optional<Endpoint> from = NameFor(*to);
  if (!from) return std::nullopt;
  const Ref<HostSocket> receiver = client_.ports().Find(*to, *from);
  if (!receiver) return std::nullopt;
  const size_t size = src.remaining();
  auto bytes =
      std::shared_ptr<std::byte[]>(new (std::nothrow) std::byte[std::max<size_t>(size, 1)]);
  if (bytes == nullptr) return Result<size_t>(Errno(ENOBUFS));
  if (size > 0) {
    const Result<size_t> copied = src.CopyIn({bytes.get(), size});
    if (!copied.ok() || *copied != size) return Result<size_t>(Errno(EFAULT));
  }
  const auto limit = static_cast<size_t>(receiver->options().receive_buffer.load());
  if (receiver->inbox_.Put({*from, std::move(bytes), size}, limit)) {
    receiver->Notify(kPollReadable);
  }
  return Result<size_t>(size);
}

// A look and the receive after it see the same message.
bool HostSocket::TakesFromHostFirst(bool peek) {
  const auto peeked = peeked_.load(std::memory_order_relaxed);
  if (!peek) peeked_.store(Side::kNone, std::memory_order_relaxed);
  if (peeked != Side::kNone) return peeked == Side::kHost;
  if (peek) return false;
  return turn_.fetch_add(1, std::memory_order_relaxed) % kTurns == kTurns - 1;
}

std::optional<Result<size_t>> HostSocket::ReceiveInMemory(IoDst& dst, IncomingMessage& message) {
  const bool peek = (message.flags & MSG_PEEK) != 0;
  const std::optional<InboxMessage> first = inbox_.First(!peek);
  if (!first) return std::nullopt;
  if (peek) peeked_.store(Side::kInbox, std::memory_order_relaxed);
  message.full_size = first->size;
  message.from = ToSocketAddress(what().domain, first->from);
  if (dst.remaining() < first->size) message.answer_flags |= MSG_TRUNC;
  const auto part = first->data().first(std::min(dst.remaining(), first->size));
  if (part.empty()) return Result<size_t>(size_t{0});
  return dst.CopyOut(part);
}

Result<size_t> HostSocket::Receive(IoDst& dst, IncomingMessage& message) {
  if (const Ref<TcpSocket> socket = memory()) return socket->Receive(dst, message);
  if (!is_udp() || (message.flags & (MSG_ERRQUEUE | MSG_OOB)) != 0) {
    return ReceiveFromHost(dst, message);
  }
  const bool peek = (message.flags & MSG_PEEK) != 0;
  const bool host_first = TakesFromHostFirst(peek);
  if (!host_first) {
    TRY(TakeError());
    if (auto received = ReceiveInMemory(dst, message)) return *std::move(received);
  }
  Result<size_t> received = ReceiveFromHost(dst, message);
  if (received.ok() && peek) peeked_.store(Side::kHost, std::memory_order_relaxed);
  const bool nothing =
      received.ok() ? *received == 0 && read_shut_ : received.error() == Errno(EAGAIN);
  if (!host_first || !nothing) return received;
  auto late = ReceiveInMemory(dst, message);
  return late ? *std::move(late) : received;
}

}  // namespace sentry
