#include "sentry/net/netlink/route.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace sentry {
namespace {

constexpr uint32_t kLocalRoute = 0x80000000;  // RTCF_LOCAL of linux/in_route.h.
constexpr uint32_t kBroadcastRoute = 0x10000000;
constexpr char kAnyAddress[16] = {};
constexpr int kLoopback = 1;  // LOOPBACK_IFINDEX

Status GetLink(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  if (request.payload.size() < sizeof(ifinfomsg)) return Errno(EINVAL);
  const auto body = NlRead<ifinfomsg>(request.payload);
  const auto attributes = NlAttributes::After<ifinfomsg>(request.payload);
  const Link* link = nullptr;
  if (body.ifi_index > 0) {
    link = tables.FindLink(body.ifi_index);
  } else if (attributes.Find(IFLA_IFNAME) || attributes.Find(IFLA_ALT_IFNAME)) {
    const bool alternative = !attributes.Find(IFLA_IFNAME);
    link = tables.FindLink(attributes.String(alternative ? IFLA_ALT_IFNAME : IFLA_IFNAME));
  } else {
    return Errno(EINVAL);
  }
  if (link == nullptr) return Errno(ENODEV);
  reply.Add(RTM_NEWLINK, link->payload);
  return kOk;
}

// Of version 6 only, as in Linux.
Status GetAddress(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  if (request.family() != AF_INET6) return Errno(EOPNOTSUPP);
  if (request.payload.size() < sizeof(ifaddrmsg)) return Errno(EINVAL);
  const auto attributes = NlAttributes::After<ifaddrmsg>(request.payload);
  const auto wanted =
      attributes.Find(attributes.Find(IFA_LOCAL) ? uint16_t{IFA_LOCAL} : uint16_t{IFA_ADDRESS});
  if (!wanted) return Errno(EINVAL);
  for (const InterfaceAddress& address : tables.addresses) {
    if (address.family != AF_INET6 || address.local != *wanted) continue;
    reply.Add(RTM_NEWADDR, address.payload);
    return kOk;
  }
  return Errno(EADDRNOTAVAIL);
}

// What rt_fill_info() of Linux says of a path.
std::string DescribePath(const RouteResult& found, const std::string& destination,
                         const NlRequest& request, const NlAttributes& asked) {
  const RouteEntry& route = *found.route;
  const auto question = NlRead<rtmsg>(request.payload);
  const bool local = route.body.rtm_type == RTN_LOCAL;
  const bool table = (question.rtm_flags & RTM_F_LOOKUP_TABLE) != 0;
  rtmsg body{};
  body.rtm_family = route.body.rtm_family;
  body.rtm_dst_len = static_cast<uint8_t>(destination.size() * 8);
  body.rtm_tos = question.rtm_tos;
  // Without rules of its own a namespace has one table for both: what is local shows as main.
  const bool own_table = table && route.table != RT_TABLE_LOCAL;
  const uint32_t number = own_table ? route.table : uint32_t{RT_TABLE_MAIN};
  body.rtm_table = static_cast<uint8_t>(number < 256 ? number : RT_TABLE_COMPAT);
  body.rtm_type = route.body.rtm_type;
  body.rtm_flags = RTM_F_CLONED;
  if (route.body.rtm_family == AF_INET && local) body.rtm_flags |= kLocalRoute;
  if (route.body.rtm_type == RTN_BROADCAST) body.rtm_flags |= kBroadcastRoute;
  if (route.body.rtm_family == AF_INET6) {
    body.rtm_table = static_cast<uint8_t>(route.table);
    body.rtm_protocol = route.body.rtm_protocol;
    body.rtm_flags = 0;
    body.rtm_src_len = 128;
  }
  NlPayload payload(body);
  payload.Put(RTA_DST, destination);
  if (body.rtm_family == AF_INET6) {
    payload.Put(RTA_SRC,
                asked.Find(RTA_SRC).value_or(std::string_view(kAnyAddress, 16)).substr(0, 16));
  }
  payload.PutNumber(RTA_TABLE, body.rtm_family == AF_INET6 ? route.table : number)
      .PutNumber(RTA_OIF, local ? kLoopback : route.out);
  if (!found.source.empty()) payload.Put(RTA_PREFSRC, found.source);
  if (!route.gateway.empty()) payload.Put(RTA_GATEWAY, route.gateway);
  if (route.body.rtm_family == AF_INET) payload.PutNumber(RTA_UID, request.uid);
  if (route.body.rtm_family == AF_INET6) payload.PutNumber(RTA_PRIORITY, route.priority);
  if (const auto in = asked.Find(RTA_IIF)) payload.Put(RTA_IIF, *in);
  payload.PutStruct(RTA_CACHEINFO, rta_cacheinfo{});
  if (route.body.rtm_family == AF_INET6) payload.PutNumber(RTA_PREF, uint8_t{0});
  return payload.Take();
}

Status GetRoute(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  const int family = request.family();
  if (family != AF_INET && family != AF_INET6) return Errno(EOPNOTSUPP);
  if (request.payload.size() < sizeof(rtmsg)) return Errno(EINVAL);
  const auto attributes = NlAttributes::After<rtmsg>(request.payload);
  const size_t size = family == AF_INET6 ? 16 : 4;
  for (const uint16_t type : {RTA_DST, RTA_SRC}) {
    const auto value = attributes.Find(type);
    if (value && value->size() < size) return Errno(ERANGE);
  }
  for (const uint16_t type : {RTA_IIF, RTA_OIF}) {
    const int index = attributes.Number<int>(type);
    if (index != 0 && tables.FindLink(index) == nullptr) return Errno(ENODEV);
  }
  std::string destination(attributes.Bytes(RTA_DST).substr(0, size));
  destination.resize(size);
  RouteResult found = TRY(LookUpRoute(tables, destination, attributes.Number<int>(RTA_OIF)));
  if ((NlRead<rtmsg>(request.payload).rtm_flags & RTM_F_FIB_MATCH) != 0) {
    reply.Add(RTM_NEWROUTE, found.route->payload);
    return kOk;
  }
  if (const auto source = attributes.Find(RTA_SRC)) found.source = source->substr(0, size);
  reply.Add(RTM_NEWROUTE, DescribePath(found, destination, request, attributes));
  return kOk;
}

Status GetNeighbour(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  if (request.payload.size() < sizeof(ndmsg)) return Errno(EINVAL);
  const auto body = NlRead<ndmsg>(request.payload);
  const auto destination = NlAttributes::After<ndmsg>(request.payload).Find(NDA_DST);
  if (!destination) return Errno(EINVAL);
  if (body.ndm_family != AF_INET && body.ndm_family != AF_INET6) return Errno(EAFNOSUPPORT);
  if (destination->size() != (body.ndm_family == AF_INET6 ? 16u : 4u)) return Errno(EINVAL);
  if (body.ndm_ifindex == 0) return Errno(EINVAL);
  if (tables.FindLink(body.ndm_ifindex) == nullptr) return Errno(ENODEV);
  for (const Neighbour& one : tables.neighbours) {
    if (one.index != body.ndm_ifindex || one.destination != *destination) continue;
    reply.Add(RTM_NEWNEIGH, one.payload);
    return kOk;
  }
  return Errno(ENOENT);
}

Status Get(const DeviceTables& tables, const NlRequest& request, NlReply& reply) {
  switch (request.header.nlmsg_type) {
    case RTM_GETLINK:
      return GetLink(tables, request, reply);
    case RTM_GETADDR:
      return GetAddress(tables, request, reply);
    case RTM_GETROUTE:
      return GetRoute(tables, request, reply);
    case RTM_GETNEIGH:
      return GetNeighbour(tables, request, reply);
    default:
      return Errno(EOPNOTSUPP);
  }
}

}  // namespace

Result<NlOutcome> HandleRoute(NetworkDevices& devices, const NlRequest& request, NlReply& reply) {
  const uint16_t type = request.header.nlmsg_type;
  if (type > RTM_MAX) return Errno(EOPNOTSUPP);
  // Without a family there is nothing to be done, and that is no error.
  if (request.payload.empty()) return NlOutcome::kHandled;
  constexpr int kKinds = 4, kGet = 2;  // rtnl_msgtype_kind()
  if ((type - RTM_BASE) % kKinds != kGet) {
    if (!request.may_admin) return Errno(EPERM);
    TRY(ChangeRoute(devices, request, reply));
    return NlOutcome::kHandled;
  }
  if (!request.has(NLM_F_DUMP)) {
    TRY(Get(*devices.Tables(), request, reply));
    return NlOutcome::kHandled;
  }
  if (!HasDump(type)) return Errno(EOPNOTSUPP);
  const Status dumped = DumpRoute(*devices.Tables(), request, reply);
  reply.Done(dumped.ok() ? 0 : -dumped.error().code());
  return NlOutcome::kDumped;
}

}  // namespace sentry
