// A TCP connection between two sockets of the sandbox: tcp(7), RFC 9293, without segments.
#ifndef SENTRY_NET_INET_TCP_CONNECTION_H_
#define SENTRY_NET_INET_TCP_CONNECTION_H_

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/net/byte_stream.h"
#include "sentry/net/inet/inet_address.h"
#include "sentry/net/inet/inet_stack.h"
#include "sentry/net/socket.h"

namespace sentry {

inline constexpr uint32_t kTcpWritable = POLLOUT | POLLWRNORM;

// What one end tells the connection about itself when it comes to it.
struct TcpEnd {
  Endpoint local;
  Ref<WaitPoint> point;
  Ref<PortBinding> binding;
};

// Held by the sockets of both ends and, until it is accepted, by the listener's queue. Side 0 is
// who connected. A socket connected to itself is both: then there is a side 0 only. Thread-safe.
// Lock order: a socket's lock, mu_, a stream's, wait queues'; mu_ is never held while bytes are
// copied from or to the application.
class TcpConnection final : public RefCounted {
 public:
  // `server.point` is to be a socket's later. Not yet established.
  TcpConnection(TcpEnd client, TcpEnd server);
  // To itself, and established.
  explicit TcpConnection(TcpEnd both);
  ~TcpConnection() override;

  // The listener has room: tells the client. False when the client has gone meanwhile.
  bool Establish() ABSL_LOCKS_EXCLUDED(mu_);
  // Refuses it with ETIMEDOUT when it has not been established by then (CLOCK_MONOTONIC, ns).
  void ExpireAt(int64_t deadline_ns) ABSL_LOCKS_EXCLUDED(mu_);
  // The client did not get in: it is told `error`.
  void Refuse(Errno error) ABSL_LOCKS_EXCLUDED(mu_);
  bool established() const { return phase_.load(std::memory_order_acquire) == Phase::kEstablished; }

  // One attempt to send or receive, as Socket::Send and Socket::Receive.
  Result<size_t> Send(int side, IoSrc& src, OutgoingMessage& message) ABSL_LOCKS_EXCLUDED(mu_);
  Result<size_t> Receive(int side, IoDst& dst, IncomingMessage& message, bool oob_inline)
      ABSL_LOCKS_EXCLUDED(mu_);
  // MSG_OOB: the byte beside the stream. EINVAL when there is none.
  Result<size_t> ReceiveUrgent(int side, IoDst& dst, IncomingMessage& message, bool oob_inline)
      ABSL_LOCKS_EXCLUDED(mu_);

  // SHUT_*. ENOTCONN when all is over.
  Status Shutdown(int side, int how) ABSL_LOCKS_EXCLUDED(mu_);
  // The last close. A reset when bytes are left unread, or `abort` (SO_LINGER of 0 seconds,
  // connect(2) to AF_UNSPEC).
  void Close(int side, bool abort) ABSL_LOCKS_EXCLUDED(mu_);

  // POLL* events without those of an error.
  uint32_t Poll(int side, size_t low_water, bool oob_inline) const ABSL_LOCKS_EXCLUDED(mu_);
  // TCP_ESTABLISHED, ….
  int State(int side) const ABSL_LOCKS_EXCLUDED(mu_);
  // Bytes to read (up to the urgent mark, where that counts), and sent but not received.
  size_t BytesToRead(int side, bool oob_inline) const ABSL_LOCKS_EXCLUDED(mu_);
  size_t BytesUnsent(int side) const;
  bool AtMark(int side) const ABSL_LOCKS_EXCLUDED(mu_);

