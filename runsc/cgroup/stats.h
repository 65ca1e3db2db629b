// What a container has used, as `events` prints it.
#ifndef RUNSC_CGROUP_STATS_H_
#define RUNSC_CGROUP_STATS_H_

#include <string>

#include "runsc/cgroup/host.h"

namespace runsc::cgroup {

// One line of JSON, {"type":"stats","id":ID,"data":{…}}, with runc's names (its types/events.go).
// Times are in nanoseconds, sizes in bytes. What the host does not count is 0 or left out.
std::string StatsEvent(const Placement& placement, const std::string& id);
// {"type":"oom","id":ID}
std::string OomEvent(const std::string& id);

}  // namespace runsc::cgroup

#endif  // RUNSC_CGROUP_STATS_H_
