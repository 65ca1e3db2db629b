// What /proc/net/{tcp,udp,raw,icmp}* and inet_diag show of internet sockets, whoever carries them.
#ifndef SENTRY_NET_LISTING_H_
#define SENTRY_NET_LISTING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "sentry/net/namespace.h"

namespace sentry {

struct InetRow {
  int domain = 0;             // AF_INET, AF_INET6.
  uint8_t state = 0;          // TCP_*; of other sockets TCP_CLOSE or TCP_ESTABLISHED.
  std::string local, remote;  // 4 or 16 bytes, as the domain says.
  uint16_t local_port = 0, remote_port = 0;
  uint32_t receive_queue = 0, send_queue = 0;  // Of a listener: connections waiting, the backlog.
  uint32_t uid = 0;
  uint64_t inode = 0;  // 0: no socket any more.
  uint32_t drops = 0;
};

// Which table: a transport of both families.
enum class InetTable : uint8_t { kTcp, kUdp, kRaw, kIcmp };
std::vector<InetRow> ListInet(NetworkNamespace& space, InetTable table);

}  // namespace sentry

#endif  // SENTRY_NET_LISTING_H_
