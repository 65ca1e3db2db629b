// What a network namespace is made of, as rtnetlink(7) tells it: links, addresses, routes, rules,
// neighbours.
#ifndef SENTRY_NET_DEVICES_TABLES_H_
#define SENTRY_NET_DEVICES_TABLES_H_

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sentry {

// Each object keeps its `payload`, the body and attributes of the message that tells of it, so that
// everything that the host says reaches whoever asks; next to it, what the sentry itself looks at.
// Addresses are their bytes in network order: 4, 16, or 6 of a link.
struct Link {
  int index = 0;
  std::string name;
  uint16_t type = 0;   // ARPHRD_*
  uint32_t flags = 0;  // IFF_*
  uint32_t mtu = 0, queue_length = 0, group = 0;
  int peer = 0;  // IFLA_LINK; its own index without one.
  std::string address, broadcast, alias;
  uint8_t state = 0, mode = 0;  // IF_OPER_*, IF_LINK_MODE_*
  bool carrier = false;
  rtnl_link_stats64 counters{};
  std::string payload;

  static Link Parse(std::string_view payload);
};

struct InterfaceAddress {
  int family = 0, index = 0;
  uint8_t prefix = 0, scope = 0;
  uint32_t flags = 0;  // IFA_F_*
  std::string local, remote, broadcast,
      label;  // IFA_LOCAL, IFA_ADDRESS, …; `local` is never empty.
  std::string payload;

  static InterfaceAddress Parse(std::string_view payload);
};

struct RouteEntry {
  rtmsg body{};
  uint32_t table = 0, priority = 0;
  int out = 0;                               // The link; 0 for several or none.
  std::string destination, gateway, source;  // `destination` is whole, also of a default route.
  std::string payload;

  static RouteEntry Parse(std::string_view payload);
};

struct Neighbour {
  int family = 0, index = 0;
  uint16_t state = 0;  // NUD_*
  uint8_t flags = 0, type = 0;
  std::string destination, link_address;
  std::string payload;

  static Neighbour Parse(std::string_view payload);
};

struct Rule {
  int family = 0;
  std::string payload;
};

struct DeviceTables {
  std::vector<Link> links;
  std::vector<InterfaceAddress> addresses;
  std::vector<RouteEntry> routes;
  std::vector<Rule> rules;
  std::vector<Neighbour> neighbours;

  // The loopback interface alone, up, as in a new namespace.
  static DeviceTables Loopback();

  const Link* FindLink(int index) const;
  const Link* FindLink(std::string_view name) const;
  // The first address of a link and family, the one that matters to netdevice(7); may be nullptr.
  const InterfaceAddress* FindAddress(int family, int index) const;
};

// Where a packet goes. `out` limits the links if it is not 0. ENETUNREACH, EHOSTUNREACH, EACCES,
// EINVAL as the route's type says.
struct RouteResult {
  const RouteEntry* route = nullptr;
  std::string source;  // The address that it would be sent from; may be empty.
};
Result<RouteResult> LookUpRoute(const DeviceTables& tables, std::string_view destination, int out);

// The payloads made from the fields. For links that the sentry itself has (loopback.cc).
std::string EncodeLink(const Link& link);
std::string EncodeAddress(const InterfaceAddress& address);
// Makes what belongs to the addresses of a loopback link that is up anew.
void RebuildLoopbackRoutes(DeviceTables& tables);

}  // namespace sentry

#endif  // SENTRY_NET_DEVICES_TABLES_H_
