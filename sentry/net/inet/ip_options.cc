#include "sentry/net/inet/ip_options.h"

#include <linux/capability.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <sys/socket.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "sentry/net/socket.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// Numbers that older headers lack.
constexpr int kIpRecverrRfc4884 = 26, kIpv6RecverrRfc4884 = 31, kIpLocalPortRange = 51;
constexpr IntOption::How kRange = IntOption::kRange, kSwitch = IntOption::kSwitch;
constexpr int kIp = IPPROTO_IP, kIp6 = IPPROTO_IPV6;

using O = IpOptions;
constexpr IntOption kOptions[] = {
    {kIp, IP_TOS, O::kTos, kRange, INT_MIN, INT_MAX, 0},
    {kIp, IP_TTL, O::kTtl, kRange, -1, 255, -1},
    {kIp, IP_HDRINCL, O::kHeaderIncluded, kSwitch, 0, 0, 0},
    {kIp, IP_RECVOPTS, O::kReceiveOptions, kSwitch, 0, 0, 0},
    {kIp, IP_RETOPTS, O::kReturnOptions, kSwitch, 0, 0, 0},
    {kIp, IP_PKTINFO, O::kPacketInfo, kSwitch, 0, 0, 0},
    {kIp, IP_MTU_DISCOVER, O::kMtuDiscover, kRange, 0, 5, 1},
    {kIp, IP_RECVERR, O::kReceiveErrors, kSwitch, 0, 0, 0},
    {kIp, IP_RECVTTL, O::kReceiveTtl, kSwitch, 0, 0, 0},
    {kIp, IP_RECVTOS, O::kReceiveTos, kSwitch, 0, 0, 0},
    {kIp, IP_FREEBIND, O::kFreeBind, kSwitch, 0, 0, 0},
    {kIp, IP_PASSSEC, O::kPassSecurity, kSwitch, 0, 0, 0},
    {kIp, IP_TRANSPARENT, O::kTransparent, kSwitch, 0, 0, 0},
    {kIp, IP_RECVORIGDSTADDR, O::kOriginalDestination, kSwitch, 0, 0, 0},
    {kIp, IP_MINTTL, O::kMinTtl, kRange, 0, 255, 0},
    {kIp, IP_NODEFRAG, O::kNoFragments, kSwitch, 0, 0, 0},
    {kIp, IP_CHECKSUM, O::kChecksum, kSwitch, 0, 0, 0},
    {kIp, kIpLocalPortRange, O::kLocalPortRange, kRange, INT_MIN, INT_MAX, 0},
    {kIp, IP_BIND_ADDRESS_NO_PORT, O::kBindNoPort, kSwitch, 0, 0, 0},
    {kIp, IP_RECVFRAGSIZE, O::kReceiveFragmentSize, kRange, 0, 1, 0},
    {kIp, kIpRecverrRfc4884, O::kErrorsRfc4884, kRange, 0, 1, 0},
    {kIp, IP_MULTICAST_TTL, O::kMulticastTtl, kRange, -1, 255, 1},
    {kIp, IP_MULTICAST_LOOP, O::kMulticastLoop, kSwitch, 0, 0, 1},
    {kIp, IP_MULTICAST_ALL, O::kMulticastAll, kRange, 0, 1, 1},
    {kIp6, IPV6_UNICAST_HOPS, O::kUnicastHops6, kRange, -1, 255, -1},
    {kIp6, IPV6_MULTICAST_HOPS, O::kMulticastHops6, kRange, -1, 255, 1},
    {kIp6, IPV6_MULTICAST_LOOP, O::kMulticastLoop6, kRange, 0, 1, 1},
    {kIp6, IPV6_MTU_DISCOVER, O::kMtuDiscover6, kRange, 0, 5, 1},
    {kIp6, IPV6_RECVERR, O::kReceiveErrors6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_V6ONLY, O::kV6Only, kSwitch, 0, 0, 0},
    {kIp6, IPV6_MULTICAST_ALL, O::kMulticastAll6, kSwitch, 0, 0, 1},
    {kIp6, IPV6_FLOWINFO, O::kFlowInfo6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_FLOWINFO_SEND, O::kFlowInfoSend6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_RECVPKTINFO, O::kReceivePacketInfo6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_2292PKTINFO, O::kOldPacketInfo6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_RECVHOPLIMIT, O::kReceiveHopLimit6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_2292HOPLIMIT, O::kOldHopLimit6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_2292HOPOPTS, O::kOldHopOptions6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_2292DSTOPTS, O::kOldDestinationOptions6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_2292RTHDR, O::kOldRouting6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_RECVHOPOPTS, O::kReceiveHopOptions6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_RECVRTHDR, O::kReceiveRouting6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_RECVDSTOPTS, O::kReceiveDestinationOptions6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_RECVPATHMTU, O::kReceivePathMtu6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_DONTFRAG, O::kDontFragment6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_RECVTCLASS, O::kReceiveClass6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_TCLASS, O::kClass6, kRange, -1, 255, 0},
    {kIp6, IPV6_AUTOFLOWLABEL, O::kAutoFlowLabel6, kSwitch, 0, 0, 1},
    {kIp6, IPV6_ADDR_PREFERENCES, O::kPreferences6, kRange, 0, 0xffff, 0},
    {kIp6, IPV6_MINHOPCOUNT, O::kMinHops6, kRange, 0, 255, 0},
    {kIp6, IPV6_RECVORIGDSTADDR, O::kOriginalDestination6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_TRANSPARENT, O::kTransparent6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_RECVFRAGSIZE, O::kReceiveFragmentSize6, kSwitch, 0, 0, 0},
    {kIp6, IPV6_FREEBIND, O::kFreeBind6, kSwitch, 0, 0, 0},
    {kIp6, kIpv6RecverrRfc4884, O::kErrorsRfc48846, kRange, 0, 1, 0},
};

