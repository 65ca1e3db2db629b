// Dumps of rtnetlink(7), with the filters that NETLINK_GET_STRICT_CHK allows.
#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <initializer_list>

#include "sentry/net/netlink/route.h"

namespace sentry {
namespace {

// Under strict checking an attribute that is not understood is an error.
bool HasOtherThan(const NlAttributes& attributes, std::initializer_list<uint16_t> known) {
  bool other = false;
  attributes.ForEach([&](uint16_t type, std::string_view) {
    other = other || std::find(known.begin(), known.end(), type) == known.end();
  });
  return other;
}

// The body of a strict request must be whole.
template <typename T>
Status CheckWhole(const NlRequest& request) {
  return request.payload.size() < sizeof(T) ? Status(Errno(EINVAL)) : kOk;
}

std::string_view KindOf(std::string_view payload) {
  const auto info = NlAttributes::After<ifinfomsg>(payload).Bytes(IFLA_LINKINFO);
  return NlAttributes(info).String(IFLA_INFO_KIND);
}

Status DumpLinks(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  if (request.family() == AF_BRIDGE) return kOk;
  // Programs of old send a struct rtgenmsg, which has no attributes.
  const bool whole = request.payload.size() >= sizeof(ifinfomsg);
  const auto body = NlRead<ifinfomsg>(request.payload);
  const auto attributes = NlAttributes::After<ifinfomsg>(request.payload);
  if (request.strict) {
    if (!whole || body.ifi_type != 0 || body.ifi_flags != 0 || body.ifi_change != 0 ||
        body.ifi_index != 0) {
      return Errno(EINVAL);
    }
    if (HasOtherThan(attributes, {IFLA_EXT_MASK, IFLA_MASTER, IFLA_LINKINFO})) {
      return Errno(EINVAL);
    }
  }
  const uint32_t master = whole ? attributes.Number<uint32_t>(IFLA_MASTER) : 0;
  const std::string_view kind =
      whole ? NlAttributes(attributes.Bytes(IFLA_LINKINFO)).String(IFLA_INFO_KIND) : "";
  const uint16_t flags = NLM_F_MULTI | (master != 0 || !kind.empty() ? NLM_F_DUMP_FILTERED : 0);
  for (const Link& link : tables.links) {
    const auto own = NlAttributes::After<ifinfomsg>(link.payload);
    if (master != 0 && own.Number<uint32_t>(IFLA_MASTER) != master) continue;
    if (!kind.empty() && KindOf(link.payload) != kind) continue;
    reply.Add(RTM_NEWLINK, link.payload, flags);
  }
  return kOk;
}

Status DumpAddresses(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  const auto body = NlRead<ifaddrmsg>(request.payload);
  int index = 0;
  if (request.strict) {
    TRY(CheckWhole<ifaddrmsg>(request));
    if (body.ifa_prefixlen != 0 || body.ifa_flags != 0 || body.ifa_scope != 0) {
      return Errno(EINVAL);
    }
    if (HasOtherThan(NlAttributes::After<ifaddrmsg>(request.payload), {})) return Errno(EINVAL);
    index = static_cast<int>(body.ifa_index);
    if (index != 0 && tables.FindLink(index) == nullptr) return Errno(ENODEV);
  }
  const uint16_t flags = NLM_F_MULTI | (index != 0 ? NLM_F_DUMP_FILTERED : 0);
  const int wanted = request.family();
  for (const int family : {AF_INET, AF_INET6}) {
    // A family that has no addresses of its own gets them all.
    if (family != wanted && (wanted == AF_INET || wanted == AF_INET6)) continue;
    for (const InterfaceAddress& address : tables.addresses) {
      if (address.family != family || (index != 0 && address.index != index)) continue;
      reply.Add(RTM_NEWADDR, address.payload, flags);
    }
  }
  return kOk;
}

struct RouteFilter {
  uint32_t table = 0;
  uint8_t protocol = 0, type = 0;
  int out = 0;
  bool any() const { return table != 0 || protocol != 0 || type != 0 || out != 0; }
};

// ip_valid_fib_dump_req() of Linux.
Result<RouteFilter> StrictRouteFilter(const DeviceTables& tables, const NlRequest& request) {
  TRY(CheckWhole<rtmsg>(request));
  const auto body = NlRead<rtmsg>(request.payload);
  if (body.rtm_dst_len != 0 || body.rtm_src_len != 0 || body.rtm_tos != 0 || body.rtm_scope != 0) {
    return Errno(EINVAL);
  }
  if ((body.rtm_flags & ~uint32_t{RTM_F_CLONED | RTM_F_PREFIX}) != 0) return Errno(EINVAL);
  const auto attributes = NlAttributes::After<rtmsg>(request.payload);
  if (HasOtherThan(attributes, {RTA_TABLE, RTA_OIF})) return Errno(EINVAL);
  RouteFilter filter{.table = attributes.Number<uint32_t>(RTA_TABLE, body.rtm_table),
                     .protocol = body.rtm_protocol,
                     .type = body.rtm_type,
                     .out = attributes.Number<int>(RTA_OIF)};
  if (filter.out != 0 && tables.FindLink(filter.out) == nullptr) return Errno(ENODEV);
  return filter;
}

bool HasTable(const DeviceTables& tables, uint32_t table) {
  if (table == RT_TABLE_MAIN || table == RT_TABLE_LOCAL) return true;
  return std::any_of(tables.routes.begin(), tables.routes.end(),
                     [table](const RouteEntry& route) { return route.table == table; });
}

Status DumpRoutes(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  RouteFilter filter;
  if (request.strict) filter = TRY(StrictRouteFilter(tables, request));
  const int wanted = request.family();
  const bool one_family = wanted == AF_INET || wanted == AF_INET6;
  if (filter.table != 0 && !HasTable(tables, filter.table)) {
    return one_family ? Status(Errno(ENOENT)) : kOk;
  }
  // Cached ones: there are none to show.
  if ((NlRead<rtmsg>(request.payload).rtm_flags & RTM_F_CLONED) != 0 &&
      request.payload.size() >= sizeof(rtmsg)) {
    return kOk;
  }
  const uint16_t flags = NLM_F_MULTI | (filter.any() ? NLM_F_DUMP_FILTERED : 0);
  for (const int family : {AF_INET, AF_INET6}) {
    if (one_family && family != wanted) continue;
    for (const RouteEntry& route : tables.routes) {
      if (route.body.rtm_family != family) continue;
      if (filter.table != 0 && route.table != filter.table) continue;
      if (filter.protocol != 0 && route.body.rtm_protocol != filter.protocol) continue;
      if (filter.type != 0 && route.body.rtm_type != filter.type) continue;
      if (filter.out != 0 && route.out != filter.out) continue;
      reply.Add(RTM_NEWROUTE, route.payload, flags);
    }
  }
  return kOk;
}

Status DumpRules(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  if (request.strict) TRY(CheckWhole<fib_rule_hdr>(request));
  const int wanted = request.family();
  for (const Rule& rule : tables.rules) {
    if (wanted != AF_UNSPEC && rule.family != wanted) continue;
    reply.Add(RTM_NEWRULE, rule.payload, NLM_F_MULTI);
  }
  return kOk;
}

Status DumpNeighbours(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  const auto body = NlRead<ndmsg>(request.payload);
  const auto attributes = NlAttributes::After<ndmsg>(request.payload);
  if (request.strict) {
    TRY(CheckWhole<ndmsg>(request));
    if (body.ndm_ifindex != 0 || body.ndm_state != 0 || body.ndm_type != 0) return Errno(EINVAL);
    if (HasOtherThan(attributes, {NDA_IFINDEX, NDA_MASTER})) return Errno(EINVAL);
  }
  if (request.payload.size() >= sizeof(ndmsg) && (body.ndm_flags & NTF_PROXY) != 0) return kOk;
  const int wanted = request.family();
  const int index = attributes.Number<int>(NDA_IFINDEX);
  const uint16_t flags = NLM_F_MULTI | (index != 0 ? NLM_F_DUMP_FILTERED : 0);
  for (const Neighbour& neighbour : tables.neighbours) {
    if (wanted != AF_UNSPEC && neighbour.family != wanted) continue;
    if (index != 0 && neighbour.index != index) continue;
    reply.Add(RTM_NEWNEIGH, neighbour.payload, flags);
  }
  return kOk;
}

// Of these there is nothing to tell.
Status DumpNothing(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  return kOk;
}

struct DumpRow {
  uint16_t type;
  Status (*dump)(const DeviceTables& tables, const NlRequest& request, NlReply& reply);
};
constexpr DumpRow kDumps[] = {
    {RTM_GETLINK, &DumpLinks},        {RTM_GETADDR, &DumpAddresses},
    {RTM_GETROUTE, &DumpRoutes},      {RTM_GETRULE, &DumpRules},
    {RTM_GETNEIGH, &DumpNeighbours},  {RTM_GETQDISC, &DumpNothing},
    {RTM_GETTCLASS, &DumpNothing},    {RTM_GETNEIGHTBL, &DumpNothing},
    {RTM_GETADDRLABEL, &DumpNothing}, {RTM_GETNETCONF, &DumpNothing},
    {RTM_GETMULTICAST, &DumpNothing}, {RTM_GETANYCAST, &DumpNothing},
    {RTM_GETNSID, &DumpNothing},
};

const DumpRow* FindDump(uint16_t type) {
  const auto* it = std::find_if(std::begin(kDumps), std::end(kDumps),
                                [type](const DumpRow& row) { return row.type == type; });
  return it == std::end(kDumps) ? nullptr : it;
}

}  // namespace

bool HasDump(uint16_t type) { return FindDump(type) != nullptr; }

Status DumpRoute(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  const DumpRow* const row = FindDump(request.header.nlmsg_type);
  return row == nullptr ? Status(Errno(EOPNOTSUPP)) : row->dump(tables, request, reply);
}

}  // namespace sentry
