#include "sentry/net/listing.h"

#include <sys/socket.h>

#include "sentry/net/host/host_socket.h"
#include "sentry/net/host/net_client.h"
#include "sentry/net/inet/inet_stack.h"

namespace sentry {
namespace {

std::vector<InetRow> ListHost(NetClient& client, InetTable table) {
  std::vector<InetRow> rows;
  for (const Ref<HostSocket>& socket : client.Sockets()) {
    if (socket->table() == table) rows.push_back(socket->Describe());
  }
  return rows;
}

std::string AddressBytes(int domain, const IpAddress& address) {
  const in6_addr bytes = address.v6();
  const char* const data = reinterpret_cast<const char*>(&bytes);
  if (domain == AF_INET) return std::string(data + 12, 4);
  return address.is_any() ? std::string(16, '\0') : std::string(data, 16);
}

std::vector<InetRow> ListStack(InetStack& stack, InetTable table) {
  constexpr Transport kTransports[] = {Transport::kTcp, Transport::kUdp, Transport::kRaw,
                                       Transport::kPing};
  std::vector<InetRow> rows;
  for (const InetSocketRow& from : stack.List(kTransports[static_cast<size_t>(table)])) {
    rows.push_back({.domain = from.domain,
                    .state = static_cast<uint8_t>(from.state),
                    .local = AddressBytes(from.domain, from.local.address),
                    .remote = AddressBytes(from.domain, from.remote.address),
                    .local_port = from.local.port,
                    .remote_port = from.remote.port,
                    .receive_queue = static_cast<uint32_t>(from.receive_queue),
                    .send_queue = static_cast<uint32_t>(from.send_queue),
                    .uid = from.uid,
                    .inode = from.inode,
                    .drops = from.drops});
  }
  return rows;
}

}  // namespace

std::vector<InetRow> ListInet(NetworkNamespace& space, InetTable table) {
  if (space.net_client() != nullptr) return ListHost(*space.net_client(), table);
  return ListStack(space.inet(), table);
}

}  // namespace sentry
