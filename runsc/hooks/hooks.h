// Hooks of the runtime-spec (config.md, "POSIX-platform Hooks"): programs of the host that are told
// of a container's state on standard input.
#ifndef RUNSC_HOOKS_HOOKS_H_
#define RUNSC_HOOKS_HOOKS_H_

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runsc/spec/spec.h"

namespace runsc {

// runtime.md, "State".
struct HookState {
  std::string oci_version;
  std::string id;
  std::string status;  // "creating", "created", "running", "stopped"
  pid_t pid = 0;       // Left out when it is 0.
  std::string bundle;
  std::map<std::string, std::string> annotations;
};
std::string ToJson(const HookState& state);

// Runs the hooks one after the other and waits for each. A hook has its own environment and nothing
// of the caller's, the state as standard input, and a session of its own; it is killed with that
// when its timeout is over. The first that fails ends it: "KIND hook #N PATH: WHY: OUTPUT".
// Requires: SIGCHLD is not ignored.
absl::Status RunHooks(const std::string& kind, const std::vector<spec::Hook>& hooks,
                      const HookState& state);

}  // namespace runsc

#endif  // RUNSC_HOOKS_HOOKS_H_
