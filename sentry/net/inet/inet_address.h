// Internet addresses and ports: ip(7), ipv6(7).
#ifndef SENTRY_NET_INET_INET_ADDRESS_H_
#define SENTRY_NET_INET_INET_ADDRESS_H_

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <utility>

#include "base/result.h"
#include "sentry/net/address.h"

namespace sentry {

// The interface of 127.0.0.1 and ::1, which every namespace has.
inline constexpr int kLoopbackDevice = 1;

// An address of either family. Those of IPv4 are kept as ::ffff:a.b.c.d, apart from 0.0.0.0 where
// it belongs to an AF_INET socket: that is ::ffff:0.0.0.0, and :: is :: (RFC 4291).
class IpAddress {
 public:
  constexpr IpAddress() = default;
  static IpAddress V4(uint32_t host_order);
  static IpAddress V6(const in6_addr& address);
  static IpAddress AnyOf(int domain);
  static IpAddress LoopbackOf(bool v4);

  bool is_v4() const;        // ::ffff:0:0/96.
  bool is_any() const;       // 0.0.0.0 or ::.
  bool is_loopback() const;  // 127/8 or ::1.
  bool is_multicast() const;
  bool is_broadcast() const;  // 255.255.255.255 or that of 127/8.
  uint32_t v4() const;        // Host order. Requires: is_v4().
  in6_addr v6() const;

  bool operator==(const IpAddress&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const IpAddress& a) {
    return H::combine(std::move(h), a.bytes_);
  }

 private:
  std::array<uint8_t, 16> bytes_{};
};

// An address with a port in host order.
struct Endpoint {
  IpAddress address;
  uint16_t port = 0;

  bool operator==(const Endpoint&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const Endpoint& e) {
    return H::combine(std::move(h), e.address, e.port);
  }
};

// What struct sockaddr_in and sockaddr_in6 say. `domain` is the socket's: EINVAL for short ones,
// EAFNOSUPPORT for others. AF_UNSPEC has been dealt with.
Result<Endpoint> ReadEndpoint(int domain, const SocketAddress& address);
// The address as a socket of `domain` shows it.
SocketAddress ToSocketAddress(int domain, const Endpoint& endpoint);

}  // namespace sentry

#endif  // SENTRY_NET_INET_INET_ADDRESS_H_
