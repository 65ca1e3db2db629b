// linux.resources as properties of a unit of systemd, systemd.resource-control(5).
#ifndef RUNSC_CGROUP_PROPERTIES_H_
#define RUNSC_CGROUP_PROPERTIES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runsc/cgroup/bus.h"
#include "runsc/cgroup/host.h"
#include "runsc/spec/resources.h"

namespace runsc::cgroup {

// What systemd of `version` has a property for, in a unit that is in `placement`: with those of v1
// for controllers that the host has in v1. The manager's writes go to the same files with the same
// values; without the properties systemd would set them back when it looks at the unit again.
// A failure names the field.
absl::StatusOr<std::vector<Property>> PropertiesOf(const Placement& placement,
                                                   const spec::Resources& resources, int version);

// 252 of "252.38-1~deb12u1" or "v252"; 0 of anything else.
int ParseVersion(const std::string& text);

// "0-2,8" as a bit for each number, the lowest first. Fails for anything else.
absl::StatusOr<std::vector<uint8_t>> BitsOf(const std::string& field, const std::string& list);

}  // namespace runsc::cgroup

#endif  // RUNSC_CGROUP_PROPERTIES_H_
