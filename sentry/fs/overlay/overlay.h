// A writable view of a tree that does not change.
#ifndef SENTRY_FS_OVERLAY_OVERLAY_H_
#define SENTRY_FS_OVERLAY_OVERLAY_H_

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/inode.h"

namespace sentry {

class Overlay {
 public:
  // The root of a view of `lower`, in which nothing changes: a directory, or a single file. Changes
  // are kept in memory, new data in unnamed files of `upper` (Inode::CreateUnnamed; a Tmpfs). Fails
  // as reading the attributes of `lower` does.
  static Result<Ref<Inode>> Create(Ref<Inode> lower, Ref<Inode> upper);
};

}  // namespace sentry

#endif  // SENTRY_FS_OVERLAY_OVERLAY_H_
