// UDP sockets: udp(7), RFC 768; those of UDP-Lite, udplite(7), RFC 3828.
#ifndef SENTRY_NET_INET_UDP_SOCKET_H_
#define SENTRY_NET_INET_UDP_SOCKET_H_

#include <atomic>
#include <memory>
#include <string>

#include "sentry/net/inet/datagram_socket.h"

namespace sentry {

class UdpSocket final : public DatagramSocket {
 public:
  // `what.protocol`: IPPROTO_UDP or IPPROTO_UDPLITE, which differ in their ports and options only.
  UdpSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags, uint32_t uid);
  ~UdpSocket() override { DropBinding(); }

  Result<size_t> Send(IoSrc& src, OutgoingMessage& message) override ABSL_LOCKS_EXCLUDED(cork_mu_);
  Result<std::string> GetOption(Task& task, int level, int name, size_t room) override;
  Status SetOption(Task& task, int level, int name, std::span<const std::byte> value) override;

 private:
  bool is_lite() const { return transport_ == Transport::kUdpLite; }
  // UDP_CORK, MSG_MORE: what has been gathered for one datagram.
  struct Pending {
    Endpoint to;
    DatagramOptions options;
    std::string bytes;
  };

  Status Transmit(const Endpoint& to, const DatagramOptions& options,
                  std::shared_ptr<const std::string> bytes);
  void TransmitOne(const Datagram& datagram);
  void TransmitToGroup(const Datagram& datagram);
  Status Gather(const std::string& bytes, OutgoingMessage& message) ABSL_LOCKS_EXCLUDED(cork_mu_);
  Status Push() ABSL_LOCKS_EXCLUDED(cork_mu_);

  std::atomic<bool> corked_{false};
  // UDPLITE_SEND_CSCOV, UDPLITE_RECV_CSCOV: bytes that a checksum would cover.
  std::atomic<int> send_coverage_{0}, receive_coverage_{0};
  std::atomic<int> segment_{0}, gro_{0}, no_check6_send_{0}, no_check6_receive_{0};
  std::atomic<bool> gathering_{false};  // Whether pending_ is set.
  absl::Mutex cork_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  std::unique_ptr<Pending> pending_ ABSL_GUARDED_BY(cork_mu_);
};

}  // namespace sentry

#endif  // SENTRY_NET_INET_UDP_SOCKET_H_
