// A socket: what lies between the calls of the socket family (syscalls/socket*.cc) and the address
// families (sentry/net/unix, inet, netlink, …).
#ifndef SENTRY_NET_SOCKET_H_
#define SENTRY_NET_SOCKET_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/net/address.h"
#include "sentry/net/message.h"
#include "sentry/net/options.h"

namespace sentry {

// What poll(2) says of bytes to read, and of room to write; TCP leaves POLLWRBAND out.
inline constexpr uint32_t kPollReadable = POLLIN | POLLRDNORM;
inline constexpr uint32_t kPollWritable = POLLOUT | POLLWRNORM | POLLWRBAND;

// What others may hold of a socket, so that they neither keep it open nor outlive what they touch:
// the other end of a connection, a full receiver.
class WaitPoint : public RefCounted {
 public:
  WaitQueue queue;
  std::atomic<int> error{0};  // SO_ERROR; see Socket::TakeError.
};

// What socket(2) was asked for.
struct SocketKind {
  int domain = 0;    // AF_*.
  int type = 0;      // SOCK_* without flags.
  int protocol = 0;  // IPPROTO_*, NETLINK_*, 0.
};

// Of the options at IPPROTO_IP and IPPROTO_IPV6: IP_MSFILTER, MCAST_MSFILTER.
bool IsSourceList(int level, int name);
// Of such a list: how long its header is, which ends in the number of sources.
size_t SourceListHeader(int name);

// Subclassed by each family, which overrides what it supports: defaults are what Linux answers for
// a family without it (sock_no_*). Thread-safe; never blocks: EAGAIN means that the caller waits on
// wait_queue(), with one exception (Connect). Anonymous: its inode is its own.
class Socket : public File {
 public:
  static constexpr char kKind = 0;

  // `flags`: O_NONBLOCK. Every socket is open for reading and writing.
  Socket(SocketKind what, OpenFlags flags, Ref<WaitPoint> wait_point = MakeRef<WaitPoint>());

  const SocketKind& what() const { return what_; }
  // Whether messages are joined and split at will.
  bool is_stream() const { return what_.type == SOCK_STREAM; }

  // bind(2), listen(2) (`backlog` already within net.core.somaxconn).
  virtual Status Bind(Task& task, const SocketAddress& address) { return Errno(EOPNOTSUPP); }
  virtual Status Listen(Task& task, int backlog) { return Errno(EOPNOTSUPP); }
  // connect(2), one attempt; AF_UNSPEC dissolves an association where that exists.
  //  EINPROGRESS, EALREADY: under way. POLLOUT tells the end, FinishConnect the outcome.
  //  EAGAIN: the other end's queue of connections is full; ConnectQueue() tells of room in it.
  virtual Status Connect(Task& task, const SocketAddress& address) { return Errno(EOPNOTSUPP); }
  // EALREADY while it is still under way.
  virtual Status FinishConnect() { return kOk; }
  virtual Ref<WaitPoint> ConnectQueue() { return wait_point_; }
  // accept(2), one attempt: EAGAIN when nobody waits. `flags`: O_NONBLOCK of the new socket.
  virtual Result<Ref<Socket>> Accept(Task& task, OpenFlags flags) { return Errno(EOPNOTSUPP); }
  // getsockname(2), getpeername(2): ENOTCONN.
  virtual Result<SocketAddress> LocalAddress() { return Errno(EOPNOTSUPP); }
  virtual Result<SocketAddress> PeerAddress() { return Errno(EOPNOTSUPP); }
  // SHUT_RD, SHUT_WR, SHUT_RDWR; others have been refused.
  virtual Status Shutdown(int how) { return Errno(EOPNOTSUPP); }

  // One attempt to send: streams take what fits, others all of it or nothing. The rest of a
  // stream's message is the caller's to send (without control data). EPIPE: the caller raises
  // SIGPIPE for streams.
  virtual Result<size_t> Send(IoSrc& src, OutgoingMessage& message) = 0;
  // One attempt to receive. 0 is the end of a stream.
  virtual Result<size_t> Receive(IoDst& dst, IncomingMessage& message) = 0;

  // getsockopt(2): the value's bytes; of `room` bytes at most, where that matters. setsockopt(2).
  // The defaults know SOL_SOCKET (options.h) and are ENOPROTOOPT for other levels.
  virtual Result<std::string> GetOption(Task& task, int level, int name, size_t room);
  virtual Status SetOption(Task& task, int level, int name, std::span<const std::byte> value);
  // getsockopt(2) of lists of multicast sources (IsSourceList), whose value says on its way in what
  // is asked.
  virtual Result<std::string> GetSources(int level, int name, std::span<const std::byte> asked) {
    return Errno(what().domain == AF_UNIX ? EOPNOTSUPP : ENOPROTOOPT);
  }

  // read(2), write(2).
  Result<size_t> Read(IoDst& dst) final {
    IncomingMessage message;
    return Receive(dst, message);
  }
  Result<size_t> Write(IoSrc& src) final {
    OutgoingMessage message;
    return Send(src, message);
  }
  WaitQueue* wait_queue() override { return &wait_point_->queue; }
  std::string AnonymousName() const override;
  const void* kind() const final { return &kKind; }

  uint64_t inode_number() const { return inode_number_; }
  SocketOptions& options() { return options_; }
  const SocketOptions& options() const { return options_; }
  const Ref<WaitPoint>& wait_point() const { return wait_point_; }
  void Notify(uint32_t events) { wait_point_->queue.Notify(events); }

  // SO_ERROR: told once, and by the next call that may fail.
  void SetError(Errno error) { wait_point_->error.store(error.code(), std::memory_order_relaxed); }
  bool has_error() const { return wait_point_->error.load(std::memory_order_relaxed) != 0; }
  // kOk when there is none.
  Status TakeError() {
    if (!has_error()) return kOk;
    const int error = wait_point_->error.exchange(0, std::memory_order_relaxed);
    return error == 0 ? Status(kOk) : Status(Errno(error));
  }

 protected:
  // MSG_FASTOPEN, in front of sending: connects to message.to, and takes the flag out once that is
  // done. EAGAIN while it is under way, EINPROGRESS for who does not wait.
  Status ConnectFirst(OutgoingMessage& message);
  // SO_ACCEPTCONN, SO_PEERCRED and what else only the family knows; ENOPROTOOPT otherwise.
  virtual bool IsListening() const { return false; }
  virtual Result<std::string> GetFamilySocketOption(Task& task, int name) {
    return Errno(ENOPROTOOPT);
  }

 private:
  const SocketKind what_;
  const Ref<WaitPoint> wait_point_;
  const uint64_t inode_number_;
  SocketOptions options_;
};

}  // namespace sentry

#endif  // SENTRY_NET_SOCKET_H_
