// Sockets of whole messages: UDP, ICMP echo, raw. net/ipv4/datagram.c, net/core/datagram.c.
#ifndef SENTRY_NET_INET_DATAGRAM_SOCKET_H_
#define SENTRY_NET_INET_DATAGRAM_SOCKET_H_

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sentry/net/inet/inet_socket.h"
#include "sentry/net/inet/memberships.h"

namespace sentry {

// A message on its way: the bytes are shared by all who receive a copy.
struct Datagram {
  Endpoint from, to;
  std::shared_ptr<const std::string> bytes;
  uint8_t ttl = 64, tos = 0;
};

// What one message is sent with: options of the socket, unless control messages say otherwise.
struct DatagramOptions {
  uint8_t ttl = 64, tos = 0;
  int segment = 0;                  // UDP_SEGMENT: bytes of each datagram; 0: one for all.
  std::optional<IpAddress> source;  // IP_PKTINFO.
};

// Queues and peers. Lock order: mu_, queue_mu_; the stack's lock under either.
class DatagramSocket : public InetSocket {
 public:
  using InetSocket::InetSocket;

  Status Connect(Task& task, const SocketAddress& address) override ABSL_LOCKS_EXCLUDED(mu_);
  Result<SocketAddress> PeerAddress() override ABSL_LOCKS_EXCLUDED(mu_);
  Status Shutdown(int how) override ABSL_LOCKS_EXCLUDED(queue_mu_);
  Result<size_t> Receive(IoDst& dst, IncomingMessage& message) override
      ABSL_LOCKS_EXCLUDED(queue_mu_);
  Result<std::string> GetOption(Task& task, int level, int name, size_t room) override;
  Status SetOption(Task& task, int level, int name, std::span<const std::byte> value) override;
  Result<std::string> GetSources(int level, int name, std::span<const std::byte> asked) override
      ABSL_LOCKS_EXCLUDED(mu_);
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;
  uint32_t Poll() override ABSL_LOCKS_EXCLUDED(queue_mu_);
  void OnLastClose() override { DropBinding(); }
  InetRow Row() override;

  // Queues a message, or drops it when the buffer is full.
  void Deliver(const Datagram& datagram) ABSL_LOCKS_EXCLUDED(queue_mu_);
  // The same for what a filter has let pass, and maybe cut.
  void Queue(const Datagram& datagram) ABSL_LOCKS_EXCLUDED(queue_mu_);
  // What this socket sent to `to` found nobody.
  void ReportUnreachable(const Endpoint& to, const std::string& bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // See Memberships.
  std::optional<bool> Hears(const IpAddress& group, const IpAddress& source) const
      ABSL_LOCKS_EXCLUDED(mu_);

 protected:
  ~DatagramSocket() override = default;
  Result<int> PathMtu() override;
  // Checks that come before all others; where the message goes: EDESTADDRREQ, EINVAL, ….
  Result<Endpoint> Destination(const OutgoingMessage& message) ABSL_LOCKS_EXCLUDED(mu_);
  Result<DatagramOptions> OptionsFor(const OutgoingMessage& message, const Endpoint& to) const;
  // The address that a message to `to` carries; takes a port first.
  Result<Endpoint> SourceFor(const Endpoint& to, const DatagramOptions& options)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The bytes of a message of at most `most`: EMSGSIZE, EFAULT.
  static Result<std::shared_ptr<const std::string>> CopyIn(IoSrc& src, size_t most);
  bool is_shut(int bits) const ABSL_LOCKS_EXCLUDED(queue_mu_);
  // AF_INET6 refuses those of other sizes and families in its own way.
  Result<Endpoint> ReadDestination(const SocketAddress& address) const;
  virtual bool NeedsPort() const { return true; }
  // Raw sockets hear their own messages' headers.
  virtual std::string Header(const Datagram& datagram) const { return {}; }

  Endpoint remote_ ABSL_GUARDED_BY(mu_);
  bool connected_ ABSL_GUARDED_BY(mu_) = false;

 private:
  struct Queued {
    Datagram datagram;
    timespec stamp{};
    uint32_t drops = 0;
  };
  // An entry of MSG_ERRQUEUE.
  struct Refused {
    Endpoint to;
    std::string bytes;
  };
  static size_t Charge(size_t bytes);
  void Disconnect() ABSL_LOCKS_EXCLUDED(mu_);
  Result<size_t> ReceiveError(IoDst& dst, IncomingMessage& message) ABSL_LOCKS_EXCLUDED(queue_mu_);
  void AddControl(const Queued& queued, IncomingMessage& message) const;
  void AddIpControl(const Datagram& datagram, IncomingMessage& message) const;
  void AddIp6Control(const Datagram& datagram, IncomingMessage& message) const;
  Status ChangeMembership(int level, int name, std::span<const std::byte> value)
      ABSL_LOCKS_EXCLUDED(mu_);
  Status ChangeSource(int name, std::span<const std::byte> value) ABSL_LOCKS_EXCLUDED(mu_);
  Status ChangeGroup(int level, int name, std::span<const std::byte> value)
      ABSL_LOCKS_EXCLUDED(mu_);
  // `name`: MCAST_JOIN_SOURCE_GROUP and so on.
  Status ChangeSource6(int name, const group_source_req& request) ABSL_LOCKS_EXCLUDED(mu_);
  // IP_MSFILTER, MCAST_MSFILTER.
  Status SetSources(int level, int name, std::span<const std::byte> value) ABSL_LOCKS_EXCLUDED(mu_);
  Status ApplySource(int change, const IpAddress& group, const IpAddress& source)
      ABSL_LOCKS_EXCLUDED(mu_);
  Status SetMulticastDevice(int level, std::span<const std::byte> value);

  Memberships groups_ ABSL_GUARDED_BY(mu_);
  mutable absl::Mutex queue_mu_ ABSL_ACQUIRED_AFTER(mu_);
  std::deque<Queued> queue_ ABSL_GUARDED_BY(queue_mu_);
  size_t charged_ ABSL_GUARDED_BY(queue_mu_) = 0;
  uint32_t drops_ ABSL_GUARDED_BY(queue_mu_) = 0;
  std::deque<Refused> errors_ ABSL_GUARDED_BY(queue_mu_);
  int shut_ ABSL_GUARDED_BY(queue_mu_) = 0;  // 1: receive, 2: send.
};

}  // namespace sentry

#endif  // SENTRY_NET_INET_DATAGRAM_SOCKET_H_
