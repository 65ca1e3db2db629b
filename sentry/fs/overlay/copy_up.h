// Copies from the lower to the upper filesystem of an overlay.
#ifndef SENTRY_FS_OVERLAY_COPY_UP_H_
#define SENTRY_FS_OVERLAY_COPY_UP_H_

#include <cstdint>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/inode.h"

namespace sentry {

// A new unnamed inode in the filesystem of `upper` with type, owner, mode, times and extended
// attributes of `lower`, and its target if it is a symlink. A regular file is empty.
Result<Ref<Inode>> CopyAttributesUp(Inode& lower, Inode& upper);
// The first `size` bytes of a regular file; holes stay holes. Keeps the modification time.
Status CopyDataUp(Inode& lower, Inode& upper, uint64_t size);

}  // namespace sentry

#endif  // SENTRY_FS_OVERLAY_COPY_UP_H_
