// The command line of OCI runtimes: runc's, as far as its callers use it.
#ifndef RUNSC_OCI_COMMANDS_H_
#define RUNSC_OCI_COMMANDS_H_

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runsc/config.h"
#include "runsc/flags.h"
#include "runsc/oci/store.h"
#include "runsc/spec/spec.h"

namespace runsc::oci {

// Of a command line: what is left when flags are taken off.
using Arguments = std::vector<std::string>;

// A command returns its exit status; a failure is told by the caller, and ends with 1.
using Handler = absl::StatusOr<int> (*)(Config& config, const Arguments& arguments);

struct CommandRow {
  const char* name;
  const char* usage;  // Behind the flags.
  const char* help;   // One line.
  size_t least_arguments;
  size_t most_arguments;
  std::span<const Flag> flags;
  Handler run;
};

// Runs the command. Failures go to standard error and, if it is elsewhere, to the log. The exit
// status.
int Run(const std::string& command, std::span<char* const> arguments, Config config);
// For `help oci`.
std::string DescribeCommands();

// --rootless, or as runc has it: podman without root runs its runtime as root of a user namespace,
// for another user.
bool IsRootless(const Config& config);
// Where the state of containers is.
Store StoreOf(const Config& config);

// The handlers, by file.
// create.cc
absl::StatusOr<int> RunCreate(Config& config, const Arguments& arguments);
absl::StatusOr<int> RunStart(Config& config, const Arguments& arguments);
absl::StatusOr<int> RunRun(Config& config, const Arguments& arguments);
// exec.cc
absl::StatusOr<int> RunExec(Config& config, const Arguments& arguments);
// lifecycle.cc
absl::StatusOr<int> RunKill(Config& config, const Arguments& arguments);
absl::StatusOr<int> RunDelete(Config& config, const Arguments& arguments);
absl::StatusOr<int> RunWait(Config& config, const Arguments& arguments);
absl::StatusOr<int> RunPause(Config& config, const Arguments& arguments);
absl::StatusOr<int> RunResume(Config& config, const Arguments& arguments);
// list.cc
absl::StatusOr<int> RunState(Config& config, const Arguments& arguments);
absl::StatusOr<int> RunList(Config& config, const Arguments& arguments);

// To standard output.
absl::StatusOr<int> Print(const std::string& text);

// --pid-file and --pidfd-socket of a process that runs; nothing without them.
absl::Status TellPid(const Config& config, pid_t pid);
// Whether the process can have the terminal it wants, or is given one that it does not.
absl::Status CheckTerminal(const Config& config, const spec::Process& process);

// The process section of a container, as `exec` wants it: kept in its directory.
absl::Status SaveProcess(const Entry& entry, const spec::Process& process);
absl::StatusOr<spec::Process> LoadProcess(const Entry& entry);

// Kills what is left of a container and removes its control group and its directory.
absl::Status Destroy(Entry& entry, const Record& record);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_COMMANDS_H_
