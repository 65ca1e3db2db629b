// `spec`: the config.json to begin with, as runc writes it.
#ifndef RUNSC_COMMANDS_DEFAULT_SPEC_H_
#define RUNSC_COMMANDS_DEFAULT_SPEC_H_

#include <span>
#include <string>

#include "absl/status/status.h"

namespace runsc {

// The text; for a caller without root's rights with a user namespace that maps it to root.
std::string DefaultSpec();
std::string DefaultSpecRootless(unsigned uid, unsigned gid);

// `spec [--bundle DIR] [--rootless]`: writes config.json into the bundle, and never over one.
absl::Status SpecCommand(std::span<char* const> args);

}  // namespace runsc

#endif  // RUNSC_COMMANDS_DEFAULT_SPEC_H_
