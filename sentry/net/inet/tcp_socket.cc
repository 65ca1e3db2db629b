#include "sentry/net/inet/tcp_socket.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "sentry/task/task.h"
#include "sentry/task/waiter.h"

namespace sentry {
namespace {

// Connections that wait for room in a full queue; others are not even noticed, as a lost SYN.
constexpr size_t kInfoSize = 280;     // Of struct tcp_info; newer fields than ours are 0.
constexpr size_t kMaxWaiting = 2048;  // net.ipv4.tcp_max_syn_backlog.
// net.ipv4.tcp_wmem[1] grown by the first connection, tcp_rmem[1].
constexpr int kDefaultSend = 16384, kDefaultReceive = 131072;
// States of include/net/tcp_states.h.
constexpr int kSynSent = 2, kClose = 7, kListen = 10;

// When a client that hears nothing gives up: TCP_SYNCNT retries, each after twice the time of the
// one before (RFC 6298), or TCP_USER_TIMEOUT.
int64_t ConnectDeadline(const TcpOptions& options) {
  constexpr int64_t kMs = 1'000'000;
  const int retries = std::min(options.get(TcpOptions::kSynCount), 6);
  int64_t wait_ms = ((int64_t{2} << retries) - 1) * 1000;
  if (options.get(TcpOptions::kSynCount) > retries) {
    wait_ms += int64_t{120'000} * (options.get(TcpOptions::kSynCount) - retries);
  }
  if (const int user = options.get(TcpOptions::kUserTimeout); user > 0) {
    wait_ms = std::min<int64_t>(wait_ms, user);
  }
  return Deadline::After(wait_ms * kMs).ns;
}

}  // namespace

TcpSocket::TcpSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags,
                     Ref<WaitPoint> point, uint32_t uid)
    : InetSocket(std::move(space), what, flags, std::move(point), Transport::kTcp, uid),
      listed_as_(inode_number()) {
  options().send_buffer = kDefaultSend;
  options().receive_buffer = kDefaultReceive;
}

TcpSocket::~TcpSocket() { TcpSocket::OnLastClose(); }

bool TcpSocket::IsListening() const {
  absl::MutexLock lock(&mu_);
  return listener_ != nullptr;
}

Status TcpSocket::Listen(Task& task, int backlog) {
  absl::MutexLock lock(&mu_);
  if (connection_ || progress_ != Progress::kUnconnected) return Errno(EINVAL);
  if (listener_ == nullptr) {
    if (!binding_) {
      TRY(AutobindLocked());
    }
    TRY(stack_.Listen(*binding_));
    listener_ = std::make_unique<Listener>();
    failed_ = false;
  }
  listener_->backlog = static_cast<size_t>(std::max(backlog, 0));
  return kOk;
}

Status TcpSocket::Enqueue(Ref<TcpConnection> connection) {
  {
    absl::MutexLock lock(&mu_);
    if (listener_ == nullptr) return Errno(ECONNREFUSED);
    // One more than the backlog, as sk_acceptq_is_full() has it.
    if (listener_->established.size() > listener_->backlog) {
      std::erase_if(listener_->waiting, [](const Ref<TcpConnection>& waiting) {
        return waiting->ref_count() == 1;  // Its client has given up.
      });
      if (listener_->waiting.size() < kMaxWaiting) {
        listener_->waiting.push_back(std::move(connection));
      }
      return kOk;
    }
    if (!connection->Establish()) return kOk;
    listener_->established.push_back(std::move(connection));
  }
  Notify(kPollReadable);
  return kOk;
}

Result<Ref<Socket>> TcpSocket::Accept(Task& task, OpenFlags flags) {
  Ref<TcpConnection> accepted;
  bool moved = false;
  {
    absl::MutexLock lock(&mu_);
    if (listener_ == nullptr) return Errno(EINVAL);
    if (listener_->established.empty()) return Errno(EAGAIN);
    accepted = std::move(listener_->established.front());
    listener_->established.pop_front();
    while (!listener_->waiting.empty()) {
      Ref<TcpConnection> next = std::move(listener_->waiting.front());
      listener_->waiting.pop_front();
      if (!next->Establish()) continue;
      listener_->established.push_back(std::move(next));
      moved = true;
      break;
    }
  }
  if (moved) Notify(kPollReadable);
  auto socket = MakeRef<TcpSocket>(space_, what(), flags, accepted->point(1), uid_);
  socket->options().InheritFrom(options());
  socket->ip_.InheritFrom(ip_);
  socket->tcp_.InheritFrom(tcp_);
  socket->send_buffer_set_ = send_buffer_set_.load();
  socket->receive_buffer_set_ = receive_buffer_set_.load();
  {
    absl::MutexLock lock(&socket->mu_);
    socket->local_ = accepted->local(1);
    socket->AttachLocked(std::move(accepted), 1);
    socket->progress_ = Progress::kConnected;
  }
  socket->UpdateBuffers();
  return Ref<Socket>(std::move(socket));
}

void TcpSocket::AttachLocked(Ref<TcpConnection> connection, int side) {
  connection_ = std::move(connection);
  side_ = side;
  connection_->SetSocket(side, listed_as_, uid_);
}

void TcpSocket::UpdateBuffers() {
  const Attached at = attached();
  if (!at.connection) return;
  const auto size = [](bool set, int value) {
    return set ? static_cast<size_t>(value) : TcpConnection::kDefaultBuffer;
  };
  at.connection->SetBuffers(at.side, size(send_buffer_set_, options().send_buffer),
                            size(receive_buffer_set_, options().receive_buffer));
}

Status TcpSocket::ProgressLocked() {
  if (connection_ && !connection_->established() && !has_error() &&
      connection_->State(side_) == kSynSent) {
    return Errno(EALREADY);
  }
  if (connection_ && connection_->established() && connection_->State(side_) != kClose) {
    progress_ = Progress::kConnected;
    return kOk;
  }
  // It failed. Who has asked SO_ERROR already hears of an abort.
  progress_ = Progress::kUnconnected;
  connection_ = nullptr;
  failed_ = true;
  if (!bound_port_ && !bound_address_) local_ = {IpAddress::AnyOf(domain()), 0};
  const Status error = TakeError();
  return error.ok() ? Errno(ECONNABORTED) : error;
}

bool TcpSocket::is_idle() const {
  absl::MutexLock lock(&mu_);
  return progress_ == Progress::kUnconnected && listener_ == nullptr;
}

Status TcpSocket::FinishConnect() {
  Ref<TcpConnection> dropped;  // Without the lock.
  absl::MutexLock lock(&mu_);
  dropped = connection_;
  if (progress_ != Progress::kConnecting) return kOk;
  return ProgressLocked();
}

Status TcpSocket::Connect(Task& task, const SocketAddress& address) {
  if (address.size < sizeof(sa_family_t)) return Errno(EINVAL);
  if (address.family() == AF_UNSPEC) return Disconnect();
  {
    Ref<TcpConnection> dropped;
    absl::MutexLock lock(&mu_);
    dropped = connection_;
    if (progress_ == Progress::kConnecting) return ProgressLocked();
    if (progress_ == Progress::kConnected || listener_ != nullptr) return Errno(EISCONN);
  }
  return StartConnect(task, address);
}

// Reserves the pair of addresses on both sides.
Result<Ref<TcpConnection>> TcpSocket::ClaimConnection(const Endpoint& to,
                                                      Ref<InetSocket>& listener) {
  absl::MutexLock lock(&mu_);
  if (connection_) return Errno(EALREADY);
  const Route route = TRY(stack_.FindRoute(to.address));
  const IpAddress source = local_.address.is_any() ? route.source : local_.address;
  Ref<PortBinding> binding = binding_;
  if (!binding) {
    binding = NewBindingLocked();
    binding->local = {source, 0};
  }
  TRY(stack_.ClaimPair(*binding, source, to));
  local_ = binding->local;
  // A port that nobody chose lives as long as the connection.
  if (!bound_port_) {
    stack_.Forget(*binding);
    binding_ = nullptr;
  }
  TcpEnd self{local_, wait_point(), binding};
  Ref<TcpConnection> connection;
  if (local_ == to) {
    connection = MakeRef<TcpConnection>(std::move(self));
  } else {
    listener = stack_.FindListener(to, local_);
    auto server = MakeRef<PortBinding>(stack_, Transport::kTcp,
                                       listener ? listener->what().domain : domain());
    if (listener) {
      server->reuse_address = listener->options().has(SocketOptions::kReuseAddress);
      server->reuse_port = listener->options().has(SocketOptions::kReusePort);
      server->v6_only = listener->ip().has(IpOptions::kV6Only);
      server->uid = listener->uid();
      stack_.AddConnection(*server, to);
    } else {
      server->local = to;  // Nobody is there: whoever comes meanwhile finds the port free.
    }
    connection = MakeRef<TcpConnection>(std::move(self),
                                        TcpEnd{to, MakeRef<WaitPoint>(), std::move(server)});
  }
  AttachLocked(connection, 0);
  progress_ = Progress::kConnecting;
  failed_ = false;
  return connection;
}

Status TcpSocket::StartConnect(Task& task, const SocketAddress& address) {
  const Endpoint to = TRY(CheckDestination(TRY(ReadEndpoint(domain(), address))));
  if (to.address.is_multicast() || to.address.is_broadcast()) return Errno(ENETUNREACH);
  Ref<InetSocket> listener;
  const Ref<TcpConnection> connection = TRY(ClaimConnection(to, listener));
  UpdateBuffers();
  if (!connection->established()) {
    const Status queued = listener ? static_cast<TcpSocket&>(*listener).Enqueue(connection)
                                   : Status(Errno(ECONNREFUSED));
    if (!queued.ok()) connection->Refuse(queued.error());
    if (!connection->established()) connection->ExpireAt(ConnectDeadline(tcp_));
  }
  if (nonblocking()) return Errno(EINPROGRESS);
  const Status outcome = FinishConnect();
  return outcome.ok() || outcome.error() != Errno(EALREADY) ? outcome : Errno(EINPROGRESS);
}

void TcpSocket::StopListening(Listener& listener) {
  for (const Ref<TcpConnection>& connection : listener.established) connection->Close(1, true);
  for (const Ref<TcpConnection>& connection : listener.waiting) {
    connection->Refuse(Errno(ECONNREFUSED));
  }
}

Status TcpSocket::Disconnect() {
  Ref<TcpConnection> connection;
  Ref<PortBinding> binding;
  std::unique_ptr<Listener> listener;
  int side;
  {
    absl::MutexLock lock(&mu_);
    connection = std::exchange(connection_, nullptr);
    listener = std::move(listener_);
    side = side_;
    progress_ = Progress::kUnconnected;
    if (listener != nullptr && binding_) stack_.StopListening(*binding_);
    if (!bound_port_ && listener == nullptr) {
      binding = std::exchange(binding_, nullptr);
      local_.port = 0;
      if (!bound_address_) local_.address = IpAddress::AnyOf(domain());
    }
  }
  if (listener != nullptr) StopListening(*listener);
  if (connection) connection->Close(side, true);
  failed_ = false;
  (void)TakeError();
  Notify(kPollReadable | kTcpWritable | POLLHUP | POLLRDHUP);
  return kOk;
}

void TcpSocket::OnLastClose() {
  Ref<TcpConnection> connection;
  std::unique_ptr<Listener> listener;
  int side;
  {
    absl::MutexLock lock(&mu_);
    connection = std::exchange(connection_, nullptr);
    listener = std::move(listener_);
    side = side_;
  }
  DropBinding();
  if (listener != nullptr) StopListening(*listener);
  if (!connection) return;
  connection->SetSocket(side, 0, uid_);
  const bool abort = options().has(SocketOptions::kLingers) && options().linger_seconds == 0;
  connection->Close(side, abort);
}

Result<SocketAddress> TcpSocket::PeerAddress() {
  const Attached at = attached();
  if (!at.connection) return Errno(ENOTCONN);
  const int state = at.connection->State(at.side);
  if (state == kClose || state == kSynSent) return Errno(ENOTCONN);
  return ToSocketAddress(domain(), at.connection->remote(at.side));
}

Status TcpSocket::Shutdown(int how) {
  Attached at;
  bool listens;
  {
    absl::MutexLock lock(&mu_);
    at = {connection_, side_};
    listens = listener_ != nullptr;
  }
  if (listens) return how == SHUT_WR ? Status(kOk) : Disconnect();
  if (!at.connection) return Errno(ENOTCONN);
  if (at.connection->State(at.side) == kSynSent) return Disconnect();
  return at.connection->Shutdown(at.side, how);
}

Status TcpSocket::NotConnected(int error) {
  TRY(TakeError());
  return Errno(error);
}

Result<size_t> TcpSocket::Send(IoSrc& src, OutgoingMessage& message) {
  if ((message.flags & MSG_FASTOPEN) != 0) TRY(ConnectFirst(message));
  const Attached at = attached();
  if (has_error()) TRY(TakeError());
  if (!at.connection) return Errno(EPIPE);
  return at.connection->Send(at.side, src, message);
}

Result<size_t> TcpSocket::Receive(IoDst& dst, IncomingMessage& message) {
  if ((message.flags & MSG_ERRQUEUE) != 0) return Errno(EAGAIN);
  const Attached at = attached();
  const bool urgent = (message.flags & MSG_OOB) != 0;
  if (!at.connection) {
    if (urgent) return Errno(EINVAL);
    TRY(TakeError());
    return failed_ ? Result<size_t>(size_t{0}) : Errno(ENOTCONN);
  }
  TcpConnection& connection = *at.connection;
  if (urgent) return connection.ReceiveUrgent(at.side, dst, message, oob_inline());
  if ((message.flags & (MSG_TRUNC | MSG_PEEK)) != MSG_TRUNC) {
    return connection.Receive(at.side, dst, message, oob_inline());
  }
  // Bytes that are not wanted: taken out and forgotten.
  std::vector<std::byte> ignored(std::min<size_t>(dst.remaining(), 65536));
  IoDst nowhere{std::span(ignored)};
  return connection.Receive(at.side, nowhere, message, oob_inline());
}

uint32_t TcpSocket::Poll() {
  Attached at;
  {
    absl::MutexLock lock(&mu_);
    if (listener_ != nullptr) return listener_->established.empty() ? 0 : kPollReadable;
    at = {connection_, side_};
  }
  const uint32_t error = has_error() ? POLLERR : 0;
  if (at.connection) {
    const int low_water = std::max<int>(options().receive_low_water, 1);
    return at.connection->Poll(at.side, static_cast<size_t>(low_water), oob_inline()) | error;
  }
  // TCP_CLOSE: a socket that has never been connected can be written to, which fails at once.
  const uint32_t ended = failed_ ? kPollReadable | POLLRDHUP : 0u;
  return kTcpWritable | POLLHUP | ended | error;
}

Result<int64_t> TcpSocket::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  const Attached at = attached();
  int32_t answer = 0;
  switch (command) {
    case SIOCINQ:
      if (IsListening()) return Errno(EINVAL);
      if (at.connection && at.connection->established()) {
        answer = static_cast<int32_t>(at.connection->BytesToRead(at.side, oob_inline()));
      }
      break;
    case SIOCATMARK:
      answer = at.connection && at.connection->AtMark(at.side) ? 1 : 0;
      break;
    case SIOCOUTQ:
    case SIOCOUTQNSD:
      if (IsListening()) return Errno(EINVAL);
      if (at.connection && at.connection->established()) {
        answer = static_cast<int32_t>(at.connection->BytesUnsent(at.side));
      }
      break;
    default:
      return InetSocket::Ioctl(task, command, arg);
  }
  TRY(task.mem().Write(UserPtr<int32_t>{UserAddr{arg}}, answer));
  return int64_t{0};
}

