// The files of proc_pid_net(5) that are about devices, addresses and routes, and sysfs(5)'s of a
// device.
#ifndef SENTRY_NET_DEVICES_TEXTS_H_
#define SENTRY_NET_DEVICES_TEXTS_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sentry/net/devices/tables.h"

namespace sentry {

std::string DevText(const DeviceTables& tables);
std::string IfInet6Text(const DeviceTables& tables);
std::string RouteText(const DeviceTables& tables);
std::string Ipv6RouteText(const DeviceTables& tables);
std::string ArpText(const DeviceTables& tables);
std::string FibTrieText(const DeviceTables& tables);

// The files of /sys/class/net/NAME, by their names.
struct LinkText {
  std::string_view name;
  std::string (*text)(const Link& link);
};
const std::vector<LinkText>& LinkTexts();
// Those of its directory `statistics`.
struct LinkCounter {
  std::string_view name;
  __u64 rtnl_link_stats64::*counter;
};
const std::vector<LinkCounter>& LinkCounters();

}  // namespace sentry

#endif  // SENTRY_NET_DEVICES_TEXTS_H_
