#include "sentry/net/netlink/monitor.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sentry/net/netlink/message.h"
#include "sentry/net/netlink/netlink_socket.h"

namespace sentry {
namespace {

struct Event {
  uint16_t type;
  uint32_t group;
  const std::string* payload;
};

// Those of `from` that `others` does not have as they are.
template <typename Entry, typename Add>
void ForEachMissing(const std::vector<Entry>& from, const std::vector<Entry>& others, Add add) {
  for (const Entry& one : from) {
    const bool there = std::any_of(others.begin(), others.end(), [&](const Entry& other) {
      return other.payload == one.payload;
    });
    if (!there) add(one);
  }
}

std::vector<Event> Differences(const DeviceTables& before, const DeviceTables& after) {
  std::vector<Event> events;
  const auto link = [&](const Link& one) {
    events.push_back({RTM_NEWLINK, RTNLGRP_LINK, &one.payload});
  };
  const auto address = [&](uint16_t type) {
    return [&events, type](const InterfaceAddress& one) {
      const bool v4 = one.family == AF_INET;
      events.push_back({type, v4 ? RTNLGRP_IPV4_IFADDR : RTNLGRP_IPV6_IFADDR, &one.payload});
    };
  };
  const auto route = [&](uint16_t type) {
    return [&events, type](const RouteEntry& one) {
      const bool v4 = one.body.rtm_family == AF_INET;
      events.push_back({type, v4 ? RTNLGRP_IPV4_ROUTE : RTNLGRP_IPV6_ROUTE, &one.payload});
    };
  };
  // What goes takes its routes along first; what comes brings them behind it.
  ForEachMissing(before.routes, after.routes, route(RTM_DELROUTE));
  ForEachMissing(before.addresses, after.addresses, address(RTM_DELADDR));
  ForEachMissing(after.links, before.links, link);
  ForEachMissing(after.addresses, before.addresses, address(RTM_NEWADDR));
  ForEachMissing(after.routes, before.routes, route(RTM_NEWROUTE));
  return events;
}

std::string Encode(const Event& event) {
  const nlmsghdr header{
      .nlmsg_len = static_cast<uint32_t>(sizeof(nlmsghdr) + event.payload->size()),
      .nlmsg_type = event.type,
      .nlmsg_flags = 0,
      .nlmsg_seq = 0,
      .nlmsg_pid = 0};
  return std::string(NlBytes(header)) + *event.payload;
}

}  // namespace

void AnnounceChanges(const NetlinkSockets& sockets, const DeviceTables& before,
                     const DeviceTables& after) {
  std::vector<Ref<NetlinkSocket>> members = sockets.List();
  std::erase_if(members, [](const Ref<NetlinkSocket>& one) {
    return one->what().protocol != NETLINK_ROUTE || !one->is_member();
  });
  if (members.empty()) return;
  for (const Event& event : Differences(before, after)) {
    const std::string bytes = Encode(event);
    for (const Ref<NetlinkSocket>& one : members) {
      if (one->IsIn(event.group)) one->Deliver(bytes, 0, event.group);
    }
  }
}

}  // namespace sentry
