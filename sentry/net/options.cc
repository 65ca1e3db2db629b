#include "sentry/net/options.h"

#include <linux/capability.h>
#include <linux/net_tstamp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <vector>

#include "sentry/net/socket.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// Numbers that Debian 12's headers lack.
constexpr int kSoReceiveMark = 75, kSoPassPidfd = 76, kSoPassRights = 83, kSoTxRehash = 74,
              kSoReserveMemory = 73, kSoBufLock = 72;
constexpr int kSoReceiveTimeoutNew = 66, kSoSendTimeoutNew = 67, kSoPreferBusyPoll = 69,
              kSoPeerPidfd = 77;
constexpr int kSoTimestampNew = 63, kSoTimestampNsNew = 64, kSoTimestampingNew = 65,
              kSoSendTime = 61, kSoAttachBpf = 50;
constexpr int kSendLocked = 1, kReceiveLocked = 2;  // SOCK_SNDBUF_LOCK, SOCK_RCVBUF_LOCK.
constexpr int kLoopback = 1;                        // The only interface that everybody has.
constexpr int kMinSendBuffer = 4608, kMinReceiveBuffer = 2304;  // SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF.
constexpr int64_t kSecond = 1'000'000'000;

using Flag = SocketOptions::Flag;

// Whom an option is for.
enum class For : uint8_t { kAll, kInet, kUnix, kUnixOnly };

// Options that are on or off.
struct Switch {
  int name;
  Flag flag;
  For whom = For::kAll;
};
constexpr Switch kSwitches[] = {
    {SO_REUSEADDR, SocketOptions::kReuseAddress},
    {SO_DEBUG, SocketOptions::kDebug},
    {SO_DONTROUTE, SocketOptions::kDontRoute},
    {SO_BROADCAST, SocketOptions::kBroadcast},
    {SO_KEEPALIVE, SocketOptions::kKeepAlive},
    {SO_OOBINLINE, SocketOptions::kOobInline},
    {SO_NO_CHECK, SocketOptions::kNoCheck},
    {SO_REUSEPORT, SocketOptions::kReusePort},
    {SO_PASSCRED, SocketOptions::kPassCredentials, For::kUnix},
    {kSoPassPidfd, SocketOptions::kPassPidfd, For::kUnixOnly},
    {SO_PASSSEC, SocketOptions::kPassSecurity, For::kUnix},
    {kSoPassRights, SocketOptions::kPassRights, For::kUnixOnly},
    {SO_RXQ_OVFL, SocketOptions::kReceiveOverflow},
    {SO_SELECT_ERR_QUEUE, SocketOptions::kSelectErrorQueue},
    {SO_LOCK_FILTER, SocketOptions::kLockFilter},
    {kSoReceiveMark, SocketOptions::kReceiveMark},
    {SO_WIFI_STATUS, SocketOptions::kWifiStatus},
    {SO_NOFCS, SocketOptions::kNoFcs},
    {kSoPreferBusyPoll, SocketOptions::kPreferBusyPoll},
};

const Switch* FindSwitch(int name) {
  const auto* it = std::find_if(std::begin(kSwitches), std::end(kSwitches),
                                [name](const Switch& s) { return s.name == name; });
  return it == std::end(kSwitches) ? nullptr : it;
}

bool IsInet(const SocketKind& what) { return what.domain == AF_INET || what.domain == AF_INET6; }

// Families that have a set_peek_off().
bool HasPeekOffset(const SocketKind& what) {
  return what.domain == AF_UNIX || (IsInet(what) && what.type != SOCK_RAW);
}

bool Applies(For whom, const SocketKind& what) {
  if (whom == For::kInet) return IsInet(what);
  if (whom == For::kUnixOnly) return what.domain == AF_UNIX;
  // sk_may_scm_recv() of Linux.
  if (whom == For::kUnix) return what.domain == AF_UNIX || what.domain == AF_NETLINK;
  return true;
}

bool IsNetworkAdmin(const Task& task) { return task.creds().HasCapability(CAP_NET_ADMIN); }

int Doubled(int wanted, int minimum, int limit) {
  return std::max(std::min(wanted, limit) * 2, minimum);
}

