// Permission rules that several operations share.
#ifndef SENTRY_FS_VFS_PERMISSIONS_H_
#define SENTRY_FS_VFS_PERMISSIONS_H_

#include <cstdint>

#include "base/result.h"
#include "sentry/fs/types.h"
#include "sentry/task/credentials.h"

namespace sentry {

bool InGroup(const Credentials& creds, uint32_t gid);
bool OwnerOrCapable(const Credentials& creds, const Attributes& attributes);
// EPERM if the sticky bit of `directory` protects `victim`, which lies in it.
Status CheckSticky(const Credentials& creds, const Attributes& directory, const Attributes& victim);
// The permission bits that chown, write and truncate leave: without set-id bits.
uint32_t ModeAfterChown(const Attributes& attributes, const Credentials& creds);

}  // namespace sentry

#endif  // SENTRY_FS_VFS_PERMISSIONS_H_
