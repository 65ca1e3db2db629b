// What /proc/net/{tcp,udp,raw,icmp}* and inet_diag show of internet sockets, whoever carries them.
#ifndef SENTRY_NET_LISTING_H_
#define SENTRY_NET_LISTING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "sentry/net/inet/inet_stack.h"
#include "sentry/net/namespace.h"

namespace sentry {

// Which table: a transport of both families.
enum class InetTable : uint8_t { kTcp, kUdp, kRaw, kIcmp };
std::vector<InetRow> ListInet(NetworkNamespace& space, InetTable table);
// An address as a socket of `domain` has it: 4 or 16 bytes.
std::string AddressBytes(int domain, const IpAddress& address);

}  // namespace sentry

#endif  // SENTRY_NET_LISTING_H_
