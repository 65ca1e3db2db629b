#include "sentry/net/devices/texts.h"

#include <arpa/inet.h>
#include <linux/neighbour.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sentry {
namespace {

std::string NameOf(const DeviceTables& tables, int index) {
  const Link* const link = tables.FindLink(index);
  return link == nullptr ? "*" : link->name;
}

// As printk's %08X shows an address: in the host's order of bytes.
uint32_t Word(std::string_view bytes) {
  uint32_t word = 0;
  memcpy(&word, bytes.data(), std::min(bytes.size(), sizeof(word)));
  return word;
}

std::string Hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) absl::StrAppendFormat(&text, "%02x", static_cast<uint8_t>(byte));
  return text;
}

std::string Dotted(std::string_view bytes) {
  std::string whole(bytes);
  whole.resize(4);
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, whole.data(), text, sizeof(text));
}

std::string Hardware(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    absl::StrAppendFormat(&text, "%s%02x", text.empty() ? "" : ":", static_cast<uint8_t>(byte));
  }
  return text.empty() ? "00:00:00:00:00:00" : text;
}

uint32_t NetMask(int bits) { return bits == 0 ? 0 : htonl(~uint32_t{0} << (32 - bits)); }

}  // namespace

// net/core/net-procfs.c
std::string DevText(const DeviceTables& tables) {
  std::string text =
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs "
      "drop "
      "fifo colls carrier compressed\n";
  for (const Link& link : tables.links) {
    const rtnl_link_stats64& c = link.counters;
    absl::StrAppendFormat(
        &text, "%6s: %7u %7u %4u %4u %4u %5u %10u %9u %8u %7u %4u %4u %4u %5u %7u %10u\n",
        link.name, c.rx_bytes, c.rx_packets, c.rx_errors, c.rx_dropped + c.rx_missed_errors,
        c.rx_fifo_errors,
        c.rx_length_errors + c.rx_over_errors + c.rx_crc_errors + c.rx_frame_errors,
        c.rx_compressed, c.multicast, c.tx_bytes, c.tx_packets, c.tx_errors, c.tx_dropped,
        c.tx_fifo_errors, c.collisions,
        c.tx_carrier_errors + c.tx_aborted_errors + c.tx_window_errors + c.tx_heartbeat_errors,
        c.tx_compressed);
  }
  return text;
}

// net/ipv6/addrconf.c
std::string IfInet6Text(const DeviceTables& tables) {
  constexpr int kHost = 0x10, kLink = 0x20;  // IPV6_ADDR_LOOPBACK, IPV6_ADDR_LINKLOCAL
  std::string text;
  for (const InterfaceAddress& address : tables.addresses) {
    if (address.family != AF_INET6) continue;
    const int scope = address.scope == RT_SCOPE_HOST   ? kHost
                      : address.scope == RT_SCOPE_LINK ? kLink
                                                       : 0;
    absl::StrAppendFormat(&text, "%s %02x %02x %02x %02x %8s\n", Hex(address.local), address.index,
                          address.prefix, scope, address.flags & 0xff,
                          NameOf(tables, address.index));
  }
  return text;
}

