// The sentry's part of a pod: the containers besides the one that the sandbox was made for.
#ifndef RUNSC_OCI_MEMBERS_H_
#define RUNSC_OCI_MEMBERS_H_

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/unique_fd.h"
#include "runsc/config.h"
#include "sentry/task/kernel.h"

namespace runsc::oci {

class Member;

// One per sentry. Each container has a thread that takes the commands of its monitor; and a kernel
// of its own, a pid namespace that is, unless it shares the sandbox's.
class Members {
 public:
  // Both outlive it.
  Members(sentry::Kernel& kernel, const Config& config);
  ~Members();

  // `fds` as pod.h has them. Whether it could be set up is reported on the container's own socket.
  absl::Status Add(std::vector<UniqueFd> fds);

 private:
  sentry::Kernel& kernel_;
  const Config& config_;
  absl::Mutex mu_;
  // What is left of one that has ended stays until the sandbox ends: tasks that are about to go,
  // and whoever has a file of it open, know its kernel.
  std::vector<std::unique_ptr<Member>> members_ ABSL_GUARDED_BY(mu_);
};

}  // namespace runsc::oci

#endif  // RUNSC_OCI_MEMBERS_H_
