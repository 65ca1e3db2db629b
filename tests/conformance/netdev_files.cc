// proc_pid_net(5), sysfs(5), proc_sys_net(5): the files about networks that programs read.
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <map>
#include <sstream>

#include "tests/conformance/support.h"

namespace {

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> Words(const std::string& line) {
  std::vector<std::string> words;
  std::istringstream stream(line);
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// The first line whose first word is `word`.
std::vector<std::string> Row(const std::string& file, const std::string& word) {
  for (const std::string& line : Lines(ReadFile(file))) {
    const auto words = Words(line);
    if (!words.empty() && words[0] == word) return words;
  }
  return {};
}

std::string Link(const char* path) {
  char target[256] = {};
  EXPECT_THAT(readlink(path, target, sizeof(target) - 1), Succeeds()) << path;
  return target;
}

std::string Sys(const char* name) { return ReadFile(std::string("/sys/class/net/lo/") + name); }
std::string Sysctl(const char* name) { return ReadFile(std::string("/proc/sys/net/") + name); }

TEST(ProcNet, IsOnesOwn) {
  EXPECT_EQ(Link("/proc/net"), "self/net");
  struct stat st {};
  EXPECT_THAT(stat("/proc/net", &st), Returns(0));
  EXPECT_TRUE(S_ISDIR(st.st_mode));
}

TEST(ProcNet, Dev) {
  const auto lines = Lines(ReadFile("/proc/net/dev"));
  ASSERT_GE(lines.size(), 3u);
  EXPECT_EQ(lines[0],
            "Inter-|   Receive                                                |  Transmit");
  const auto lo = Row("/proc/net/dev", "lo:");
  ASSERT_EQ(lo.size(), 17u);
  EXPECT_EQ(lo[1], lo[9]);   // Bytes,
  EXPECT_EQ(lo[2], lo[10]);  // and packets: what is sent is received.
}

TEST(ProcNet, IfInet6) {
  bool found = false;
  for (const std::string& line : Lines(ReadFile("/proc/net/if_inet6"))) {
    found |= line == "00000000000000000000000000000001 01 80 10 80       lo";
  }
  EXPECT_TRUE(found);
}

TEST(ProcNet, Route) {
  const auto lines = Lines(ReadFile("/proc/net/route"));
  ASSERT_GE(lines.size(), 1u);
  EXPECT_EQ(lines[0].size(), 127u);
  EXPECT_EQ(Words(lines[0]),
            (std::vector<std::string>{"Iface", "Destination", "Gateway", "Flags", "RefCnt", "Use",
                                      "Metric", "Mask", "MTU", "Window", "IRTT"}));
}

TEST(ProcNet, Ipv6Route) {
  bool found = false;
  for (const std::string& line : Lines(ReadFile("/proc/net/ipv6_route"))) {
    const auto words = Words(line);
    ASSERT_EQ(words.size(), 10u);
    found |= words[0] == "00000000000000000000000000000001" && words[1] == "80" && words[9] == "lo";
  }
  EXPECT_TRUE(found);
}

TEST(ProcNet, Arp) {
  EXPECT_EQ(Lines(ReadFile("/proc/net/arp"))[0],
            "IP address       HW type     Flags       HW address            Mask     Device");
}

TEST(ProcNet, FibTrie) {
  const std::string text = ReadFile("/proc/net/fib_trie");
  EXPECT_NE(text.find("|-- 127.0.0.1\n"), text.npos);
  EXPECT_NE(text.find("/32 host LOCAL\n"), text.npos);
}

// Tables of names and of numbers, in pairs of lines.
void ExpectPairs(const char* file, const std::string& prefix, const std::string& name) {
  const auto lines = Lines(ReadFile(file));
  for (size_t i = 0; i + 1 < lines.size(); i += 2) {
    const auto names = Words(lines[i]), numbers = Words(lines[i + 1]);
    ASSERT_EQ(names.size(), numbers.size()) << lines[i];
    ASSERT_EQ(names[0], numbers[0]);
    if (names[0] != prefix) continue;
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end());
    return;
  }
  ADD_FAILURE() << prefix << " is missing";
}

TEST(ProcNet, Snmp) {
  ExpectPairs("/proc/net/snmp", "Ip:", "DefaultTTL");
  ExpectPairs("/proc/net/snmp", "Icmp:", "InMsgs");
  ExpectPairs("/proc/net/snmp", "Tcp:", "RetransSegs");
  ExpectPairs("/proc/net/snmp", "Udp:", "InDatagrams");
}

TEST(ProcNet, Netstat) {
  ExpectPairs("/proc/net/netstat", "TcpExt:", "ListenOverflows");
  ExpectPairs("/proc/net/netstat", "IpExt:", "InOctets");
}

TEST(ProcNet, Snmp6) {
  EXPECT_EQ(Row("/proc/net/snmp6", "Ip6InReceives").size(), 2u);
  EXPECT_EQ(Row("/proc/net/snmp6", "Udp6InDatagrams").size(), 2u);
}

TEST(ProcNet, Sockstat) {
  EXPECT_EQ(Row("/proc/net/sockstat", "sockets:").size(), 3u);
  const auto tcp = Row("/proc/net/sockstat", "TCP:");
  ASSERT_EQ(tcp.size(), 11u);
  EXPECT_EQ(tcp[1], "inuse");
  EXPECT_EQ(Row("/proc/net/sockstat", "UDP:").size(), 5u);
  EXPECT_EQ(Row("/proc/net/sockstat6", "TCP6:").size(), 3u);
}

TEST(ProcNet, Protocols) {
  EXPECT_EQ(Row("/proc/net/protocols", "TCP").size(), 26u);
  EXPECT_EQ(Row("/proc/net/protocols", "UNIX").size(), 26u);
}

// The local port in a table of sockets, in its hexadecimal form.
bool HasLocalAddress(const char* file, const std::string& address) {
  for (const std::string& line : Lines(ReadFile(file))) {
    const auto words = Words(line);
    if (words.size() > 2 && words[1] == address) return true;
  }
  return false;
}

TEST(ProcNet, Headers) {
  const std::map<std::string, std::string> first = {
      {"tcp", "sl"}, {"tcp6", "sl"}, {"udp", "sl"},   {"udp6", "sl"},
      {"raw", "sl"}, {"raw6", "sl"}, {"unix", "Num"}, {"netlink", "sk"}};
  for (const auto& [file, word] : first) {
    const auto lines = Lines(ReadFile("/proc/net/" + file));
    ASSERT_GE(lines.size(), 1u) << file;
    EXPECT_EQ(Words(lines[0])[0], word) << file;
  }
}

UniqueFd Listener(uint16_t& port) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(name);
  EXPECT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), size), Returns(0));
  EXPECT_THAT(listen(fd.get(), 5), Returns(0));
  EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  port = ntohs(name.sin_port);
  return fd;
}