Result<int> TcpSocket::PathMtu() {
  const Attached at = attached();
  if (!at.connection || !at.connection->established()) return Errno(ENOTCONN);
  return at.connection->remote(at.side).address.is_v4() ? 65535 : 65536;
}

// struct tcp_info of a connection without a network in between.
std::string TcpSocket::Info() {
  tcp_info info{};
  const InetRow row = Row();
  info.tcpi_state = static_cast<uint8_t>(row.state);
  info.tcpi_rto = 200'000;  // Microseconds, as all times here: TCP_RTO_MIN.
  info.tcpi_ato = 40'000;
  info.tcpi_snd_mss = info.tcpi_rcv_mss = 32768;
  info.tcpi_advmss = 65483;
  info.tcpi_pmtu = 65535;
  info.tcpi_snd_cwnd = 10;
  info.tcpi_snd_ssthresh = 0x7fffffff;
  info.tcpi_reordering = 3;
  info.tcpi_rcv_ssthresh = info.tcpi_rcv_space = 65483;
  info.tcpi_options = 7;  // TCPI_OPT_TIMESTAMPS, _SACK, _WSCALE.
  info.tcpi_snd_wscale = info.tcpi_rcv_wscale = 7;
  info.tcpi_rtt = 30;
  info.tcpi_rttvar = 15;
  info.tcpi_pacing_rate = info.tcpi_max_pacing_rate = UINT64_MAX;
  if (row.state == kListen) {
    info.tcpi_unacked = static_cast<uint32_t>(row.receive_queue);
    info.tcpi_sacked = static_cast<uint32_t>(row.send_queue);
  } else {
    info.tcpi_notsent_bytes = static_cast<uint32_t>(row.send_queue);
  }
  return OptionBytes(info);
}

