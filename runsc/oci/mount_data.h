// What a mount's data says to the filesystem: "size=64k,mode=755".
#ifndef RUNSC_OCI_MOUNT_DATA_H_
#define RUNSC_OCI_MOUNT_DATA_H_

#include <string>

#include "absl/status/status.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/tty/devpts.h"

namespace runsc::oci {

// tmpfs(5): size, nr_blocks, nr_inodes, mode, uid, gid; huge and mpol, which are the host's affair,
// are accepted. A failure begins with `what`.
absl::Status ReadTmpfsData(const std::string& what, const std::string& data,
                           sentry::TmpfsOptions& options);
// pts: uid, gid, mode, ptmxmode, max, newinstance.
absl::Status ReadDevptsData(const std::string& what, const std::string& data,
                            sentry::DevptsOptions& options);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_MOUNT_DATA_H_
