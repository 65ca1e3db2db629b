// The options at the levels IPPROTO_IP and IPPROTO_IPV6: ip(7), ipv6(7).
#ifndef SENTRY_NET_INET_IP_OPTIONS_H_
#define SENTRY_NET_INET_IP_OPTIONS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace sentry {

class Task;
struct SocketKind;

// An option that is one int. Each table of them has its own fields.
struct IntOption {
  enum How : uint8_t {
    kRange,   // EINVAL outside of [low, high].
    kSwitch,  // Anything but 0 is 1.
  };
  int level, name;
  uint8_t field;
  How how;
  int low, high;
  int initial;
};

// Values as set; may be read and set at any time.
class IpOptions {
 public:
  enum Field : uint8_t {
    kTos,
    kTtl,
    kHeaderIncluded,
    kReceiveOptions,
    kReturnOptions,
    kPacketInfo,
    kMtuDiscover,
    kReceiveErrors,
    kReceiveTtl,
    kReceiveTos,
    kFreeBind,
    kTransparent,
    kOriginalDestination,
    kMinTtl,
    kChecksum,
    kBindNoPort,
    kReceiveFragmentSize,
    kErrorsRfc4884,
    kMulticastTtl,
    kMulticastLoop,
    kMulticastAll,
    kUnicastDevice,
    kMulticastDevice,
    kPassSecurity,
    kNoFragments,
    kLocalPortRange,  // The first, and above its 16 bits the last; 0: the system's.
    // IPV6_*.
    kUnicastHops6,
    kMulticastHops6,
    kMulticastLoop6,
    kMulticastDevice6,
    kMtuDiscover6,
    kReceiveErrors6,
    kV6Only,
    kMulticastAll6,
    kFlowInfo6,
    kFlowInfoSend6,
    kReceivePacketInfo6,
    kReceiveHopLimit6,
    kReceiveHopOptions6,
    kReceiveRouting6,
    kReceiveDestinationOptions6,
    kReceivePathMtu6,
    kDontFragment6,
    kReceiveClass6,
    kClass6,
    kAutoFlowLabel6,
    kPreferences6,
    kMinHops6,
    kOriginalDestination6,
    kTransparent6,
    kUnicastDevice6,
    kReceiveFragmentSize6,
    kFreeBind6,
    kErrorsRfc48846,
    kOldPacketInfo6,
    kOldHopLimit6,
    kOldHopOptions6,
    kOldDestinationOptions6,
    kOldRouting6,
    kRouterAlert6,
    kMtu6,
    kCount
  };

  IpOptions();
  int get(Field field) const { return values_[field].load(std::memory_order_relaxed); }
  bool has(Field field) const { return get(field) != 0; }
  void set(Field field, int value) { values_[field].store(value, std::memory_order_relaxed); }
  void InheritFrom(const IpOptions& other);

  // ENOPROTOOPT for what is no plain number; `room` as in Socket::GetOption.
  Result<std::string> Get(const SocketKind& what, int level, int name, size_t room) const;
  Status Set(Task& task, const SocketKind& what, int level, int name,
             std::span<const std::byte> value);

 private:
  std::array<std::atomic<int>, kCount> values_;
};

// The int at the front of an option's value, which may be one byte only (ip_setsockopt()).
Result<int> ReadShortIntOption(std::span<const std::byte> value);
// The value for getsockopt(2): one byte where there is no room for more.
std::string ShortIntBytes(int value, size_t room);
// What `value` becomes when it is set: EINVAL.
Result<int> CheckIntOption(const IntOption& option, int value);

}  // namespace sentry

#endif  // SENTRY_NET_INET_IP_OPTIONS_H_
