#include "sentry/net/namespace.h"

#include <utility>

#include "sentry/net/devices/devices.h"
#include "sentry/net/host/net_client.h"
#include "sentry/net/inet/inet_stack.h"
#include "sentry/net/netlink/netlink_sockets.h"
#include "sentry/net/unix/unix_sockets.h"

namespace sentry {

NetworkNamespace::NetworkNamespace(Ref<NetClient> client)
    : unix_sockets_(std::make_unique<UnixSockets>()),
      netlink_sockets_(std::make_unique<NetlinkSockets>()),
      client_(std::move(client)),
      devices_(std::make_unique<NetworkDevices>(
          client_ ? std::make_unique<NetClientDevices>(client_) : nullptr)),
      inet_(std::make_unique<InetStack>()) {}

NetworkNamespace::~NetworkNamespace() = default;

}  // namespace sentry