  const Endpoint& local(int side) const { return sides_[side].local; }
  const Endpoint& remote(int side) const { return sides_[Peer(side)].local; }
  const Ref<WaitPoint>& point(int side) const { return sides_[side].point; }
  // The socket of this side, for listings: 0 for none.
  void SetSocket(int side, uint64_t inode, uint32_t uid) {
    sides_[side].inode = inode;
    sides_[side].uid = uid;
  }
  // What may be on its way from this side is its send buffer and the other's receive buffer.
  void SetBuffers(int side, size_t send, size_t receive) {
    sides_[side].send_buffer = send;
    sides_[side].receive_buffer = receive;
  }
  InetRow Row(int side) const ABSL_LOCKS_EXCLUDED(mu_);

  // What a buffer holds before anybody sets its size. Linux starts lower and grows on its own; the
  // bytes are in memory as long as they are there only.
  static constexpr size_t kDefaultBuffer = 256 * 1024;

 private:
  enum class Phase : uint8_t { kConnecting, kEstablished, kFailed };
  // What has happened to a side; bits of Side::flags.
  enum : uint32_t {
    kShutRead = 1,   // Nothing more will be read, or arrive.
    kShutWrite = 2,  // It sent its FIN.
    kDone = 4,       // The other's FIN has arrived.
    kReset = 8,
    kClosed = 16,  // No socket any more.
  };
  struct Urgent {
    bool active = false;  // The mark has not been passed.
    bool valid = false;   // Its byte has not been received by itself.
    std::byte value{};
    size_t ahead = 0;  // Bytes in front of the mark.
  };
  struct Side {
    Endpoint local;
    Ref<WaitPoint> point;
    Ref<ByteStream> in;
    Ref<PortBinding> binding;        // Until the connection is over; guarded by mu_.
    std::atomic<uint32_t> flags{0};  // Changed under mu_.
    std::atomic<bool> urgent_active{false};
    Urgent urgent;  // Guarded by mu_.
    std::atomic<size_t> send_buffer{kDefaultBuffer}, receive_buffer{kDefaultBuffer};
    std::atomic<uint64_t> inode{0};
    std::atomic<uint32_t> uid{0};

    bool has(uint32_t flag) const { return (flags.load(std::memory_order_acquire) & flag) != 0; }
  };
  class Expiry;
  void CancelExpiryLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What has to be dropped or told once mu_ is free.
  struct Aftermath;

  int Peer(int side) const { return to_itself_ ? side : 1 - side; }
  size_t Capacity(int side) const {
    return sides_[side].send_buffer.load(std::memory_order_relaxed) +
           sides_[Peer(side)].receive_buffer.load(std::memory_order_relaxed);
  }
  void Attach(int side, TcpEnd end);
  bool IsOverLocked(int side) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SendFinLocked(int side, Aftermath& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // `side` receives a reset.
  void ResetLocked(int side, Aftermath& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EndLocked(bool time_wait, Aftermath& after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int StateLocked(int side) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What a side finds that has nothing to read: its end, an error, or EAGAIN.
  Result<size_t> NothingToRead(int side);
  Result<size_t> SendToNobody(int side, IoSrc& src) ABSL_LOCKS_EXCLUDED(mu_);
  Result<size_t> SendUrgent(int side, IoSrc& src, OutgoingMessage& message)
      ABSL_LOCKS_EXCLUDED(mu_);
  Result<size_t> ReceiveAtMark(int side, IoDst& dst, IncomingMessage& message, bool oob_inline)
      ABSL_LOCKS_EXCLUDED(mu_);
  void SkipUrgentLocked(Side& self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Ref<InetStack> stack_;
  const bool to_itself_;
  std::atomic<Phase> phase_{Phase::kConnecting};
  mutable absl::Mutex mu_;
  std::array<Side, 2> sides_;
  Ref<Expiry> expiry_ ABSL_GUARDED_BY(mu_);  // Only where a client has to wait.
  int first_fin_ ABSL_GUARDED_BY(mu_) = -1;
  bool over_ ABSL_GUARDED_BY(mu_) = false;  // Both ports are free, or in TIME_WAIT.
};

}  // namespace sentry

#endif  // SENTRY_NET_INET_TCP_CONNECTION_H_
