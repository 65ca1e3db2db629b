// Named pipes: fifo(7).
#ifndef SENTRY_FS_PIPE_FIFO_H_
#define SENTRY_FS_PIPE_FIFO_H_

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"

namespace sentry {

// Opens an end of the fifo `inode`. All who have the same inode open share one pipe. Never blocks:
// an open that has to wait for the other end succeeds, counts as an end, and File::FinishOpen
// answers EAGAIN until the other end has come, with the file's wait queue to wait on. ENXIO for a
// nonblocking writer without readers.
Result<Ref<File>> OpenFifo(Inode& inode, OpenFlags flags);

}  // namespace sentry

#endif  // SENTRY_FS_PIPE_FIFO_H_
