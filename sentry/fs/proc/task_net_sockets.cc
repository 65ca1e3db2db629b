// Tables of sockets in /proc/PID/net.
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cstring>

#include "absl/strings/str_format.h"
#include "sentry/fs/proc/task_net.h"
#include "sentry/net/listing.h"
#include "sentry/net/netlink/netlink_socket.h"
#include "sentry/net/netlink/netlink_sockets.h"
#include "sentry/net/unix/unix_end.h"
#include "sentry/net/unix/unix_sockets.h"

namespace sentry::proc {
namespace {

// Kernel addresses, as everybody without rights sees them.
constexpr std::string_view kPointer = "0000000000000000";

// Words of the host's order, as the kernel prints them.
std::string HexAddress(const std::string& bytes) {
  std::string text;
  for (size_t at = 0; at + 4 <= bytes.size(); at += 4) {
    uint32_t word;
    memcpy(&word, bytes.data() + at, sizeof(word));
    absl::StrAppendFormat(&text, "%08X", word);
  }
  return text;
}

// What the lines of all transports begin with.
std::string Common(const InetRow& row) {
  return absl::StrFormat("%s:%04X %s:%04X %02X %08X:%08X %02X:%08X %08X %5u %8d %u",
                         HexAddress(AddressBytes(row.domain, row.local.address)), row.local.port,
                         HexAddress(AddressBytes(row.domain, row.remote.address)), row.remote.port,
                         row.state, row.send_queue, row.receive_queue, 0, 0, 0, row.uid, 0,
                         row.inode);
}

constexpr char kTcpHeader[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode";
constexpr char kDatagramHeader[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout "
    "inode ref pointer drops";
constexpr char k6Header[] =
    "  sl  local_address                         remote_address                        st tx_queue "
    "rx_queue tr tm->when retrnsmt   uid  timeout inode";

// net/ipv4/tcp_ipv4.c, net/ipv6/tcp_ipv6.c
std::string Tcp(NetworkNamespace& space, int domain) {
  const bool v4 = domain == AF_INET;
  std::string text = v4 ? absl::StrFormat("%-149s\n", kTcpHeader) : std::string(k6Header) + "\n";
  int number = 0;
  for (const InetRow& row : ListInet(space, InetTable::kTcp)) {
    if (row.domain != domain) continue;
    const std::string line = absl::StrFormat("%4d: %s %d %s %d %d %d %d %d", number++, Common(row),
                                             1, kPointer, 100, 0, 0, 10, 0);
    text += (v4 ? absl::StrFormat("%-149s", line) : line) + "\n";
  }
  return text;
}

// net/ipv4/udp.c, net/ipv4/raw.c, net/ipv4/ping.c and those of version 6
std::string Datagrams(NetworkNamespace& space, int domain, InetTable table) {
  const bool v4 = domain == AF_INET, udp = table == InetTable::kUdp;
  std::string text = v4 ? absl::StrFormat("%-127s\n", std::string(udp ? " " : "") + kDatagramHeader)
                        : std::string(k6Header) + " ref pointer drops\n";
  int number = 0;
  for (const InetRow& row : ListInet(space, table)) {
    if (row.domain != domain) continue;
    const std::string line =
        absl::StrFormat("%5d: %s %d %s %u", number++, Common(row), 2, kPointer, row.drops);
    text += (v4 ? absl::StrFormat("%-127s", line) : line) + "\n";
  }
  return text;
}

size_t Count(NetworkNamespace& space, InetTable table, int domain) {
  size_t count = 0;
  for (const InetRow& row : ListInet(space, table)) count += row.domain == domain ? 1 : 0;
  return count;
}

}  // namespace

std::string TcpText(NetworkNamespace& space) { return Tcp(space, AF_INET); }
std::string Tcp6Text(NetworkNamespace& space) { return Tcp(space, AF_INET6); }
std::string UdpText(NetworkNamespace& space) { return Datagrams(space, AF_INET, InetTable::kUdp); }
std::string Udp6Text(NetworkNamespace& space) {
  return Datagrams(space, AF_INET6, InetTable::kUdp);
}
std::string RawText(NetworkNamespace& space) { return Datagrams(space, AF_INET, InetTable::kRaw); }
std::string Raw6Text(NetworkNamespace& space) {
  return Datagrams(space, AF_INET6, InetTable::kRaw);
}
std::string IcmpText(NetworkNamespace& space) {
  return Datagrams(space, AF_INET, InetTable::kIcmp);
}
std::string Icmp6Text(NetworkNamespace& space) {
  return Datagrams(space, AF_INET6, InetTable::kIcmp);
}
// There is no UDP-Lite: the headers alone.
std::string UdpLiteText(NetworkNamespace& space) {
  return absl::StrFormat("%-127s\n", std::string(" ") + kDatagramHeader);
}
std::string UdpLite6Text(NetworkNamespace& space) {
  return std::string(k6Header) + " ref pointer drops\n";
}

// net/ipv4/proc.c: sockets of all families, and those of the internet.
std::string SockstatText(NetworkNamespace& space) {
  const size_t tcp = Count(space, InetTable::kTcp, AF_INET);
  const size_t udp = Count(space, InetTable::kUdp, AF_INET);
  const size_t raw = Count(space, InetTable::kRaw, AF_INET);
  const size_t all =
      UnixSockets::Get().List(space.ino()).size() + space.netlink_sockets().List().size() + tcp + udp + raw;
  return absl::StrFormat(
      "sockets: used %u\nTCP: inuse %u orphan 0 tw 0 alloc %u mem 0\nUDP: inuse %u mem 0\n"
      "UDPLITE: inuse 0\nRAW: inuse %u\nFRAG: inuse 0 memory 0\n",
      all, tcp, tcp, udp, raw);
}

std::string Sockstat6Text(NetworkNamespace& space) {
  return absl::StrFormat(
      "TCP6: inuse %u\nUDP6: inuse %u\nUDPLITE6: inuse 0\nRAW6: inuse %u\nFRAG6: inuse 0 memory "
      "0\n",
      Count(space, InetTable::kTcp, AF_INET6), Count(space, InetTable::kUdp, AF_INET6),
      Count(space, InetTable::kRaw, AF_INET6));
}

// net/unix/af_unix.c: an abstract name shows with '@' for each NUL.
std::string UnixText(NetworkNamespace& space) {
  constexpr unsigned kAccepts = 0x10000;                // SO_ACCEPTCON
  constexpr unsigned kUnconnected = 1, kConnected = 3;  // SS_*
  std::string text = "Num               RefCount Protocol Flags    Type St Inode Path\n";
  for (const Ref<UnixEnd>& end : UnixSockets::Get().List(space.ino())) {
    const uint64_t inode = end->inode_number.load();
    absl::MutexLock lock(&end->mu);
    std::string name = end->name;
    for (char& c : name) c = c == '\0' ? '@' : c;
    absl::StrAppendFormat(&text, "%s: %08X %08X %08X %04X %02X %5u%s%s\n", kPointer, 2, 0,
                          end->state == UnixEnd::State::kListening ? kAccepts : 0, end->type,
                          end->state == UnixEnd::State::kConnected ? kConnected : kUnconnected,
                          inode, name.empty() ? "" : " ", name);
  }
  return text;
}

// net/netlink/af_netlink.c. The kernel's own ends come first, as there.
std::string NetlinkText(NetworkNamespace& space) {
  std::string text =
      "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n";
  constexpr char kLine[] = "%s %-3d %-10u %08x %-8d %-8d %-5d %-8d %-8u %-8u\n";
  for (const int protocol : {NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_KOBJECT_UEVENT}) {
    absl::StrAppendFormat(&text, kLine, kPointer, protocol, 0u, 0u, 0, 0, 0, 2, 0u, uint64_t{0});
  }
  for (const Ref<NetlinkSocket>& socket : space.netlink_sockets().List()) {
    const NetlinkSocket::Summary row = socket->Summarize();
    absl::StrAppendFormat(&text, kLine, kPointer, row.protocol, row.port, row.groups,
                          static_cast<int>(row.queued), 0, 0, 2, 0u, row.inode);
  }
  return text;
}

}  // namespace sentry::proc
