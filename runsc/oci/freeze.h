// Stops a whole sandbox, or one container of a pod, and lets it go on.
//
// The freezer of control groups cannot: a stub whose call waits in the sentry can be killed there,
// nothing else, and the group would never be called frozen. But it stands still all the same when
// the sentry does; what is left to stop are the stubs that run the application's code. Without the
// sentry none can appear.
#ifndef RUNSC_OCI_FREEZE_H_
#define RUNSC_OCI_FREEZE_H_

#include <sys/types.h>

#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace runsc::oci {

// By the sentry's parent. Returns when the sentry stands still.
void StopAll(pid_t sentry);
void ContinueAll(pid_t sentry);

// A container whose sentry goes on serving others: its stubs alone are stopped. What the sentry was
// about to start for it appears later, so Again() is to be called now and then.
class Freezer {
 public:
  // `stubs` tells which there are now.
  explicit Freezer(std::function<std::vector<pid_t>()> stubs) : stubs_(std::move(stubs)) {}
  // Fails where a tracer takes the signal away.
  absl::Status Stop();
  void Again();
  void Continue();

 private:
  bool StopNew();

  const std::function<std::vector<pid_t>()> stubs_;
  std::set<pid_t> stopped_;
};

}  // namespace runsc::oci

#endif  // RUNSC_OCI_FREEZE_H_
