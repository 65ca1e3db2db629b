// The texts of /proc/PID/net: proc_pid_net(5).
#ifndef SENTRY_FS_PROC_TASK_NET_H_
#define SENTRY_FS_PROC_TASK_NET_H_

#include <string>

#include "sentry/fs/proc/proc_internal.h"
#include "sentry/net/namespace.h"

namespace sentry::proc {

// task_net_counters.cc: statistics. There is no packet to count: every number is 0 but those that
// are settings.
std::string SnmpText(NetworkNamespace& space);
std::string Snmp6Text(NetworkNamespace& space);
std::string NetstatText(NetworkNamespace& space);
std::string ProtocolsText(NetworkNamespace& space);

// task_net_sockets.cc: tables of sockets.
std::string UnixText(NetworkNamespace& space);
std::string NetlinkText(NetworkNamespace& space);
std::string SockstatText(NetworkNamespace& space);
std::string Sockstat6Text(NetworkNamespace& space);
std::string TcpText(NetworkNamespace& space);
std::string Tcp6Text(NetworkNamespace& space);
std::string UdpText(NetworkNamespace& space);
std::string Udp6Text(NetworkNamespace& space);
std::string RawText(NetworkNamespace& space);
std::string Raw6Text(NetworkNamespace& space);
std::string IcmpText(NetworkNamespace& space);
std::string Icmp6Text(NetworkNamespace& space);
std::string UdpLiteText(NetworkNamespace& space);
std::string UdpLite6Text(NetworkNamespace& space);

}  // namespace sentry::proc

#endif  // SENTRY_FS_PROC_TASK_NET_H_
