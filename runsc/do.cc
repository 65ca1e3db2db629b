#include "runsc/do.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "runsc/launch.h"
#include "runsc/lockdown.h"
#include "runsc/startup_trace.h"
#include "runsc/supervise.h"

namespace runsc {

namespace {

// Makes a host path absolute and finds out early whether it is there.
absl::Status CheckHostPath(const char* flag, std::string& path, bool must_be_directory) {
  char resolved[PATH_MAX];
  if (realpath(path.c_str(), resolved) == nullptr) {
    return HostError(absl::StrCat("--", flag, ": ", path));
  }
  struct stat st;
  if (stat(resolved, &st) != 0) return HostError(absl::StrCat("--", flag, ": ", path));
  if (must_be_directory && !S_ISDIR(st.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat("--", flag, ": ", path, ": Not a directory"));
  }
  path = resolved;
  return absl::OkStatus();
}

absl::Status Prepare(Config& config) {
  if (absl::Status s = OpenStandardDescriptors(); !s.ok()) return s;
  if (absl::Status s = SetUpLog(config); !s.ok()) return s;
  char directory[PATH_MAX];
  if (getcwd(directory, sizeof(directory)) != nullptr) config.caller_cwd = directory;
  if (absl::Status s = CheckHostPath("root", config.root, true); !s.ok()) return s;
  for (Volume& volume : config.volumes) {
    if (absl::Status s = CheckHostPath("volume", volume.source, false); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status OpenStandardDescriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    if (open("/dev/null", O_RDWR) < 0) return HostError("/dev/null");
  }
  return absl::OkStatus();
}

absl::Status SetUpLog(Config& config) {
  if (!config.log.empty()) {
    config.log_fd = open(config.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (config.log_fd < 0) return HostError(absl::StrCat("--log: ", config.log));
  }
  const auto format =
      config.log_format == LogFormat::kJson ? logging::Format::kJson : logging::Format::kText;
  const auto level = config.debug    ? logging::Level::kDebug
                     : config.strace ? logging::Level::kInfo
                                     : logging::Level::kWarning;
  logging::Configure(config.log_fd >= 0 ? config.log_fd : STDERR_FILENO, format, level);
  return absl::OkStatus();
}

void Complain(const std::string& message) {
  const std::string line = absl::StrCat("sandbox: ", message, "\n");
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

int Do(Config config) {
  if (config.debug_startup) StartupTraceEnable();
  absl::Status status = Prepare(config);
  if (!status.ok()) {
    Complain(std::string(status.message()));
    return kExitSetUp;
  }
  // Signals are the supervisor's from before there is anything to supervise.
  Supervisor supervisor;
  absl::StatusOr<Sandbox> sandbox = Launch(config);
  if (!sandbox.ok()) {
    Complain(std::string(sandbox.status().message()));
    return kExitSetUp;
  }
  const int exit_status = supervisor.Run(*std::move(sandbox));
  StartupMark("front-end: all gone");
  if (config.debug_startup) StartupTracePrint();
  return exit_status;
}

}  // namespace runsc
