// Commands that parse their own flags (runsc/commands): spec, features, events, update, ps,
// install, uninstall.
#ifndef RUNSC_OCI_SIDE_COMMANDS_H_
#define RUNSC_OCI_SIDE_COMMANDS_H_

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "runsc/config.h"

namespace runsc::oci {

struct SideCommand {
  const char* name;
  const char* help;
  absl::StatusOr<int> (*run)(Config& config, std::span<char* const> arguments);
};
std::span<const SideCommand> SideCommands();

}  // namespace runsc::oci

#endif  // RUNSC_OCI_SIDE_COMMANDS_H_
