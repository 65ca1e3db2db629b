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
