// The control group of a container: made, entered, limited, emptied, removed.
#ifndef RUNSC_CGROUP_MANAGER_H_
#define RUNSC_CGROUP_MANAGER_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "runsc/cgroup/host.h"
#include "runsc/spec/resources.h"

namespace runsc::cgroup {

// What a caller without rights gets: the groups that can be made, or a failure.
enum class OnRefusal : uint8_t { kFail, kGoOn };

// On a host with both versions: leaves v2 out of `placement` when no limit is set there, since v1
// can do the rest and each group that a process enters takes time.
void LeaveOutIdleV2(Placement& placement, const std::optional<spec::Resources>& resources);

// FailedPrecondition when there are processes in what `placement` names, or below: whatever is
// there would be killed with the container.
absl::Status CheckEmpty(const Placement& placement);

// Every call goes to the files anew, so any process may make a Manager for a Placement that
// another one made.
class Manager {
 public:
  explicit Manager(Placement placement) : placement_(std::move(placement)) {}
  // After Create it holds the directories that are there; keep this one.
  const Placement& placement() const { return placement_; }

  // Makes the directories with their parents, and enables v2's controllers on the way down. kGoOn
  // leaves out what the caller has no right to. With systemd its scope is made first, with `pid` in
  // it and the limits; otherwise the two are not used.
  absl::Status Create(OnRefusal refusal, pid_t pid,
                      const std::optional<spec::Resources>& resources);
  // Moves the caller, which must have one thread. Much cheaper with v1: for anybody else the kernel
  // first waits for every fork(2) on the host, which takes it an RCU grace period.
  absl::Status EnterSelf() const;
  // The files by which a process moves itself: it writes "0" to each.
  absl::StatusOr<std::vector<UniqueFd>> OpenEntries() const;
  // Applies limits to a new group.
  absl::Status Set(const spec::Resources& resources) const;
  // Likewise to one that is in use.
  absl::Status Update(const spec::Resources& resources) const;

  // In the group and below.
  std::vector<pid_t> Processes() const;
  // SIGKILL to everything in the group and below, until nothing is left that could fork.
  absl::Status Kill() const;
  // Removes the group and what is below, waiting a moment for processes that are dying. Success if
  // it is not there.
  absl::Status Remove() const;

  // Becomes readable when the group runs out of memory, and when it is removed. Read it empty, then
  // ask OomKills.
  absl::StatusOr<UniqueFd> WatchOom() const;
  uint64_t OomKills() const;

 private:
  // The one to list and kill: v2's if there is one. nullptr without control groups.
  const std::string* Main() const;
  std::vector<std::string> Entries() const;

  Placement placement_;
};

}  // namespace runsc::cgroup

#endif  // RUNSC_CGROUP_MANAGER_H_
