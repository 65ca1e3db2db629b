#include "runsc/oci/commands.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "runsc/do.h"
#include "runsc/lockdown.h"
#include "runsc/oci/record_json.h"
#include "runsc/oci/side_commands.h"
#include "runsc/oci/terminal.h"
#include "runsc/spec/parse.h"

namespace runsc::oci {

namespace {

constexpr int kFailed = 1;  // runc's exit status for whatever goes wrong.

template <auto Member>
absl::Status Set(Config& config, const std::string& value) {
  config.oci.*Member = value;
  return absl::OkStatus();
}

template <auto Member>
absl::Status Add(Config& config, const std::string& value) {
  (config.oci.*Member).push_back(value);
  return absl::OkStatus();
}

template <auto Member>
absl::Status Switch(Config& config, const std::string& value) {
  config.oci.*Member = value == "true";
  return absl::OkStatus();
}

// What makes no difference here.
absl::Status Accept(Config&, const std::string&) { return absl::OkStatus(); }

absl::Status Refuse(Config&, const std::string&) {
  return absl::UnimplementedError("is not supported");
}

absl::Status SetPreserveFds(Config& config, const std::string& value) {
  constexpr int kMost = 32;
  if (!absl::SimpleAtoi(value, &config.oci.preserve_fds) || config.oci.preserve_fds < 0 ||
      config.oci.preserve_fds > kMost) {
    return absl::InvalidArgumentError(absl::StrCat(value, " is not a number from 0 to ", kMost));
  }
  for (int i = 1; i <= config.oci.preserve_fds; ++i) {
    if ((config.oci.open_fds >> (STDERR_FILENO + i) & 1) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "unable to stat preserved-fd ", STDERR_FILENO + i, " (of ", value, "): it is not open"));
    }
  }
  return absl::OkStatus();
}

absl::Status SetFormat(Config& config, const std::string& value) {
  if (value != "table" && value != "json") {
    return absl::InvalidArgumentError("invalid format option");
  }
  config.oci.format = value;
  return absl::OkStatus();
}

constexpr Flag kBundle = {"bundle", "DIR", "where config.json is [.]", Set<&OciOptions::bundle>};
constexpr Flag kBundleShort = {"b", "DIR", "--bundle", Set<&OciOptions::bundle>};
constexpr Flag kPidFile = {"pid-file", "FILE", "gets the container's pid",
                           Set<&OciOptions::pid_file>};
constexpr Flag kConsole = {"console-socket", "PATH", "gets the pseudo-terminal's master",
                           Set<&OciOptions::console_socket>};
constexpr Flag kPidfd = {"pidfd-socket", "PATH", "gets a pidfd of the process",
                         Set<&OciOptions::pidfd_socket>};
constexpr Flag kNoPivot = {"no-pivot", nullptr,
                           "accepted: the host's mounts are out of reach anyway", Accept};
constexpr Flag kNoKeyring = {"no-new-keyring", nullptr, "accepted: there are no keyrings", Accept};
constexpr Flag kNoSubreaper = {"no-subreaper", nullptr, "accepted: there is none", Accept};
constexpr Flag kPreserve = {"preserve-fds", "N", "pass on descriptors 3 to 2+N", SetPreserveFds};
constexpr Flag kDetach = {"detach", nullptr, "return once it runs", Switch<&OciOptions::detach>};
constexpr Flag kDetachShort = {"d", nullptr, "--detach", Switch<&OciOptions::detach>};

constexpr Flag kCreateFlags[] = {kBundle, kBundleShort, kPidFile,   kConsole,
                                 kPidfd,  kNoPivot,     kNoKeyring, kPreserve};
