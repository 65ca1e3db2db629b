// Raw sockets and those of ICMP echo: raw(7), icmp(7), net/ipv4/ping.c.
#ifndef SENTRY_NET_INET_ICMP_SOCKET_H_
#define SENTRY_NET_INET_ICMP_SOCKET_H_

#include <array>
#include <atomic>
#include <memory>
#include <string>

#include "sentry/net/inet/datagram_socket.h"

namespace sentry {

// SOCK_DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6: sends echo requests, and hears the replies to
// them.
class PingSocket final : public DatagramSocket {
 public:
  PingSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags, uint32_t uid);
  ~PingSocket() override { DropBinding(); }
  Result<size_t> Send(IoSrc& src, OutgoingMessage& message) override;
};

// SOCK_RAW: its port is its protocol. Every message of that protocol is heard by all of them.
class RawSocket final : public DatagramSocket {
 public:
  RawSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags, uint32_t uid);
  ~RawSocket() override { DropBinding(); }

  Status Bind(Task& task, const SocketAddress& address) override ABSL_LOCKS_EXCLUDED(mu_);
  Result<size_t> Send(IoSrc& src, OutgoingMessage& message) override;
  Result<std::string> GetOption(Task& task, int level, int name, size_t room) override;
  Status SetOption(Task& task, int level, int name, std::span<const std::byte> value) override;
  // ICMP_FILTER, ICMP6_FILTER: whether messages of this type are to be heard.
  bool Accepts(uint8_t type) const;

 protected:
  bool NeedsPort() const override { return false; }
  // AF_INET hears the header of IP as well.
  std::string Header(const Datagram& datagram) const override;

 private:
  std::array<std::atomic<uint32_t>, 8> blocked_{};  // A bit for each type.
};

// Brings a message of ICMP to whom it is for, and answers echo requests (RFC 792, RFC 4443).
void TransmitIcmp(InetStack& stack, const Datagram& datagram);

}  // namespace sentry

#endif  // SENTRY_NET_INET_ICMP_SOCKET_H_
