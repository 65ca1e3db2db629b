// All netlink sockets of a network namespace, and the port numbers by which they find each other.
#ifndef SENTRY_NET_NETLINK_NETLINK_SOCKETS_H_
#define SENTRY_NET_NETLINK_NETLINK_SOCKETS_H_

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"

namespace sentry {

class NetlinkSocket;

// Holds no references: sockets register and unregister themselves. Thread-safe; its lock is taken
// before a socket's.
class NetlinkSockets {
 public:
  NetlinkSockets() = default;
  NetlinkSockets(const NetlinkSockets&) = delete;

  void Add(NetlinkSocket& socket) ABSL_LOCKS_EXCLUDED(mu_);
  // With its port.
  void Remove(NetlinkSocket& socket) ABSL_LOCKS_EXCLUDED(mu_);
  // EADDRINUSE.
  Status Bind(NetlinkSocket& socket, int protocol, uint32_t port) ABSL_LOCKS_EXCLUDED(mu_);
  // `preferred`, the process, or a negative number that nobody has.
  uint32_t BindAny(NetlinkSocket& socket, int protocol, uint32_t preferred)
      ABSL_LOCKS_EXCLUDED(mu_);
  // ECONNREFUSED.
  Result<Ref<NetlinkSocket>> Find(int protocol, uint32_t port) const ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<Ref<NetlinkSocket>> List() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Port = std::pair<int, uint32_t>;

  mutable absl::Mutex mu_;
  std::set<NetlinkSocket*> sockets_ ABSL_GUARDED_BY(mu_);
  std::map<Port, NetlinkSocket*> ports_ ABSL_GUARDED_BY(mu_);
  uint32_t next_ ABSL_GUARDED_BY(mu_) = 0xffffefff;  // -4097, and downwards.
};

}  // namespace sentry

#endif  // SENTRY_NET_NETLINK_NETLINK_SOCKETS_H_
