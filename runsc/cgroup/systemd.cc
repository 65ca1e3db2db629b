#include "runsc/cgroup/systemd.h"

#include "runsc/cgroup/files.h"

namespace runsc::cgroup {

namespace {

// sd_booted(3)
absl::Status CheckRunning() {
  if (Exists("/run/systemd/system")) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "systemd is not running here, and --systemd-cgroup needs it; without the flag the runtime "
      "makes control groups itself");
}

}  // namespace

absl::Status StartScope(const Placement& placement, pid_t pid) {
  if (absl::Status s = CheckRunning(); !s.ok()) return s;
  return absl::UnimplementedError("--systemd-cgroup is not there yet");
}

absl::Status StopScope(const Placement& placement) { return CheckRunning(); }

}  // namespace runsc::cgroup
