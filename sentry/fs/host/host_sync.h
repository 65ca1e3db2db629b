#ifndef SENTRY_FS_HOST_HOST_SYNC_H_
#define SENTRY_FS_HOST_HOST_SYNC_H_

#include "base/result.h"

namespace sentry {

// fsync(2) of the host, which may take as long as its disk likes: meanwhile others are served.
Status SyncOnHost(int fd);

}  // namespace sentry

#endif  // SENTRY_FS_HOST_HOST_SYNC_H_
