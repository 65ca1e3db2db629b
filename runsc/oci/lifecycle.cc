// kill, delete, wait, pause and resume.
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "runsc/hooks/hooks.h"
#include "runsc/lockdown.h"
#include "runsc/oci/channel.h"
#include "runsc/oci/commands.h"
#include "runsc/oci/foreground.h"
#include "runsc/oci/groups.h"
#include "runsc/oci/late_hooks.h"

namespace runsc::oci {

namespace {

// How long a killed process may take to be gone.
constexpr int kPatienceMs = 10'000;
// How long a monitor may take to end by itself.
constexpr int kKindPatienceMs = 2'000;

// "9", "KILL", "SIGKILL", "SIGRTMIN+3"; 0 is allowed.
absl::StatusOr<int> ParseSignal(const std::string& text) {
  int number = 0;
  if (absl::SimpleAtoi(text, &number)) {
    if (number >= 0 && number <= SIGRTMAX) return number;
  } else {
    std::string name = absl::AsciiStrToUpper(text);
    if (name.starts_with("SIG")) name = name.substr(3);
    for (int sig = 1; sig < SIGRTMIN; ++sig) {
      const char* const abbreviation = sigabbrev_np(sig);
      if (abbreviation != nullptr && name == abbreviation) return sig;
    }
    if (name == "IOT") return SIGABRT;
    if (name == "CLD") return SIGCHLD;
    if (name == "POLL") return SIGIO;
    int offset = 0;
    if (name == "RTMIN") return SIGRTMIN;
    if (name.starts_with("RTMIN+") && absl::SimpleAtoi(name.substr(6), &offset) && offset >= 0 &&
        SIGRTMIN + offset <= SIGRTMAX) {
      return SIGRTMIN + offset;
    }
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown signal \"", text, "\""));
}

absl::Status NotRunning() { return absl::FailedPreconditionError("container not running"); }

// The monitor ends gofer and sentry and reaps them. Where it does not, it is killed.
void AskToEnd(const Entry& entry) {
  const absl::StatusOr<UniqueFd> connection = ConnectIn(entry.directory());
  if (!connection.ok()) return;
  if (!SendRequest(connection->get(), {.kind = Request::Kind::kDestroy}).ok()) return;
  pollfd end{.fd = connection->get(), .events = POLLIN};
  while (poll(&end, 1, kKindPatienceMs) < 0 && errno == EINTR) {
  }
}

// SIGKILL, and waits until it is gone or a zombie.
absl::Status KillAndWait(const ProcessId& process) {
  if (!IsAlive(process)) return absl::OkStatus();
  const UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, process.pid, 0)));
  // Now it cannot be another one by the time of the signal.
  if (!fd.valid() || !IsAlive(process)) return absl::OkStatus();
  if (syscall(SYS_pidfd_send_signal, fd.get(), SIGKILL, nullptr, 0) != 0 && errno != ESRCH) {
    return HostError(absl::StrCat("killing process ", process.pid));
  }
  pollfd end{.fd = fd.get(), .events = POLLIN};
  while (poll(&end, 1, kPatienceMs) < 0 && errno == EINTR) {
  }
  if (end.revents == 0) {
    return absl::DeadlineExceededError(absl::StrCat("process ", process.pid, " does not die"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> RunKill(Config& config, const Arguments& arguments) {
  const absl::StatusOr<Entry> entry = StoreOf(config).Find(arguments[0]);
  if (!entry.ok()) return entry.status();
  const absl::StatusOr<int> sig = ParseSignal(arguments.size() > 1 ? arguments[1] : "TERM");
  if (!sig.ok()) return sig.status();
  const Record record = entry->Load();
  const Phase phase = PhaseOf(record);
  if (phase == Phase::kStopped || phase == Phase::kCreating) return NotRunning();
  if (*sig == 0) return 0;
  const auto kind = config.oci.all ? Request::Kind::kSignalAll : Request::Kind::kSignal;
  const absl::Status asked = Ask(entry->directory(), {.kind = kind, .signal = *sig});
  if (asked.ok()) return 0;
  // It ended on its own at this very moment.
  if (absl::IsNotFound(asked)) return NotRunning();
  return asked;
}

absl::Status Destroy(Entry& entry, const Record& record) {
  const cgroup::Manager group = GroupOf(entry.directory());
  AskToEnd(entry);
  for (const ProcessId& process : {record.monitor, record.sentry, record.gofer, record.network}) {
    if (absl::Status s = KillAndWait(process); !s.ok()) return s;
  }
  // A process that nobody knows of any more, where a command was killed.
  if (absl::Status s = group.Kill(); !s.ok()) LOG_WARNING("%s", std::string(s.message()));
  if (absl::Status s = group.Remove(); !s.ok()) return s;
  const absl::StatusOr<spec::Hooks> hooks = LoadHooks(record);
  if (absl::Status s = entry.Remove(); !s.ok()) return s;
  // What these do is no reason not to delete (runtime.md, "Lifecycle").
  absl::Status told = hooks.status();
  if (hooks.ok() && !hooks->poststop.empty()) {
    told = RunHooks("poststop", hooks->poststop, HookStateOf(record, "stopped"));
  }
  if (!told.ok()) LOG_WARNING("%s", std::string(told.message()));
  return absl::OkStatus();
}

absl::StatusOr<int> RunDelete(Config& config, const Arguments& arguments) {
  const std::string& id = arguments[0];
  absl::StatusOr<Entry> entry = StoreOf(config).Open(id);
  if (!entry.ok()) {
    if (absl::IsNotFound(entry.status()) && config.oci.force) return 0;
    return entry.status();
  }
  const Record record = entry->Load();
  const Phase phase = PhaseOf(record);
  if (!config.oci.force && phase != Phase::kStopped && phase != Phase::kCreated) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot delete container ", id, " that is not stopped: ", NameOf(phase)));
  }
  if (absl::Status s = Destroy(*entry, record); !s.ok()) return s;
  return 0;
}

absl::StatusOr<int> RunWait(Config& config, const Arguments& arguments) {
  const absl::StatusOr<Entry> entry = StoreOf(config).Find(arguments[0]);
  if (!entry.ok()) return entry.status();
  const absl::StatusOr<UniqueFd> connection = ConnectIn(entry->directory());
  if (!connection.ok()) {
    return absl::IsNotFound(connection.status()) ? NotRunning() : connection.status();
  }
  if (!SendRequest(connection->get(), {.kind = Request::Kind::kWait}).ok()) return NotRunning();
  const Result<Reply> reply = ReceiveReply(connection->get());
  // A monitor that was killed says nothing.
  const int status = reply.ok() ? ShellStatusOf(reply->status) : 128 + SIGKILL;
  printf("{\"id\":\"%s\",\"exitStatus\":%d}\n", arguments[0].c_str(), status);
  return 0;
}

absl::StatusOr<int> RunPause(Config& config, const Arguments& arguments) {
  absl::StatusOr<Entry> entry = StoreOf(config).Open(arguments[0]);
  if (!entry.ok()) return entry.status();
  Record record = entry->Load();
  const Phase phase = PhaseOf(record);
  if (phase != Phase::kRunning && phase != Phase::kCreated) {
    return absl::FailedPreconditionError(
        absl::StrCat("container not running or created: ", NameOf(phase)));
  }
  if (absl::Status s = Ask(entry->directory(), {.kind = Request::Kind::kPause}); !s.ok()) return s;
  record.paused = true;
  if (absl::Status s = entry->Save(record); !s.ok()) return s;
  return 0;
}

absl::StatusOr<int> RunResume(Config& config, const Arguments& arguments) {
  absl::StatusOr<Entry> entry = StoreOf(config).Open(arguments[0]);
  if (!entry.ok()) return entry.status();
  Record record = entry->Load();
  if (PhaseOf(record) != Phase::kPaused) {
    return absl::FailedPreconditionError("container not paused");
  }
  if (absl::Status s = Ask(entry->directory(), {.kind = Request::Kind::kResume}); !s.ok()) return s;
  record.paused = false;
  if (absl::Status s = entry->Save(record); !s.ok()) return s;
  return 0;
}

}  // namespace runsc::oci
