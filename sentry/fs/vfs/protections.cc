#include "sentry/fs/vfs/protections.h"

#include <sys/stat.h>
#include <unistd.h>

#include "sentry/fs/vfs.h"
#include "sentry/fs/vfs/permissions.h"

namespace sentry {

Status Protections::CheckFollow(Inode& directory, Inode& link, const Credentials& creds) const {
  if (symlinks.load(std::memory_order_relaxed) == 0) return kOk;
  constexpr uint32_t kShared = S_ISVTX | S_IWOTH;
  const Attributes above = TRY(directory.GetAttributes());
  if ((above.mode & kShared) != kShared) return kOk;
  const uint32_t uid = TRY(link.GetAttributes()).uid;
  return uid == creds.fsuid || uid == above.uid ? kOk : Status(Errno(EACCES));
}

Status Protections::CheckFound(Inode& directory, Inode& file, const Credentials& creds) const {
  const Attributes above = TRY(directory.GetAttributes());
  if ((above.mode & S_ISVTX) == 0) return kOk;
  const Attributes found = TRY(file.GetAttributes());
  int level = 1;  // Of what else there is.
  if (S_ISFIFO(found.mode)) level = fifos.load(std::memory_order_relaxed);
  if (S_ISREG(found.mode)) level = regular.load(std::memory_order_relaxed);
  if (level == 0 || found.uid == above.uid || found.uid == creds.fsuid) return kOk;
  const uint32_t writers = S_IWOTH | (level >= 2 ? S_IWGRP : 0);
  return (above.mode & writers) == 0 ? kOk : Status(Errno(EACCES));
}

// A file of somebody else can be linked by who could read and write it, unless it gives away its
// owner's or group's rights.
Status Protections::CheckLink(const Attributes& file, const Credentials& creds) const {
  if (hardlinks.load(std::memory_order_relaxed) == 0 || OwnerOrCapable(creds, file)) return kOk;
  constexpr uint32_t kGroupExecutes = S_ISGID | S_IXGRP;
  const bool gives_rights =
      (file.mode & S_ISUID) != 0 || (file.mode & kGroupExecutes) == kGroupExecutes;
  if (!S_ISREG(file.mode) || gives_rights) return Errno(EPERM);
  return Vfs::CheckAccess(file, creds, R_OK | W_OK).ok() ? kOk : Status(Errno(EPERM));
}

}  // namespace sentry
