// The host's processes of a container, for those who look from outside.
#ifndef RUNSC_OCI_PROCESSES_H_
#define RUNSC_OCI_PROCESSES_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runsc/oci/store.h"

namespace runsc::oci {

// Host pids of its processes: the container's own pid, which stands for the first one, and a stub
// for each of the others. Sentry and gofer are not among them.
std::vector<pid_t> ProcessesOf(const Record& record);
// Runs the host's ps with `flags` ("-ef" without) and prints its lines about `pids`, as runc does.
absl::StatusOr<int> PrintTable(const std::vector<pid_t>& pids,
                               const std::vector<std::string>& flags);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_PROCESSES_H_
