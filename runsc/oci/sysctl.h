// linux.sysctl: only what belongs to a namespace of the container.
#ifndef RUNSC_OCI_SYSCTL_H_
#define RUNSC_OCI_SYSCTL_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "runsc/spec/spec.h"

namespace runsc::oci {

// Refuses by name what is the whole host's, and net.* without a network namespace, as runc does.
absl::Status CheckSysctls(const spec::Linux& linux_);
// By their path below /proc/sys. Those that the sentry only shows, and those that it is to be told
// through the file of that name.
std::map<std::string, std::string> ShownSysctls(const spec::Linux& linux_);
std::map<std::string, std::string> WrittenSysctls(const spec::Linux& linux_);
// net.*, in the network namespace that this process is in: it is the host that acts on them.
absl::Status SetNetworkSysctls(const spec::Linux& linux_);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_SYSCTL_H_
