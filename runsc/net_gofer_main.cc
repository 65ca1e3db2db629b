#include "runsc/net_gofer_main.h"

#include <sys/prctl.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/seccomp_filter.h"
#include "gofer/net/seccomp_rules.h"
#include "gofer/net/server.h"
#include "runsc/control.h"
#include "runsc/lockdown.h"
#include "runsc/startup_trace.h"

namespace runsc {

namespace {

constexpr auto kFilter = CompileAllowList(gofer::kNetSeccompRules);
constexpr uint64_t kBindService = uint64_t{1} << 10;  // CAP_NET_BIND_SERVICE
constexpr uint64_t kNetRaw = uint64_t{1} << 13;       // CAP_NET_RAW

absl::Status SetUp(const NetGoferStart& start) {
  if (absl::Status s = EnterNamespaces(NetworkNamespace::kKept); !s.ok()) return s;
  const Result<Command> go = ReceiveCommand(start.control.get());
  if (!go.ok()) return absl::AbortedError("the front-end is gone");
  if (absl::Status s = MountEmpty("/proc"); !s.ok()) return s;
  if (absl::Status s = PivotTo("/proc"); !s.ok()) return s;
  if (absl::Status s = TakeIdentity(start.identity.uid, start.identity.gid); !s.ok()) return s;
  const uint64_t keep = start.privileged ? kBindService | kNetRaw : 0;
  if (absl::Status s = DropCapabilities(keep); !s.ok()) return s;
  if (absl::Status s = SetLimits(); !s.ok()) return s;
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return HostError("prctl(PR_SET_DUMPABLE)");
  return DieWithParent(start.control.get());
}

}  // namespace

int NetGoferMain(NetGoferStart start) {
  const absl::Status status = SetUp(start);
  if (!status.ok()) {
    (void)SendReport(start.control.get(), Report::Kind::kFailed, kExitSetUp,
                     absl::StrCat("network: ", status.message()));
    return kExitSetUp;
  }
  return gofer::ServeNetwork(std::move(start.socket), [] {
    const Status installed = InstallSeccompFilter(kFilter);
    StartupMark("network gofer: locked down");
    return installed.ok();
  });
}

}  // namespace runsc
