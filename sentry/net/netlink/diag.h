// sock_diag(7): what ss(8) asks of sockets.
#ifndef SENTRY_NET_NETLINK_DIAG_H_
#define SENTRY_NET_NETLINK_DIAG_H_

#include "base/result.h"
#include "sentry/net/namespace.h"
#include "sentry/net/netlink/message.h"
#include "sentry/net/netlink/route.h"

namespace sentry {

// Requests of NETLINK_SOCK_DIAG. ENOENT for families and protocols that it does not know.
Result<NlOutcome> HandleDiag(NetworkNamespace& space, const NlRequest& request, NlReply& reply);

}  // namespace sentry

#endif  // SENTRY_NET_NETLINK_DIAG_H_
