#include "sentry/net/netlink/diag.h"

#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "sentry/net/listing.h"
#include "sentry/net/unix/unix_end.h"
#include "sentry/net/unix/unix_sockets.h"

namespace sentry {
namespace {

// Of linux/tcp.h's states those that other families use too.
constexpr uint8_t kEstablished = 1, kClosed = 7, kListening = 10;

struct UnixRow {
  unix_diag_msg body{};
  std::string name;
  uint64_t peer = 0;
  unix_diag_rqlen queues{};
  uint8_t shut = 0;
};

UnixRow Describe(UnixEnd& end) {
  UnixRow row;
  row.body.udiag_family = AF_UNIX;
  row.body.udiag_type = static_cast<uint8_t>(end.type);
  row.body.udiag_ino = static_cast<uint32_t>(end.inode_number.load());
  row.body.udiag_cookie[0] = row.body.udiag_ino;
  row.shut = static_cast<uint8_t>(end.shut());
  Ref<UnixEnd> peer;
  absl::MutexLock lock(&end.mu);
  row.name = end.name;
  peer = end.peer;
  if (peer) row.peer = peer->inode_number.load();
  const bool listens = end.state == UnixEnd::State::kListening;
  row.body.udiag_state = listens                                   ? kListening
                         : end.state == UnixEnd::State::kConnected ? kEstablished
                                                                   : kClosed;
  row.queues.udiag_rqueue = static_cast<uint32_t>(listens  ? end.pending.size()
                                                  : end.in ? end.in->size()
                                                           : end.message_bytes);
  row.queues.udiag_wqueue = static_cast<uint32_t>(listens   ? static_cast<size_t>(end.backlog)
                                                  : end.out ? end.out->size()
                                                            : end.in_flight.load());
  return row;
}

std::string Encode(const UnixRow& row, uint32_t show) {
  NlPayload payload(row.body);
  if ((show & UDIAG_SHOW_NAME) != 0 && !row.name.empty()) payload.Put(UNIX_DIAG_NAME, row.name);
  if ((show & UDIAG_SHOW_PEER) != 0 && row.peer != 0) {
    payload.PutNumber(UNIX_DIAG_PEER, static_cast<uint32_t>(row.peer));
  }
  if ((show & UDIAG_SHOW_RQLEN) != 0) payload.PutStruct(UNIX_DIAG_RQLEN, row.queues);
  payload.PutNumber(UNIX_DIAG_SHUTDOWN, row.shut);
  return payload.Take();
}

Result<NlOutcome> Unix(NetworkNamespace& space, const NlRequest& request, NlReply& reply) {
  if (request.payload.size() < sizeof(unix_diag_req)) return Errno(EINVAL);
  const auto asked = NlRead<unix_diag_req>(request.payload);
  const bool dump = request.has(NLM_F_DUMP);
  if (!dump && asked.udiag_ino == 0) return Errno(EINVAL);
  for (const Ref<UnixEnd>& end : UnixSockets::Get().List(space.ino())) {
    const UnixRow row = Describe(*end);
    // What is not accepted yet has no number, and shows as its listener's queue.
    if (row.body.udiag_ino == 0) continue;
    if (dump) {
      if ((asked.udiag_states >> row.body.udiag_state & 1) == 0) continue;
      if (asked.udiag_ino != 0 && asked.udiag_ino != row.body.udiag_ino) continue;
      reply.Add(SOCK_DIAG_BY_FAMILY, Encode(row, asked.udiag_show), NLM_F_MULTI);
    } else if (asked.udiag_ino == row.body.udiag_ino) {
      reply.Add(SOCK_DIAG_BY_FAMILY, Encode(row, asked.udiag_show));
      return NlOutcome::kHandled;
    }
  }
  if (!dump) return Errno(ENOENT);
  reply.Done(0);
  return NlOutcome::kDumped;
}

inet_diag_msg Describe(const InetRow& row) {
  inet_diag_msg body{};
  body.idiag_family = static_cast<uint8_t>(row.domain);
  body.idiag_state = static_cast<uint8_t>(row.state);
  body.id.idiag_sport = htons(row.local.port);
  body.id.idiag_dport = htons(row.remote.port);
  const std::string local = AddressBytes(row.domain, row.local.address);
  const std::string remote = AddressBytes(row.domain, row.remote.address);
  memcpy(body.id.idiag_src, local.data(), local.size());
  memcpy(body.id.idiag_dst, remote.data(), remote.size());
  body.id.idiag_cookie[0] = static_cast<uint32_t>(row.inode);
  body.idiag_rqueue = static_cast<uint32_t>(row.receive_queue);
  body.idiag_wqueue = static_cast<uint32_t>(row.send_queue);
  body.idiag_uid = row.uid;
  body.idiag_inode = static_cast<uint32_t>(row.inode);
  return body;
}

std::string Encode(const InetRow& row, const inet_diag_req_v2& asked) {
  const auto wants = [&asked](int extension) {
    return (asked.idiag_ext >> (extension - 1) & 1) != 0;
  };
  NlPayload payload(Describe(row));
  payload.PutNumber(INET_DIAG_SHUTDOWN, uint8_t{0});
  if (row.domain == AF_INET6) payload.PutNumber(INET_DIAG_SKV6ONLY, uint8_t{0});
  if (wants(INET_DIAG_MEMINFO)) {
    payload.PutStruct(INET_DIAG_MEMINFO,
                      inet_diag_meminfo{.idiag_rmem = static_cast<uint32_t>(row.receive_queue),
                                        .idiag_wmem = static_cast<uint32_t>(row.send_queue)});
  }
  if (wants(INET_DIAG_SKMEMINFO)) {
    payload.Put(INET_DIAG_SKMEMINFO, std::string(SK_MEMINFO_VARS * sizeof(uint32_t), '\0'));
  }
  return payload.Take();
}

// The whole pair of addresses and ports.
bool IsSame(const inet_diag_sockid& a, const inet_diag_sockid& b, size_t words) {
  const size_t size = words * sizeof(uint32_t);
  return a.idiag_sport == b.idiag_sport && a.idiag_dport == b.idiag_dport &&
         memcmp(a.idiag_src, b.idiag_src, size) == 0 && memcmp(a.idiag_dst, b.idiag_dst, size) == 0;
}

Result<InetTable> TableOf(uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
      return InetTable::kTcp;
    case IPPROTO_UDP:
      return InetTable::kUdp;
    case IPPROTO_RAW:
      return InetTable::kRaw;
    default:
      return Errno(ENOENT);
  }
}

// Filters in byte code are not run: ss(8), which sends them, filters once more by itself.
Result<NlOutcome> Inet(NetworkNamespace& space, const NlRequest& request, NlReply& reply) {
  if (request.payload.size() < sizeof(inet_diag_req_v2)) return Errno(EINVAL);
  const auto asked = NlRead<inet_diag_req_v2>(request.payload);
  const InetTable table = TRY(TableOf(asked.sdiag_protocol));
  const bool dump = request.has(NLM_F_DUMP);
  for (const InetRow& row : ListInet(space, table)) {
    if (row.domain != asked.sdiag_family) continue;
    if (dump) {
      if ((asked.idiag_states >> row.state & 1) == 0) continue;
      reply.Add(SOCK_DIAG_BY_FAMILY, Encode(row, asked), NLM_F_MULTI);
    } else if (IsSame(Describe(row).id, asked.id, row.domain == AF_INET6 ? 4 : 1)) {
      reply.Add(SOCK_DIAG_BY_FAMILY, Encode(row, asked));
      return NlOutcome::kHandled;
    }
  }
  if (!dump) return Errno(ENOENT);
  reply.Done(0);
  return NlOutcome::kDumped;
}

}  // namespace

Result<NlOutcome> HandleDiag(NetworkNamespace& space, const NlRequest& request, NlReply& reply) {
  if (request.header.nlmsg_type != SOCK_DIAG_BY_FAMILY) return Errno(EINVAL);
  if (request.payload.size() < sizeof(sock_diag_req)) return Errno(EINVAL);
  if (request.family() == AF_UNIX) return Unix(space, request, reply);
  if (request.family() == AF_INET || request.family() == AF_INET6) {
    return Inet(space, request, reply);
  }
  return Errno(ENOENT);
}

}  // namespace sentry
