// systemd's part in a control group: a transient scope, asked for over D-Bus.
#ifndef RUNSC_CGROUP_SYSTEMD_H_
#define RUNSC_CGROUP_SYSTEMD_H_

#include <sys/types.h>

#include "absl/status/status.h"
#include "runsc/cgroup/host.h"

namespace runsc::cgroup {

// Asks for `placement.unit` in `placement.slice` with `pid` in it, and waits until it is there.
absl::Status StartScope(const Placement& placement, pid_t pid);
absl::Status StopScope(const Placement& placement);

}  // namespace runsc::cgroup

#endif  // RUNSC_CGROUP_SYSTEMD_H_
