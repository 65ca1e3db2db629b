#include "gofer/net/options.h"

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <iterator>

namespace gofer {
namespace {

constexpr int kSolRaw = 255;

struct OptionRow {
  int level, name;
  uint16_t least, most;  // Bytes of a value to be set; most 0: for looking only.
};

constexpr uint16_t kByte = 1, kInt = 4;
// struct group_req, struct group_source_req.
constexpr uint16_t kGroup = 136, kGroupSource = 264;

// struct ip_msfilter and group_filter without their lists, an entry of the latter; how many entries
// net.ipv4.igmp_max_msf and net.ipv6.mld_max_msf allow.
constexpr uint16_t kIpFilter = 16, kGroupFilter = 144, kSource = 128;
constexpr uint16_t kMaxSources = 10, kMaxSources6 = 64;

constexpr OptionRow kOptions[] = {
    {SOL_SOCKET, SO_REUSEADDR, kInt, kInt},
    {SOL_SOCKET, SO_REUSEPORT, kInt, kInt},
    {SOL_SOCKET, SO_KEEPALIVE, kInt, kInt},
    {SOL_SOCKET, SO_BROADCAST, kInt, kInt},
    {SOL_SOCKET, SO_OOBINLINE, kInt, kInt},
    {SOL_SOCKET, SO_SNDBUF, kInt, kInt},
    {SOL_SOCKET, SO_RCVBUF, kInt, kInt},
    {SOL_SOCKET, SO_RCVLOWAT, kInt, kInt},
    {SOL_SOCKET, SO_DONTROUTE, kInt, kInt},
    {SOL_SOCKET, SO_PRIORITY, kInt, kInt},
    {SOL_SOCKET, SO_NO_CHECK, kInt, kInt},
    {SOL_SOCKET, SO_LINGER, 8, 8},
    {SOL_SOCKET, SO_TIMESTAMP_OLD, kInt, kInt},
    {SOL_SOCKET, SO_TIMESTAMPNS_OLD, kInt, kInt},
    {SOL_SOCKET, SO_TIMESTAMP_NEW, kInt, kInt},
    {SOL_SOCKET, SO_TIMESTAMPNS_NEW, kInt, kInt},
    {SOL_SOCKET, SO_TIMESTAMPING_NEW, kInt, kInt},
    {SOL_SOCKET, SO_TXTIME, 8, 8},
    {SOL_SOCKET, SO_RXQ_OVFL, kInt, kInt},
    {SOL_SOCKET, SO_TIMESTAMPING_OLD, kInt, kInt},
    {SOL_SOCKET, SO_BINDTODEVICE, 0, 16},
    {SOL_SOCKET, SO_MAX_PACING_RATE, kInt, 8},
    {SOL_SOCKET, SO_ERROR, 0, 0},
    {SOL_SOCKET, SO_INCOMING_CPU, 0, 0},
    {SOL_SOCKET, SO_MEMINFO, 0, 0},
    {IPPROTO_IP, IP_TOS, kByte, kInt},
    {IPPROTO_IP, IP_TTL, kByte, kInt},
    {IPPROTO_IP, IP_PKTINFO, kByte, kInt},
    {IPPROTO_IP, IP_MTU_DISCOVER, kByte, kInt},
    {IPPROTO_IP, IP_RECVERR, kByte, kInt},
    {IPPROTO_IP, IP_RECVTTL, kByte, kInt},
    {IPPROTO_IP, IP_RECVTOS, kByte, kInt},
    {IPPROTO_IP, IP_RECVOPTS, kByte, kInt},
    {IPPROTO_IP, IP_RETOPTS, kByte, kInt},
    {IPPROTO_IP, IP_RECVORIGDSTADDR, kByte, kInt},
    {IPPROTO_IP, IP_FREEBIND, kByte, kInt},
    {IPPROTO_IP, IP_TRANSPARENT, 0, 0},
    {IPPROTO_IP, IP_HDRINCL, 0, 0},
    {IPPROTO_IP, IP_NODEFRAG, 0, 0},
    {IPPROTO_IP, IP_ROUTER_ALERT, 0, 0},
    {IPPROTO_IP, 52 /* IP_PROTOCOL */, 0, 0},
    {IPPROTO_IP, IP_RECVFRAGSIZE, kByte, kInt},
    {IPPROTO_IP, IP_MULTICAST_IF, 4, 12},
    {IPPROTO_IP, IP_MULTICAST_TTL, kByte, kInt},
    {IPPROTO_IP, IP_MULTICAST_LOOP, kByte, kInt},
    {IPPROTO_IP, IP_MULTICAST_ALL, kByte, kInt},
    {IPPROTO_IP, IP_ADD_MEMBERSHIP, kInt, 12},
    {IPPROTO_IP, IP_DROP_MEMBERSHIP, kInt, 12},
    {IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, 12, 12},
    {IPPROTO_IP, IP_DROP_SOURCE_MEMBERSHIP, 12, 12},
    {IPPROTO_IP, IP_BLOCK_SOURCE, 12, 12},
    {IPPROTO_IP, IP_UNBLOCK_SOURCE, 12, 12},
    {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, kByte, kInt},
    {IPPROTO_IP, 51 /* IP_LOCAL_PORT_RANGE */, kInt, kInt},
    {IPPROTO_IP, IP_UNICAST_IF, kInt, kInt},
    {IPPROTO_IP, IP_MINTTL, kByte, kInt},
    {IPPROTO_IP, IP_MTU, 0, 0},
    {IPPROTO_IP, MCAST_JOIN_GROUP, kGroup, kGroup},
    {IPPROTO_IP, MCAST_LEAVE_GROUP, kGroup, kGroup},
    {IPPROTO_IP, MCAST_JOIN_SOURCE_GROUP, kGroupSource, kGroupSource},
    {IPPROTO_IP, MCAST_LEAVE_SOURCE_GROUP, kGroupSource, kGroupSource},
    {IPPROTO_IP, MCAST_BLOCK_SOURCE, kGroupSource, kGroupSource},
    {IPPROTO_IP, MCAST_UNBLOCK_SOURCE, kGroupSource, kGroupSource},
    {IPPROTO_IP, IP_MSFILTER, kIpFilter, kIpFilter + 4 * kMaxSources},
    {IPPROTO_IP, MCAST_MSFILTER, kGroupFilter, kGroupFilter + kSource* kMaxSources},
    {IPPROTO_IPV6, MCAST_MSFILTER, kGroupFilter, kGroupFilter + kSource* kMaxSources6},
    {IPPROTO_IPV6, IPV6_V6ONLY, kInt, kInt},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, kInt, kInt},
    {IPPROTO_IPV6, IPV6_MULTICAST_IF, kInt, kInt},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, kInt, kInt},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, kInt, kInt},
    {IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, 20, 20},
    {IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, 20, 20},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, kInt, kInt},
    {IPPROTO_IPV6, IPV6_RECVHOPLIMIT, kInt, kInt},
    {IPPROTO_IPV6, IPV6_RECVTCLASS, kInt, kInt},
    {IPPROTO_IPV6, IPV6_TCLASS, kInt, kInt},
    {IPPROTO_IPV6, IPV6_RECVERR, kInt, kInt},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, kInt, kInt},
    {IPPROTO_IPV6, IPV6_MTU, kInt, kInt},
    {IPPROTO_IPV6, IPV6_DONTFRAG, kInt, kInt},
    {IPPROTO_IPV6, IPV6_FREEBIND, kInt, kInt},
    {IPPROTO_IPV6, IPV6_2292HOPOPTS, kInt, kInt},
    {IPPROTO_IPV6, IPV6_2292DSTOPTS, kInt, kInt},
    {IPPROTO_IPV6, IPV6_2292RTHDR, kInt, kInt},
    {IPPROTO_IPV6, IPV6_TRANSPARENT, 0, 0},
    {IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, kInt, kInt},
    {IPPROTO_IPV6, IPV6_MULTICAST_ALL, kInt, kInt},
    {IPPROTO_IPV6, IPV6_UNICAST_IF, kInt, kInt},
    {IPPROTO_IPV6, IPV6_MINHOPCOUNT, kInt, kInt},
    {IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, kInt, kInt},
    {IPPROTO_IPV6, IPV6_FLOWINFO_SEND, kInt, kInt},
    {IPPROTO_IPV6, IPV6_FLOWINFO, kInt, kInt},
    {IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, kInt, kInt},
    {IPPROTO_IPV6, MCAST_JOIN_GROUP, kGroup, kGroup},
    {IPPROTO_IPV6, MCAST_LEAVE_GROUP, kGroup, kGroup},
    {IPPROTO_IPV6, MCAST_JOIN_SOURCE_GROUP, kGroupSource, kGroupSource},
    {IPPROTO_IPV6, MCAST_LEAVE_SOURCE_GROUP, kGroupSource, kGroupSource},
    {IPPROTO_IPV6, MCAST_BLOCK_SOURCE, kGroupSource, kGroupSource},
    {IPPROTO_IPV6, MCAST_UNBLOCK_SOURCE, kGroupSource, kGroupSource},
    {IPPROTO_ICMPV6, 1 /* ICMPV6_FILTER */, 32, 32},
    {kSolRaw, 1 /* ICMP_FILTER */, kInt, kInt},
    {kSolRaw, 7 /* IPV6_CHECKSUM */, kInt, kInt},
    {IPPROTO_IPV6, 7 /* IPV6_CHECKSUM */, kInt, kInt},
    {IPPROTO_TCP, TCP_NODELAY, kInt, kInt},
    {IPPROTO_TCP, TCP_MAXSEG, kInt, kInt},
    {IPPROTO_TCP, TCP_CORK, kInt, kInt},
    {IPPROTO_TCP, TCP_KEEPIDLE, kInt, kInt},
    {IPPROTO_TCP, TCP_KEEPINTVL, kInt, kInt},
    {IPPROTO_TCP, TCP_KEEPCNT, kInt, kInt},
    {IPPROTO_TCP, TCP_SYNCNT, kInt, kInt},
    {IPPROTO_TCP, TCP_LINGER2, kInt, kInt},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, kInt, kInt},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, kInt, kInt},
    {IPPROTO_TCP, TCP_QUICKACK, kInt, kInt},
    {IPPROTO_TCP, TCP_CONGESTION, 1, 16},
    {IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, kInt, kInt},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, kInt, kInt},
    {IPPROTO_TCP, TCP_FASTOPEN, kInt, kInt},
    {IPPROTO_TCP, TCP_FASTOPEN_CONNECT, kInt, kInt},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, kInt, kInt},
    {IPPROTO_TCP, TCP_INQ, kInt, kInt},
    {IPPROTO_TCP, TCP_THIN_DUPACK, kInt, kInt},
    {IPPROTO_TCP, TCP_TIMESTAMP, kInt, kInt},
    {IPPROTO_TCP, TCP_SAVE_SYN, kInt, kInt},
    {IPPROTO_TCP, TCP_SAVED_SYN, 0, 0},
    {IPPROTO_TCP, TCP_INFO, 0, 0},
    {IPPROTO_TCP, TCP_CC_INFO, 0, 0},
    {IPPROTO_UDP, UDP_CORK, kInt, kInt},
    {IPPROTO_UDP, UDP_SEGMENT, kInt, kInt},
    {IPPROTO_UDP, UDP_GRO, kInt, kInt},
};

const OptionRow* Find(int level, int name) {
  const auto* it = std::find_if(std::begin(kOptions), std::end(kOptions), [=](const OptionRow& r) {
    return r.level == level && r.name == name;
  });
  return it == std::end(kOptions) ? nullptr : it;
}

}  // namespace

bool MayGetOption(int level, int name) { return Find(level, name) != nullptr; }

EntryList EntriesOf(int level, int name) {
  if (level == IPPROTO_IP && name == IP_MSFILTER) return {kIpFilter, 4};
  const bool ip = level == IPPROTO_IP || level == IPPROTO_IPV6;
  if (ip && name == MCAST_MSFILTER) return {kGroupFilter, kSource};
  return {};
}

int MaySetOption(int level, int name, size_t size) {
  const OptionRow* const row = Find(level, name);
  if (row == nullptr || row->most == 0 || size > row->most) return ENOPROTOOPT;
  return size < row->least ? EINVAL : 0;
}

}  // namespace gofer
