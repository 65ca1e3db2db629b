// A network namespace: network_namespaces(7).
#ifndef SENTRY_NET_NAMESPACE_H_
#define SENTRY_NET_NAMESPACE_H_

#include <cstdint>
#include <memory>

#include "base/ref.h"

namespace sentry {

class UnixSockets;

// What sockets find each other by. Held by the kernel and by every socket made in it. Each family
// keeps its own tables behind a pointer, so that this header stays small; see namespace.cc.
class NetworkNamespace final : public RefCounted {
 public:
  NetworkNamespace();
  ~NetworkNamespace() override;

  // Abstract names, and all AF_UNIX sockets (/proc/net/unix, unix_diag).
  UnixSockets& unix_sockets() const { return *unix_sockets_; }

 private:
  const std::unique_ptr<UnixSockets> unix_sockets_;
};

}  // namespace sentry

#endif  // SENTRY_NET_NAMESPACE_H_
