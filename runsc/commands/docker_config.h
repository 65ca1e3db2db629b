// `install` and `uninstall`: the entry of this runtime in Docker's daemon.json.
#ifndef RUNSC_COMMANDS_DOCKER_CONFIG_H_
#define RUNSC_COMMANDS_DOCKER_CONFIG_H_

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace runsc {

// `text`, a daemon.json or nothing, with runtimes.NAME set or taken away; the rest stays as it is,
// in its order. A failure when `text` is no object.
absl::StatusOr<std::string> WithRuntime(const std::string& text, const std::string& name,
                                        const std::string& path,
                                        const std::vector<std::string>& runtime_args);
absl::StatusOr<std::string> WithoutRuntime(const std::string& text, const std::string& name);

// `install [--runtime NAME] [--config_file FILE] [--clobber] [-- ARGS of the runtime...]`. An entry
// of that name that says something else is left alone without --clobber.
absl::Status InstallCommand(std::span<char* const> args);
// `uninstall [--runtime NAME] [--config_file FILE]`. Success if there is none.
absl::Status UninstallCommand(std::span<char* const> args);

}  // namespace runsc

#endif  // RUNSC_COMMANDS_DOCKER_CONFIG_H_
