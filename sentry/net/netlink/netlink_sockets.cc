#include "sentry/net/netlink/netlink_sockets.h"

#include "sentry/net/netlink/netlink_socket.h"

namespace sentry {

void NetlinkSockets::Add(NetlinkSocket& socket) {
  absl::MutexLock lock(&mu_);
  sockets_.insert(&socket);
}

void NetlinkSockets::Remove(NetlinkSocket& socket) {
  absl::MutexLock lock(&mu_);
  sockets_.erase(&socket);
  std::erase_if(ports_, [&socket](const auto& entry) { return entry.second == &socket; });
}

Status NetlinkSockets::Bind(NetlinkSocket& socket, int protocol, uint32_t port) {
  absl::MutexLock lock(&mu_);
  return ports_.emplace(Port(protocol, port), &socket).second ? kOk : Status(Errno(EADDRINUSE));
}

uint32_t NetlinkSockets::BindAny(NetlinkSocket& socket, int protocol, uint32_t preferred) {
  absl::MutexLock lock(&mu_);
  while (!ports_.emplace(Port(protocol, preferred), &socket).second) {
    if (next_ < 0x80000001) next_ = 0xffffefff;
    preferred = next_--;
  }
  return preferred;
}

Result<Ref<NetlinkSocket>> NetlinkSockets::Find(int protocol, uint32_t port) const {
  absl::MutexLock lock(&mu_);
  const auto it = ports_.find(Port(protocol, port));
  // One that is just being destroyed is gone.
  if (it == ports_.end() || !it->second->TryAddRef()) return Errno(ECONNREFUSED);
  return Ref<NetlinkSocket>::Adopt(it->second);
}

std::vector<Ref<NetlinkSocket>> NetlinkSockets::List() const {
  absl::MutexLock lock(&mu_);
  std::vector<Ref<NetlinkSocket>> list;
  for (NetlinkSocket* const socket : sockets_) {
    if (socket->TryAddRef()) list.push_back(Ref<NetlinkSocket>::Adopt(socket));
  }
  return list;
}

}  // namespace sentry
