// Control messages, the error queue and groups of datagram sockets: ip(7), ipv6(7), cmsg(3).
// clang-format off
#include <time.h>
#include <linux/errqueue.h>  // Needs <time.h> and does not include it.
// clang-format on
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "sentry/net/inet/datagram_socket.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

constexpr int kOriginalDestination6 = 74;

template <typename T>
void Add(IncomingMessage& message, int level, int type, const T& value) {
  message.control.others.push_back({level, type, OptionBytes(value)});
}

// Which interface an ip_mreq or ip_mreqn means: ENODEV.
Result<int> DeviceOf(const ip_mreqn& request) {
  if (request.imr_ifindex != 0) {
    return request.imr_ifindex == kLoopbackDevice ? Result<int>(kLoopbackDevice) : Errno(ENODEV);
  }
  const auto address = IpAddress::V4(ntohl(request.imr_address.s_addr));
  return address.is_loopback() ? Result<int>(kLoopbackDevice) : Errno(ENODEV);
}

Result<ip_mreqn> ReadIpRequest(std::span<const std::byte> value) {
  ip_mreqn request{};
  if (value.size() < sizeof(ip_mreq)) return Errno(EINVAL);
  memcpy(&request, value.data(), std::min(value.size(), sizeof(request)));
  return request;
}

bool IsMembership(int level, int name) {
  if (level == IPPROTO_IP) return name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP;
  return level == IPPROTO_IPV6 && (name == IPV6_ADD_MEMBERSHIP || name == IPV6_DROP_MEMBERSHIP);
}

bool IsSource(int level, int name) {
  return level == IPPROTO_IP && name >= IP_UNBLOCK_SOURCE && name <= IP_DROP_SOURCE_MEMBERSHIP;
}

bool IsGroup(int level, int name) {
  return (level == IPPROTO_IP || level == IPPROTO_IPV6) && name >= MCAST_JOIN_GROUP &&
         name <= MCAST_LEAVE_SOURCE_GROUP;
}

bool IsMulticastDevice(int level, int name) {
  return (level == IPPROTO_IP && name == IP_MULTICAST_IF) ||
         (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF);
}

}  // namespace

void DatagramSocket::AddControl(const Queued& queued, IncomingMessage& message) const {
  const SocketOptions& socket = options();
  if (socket.has(SocketOptions::kTimestamp) && queued.stamp.tv_sec != 0) {
    if (socket.has(SocketOptions::kTimestampNs)) {
      Add(message, SOL_SOCKET, socket.StampType(SO_TIMESTAMPNS), queued.stamp);
    } else {
      const timeval stamp{.tv_sec = queued.stamp.tv_sec, .tv_usec = queued.stamp.tv_nsec / 1000};
      Add(message, SOL_SOCKET, socket.StampType(SO_TIMESTAMP), stamp);
    }
  }
  if (socket.tells_software_time() && queued.stamp.tv_sec != 0) {
    // struct scm_timestamping: in software, unused, of the hardware.
    Add(message, SOL_SOCKET, socket.StampType(SO_TIMESTAMPING),
        std::array<timespec, 3>{queued.stamp});
  }
  if (socket.has(SocketOptions::kReceiveOverflow) && queued.drops != 0) {
    Add(message, SOL_SOCKET, SO_RXQ_OVFL, queued.drops);
  }
  if (domain() == AF_INET6) AddIp6Control(queued.datagram, message);
  if (queued.datagram.to.address.is_v4()) AddIpControl(queued.datagram, message);
}