TEST(ProcNet, TcpShowsAListener) {
  uint16_t port = 0;
  UniqueFd fd = Listener(port);
  char local[32];
  snprintf(local, sizeof(local), "0100007F:%04X", port);
  struct stat st {};
  ASSERT_THAT(fstat(fd.get(), &st), Returns(0));
  bool found = false;
  for (const std::string& line : Lines(ReadFile("/proc/net/tcp"))) {
    const auto words = Words(line);
    if (words.size() < 10 || words[1] != local) continue;
    found = true;
    EXPECT_EQ(words[2], "00000000:0000");
    EXPECT_EQ(words[3], "0A");  // TCP_LISTEN
    EXPECT_EQ(words[9], std::to_string(st.st_ino));
  }
  EXPECT_TRUE(found);
  fd.reset();
  EXPECT_FALSE(HasLocalAddress("/proc/net/tcp", local));
}

TEST(ProcNet, UdpShowsABoundSocket) {
  UniqueFd fd(socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  socklen_t size = sizeof(name);
  ASSERT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), size), Returns(0));
  ASSERT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  char local[32];
  snprintf(local, sizeof(local), "00000000:%04X", ntohs(name.sin_port));
  EXPECT_TRUE(HasLocalAddress("/proc/net/udp", local));
  fd.reset();
  EXPECT_FALSE(HasLocalAddress("/proc/net/udp", local));
}

TEST(ProcNet, Tcp6ShowsAListener) {
  UniqueFd fd(socket(AF_INET6, SOCK_STREAM, 0));
  sockaddr_in6 name{};
  name.sin6_family = AF_INET6;
  socklen_t size = sizeof(name);
  ASSERT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), size), Returns(0));
  ASSERT_THAT(listen(fd.get(), 1), Returns(0));
  ASSERT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  char local[64];
  snprintf(local, sizeof(local), "00000000000000000000000000000000:%04X", ntohs(name.sin6_port));
  EXPECT_TRUE(HasLocalAddress("/proc/net/tcp6", local));
}

TEST(ProcNet, UnixShowsANamedSocket) {
  TempDir dir;
  const std::string path = dir / "named";
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
  struct sockaddr_storage name {};
  name.ss_family = AF_UNIX;
  memcpy(reinterpret_cast<char*>(&name) + 2, path.c_str(), path.size() + 1);
  ASSERT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name),
                   static_cast<socklen_t>(2 + path.size() + 1)),
              Returns(0));
  bool found = false;
  for (const std::string& line : Lines(ReadFile("/proc/net/unix"))) {
    const auto words = Words(line);
    found |= words.size() == 8 && words[7] == path && words[4] == "0001";
  }
  EXPECT_TRUE(found);
}

