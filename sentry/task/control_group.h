// Control groups: the tree of cgroup v2 that a kernel's processes are in (cgroup-v2.rst). What the
// files of /sys/fs/cgroup say of it is sentry/fs/cgroup's.
#ifndef SENTRY_TASK_CONTROL_GROUP_H_
#define SENTRY_TASK_CONTROL_GROUP_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "platform/api/usage.h"

namespace sentry {

namespace internal {
// Guards what changes in all groups. A leaf, below Kernel::mu() and the locks of filesystems.
extern absl::Mutex control_groups_mu;
}  // namespace internal

// A group. The root stands for the one that the sandbox is in: that of a cgroup namespace, and not
// of the hierarchy. A group keeps the ones above it; children are kept by their parent until they
// are removed, and afterwards by who still looks at them.
class ControlGroup : public RefCounted {
 public:
  // Bounds on what processes can make the sentry remember; EAGAIN beyond, as for
  // cgroup.max.descendants and cgroup.max.depth.
  static constexpr size_t kMostGroups = 4096, kMostDepth = 64;
  static constexpr uint64_t kNoLimit = UINT64_MAX;

  struct Owner {
    uint32_t uid = 0, gid = 0, mode = 0755;
  };
  struct Counts {
    size_t processes = 0;         // Alive, in this group itself.
    size_t tasks = 0;             // In it and below: threads and zombies.
    size_t peak = 0;              // The most that `tasks` has been.
    size_t descendants = 0;       // Groups below.
    size_t populated = 0;         // Live processes in it and below.
    uint64_t refused = 0;         // How often its limit of tasks was.
    platform::CpuTimes dead_cpu;  // Of processes that have ended in it and below.
  };
  struct Limits {
    uint64_t tasks = kNoLimit;  // pids.max
    uint64_t depth = kNoLimit, descendants = kNoLimit;
  };

  static Ref<ControlGroup> CreateRoot();

  bool is_root() const { return !parent_; }
  uint64_t id() const { return id_; }
  const Owner& owner() const { return owner_; }
  const Ref<ControlGroup>& parent() const { return parent_; }
  bool IsWithin(const ControlGroup& ancestor) const;
  // As /proc/PID/cgroup has it: "/" or "/a/b", with " (deleted)" once it has been removed.
  std::string Path() const;
  bool removed() const;

  // EEXIST; EAGAIN beyond a limit; ENODEV in a group that has been removed.
  Result<Ref<ControlGroup>> Add(std::string_view name, const Owner& owner);
  // ENOENT; EBUSY while it has processes or groups in it.
  Status Remove(std::string_view name);
  Result<Ref<ControlGroup>> Find(std::string_view name) const;
  // By name.
  std::vector<std::pair<std::string, Ref<ControlGroup>>> Children() const;

  Counts counts() const;
  Limits limits() const;
  void SetLimits(const Limits& limits);
  // Whether its children have the files of the controller pids. Turning it on is EBUSY while
  // processes are in the group, off while a child has turned it on.
  bool gives_pids() const;
  Status GivePids(bool on);
  // Numbers that are shown, by the file's name: limits that the host enforces on the sandbox.
  std::string Shown(std::string_view file, std::string_view usual) const;
  void Show(std::string_view file, std::string_view text);

  // A task more, in it and in those above: EAGAIN beyond a limit, or one less.
  Status ChargeTask();
  void UnchargeTasks(size_t count);
  // A process more, with `tasks` tasks that have not been charged.
  void AddProcess(size_t tasks);
  // With what it has used.
  void RemoveProcess(const platform::CpuTimes& used);
  // Moves a live process with `tasks` tasks. EBUSY for a group that gives controllers to its
  // children ("no internal processes"), ENODEV for one that has been removed.
  static Status Move(ControlGroup& from, ControlGroup& to, size_t tasks);

 private:
  ControlGroup(uint64_t id, Ref<ControlGroup> parent, std::string_view name, const Owner& owner);

  Status CheckRoomLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::control_groups_mu);
  // Adds to the counts of this group and those above it; the numbers may be negative.
  void CountLocked(int64_t tasks, int64_t processes, int64_t groups)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::control_groups_mu);

  const uint64_t id_;
  const Ref<ControlGroup> parent_;
  const std::string name_;
  const Owner owner_;
  const size_t depth_;
  std::map<std::string, Ref<ControlGroup>, std::less<>> children_
      ABSL_GUARDED_BY(internal::control_groups_mu);
  std::map<std::string, std::string, std::less<>> shown_
      ABSL_GUARDED_BY(internal::control_groups_mu);
  Counts counts_ ABSL_GUARDED_BY(internal::control_groups_mu);
  Limits limits_ ABSL_GUARDED_BY(internal::control_groups_mu);
  bool gives_pids_ ABSL_GUARDED_BY(internal::control_groups_mu) = false;
  bool removed_ ABSL_GUARDED_BY(internal::control_groups_mu) = false;
};

}  // namespace sentry

#endif  // SENTRY_TASK_CONTROL_GROUP_H_