void DatagramSocket::AddIpControl(const Datagram& datagram, IncomingMessage& message) const {
  if (ip_.has(IpOptions::kPacketInfo)) {
    const bool local = stack_.IsLocal(datagram.to.address) && !datagram.to.address.is_broadcast();
    in_pktinfo info{};
    info.ipi_ifindex = kLoopbackDevice;
    info.ipi_addr.s_addr = htonl(datagram.to.address.v4());
    info.ipi_spec_dst.s_addr = local ? info.ipi_addr.s_addr : htonl(INADDR_LOOPBACK);
    Add(message, IPPROTO_IP, IP_PKTINFO, info);
  }
  if (ip_.has(IpOptions::kReceiveTtl)) Add(message, IPPROTO_IP, IP_TTL, int{datagram.ttl});
  if (ip_.has(IpOptions::kReceiveTos)) Add(message, IPPROTO_IP, IP_TOS, datagram.tos);
  if (ip_.has(IpOptions::kOriginalDestination)) {
    Add(message, IPPROTO_IP, IP_ORIGDSTADDR,
        ToSocketAddress(AF_INET, datagram.to).As<sockaddr_in>());
  }
}

void DatagramSocket::AddIp6Control(const Datagram& datagram, IncomingMessage& message) const {
  if (ip_.has(IpOptions::kReceivePacketInfo6) || ip_.has(IpOptions::kOldPacketInfo6)) {
    in6_pktinfo info{};
    info.ipi6_addr = datagram.to.address.v6();
    info.ipi6_ifindex = kLoopbackDevice;
    const bool old = !ip_.has(IpOptions::kReceivePacketInfo6);
    Add(message, IPPROTO_IPV6, old ? IPV6_2292PKTINFO : IPV6_PKTINFO, info);
  }
  if (datagram.to.address.is_v4()) return;
  if (ip_.has(IpOptions::kReceiveHopLimit6)) {
    Add(message, IPPROTO_IPV6, IPV6_HOPLIMIT, int{datagram.ttl});
  }
  if (ip_.has(IpOptions::kOldHopLimit6)) {
    Add(message, IPPROTO_IPV6, IPV6_2292HOPLIMIT, int{datagram.ttl});
  }
  if (ip_.has(IpOptions::kReceiveClass6)) {
    Add(message, IPPROTO_IPV6, IPV6_TCLASS, int{datagram.tos});
  }
  if (ip_.has(IpOptions::kOriginalDestination6)) {
    Add(message, IPPROTO_IPV6, kOriginalDestination6,
        ToSocketAddress(AF_INET6, datagram.to).As<sockaddr_in6>());
  }
}

// MSG_ERRQUEUE: the message that found nobody, whom it was for, and who said so.
Result<size_t> DatagramSocket::ReceiveError(IoDst& dst, IncomingMessage& message) {
  Refused refused;
  {
    absl::MutexLock lock(&queue_mu_);
    if (errors_.empty()) return Errno(EAGAIN);
    refused = std::move(errors_.front());
    errors_.pop_front();
  }
  (void)TakeError();
  size_t copied = 0;
  if (dst.remaining() > 0 && !refused.bytes.empty()) {
    const size_t count = std::min(dst.remaining(), refused.bytes.size());
    copied = TRY(dst.CopyOut(std::as_bytes(std::span(refused.bytes)).first(count)));
  }
  message.full_size = refused.bytes.size();
  message.answer_flags |= MSG_ERRQUEUE | (copied < refused.bytes.size() ? int{MSG_TRUNC} : 0);
  message.from = ToSocketAddress(domain(), refused.to);
  const bool v4 = refused.to.address.is_v4();
  sock_extended_err error{};
  error.ee_errno = ECONNREFUSED;
  error.ee_origin = v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
  error.ee_type = v4 ? 3 : 1;  // Destination unreachable,
  error.ee_code = v4 ? 3 : 4;  // its port (RFC 792, RFC 4443).
  const SocketAddress offender = ToSocketAddress(domain(), {refused.to.address, 0});
  std::string data = OptionBytes(error);
  data.append(reinterpret_cast<const char*>(offender.bytes.data()), offender.size);
  const bool six = domain() == AF_INET6 && !v4;
  message.control.others.push_back(
      {six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_RECVERR : IP_RECVERR, std::move(data)});
  return copied;
}

