// The command line, parsed and checked as far as that goes without looking at the host.
#ifndef RUNSC_CLI_H_
#define RUNSC_CLI_H_

#include <string>

#include "absl/status/statusor.h"
#include "runsc/config.h"

namespace runsc {

struct CommandLine {
  enum class Action : uint8_t { kDo, kPrint };
  Action action = Action::kPrint;
  Config config;     // For kDo.
  std::string text;  // For kPrint: what goes to standard output.
};

// A failure's message is one line for the user, without the program's name.
absl::StatusOr<CommandLine> ParseCommandLine(int argc, char** argv);

}  // namespace runsc

#endif  // RUNSC_CLI_H_
