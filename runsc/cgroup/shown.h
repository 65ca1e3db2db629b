// What a sandbox shows inside of the limits that the host enforces: the files of cgroup v2,
// whatever version the host has.
#ifndef RUNSC_CGROUP_SHOWN_H_
#define RUNSC_CGROUP_SHOWN_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runsc/spec/resources.h"

namespace runsc::cgroup {

// File names ("memory.max") and texts ("67108864\n"), as a group with these limits has them. What
// v2 has no file for is left out.
using ShownLimits = std::vector<std::pair<std::string, std::string>>;
ShownLimits LimitsToShow(spec::Resources resources);

// There and back, as lines. Lines that are no limit are left out.
std::string EncodeLimits(const ShownLimits& limits);
ShownLimits DecodeLimits(std::string_view lines);

}  // namespace runsc::cgroup

#endif  // RUNSC_CGROUP_SHOWN_H_
