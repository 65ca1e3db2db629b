#include "sentry/net/family.h"

#include <sys/socket.h>

#include <algorithm>

#include "sentry/net/host/host_socket.h"
#include "sentry/net/netlink/netlink_socket.h"
#include "sentry/net/inet/inet_socket.h"
#include "sentry/net/unix/unix_socket.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// The host's, where the sandbox uses a network of the host; else of this sandbox alone.
Result<Ref<Socket>> CreateInternet(Task& task, const SocketKind& what, OpenFlags flags) {
  if (task.namespaces().network().net_client() != nullptr) return HostSocket::Create(task, what, flags);
  return CreateInetSocket(task, what, flags);
}

constexpr SocketFamily kFamilies[] = {
    {AF_INET, &CreateInternet, nullptr},
    {AF_INET6, &CreateInternet, nullptr},
    {AF_NETLINK, &NetlinkSocket::Create, nullptr},
    {AF_UNIX, &UnixSocket::Create, &UnixSocket::CreatePair},
};

const SocketFamily* FindFamily(const SocketKind& what) {
  // The old name of AF_PACKET, which is not here.
  const int domain = what.domain == AF_INET && what.type == SOCK_PACKET ? AF_PACKET : what.domain;
  const auto* it = std::find_if(std::begin(kFamilies), std::end(kFamilies),
                                [domain](const SocketFamily& f) { return f.domain == domain; });
  return it == std::end(kFamilies) ? nullptr : it;
}

}  // namespace

Result<Ref<Socket>> CreateSocket(Task& task, const SocketKind& what, OpenFlags flags) {
  const SocketFamily* family = FindFamily(what);
  if (family == nullptr) return Errno(EAFNOSUPPORT);
  return family->create(task, what, flags);
}

Result<SocketPair> CreateSocketPair(Task& task, const SocketKind& what, OpenFlags flags) {
  const SocketFamily* family = FindFamily(what);
  if (family == nullptr) return Errno(EAFNOSUPPORT);
  if (family->create_pair == nullptr) {
    // Linux makes both sockets before it finds out.
    TRY(family->create(task, what, flags));
    return Errno(EOPNOTSUPP);
  }
  return family->create_pair(task, what, flags);
}

}  // namespace sentry
