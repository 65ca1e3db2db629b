// A network namespace: network_namespaces(7).
#ifndef SENTRY_NET_NAMESPACE_H_
#define SENTRY_NET_NAMESPACE_H_

#include <cstdint>
#include <memory>

#include "base/ref.h"
#include "sentry/fs/namespace.h"

namespace sentry {

class InetStack;
class NetClient;
class NetlinkSockets;
class NetworkDevices;
class SysctlValues;

// What sockets find each other by. Held by the kernel and by every socket made in it. Each family
// but AF_UNIX, whose table is the sandbox's, keeps its own behind a pointer, so that this header stays small; see namespace.cc.
class NetworkNamespace final : public Namespace {
 public:
  // With a client, internet sockets are the host's, made by the network gofer behind it, and so are
  // the devices. Without, there is a loopback interface.
  explicit NetworkNamespace(Ref<NetClient> client = {},
                            uint64_t ino = FirstIno(NamespaceKind::kNetwork));
  // As unshare(CLONE_NEWNET) makes it: its loopback interface is down and has no address.
  static Ref<NetworkNamespace> CreateEmpty();
  ~NetworkNamespace() override;

  NetlinkSockets& netlink_sockets() const { return *netlink_sockets_; }
  // Links, addresses, routes.
  NetworkDevices& devices() const { return *devices_; }
  // nullptr when internet sockets are the sandbox's own.
  NetClient* net_client() const { return client_.get(); }
  // Ports, connections and routes of AF_INET and AF_INET6, where they are the sandbox's own.
  InetStack& inet() const { return *inet_; }
  // What was written to /proc/sys/net and has no effect.
  SysctlValues& sysctls() const { return *sysctls_; }

 private:
  const std::unique_ptr<NetlinkSockets> netlink_sockets_;
  const Ref<NetClient> client_;
  const std::unique_ptr<NetworkDevices> devices_;
  const Ref<InetStack> inet_;
  const std::unique_ptr<SysctlValues> sysctls_;
};

}  // namespace sentry

#endif  // SENTRY_NET_NAMESPACE_H_