TEST(ProcNet, NetlinkShowsABoundSocket) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  sockaddr_nl name{};
  name.nl_family = AF_NETLINK;
  name.nl_pid = 0x7654399;
  ASSERT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)), Returns(0));
  bool found = false;
  for (const std::string& line : Lines(ReadFile("/proc/net/netlink"))) {
    const auto words = Words(line);
    found |= words.size() == 10 && words[1] == "0" && words[2] == std::to_string(0x7654399);
  }
  EXPECT_TRUE(found);
}

TEST(SysClassNet, Lo) {
  EXPECT_EQ(Sys("address"), "00:00:00:00:00:00\n");
  EXPECT_EQ(Sys("broadcast"), "00:00:00:00:00:00\n");
  EXPECT_EQ(Sys("addr_len"), "6\n");
  EXPECT_EQ(Sys("mtu"), "65536\n");
  EXPECT_EQ(Sys("operstate"), "unknown\n");
  EXPECT_EQ(Sys("flags"), "0x9\n");
  EXPECT_EQ(Sys("ifindex"), "1\n");
  EXPECT_EQ(Sys("iflink"), "1\n");
  EXPECT_EQ(Sys("type"), "772\n");
  EXPECT_EQ(Sys("carrier"), "1\n");
  EXPECT_EQ(Sys("tx_queue_len"), "1000\n");
}

TEST(SysClassNet, MoreOfLo) {
  EXPECT_EQ(Sys("dev_id"), "0x0\n");
  EXPECT_EQ(Sys("dormant"), "0\n");
  EXPECT_EQ(Sys("link_mode"), "0\n");
  EXPECT_EQ(Sys("netdev_group"), "0\n");
  EXPECT_EQ(Sys("uevent"), "INTERFACE=lo\nIFINDEX=1\n");
}

TEST(SysClassNet, Statistics) {
  for (const char* name : {"rx_bytes", "tx_bytes", "rx_packets", "tx_packets", "rx_errors",
                           "tx_errors", "rx_dropped", "tx_dropped", "collisions", "multicast"}) {
    const std::string text = Sys((std::string("statistics/") + name).c_str());
    ASSERT_FALSE(text.empty()) << name;
    EXPECT_EQ(text.find_first_not_of("0123456789"), text.size() - 1) << name;
  }
}

TEST(SysClassNet, IsALink) {
  EXPECT_EQ(Link("/sys/class/net/lo"), "../../devices/virtual/net/lo");
  EXPECT_EQ(Link("/sys/devices/virtual/net/lo/subsystem"), "../../../../class/net");
}

TEST(SysClassNet, NothingElseIsThere) {
  EXPECT_THAT(access("/sys/class/net/nope0", F_OK), FailsWith(ENOENT));
  EXPECT_THAT(open("/sys/class/net/lo/nope", O_RDONLY), FailsWith(ENOENT));
}

TEST(SysctlNet, Core) {
  EXPECT_EQ(Sysctl("core/somaxconn"), "4096\n");
  for (const char* name : {"core/rmem_max", "core/wmem_max", "core/rmem_default",
                           "core/wmem_default", "core/netdev_max_backlog", "core/optmem_max"}) {
    EXPECT_GT(atoi(Sysctl(name).c_str()), 0) << name;
  }
}

TEST(SysctlNet, Ports) {
  const auto range = Words(Sysctl("ipv4/ip_local_port_range"));
  ASSERT_EQ(range.size(), 2u);
  EXPECT_LT(stoi(range[0]), stoi(range[1]));
  EXPECT_EQ(Sysctl("ipv4/ip_unprivileged_port_start"), "1024\n");
  EXPECT_EQ(Sysctl("ipv4/ip_local_reserved_ports"), "\n");
}

TEST(SysctlNet, Tcp) {
  EXPECT_EQ(Sysctl("ipv4/tcp_keepalive_time"), "7200\n");
  EXPECT_EQ(Sysctl("ipv4/tcp_keepalive_intvl"), "75\n");
  EXPECT_EQ(Sysctl("ipv4/tcp_keepalive_probes"), "9\n");
  EXPECT_EQ(Sysctl("ipv4/tcp_fin_timeout"), "60\n");
  EXPECT_EQ(Sysctl("ipv4/tcp_sack"), "1\n");
  EXPECT_EQ(Sysctl("ipv4/tcp_timestamps"), "1\n");
  EXPECT_EQ(Sysctl("ipv4/tcp_window_scaling"), "1\n");
  EXPECT_EQ(Words(Sysctl("ipv4/tcp_rmem")).size(), 3u);
  EXPECT_EQ(Words(Sysctl("ipv4/tcp_wmem")).size(), 3u);
  EXPECT_EQ(Words(Sysctl("ipv4/tcp_mem")).size(), 3u);
}

