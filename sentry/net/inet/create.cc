// socket(2) for AF_INET and AF_INET6: inet_create() and inet6_create() of Linux.
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "sentry/net/inet/icmp_socket.h"
#include "sentry/net/inet/inet_socket.h"
#include "sentry/net/inet/tcp_socket.h"
#include "sentry/net/inet/udp_socket.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// net.ipv4.ping_group_range.
bool MayPing(const Task& task, const InetStack& stack) {
  const Credentials& creds = task.creds();
  const auto allowed = [&](uint32_t gid) {
    return gid >= stack.first_ping_group && gid <= stack.last_ping_group;
  };
  return allowed(creds.egid) || std::any_of(creds.groups.begin(), creds.groups.end(), allowed);
}

}  // namespace

// inet_create(): the largest is IPPROTO_MPTCP, which is not there.
Status CheckProtocol(const SocketKind& what) {
  const int most = what.type == SOCK_RAW ? 255 : 262;
  return what.protocol < 0 || what.protocol > most ? Errno(EINVAL) : Status(kOk);
}

Result<Ref<Socket>> CreateInetSocket(Task& task, const SocketKind& what, OpenFlags flags) {
  TRY(CheckProtocol(what));
  auto space = Ref<NetworkNamespace>::Share(task.namespaces().network());
  const uint32_t uid = task.creds().fsuid;
  const int ping = what.domain == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  SocketKind kind = what;
  switch (what.type) {
    case SOCK_STREAM:
      if (what.protocol != 0 && what.protocol != IPPROTO_TCP) return Errno(EPROTONOSUPPORT);
      kind.protocol = IPPROTO_TCP;
      return Ref<Socket>(
          MakeRef<TcpSocket>(std::move(space), kind, flags, MakeRef<WaitPoint>(), uid));
    case SOCK_DGRAM:
      if (what.protocol == ping) {
        if (!MayPing(task, space->inet())) return Errno(EACCES);
        return Ref<Socket>(MakeRef<PingSocket>(std::move(space), kind, flags, uid));
      }
      if (what.protocol == 0) kind.protocol = IPPROTO_UDP;
      if (kind.protocol != IPPROTO_UDP && kind.protocol != IPPROTO_UDPLITE) {
        return Errno(EPROTONOSUPPORT);
      }
      return Ref<Socket>(MakeRef<UdpSocket>(std::move(space), kind, flags, uid));
    case SOCK_RAW:
      if (what.protocol == 0) return Errno(EPROTONOSUPPORT);
      if (!task.creds().HasCapability(CAP_NET_RAW)) return Errno(EPERM);
      return Ref<Socket>(MakeRef<RawSocket>(std::move(space), kind, flags, uid));
    default:
      return Errno(ESOCKTNOSUPPORT);
  }
}

}  // namespace sentry
