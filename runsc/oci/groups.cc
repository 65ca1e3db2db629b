#include "runsc/oci/groups.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "runsc/cgroup/systemd.h"
#include "runsc/oci/commands.h"
#include "runsc/oci/pod.h"
#include "runsc/oci/record_json.h"
#include "runsc/spec/parse.h"

namespace runsc::oci {

namespace {

// Of a pod's sandbox, beside its containers' groups: no id of a container.
constexpr char kLeaf[] = "@sandbox";

// A container of a pod is in its sandbox's group, so that the pod's limits hold for all together.
absl::StatusOr<cgroup::Placement> BelowThePods(const Container& container) {
  const cgroup::Placement pod = GroupOf(container.sandbox_directory).placement();
  cgroup::Placement placement;
  for (const auto& [controller, directory] : pod.directories) {
    placement.directories[controller] = absl::StrCat(directory, "/", container.id);
  }
  return placement;
}

std::string PathIn(const std::string& directory) { return absl::StrCat(directory, "/cgroup"); }

}  // namespace

absl::StatusOr<cgroup::Placement> LocateGroup(const Config& config, const Container& container) {
  if (!container.sandbox_directory.empty()) return BelowThePods(container);
  const absl::StatusOr<cgroup::Host> host = cgroup::DetectHost();
  if (!host.ok()) return host.status();
  const std::string& path = container.spec.linux_.cgroups_path;
  if (config.oci.systemd_cgroup) {
    const auto kind =
        IsRootless(config) ? cgroup::ManagerKind::kUser : cgroup::ManagerKind::kSystem;
    const absl::StatusOr<cgroup::UnitManager> manager = cgroup::FindManager(kind);
    if (!manager.ok()) return manager.status();
    absl::StatusOr<cgroup::Placement> scope =
        cgroup::LocateScope(*host, *manager, path, container.id);
    if (scope.ok() && IsPodSandbox(container.spec)) scope->leaf = kLeaf;
    return scope;
  }
  absl::StatusOr<cgroup::Placement> placement = cgroup::Locate(*host, path, container.id);
  if (placement.ok() && IsPodSandbox(container.spec)) placement->leaf = kLeaf;
  if (placement.ok()) cgroup::LeaveOutIdleV2(*placement, container.spec.linux_.resources);
  return placement;
}

absl::Status MakeGroup(const Config& config, const Container& container, pid_t pid,
                       cgroup::Placement& placement) {
  cgroup::Manager manager(placement);
  const auto refusal = IsRootless(config) ? cgroup::OnRefusal::kGoOn : cgroup::OnRefusal::kFail;
  const auto& resources = container.spec.linux_.resources;
  if (absl::Status s = manager.Create(refusal, pid, resources); !s.ok()) return s;
  placement = manager.placement();
  return resources ? manager.Set(*resources) : absl::OkStatus();
}

cgroup::Manager GroupOf(const std::string& directory) {
  const absl::StatusOr<std::string> text = spec::ReadFile(PathIn(directory));
  if (!text.ok()) return cgroup::Manager(cgroup::Placement());
  absl::StatusOr<cgroup::Placement> placement = cgroup::Decode(*text);
  return cgroup::Manager(placement.ok() ? *std::move(placement) : cgroup::Placement());
}

absl::Status SaveGroup(const std::string& directory, const cgroup::Placement& placement) {
  return WriteFileAtomically(PathIn(directory), cgroup::Encode(placement));
}

}  // namespace runsc::oci
