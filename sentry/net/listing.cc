#include "sentry/net/listing.h"

#include "sentry/net/host/host_socket.h"
#include "sentry/net/host/net_client.h"

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

std::vector<InetRow> ListInet(NetworkNamespace& space, InetTable table) {
  if (space.net_client() != nullptr) return ListHost(*space.net_client(), table);
  return {};
}

}  // namespace sentry
