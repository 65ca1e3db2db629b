// The tree of names that a container's processes see.
#ifndef RUNSC_OCI_TREE_H_
#define RUNSC_OCI_TREE_H_

#include "absl/status/statusor.h"
#include "runsc/config.h"
#include "runsc/oci/container.h"
#include "sentry/fs/gofer/gofer_client.h"
#include "sentry/fs/vfs.h"
#include "sentry/task/kernel.h"

namespace runsc::oci {

// The root with the spec's mounts, devices, masked and read-only paths. A failure names the mount
// or path. Both arguments must outlive the kernel's processes.
absl::StatusOr<sentry::Path> BuildTree(sentry::Kernel& kernel, sentry::GoferClient& files,
                                       const Config& config, const Container& container);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_TREE_H_