// struct timeval of SO_RCVTIMEO: 0 is for ever, what is negative has passed already
// (sock_set_timeout()).
Result<int64_t> ReadTimeout(std::span<const std::byte> value) {
  timeval time{};
  if (value.size() < sizeof(time)) return Errno(EINVAL);
  memcpy(&time, value.data(), sizeof(time));
  if (time.tv_usec < 0 || time.tv_usec >= 1'000'000) return Errno(EDOM);
  if (time.tv_sec < 0) return int64_t{1};
  if (time.tv_sec >= LONG_MAX / kSecond - 1) return int64_t{0};
  return time.tv_sec * kSecond + time.tv_usec * 1000;
}

std::string TimeoutBytes(int64_t ns) {
  return OptionBytes(timeval{.tv_sec = ns / kSecond, .tv_usec = ns % kSecond / 1000});
}

}  // namespace

Result<int> ReadIntOption(std::span<const std::byte> value) {
  int number = 0;
  if (value.size() < sizeof(number)) return Errno(EINVAL);
  memcpy(&number, value.data(), sizeof(number));
  return number;
}

void SocketOptions::InheritFrom(const SocketOptions& other) {
  flags_.store(other.flags_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  const auto copy = [](auto& to, const auto& from) { to.store(from.load()); };
  copy(send_buffer, other.send_buffer);
  copy(receive_buffer, other.receive_buffer);
  copy(receive_low_water, other.receive_low_water);
  copy(linger_seconds, other.linger_seconds);
  copy(priority, other.priority);
  copy(mark, other.mark);
  copy(buffer_lock, other.buffer_lock);
  copy(tx_rehash, other.tx_rehash);
  copy(bound_device, other.bound_device);
  copy(max_pacing_rate, other.max_pacing_rate);
  copy(send_timeout_ns, other.send_timeout_ns);
  copy(receive_timeout_ns, other.receive_timeout_ns);
}

Result<std::string> SocketOptions::Get(Task& task, const SocketKind& what, int name) const {
  if (const Switch* found = FindSwitch(name)) {
    if (!Applies(found->whom, what)) return Errno(EOPNOTSUPP);
    return OptionBytes(has(found->flag) ? 1 : 0);
  }
  switch (name) {
    case SO_SNDBUF:
      return OptionBytes(send_buffer.load());
    case SO_RCVBUF:
      return OptionBytes(receive_buffer.load());
    case SO_RCVLOWAT:
      return OptionBytes(receive_low_water.load());
    case SO_SNDLOWAT:
      return OptionBytes(1);
    case SO_RCVTIMEO:
    case kSoReceiveTimeoutNew:
      return TimeoutBytes(receive_timeout_ns);
    case SO_SNDTIMEO:
    case kSoSendTimeoutNew:
      return TimeoutBytes(send_timeout_ns);
    case SO_LINGER:
      return OptionBytes(linger{.l_onoff = has(kLingers), .l_linger = linger_seconds});
    case SO_PRIORITY:
      return OptionBytes(priority.load());
    case SO_MARK:
      return OptionBytes(mark.load());
    case SO_TIMESTAMP:
      return OptionBytes(has(kTimestamp) && !has(kTimestampNs) && !has(kTimestampNew) ? 1 : 0);
    case SO_TIMESTAMPNS:
      return OptionBytes(has(kTimestampNs) && !has(kTimestampNew) ? 1 : 0);
    case kSoTimestampNew:
      return OptionBytes(has(kTimestamp) && has(kTimestampNew) ? 1 : 0);
    case kSoTimestampNsNew:
      return OptionBytes(has(kTimestampNs) && has(kTimestampNew) ? 1 : 0);
    case SO_TIMESTAMPING:
    case kSoTimestampingNew: {
      const bool told = name == SO_TIMESTAMPING || has(kTimestampNew);
      // struct so_timestamping.
      return OptionBytes(std::array<int, 2>{told ? timestamping.load() : 0, 0});
    }
    case kSoSendTime:
      return OptionBytes(std::array<int, 2>{send_clock.load(), send_clock_flags.load()});
    case SO_PEEK_OFF:
      if (!HasPeekOffset(what)) return Errno(EOPNOTSUPP);
      return OptionBytes(peek_offset.load());
    case SO_INCOMING_CPU:
      return OptionBytes(incoming_cpu.load());
    case SO_BUSY_POLL:
      return OptionBytes(busy_poll.load());
    case SO_MAX_PACING_RATE:
      return OptionBytes(max_pacing_rate.load());
    case SO_BINDTOIFINDEX:
      return OptionBytes(bound_device.load());
    case SO_BINDTODEVICE:
      if (bound_device == 0) return std::string();
      return bound_device == kLoopback ? std::string("lo", 3) : Result<std::string>(Errno(ENODEV));
    case SO_MEMINFO:
      // Of SK_MEMINFO_VARS the two that are limits.
      return OptionBytes(std::array<uint32_t, 9>{0, static_cast<uint32_t>(receive_buffer.load()), 0,
                                                 static_cast<uint32_t>(send_buffer.load())});
    case kSoBufLock:
      return OptionBytes(buffer_lock.load());
    case kSoTxRehash:
      if (!IsInet(what) || what.type != SOCK_STREAM) return Errno(EOPNOTSUPP);
      return OptionBytes(tx_rehash.load());
    case SO_PEERGROUPS:
    case kSoPeerPidfd:
      return Errno(ENODATA);  // Of sockets without a peer that is a process.
    case SO_BSDCOMPAT:
    case kSoReserveMemory:
    case SO_INCOMING_NAPI_ID:
      return OptionBytes(0);
    case SO_ZEROCOPY:
      return OptionBytes(0);
    case SO_BPF_EXTENSIONS:
      return OptionBytes(64);  // bpf_tell_extensions(): SKF_AD_MAX.
    case SO_PEERCRED:
      // Of sockets without a peer that could be named.
      return OptionBytes(std::array<int32_t, 3>{0, -1, -1});
    default:
      return Errno(ENOPROTOOPT);
  }
}

Status SocketOptions::Set(Task& task, const SocketKind& what, int name,
                          std::span<const std::byte> value) {
  // sk_setsockopt() wants an int's worth of bytes for every option but one.
  if (name == SO_BINDTODEVICE) {
    const std::string_view bytes(reinterpret_cast<const char*>(value.data()), value.size());
    const std::string_view device = bytes.substr(0, bytes.find('\0'));
    if (!device.empty() && device != "lo") return Errno(ENODEV);
    return SetDevice(task, device.empty() ? 0 : kLoopback);
  }
  const int number = TRY(ReadIntOption(value));
  switch (name) {
    case SO_RCVTIMEO:
    case kSoReceiveTimeoutNew:
      receive_timeout_ns = TRY(ReadTimeout(value));
      return kOk;
    case SO_SNDTIMEO:
    case kSoSendTimeoutNew:
      send_timeout_ns = TRY(ReadTimeout(value));
      return kOk;
    case SO_LINGER: {
      linger wanted{};
      if (value.size() < sizeof(wanted)) return Errno(EINVAL);
      memcpy(&wanted, value.data(), sizeof(wanted));
      if (wanted.l_onoff != 0) linger_seconds = wanted.l_linger;
      Set(kLingers, wanted.l_onoff != 0);
      return kOk;
    }
    case SO_MAX_PACING_RATE: {
      uint64_t rate = static_cast<uint32_t>(number);
      if (value.size() >= sizeof(rate)) memcpy(&rate, value.data(), sizeof(rate));
      max_pacing_rate = rate == UINT32_MAX && value.size() < sizeof(rate) ? UINT64_MAX : rate;
      return kOk;
    }
    case kSoSendTime:
      return SetSendTime(task, value);
    case SO_ATTACH_FILTER:
      return AttachFilter(task, what, value);
    default:
      return SetInt(task, what, name, number);
  }
}

// sock_bindtoindex_locked(): anybody may choose once; to change it takes a right.
Status SocketOptions::SetDevice(const Task& task, int index) {
  if (bound_device != 0 && !task.creds().HasCapability(CAP_NET_RAW)) return Errno(EPERM);
  if (index < 0) return Errno(EINVAL);
  bound_device = index;  // Linux does not look whether it is there.
  return kOk;
}

Status SocketOptions::SetTxRehash(const SocketKind& what, int value) {
  if (!IsInet(what) || what.type != SOCK_STREAM) return Errno(EOPNOTSUPP);
  if (value < -1 || value > 1) return Errno(EINVAL);
  tx_rehash = value == -1 ? 1 : value;  // net.core.txrehash.
  return kOk;
}

bool SocketOptions::tells_software_time() const {
  constexpr int kBoth = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
  return (timestamping.load(std::memory_order_relaxed) & kBoth) == kBoth;
}

// sock_set_timestamping() of Linux. Packets are never sent, so that there is no time at which one
// leaves: who wants to know of it is refused, as is a stream, whose bytes have no times.
Status SocketOptions::SetTimestamping(const SocketKind& what, int name, int flags) {
  constexpr int kSent = SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_TX_SOFTWARE |
                        SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_TX_ACK;
  constexpr int kKnown = SOF_TIMESTAMPING_LAST * 2 - 1;
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  if ((flags & SOF_TIMESTAMPING_OPT_STATS) != 0 && (flags & SOF_TIMESTAMPING_OPT_TSONLY) == 0) {
    return Errno(EINVAL);
  }
  const bool inet_stream = what.type == SOCK_STREAM && what.domain != AF_UNIX;
  if ((flags & kSent) != 0 || (inet_stream && flags != 0)) return Errno(EOPNOTSUPP);
  timestamping = flags;
  Set(kTimestampNew, name == kSoTimestampingNew);
  return kOk;
}

// sk_attach_filter() of Linux. A stream over TCP has no packets with headers to show.
Status SocketOptions::AttachFilter(Task& task, const SocketKind& what,
                                   std::span<const std::byte> value) {
  if (IsInet(what) && what.type == SOCK_STREAM) return Errno(ENOPROTOOPT);
  struct Program {  // struct sock_fprog
    uint16_t length, unused[3];
    uint64_t code;
  } program{};
  if (value.size() != sizeof(program)) return Errno(EINVAL);
  memcpy(&program, value.data(), sizeof(program));
  if (has(kLockFilter)) return Errno(EPERM);
  if (program.code == 0 || program.length == 0 || program.length > BPF_MAXINSNS) {
    return Errno(EINVAL);
  }
  std::vector<sock_filter> code(program.length);
  TRY(task.mem().ReadBytes(UserAddr{program.code}, std::as_writable_bytes(std::span(code))));
  filter.Set(TRY(SocketFilter::Create(code)));
  return kOk;
}

Status SocketOptions::DetachFilter() {
  if (has(kLockFilter)) return Errno(EPERM);
  if (filter.empty()) return Errno(ENOENT);
  filter.Set(nullptr);
  return kOk;
}

// sock_set_timestamp() of Linux.
void SocketOptions::SetTimestamp(int name, bool on) {
  Set(kTimestamp, on);
  Set(kTimestampNs, on && (name == SO_TIMESTAMPNS || name == kSoTimestampNsNew));
  if (on) Set(kTimestampNew, name == kSoTimestampNew || name == kSoTimestampNsNew);
}

int SocketOptions::StampType(int name) const {
  if (!has(kTimestampNew)) return name;
  return name == SO_TIMESTAMP     ? kSoTimestampNew
         : name == SO_TIMESTAMPNS ? kSoTimestampNsNew
                                  : kSoTimestampingNew;
}

Status SocketOptions::SetSendTime(const Task& task, std::span<const std::byte> value) {
  constexpr uint32_t kKnown = SOF_TXTIME_DEADLINE_MODE | SOF_TXTIME_REPORT_ERRORS;
  sock_txtime wanted{};
  if (value.size() != sizeof(wanted)) return Errno(EINVAL);
  memcpy(&wanted, value.data(), sizeof(wanted));
  if ((wanted.flags & ~kKnown) != 0) return Errno(EINVAL);
  if (wanted.clockid != CLOCK_MONOTONIC && !IsNetworkAdmin(task)) return Errno(EPERM);
  Set(kSendTime, true);
  send_clock = wanted.clockid;
  send_clock_flags = static_cast<int>(wanted.flags);
  return kOk;
}

Status SocketOptions::SetInt(Task& task, const SocketKind& what, int name, int value) {
  if (const Switch* found = FindSwitch(name)) {
    if (!Applies(found->whom, what)) return Errno(EOPNOTSUPP);
    if (name == SO_DEBUG && value != 0 && !IsNetworkAdmin(task)) return Errno(EACCES);
    if (name == SO_REUSEPORT && value != 0 && !IsInet(what)) return Errno(EOPNOTSUPP);
    if (name == kSoPreferBusyPoll && value != 0 && !IsNetworkAdmin(task)) return Errno(EPERM);
    if (name == SO_LOCK_FILTER && value == 0 && has(kLockFilter)) return Errno(EPERM);
    Set(found->flag, value != 0);
    return kOk;
  }
  switch (name) {
    case SO_TYPE:
    case SO_PROTOCOL:
    case SO_DOMAIN:
    case SO_ERROR:
    case SO_ACCEPTCONN:
    case SO_SNDLOWAT:
      return Errno(ENOPROTOOPT);
    case SO_SNDBUF:
      // Compared as unsigned, so that what is negative means the most (sock(7)).
      buffer_lock |= kSendLocked;
      send_buffer = Doubled(value < 0 ? kMaxBuffer : value, kMinSendBuffer, kMaxBuffer);
      return kOk;
    case SO_RCVBUF:
      buffer_lock |= kReceiveLocked;
      receive_buffer = Doubled(value < 0 ? kMaxBuffer : value, kMinReceiveBuffer, kMaxBuffer);
      return kOk;
    case SO_SNDBUFFORCE:
      if (!IsNetworkAdmin(task)) return Errno(EPERM);
      buffer_lock |= kSendLocked;
      send_buffer = Doubled(std::max(value, 0), kMinSendBuffer, kMaxForcedBuffer);
      return kOk;
    case SO_RCVBUFFORCE:
      if (!IsNetworkAdmin(task)) return Errno(EPERM);
      buffer_lock |= kReceiveLocked;
      receive_buffer = Doubled(std::max(value, 0), kMinReceiveBuffer, kMaxForcedBuffer);
      return kOk;
    case SO_RCVLOWAT:
      receive_low_water = value < 0 ? INT_MAX : std::max(value, 1);
      return kOk;
    case SO_PRIORITY:
      if ((value < 0 || value > 6) && !IsNetworkAdmin(task) &&
          !task.creds().HasCapability(CAP_NET_RAW)) {
        return Errno(EPERM);
      }
      priority = value;
      return kOk;
    case SO_MARK:
      if (!IsNetworkAdmin(task) && !task.creds().HasCapability(CAP_NET_RAW)) return Errno(EPERM);
      mark = value;
      return kOk;
    case SO_TIMESTAMP:
    case SO_TIMESTAMPNS:
    case kSoTimestampNew:
    case kSoTimestampNsNew:
      SetTimestamp(name, value != 0);
      return kOk;
    case SO_TIMESTAMPING:
    case kSoTimestampingNew:
      return SetTimestamping(what, name, value);
    case SO_PEEK_OFF:
      // For those that implement it: sk_set_peek_off().
      if (!HasPeekOffset(what)) return Errno(EOPNOTSUPP);
      if (value < -1) return Errno(EINVAL);
      peek_offset = value;
      return kOk;
    case SO_INCOMING_CPU:
      incoming_cpu = value;
      return kOk;
    case SO_BUSY_POLL:
      if (value < 0) return Errno(EINVAL);
      if (value > busy_poll && !IsNetworkAdmin(task)) return Errno(EPERM);
      busy_poll = value;
      return kOk;
    case SO_ZEROCOPY:
      // MSG_ZEROCOPY copies, as Linux does over loopback; but nothing would be told of its end.
      if (value < 0 || value > 1) return Errno(EINVAL);
      return Errno(EOPNOTSUPP);
    case SO_BINDTOIFINDEX:
      return SetDevice(task, value);
    case kSoBufLock:
      if ((value & ~(kSendLocked | kReceiveLocked)) != 0) return Errno(EINVAL);
      buffer_lock = value;
      return kOk;
    case kSoTxRehash:
      return SetTxRehash(what, value);
    case SO_BSDCOMPAT:
      return kOk;
    case kSoAttachBpf:
      return Errno(value < 0 ? EBADF
                             : EINVAL);  // No descriptor is of a program: there is no bpf(2).
    case SO_DETACH_FILTER:
      return DetachFilter();
    default:
      // As a kernel that was built without it.
      return Errno(ENOPROTOOPT);
  }
}

}  // namespace sentry
