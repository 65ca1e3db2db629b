// The control group of a container, by what the store knows of it.
#ifndef RUNSC_OCI_GROUPS_H_
#define RUNSC_OCI_GROUPS_H_

#include <sys/types.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runsc/cgroup/manager.h"
#include "runsc/config.h"
#include "runsc/oci/container.h"
#include "runsc/oci/store.h"

namespace runsc::oci {

// Where it will be: nothing is made yet.
absl::StatusOr<cgroup::Placement> LocateGroup(const Config& config, const Container& container);
// Makes it for the process `pid`, which is to enter it, and sets the limits of the spec.
// `placement` is what was made.
absl::Status MakeGroup(const Config& config, const Container& container, pid_t pid,
                       cgroup::Placement& placement);
// Of the container with this directory in the store; without directories when it has none, or none
// that is known.
cgroup::Manager GroupOf(const std::string& directory);
// What the store is to know, by a file of its own: it has to be found when state.json is damaged.
absl::Status SaveGroup(const std::string& directory, const cgroup::Placement& placement);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_GROUPS_H_
