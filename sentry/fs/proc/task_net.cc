// /proc/PID/net: proc_pid_net(5), of the network namespace of the process.
#include "sentry/fs/proc/task_net.h"

#include "absl/strings/str_format.h"
#include "sentry/net/devices/devices.h"
#include "sentry/net/devices/texts.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

// A zombie is in the first one.
Result<Ref<const Namespaces>> NamespacesOf(const Subject& subject) {
  TRY(subject.Group());
  const Result<Ref<Task>> task = subject.AnyTask();
  if (task.ok()) return (*task)->namespaces_ref();
  return TRY(subject.Named())->namespaces_ref();
}

// A text about devices, and one about the namespace.
template <std::string (*text)(const DeviceTables&)>
Result<std::string> OfDevices(const Subject& subject) {
  return text(*TRY(NamespacesOf(subject))->network().devices().Tables());
}
template <std::string (*text)(NetworkNamespace&)>
Result<std::string> OfNamespace(const Subject& subject) {
  return text(TRY(NamespacesOf(subject))->network());
}

constexpr char kNothing[] = "";
constexpr char kPtype[] =
    "Type Device      Function\n0800          ip_rcv\n0806          arp_rcv\n86dd          "
    "ipv6_rcv\n";
constexpr char kPsched[] = "000003e8 00000040 000f4240 3b9aca00\n";
constexpr char kRouteCache[] =
    "Iface\tDestination\tGateway \tFlags\t\tRefCnt\tUse\tMetric\tSource\t\tMTU\tWindow\tIRTT\tTOS\t"
    "HHRef\tHHUptod\tSpecDst\n";
constexpr char kIgmp[] =
    "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"
    "1\tlo        :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";
constexpr char kIgmp6[] =
    "1    lo              ff020000000000000000000000000001     1 0000000C 0\n"
    "1    lo              ff010000000000000000000000000001     1 00000008 0\n";

constexpr TaskText kNet[] = {
    {"anycast6", 0444, &SameText<kNothing>},
    {"arp", 0444, &OfDevices<&ArpText>},
    {"dev", 0444, &OfDevices<&DevText>},
    {"dev_mcast", 0444, &SameText<kNothing>},
    {"fib_trie", 0444, &OfDevices<&FibTrieText>},
    {"icmp", 0444, &OfNamespace<&IcmpText>},
    {"icmp6", 0444, &OfNamespace<&Icmp6Text>},
    {"if_inet6", 0444, &OfDevices<&IfInet6Text>},
    {"igmp", 0444, &SameText<kIgmp>},
    {"igmp6", 0444, &SameText<kIgmp6>},
    {"ipv6_route", 0444, &OfDevices<&Ipv6RouteText>},
    {"netlink", 0444, &OfNamespace<&NetlinkText>},
    {"netstat", 0444, &OfNamespace<&NetstatText>},
    {"protocols", 0444, &OfNamespace<&ProtocolsText>},
    {"psched", 0444, &SameText<kPsched>},
    {"ptype", 0444, &SameText<kPtype>},
    {"raw", 0444, &OfNamespace<&RawText>},
    {"raw6", 0444, &OfNamespace<&Raw6Text>},
    {"route", 0444, &OfDevices<&RouteText>},
    {"rt_cache", 0444, &SameText<kRouteCache>},
    {"snmp", 0444, &OfNamespace<&SnmpText>},
    {"snmp6", 0444, &OfNamespace<&Snmp6Text>},
    {"sockstat", 0444, &OfNamespace<&SockstatText>},
    {"sockstat6", 0444, &OfNamespace<&Sockstat6Text>},
    {"tcp", 0444, &OfNamespace<&TcpText>},
    {"tcp6", 0444, &OfNamespace<&Tcp6Text>},
    {"udp", 0444, &OfNamespace<&UdpText>},
    {"udp6", 0444, &OfNamespace<&Udp6Text>},
    {"udplite", 0444, &OfNamespace<&UdpLiteText>},
    {"udplite6", 0444, &OfNamespace<&UdpLite6Text>},
    {"unix", 0444, &OfNamespace<&UnixText>},
};

}  // namespace

Ref<Inode> NewNetDirectory(const Subject& subject) {
  const auto directory = MakeRef<FixedDirectory>(subject.Node(S_IFDIR | 0555, kSlotNet));
  uint64_t slot = kSlotNet;
  for (const TaskText& row : kNet) {
    directory->Put(std::string(row.name), NewTaskText(subject, row, ++slot));
  }
  return directory;
}

}  // namespace sentry::proc
