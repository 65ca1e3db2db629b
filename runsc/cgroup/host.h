// Which control group hierarchies the host has, and where in them a container belongs.
#ifndef RUNSC_CGROUP_HOST_H_
#define RUNSC_CGROUP_HOST_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace runsc::cgroup {

// v1 only; v1 for the controllers with v2 beside it, without or with some; v2 only.
enum class Mode : uint8_t { kNone, kLegacy, kHybrid, kUnified };

struct Hierarchy {
  std::string mount_point;
  std::string controller;  // One of v1: "memory", "name=systemd". Empty for v2.
  std::string own;         // Where this process is, below the mount point: "/user.slice", or "/".
};

// Controllers that are mounted together ("cpu,cpuacct") are two hierarchies at one mount point.
struct Host {
  Mode mode = Mode::kNone;
  std::vector<Hierarchy> hierarchies;
};

// From the text of /proc/self/mountinfo and /proc/self/cgroup.
Host ParseHost(const std::string& mountinfo, const std::string& own_cgroups);
// From this host.
absl::StatusOr<Host> DetectHost();

// A systemd that makes scopes for us.
struct UnitManager {
  std::string socket;  // Where it takes calls.
  std::string group;   // Its own control group, "" for the root; units are below.
  std::string slice;   // Where a unit goes that names none.
};

// Where a container is. Plain data, for the state that is kept on disk.
struct Placement {
  // The container's directory for each controller of v1 ("memory", "name=systemd"), and under ""
  // that of v2. Empty when the host has no control groups.
  std::map<std::string, std::string> directories;
  // In v2's, what the processes are in: below it there are groups for others, and a group with
  // limits for those cannot have processes. Empty when they are in it themselves.
  std::string leaf;
  // Of systemd: "docker-ID.scope" in "system.slice", and the manager's socket. Empty otherwise.
  std::string unit, slice, socket;

  // nullptr if there is none.
  const std::string* Find(const std::string& controller) const;
};

// For the state on disk: one line of JSON. Decode takes nothing but what Encode writes.
std::string Encode(const Placement& placement);
absl::StatusOr<Placement> Decode(const std::string& text);

// linux.cgroupsPath as runc reads it: absolute, from the mount points; relative, or empty for the
// container's id, from where this process is.
absl::StatusOr<Placement> Locate(const Host& host, const std::string& cgroups_path,
                                 const std::string& id);
// Likewise for a scope of systemd: "SLICE:PREFIX:NAME", and "" for the container's id in the
// manager's slice.
absl::StatusOr<Placement> LocateScope(const Host& host, const UnitManager& manager,
                                      const std::string& cgroups_path, const std::string& id);

}  // namespace runsc::cgroup

#endif  // RUNSC_CGROUP_HOST_H_
