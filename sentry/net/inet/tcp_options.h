// The options at level IPPROTO_TCP: tcp(7).
#ifndef SENTRY_NET_INET_TCP_OPTIONS_H_
#define SENTRY_NET_INET_TCP_OPTIONS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"
#include "sentry/net/inet/ip_options.h"

namespace sentry {

// Values as set. Nothing is ever lost, delayed or probed between two sockets of a sandbox, so that
// most of them have nothing to do but be told.
class TcpOptions {
 public:
  enum Field : uint8_t {
    kNoDelay,
    kCork,
    kKeepIdle,
    kKeepInterval,
    kKeepCount,
    kSynCount,
    kLinger2,
    kUserTimeout,
    kDeferAccept,
    kNotSentLowWater,
    kMaxSegment,
    kQuickAck,
    kFastOpen,
    kFastOpenConnect,
    kFastOpenNoCookie,
    kWindowClamp,
    kSaveSyn,
    kThinLinear,
    kThinDupack,
    kTimestamp,
    kInq,
    kTxDelay,
    kRepair,
    kCongestion,
    kCount
  };

  TcpOptions();
  int get(Field field) const { return values_[field].load(std::memory_order_relaxed); }
  void set(Field field, int value) { values_[field].store(value, std::memory_order_relaxed); }
  void InheritFrom(const TcpOptions& other);

  // ENOPROTOOPT for what is not kept here.
  Result<std::string> Get(int name) const;
  Status Set(int name, std::span<const std::byte> value);

 private:
  std::array<std::atomic<int>, kCount> values_;
};

}  // namespace sentry

#endif  // SENTRY_NET_INET_TCP_OPTIONS_H_
