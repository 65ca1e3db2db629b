// How stubs get descriptors of the sentry: over one socket that all of them inherit from the
// zygote.
#ifndef PLATFORM_PTRACE_DESCRIPTOR_CHANNEL_H_
#define PLATFORM_PTRACE_DESCRIPTOR_CHANNEL_H_

#include <memory>

#include "absl/synchronization/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace platform::ptrace {

// A pair of datagram sockets. Stubs receive only when their tracer makes them, and one descriptor
// at a time is under way in the whole sandbox: whoever sends holds mu() until the stub has received
// the descriptor, used it and closed it. Nothing that a stub's threads write to its memory
// meanwhile can then change which descriptor is used, because it is always number 0, the lowest one
// free.
class DescriptorChannel {
 public:
  static Result<std::unique_ptr<DescriptorChannel>> Create();

  absl::Mutex& mu() ABSL_LOCK_RETURNED(mu_) { return mu_; }
  // The receiving end, under the same number here and in every stub; not 0.
  int stub_end() const { return stub_end_.get(); }
  Status Send(int host_fd) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes back what a stub did not receive.
  void Drain() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

 private:
  DescriptorChannel() = default;

  absl::Mutex mu_;  // Leaf. Held while a stub executes calls that do not block.
  UniqueFd sentry_end_;
  UniqueFd stub_end_;
};

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_DESCRIPTOR_CHANNEL_H_
