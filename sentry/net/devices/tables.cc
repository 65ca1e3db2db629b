#include "sentry/net/devices/tables.h"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "sentry/net/devices/wire.h"

namespace sentry {
namespace {

size_t AddressSize(int family) { return family == AF_INET6 ? 16 : 4; }

// A whole address of its family.
std::string Whole(std::string_view bytes, int family) {
  std::string whole(bytes);
  whole.resize(AddressSize(family));
  return whole;
}

bool Matches(const RouteEntry& route, std::string_view address) {
  if (route.destination.size() != address.size()) return false;
  const size_t bits = std::min<size_t>(route.body.rtm_dst_len, address.size() * 8);
  const size_t bytes = bits / 8;
  if (address.substr(0, bytes) != std::string_view(route.destination).substr(0, bytes))
    return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff00u >> (bits % 8));
  return ((static_cast<uint8_t>(address[bytes]) ^ static_cast<uint8_t>(route.destination[bytes])) &
          mask) == 0;
}

// The longest prefix of one table, among equals the smallest metric.
const RouteEntry* LookUpIn(const DeviceTables& tables, uint32_t table, std::string_view address,
                           int out) {
  const int family = address.size() == 16 ? AF_INET6 : AF_INET;
  const RouteEntry* best = nullptr;
  for (const RouteEntry& route : tables.routes) {
    if (route.table != table || route.body.rtm_family != family || !Matches(route, address)) {
      continue;
    }
    if (out != 0 && route.out != out) continue;
    if (best == nullptr || route.body.rtm_dst_len > best->body.rtm_dst_len ||
        (route.body.rtm_dst_len == best->body.rtm_dst_len && route.priority < best->priority)) {
      best = &route;
    }
  }
  return best;
}

// What fib_props[] of Linux says of routes that lead nowhere.
Status Usable(const RouteEntry& route) {
  switch (route.body.rtm_type) {
    case RTN_UNREACHABLE:
      return Errno(EHOSTUNREACH);
    case RTN_PROHIBIT:
      return Errno(EACCES);
    case RTN_BLACKHOLE:
      return Errno(EINVAL);
    default:
      return kOk;
  }
}

std::string SourceFor(const DeviceTables& tables, const RouteEntry& route, int family) {
  if (!route.source.empty()) return route.source;
  const InterfaceAddress* address = nullptr;
  for (const InterfaceAddress& one : tables.addresses) {
    if (one.family != family || one.index != route.out) continue;
    // A global one for what leaves the link, if there is one.
    if (address == nullptr || one.scope < address->scope) address = &one;
  }
  return address == nullptr ? "" : address->local;
}

}  // namespace

Link Link::Parse(std::string_view payload) {
  const auto body = NlRead<ifinfomsg>(payload);
  const auto attributes = NlAttributes::After<ifinfomsg>(payload);
  Link link;
  link.index = body.ifi_index;
  link.type = body.ifi_type;
  link.flags = body.ifi_flags;
  link.name = attributes.String(IFLA_IFNAME);
  link.mtu = attributes.Number<uint32_t>(IFLA_MTU);
  link.queue_length = attributes.Number<uint32_t>(IFLA_TXQLEN);
  link.group = attributes.Number<uint32_t>(IFLA_GROUP);
  link.peer = attributes.Number<int>(IFLA_LINK, body.ifi_index);
  link.address = attributes.Bytes(IFLA_ADDRESS);
  link.broadcast = attributes.Bytes(IFLA_BROADCAST);
  link.alias = attributes.String(IFLA_IFALIAS);
  link.state = attributes.Number<uint8_t>(IFLA_OPERSTATE);
  link.mode = attributes.Number<uint8_t>(IFLA_LINKMODE);
  link.carrier = attributes.Number<uint8_t>(IFLA_CARRIER) != 0;
  link.counters = NlRead<rtnl_link_stats64>(attributes.Bytes(IFLA_STATS64));
  link.payload = payload;
  return link;
}

