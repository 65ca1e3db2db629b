#include "runsc/oci/enter.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "runsc/lockdown.h"
#include "runsc/oci/container.h"
#include "runsc/oci/groups.h"
#include "runsc/oci/sysctl.h"

namespace runsc::oci {

namespace {

absl::Status EnterNetwork(const Config& config, const spec::Linux& linux_) {
  const spec::Namespace* const network = linux_.Find(spec::NamespaceType::kNetwork);
  // With --network=none the sentry makes one of its own; without a namespace it is the caller's.
  if (network == nullptr) return absl::OkStatus();
  if (network->path.empty()) {
    if (unshare(CLONE_NEWNET) == 0) return BringUpLoopback();
    // An ordinary user has no rights to make one. The sentry has: in its user namespace.
    return config.network == NetworkKind::kNone ? absl::OkStatus() : HostError("unshare(network)");
  }
  const UniqueFd fd(open(network->path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid() || setns(fd.get(), CLONE_NEWNET) != 0) {
    return HostError(absl::StrCat("linux.namespaces: network: ", network->path));
  }
  return absl::OkStatus();
}

// It is the host's out-of-memory killer that counts: inherited by all processes of the sandbox.
absl::Status AdjustOomScore(const spec::Process& process) {
  if (!process.oom_score_adj.has_value()) return absl::OkStatus();
  const UniqueFd fd(open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
  const std::string text = absl::StrCat(*process.oom_score_adj);
  if (write(fd.get(), text.data(), text.size()) < 0) {
    // Lowering it takes CAP_SYS_RESOURCE, which rootless callers do without.
    if (errno == EACCES && geteuid() != 0) return absl::OkStatus();
    return HostError("process.oomScoreAdj");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Enter(const Config& config, const std::string& directory) {
  if (absl::Status s = GroupOf(directory).EnterSelf(); !s.ok()) return s;
  const spec::Spec& spec = config.container->spec;
  if (absl::Status s = AdjustOomScore(*spec.process); !s.ok()) return s;
  if (absl::Status s = EnterNetwork(config, spec.linux_); !s.ok()) return s;
  return SetNetworkSysctls(spec.linux_);
}

}  // namespace runsc::oci