constexpr Flag kRunFlags[] = {
    kBundle,
    kBundleShort,
    kPidFile,
    kConsole,
    kPidfd,
    kNoPivot,
    kNoKeyring,
    kPreserve,
    kNoSubreaper,
    kDetach,
    kDetachShort,
    {"keep", nullptr, "leave the container behind when it has stopped", Switch<&OciOptions::keep>},
};
constexpr Flag kKillFlags[] = {
    {"all", nullptr, "every process of the container", Switch<&OciOptions::all>},
    {"a", nullptr, "--all", Switch<&OciOptions::all>},
};
constexpr Flag kDeleteFlags[] = {
    {"force", nullptr, "kill it first; an unknown one is fine", Switch<&OciOptions::force>},
    {"f", nullptr, "--force", Switch<&OciOptions::force>},
};
constexpr Flag kListFlags[] = {
    {"format", "KIND", "table, or json [table]", SetFormat},
    {"f", "KIND", "--format", SetFormat},
    {"quiet", nullptr, "ids only", Switch<&OciOptions::quiet>},
    {"q", nullptr, "--quiet", Switch<&OciOptions::quiet>},
};
constexpr Flag kExecFlags[] = {
    kConsole,
    kPidfd,
    kPidFile,
    kPreserve,
    kDetach,
    kDetachShort,
    {"process", "FILE", "a process section of config.json", Set<&OciOptions::process_file>},
    {"p", "FILE", "--process", Set<&OciOptions::process_file>},
    {"cwd", "DIR", "the working directory", Set<&OciOptions::cwd>},
    {"env", "NAME=VALUE", "set in addition to the container's", Add<&OciOptions::env>},
    {"e", "NAME=VALUE", "--env", Add<&OciOptions::env>},
    {"tty", nullptr, "with a terminal", Switch<&OciOptions::tty>},
    {"t", nullptr, "--tty", Switch<&OciOptions::tty>},
    {"user", "UID[:GID]", "who it runs as", Set<&OciOptions::user>},
    {"u", "UID[:GID]", "--user", Set<&OciOptions::user>},
    {"additional-gids", "GID", "a supplementary group", Add<&OciOptions::additional_gids>},
    {"g", "GID", "--additional-gids", Add<&OciOptions::additional_gids>},
    {"cap", "NAME", "a capability besides the container's", Add<&OciOptions::capabilities>},
    {"c", "NAME", "--cap", Add<&OciOptions::capabilities>},
    {"no-new-privs", nullptr, "set no_new_privs", Switch<&OciOptions::no_new_privileges>},
    {"ignore-paused", nullptr, "allowed while it is paused", Switch<&OciOptions::ignore_paused>},
    {"cgroup", "PATH", "", Refuse},
    {"process-label", "LABEL", "accepted: labels have no effect", Accept},
    {"apparmor", "PROFILE", "accepted: profiles have no effect", Accept},
};

constexpr size_t kAny = SIZE_MAX;
constexpr CommandRow kCommands[] = {
    {"create", "ID", "make a container from a bundle", 1, 1, kCreateFlags, RunCreate},
    {"start", "ID", "let its process run", 1, 1, {}, RunStart},
    {"run", "ID", "both, and delete it at the end", 1, 1, kRunFlags, RunRun},
    {"state", "ID", "print its state as JSON", 1, 1, {}, RunState},
    {"list", "", "print all of them", 0, 0, kListFlags, RunList},
    {"kill", "ID [SIGNAL]", "send a signal [TERM]", 1, 2, kKillFlags, RunKill},
    {"delete", "ID", "remove a stopped one", 1, 1, kDeleteFlags, RunDelete},
    {"exec", "ID [CMD...]", "run another process in it", 1, kAny, kExecFlags, RunExec},
    {"pause", "ID", "stop all its processes", 1, 1, {}, RunPause},
    {"resume", "ID", "let them go on", 1, 1, {}, RunResume},
    {"wait", "ID", "wait for its end and print the exit status", 1, 1, {}, RunWait},
};

