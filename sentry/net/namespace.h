// A network namespace: network_namespaces(7).
#ifndef SENTRY_NET_NAMESPACE_H_
#define SENTRY_NET_NAMESPACE_H_

#include <cstdint>
#include <memory>

#include "base/ref.h"

namespace sentry {

class InetStack;
class NetClient;
class NetlinkSockets;
class NetworkDevices;
class UnixSockets;

// What sockets find each other by. Held by the kernel and by every socket made in it. Each family
// keeps its own tables behind a pointer, so that this header stays small; see namespace.cc.
class NetworkNamespace final : public RefCounted {
 public:
  // With a client, internet sockets are the host's, made by the network gofer behind it, and so are
  // the devices. Without, there is a loopback interface.
  explicit NetworkNamespace(Ref<NetClient> client = {});
  ~NetworkNamespace() override;

  // Abstract names, and all AF_UNIX sockets (/proc/net/unix, unix_diag).
  UnixSockets& unix_sockets() const { return *unix_sockets_; }
  NetlinkSockets& netlink_sockets() const { return *netlink_sockets_; }
  // Links, addresses, routes.
  NetworkDevices& devices() const { return *devices_; }
  // nullptr when internet sockets are the sandbox's own.
  NetClient* net_client() const { return client_.get(); }
  // Ports, connections and routes of AF_INET and AF_INET6, where they are the sandbox's own.
  InetStack& inet() const { return *inet_; }

 private:
  const std::unique_ptr<UnixSockets> unix_sockets_;
  const std::unique_ptr<NetlinkSockets> netlink_sockets_;
  const Ref<NetClient> client_;
  const std::unique_ptr<NetworkDevices> devices_;
  const std::unique_ptr<InetStack> inet_;
};

}  // namespace sentry

#endif  // SENTRY_NET_NAMESPACE_H_
