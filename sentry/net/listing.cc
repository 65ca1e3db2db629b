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

}  // namespace

std::string AddressBytes(int domain, const IpAddress& address) {
  const in6_addr bytes = address.v6();
  const char* const data = reinterpret_cast<const char*>(&bytes);
  if (domain == AF_INET) return std::string(data + 12, 4);
  return address.is_any() ? std::string(16, '\0') : std::string(data, 16);
}

std::vector<InetRow> ListInet(NetworkNamespace& space, InetTable table) {
  if (space.net_client() != nullptr) return ListHost(*space.net_client(), table);
  constexpr Transport kTransports[] = {Transport::kTcp, Transport::kUdp, Transport::kRaw,
                                       Transport::kPing};
  return space.inet().List(kTransports[static_cast<size_t>(table)]);
}

}  // namespace sentry