const CommandRow* Find(const std::string& name) {
  for (const CommandRow& row : kCommands) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

int Tell(const absl::Status& failure, const Config& config) {
  const std::string message(failure.message());
  if (config.log_fd >= 0) logging::Write(logging::Level::kError, message);
  Complain(message);
  return kFailed;
}

absl::StatusOr<int> Dispatch(const std::string& command, std::span<char* const> arguments,
                             Config& config) {
  if (command == "help") return Print(DescribeCommands());
  for (const SideCommand& side : SideCommands()) {
    if (command == side.name) return side.run(config, arguments);
  }
  const CommandRow* const row = Find(command);
  if (row == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown command ", command, "; see `sandbox help`"));
  }
  const absl::StatusOr<size_t> used = ApplyFlags(row->flags, arguments, config);
  if (!used.ok()) return used.status();
  const Arguments left(arguments.begin() + static_cast<ptrdiff_t>(*used), arguments.end());
  if (left.size() < row->least_arguments || left.size() > row->most_arguments) {
    return absl::InvalidArgumentError(
        absl::StrCat("usage: sandbox ", command, " [FLAGS] ", row->usage));
  }
  return row->run(config, left);
}

}  // namespace

// Of the first 64: what the caller has passed on, before anything else is opened.
static uint64_t OpenDescriptors() {
  uint64_t open = 0;
  for (int fd = 0; fd < 64; ++fd) open |= fcntl(fd, F_GETFD) < 0 ? 0 : uint64_t{1} << fd;
  return open;
}

int Run(const std::string& command, std::span<char* const> arguments, Config config) {
  config.oci.open_fds = OpenDescriptors();
  absl::Status status = OpenStandardDescriptors();
  if (status.ok()) status = SetUpLog(config);
  if (!status.ok()) return Tell(status, config);
  const absl::StatusOr<int> result = Dispatch(command, arguments, config);
  return result.ok() ? *result : Tell(result.status(), config);
}

std::string DescribeCommands() {
  std::string text;
  for (const CommandRow& row : kCommands) {
    absl::StrAppendFormat(&text, "sandbox [FLAGS] %s [FLAGS] %s\n    %s\n%s", row.name, row.usage,
                          row.help, DescribeFlags(row.flags));
  }
  for (const SideCommand& side : SideCommands()) {
    absl::StrAppendFormat(&text, "sandbox [FLAGS] %s %s\n", side.name, side.help);
  }
  return text;
}

bool IsRootless(const Config& config) {
  if (config.oci.rootless.has_value()) return *config.oci.rootless;
  if (geteuid() != 0) return true;
  const absl::StatusOr<std::string> map = spec::ReadFile("/proc/self/uid_map");
  const char* const user = getenv("USER");
  const bool whole = map.ok() && map->find("4294967295") != map->npos;
  return !whole && (user == nullptr || std::string_view(user) != "root");
}

absl::Status TellPid(const Config& config, pid_t pid) {
  const OciOptions& options = config.oci;
  if (!options.pid_file.empty()) {
    const std::string text = absl::StrCat(pid);
    if (absl::Status s = WriteFileAtomically(options.pid_file, text, 0644); !s.ok()) return s;
  }
  if (options.pidfd_socket.empty()) return absl::OkStatus();
  const UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!fd.valid()) return HostError("pidfd_open");
  return SendDescriptor("--pidfd-socket", options.pidfd_socket, "pidfd", fd.get());
}

absl::Status CheckTerminal(const Config& config, const spec::Process& process) {
  const bool socket = !config.oci.console_socket.empty();
  if (process.terminal && !socket && config.oci.detach) {
    return absl::InvalidArgumentError(
        "cannot allocate tty if sandbox will detach without setting console socket");
  }
  if (!process.terminal && socket) {
    return absl::InvalidArgumentError(
        "cannot use console socket if sandbox will not detach or allocate tty");
  }
  return absl::OkStatus();
}

Store StoreOf(const Config& config) {
  if (!config.oci.root.empty()) return Store(config.oci.root);
  const char* const runtime = getenv("XDG_RUNTIME_DIR");
  if (IsRootless(config) && runtime != nullptr && runtime[0] == '/') {
    return Store(absl::StrCat(runtime, "/sandbox"));
  }
  return Store("/run/sandbox");
}

}  // namespace runsc::oci
