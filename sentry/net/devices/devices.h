// The devices of a network namespace, for everything that tells of them or changes them: rtnetlink,
// netdevice(7), /proc/net, /sys/class/net.
#ifndef SENTRY_NET_DEVICES_DEVICES_H_
#define SENTRY_NET_DEVICES_DEVICES_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/result.h"
#include "sentry/net/devices/tables.h"

namespace sentry {

// A namespace of the host in which the sandbox's sockets are: answers dumps of rtnetlink.
class DeviceSource {
 public:
  virtual ~DeviceSource() = default;
  // The messages of the answer to RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETRULE or
  // RTM_GETNEIGH, with their headers. Any errno.
  virtual Result<std::string> Dump(uint16_t type) = 0;
};

// Thread-safe. With a source, what the host says, and nothing can be changed; without, a loopback
// interface of the sandbox's own.
class NetworkDevices {
 public:
  explicit NetworkDevices(std::unique_ptr<DeviceSource> source = nullptr);

  // As they are now. Not older than some milliseconds when they are the host's.
  std::shared_ptr<const DeviceTables> Tables() ABSL_LOCKS_EXCLUDED(mu_);
  bool is_host() const { return source_ != nullptr; }
  // Whether packets to this namespace's own addresses arrive.
  const std::atomic<bool>& loopback_up() const { return loopback_up_; }
  // Called after each change, with what was and what is, under no lock. Set before there are
  // guests.
  using Listener = std::function<void(const DeviceTables& before, const DeviceTables& after)>;
  void SetListener(Listener listener) { listener_ = std::move(listener); }
  // As in a new namespace: the loopback interface is down, without an address.
  void MakeEmpty() ABSL_LOCKS_EXCLUDED(mu_);

  // Changes of the loopback interface; the caller has CAP_NET_ADMIN. Elsewhere EOPNOTSUPP.
  // ENODEV for a link that does not exist.
  struct LinkChange {
    uint32_t flags = 0, mask = 0;  // Of IFF_*; only IFF_UP has a meaning.
    uint32_t mtu = 0, queue_length = 0;
    bool set_mtu = false, set_queue_length = false;
  };
  Status ChangeLink(int index, const LinkChange& change) ABSL_LOCKS_EXCLUDED(mu_);
  // EEXIST, or EADDRNOTAVAIL for what is not there.
  Status AddAddress(InterfaceAddress address) ABSL_LOCKS_EXCLUDED(mu_);
  Status RemoveAddress(const InterfaceAddress& address) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Replaces the tables by what `change` makes of a copy.
  Status Change(const std::function<Status(DeviceTables&)>& change) ABSL_LOCKS_EXCLUDED(mu_);
  DeviceTables Ask() const;

  const std::unique_ptr<DeviceSource> source_;
  std::atomic<bool> loopback_up_{true};
  Listener listener_;
  absl::Mutex mu_;
  std::shared_ptr<const DeviceTables> tables_ ABSL_GUARDED_BY(mu_);
  int64_t asked_ns_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace sentry

#endif  // SENTRY_NET_DEVICES_DEVICES_H_