const IntOption* Find(int level, int name) {
  const auto* it = std::find_if(std::begin(kOptions), std::end(kOptions), [&](const IntOption& o) {
    return o.level == level && o.name == name;
  });
  return it == std::end(kOptions) ? nullptr : it;
}

// Of setting options of raw sockets only, and those that a stream has no use for.
Status CheckKind(const SocketKind& what, int level, int name) {
  if (level == kIp) {
    const bool raw_only = name == IP_HDRINCL || name == IP_NODEFRAG;
    if (raw_only && what.type != SOCK_RAW) return Errno(ENOPROTOOPT);
    const bool messages = name == IP_MULTICAST_TTL || name == IP_RECVFRAGSIZE;
    if (messages && what.type == SOCK_STREAM) return Errno(EINVAL);
  } else {
    const bool messages = name == IPV6_MULTICAST_HOPS;
    if (messages && what.type == SOCK_STREAM) return Errno(ENOPROTOOPT);
  }
  return kOk;
}

constexpr int kDefaultTtl = 64;  // net.ipv4.ip_default_ttl, net.ipv6.conf.*.hop_limit.

}  // namespace

Result<int> ReadShortIntOption(std::span<const std::byte> value) {
  int number = 0;
  if (value.size() >= sizeof(number)) {
    memcpy(&number, value.data(), sizeof(number));
  } else if (!value.empty()) {
    number = static_cast<int>(value[0]);
  } else {
    return Errno(EINVAL);
  }
  return number;
}

std::string ShortIntBytes(int value, size_t room) {
  std::string bytes = OptionBytes(value);
  if (room > 0 && room < sizeof(value) && value >= 0 && value <= 255) bytes.resize(1);
  return bytes;
}

Result<int> CheckIntOption(const IntOption& option, int value) {
  if (option.how == IntOption::kSwitch) return value != 0 ? 1 : 0;
  if (value < option.low || value > option.high) return Errno(EINVAL);
  return value;
}

IpOptions::IpOptions() {
  for (std::atomic<int>& value : values_) value.store(0, std::memory_order_relaxed);
  for (const IntOption& option : kOptions) set(static_cast<Field>(option.field), option.initial);
}

void IpOptions::InheritFrom(const IpOptions& other) {
  for (size_t i = 0; i < kCount; i++) values_[i].store(other.values_[i].load());
}

Result<std::string> IpOptions::Get(const SocketKind& what, int level, int name, size_t room) const {
  if (level == kIp6 && what.domain != AF_INET6) return Errno(ENOPROTOOPT);
  const IntOption* option = Find(level, name);
  if (option == nullptr) return Errno(ENOPROTOOPT);
  int value = get(static_cast<Field>(option->field));
  if (value == -1 && option->field != kLocalPortRange) {
    const bool class_or_group = name == IPV6_TCLASS || option->field == kMulticastHops6;
    value = option->field == kClass6 ? 0 : class_or_group ? 1 : kDefaultTtl;
  }
  return level == kIp ? ShortIntBytes(value, room) : OptionBytes(value);
}

Status IpOptions::Set(Task& task, const SocketKind& what, int level, int name,
                      std::span<const std::byte> bytes) {
  if (level == kIp6 && what.domain != AF_INET6) return Errno(ENOPROTOOPT);
  const IntOption* option = Find(level, name);
  if (option == nullptr) return Errno(ENOPROTOOPT);
  TRY(CheckKind(what, level, name));
  int value = TRY(level == kIp ? ReadShortIntOption(bytes) : ReadIntOption(bytes));
  if (option->field == kTransparent || option->field == kTransparent6) {
    const Credentials& creds = task.creds();
    if (value != 0 && !creds.HasCapability(CAP_NET_RAW) && !creds.HasCapability(CAP_NET_ADMIN)) {
      return Errno(EPERM);
    }
  }
  value = TRY(CheckIntOption(*option, value));
  if (option->field == kTtl && value == 0) return Errno(EINVAL);
  if (option->field == kLocalPortRange) {
    const uint32_t first = static_cast<uint32_t>(value) & 0xffff;
    const uint32_t last = static_cast<uint32_t>(value) >> 16;
    if (bytes.size() != sizeof(value) || (last != 0 && first > last)) return Errno(EINVAL);
  }
  if (option->field == kMulticastTtl && value == -1) value = 1;
  // The congestion bits of a stream are its own.
  if (option->field == kTos) {
    value = static_cast<uint8_t>(what.type == SOCK_STREAM ? value & ~3 : value);
  }
  set(static_cast<Field>(option->field), value);
  return kOk;
}

}  // namespace sentry
