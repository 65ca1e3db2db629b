// Resources as writes to files of a control group: a plan that is made without touching any.
#ifndef RUNSC_CGROUP_PLAN_H_
#define RUNSC_CGROUP_PLAN_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runsc/cgroup/host.h"
#include "runsc/spec/resources.h"

namespace runsc::cgroup {

struct Write {
  std::string field;  // Of config.json, for messages: "memory.limit".
  std::string path;
  std::string value;
  // Tried when `path` is not there: blkio.bfq.weight in place of blkio.weight. The value is the
  // same where there is no other.
  std::string other_path, other_value;
  bool may_be_absent = false;  // Files that only some kernels have, and that only tighten.
};

// The writes in an order in which the kernel takes them when the group is new. A limit for which
// the host has no controller is a failure that names both.
absl::Status MakePlan(const Placement& placement, const spec::Resources& resources,
                      std::vector<Write>& plan);

// cpu.shares (2 to 262144) as cpu.weight (1 to 10000), and blkio.weight (10 to 1000) as io.weight:
// the formulas of runc and crun.
uint64_t WeightOfShares(uint64_t shares);
uint64_t IoWeight(uint64_t weight);

// pids.limit as the host is told it. The sentry counts the program's tasks and refuses one too
// many as Linux does; the host would refuse the sandbox its own threads (a stub's and a sentry's
// for each task, at most), which it cannot do without.
int64_t HostPidsLimit(int64_t limit);

}  // namespace runsc::cgroup

#endif  // RUNSC_CGROUP_PLAN_H_
