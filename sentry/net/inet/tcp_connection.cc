#include "sentry/net/inet/tcp_connection.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "sentry/time/timer_queue.h"

namespace sentry {
namespace {

constexpr uint32_t kAll = kPollReadable | kTcpWritable | POLLRDHUP | POLLHUP | POLLERR;

}  // namespace

// What stands for the last retransmission of a SYN.
class TcpConnection::Expiry final : public Alarm {
 public:
  explicit Expiry(TcpConnection& connection) : connection_(&connection) {}
  void Forget() {
    absl::MutexLock lock(&mu_);
    connection_ = nullptr;
  }
  void OnAlarm() override {
    Ref<TcpConnection> connection;
    {
      absl::MutexLock lock(&mu_);
      if (connection_ == nullptr || !connection_->TryAddRef()) return;
      connection = Ref<TcpConnection>::Adopt(connection_);
    }
    connection->Refuse(Errno(ETIMEDOUT));
  }

 private:
  absl::Mutex mu_;  // Leaf.
  TcpConnection* connection_ ABSL_GUARDED_BY(mu_);
};

// Collected under mu_, done by its destructor, which runs without it.
struct TcpConnection::Aftermath {
  explicit Aftermath(TcpConnection& connection) : connection(connection) {}
  ~Aftermath() {
    for (const auto& [stream, reader] : closed) {
      if (reader) {
        (void)stream->CloseReader();
      } else {
        stream->CloseWriter();
      }
    }
    if (release) {
      connection.stack_->ReleasePair(connection.sides_[0].local, connection.remote(0));
    }
    if (time_wait) connection.stack_->TimeWait(std::move(time_wait), time_wait_remote);
    for (Ref<PortBinding>& binding : dropped) {
      connection.stack_->Update(*binding, [](PortBinding& b) { b.connection = nullptr; });
    }
    for (const auto& [point, events] : notify) point->queue.Notify(events);
  }

