// What has been written to sysctls that are kept and shown only.
#ifndef SENTRY_NET_SYSCTL_VALUES_H_
#define SENTRY_NET_SYSCTL_VALUES_H_

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace sentry {

// By path; the paths are those of a fixed table. Thread-safe.
class SysctlValues {
 public:
  std::string Get(const std::string& path, std::string_view otherwise) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    const auto it = values_.find(path);
    return it == values_.end() ? std::string(otherwise) : it->second;
  }
  void Set(const std::string& path, std::string value) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    values_[path] = std::move(value);
  }

 private:
  absl::Mutex mu_;  // Leaf.
  std::map<std::string, std::string> values_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_NET_SYSCTL_VALUES_H_
