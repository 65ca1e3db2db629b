// Whole lists of sources, IP_MSFILTER and MCAST_MSFILTER, and the sources of groups of IPv6: RFC
// 3678, ip_mc_msfilter(), ip6_mc_source() and what asks for them.
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "sentry/net/inet/datagram_socket.h"

namespace sentry {
namespace {

// struct ip_msfilter and struct group_filter without their lists.
struct IpFilter {
  uint32_t group, device, mode, count;
};
struct GroupFilter {
  uint32_t device, padding;
  sockaddr_storage group;
  uint32_t mode, count;
};
static_assert(sizeof(IpFilter) == 16 && sizeof(GroupFilter) == 144);

template <typename T>
Result<T> ReadHeader(std::span<const std::byte> value) {
  T header;
  if (value.size() < sizeof(header)) return Errno(EINVAL);
  memcpy(&header, value.data(), sizeof(header));
  return header;
}

// The entries behind a header of `at` bytes: ENOBUFS, EINVAL.
template <typename T>
Result<std::vector<T>> ReadList(std::span<const std::byte> value, size_t at, uint32_t count,
                                int domain) {
  if (count > Memberships::MaxSources(domain)) return Errno(ENOBUFS);
  std::vector<T> list(count);
  if ((value.size() - at) / sizeof(T) < count) return Errno(EINVAL);
  if (count > 0) memcpy(list.data(), value.data() + at, count * sizeof(T));
  return list;
}

// The address in a struct sockaddr_in or sockaddr_in6; `domain` says which.
IpAddress AddressIn(const sockaddr_storage& storage, int domain) {
  if (domain == AF_INET) {
    sockaddr_in in;
    memcpy(&in, &storage, sizeof(in));
    return IpAddress::V4(ntohl(in.sin_addr.s_addr));
  }
  sockaddr_in6 in6;
  memcpy(&in6, &storage, sizeof(in6));
  return IpAddress::V6(in6.sin6_addr);
}

bool IsGroup(const IpAddress& address, int domain) {
  return address.is_multicast() && address.is_v4() == (domain == AF_INET);
}

sockaddr_storage StorageOf(const IpAddress& address, int domain) {
  const SocketAddress name = ToSocketAddress(domain, {address, 0});
  sockaddr_storage storage{};
  memcpy(&storage, name.bytes.data(), name.size);
  return storage;
}

// What IP_MSFILTER and MCAST_MSFILTER want to be, whichever the form.
struct Wanted {
  IpAddress group;
  uint32_t device = 0;  // An index.
  uint32_t mode = 0;
  std::vector<IpAddress> sources;
};

Result<Wanted> ReadIpFilter(std::span<const std::byte> value) {
  const auto header = TRY(ReadHeader<IpFilter>(value));
  const auto list = TRY(ReadList<uint32_t>(value, sizeof(header), header.count, AF_INET));
  Wanted wanted{.group = IpAddress::V4(ntohl(header.group)), .mode = header.mode, .sources = {}};
  if (IpAddress::V4(ntohl(header.device)).is_loopback()) wanted.device = kLoopbackDevice;
  for (const uint32_t source : list) wanted.sources.push_back(IpAddress::V4(ntohl(source)));
  return wanted;
}

Result<Wanted> ReadGroupFilter(std::span<const std::byte> value, int domain) {
  const auto header = TRY(ReadHeader<GroupFilter>(value));
  const auto list = TRY(ReadList<sockaddr_storage>(value, sizeof(header), header.count, domain));
  const auto is_other = [&](const sockaddr_storage& one) { return one.ss_family != domain; };
  // Of IPv6 nobody looks at the families of the sources.
  if (domain == AF_INET &&
      (is_other(header.group) || std::any_of(list.begin(), list.end(), is_other))) {
    return Errno(EADDRNOTAVAIL);
  }
  Wanted wanted{.group = AddressIn(header.group, domain),
                .device = header.device,
                .mode = header.mode,
                .sources = {}};
  for (const sockaddr_storage& source : list) {
    wanted.sources.push_back(AddressIn(source, domain));
  }
  return wanted;
}

}  // namespace

bool IsSourceList(int level, int name) {
  return (level == IPPROTO_IP && (name == IP_MSFILTER || name == MCAST_MSFILTER)) ||
         (level == IPPROTO_IPV6 && name == MCAST_MSFILTER);
}

size_t SourceListHeader(int name) {
  return name == IP_MSFILTER ? sizeof(IpFilter) : sizeof(GroupFilter);
}

Status DatagramSocket::SetSources(int level, int name, std::span<const std::byte> value) {
  const int family = level == IPPROTO_IP ? AF_INET : AF_INET6;
  Wanted wanted = TRY(name == IP_MSFILTER ? ReadIpFilter(value) : ReadGroupFilter(value, family));
  if (!IsGroup(wanted.group, family)) return Errno(EINVAL);
  if (wanted.mode != MCAST_INCLUDE && wanted.mode != MCAST_EXCLUDE) return Errno(EINVAL);
  if (wanted.device != kLoopbackDevice) return Errno(ENODEV);
  absl::MutexLock lock(&mu_);
  // To hear nobody is not to be there.
  if (wanted.mode == MCAST_INCLUDE && wanted.sources.empty()) return groups_.Leave(wanted.group);
  const auto mode =
      wanted.mode == MCAST_INCLUDE ? Memberships::Mode::kInclude : Memberships::Mode::kExclude;
  return groups_.SetSources(wanted.group, mode, std::move(wanted.sources));
}

Result<std::string> DatagramSocket::GetSources(int level, int name,
                                               std::span<const std::byte> asked) {
  const int family = level == IPPROTO_IP ? AF_INET : AF_INET6;
  if (level == IPPROTO_IPV6 && domain() != AF_INET6) return Errno(ENOPROTOOPT);
  IpFilter ip{};
  GroupFilter header{};
  IpAddress group;
  if (name == IP_MSFILTER) {
    ip = TRY(ReadHeader<IpFilter>(asked));
    group = IpAddress::V4(ntohl(ip.group));
    if (!IsGroup(group, family)) return Errno(EINVAL);
    if (!IpAddress::V4(ntohl(ip.device)).is_loopback()) return Errno(ENODEV);
  } else {
    header = TRY(ReadHeader<GroupFilter>(asked));
    if (header.group.ss_family != family) {
      return Errno(family == AF_INET ? EINVAL : EADDRNOTAVAIL);
    }
    group = AddressIn(header.group, family);
    if (!IsGroup(group, family)) return Errno(EINVAL);
    if (header.device != kLoopbackDevice) return Errno(EADDRNOTAVAIL);
  }
  absl::MutexLock lock(&mu_);
  const Memberships::Membership* const member = groups_.Get(group);
  if (member == nullptr) return Errno(EADDRNOTAVAIL);
  // All are counted; as many are told as the caller has said that there is room for.
  const uint32_t mode = member->mode == Memberships::Mode::kInclude ? MCAST_INCLUDE : MCAST_EXCLUDE;
  const auto count = static_cast<uint32_t>(member->sources.size());
  const uint32_t told = std::min(count, name == IP_MSFILTER ? ip.count : header.count);
  std::string bytes;
  if (name == IP_MSFILTER) {
    ip.mode = mode;
    ip.count = count;
    bytes = OptionBytes(ip);
    for (uint32_t i = 0; i < told; i++) bytes += OptionBytes(htonl(member->sources[i].v4()));
  } else {
    header.mode = mode;
    header.count = count;
    bytes = OptionBytes(header);
    for (uint32_t i = 0; i < told; i++) {
      bytes += OptionBytes(StorageOf(member->sources[i], family));
    }
  }
  return bytes;
}

// MCAST_JOIN_SOURCE_GROUP and its like of IPv6.
Status DatagramSocket::ChangeSource6(int name, const group_source_req& request) {
  if (request.gsr_group.ss_family != AF_INET6 || request.gsr_source.ss_family != AF_INET6) {
    return Errno(EADDRNOTAVAIL);
  }
  const IpAddress group = AddressIn(request.gsr_group, AF_INET6);
  if (!IsGroup(group, AF_INET6)) return Errno(EINVAL);
  if (request.gsr_interface != kLoopbackDevice) return Errno(ENODEV);
  return ApplySource(name, group, AddressIn(request.gsr_source, AF_INET6));
}

}  // namespace sentry
