// Changes by rtnetlink(7): of the loopback interface and its addresses. Nothing else exists in a
// namespace of the sandbox's own, and in one of the host's the sandbox has no rights.
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "sentry/net/netlink/route.h"

namespace sentry {
namespace {

Status ChangeLink(NetworkDevices& devices, const NlRequest& request, NlReply& reply) {
  if (request.payload.size() < sizeof(ifinfomsg)) return Errno(EINVAL);
  const auto body = NlRead<ifinfomsg>(request.payload);
  const auto attributes = NlAttributes::After<ifinfomsg>(request.payload);
  const auto tables = devices.Tables();
  const Link* const link = body.ifi_index > 0 ? tables->FindLink(body.ifi_index)
                                              : tables->FindLink(attributes.String(IFLA_IFNAME));
  if (link == nullptr) {
    if (request.header.nlmsg_type == RTM_NEWLINK && request.has(NLM_F_CREATE)) {
      reply.Explain("Unknown device type");
      return Errno(EOPNOTSUPP);
    }
    return Errno(ENODEV);
  }
  if (request.has(NLM_F_CREATE) && request.has(NLM_F_EXCL)) return Errno(EEXIST);
  NetworkDevices::LinkChange change{
      .flags = body.ifi_flags,
      // An ifi_change of 0 means all of them: rtnl_dev_combine_flags().
      .mask = body.ifi_change != 0 ? body.ifi_change : (body.ifi_flags != 0 ? ~0u : 0),
      .mtu = attributes.Number<uint32_t>(IFLA_MTU),
      .queue_length = attributes.Number<uint32_t>(IFLA_TXQLEN),
      .set_mtu = attributes.Find(IFLA_MTU).has_value(),
      .set_queue_length = attributes.Find(IFLA_TXQLEN).has_value()};
  return devices.ChangeLink(link->index, change);
}

Result<InterfaceAddress> ReadAddress(const NlRequest& request) {
  if (request.payload.size() < sizeof(ifaddrmsg)) return Errno(EINVAL);
  const auto body = NlRead<ifaddrmsg>(request.payload);
  const auto attributes = NlAttributes::After<ifaddrmsg>(request.payload);
  if (body.ifa_family != AF_INET && body.ifa_family != AF_INET6) return Errno(EAFNOSUPPORT);
  const size_t size = body.ifa_family == AF_INET6 ? 16 : 4;
  const auto local = attributes.Find(IFA_LOCAL), remote = attributes.Find(IFA_ADDRESS);
  for (const auto& one : {local, remote}) {
    if (one && one->size() < size) return Errno(ERANGE);
  }
  if (body.ifa_prefixlen > size * 8 || (!local && (!remote || body.ifa_family == AF_INET))) {
    return Errno(EINVAL);
  }
  // IFNAMSIZ, as Linux's policy has it. Addresses beyond their size are cut.
  if (attributes.String(IFA_LABEL).size() >= 16) return Errno(ERANGE);
  InterfaceAddress address = InterfaceAddress::Parse(request.payload);
  address.broadcast.resize(std::min(address.broadcast.size(), size));
  if (!remote) address.remote = address.local;
  address.flags |= IFA_F_PERMANENT;
  return address;
}

Status ChangeAddress(NetworkDevices& devices, const NlRequest& request, NlReply& reply) {
  InterfaceAddress address = TRY(ReadAddress(request));
  if (request.header.nlmsg_type == RTM_DELADDR) return devices.RemoveAddress(address);
  const auto tables = devices.Tables();
  const Link* const link = tables->FindLink(address.index);
  if (link == nullptr) return Errno(ENODEV);
  if (address.family == AF_INET && address.label.empty()) address.label = link->name;
  const bool v4 = address.family == AF_INET;
  const Status added = devices.AddAddress(std::move(address));
  if (added.ok() || added.error() != Errno(EEXIST)) return added;
  if (request.has(NLM_F_REPLACE)) return kOk;
  reply.Explain(v4 ? "ipv4: Address already assigned" : "ipv6: address already assigned");
  return added;
}

}  // namespace

Status ChangeRoute(NetworkDevices& devices, const NlRequest& request, NlReply& reply) {
  if (devices.is_host()) return Errno(EPERM);
  switch (request.header.nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_SETLINK:
      return ChangeLink(devices, request, reply);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return ChangeAddress(devices, request, reply);
    default:
      return Errno(EOPNOTSUPP);
  }
}

}  // namespace sentry
