// systemd's part in a control group: a transient scope, which its manager is asked for.
#ifndef RUNSC_CGROUP_SYSTEMD_H_
#define RUNSC_CGROUP_SYSTEMD_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runsc/cgroup/host.h"
#include "runsc/spec/resources.h"

namespace runsc::cgroup {

enum class ManagerKind : uint8_t { kSystem, kUser };

// The manager that runs here: the system's, or the caller's own (systemd --user). A failure says
// that none does.
absl::StatusOr<UnitManager> FindManager(ManagerKind kind);

// Asks for `placement.unit` in `placement.slice` with `pid` in it and these limits, and waits until
// it is there. An old one of the name, without processes, gives way.
absl::Status StartScope(const Placement& placement, pid_t pid,
                        const std::optional<spec::Resources>& resources);
// New limits for it, until it ends.
absl::Status UpdateScope(const Placement& placement, const spec::Resources& resources);
// Ends it and waits until it is gone. Success when there is none, or one of this name that is not
// the one of `placement`.
absl::Status StopScope(const Placement& placement);

}  // namespace runsc::cgroup

#endif  // RUNSC_CGROUP_SYSTEMD_H_
