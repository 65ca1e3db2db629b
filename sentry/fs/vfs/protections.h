// fs.protected_* (proc_sys_fs(5)): what others may have put into a directory that everybody can
// write to is not followed, linked or opened by mistake.
#ifndef SENTRY_FS_VFS_PROTECTIONS_H_
#define SENTRY_FS_VFS_PROTECTIONS_H_

#include <atomic>

#include "base/result.h"
#include "sentry/fs/inode.h"
#include "sentry/task/credentials.h"

namespace sentry {

// The values are those that systemd sets, which Debian has.
struct Protections {
  std::atomic<int> symlinks{1};   // 0 or 1.
  std::atomic<int> hardlinks{1};  // 0 or 1.
  std::atomic<int> fifos{1};      // Up to 2.
  std::atomic<int> regular{2};    // Up to 2.

  // may_follow_link() of Linux for the last component of a path: EACCES. Most directories are not
  // sticky, so that nothing more is asked of the file system; likewise below.
  Status CheckFollow(Inode& directory, Inode& link, const Credentials& creds) const;
  // may_create_in_sticky() for a file that O_CREAT has found: EACCES.
  Status CheckFound(Inode& directory, Inode& file, const Credentials& creds) const;
  // may_linkat(): EPERM.
  Status CheckLink(const Attributes& file, const Credentials& creds) const;
};

}  // namespace sentry

#endif  // SENTRY_FS_VFS_PROTECTIONS_H_
