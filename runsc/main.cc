#include <unistd.h>

#include <string>

#include "absl/status/statusor.h"
#include "runsc/cli.h"
#include "runsc/config.h"
#include "runsc/do.h"
#include "runsc/oci/commands.h"
#include "runsc/startup_trace.h"

namespace {

int Print(const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t written = write(STDOUT_FILENO, text.data() + done, text.size() - done);
    if (written <= 0) return runsc::kExitSetUp;
    done += static_cast<size_t>(written);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  runsc::StartupTraceBegin();
  absl::StatusOr<runsc::CommandLine> command = runsc::ParseCommandLine(argc, argv);
  if (!command.ok()) {
    runsc::Complain(std::string(command.status().message()));
    return runsc::kExitSetUp;
  }
  if (command->action == runsc::CommandLine::Action::kPrint) return Print(command->text);
  if (command->action == runsc::CommandLine::Action::kOci) {
    return runsc::oci::Run(command->text, command->arguments, std::move(command->config));
  }
  return runsc::Do(std::move(command->config));
}