InterfaceAddress InterfaceAddress::Parse(std::string_view payload) {
  const auto body = NlRead<ifaddrmsg>(payload);
  const auto attributes = NlAttributes::After<ifaddrmsg>(payload);
  InterfaceAddress address;
  address.family = body.ifa_family;
  address.index = static_cast<int>(body.ifa_index);
  address.prefix = body.ifa_prefixlen;
  address.scope = body.ifa_scope;
  address.flags = attributes.Number<uint32_t>(IFA_FLAGS, body.ifa_flags);
  address.remote = Whole(attributes.Bytes(IFA_ADDRESS), body.ifa_family);
  const auto local = attributes.Find(IFA_LOCAL);
  address.local = local ? Whole(*local, body.ifa_family) : address.remote;
  address.broadcast = attributes.Bytes(IFA_BROADCAST);
  address.label = attributes.String(IFA_LABEL);
  address.payload = payload;
  return address;
}

RouteEntry RouteEntry::Parse(std::string_view payload) {
  const auto attributes = NlAttributes::After<rtmsg>(payload);
  RouteEntry route;
  route.body = NlRead<rtmsg>(payload);
  route.table = attributes.Number<uint32_t>(RTA_TABLE, route.body.rtm_table);
  route.priority = attributes.Number<uint32_t>(RTA_PRIORITY);
  route.out = attributes.Number<int>(RTA_OIF);
  route.destination = Whole(attributes.Bytes(RTA_DST), route.body.rtm_family);
  route.gateway = attributes.Bytes(RTA_GATEWAY);
  route.source = attributes.Bytes(RTA_PREFSRC);
  route.payload = payload;
  return route;
}

Neighbour Neighbour::Parse(std::string_view payload) {
  const auto body = NlRead<ndmsg>(payload);
  const auto attributes = NlAttributes::After<ndmsg>(payload);
  Neighbour neighbour;
  neighbour.family = body.ndm_family;
  neighbour.index = body.ndm_ifindex;
  neighbour.state = body.ndm_state;
  neighbour.flags = body.ndm_flags;
  neighbour.type = body.ndm_type;
  neighbour.destination = attributes.Bytes(NDA_DST);
  neighbour.link_address = attributes.Bytes(NDA_LLADDR);
  neighbour.payload = payload;
  return neighbour;
}

const Link* DeviceTables::FindLink(int index) const {
  const auto it = std::find_if(links.begin(), links.end(),
                               [index](const Link& link) { return link.index == index; });
  return it == links.end() ? nullptr : &*it;
}

const Link* DeviceTables::FindLink(std::string_view name) const {
  const auto it = std::find_if(links.begin(), links.end(),
                               [name](const Link& link) { return link.name == name; });
  return it == links.end() ? nullptr : &*it;
}

const InterfaceAddress* DeviceTables::FindAddress(int family, int index) const {
  const auto it = std::find_if(addresses.begin(), addresses.end(), [=](const InterfaceAddress& a) {
    return a.family == family && a.index == index;
  });
  return it == addresses.end() ? nullptr : &*it;
}

// The rules that every namespace begins with; others are not followed.
Result<RouteResult> LookUpRoute(const DeviceTables& tables, std::string_view destination, int out) {
  constexpr std::array<uint32_t, 3> kTables = {RT_TABLE_LOCAL, RT_TABLE_MAIN, RT_TABLE_DEFAULT};
  const int family = destination.size() == 16 ? AF_INET6 : AF_INET;
  for (const uint32_t table : kTables) {
    // What is local is reached through lo whatever link is asked for.
    const int through = table == RT_TABLE_LOCAL ? 0 : out;
    const RouteEntry* const route = LookUpIn(tables, table, destination, through);
    if (route == nullptr) continue;
    TRY(Usable(*route));
    return RouteResult{route, SourceFor(tables, *route, family)};
  }
  return Errno(ENETUNREACH);
}

}  // namespace sentry
