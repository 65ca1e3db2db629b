// The options of a mount, as mount(8) writes them.
#ifndef SENTRY_FS_MOUNT_OPTIONS_H_
#define SENTRY_FS_MOUNT_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sentry {

struct MountOption {
  std::string name;
  std::optional<std::string> value;  // Absent without a "=".
};
using MountOptions = std::vector<MountOption>;

// "a" or "b=c".
MountOption ParseMountOption(std::string_view one);
// "a,b=c" taken apart.
MountOptions ParseMountOptions(std::string_view text);
// A number with an optional suffix k, m or g; EINVAL. `percent_of`: what "%" means; 0: not allowed.
Result<uint64_t> ParseMountSize(const MountOption& option, uint64_t percent_of = 0);
// A whole number; EINVAL.
Result<uint32_t> ParseMountNumber(const MountOption& option, int base);

}  // namespace sentry

#endif  // SENTRY_FS_MOUNT_OPTIONS_H_
