// rtnetlink(7): groups that hear of changes, as `ip monitor` does.
#ifndef SENTRY_NET_NETLINK_MONITOR_H_
#define SENTRY_NET_NETLINK_MONITOR_H_

#include "sentry/net/devices/tables.h"
#include "sentry/net/netlink/netlink_sockets.h"

namespace sentry {

// Tells the members of RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE and their like of
// version 6 what has come, changed and gone.
void AnnounceChanges(const NetlinkSockets& sockets, const DeviceTables& before,
                     const DeviceTables& after);

}  // namespace sentry

#endif  // SENTRY_NET_NETLINK_MONITOR_H_
