#include "sentry/net/inet/tcp_options.h"

#include <linux/tcp.h>
#include <netinet/in.h>

#include <algorithm>
#include <climits>
#include <string_view>

#include "sentry/net/options.h"

namespace sentry {
namespace {

constexpr IntOption::How kRange = IntOption::kRange, kSwitch = IntOption::kSwitch;
constexpr int kTcp = IPPROTO_TCP;
using O = TcpOptions;
constexpr int kFinTimeout = 60;    // net.ipv4.tcp_fin_timeout; TCP_FIN_TIMEOUT_MAX is twice that.
constexpr int kLeastClamp = 1152;  // Half of SOCK_MIN_RCVBUF.

constexpr IntOption kOptions[] = {
    {kTcp, TCP_NODELAY, O::kNoDelay, kSwitch, 0, 0, 0},
    {kTcp, TCP_CORK, O::kCork, kSwitch, 0, 0, 0},
    {kTcp, TCP_KEEPIDLE, O::kKeepIdle, kRange, 1, 32767, 7200},
    {kTcp, TCP_KEEPINTVL, O::kKeepInterval, kRange, 1, 32767, 75},
    {kTcp, TCP_KEEPCNT, O::kKeepCount, kRange, 1, 127, 9},
    {kTcp, TCP_SYNCNT, O::kSynCount, kRange, 1, 127, 6},
    {kTcp, TCP_LINGER2, O::kLinger2, kRange, INT_MIN, INT_MAX, 60},
    {kTcp, TCP_USER_TIMEOUT, O::kUserTimeout, kRange, 0, INT_MAX, 0},
    {kTcp, TCP_DEFER_ACCEPT, O::kDeferAccept, kRange, INT_MIN, INT_MAX, 0},
    {kTcp, TCP_NOTSENT_LOWAT, O::kNotSentLowWater, kRange, INT_MIN, INT_MAX, 0},
    {kTcp, TCP_MAXSEG, O::kMaxSegment, kRange, 0, 32767, 0},
    {kTcp, TCP_QUICKACK, O::kQuickAck, kRange, INT_MIN, INT_MAX, 1},
    {kTcp, TCP_FASTOPEN, O::kFastOpen, kRange, 0, INT_MAX, 0},
    {kTcp, TCP_FASTOPEN_CONNECT, O::kFastOpenConnect, kRange, 0, 1, 0},
    {kTcp, TCP_FASTOPEN_NO_COOKIE, O::kFastOpenNoCookie, kRange, 0, 1, 0},
    {kTcp, TCP_WINDOW_CLAMP, O::kWindowClamp, kRange, 0, INT_MAX, 0},
    {kTcp, TCP_SAVE_SYN, O::kSaveSyn, kRange, 0, 2, 0},
    {kTcp, TCP_THIN_LINEAR_TIMEOUTS, O::kThinLinear, kRange, 0, 1, 0},
    {kTcp, TCP_THIN_DUPACK, O::kThinDupack, kRange, 0, 1, 0},
    {kTcp, TCP_TIMESTAMP, O::kTimestamp, kRange, INT_MIN, INT_MAX, 0},
    {kTcp, TCP_INQ, O::kInq, kRange, 0, 1, 0},
    {kTcp, TCP_TX_DELAY, O::kTxDelay, kRange, 0, INT_MAX, 0},
};

// net.ipv4.tcp_available_congestion_control.
constexpr std::string_view kCongestionControls[] = {"cubic", "reno"};

const IntOption* Find(int name) {
  const auto* it = std::find_if(std::begin(kOptions), std::end(kOptions),
                                [name](const IntOption& o) { return o.name == name; });
  return it == std::end(kOptions) ? nullptr : it;
}

std::string_view NameIn(std::span<const std::byte> value) {
  const std::string_view bytes(reinterpret_cast<const char*>(value.data()),
                               std::min<size_t>(value.size(), 15));
  return bytes.substr(0, bytes.find('\0'));
}

}  // namespace

TcpOptions::TcpOptions() {
  for (std::atomic<int>& value : values_) value.store(0, std::memory_order_relaxed);
  for (const IntOption& option : kOptions) set(static_cast<Field>(option.field), option.initial);
}

void TcpOptions::InheritFrom(const TcpOptions& other) {
  for (size_t i = 0; i < kCount; i++) values_[i].store(other.values_[i].load());
}

Result<std::string> TcpOptions::Get(int name) const {
  if (name == TCP_CONGESTION) {
    std::string bytes(kCongestionControls[get(kCongestion)]);
    bytes.resize(16);  // TCP_CA_NAME_MAX.
    return bytes;
  }
  if (name == TCP_ULP || name == TCP_SAVED_SYN) return std::string();
  const IntOption* option = Find(name);
  if (option == nullptr) return Errno(ENOPROTOOPT);
  const int value = get(static_cast<Field>(option->field));
  return OptionBytes(name == TCP_LINGER2 && value == 0 ? kFinTimeout : value);
}

Status TcpOptions::Set(int name, std::span<const std::byte> value) {
  if (name == TCP_CONGESTION) {
    if (value.empty()) return Errno(EINVAL);
    for (size_t i = 0; i < std::size(kCongestionControls); i++) {
      if (NameIn(value) != kCongestionControls[i]) continue;
      set(kCongestion, static_cast<int>(i));
      return kOk;
    }
    return Errno(ENOENT);
  }
  // Nobody encrypts here: libraries go on by themselves.
  if (name == TCP_ULP) return Errno(value.empty() ? EINVAL : ENOENT);
  const IntOption* option = Find(name);
  const int number = TRY(ReadIntOption(value));
  if (option == nullptr) return Errno(ENOPROTOOPT);
  if (name == TCP_MAXSEG && number != 0 && number < 88) return Errno(EINVAL);  // TCP_MIN_MSS.
  if (name == TCP_TIMESTAMP) return Errno(EPERM);  // For TCP_REPAIR, which is not there.
  int checked = TRY(CheckIntOption(*option, number));
  if (name == TCP_LINGER2) checked = std::clamp(checked, -1, 2 * kFinTimeout);
  if (name == TCP_WINDOW_CLAMP && checked != 0) checked = std::max(checked, kLeastClamp);
  if (name == TCP_THIN_DUPACK) checked = 0;  // Obsolete (tcp(7)).
  set(static_cast<Field>(option->field), checked);
  return kOk;
}

}  // namespace sentry