std::optional<bool> DatagramSocket::Hears(const IpAddress& group, const IpAddress& source) const {
  absl::MutexLock lock(&mu_);
  return groups_.Hears(group, source);
}

Status DatagramSocket::ChangeMembership(int level, int name, std::span<const std::byte> value) {
  IpAddress group;
  const bool add = name == (level == IPPROTO_IP ? IP_ADD_MEMBERSHIP : IPV6_ADD_MEMBERSHIP);
  if (level == IPPROTO_IP) {
    const ip_mreqn request = TRY(ReadIpRequest(value));
    group = IpAddress::V4(ntohl(request.imr_multiaddr.s_addr));
    if (!group.is_multicast()) return Errno(EINVAL);
    const Result<int> device = DeviceOf(request);
    if (!device.ok() && (add || request.imr_ifindex != 0)) return device.error();
  } else {
    ipv6_mreq request{};
    if (value.size() < sizeof(request)) return Errno(EINVAL);
    memcpy(&request, value.data(), sizeof(request));
    group = IpAddress::V6(request.ipv6mr_multiaddr);
    if (group.is_v4() || !group.is_multicast()) return Errno(EINVAL);
    if (request.ipv6mr_interface != kLoopbackDevice) {
      if (add || request.ipv6mr_interface != 0) return Errno(ENODEV);
    }
  }
  absl::MutexLock lock(&mu_);
  return add ? groups_.Join(group) : groups_.Leave(group);
}

// `change`: IP_ADD_SOURCE_MEMBERSHIP or MCAST_JOIN_SOURCE_GROUP, and so on.
Status DatagramSocket::ApplySource(int change, const IpAddress& group, const IpAddress& source) {
  using Mode = Memberships::Mode;
  using Change = Memberships::Change;
  const bool join = change == IP_ADD_SOURCE_MEMBERSHIP || change == MCAST_JOIN_SOURCE_GROUP;
  const bool only =
      join || change == IP_DROP_SOURCE_MEMBERSHIP || change == MCAST_LEAVE_SOURCE_GROUP;
  const bool add = join || change == IP_BLOCK_SOURCE || change == MCAST_BLOCK_SOURCE;
  absl::MutexLock lock(&mu_);
  if (join) {
    const Status joined = groups_.Join(group, Mode::kInclude);
    if (!joined.ok() && joined.error() != Errno(EADDRINUSE)) return joined;
  }
  return groups_.ChangeSource(group, source, only ? Mode::kInclude : Mode::kExclude,
                              add ? Change::kAdd : Change::kRemove);
}

// struct ip_mreq_source.
Status DatagramSocket::ChangeSource(int name, std::span<const std::byte> value) {
  ip_mreq_source request{};
  if (value.size() != sizeof(request)) return Errno(EINVAL);
  memcpy(&request, value.data(), sizeof(request));
  const auto group = IpAddress::V4(ntohl(request.imr_multiaddr.s_addr));
  if (!group.is_multicast()) return Errno(EINVAL);
  ip_mreqn device{};
  device.imr_address = request.imr_interface;
  TRY(DeviceOf(device));
  return ApplySource(name, group, IpAddress::V4(ntohl(request.imr_sourceaddr.s_addr)));
}

