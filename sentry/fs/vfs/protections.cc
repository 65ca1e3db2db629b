#include "sentry/fs/vfs/protections.h"

#include <sys/stat.h>
#include <unistd.h>

#include "sentry/fs/vfs.h"
#include "sentry/fs/vfs/permissions.h"

namespace sentry {

Status Protections::CheckFollow(const Attributes& directory, const Attributes& link,
                                const Credentials& creds) const {
  constexpr uint32_t kShared = S_ISVTX | S_IWOTH;
  if ((directory.mode & kShared) != kShared) return kOk;
  if (link.uid == creds.fsuid || link.uid == directory.uid) return kOk;
  return Errno(EACCES);
}

Status Protections::CheckFound(const Attributes& directory, const Attributes& file,
                               const Credentials& creds) const {
  const int level_of_fifos = fifos.load(std::memory_order_relaxed);
  const int level_of_files = regular.load(std::memory_order_relaxed);
  const bool fifo = S_ISFIFO(file.mode), is_regular = S_ISREG(file.mode);
  if ((fifo && level_of_fifos == 0) || (is_regular && level_of_files == 0)) return kOk;
  if ((directory.mode & S_ISVTX) == 0) return kOk;
  if (file.uid == directory.uid || file.uid == creds.fsuid) return kOk;
  if ((directory.mode & S_IWOTH) != 0) return Errno(EACCES);
  const bool strict = (fifo && level_of_fifos >= 2) || (is_regular && level_of_files >= 2);
  return strict && (directory.mode & S_IWGRP) != 0 ? Status(Errno(EACCES)) : kOk;
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
