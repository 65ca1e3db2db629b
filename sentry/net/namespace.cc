#include "sentry/net/namespace.h"

#include <utility>

#include "sentry/net/devices/devices.h"
#include "sentry/net/host/net_client.h"
#include "sentry/net/inet/inet_stack.h"
#include "sentry/net/netlink/monitor.h"
#include "sentry/net/netlink/netlink_sockets.h"
#include "sentry/net/sysctl_values.h"

namespace sentry {

NetworkNamespace::NetworkNamespace(Ref<NetClient> client, uint64_t ino)
    : Namespace(NamespaceKind::kNetwork, ino),
      netlink_sockets_(std::make_unique<NetlinkSockets>()),
      client_(std::move(client)),
      devices_(std::make_unique<NetworkDevices>(
          client_ ? std::make_unique<NetClientDevices>(client_) : nullptr)),
      inet_(MakeRef<InetStack>(&devices_->loopback_up())),
      sysctls_(std::make_unique<SysctlValues>()) {
  devices_->SetListener([this](const DeviceTables& before, const DeviceTables& after) {
    AnnounceChanges(*netlink_sockets_, before, after);
  });
}

Ref<NetworkNamespace> NetworkNamespace::CreateEmpty() {
  Ref<NetworkNamespace> network = MakeRef<NetworkNamespace>(nullptr, NextIno());
  network->devices_->MakeEmpty();
  return network;
}

NetworkNamespace::~NetworkNamespace() { inet_->Close(); }

}  // namespace sentry
