// The options at level SOL_SOCKET that every family has: socket(7), net/core/sock.c.
#ifndef SENTRY_NET_OPTIONS_H_
#define SENTRY_NET_OPTIONS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sentry/net/filter.h"

namespace sentry {

class Task;
struct SocketKind;

// A value for getsockopt(2).
template <typename T>
std::string OptionBytes(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}
// The int that most options take: EINVAL when there are fewer bytes.
Result<int> ReadIntOption(std::span<const std::byte> value);

// Values as set, for the family to act upon. All may be read and set at any time.
class SocketOptions {
 public:
  // What is on or off; bits of flags().
  enum Flag : uint32_t {
    kDebug = 1 << 0,
    kReuseAddress = 1 << 1,
    kDontRoute = 1 << 2,
    kBroadcast = 1 << 3,
    kKeepAlive = 1 << 4,
    kOobInline = 1 << 5,
    kNoCheck = 1 << 6,
    kReusePort = 1 << 7,
    kPassCredentials = 1 << 8,
    kPassPidfd = 1 << 9,
    kPassSecurity = 1 << 10,
    kTimestamp = 1 << 11,  // SO_TIMESTAMP or, with the next, SO_TIMESTAMPNS.
    kTimestampNs = 1 << 12,
    kReceiveOverflow = 1 << 13,  // SO_RXQ_OVFL.
    kSelectErrorQueue = 1 << 14,
    kLingers = 1 << 15,
    kReceiveMark = 1 << 16,
    kLockFilter = 1 << 17,
    kPassRights = 1 << 18,
    kWifiStatus = 1 << 19,
    kNoFcs = 1 << 20,
    kPreferBusyPoll = 1 << 21,
    kTimestampNew = 1 << 22,  // Messages with times have the numbers of 2019.
    kSendTime = 1 << 23,      // SO_TXTIME.
  };

  // net.core.{w,r}mem_{default,max} of Linux 6.18. Beyond it, with CAP_NET_ADMIN, Linux goes to
  // 2 GiB; the memory here is the sentry's.
  static constexpr int kDefaultBuffer = 212992, kMaxBuffer = 4194304,
                       kMaxForcedBuffer = 2 * kMaxBuffer;

  bool has(Flag flag) const { return (flags_.load(std::memory_order_relaxed) & flag) != 0; }
  void Set(Flag flag, bool on) {
    if (on) {
      flags_.fetch_or(flag, std::memory_order_relaxed);
    } else {
      flags_.fetch_and(~uint32_t{flag}, std::memory_order_relaxed);
    }
  }
  // Copies what an accepted socket inherits.
  void InheritFrom(const SocketOptions& other);

  // Bytes of memory that a sender's, a receiver's messages may take.
  std::atomic<int> send_buffer{kDefaultBuffer}, receive_buffer{kDefaultBuffer};
  std::atomic<int> receive_low_water{1};
  std::atomic<int> linger_seconds{0};
  std::atomic<int> priority{0}, mark{0}, incoming_cpu{-1}, bound_device{0};
  std::atomic<int> peek_offset{-1};  // SO_PEEK_OFF; negative: off.
  std::atomic<int> busy_poll{0};
  std::atomic<int> buffer_lock{0};  // SOCK_BUF_LOCK_MASK: buffers that were chosen.
  std::atomic<int> tx_rehash{1};
  std::atomic<int> timestamping{0};  // SOF_TIMESTAMPING_*.
  // SO_TXTIME: the clock, and flags. Nothing waits: a loopback interface has no queue.
  std::atomic<int> send_clock{0}, send_clock_flags{0};
  // Whether a message that arrives is to be given its time, and told of it by SCM_TIMESTAMPING.
  bool stamps() const { return has(kTimestamp) || tells_software_time(); }
  bool tells_software_time() const;
  // The type of the control message that SO_TIMESTAMP, SO_TIMESTAMPNS or SO_TIMESTAMPING ask for.
  int StampType(int name) const;
  std::atomic<uint64_t> max_pacing_rate{UINT64_MAX};
  FilterSlot filter;  // SO_ATTACH_FILTER.
  // Nanoseconds; 0: no limit.
  std::atomic<int64_t> send_timeout_ns{0}, receive_timeout_ns{0};

  // ENOPROTOOPT for options that the family or nobody knows.
  Result<std::string> Get(Task& task, const SocketKind& what, int name) const;
  Status Set(Task& task, const SocketKind& what, int name, std::span<const std::byte> value);

 private:
  Status SetInt(Task& task, const SocketKind& what, int name, int value);
  Status SetDevice(const Task& task, int index);
  Status SetTxRehash(const SocketKind& what, int value);
  Status AttachFilter(Task& task, const SocketKind& what, std::span<const std::byte> value);
  Status DetachFilter();
  void SetTimestamp(int name, bool on);
  Status SetTimestamping(const SocketKind& what, int name, int flags);
  Status SetSendTime(const Task& task, std::span<const std::byte> value);

  std::atomic<uint32_t> flags_{kPassRights};
};

}  // namespace sentry

#endif  // SENTRY_NET_OPTIONS_H_
