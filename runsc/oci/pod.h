// Pods: several containers in one sandbox, by the annotations of Kubernetes' runtimes (containerd's
// pkg/cri/annotations, CRI-O's pkg/annotations).
#ifndef RUNSC_OCI_POD_H_
#define RUNSC_OCI_POD_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runsc/launch.h"
#include "runsc/oci/container.h"
#include "runsc/oci/store.h"
#include "runsc/spec/spec.h"

namespace runsc::oci {

// The id of the pod's sandbox for a container that is to run in it; empty for every other.
std::string PodOf(const spec::Spec& spec);

// Whether it is what a pod begins with.
bool IsPodSandbox(const spec::Spec& spec);

// For the pod's sandbox: the limits of the whole pod, which its annotations name, are its own. A
// failure names the annotation.
absl::Status ApplyPodLimits(spec::Spec& spec);

// For a container in a pod: finds the sandbox, and takes the namespaces of the spec apart into
// those that are the sandbox's (Container::joins) and its own. Paths of namespaces must be the
// sandbox's.
absl::Status JoinPod(const Store& store, Container& container);

// In the monitor of such a container, instead of Launch: starts its gofer and has the sandbox's
// sentry take the container in. `directory` is the container's in the store. `sentry` of the result
// has no process.
absl::StatusOr<Sandbox> LaunchInPod(const Config& config, const std::string& directory);

// What comes with Request::Kind::kAddContainer: the description, the socket of control.h, the
// gofer's socket and ring, and from here on the descriptors of the first process, and behind those
// the files of ContainerGroup.
inline constexpr size_t kPodFds = 4;

// The description, there and back. EPROTO for anything else.
Result<UniqueFd> DescribeContainer(const Config& config, size_t group_files);
struct Described {
  Container container;
  bool overlay = false;  // In memory.
  bool shared = true;    // GoferFs: others may change the root.
  size_t group_files = 0;
};
absl::StatusOr<Described> ReadDescription(int fd);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_POD_H_
