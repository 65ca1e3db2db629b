// Starts the gofer and the sentry, each in its own namespaces.
#ifndef RUNSC_LAUNCH_H_
#define RUNSC_LAUNCH_H_

#include <sys/types.h>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/config.h"

namespace runsc {

// Who a child is once its id maps are written, in its own user namespace.
struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
};

// A child as its parent sees it.
struct Child {
  pid_t pid = -1;
  UniqueFd control;  // control.h
};

struct Sandbox {
  Child gofer;
  Child sentry;
  Child network;  // The network gofer; there is none without a network of the host.
};

// Returns when all have been told to go on. On failure nothing is left.
// Requires: no threads, and SIGCHLD blocked with the default action.
absl::StatusOr<Sandbox> Launch(const Config& config);

// What the sentry of a pod is handed for one more container: its ends of control.h's socket and of
// the gofer's.
struct Handover {
  UniqueFd control, files, ring;
};
// Starts the gofer of such a container. The result's sentry has no process.
// Requires: as Launch.
absl::StatusOr<Sandbox> LaunchGofer(const Config& config, Handover& handover);

// Kills and reaps what is left of a child.
void Kill(Child& child);

}  // namespace runsc

#endif  // RUNSC_LAUNCH_H_