InetRow TcpSocket::Row() {
  InetRow row{.domain = domain(), .protocol = IPPROTO_TCP, .state = kClose};
  row.uid = uid_;
  row.inode = listed_as_;
  Attached at;
  {
    absl::MutexLock lock(&mu_);
    row.local = local_;
    row.remote.address = IpAddress::AnyOf(domain());
    at = {connection_, side_};
    if (listener_ != nullptr) {
      row.state = kListen;
      row.receive_queue = listener_->established.size();
      row.send_queue = listener_->backlog;
    }
  }
  if (!at.connection) return row;
  InetRow connected = at.connection->Row(at.side);
  connected.domain = domain();
  return connected;
}

Result<std::string> TcpSocket::GetOption(Task& task, int level, int name, size_t room) {
  if (level != IPPROTO_TCP) {
    const auto value = InetSocket::GetOption(task, level, name, room);
    const bool known = level == SOL_SOCKET || level == IPPROTO_IP || level == IPPROTO_IPV6;
    return !known && domain() == AF_INET ? Errno(EOPNOTSUPP) : value;
  }
  if (name == TCP_INFO) {
    std::string info = Info();
    info.resize(kInfoSize);
    return info;
  }
  if (name == TCP_MAXSEG) {
    const Attached at = attached();
    const int wanted = tcp_.get(TcpOptions::kMaxSegment);
    if (at.connection && at.connection->established()) return OptionBytes(32768);
    return OptionBytes(wanted != 0 ? wanted : 536);
  }
  return tcp_.Get(name);
}

Status TcpSocket::SetOption(Task& task, int level, int name, std::span<const std::byte> value) {
  if (level == IPPROTO_TCP) return tcp_.Set(name, value);
  TRY(InetSocket::SetOption(task, level, name, value));
  if (level != SOL_SOCKET) return kOk;
  if (name == SO_SNDBUF || name == SO_SNDBUFFORCE) send_buffer_set_ = true;
  if (name == SO_RCVBUF || name == SO_RCVBUFFORCE) receive_buffer_set_ = true;
  UpdateBuffers();
  return kOk;
}

}  // namespace sentry
