// A bound of what the sentry holds for callers that wait.
#ifndef SENTRY_IPC_BUDGET_H_
#define SENTRY_IPC_BUDGET_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "base/result.h"

namespace sentry {

// What a caller has of a budget; given back at its end.
class BudgetShare {
 public:
  BudgetShare() = default;
  BudgetShare(std::atomic<uint64_t>& used, uint64_t bytes) : used_(&used), bytes_(bytes) {}
  BudgetShare(BudgetShare&& other) noexcept
      : used_(std::exchange(other.used_, nullptr)), bytes_(other.bytes_) {}
  BudgetShare& operator=(BudgetShare&& other) noexcept {
    std::swap(used_, other.used_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~BudgetShare() {
    if (used_ != nullptr) used_->fetch_sub(bytes_, std::memory_order_relaxed);
  }

 private:
  std::atomic<uint64_t>* used_ = nullptr;
  uint64_t bytes_ = 0;
};

// So many bytes, of which each caller takes a share for as long as its call lasts. Thread-safe.
class Budget {
 public:
  explicit Budget(uint64_t most) : most_(most) {}
  Budget(const Budget&) = delete;

  // ENOMEM.
  Result<BudgetShare> Take(uint64_t bytes) {
    uint64_t used = used_.load(std::memory_order_relaxed);
    do {
      if (bytes > most_ || used > most_ - bytes) return Errno(ENOMEM);
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return BudgetShare(used_, bytes);
  }

 private:
  const uint64_t most_;
  std::atomic<uint64_t> used_{0};
};

}  // namespace sentry

#endif  // SENTRY_IPC_BUDGET_H_
