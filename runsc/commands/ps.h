// `ps`: the processes of a container, by their host pids.
#ifndef RUNSC_COMMANDS_PS_H_
#define RUNSC_COMMANDS_PS_H_

#include <sys/types.h>

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace runsc {

struct PsRequest {
  std::string id;
  bool json = false;
  std::vector<std::string> ps_args;  // Of the host's ps(1); -ef when there are none.
};

// `ps [--format json|table] ID [ps arguments...]`
absl::StatusOr<PsRequest> ParsePs(std::span<char* const> args);

// "[1,2]", or the lines of the host's ps(1) with its header that are about `pids`.
absl::StatusOr<std::string> PsText(const PsRequest& request, const std::vector<pid_t>& pids);

}  // namespace runsc

#endif  // RUNSC_COMMANDS_PS_H_
