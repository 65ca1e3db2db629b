// Where a container's monitor goes before anything is started: what it enters, all of it is in.
#ifndef RUNSC_OCI_ENTER_H_
#define RUNSC_OCI_ENTER_H_

#include <string>

#include "absl/status/status.h"
#include "runsc/config.h"

namespace runsc::oci {

// In the monitor: the control group, the network namespace of the spec (joined by its path, a new
// one with `lo` up, or the caller's) and oom_score_adj.
absl::Status Enter(const Config& config, const std::string& directory);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_ENTER_H_
