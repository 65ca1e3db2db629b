#include "sentry/mm/memory_policy.h"

#include <cerrno>
#include <utility>

namespace sentry {

Status MemoryPolicies::Set(uint64_t begin, uint64_t end, MemoryPolicy policy) {
  absl::MutexLock lock(&mu_);
  if (ranges_.size() + 2 > kMost) return Errno(ENOMEM);
  auto it = ranges_.upper_bound(begin);
  if (it != ranges_.begin()) --it;
  while (it != ranges_.end() && it->first < end) {
    if (it->second.end <= begin) {
      ++it;
      continue;
    }
    const uint64_t old_begin = it->first;
    const Range old = it->second;
    it = ranges_.erase(it);
    if (old_begin < begin) ranges_[old_begin] = {begin, old.policy};
    if (old.end > end) ranges_[end] = old;
  }
  if (policy != MemoryPolicy{}) ranges_[begin] = {end, policy};
  return kOk;
}

std::optional<MemoryPolicy> MemoryPolicies::At(uint64_t addr) const {
  return FirstIn(addr, addr + 1);
}

std::optional<MemoryPolicy> MemoryPolicies::FirstIn(uint64_t begin, uint64_t end) const {
  absl::MutexLock lock(&mu_);
  auto it = ranges_.upper_bound(begin);
  if (it != ranges_.begin() && std::prev(it)->second.end > begin) --it;
  if (it == ranges_.end() || it->first >= end) return std::nullopt;
  return it->second.policy;
}

void MemoryPolicies::CopyFrom(const MemoryPolicies& other) {
  std::map<uint64_t, Range> copy;
  {
    absl::MutexLock lock(&other.mu_);
    copy = other.ranges_;
  }
  absl::MutexLock lock(&mu_);
  ranges_.swap(copy);
}

}  // namespace sentry
