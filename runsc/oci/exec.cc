// exec: another process in a running container.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runsc/control.h"
#include "runsc/lockdown.h"
#include "runsc/oci/channel.h"
#include "runsc/oci/commands.h"
#include "runsc/oci/foreground.h"
#include "runsc/oci/process_wire.h"
#include "runsc/oci/record_json.h"
#include "runsc/oci/terminal.h"
#include "runsc/spec/parse.h"
#include "runsc/spec/unsupported.h"

namespace runsc::oci {

namespace {

constexpr char kProcessFile[] = "process";

absl::Status SetUser(const std::string& text, spec::User& user) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  user.additional_gids.clear();
  user.gid = 0;
  if (!absl::SimpleAtoi(parts.first, &user.uid) ||
      (!parts.second.empty() && !absl::SimpleAtoi(parts.second, &user.gid))) {
    return absl::InvalidArgumentError(absl::StrCat("--user: ", text, " is not UID or UID:GID"));
  }
  return absl::OkStatus();
}

absl::Status AddCapabilities(const std::vector<std::string>& names, spec::Process& process) {
  if (names.empty()) return absl::OkStatus();
  spec::Capabilities sets = process.capabilities.value_or(spec::Capabilities{});
  for (const std::string& name : names) {
    const absl::StatusOr<int> number = spec::ParseCapability(name);
    if (!number.ok()) return number.status();
    const uint64_t bit = uint64_t{1} << *number;
    sets.bounding |= bit;
    sets.effective |= bit;
    sets.permitted |= bit;
  }
  process.capabilities = sets;
  return absl::OkStatus();
}

// The container's own process with what the command line says instead.
absl::StatusOr<spec::Process> FromFlags(const Entry& entry, const OciOptions& options,
                                        const Arguments& command) {
  absl::StatusOr<spec::Process> process = LoadProcess(entry);
  if (!process.ok()) return process;
  if (command.empty()) return absl::InvalidArgumentError("exec: no command given");
  process->args = command;
  process->terminal = options.tty;
  if (!options.cwd.empty()) process->cwd = options.cwd;
  process->env.insert(process->env.end(), options.env.begin(), options.env.end());
  if (options.no_new_privileges) process->no_new_privileges = true;
  if (!options.user.empty()) {
    if (absl::Status s = SetUser(options.user, process->user); !s.ok()) return s;
  }
  for (const std::string& text : options.additional_gids) {
    gid_t gid = 0;
    if (!absl::SimpleAtoi(text, &gid)) {
      return absl::InvalidArgumentError(absl::StrCat("--additional-gids: ", text));
    }
    process->user.additional_gids.push_back(gid);
  }
  if (absl::Status s = AddCapabilities(options.capabilities, *process); !s.ok()) return s;
  return process;
}

absl::StatusOr<spec::Process> WantedProcess(const Entry& entry, const OciOptions& options,
                                            const Arguments& command) {
  if (options.process_file.empty()) return FromFlags(entry, options, command);
  const absl::StatusOr<std::string> text = spec::ReadFile(options.process_file);
  if (!text.ok()) return text.status();
  absl::StatusOr<spec::Process> process = spec::ParseProcess(*text);
  if (!process.ok()) return process;
  if (options.tty) process->terminal = true;
  if (absl::Status s = spec::CheckSupported(*process); !s.ok()) return s;
  return process;
}

absl::Status CheckRunning(const Entry& entry, const OciOptions& options) {
  switch (PhaseOf(entry.Load())) {
    case Phase::kRunning:
      return absl::OkStatus();
    case Phase::kPaused:
      if (options.ignore_paused) return absl::OkStatus();
      return absl::FailedPreconditionError(
          "cannot exec in a paused container (use --ignore-paused to override)");
    case Phase::kStopped:
      return absl::FailedPreconditionError("cannot exec in a stopped container");
    default:
      return absl::FailedPreconditionError("cannot exec in a container that is not running");
  }
}

// Sends the process and waits until it runs. The descriptors are this process's standard ones, or
// the slave of the terminal.
absl::StatusOr<UniqueFd> StartProcess(const Entry& entry, const spec::Process& process,
                                      int terminal, int preserve_fds) {
  absl::StatusOr<UniqueFd> connection = ConnectIn(entry.directory());
  if (!connection.ok()) return connection;
  const Result<UniqueFd> encoded = ProcessToMemfd(process);
  if (!encoded.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("exec: ", strerror(encoded.error().code())));
  }
  std::vector<int> fds = {encoded->get()};
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    fds.push_back(terminal >= 0 ? terminal : fd);
  }
  for (int i = 1; i <= preserve_fds; ++i) fds.push_back(STDERR_FILENO + i);
  const Status sent = SendRequest(connection->get(), {.kind = Request::Kind::kExec}, fds);
  const Result<Reply> reply =
      sent.ok() ? ReceiveReply(connection->get()) : Result<Reply>(sent.error());
  if (!reply.ok()) return absl::FailedPreconditionError("container not running");
  if (reply->kind != Reply::Kind::kStarted) {
    return absl::InternalError(
        absl::StrCat("exec failed: unable to start container process: ", reply->message));
  }
  return connection;
}

