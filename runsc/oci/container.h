// A container as the processes that set it up see it.
#ifndef RUNSC_OCI_CONTAINER_H_
#define RUNSC_OCI_CONTAINER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runsc/oci/store.h"
#include "runsc/spec/spec.h"

namespace runsc::oci {

// A part of the host that the container has, besides its root: a bind mount's source.
struct HostTree {
  std::string source;  // Absolute, without symlinks.
  bool writable = false;
};

struct Container {
  std::string id;
  std::string bundle;  // Absolute.
  std::string rootfs;  // Likewise.
  spec::Spec spec;
  std::vector<HostTree> host_trees;       // The gofer's exports from number 1 on.
  std::vector<uint32_t> export_of_mount;  // For each of spec.mounts: its export, 0 without one.
  int preserve_fds = 0;                   // Descriptors from 3 on that the process gets.
  // In a pod: where the store has its sandbox, and CLONE_NEW* of the namespaces that are the
  // sandbox's.
  std::string sandbox_directory;
  uint64_t joins = 0;
};

// Reads and checks the bundle, and looks for everything on the host that it names. A failure is one
// line.
absl::StatusOr<Container> LoadContainer(const std::string& id, const std::string& bundle,
                                        const Store& store);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_CONTAINER_H_
