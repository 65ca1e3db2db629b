#include "sentry/net/devices/devices.h"

#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "sentry/net/devices/wire.h"
#include "sentry/time/clocks.h"

namespace sentry {
namespace {

constexpr int64_t kFreshNs = 20'000'000;
constexpr uint32_t kLowerUp = 0x10000;
constexpr uint8_t kOperUnknown = 0, kOperDown = 2;
// More than anybody gives an interface by hand.
constexpr size_t kMaxAddresses = 4096;

// Calls `add` with the payload of each message of `type` in an answer.
template <typename Add>
void ForEachPayload(std::string_view messages, uint16_t type, Add add) {
  while (messages.size() >= sizeof(nlmsghdr)) {
    const auto header = NlRead<nlmsghdr>(messages);
    if (header.nlmsg_len < sizeof(nlmsghdr) || header.nlmsg_len > messages.size()) return;
    if (header.nlmsg_type == type) {
      add(messages.substr(sizeof(nlmsghdr), header.nlmsg_len - sizeof(nlmsghdr)));
    }
    messages.remove_prefix(std::min(NlPad(header.nlmsg_len), messages.size()));
  }
}

void SetUp(Link& lo, bool up) {
  lo.flags = up ? IFF_UP | IFF_LOOPBACK | IFF_RUNNING | kLowerUp : uint32_t{IFF_LOOPBACK};
  lo.state = up ? kOperUnknown : kOperDown;
  lo.carrier = up;
}

bool SameAddress(const InterfaceAddress& a, const InterfaceAddress& b) {
  return a.family == b.family && a.index == b.index && a.prefix == b.prefix && a.local == b.local;
}

}  // namespace

NetworkDevices::NetworkDevices(std::unique_ptr<DeviceSource> source)
    : source_(std::move(source)),
      tables_(std::make_shared<DeviceTables>(source_ == nullptr ? DeviceTables::Loopback()
                                                                : DeviceTables())) {}

// What cannot be learnt stays empty.
DeviceTables NetworkDevices::Ask() const {
  DeviceTables tables;
  const auto dump = [this](uint16_t type) {
    Result<std::string> answer = source_->Dump(type);
    return answer.ok() ? *std::move(answer) : std::string();
  };
  ForEachPayload(dump(RTM_GETLINK), RTM_NEWLINK,
                 [&](std::string_view p) { tables.links.push_back(Link::Parse(p)); });
  ForEachPayload(dump(RTM_GETADDR), RTM_NEWADDR, [&](std::string_view p) {
    tables.addresses.push_back(InterfaceAddress::Parse(p));
  });
  ForEachPayload(dump(RTM_GETROUTE), RTM_NEWROUTE,
                 [&](std::string_view p) { tables.routes.push_back(RouteEntry::Parse(p)); });
  ForEachPayload(dump(RTM_GETRULE), RTM_NEWRULE, [&](std::string_view p) {
    tables.rules.push_back({p.empty() ? 0 : static_cast<uint8_t>(p[0]), std::string(p)});
  });
  ForEachPayload(dump(RTM_GETNEIGH), RTM_NEWNEIGH,
                 [&](std::string_view p) { tables.neighbours.push_back(Neighbour::Parse(p)); });
  return tables;
}

std::shared_ptr<const DeviceTables> NetworkDevices::Tables() {
  {
    absl::MutexLock lock(&mu_);
    if (source_ == nullptr || (asked_ns_ != 0 && MonotonicNs() - asked_ns_ < kFreshNs))
      return tables_;
  }
  auto fresh = std::make_shared<const DeviceTables>(Ask());
  absl::MutexLock lock(&mu_);
  tables_ = std::move(fresh);
  asked_ns_ = MonotonicNs();
  return tables_;
}

Status NetworkDevices::Change(const std::function<Status(DeviceTables&)>& change) {
  if (source_ != nullptr) return Errno(EOPNOTSUPP);
  std::shared_ptr<const DeviceTables> before, after;
  {
    absl::MutexLock lock(&mu_);
    DeviceTables copy = *tables_;
    TRY(change(copy));
    RebuildLoopbackRoutes(copy);
    before = std::exchange(tables_, std::make_shared<const DeviceTables>(std::move(copy)));
    after = tables_;
  }
  if (listener_) listener_(*before, *after);
  return kOk;
}

Status NetworkDevices::ChangeLink(int index, const LinkChange& change) {
  return Change([&](DeviceTables& tables) -> Status {
    const auto lo = std::find_if(tables.links.begin(), tables.links.end(),
                                 [index](const Link& link) { return link.index == index; });
    if (lo == tables.links.end()) return Errno(ENODEV);
    const bool was_up = (lo->flags & IFF_UP) != 0;
    const bool up = (change.mask & IFF_UP) != 0 ? (change.flags & IFF_UP) != 0 : was_up;
    if (change.set_mtu) lo->mtu = change.mtu;
    if (change.set_queue_length) lo->queue_length = change.queue_length;
    if (up != was_up) {
      SetUp(*lo, up);
      loopback_up_.store(up, std::memory_order_relaxed);
      // Addresses of version 6 go down with the link, and ::1 comes up with it.
      std::erase_if(tables.addresses,
                    [](const InterfaceAddress& a) { return a.family == AF_INET6; });
      if (up) {
        for (const InterfaceAddress& a : DeviceTables::Loopback().addresses) {
          if (a.family == AF_INET6 || tables.FindAddress(AF_INET, index) == nullptr) {
            tables.addresses.push_back(a);
          }
        }
      }
    }
    lo->payload = EncodeLink(*lo);
    return kOk;
  });
}

void NetworkDevices::MakeEmpty() {
  (void)ChangeLink(1, {.mask = IFF_UP});
  (void)Change([](DeviceTables& tables) -> Status {
    tables.addresses.clear();
    return kOk;
  });
}

Status NetworkDevices::AddAddress(InterfaceAddress address) {
  return Change([&](DeviceTables& tables) -> Status {
    if (tables.FindLink(address.index) == nullptr) return Errno(ENODEV);
    for (const InterfaceAddress& one : tables.addresses) {
      if (SameAddress(one, address)) return Errno(EEXIST);
    }
    if (tables.addresses.size() >= kMaxAddresses) return Errno(ENOBUFS);
    address.payload = EncodeAddress(address);
    tables.addresses.push_back(std::move(address));
    return kOk;
  });
}

Status NetworkDevices::RemoveAddress(const InterfaceAddress& address) {
  return Change([&](DeviceTables& tables) -> Status {
    if (tables.FindLink(address.index) == nullptr) return Errno(ENODEV);
    const size_t removed = std::erase_if(
        tables.addresses, [&](const InterfaceAddress& one) { return SameAddress(one, address); });
    return removed == 0 ? Status(Errno(EADDRNOTAVAIL)) : kOk;
  });
}

}  // namespace sentry
