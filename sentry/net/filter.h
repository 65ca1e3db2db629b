// Filters of sockets, SO_ATTACH_FILTER: socket(7), Documentation/networking/filter.rst.
#ifndef SENTRY_NET_FILTER_H_
#define SENTRY_NET_FILTER_H_

#include <linux/filter.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"

namespace sentry {

// A program of classic BPF over a packet. Immutable; it cannot loop, since jumps lead forward.
class SocketFilter final : public RefCounted {
 public:
  // EINVAL for what bpf_check_classic() of Linux refuses, and for loads of what is beside the
  // packet (SKF_AD_OFF, SKF_NET_OFF, SKF_LL_OFF): packets here have neither devices nor headers.
  static Result<Ref<SocketFilter>> Create(std::span<const sock_filter> code);
  explicit SocketFilter(std::vector<sock_filter> code) : code_(std::move(code)) {}

  // How many bytes of it may be kept; 0: it is dropped.
  uint32_t Run(std::span<const std::byte> packet) const;

 private:
  const std::vector<sock_filter> code_;
};

// A socket's filter, if it has one. Thread-safe.
class FilterSlot {
 public:
  // Puts nullptr in to detach.
  void Set(Ref<SocketFilter> filter) ABSL_LOCKS_EXCLUDED(mu_);
  Ref<SocketFilter> Get() const ABSL_LOCKS_EXCLUDED(mu_);
  bool empty() const { return !attached_.load(std::memory_order_acquire); }
  // How many of the packet's bytes go on, at least `least` (sk_filter_trim_cap()); nullopt: it is
  // dropped.
  std::optional<size_t> Keep(std::span<const std::byte> packet, size_t least = 1) const
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  std::atomic<bool> attached_{false};
  mutable absl::Mutex mu_;  // Leaf.
  Ref<SocketFilter> filter_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_NET_FILTER_H_