// RFC 3678: struct group_req and group_source_req, of either family.
Status DatagramSocket::ChangeGroup(int level, int name, std::span<const std::byte> value) {
  const bool sourced = name != MCAST_JOIN_GROUP && name != MCAST_LEAVE_GROUP;
  group_source_req request{};
  const size_t size = sourced ? sizeof(group_source_req) : sizeof(group_req);
  if (value.size() < size) return Errno(EINVAL);
  memcpy(&request, value.data(), size);
  sockaddr_in in{}, source{};
  sockaddr_in6 in6{};
  memcpy(&in, &request.gsr_group, sizeof(in));
  memcpy(&in6, &request.gsr_group, sizeof(in6));
  memcpy(&source, &request.gsr_source, sizeof(source));
  if (level == IPPROTO_IPV6 && sourced) return ChangeSource6(name, request);
  if (level == IPPROTO_IPV6) {
    if (in6.sin6_family != AF_INET6) return Errno(EADDRNOTAVAIL);
    const ipv6_mreq plain{in6.sin6_addr, request.gsr_interface};
    return ChangeMembership(level,
                            name == MCAST_JOIN_GROUP ? IPV6_ADD_MEMBERSHIP : IPV6_DROP_MEMBERSHIP,
                            std::as_bytes(std::span(&plain, 1)));
  }
  ip_mreqn plain{};
  plain.imr_multiaddr = in.sin_addr;
  plain.imr_ifindex = static_cast<int>(request.gsr_interface);
  if (!sourced) {
    if (in.sin_family != AF_INET) return Errno(EINVAL);
    return ChangeMembership(level,
                            name == MCAST_JOIN_GROUP ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP,
                            std::as_bytes(std::span(&plain, 1)));
  }
  if (in.sin_family != AF_INET || source.sin_family != AF_INET) return Errno(EADDRNOTAVAIL);
  const auto group = IpAddress::V4(ntohl(in.sin_addr.s_addr));
  if (!group.is_multicast()) return Errno(EINVAL);
  TRY(DeviceOf(plain));
  return ApplySource(name, group, IpAddress::V4(ntohl(source.sin_addr.s_addr)));
}

Status DatagramSocket::SetMulticastDevice(int level, std::span<const std::byte> value) {
  if (level == IPPROTO_IPV6) {
    const int index = TRY(ReadIntOption(value));
    if (index != 0 && index != kLoopbackDevice) return Errno(ENODEV);
    ip_.set(IpOptions::kMulticastDevice6, index);
    return kOk;
  }
  ip_mreqn request{};
  if (value.size() < sizeof(in_addr)) return Errno(EINVAL);
  if (value.size() < sizeof(ip_mreq)) {
    memcpy(&request.imr_address, value.data(), sizeof(in_addr));
  } else {
    memcpy(&request, value.data(), std::min(value.size(), sizeof(request)));
  }
  if (request.imr_ifindex == 0 && request.imr_address.s_addr == INADDR_ANY) {
    ip_.set(IpOptions::kMulticastDevice, 0);
    return kOk;
  }
  const Result<int> device = DeviceOf(request);
  if (!device.ok()) return Errno(EADDRNOTAVAIL);
  ip_.set(IpOptions::kMulticastDevice, *device);
  return kOk;
}

Result<std::string> DatagramSocket::GetOption(Task& task, int level, int name, size_t room) {
  if (level == IPPROTO_IP && name == IP_MULTICAST_IF) {
    return OptionBytes(in_addr{INADDR_ANY});  // Set by index, or not at all.
  }
  const auto value = InetSocket::GetOption(task, level, name, room);
  const bool known = level == SOL_SOCKET || level == IPPROTO_IP || level == IPPROTO_IPV6;
  return !known && domain() == AF_INET ? Errno(EOPNOTSUPP) : value;
}

Status DatagramSocket::SetOption(Task& task, int level, int name,
                                 std::span<const std::byte> value) {
  const bool ours = level == IPPROTO_IP || domain() == AF_INET6;
  if (ours && IsMembership(level, name)) return ChangeMembership(level, name, value);
  if (ours && IsSource(level, name)) return ChangeSource(name, value);
  if (ours && IsSourceList(level, name)) return SetSources(level, name, value);
  if (ours && IsGroup(level, name)) return ChangeGroup(level, name, value);
  if (ours && IsMulticastDevice(level, name)) return SetMulticastDevice(level, value);
  return InetSocket::SetOption(task, level, name, value);
}

}  // namespace sentry
