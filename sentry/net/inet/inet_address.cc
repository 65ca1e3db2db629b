#include "sentry/net/inet/inet_address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace sentry {
namespace {

// sockaddr_in6 without sin6_scope_id: RFC 2133 knew no more (SIN6_LEN_RFC2133).
constexpr size_t kOldSockaddrIn6 = offsetof(sockaddr_in6, sin6_scope_id);

}  // namespace

IpAddress IpAddress::V4(uint32_t host_order) {
  IpAddress address;
  address.bytes_[10] = address.bytes_[11] = 0xff;
  const uint32_t network = htonl(host_order);
  memcpy(address.bytes_.data() + 12, &network, sizeof(network));
  return address;
}

IpAddress IpAddress::V6(const in6_addr& from) {
  IpAddress address;
  memcpy(address.bytes_.data(), &from, sizeof(from));
  return address;
}

IpAddress IpAddress::AnyOf(int domain) { return domain == AF_INET ? V4(INADDR_ANY) : IpAddress(); }

IpAddress IpAddress::LoopbackOf(bool v4) { return v4 ? V4(INADDR_LOOPBACK) : V6(in6addr_loopback); }

bool IpAddress::is_v4() const {
  return std::all_of(bytes_.begin(), bytes_.begin() + 10, [](uint8_t b) { return b == 0; }) &&
         bytes_[10] == 0xff && bytes_[11] == 0xff;
}

uint32_t IpAddress::v4() const {
  uint32_t network;
  memcpy(&network, bytes_.data() + 12, sizeof(network));
  return ntohl(network);
}

in6_addr IpAddress::v6() const {
  in6_addr address;
  memcpy(&address, bytes_.data(), sizeof(address));
  return address;
}

bool IpAddress::is_any() const { return is_v4() ? v4() == INADDR_ANY : *this == IpAddress(); }

bool IpAddress::is_loopback() const {
  return is_v4() ? v4() >> 24 == 127 : *this == LoopbackOf(false);
}

bool IpAddress::is_multicast() const { return is_v4() ? IN_MULTICAST(v4()) : bytes_[0] == 0xff; }

bool IpAddress::is_broadcast() const {
  return is_v4() && (v4() == INADDR_BROADCAST || v4() == 0x7fffffff);
}

Result<Endpoint> ReadEndpoint(int domain, const SocketAddress& address) {
  if (domain == AF_INET) {
    if (address.size < sizeof(sockaddr_in)) return Errno(EINVAL);
    const auto in = address.As<sockaddr_in>();
    if (in.sin_family != AF_INET) return Errno(EAFNOSUPPORT);
    return Endpoint{IpAddress::V4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  if (address.size < kOldSockaddrIn6) return Errno(EINVAL);
  const auto in = address.As<sockaddr_in6>();
  if (in.sin6_family != AF_INET6) return Errno(EAFNOSUPPORT);
  return Endpoint{IpAddress::V6(in.sin6_addr), ntohs(in.sin6_port)};
}

SocketAddress ToSocketAddress(int domain, const Endpoint& endpoint) {
  if (domain == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    in.sin_addr.s_addr = endpoint.address.is_v4() ? htonl(endpoint.address.v4()) : INADDR_ANY;
    return SocketAddress::Of(in);
  }
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(endpoint.port);
  // An unbound socket shows :: even if it is to carry IPv4.
  if (!endpoint.address.is_any()) in.sin6_addr = endpoint.address.v6();
  return SocketAddress::Of(in);
}

}  // namespace sentry