TEST(SysctlNet, Ip) {
  EXPECT_EQ(Sysctl("ipv4/ip_default_ttl"), "64\n");
  EXPECT_EQ(Sysctl("ipv4/conf/lo/forwarding").size(), 2u);
  EXPECT_EQ(Sysctl("ipv4/conf/all/rp_filter").size(), 2u);
}

TEST(SysctlNet, Ipv6) {
  EXPECT_EQ(Sysctl("ipv6/bindv6only"), "0\n");
  EXPECT_EQ(Sysctl("ipv6/conf/lo/disable_ipv6"), "0\n");
  EXPECT_EQ(Sysctl("ipv6/conf/all/disable_ipv6"), "0\n");
  EXPECT_EQ(Sysctl("ipv6/conf/lo/mtu"), "65536\n");
}

bool WriteSysctl(const std::string& name, const std::string& text) {
  UniqueFd fd(open(("/proc/sys/net/" + name).c_str(), O_WRONLY));
  return write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

// In a network namespace of its own (a child's: 0), or else with what was there before put back,
// however the body ends.
template <typename Body>
int WithSysctls(std::initializer_list<const char*> names, Body body) {
  if (getuid() != 0) return 0;
  const bool own = unshare(CLONE_NEWNET) == 0;
  std::map<std::string, std::string> former;
  for (const char* name : names) former[name] = Sysctl(name);
  const int status = InChild(body);
  if (!own) {
    for (const auto& [name, text] : former) CHILD_CHECK(WriteSysctl(name, text));
  }
  CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  return 0;
}

TEST(SysctlNet, WhatIsWrittenIsHeeded) {
  const auto body = [] {
    CHILD_CHECK(WriteSysctl("ipv4/ip_local_port_range", "40000 40003"));
    CHILD_CHECK(WriteSysctl("ipv4/ip_unprivileged_port_start", "90"));
    CHILD_CHECK(!WriteSysctl("ipv4/ip_local_port_range", "50000 40000") && errno == EINVAL);
    CHILD_CHECK(Sysctl("ipv4/ip_local_port_range") == "40000\t40003\n");
    sockaddr_in name{};
    name.sin_family = AF_INET;
    socklen_t size = sizeof(name);
    UniqueFd any(socket(AF_INET, SOCK_STREAM, 0)), low(socket(AF_INET, SOCK_STREAM, 0));
    CHILD_CHECK(bind(any.get(), reinterpret_cast<sockaddr*>(&name), size) == 0);
    CHILD_CHECK(getsockname(any.get(), reinterpret_cast<sockaddr*>(&name), &size) == 0);
    CHILD_CHECK(ntohs(name.sin_port) >= 40000 && ntohs(name.sin_port) <= 40003);
    CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
    name.sin_port = htons(90);
    CHILD_CHECK(bind(low.get(), reinterpret_cast<sockaddr*>(&name), size) == 0);
    UniqueFd lower(socket(AF_INET, SOCK_STREAM, 0));
    name.sin_port = htons(89);
    CHILD_CHECK(bind(lower.get(), reinterpret_cast<sockaddr*>(&name), size) == -1 &&
                errno == EACCES);
    return 0;
  };
  EXPECT_THAT(
      InChild([&] {
        return WithSysctls({"ipv4/ip_local_port_range", "ipv4/ip_unprivileged_port_start"}, body);
      }),
      Exited(0));
}

TEST(SysctlNet, OthersAreKept) {
  const auto body = [] {
    CHILD_CHECK(WriteSysctl("core/somaxconn", "1000\n"));
    CHILD_CHECK(Sysctl("core/somaxconn") == "1000\n");
    CHILD_CHECK(!WriteSysctl("core/somaxconn", "many") && errno == EINVAL);
    return 0;
  };
  EXPECT_THAT(InChild([&] { return WithSysctls({"core/somaxconn"}, body); }), Exited(0));
}

TEST(SysctlNet, OrdinaryUsersChangeNothing) {
  EXPECT_THAT(
      InChild([] {
        CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
        CHILD_CHECK(open("/proc/sys/net/core/somaxconn", O_WRONLY) == -1 && errno == EACCES);
        return 0;
      }),
      Exited(0));
}

}  // namespace
