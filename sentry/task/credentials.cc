#include "sentry/task/credentials.h"

#include <algorithm>

namespace sentry {

Credentials Credentials::ForUser(uint32_t uid, uint32_t gid) {
  Credentials creds;
  creds.uid = creds.euid = creds.suid = creds.fsuid = uid;
  creds.gid = creds.egid = creds.sgid = creds.fsgid = gid;
  creds.bounding = kAllCapabilities;
  if (uid == 0) creds.permitted = creds.effective = kAllCapabilities;
  return creds;
}

bool Credentials::InGroup(uint32_t gid) const {
  return gid == fsgid || std::find(groups.begin(), groups.end(), gid) != groups.end();
}

}  // namespace sentry
