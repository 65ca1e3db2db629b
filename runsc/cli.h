// The command line, parsed and checked as far as that goes without looking at the host.
#ifndef RUNSC_CLI_H_
#define RUNSC_CLI_H_

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "runsc/config.h"

namespace runsc {

struct CommandLine {
  enum class Action : uint8_t { kDo, kPrint, kOci };
  Action action = Action::kPrint;
  Config config;     // For kDo and kOci.
  std::string text;  // For kPrint: what goes to standard output. For kOci: the command.
  std::span<char* const> arguments;  // For kOci: what follows the command.
};

// Sets a flag that may stand in front of any command, as `--name=value` would. NotFound for
// others.
absl::Status SetGlobalFlag(Config& config, const std::string& name, const std::string& value);

// A failure's message is one line for the user, without the program's name.
absl::StatusOr<CommandLine> ParseCommandLine(int argc, char** argv);

}  // namespace runsc

#endif  // RUNSC_CLI_H_
