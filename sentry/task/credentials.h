// Who a task is: ids, groups, capabilities.
#ifndef SENTRY_TASK_CREDENTIALS_H_
#define SENTRY_TASK_CREDENTIALS_H_

#include <cstdint>
#include <vector>

namespace sentry {

// A value, copied on change. See credentials(7) and capabilities(7).
struct Credentials {
  uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0;
  uint32_t gid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<uint32_t> groups;
  uint64_t permitted = 0, effective = 0, inheritable = 0, bounding = 0, ambient = 0;
  uint32_t securebits = 0;
  bool no_new_privs = false;

  static constexpr uint64_t kAllCapabilities = (uint64_t{1} << 41) - 1;

  // Every id set to `uid`:`gid`; all capabilities for uid 0.
  static Credentials ForUser(uint32_t uid, uint32_t gid);
  bool HasCapability(int capability) const { return (effective >> capability & 1) != 0; }
  bool InGroup(uint32_t gid) const;  // fsgid or supplementary.
};

}  // namespace sentry

#endif  // SENTRY_TASK_CREDENTIALS_H_
