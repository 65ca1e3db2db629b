// One end of AF_UNIX communication: unix(7), net/unix/af_unix.c (struct unix_sock there).
#ifndef SENTRY_NET_UNIX_UNIX_END_H_
#define SENTRY_NET_UNIX_UNIX_END_H_

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/dentry.h"
#include "sentry/net/byte_stream.h"
#include "sentry/net/message.h"
#include "sentry/net/socket.h"

namespace sentry {

class UnixSocket;
class UnixSockets;

class UnixEnd;

// A message of a datagram or seqpacket socket, in the receiver's queue.
struct UnixMessage {
  std::unique_ptr<std::byte[]> bytes;
  uint32_t size = 0;
  Ref<UnixEnd> sender;  // Its name is looked up when the message is received, as in Linux.
  ControlData control;
};

// Held by its UnixSocket (or the listener that has not accepted it yet), by its peer, and by
// messages that it sent. Nobody locks two ends at a time. Lock order: an end's mu, its streams',
// wait queues'.
class UnixEnd final : public WaitPoint {
 public:
  enum class State : uint8_t { kIdle, kListening, kConnected, kClosed };

  using Message = UnixMessage;

  // `space`: the number of its network namespace.
  UnixEnd(uint64_t space, int type);
  ~UnixEnd() override;

  const uint64_t space;
  const int type;
  static UnixSockets& table();

  // The name as struct sockaddr_un: its family alone when there is none.
  SocketAddress Name() const ABSL_LOCKS_EXCLUDED(mu);

  // SHUT_* as bits: 1 receive, 2 send.
  static constexpr int kShutReceive = 1, kShutSend = 2, kShutBoth = 3;
  int shut() const { return shut_.load(std::memory_order_acquire); }
  // Adds bits and tells the streams, waiters and, where connected, the peer what it means for it.
  void ShutDown(int bits) ABSL_LOCKS_EXCLUDED(mu);

  // The last close: whoever is connected, waits or is not yet accepted learns of it.
  void Close() ABSL_LOCKS_EXCLUDED(mu);

  // Puts a message into this end's queue. EAGAIN while the queue is full (unless `sender` is who
  // this end is connected to), EPIPE after SHUT_RD, ECONNREFUSED when closed, EPERM when this end
  // listens to another one only. `message` is moved from on success.
  Status Deliver(Message& message, const Ref<UnixEnd>& sender) ABSL_LOCKS_EXCLUDED(mu);
  // Takes the first message out; EAGAIN.
  Result<Message> TakeMessage() ABSL_LOCKS_EXCLUDED(mu);
  bool IsFullFor(const UnixEnd& sender) const ABSL_LOCKS_EXCLUDED(mu);
  // `sender` is told (POLLOUT) when there is room. False when there is room now.
  bool AwaitRoom(UnixEnd& sender) ABSL_LOCKS_EXCLUDED(mu);
  // The same for the table, which remembers the senders.
  bool NoteAwaited(const UnixEnd& sender) ABSL_LOCKS_EXCLUDED(mu);
  // Empties the queue; the files in it are the caller's to drop.
  std::list<Message> DropMessages() ABSL_LOCKS_EXCLUDED(mu);
  // Takes a message that has left a queue off its sender's account.
  static void Discharge(const Message& message);

  // What this end has sent and nobody has received, of datagrams: bytes with the overhead of each.
  static constexpr size_t kMessageOverhead = 512;
  std::atomic<size_t> in_flight{0};
  std::atomic<int> send_buffer{SocketOptions::kDefaultBuffer};  // SO_SNDBUF.
  // SO_PASSCRED, SO_PASSPIDFD: senders look.
  std::atomic<bool> wants_credentials{false};
  FilterSlot filter;  // SO_ATTACH_FILTER; senders run it.
  // The number of the socket's inode; 0 while it is not accepted.
  std::atomic<uint64_t> inode_number{0};

  mutable absl::Mutex mu;
  State state ABSL_GUARDED_BY(mu) = State::kIdle;
  std::string name ABSL_GUARDED_BY(mu);  // sun_path: abstract with its NUL in front, or a path.
  Path path ABSL_GUARDED_BY(mu);         // Keeps what a bound path leads to.
  Ref<UnixEnd> peer ABSL_GUARDED_BY(mu);
  // For SO_PEERCRED and SO_PEERGROUPS.
  struct Peer : SocketCredentials {
    std::vector<uint32_t> groups;
  };
  Peer own ABSL_GUARDED_BY(mu);  // Who listens, or connected.
  Peer peers ABSL_GUARDED_BY(mu);
  Ref<ByteStream> in ABSL_GUARDED_BY(mu), out ABSL_GUARDED_BY(mu);  // Streams, once connected.
  std::list<Message> messages ABSL_GUARDED_BY(mu);
  size_t message_bytes ABSL_GUARDED_BY(mu) = 0;
  std::list<Ref<UnixEnd>> pending ABSL_GUARDED_BY(mu);  // Of a listener: connected, not accepted.
  int backlog ABSL_GUARDED_BY(mu) = 0;
  Ref<WaitPoint> room ABSL_GUARDED_BY(mu);  // Of a listener: those who wait to connect.

  // Links two ends as connected to each other, of which nobody knows `b` yet. False when `a` is not
  // idle any more.
  static bool Connect(const Ref<UnixEnd>& a, const Ref<UnixEnd>& b);
  // Takes that back, before anybody knows of `b`.
  static void Disconnect(const Ref<UnixEnd>& a, const Ref<UnixEnd>& b);

  // The socket, for the search of unreachable ones; nullptr without. Guarded by the table's lock.
  UnixSocket* socket = nullptr;

 private:
  // net.unix.max_dgram_qlen.
  static constexpr size_t kMaxMessages = 10;
  void Unlink() ABSL_LOCKS_EXCLUDED(mu);
  bool IsFullLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    return messages.size() > kMaxMessages;
  }

  std::atomic<int> shut_{0};
  bool awaited_ ABSL_GUARDED_BY(mu) = false;  // The table has senders that wait for room.
};

}  // namespace sentry

#endif  // SENTRY_NET_UNIX_UNIX_END_H_