// net/ipv4/fib_trie.c, fib_route_seq_show()
std::string RouteText(const DeviceTables& tables) {
  std::string text = absl::StrFormat(
      "%-127s\n",
      "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
  for (const RouteEntry& route : tables.routes) {
    if (route.body.rtm_family != AF_INET || route.table != RT_TABLE_MAIN) continue;
    unsigned flags = RTF_UP;
    if (!route.gateway.empty()) flags |= RTF_GATEWAY;
    if (route.body.rtm_dst_len == 32) flags |= RTF_HOST;
    if (route.body.rtm_type == RTN_UNREACHABLE) flags |= RTF_REJECT;
    absl::StrAppendFormat(
        &text, "%-127s\n",
        absl::StrFormat("%s\t%08X\t%08X\t%04X\t%d\t%u\t%d\t%08X\t%d\t%u\t%u",
                        NameOf(tables, route.out), Word(route.destination), Word(route.gateway),
                        flags, 0, 0, route.priority, NetMask(route.body.rtm_dst_len), 0, 0, 0));
  }
  return text;
}

// net/ipv6/route.c, rt6_info_route()
std::string Ipv6RouteText(const DeviceTables& tables) {
  constexpr unsigned kLocal = 0x80000000, kNonExthop = 0x00200000;  // RTF_LOCAL, RTF_NONEXTHOP
  std::string text;
  const std::string none(16, '\0');
  for (const RouteEntry& route : tables.routes) {
    if (route.body.rtm_family != AF_INET6) continue;
    unsigned flags = RTF_UP;
    if (!route.gateway.empty()) flags |= RTF_GATEWAY;
    if (route.body.rtm_type == RTN_LOCAL) flags |= kLocal | kNonExthop;
    if (route.body.rtm_type == RTN_UNREACHABLE) flags |= RTF_REJECT | kNonExthop;
    absl::StrAppendFormat(&text, "%s %02x %s 00 %s %08x %08x %08x %08x %8s\n",
                          Hex(route.destination), route.body.rtm_dst_len, Hex(none),
                          Hex(route.gateway.empty() ? none : route.gateway), route.priority, 1, 0,
                          flags, NameOf(tables, route.out));
  }
  return text;
}

// net/ipv4/arp.c
std::string ArpText(const DeviceTables& tables) {
  constexpr unsigned kComplete = 2, kPermanent = 4;  // ATF_COM, ATF_PERM
  std::string text =
      "IP address       HW type     Flags       HW address            Mask     Device\n";
  for (const Neighbour& one : tables.neighbours) {
    const Link* const link = tables.FindLink(one.index);
    if (one.family != AF_INET || link == nullptr || (one.state & NUD_NOARP) != 0) continue;
    const unsigned flags = (one.state & NUD_PERMANENT) != 0 ? kComplete | kPermanent
                           : one.link_address.empty()       ? 0
                                                            : kComplete;
    absl::StrAppendFormat(&text, "%-16s 0x%-10x0x%-10x%-17s     *        %s\n",
                          Dotted(one.destination), link->type, flags, Hardware(one.link_address),
                          link->name);
  }
  return text;
}

namespace {

std::string_view ScopeName(uint8_t scope) {
  switch (scope) {
    case RT_SCOPE_HOST:
      return "host";
    case RT_SCOPE_LINK:
      return "link";
    default:
      return "universe";
  }
}

std::string_view TypeName(uint8_t type) {
  switch (type) {
    case RTN_LOCAL:
      return "LOCAL";
    case RTN_BROADCAST:
      return "BROADCAST";
    case RTN_UNREACHABLE:
      return "UNREACHABLE";
    default:
      return "UNICAST";
  }
}

}  // namespace

// The leaves of net/ipv4/fib_trie.c, in a trie of one level: what programs look for.
std::string FibTrieText(const DeviceTables& tables) {
  std::map<uint32_t, std::vector<const RouteEntry*>> leaves;  // By address, in host order.
  for (const RouteEntry& route : tables.routes) {
    if (route.body.rtm_family != AF_INET) continue;
    leaves[ntohl(Word(route.destination))].push_back(&route);
  }
  std::string body;
  for (const auto& [address, routes] : leaves) {
    absl::StrAppendFormat(&body, "     |-- %s\n", Dotted(routes[0]->destination));
    for (const RouteEntry* route : routes) {
      absl::StrAppendFormat(&body, "        /%d %s %s\n", route->body.rtm_dst_len,
                            ScopeName(route->body.rtm_scope), TypeName(route->body.rtm_type));
    }
  }
  const std::string tree = absl::StrFormat("  +-- 0.0.0.0/0 %d 0 0\n", leaves.size()) + body;
  return leaves.empty() ? std::string() : "Main:\n" + tree + "Local:\n" + tree;
}

namespace {

std::string Number(uint64_t value) { return absl::StrCat(value, "\n"); }

std::string StateName(uint8_t state) {
  constexpr std::string_view kNames[] = {"unknown", "notpresent", "down", "lowerlayerdown",
                                         "testing", "dormant",    "up"};
  return std::string(state < std::size(kNames) ? kNames[state] : "unknown") + "\n";
}

}  // namespace

const std::vector<LinkText>& LinkTexts() {
  static const auto* const texts = new std::vector<LinkText>{
      {"addr_assign_type", [](const Link&) { return Number(0); }},
      {"addr_len", [](const Link& l) { return Number(l.address.size()); }},
      {"address", [](const Link& l) { return Hardware(l.address) + "\n"; }},
      {"broadcast", [](const Link& l) { return Hardware(l.broadcast) + "\n"; }},
      {"carrier", [](const Link& l) { return Number(l.carrier ? 1 : 0); }},
      {"carrier_changes", [](const Link&) { return Number(0); }},
      {"carrier_down_count", [](const Link&) { return Number(0); }},
      {"carrier_up_count", [](const Link&) { return Number(0); }},
      {"dev_id", [](const Link&) { return std::string("0x0\n"); }},
      {"dev_port", [](const Link&) { return Number(0); }},
      {"dormant", [](const Link& l) { return Number(l.state == 5 ? 1 : 0); }},
      {"flags", [](const Link& l) { return absl::StrFormat("0x%x\n", l.flags & ~0x10040u); }},
      {"ifalias", [](const Link& l) { return l.alias.empty() ? "" : l.alias + "\n"; }},
      {"ifindex", [](const Link& l) { return Number(static_cast<uint64_t>(l.index)); }},
      {"iflink", [](const Link& l) { return Number(static_cast<uint64_t>(l.peer)); }},
      {"link_mode", [](const Link& l) { return Number(l.mode); }},
      {"mtu", [](const Link& l) { return Number(l.mtu); }},
      {"name_assign_type", [](const Link&) { return Number(2); }},
      {"netdev_group", [](const Link& l) { return Number(l.group); }},
      {"operstate", [](const Link& l) { return StateName(l.state); }},
      {"proto_down", [](const Link&) { return Number(0); }},
      {"tx_queue_len", [](const Link& l) { return Number(l.queue_length); }},
      {"type", [](const Link& l) { return Number(l.type); }},
      {"uevent",
       [](const Link& l) {
         return absl::StrFormat("INTERFACE=%s\nIFINDEX=%d\n", l.name, l.index);
       }},
  };
  return *texts;
}

const std::vector<LinkCounter>& LinkCounters() {
  using S = rtnl_link_stats64;
  static const auto* const counters = new std::vector<LinkCounter>{
      {"collisions", &S::collisions},
      {"multicast", &S::multicast},
      {"rx_bytes", &S::rx_bytes},
      {"rx_compressed", &S::rx_compressed},
      {"rx_crc_errors", &S::rx_crc_errors},
      {"rx_dropped", &S::rx_dropped},
      {"rx_errors", &S::rx_errors},
      {"rx_fifo_errors", &S::rx_fifo_errors},
      {"rx_frame_errors", &S::rx_frame_errors},
      {"rx_length_errors", &S::rx_length_errors},
      {"rx_missed_errors", &S::rx_missed_errors},
      {"rx_nohandler", &S::rx_nohandler},
      {"rx_over_errors", &S::rx_over_errors},
      {"rx_packets", &S::rx_packets},
      {"tx_aborted_errors", &S::tx_aborted_errors},
      {"tx_bytes", &S::tx_bytes},
      {"tx_carrier_errors", &S::tx_carrier_errors},
      {"tx_compressed", &S::tx_compressed},
      {"tx_dropped", &S::tx_dropped},
      {"tx_errors", &S::tx_errors},
      {"tx_fifo_errors", &S::tx_fifo_errors},
      {"tx_heartbeat_errors", &S::tx_heartbeat_errors},
      {"tx_packets", &S::tx_packets},
      {"tx_window_errors", &S::tx_window_errors},
  };
  return *counters;
}

}  // namespace sentry
