#include "sentry/net/devices/ioctl.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "sentry/task/task.h"

namespace sentry {
namespace {

constexpr int kNetAdmin = 12;             // CAP_NET_ADMIN
constexpr uint32_t kShortFlags = 0xffff;  // What fits into ifr_flags.

sockaddr_in InetAddress(std::string_view bytes) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  memcpy(&address.sin_addr, bytes.data(), std::min<size_t>(bytes.size(), 4));
  return address;
}

void SetAddress(ifreq& request, std::string_view bytes) {
  const sockaddr_in address = InetAddress(bytes);
  memcpy(&request.ifr_addr, &address, sizeof(address));
}

void SetHardware(ifreq& request, uint16_t type, std::string_view bytes) {
  memset(&request.ifr_hwaddr, 0, sizeof(request.ifr_hwaddr));
  request.ifr_hwaddr.sa_family = type;
  memcpy(request.ifr_hwaddr.sa_data, bytes.data(),
         std::min(bytes.size(), sizeof(request.ifr_hwaddr.sa_data)));
}

// The name of a request: a label goes on behind a colon.
struct Name {
  std::string label, device;
};
Name NameOf(const ifreq& request) {
  const std::string label(request.ifr_name, strnlen(request.ifr_name, IFNAMSIZ - 1));
  return {label, label.substr(0, label.find(':'))};
}

// devinet_ioctl() of Linux.
Status GetAddress(const DeviceTables& tables, uint32_t command, ifreq& request) {
  const Name name = NameOf(request);
  const Link* const link = tables.FindLink(name.device);
  if (link == nullptr) return Errno(ENODEV);
  const InterfaceAddress* found = nullptr;
  for (const InterfaceAddress& one : tables.addresses) {
    if (one.family != AF_INET || one.index != link->index || one.label != name.label) continue;
    found = &one;
    break;
  }
  if (found == nullptr && name.label == name.device) {
    found = tables.FindAddress(AF_INET, link->index);
  }
  if (found == nullptr) return Errno(EADDRNOTAVAIL);
  switch (command) {
    case SIOCGIFADDR:
      SetAddress(request, found->local);
      break;
    case SIOCGIFDSTADDR:
      SetAddress(request, found->remote);
      break;
    case SIOCGIFBRDADDR:
      SetAddress(request, found->broadcast);
      break;
    default: {
      const uint32_t mask = found->prefix == 0 ? 0 : htonl(~uint32_t{0} << (32 - found->prefix));
      SetAddress(request, {reinterpret_cast<const char*>(&mask), sizeof(mask)});
    }
  }
  return kOk;
}

// dev_ifsioc_locked() of Linux.
Status GetLink(const DeviceTables& tables, uint32_t command, ifreq& request) {
  const Link* const link = tables.FindLink(NameOf(request).device);
  if (link == nullptr) return Errno(ENODEV);
  switch (command) {
    case SIOCGIFFLAGS:
      request.ifr_flags = static_cast<short>(link->flags & kShortFlags);
      return kOk;
    case SIOCGIFMETRIC:
      request.ifr_metric = 0;
      return kOk;
    case SIOCGIFMTU:
      request.ifr_mtu = static_cast<int>(link->mtu);
      return kOk;
    case SIOCGIFHWADDR:
      SetHardware(request, link->type, link->address);
      return kOk;
    case SIOCGIFMAP:
      request.ifr_map = {};
      return kOk;
    case SIOCGIFINDEX:
      request.ifr_ifindex = link->index;
      return kOk;
    case SIOCGIFTXQLEN:
      request.ifr_qlen = static_cast<int>(link->queue_length);
      return kOk;
    default:
      return Errno(EINVAL);
  }
}

Status GetName(const DeviceTables& tables, ifreq& request) {
  const Link* const link = tables.FindLink(request.ifr_ifindex);
  if (link == nullptr) return Errno(ENODEV);
  memset(request.ifr_name, 0, sizeof(request.ifr_name));
  link->name.copy(request.ifr_name, IFNAMSIZ - 1);
  return kOk;
}

Status Change(NetworkDevices& devices, uint32_t command, const ifreq& request) {
  const auto tables = devices.Tables();
  const Link* const link = tables->FindLink(NameOf(request).device);
  if (link == nullptr) return Errno(ENODEV);
  if (devices.is_host()) return Errno(EPERM);
  NetworkDevices::LinkChange change;
  switch (command) {
    case SIOCSIFFLAGS:
      change.flags = static_cast<uint32_t>(request.ifr_flags);
      change.mask = kShortFlags;
      break;
    case SIOCSIFMTU:
      if (request.ifr_mtu < 0) return Errno(EINVAL);
      change.mtu = static_cast<uint32_t>(request.ifr_mtu);
      change.set_mtu = true;
      break;
    case SIOCSIFTXQLEN:
      if (request.ifr_qlen < 0) return Errno(EINVAL);
      change.queue_length = static_cast<uint32_t>(request.ifr_qlen);
      change.set_queue_length = true;
      break;
    default:
      return Errno(EOPNOTSUPP);
  }
  return devices.ChangeLink(link->index, change);
}

struct ConfHeader {
  int32_t length;
  int32_t padding;
  uint64_t buffer;
};

// dev_ifconf(): as many whole entries as fit; without a buffer, the size that all would take.
Status GetConf(Task& task, const DeviceTables& tables, uint64_t arg) {
  const UserPtr<ConfHeader> at{UserAddr{arg}};
  ConfHeader conf = TRY(task.mem().Read(at));
  const size_t room = conf.length < 0 ? 0 : static_cast<size_t>(conf.length) / sizeof(ifreq);
  std::string entries;
  size_t count = 0;
  for (const InterfaceAddress& address : tables.addresses) {
    if (address.family != AF_INET || (conf.buffer != 0 && count == room)) continue;
    ++count;
    ifreq entry{};
    address.label.copy(entry.ifr_name, IFNAMSIZ - 1);
    SetAddress(entry, address.local);
    entries.append(reinterpret_cast<const char*>(&entry), sizeof(entry));
  }
  if (conf.buffer != 0) {
    TRY(task.mem().WriteBytes(UserAddr{conf.buffer}, std::as_bytes(std::span(entries))));
  }
  conf.length = static_cast<int32_t>(entries.size());
  return task.mem().Write(at, conf);
}

enum class Group : uint8_t { kOther, kName, kConf, kLink, kAddress, kChange, kRoutes, kNothing };

Group GroupOf(uint32_t command) {
  switch (command) {
    case SIOCGIFNAME:
      return Group::kName;
    case SIOCGIFCONF:
      return Group::kConf;
    case SIOCGIFFLAGS:
    case SIOCGIFMETRIC:
    case SIOCGIFMTU:
    case SIOCGIFHWADDR:
    case SIOCGIFSLAVE:
    case SIOCGIFMAP:
    case SIOCGIFINDEX:
    case SIOCGIFTXQLEN:
      return Group::kLink;
    case SIOCGIFADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFNETMASK:
      return Group::kAddress;
    case SIOCSIFFLAGS:
    case SIOCSIFMETRIC:
    case SIOCSIFMTU:
    case SIOCSIFHWADDR:
    case SIOCSIFMAP:
    case SIOCSIFTXQLEN:
    case SIOCSIFNAME:
    case SIOCSIFSLAVE:
    case SIOCADDMULTI:
    case SIOCDELMULTI:
    case SIOCSIFHWBROADCAST:
    case SIOCSIFADDR:
    case SIOCSIFBRDADDR:
    case SIOCSIFDSTADDR:
    case SIOCSIFNETMASK:
    case SIOCSIFPFLAGS:
    case SIOCBRADDBR:
    case SIOCBRDELBR:
      return Group::kChange;
    case SIOCADDRT:
    case SIOCDELRT:
      return Group::kRoutes;
    case SIOCETHTOOL:
    case SIOCGMIIPHY:
    case SIOCGMIIREG:
      return Group::kNothing;
    default:
      return Group::kOther;
  }
}

Status OneRequest(Task& task, NetworkDevices& devices, Group group, uint32_t command,
                  ifreq& request) {
  switch (group) {
    case Group::kName:
      return GetName(*devices.Tables(), request);
    case Group::kLink:
      return GetLink(*devices.Tables(), command, request);
    case Group::kAddress:
      return GetAddress(*devices.Tables(), command, request);
    case Group::kChange:
      if (!task.creds().HasCapability(kNetAdmin)) return Errno(EPERM);
      return Change(devices, command, request);
    default:
      if (devices.Tables()->FindLink(NameOf(request).device) == nullptr) return Errno(ENODEV);
      return Errno(EOPNOTSUPP);
  }
}

}  // namespace

Result<int64_t> DeviceIoctl(Task& task, NetworkDevices& devices, int domain, uint32_t command,
                            uint64_t arg) {
  const Group group = GroupOf(command);
  if (group == Group::kOther || (group == Group::kAddress && domain != AF_INET)) {
    return Errno(ENOTTY);
  }
  if (group == Group::kRoutes) {
    if (domain != AF_INET && domain != AF_INET6) return Errno(ENOTTY);
    const bool admin = task.creds().HasCapability(kNetAdmin) && !devices.is_host();
    return admin ? Errno(EOPNOTSUPP) : Errno(EPERM);
  }
  if (group == Group::kConf) {
    TRY(GetConf(task, *devices.Tables(), arg));
    return int64_t{0};
  }
  ifreq request{};
  const auto bytes = std::as_writable_bytes(std::span(&request, 1));
  TRY(task.mem().ReadBytes(UserAddr{arg}, bytes));
  TRY(OneRequest(task, devices, group, command, request));
  TRY(task.mem().WriteBytes(UserAddr{arg}, bytes));
  return int64_t{0};
}

}  // namespace sentry
