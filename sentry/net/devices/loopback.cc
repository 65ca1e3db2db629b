// The loopback interface of a namespace of the sandbox's own, with what belongs to its addresses.
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>

#include <algorithm>

#include "sentry/net/devices/tables.h"
#include "sentry/net/devices/wire.h"

namespace sentry {
namespace {

constexpr uint32_t kLowerUp = 0x10000;  // IFF_LOWER_UP of linux/if.h.
constexpr uint32_t kForever = 0xffffffff;

// struct rtnl_link_stats: the same counters in 32 bits.
std::string NarrowCounters(const rtnl_link_stats64& wide) {
  constexpr size_t kCount = sizeof(rtnl_link_stats) / sizeof(uint32_t);
  std::string bytes;
  for (size_t i = 0; i < kCount; ++i) {
    const auto value = NlRead<uint64_t>(NlBytes(wide).substr(i * sizeof(uint64_t)));
    bytes.append(NlBytes(static_cast<uint32_t>(value)));
  }
  return bytes;
}

RouteEntry MakeRoute(int family, uint8_t type, uint8_t scope, const std::string& destination,
                     uint8_t bits, const std::string& source) {
  const bool v6 = family == AF_INET6;
  rtmsg body{};
  body.rtm_family = static_cast<uint8_t>(family);
  body.rtm_dst_len = bits;
  body.rtm_table = RT_TABLE_LOCAL;
  body.rtm_protocol = RTPROT_KERNEL;
  body.rtm_scope = scope;
  body.rtm_type = type;
  NlPayload payload(body);
  payload.PutNumber(RTA_TABLE, uint32_t{RT_TABLE_LOCAL}).Put(RTA_DST, destination);
  if (v6) payload.PutNumber(RTA_PRIORITY, uint32_t{0});
  if (!v6) payload.Put(RTA_PREFSRC, source);
  payload.PutNumber(RTA_OIF, uint32_t{1});
  if (v6) {
    payload.PutStruct(RTA_CACHEINFO, rta_cacheinfo{}).PutNumber(RTA_PREF, uint8_t{0});
  }
  return RouteEntry::Parse(payload.bytes());
}

// `address` with all bits behind the prefix cleared, or set.
std::string Prefix(std::string address, size_t bits, bool ones) {
  for (size_t i = 0; i < address.size() * 8; ++i) {
    if (i < bits) continue;
    const auto bit = static_cast<char>(0x80 >> (i % 8));
    address[i / 8] = static_cast<char>(ones ? address[i / 8] | bit : address[i / 8] & ~bit);
  }
  return address;
}

// fib_add_ifaddr() and its like: what Linux adds for an address of a loopback link.
void AddRoutes(const InterfaceAddress& address, std::vector<RouteEntry>& routes) {
  if (address.family == AF_INET6) {
    routes.push_back(
        MakeRoute(AF_INET6, RTN_LOCAL, RT_SCOPE_UNIVERSE, address.local, 128, address.local));
    return;
  }
  const std::string network = Prefix(address.local, address.prefix, false);
  if (address.prefix < 32) {
    routes.push_back(
        MakeRoute(AF_INET, RTN_LOCAL, RT_SCOPE_HOST, network, address.prefix, address.local));
  }
  routes.push_back(MakeRoute(AF_INET, RTN_LOCAL, RT_SCOPE_HOST, address.local, 32, address.local));
  if (address.prefix < 31) {
    routes.push_back(MakeRoute(AF_INET, RTN_BROADCAST, RT_SCOPE_LINK,
                               Prefix(address.local, address.prefix, true), 32, address.local));
  }
}

Rule MakeRule(int family, uint32_t priority, uint32_t table) {
  fib_rule_hdr body{};
  body.family = static_cast<uint8_t>(family);
  body.table = static_cast<uint8_t>(table);
  body.action = FR_ACT_TO_TBL;
  NlPayload payload(body);
  payload.PutNumber(FRA_TABLE, table).PutNumber(FRA_SUPPRESS_PREFIXLEN, uint32_t{0xffffffff});
  payload.PutNumber(FRA_PROTOCOL, uint8_t{RTPROT_KERNEL});
  if (priority != 0) payload.PutNumber(FRA_PRIORITY, priority);
  return {family, payload.Take()};
}

InterfaceAddress MakeAddress(int family, std::string bytes, uint8_t prefix) {
  InterfaceAddress address{.family = family,
                           .index = 1,
                           .prefix = prefix,
                           .scope = RT_SCOPE_HOST,
                           .flags = IFA_F_PERMANENT,
                           .local = bytes,
                           .remote = bytes};
  if (family == AF_INET) address.label = "lo";
  address.payload = EncodeAddress(address);
  return address;
}

}  // namespace

std::string EncodeLink(const Link& link) {
  ifinfomsg body{};
  body.ifi_type = link.type;
  body.ifi_index = link.index;
  body.ifi_flags = link.flags;
  NlPayload payload(body);
  payload.PutString(IFLA_IFNAME, link.name)
      .PutNumber(IFLA_TXQLEN, link.queue_length)
      .PutNumber(IFLA_OPERSTATE, link.state)
      .PutNumber(IFLA_LINKMODE, link.mode)
      .PutNumber(IFLA_MTU, link.mtu)
      .PutNumber(IFLA_MIN_MTU, uint32_t{0})
      .PutNumber(IFLA_MAX_MTU, uint32_t{0})
      .PutNumber(IFLA_GROUP, link.group)
      .PutNumber(IFLA_PROMISCUITY, uint32_t{0})
      .PutNumber(IFLA_NUM_TX_QUEUES, uint32_t{1})
      .PutNumber(IFLA_GSO_MAX_SEGS, uint32_t{65535})
      .PutNumber(IFLA_GSO_MAX_SIZE, uint32_t{65536})
      .PutNumber(IFLA_NUM_RX_QUEUES, uint32_t{1})
      .PutNumber(IFLA_CARRIER, static_cast<uint8_t>(link.carrier))
      .PutString(IFLA_QDISC, "noqueue")
      .PutNumber(IFLA_CARRIER_CHANGES, uint32_t{0})
      .PutNumber(IFLA_PROTO_DOWN, uint8_t{0})
      .PutNumber(IFLA_CARRIER_UP_COUNT, uint32_t{0})
      .PutNumber(IFLA_CARRIER_DOWN_COUNT, uint32_t{0})
      .PutStruct(IFLA_MAP, rtnl_link_ifmap{})
      .Put(IFLA_ADDRESS, link.address)
      .Put(IFLA_BROADCAST, link.broadcast)
      .PutStruct(IFLA_STATS64, link.counters)
      .Put(IFLA_STATS, NarrowCounters(link.counters));
  if (!link.alias.empty()) payload.PutString(IFLA_IFALIAS, link.alias);
  return payload.Take();
}

std::string EncodeAddress(const InterfaceAddress& address) {
  ifaddrmsg body{};
  body.ifa_family = static_cast<uint8_t>(address.family);
  body.ifa_prefixlen = address.prefix;
  body.ifa_flags = static_cast<uint8_t>(address.flags);
  body.ifa_scope = address.scope;
  body.ifa_index = static_cast<uint32_t>(address.index);
  NlPayload payload(body);
  payload.Put(IFA_ADDRESS, address.remote);
  if (address.family == AF_INET) payload.Put(IFA_LOCAL, address.local);
  if (!address.broadcast.empty()) payload.Put(IFA_BROADCAST, address.broadcast);
  if (!address.label.empty()) payload.PutString(IFA_LABEL, address.label);
  payload.PutNumber(IFA_FLAGS, address.flags);
  payload.PutStruct(IFA_CACHEINFO, ifa_cacheinfo{.ifa_prefered = kForever, .ifa_valid = kForever});
  return payload.Take();
}

void RebuildLoopbackRoutes(DeviceTables& tables) {
  tables.routes.clear();
  for (const InterfaceAddress& address : tables.addresses) {
    const Link* const link = tables.FindLink(address.index);
    if (link != nullptr && (link->flags & IFF_UP) != 0) AddRoutes(address, tables.routes);
  }
  // As Linux walks its tries.
  std::stable_sort(
      tables.routes.begin(), tables.routes.end(), [](const RouteEntry& a, const RouteEntry& b) {
        return a.body.rtm_family != b.body.rtm_family ? a.body.rtm_family < b.body.rtm_family
                                                      : a.destination < b.destination;
      });
}

DeviceTables DeviceTables::Loopback() {
  DeviceTables tables;
  Link lo{.index = 1,
          .name = "lo",
          .type = ARPHRD_LOOPBACK,
          .flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING | kLowerUp,
          .mtu = 65536,
          .queue_length = 1000,
          .peer = 1,
          .address = std::string(6, '\0'),
          .broadcast = std::string(6, '\0'),
          .carrier = true};
  lo.payload = EncodeLink(lo);
  tables.links.push_back(std::move(lo));
  tables.addresses.push_back(MakeAddress(AF_INET, std::string("\x7f\0\0\1", 4), 8));
  tables.addresses.push_back(MakeAddress(AF_INET6, std::string(15, '\0') + '\1', 128));
  RebuildLoopbackRoutes(tables);
  for (const int family : {AF_INET, AF_INET6}) {
    tables.rules.push_back(MakeRule(family, 0, RT_TABLE_LOCAL));
    tables.rules.push_back(MakeRule(family, 32766, RT_TABLE_MAIN));
    if (family == AF_INET) tables.rules.push_back(MakeRule(family, 32767, RT_TABLE_DEFAULT));
  }
  return tables;
}

}  // namespace sentry
