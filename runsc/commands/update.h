// `update`: the limits of a container that runs.
#ifndef RUNSC_COMMANDS_UPDATE_H_
#define RUNSC_COMMANDS_UPDATE_H_

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "runsc/spec/resources.h"

namespace runsc {

struct UpdateRequest {
  std::string id;
  spec::Resources resources;  // For cgroup::Manager::Set.
};

// `update [FLAGS] ID` with runc's flags. With --resources, a file or "-" for standard input, all
// other flags count for nothing, as with runc.
absl::StatusOr<UpdateRequest> ParseUpdate(std::span<char* const> args);

}  // namespace runsc

#endif  // RUNSC_COMMANDS_UPDATE_H_
