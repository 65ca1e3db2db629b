// rtnetlink(7): requests of NETLINK_ROUTE over the devices of a namespace.
#ifndef SENTRY_NET_NETLINK_ROUTE_H_
#define SENTRY_NET_NETLINK_ROUTE_H_

#include "base/result.h"
#include "sentry/net/devices/devices.h"
#include "sentry/net/netlink/message.h"

namespace sentry {

// How a request that did not fail goes on.
enum class NlOutcome : uint8_t {
  kHandled,  // An acknowledgement follows if one is wanted.
  kDumped,   // NLMSG_DONE was the last word.
};

// rtnetlink_rcv_msg() of Linux. EPERM, EOPNOTSUPP, and what the request says.
Result<NlOutcome> HandleRoute(NetworkDevices& devices, const NlRequest& request, NlReply& reply);

// Dumps (dump.cc): adds the messages, NLM_F_MULTI, without the end. EOPNOTSUPP when there is none
// of that type; another errno ends the dump.
Status DumpRoute(const DeviceTables& tables, const NlRequest& request, NlReply& reply);
// Whether rtnetlink has a dump of that type.
bool HasDump(uint16_t type);

// Requests that change something (change.cc); the caller has CAP_NET_ADMIN.
Status ChangeRoute(NetworkDevices& devices, const NlRequest& request, NlReply& reply);

}  // namespace sentry

#endif  // SENTRY_NET_NETLINK_ROUTE_H_