// The proxy has the connection alone, since its end is the end of the process.
absl::StatusOr<int> Detach(const Config& config, UniqueFd connection, UniqueFd terminal) {
  const pid_t pid = fork();
  if (pid < 0) return HostError("fork");
  if (pid == 0) RunExecProxy(std::move(connection), std::move(terminal));
  if (absl::Status s = TellPid(config, pid); !s.ok()) return s;
  return 0;
}

}  // namespace

absl::Status SaveProcess(const Entry& entry, const spec::Process& process) {
  return WriteFileAtomically(absl::StrCat(entry.directory(), "/", kProcessFile),
                             EncodeProcess(process));
}

absl::StatusOr<spec::Process> LoadProcess(const Entry& entry) {
  const auto text = spec::ReadFile(absl::StrCat(entry.directory(), "/", kProcessFile));
  if (!text.ok()) return text.status();
  Result<spec::Process> process = DecodeProcess(std::as_bytes(std::span(*text)));
  if (!process.ok()) return absl::DataLossError("the container's process cannot be read");
  return *std::move(process);
}

absl::StatusOr<int> RunExec(Config& config, const Arguments& arguments) {
  const OciOptions& options = config.oci;
  const absl::StatusOr<Entry> entry = StoreOf(config).Find(arguments[0]);
  if (!entry.ok()) return entry.status();
  if (absl::Status s = CheckRunning(*entry, options); !s.ok()) return s;
  const absl::StatusOr<spec::Process> process =
      WantedProcess(*entry, options, {arguments.begin() + 1, arguments.end()});
  if (!process.ok()) return process.status();
  if (absl::Status s = CheckTerminal(config, *process); !s.ok()) return s;
  Pty pty;
  if (process->terminal) {
    absl::StatusOr<Pty> opened = OpenPty(process->console_size, process->user.uid);
    if (!opened.ok()) return opened.status();
    pty = *std::move(opened);
  }
  if (!options.console_socket.empty()) {
    if (absl::Status s = SendDescriptor("--console-socket", options.console_socket, "/dev/ptmx",
                                        pty.master.get());
        !s.ok())
      return s;
    pty.master.reset();
  }
  std::optional<Foreground> foreground;
  if (!options.detach) foreground.emplace();
  absl::StatusOr<UniqueFd> connection =
      StartProcess(*entry, *process, pty.slave.get(), options.preserve_fds);
  if (!connection.ok()) return connection.status();
  if (options.detach) return Detach(config, *std::move(connection), std::move(pty.slave));
  if (absl::Status s = TellPid(config, getpid()); !s.ok()) return s;
  pty.slave.reset();
  return foreground->AwaitExec(connection->get(), std::move(pty.master));
}

}  // namespace runsc::oci