  TcpConnection& connection;
  std::vector<std::pair<Ref<ByteStream>, bool>> closed;  // With whether it is the reader's end.
  std::vector<std::pair<Ref<WaitPoint>, uint32_t>> notify;
  std::vector<Ref<PortBinding>> dropped;
  Ref<PortBinding> time_wait;
  Endpoint time_wait_remote;
  bool release = false;
};

TcpConnection::TcpConnection(TcpEnd client, TcpEnd server)
    : stack_(Ref<InetStack>::Share(client.binding->stack)), to_itself_(false) {
  sides_[0].in = MakeRef<ByteStream>(client.point, server.point);
  sides_[1].in = MakeRef<ByteStream>(server.point, client.point);
  Attach(0, std::move(client));
  Attach(1, std::move(server));
}

TcpConnection::TcpConnection(TcpEnd both)
    : stack_(Ref<InetStack>::Share(both.binding->stack)),
      to_itself_(true),
      phase_(Phase::kEstablished) {
  sides_[0].in = MakeRef<ByteStream>(both.point, both.point);
  Attach(0, std::move(both));
}

void TcpConnection::Attach(int side, TcpEnd end) {
  Side& self = sides_[side];
  self.local = end.local;
  self.point = std::move(end.point);
  self.binding = std::move(end.binding);
  stack_->Update(*self.binding, [&](PortBinding& binding) {
    binding.connection = this;
    binding.side = side;
  });
}

TcpConnection::~TcpConnection() {
  Aftermath after(*this);
  absl::MutexLock lock(&mu_);
  EndLocked(false, after);
}

void TcpConnection::ExpireAt(int64_t deadline_ns) {
  absl::MutexLock lock(&mu_);
  if (phase_ != Phase::kConnecting || sides_[0].has(kClosed)) return;
  expiry_ = MakeRef<Expiry>(*this);
  TimerQueue::Get().Arm(*expiry_, deadline_ns);
}

void TcpConnection::CancelExpiryLocked() {
  if (!expiry_) return;
  expiry_->Forget();
  TimerQueue::Get().Cancel(*expiry_);
  expiry_ = nullptr;
}

bool TcpConnection::Establish() {
  Aftermath after(*this);
  absl::MutexLock lock(&mu_);
  CancelExpiryLocked();
  if (phase_ != Phase::kConnecting || sides_[0].has(kClosed)) return false;
  phase_.store(Phase::kEstablished, std::memory_order_release);
  after.notify.emplace_back(sides_[0].point, kTcpWritable);
  return true;
}

void TcpConnection::Refuse(Errno error) {
  Aftermath after(*this);
  absl::MutexLock lock(&mu_);
  if (phase_ != Phase::kConnecting) return;
  phase_.store(Phase::kFailed, std::memory_order_release);
  sides_[0].flags |= kShutRead | kShutWrite | kReset;
  if (!sides_[0].has(kClosed)) sides_[0].point->error = error.code();
  EndLocked(false, after);
  after.notify.emplace_back(sides_[0].point, kAll);
}

bool TcpConnection::IsOverLocked(int side) const {
  const Side& self = sides_[side];
  return phase_ == Phase::kFailed || self.has(kReset) || (self.has(kDone) && self.has(kShutWrite));
}

// Gives up the ports: the one that sent its FIN first waits, where there was an orderly end.
void TcpConnection::EndLocked(bool time_wait, Aftermath& after) {
  CancelExpiryLocked();
  if (std::exchange(over_, true)) return;
  const int waits = time_wait ? first_fin_ : -1;
  for (int side = 0; side < 2; side++) {
    Ref<PortBinding> binding = std::exchange(sides_[side].binding, nullptr);
    if (!binding) continue;
    if (side == waits) {
      after.time_wait = std::move(binding);
      after.time_wait_remote = remote(side);
    } else {
      after.dropped.push_back(std::move(binding));
    }
  }
  after.release = waits != 0;
}

void TcpConnection::SendFinLocked(int side, Aftermath& after) {
  Side& self = sides_[side];
  Side& peer = sides_[Peer(side)];
  if (self.has(kShutWrite)) return;
  self.flags |= kShutWrite;
  if (first_fin_ < 0) first_fin_ = side;
  peer.flags |= kDone | kShutRead;
  after.closed.emplace_back(peer.in, false);
  after.notify.emplace_back(self.point, kTcpWritable | POLLHUP);
  if (IsOverLocked(side)) {
    EndLocked(true, after);
    after.notify.emplace_back(peer.point, kAll);
  }
}

void TcpConnection::ResetLocked(int side, Aftermath& after) {
  Side& self = sides_[side];
  if (self.has(kReset) || IsOverLocked(side)) {
    EndLocked(false, after);
    return;
  }
  // tcp_reset(): who has seen the end already was about to write.
  if (!self.has(kClosed)) self.point->error = self.has(kDone) ? EPIPE : ECONNRESET;
  self.flags |= kReset | kShutRead | kShutWrite;
  after.closed.emplace_back(self.in, false);
  after.notify.emplace_back(self.point, kAll);
  EndLocked(false, after);
}

Status TcpConnection::Shutdown(int side, int how) {
  Aftermath after(*this);
  absl::MutexLock lock(&mu_);
  Side& self = sides_[side];
  if (IsOverLocked(side)) return Errno(ENOTCONN);
  if (how != SHUT_WR) {
    self.flags |= kShutRead;
    after.notify.emplace_back(self.point, kPollReadable | POLLRDHUP | POLLHUP);
  }
  if (how != SHUT_RD) SendFinLocked(side, after);
  return kOk;
}

void TcpConnection::Close(int side, bool abort) {
  Side& self = sides_[side];
  Aftermath after(*this);
  absl::MutexLock lock(&mu_);
  if (self.has(kClosed)) return;
  self.flags |= kClosed | kShutRead;
  if (phase_ != Phase::kEstablished) {
    phase_.store(Phase::kFailed, std::memory_order_release);
    EndLocked(false, after);
    return;
  }
  // Bytes that nobody will read are lost, and the peer is to know (RFC 2525, section 2.17).
  const bool unread = self.in->size() > 0;
  after.closed.emplace_back(self.in, true);
  if (to_itself_ || IsOverLocked(side)) {
    EndLocked(false, after);
  } else if (unread || abort) {
    ResetLocked(Peer(side), after);
    self.flags |= kReset | kShutWrite;
  } else {
    SendFinLocked(side, after);
  }
}

// Bytes to a peer that has closed draw a reset; whoever sent them learns of it later only.
Result<size_t> TcpConnection::SendToNobody(int side, IoSrc& src) {
  Aftermath after(*this);
  absl::MutexLock lock(&mu_);
  Side& self = sides_[side];
  if (self.has(kReset | kShutWrite)) return Errno(EPIPE);
  const size_t count = src.remaining();
  src.Limit(0);
  ResetLocked(side, after);
  return count;
}

Result<size_t> TcpConnection::Send(int side, IoSrc& src, OutgoingMessage& message) {
  Side& self = sides_[side];
  if (phase_ == Phase::kConnecting) return Errno(EAGAIN);
  if (self.has(kShutWrite)) return Errno(EPIPE);
  if ((message.flags & MSG_OOB) != 0 && src.remaining() > 0) return SendUrgent(side, src, message);
  const auto sent = sides_[Peer(side)].in->Write(src, Capacity(side), nullptr);
  if (!sent.ok() && sent.error() == Errno(EPIPE)) return SendToNobody(side, src);
  return sent;
}

Result<size_t> TcpConnection::SendUrgent(int side, IoSrc& src, OutgoingMessage& message) {
  Side& peer = sides_[Peer(side)];
  if (src.remaining() > 1) {
    // What is in front of the urgent byte goes the ordinary way; the caller sends the rest.
    const auto sent = peer.in->Write(src, Capacity(side), nullptr, /*keep=*/1);
    return !sent.ok() && sent.error() == Errno(EPIPE) ? SendToNobody(side, src) : sent;
  }
  std::byte value{};
  if (TRY(src.CopyIn(std::span(&value, 1))) != 1) return Errno(EFAULT);
  if (peer.has(kClosed)) return SendToNobody(side, src).ok() ? Result<size_t>(1) : Errno(EPIPE);
  {
    absl::MutexLock lock(&mu_);
    if (peer.urgent.active && peer.urgent.ahead == 0) SkipUrgentLocked(peer);
    peer.urgent_active.store(true, std::memory_order_release);
    const Result<size_t> ahead = peer.in->WriteByte(value, Capacity(side));
    if (!ahead.ok()) {
      peer.urgent_active.store(peer.urgent.active, std::memory_order_release);
      src.Unread(1);
      return ahead;
    }
    peer.urgent = {.active = true, .valid = true, .value = value, .ahead = *ahead};
  }
  peer.point->queue.Notify(POLLPRI | kPollReadable);
  return size_t{1};
}

void TcpConnection::SkipUrgentLocked(Side& self) {
  std::byte skipped;
  IoDst one(std::span(&skipped, 1));
  IncomingMessage message;
  (void)self.in->Read(one, message);
  self.urgent = {};
  self.urgent_active.store(false, std::memory_order_release);
}

Result<size_t> TcpConnection::NothingToRead(int side) {
  Side& self = sides_[side];
  if (self.has(kDone)) return size_t{0};
  if (const int error = self.point->error.exchange(0); error != 0) return Errno(error);
  if (self.has(kShutRead)) return size_t{0};
  return Errno(EAGAIN);
}

Result<size_t> TcpConnection::Receive(int side, IoDst& dst, IncomingMessage& message,
                                      bool oob_inline) {
  Side& self = sides_[side];
  if (self.urgent_active.load(std::memory_order_acquire)) {
    return ReceiveAtMark(side, dst, message, oob_inline);
  }
  if (self.has(kShutRead)) message.minimum = 1;
  if (dst.remaining() == 0) return self.in->size() > 0 ? size_t{0} : NothingToRead(side);
  for (;;) {
    message.mark = &self.urgent_active;
    const auto received = self.in->Read(dst, message);
    message.mark = nullptr;
    const bool nothing = received.ok() ? *received == 0 : received.error() == Errno(EAGAIN);
    if (!nothing) return received;
    if (self.urgent_active.load(std::memory_order_acquire)) {
      return ReceiveAtMark(side, dst, message, oob_inline);
    }
    if (!received.ok() && self.in->size() > 0) return received;  // Less than the minimum.
    const auto none = NothingToRead(side);
    // The last bytes and the end came together, behind the first look.
    if (!none.ok() || self.in->size() == 0) return none;
  }
}

// Reads end at the mark; the next begins behind it, or with it (SO_OOBINLINE).
Result<size_t> TcpConnection::ReceiveAtMark(int side, IoDst& dst, IncomingMessage& message,
                                            bool oob_inline) {
  Side& self = sides_[side];
  std::vector<std::byte> bytes;
  size_t count = 0;
  {
    absl::MutexLock lock(&mu_);
    Urgent& urgent = self.urgent;
    if (urgent.active && urgent.ahead == 0 && !oob_inline && dst.remaining() > 0) {
      SkipUrgentLocked(self);
    }
    size_t most = std::min<size_t>({dst.remaining(), self.in->size(), 65536});
    if (urgent.active && urgent.ahead > 0) most = std::min(most, urgent.ahead);
    if (most > 0) {
      // Through sentry memory, so that the mark cannot move meanwhile.
      bytes.resize(most);
      IoDst piece{std::span(bytes)};
      IncomingMessage inner;
      inner.flags = message.flags;
      const auto read = self.in->Read(piece, inner);
      count = read.ok() ? *read : 0;
    }
    if (urgent.active && count > 0 && (message.flags & MSG_PEEK) == 0) {
      if (urgent.ahead > 0) {
        urgent.ahead -= count;
      } else {
        urgent = {};
        self.urgent_active.store(false, std::memory_order_release);
      }
    }
    message.boundary = urgent.active;
  }
  if (count == 0) {
    const auto none = NothingToRead(side);
    const bool came = none.ok() && dst.remaining() > 0 && self.in->size() > 0;
    return came ? Result<size_t>(Errno(EAGAIN)) : none;
  }
  return dst.CopyOut(std::span(bytes).first(count));
}

Result<size_t> TcpConnection::ReceiveUrgent(int side, IoDst& dst, IncomingMessage& message,
                                            bool oob_inline) {
  Side& self = sides_[side];
  std::byte value;
  {
    absl::MutexLock lock(&mu_);
    Urgent& urgent = self.urgent;
    if (oob_inline || !urgent.active || !urgent.valid) return Errno(EINVAL);
    value = urgent.value;
    if ((message.flags & MSG_PEEK) == 0) urgent.valid = false;
  }
  message.answer_flags |= MSG_OOB;
  if (dst.remaining() == 0) {
    message.answer_flags |= MSG_TRUNC;
    return size_t{0};
  }
  return dst.CopyOut(std::span<const std::byte>(&value, 1));
}

uint32_t TcpConnection::Poll(int side, size_t low_water, bool oob_inline) const {
  const Side& self = sides_[side];
  if (phase_ == Phase::kConnecting) return 0;
  const uint32_t flags = self.flags.load(std::memory_order_acquire);
  uint32_t events = 0;
  if ((flags & kShutRead) != 0) events |= kPollReadable | POLLRDHUP;
  if ((flags & kShutRead) != 0 && (flags & kShutWrite) != 0) events |= POLLHUP;
  size_t available = self.in->size();
  if (self.urgent_active.load(std::memory_order_acquire)) {
    absl::MutexLock lock(&mu_);
    if (self.urgent.valid) events |= POLLPRI;
    if (self.urgent.active && self.urgent.ahead == 0 && !oob_inline && available > 0) available--;
  }
  const size_t capacity = Capacity(Peer(side));
  if (available > 0 && (available >= low_water || available >= capacity)) events |= kPollReadable;
  if ((flags & kShutWrite) != 0 || sides_[Peer(side)].in->IsRoomy(Capacity(side))) {
    events |= kTcpWritable;
  }
  return events;
}

int TcpConnection::StateLocked(int side) const {
  const Side& self = sides_[side];
  if (phase_ == Phase::kConnecting) return side == 0 ? TCP_SYN_SENT : TCP_SYN_RECV;
  if (IsOverLocked(side)) return TCP_CLOSE;
  if (self.has(kShutWrite)) return TCP_FIN_WAIT2;
  return self.has(kDone) ? TCP_CLOSE_WAIT : TCP_ESTABLISHED;
}

int TcpConnection::State(int side) const {
  absl::MutexLock lock(&mu_);
  return StateLocked(side);
}

size_t TcpConnection::BytesToRead(int side, bool oob_inline) const {
  const Side& self = sides_[side];
  absl::MutexLock lock(&mu_);
  return self.urgent.active && !oob_inline ? self.urgent.ahead : self.in->size();
}

// What the peer's buffer takes is acknowledged at once.
size_t TcpConnection::BytesUnsent(int side) const {
  const Side& peer = sides_[Peer(side)];
  const size_t size = peer.in->size(), window = peer.receive_buffer;
  return size > window ? size - window : 0;
}

bool TcpConnection::AtMark(int side) const {
  absl::MutexLock lock(&mu_);
  return sides_[side].urgent.active && sides_[side].urgent.ahead == 0;
}

InetRow TcpConnection::Row(int side) const {
  const Side& self = sides_[side];
  InetRow row{.protocol = IPPROTO_TCP, .local = self.local, .remote = remote(side)};
  row.receive_queue = self.in->size();
  row.send_queue = BytesUnsent(side);
  row.inode = self.inode;
  row.uid = self.uid;
  absl::MutexLock lock(&mu_);
  row.state = StateLocked(side);
  row.domain = self.binding ? self.binding->domain : AF_INET;
  return row;
}

}  // namespace sentry
