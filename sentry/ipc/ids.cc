#include "sentry/ipc/ids.h"

#include <linux/capability.h>

namespace sentry {

Status IpcPermissions::Check(const Credentials& creds, uint32_t wanted) const {
  const uint32_t requested = (wanted >> 6) | (wanted >> 3) | wanted;
  uint32_t granted = mode;
  if (creds.euid == cuid || creds.euid == uid) {
    granted >>= 6;
  } else if (creds.InGroup(cgid) || creds.InGroup(gid)) {
    granted >>= 3;
  }
  if ((requested & ~granted & 7) == 0 || creds.HasCapability(CAP_IPC_OWNER)) return kOk;
  return Errno(EACCES);
}

Status IpcPermissions::CheckOwner(const Credentials& creds) const {
  if (creds.euid == cuid || creds.euid == uid || creds.HasCapability(CAP_SYS_ADMIN)) return kOk;
  return Errno(EPERM);
}

}  // namespace sentry
