#include "sentry/net/listing.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include "sentry/net/host/host_socket.h"
#include "sentry/net/host/net_client.h"
#include "sentry/net/inet/inet_stack.h"

namespace sentry {
namespace {

std::vector<InetRow> ListHost(NetClient& client, InetTable table) {
  std::vector<InetRow> rows;
  for (const Ref<HostSocket>& socket : client.Sockets()) {
    if (socket->table() != table || socket->is_in_memory()) continue;
    rows.push_back(socket->Describe());
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
  constexpr Transport kTransports[] = {Transport::kTcp, Transport::kUdp, Transport::kRaw,
                                       Transport::kPing};
  std::vector<InetRow> rows = space.inet().List(kTransports[static_cast<size_t>(table)]);
  if (space.net_client() == nullptr) return rows;
  // Connections over loopback; their listeners are the host's as well.
  std::erase_if(rows, [](const InetRow& row) { return row.state == TCP_LISTEN; });
  for (InetRow& row : ListHost(*space.net_client(), table)) rows.push_back(std::move(row));
  return rows;
}

}  // namespace sentry
