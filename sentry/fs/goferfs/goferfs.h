// A tree of the host, seen through the gofer.
#ifndef SENTRY_FS_GOFERFS_GOFERFS_H_
#define SENTRY_FS_GOFERFS_GOFERFS_H_

#include <cstdint>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/gofer/gofer_client.h"
#include "sentry/fs/inode.h"

namespace sentry {

struct GoferFsOptions {
  // Exclusive: nobody else changes the tree, so names and attributes are cached for good. Shared:
  // the gofer is asked each time.
  bool shared = false;
  // What the gofer lets through, as gofer::Policy: connections to sockets of the host, new ones,
  // fifos of the host. Without it their files are names in the sandbox only.
  bool connect_sockets = false, bind_sockets = false, open_fifos = false;
};

class GoferFs {
 public:
  using Options = GoferFsOptions;
  // The root of export number `index`; a directory, or any file for an export of a file. `client`
  // must outlive every inode.
  static Result<Ref<Inode>> Create(GoferClient& client, uint32_t index, const Options& options);
};

}  // namespace sentry

#endif  // SENTRY_FS_GOFERFS_GOFERFS_H_
