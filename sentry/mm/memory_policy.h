// Where memory comes from (numa(7)), on a machine of one node: recorded and told, and without
// effect.
#ifndef SENTRY_MM_MEMORY_POLICY_H_
#define SENTRY_MM_MEMORY_POLICY_H_

#include <cstdint>
#include <map>
#include <optional>

#include "absl/synchronization/mutex.h"
#include "base/result.h"

namespace sentry {

struct MemoryPolicy {
  uint32_t mode = 0;   // MPOL_*, with MPOL_F_* in the upper bits; 0 is MPOL_DEFAULT.
  uint64_t nodes = 0;  // Bit 0: the node.
  bool operator==(const MemoryPolicy&) const = default;
};

// The policies of ranges of one address space (mbind(2)). What is unmapped without the sentry's
// knowledge keeps its policy. Thread-safe.
class MemoryPolicies {
 public:
  // MPOL_DEFAULT removes. ENOMEM when there are too many ranges.
  Status Set(uint64_t begin, uint64_t end, MemoryPolicy policy) ABSL_LOCKS_EXCLUDED(mu_);
  std::optional<MemoryPolicy> At(uint64_t addr) const ABSL_LOCKS_EXCLUDED(mu_);
  // The first range of `begin`…`end` with a policy.
  std::optional<MemoryPolicy> FirstIn(uint64_t begin, uint64_t end) const ABSL_LOCKS_EXCLUDED(mu_);
  void CopyFrom(const MemoryPolicies& other) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Range {
    uint64_t end = 0;
    MemoryPolicy policy;
  };
  static constexpr size_t kMost = 4096;

  mutable absl::Mutex mu_;                                 // Leaf.
  std::map<uint64_t, Range> ranges_ ABSL_GUARDED_BY(mu_);  // By their beginnings.
};

}  // namespace sentry

#endif  // SENTRY_MM_MEMORY_POLICY_H_
