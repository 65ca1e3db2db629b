#include "runsc/oci/side_commands.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "runsc/cgroup/shown.h"
#include "runsc/commands/default_spec.h"
#include "runsc/commands/docker_config.h"
#include "runsc/commands/events.h"
#include "runsc/commands/features.h"
#include "runsc/commands/ps.h"
#include "runsc/commands/update.h"
#include "runsc/help.h"
#include "runsc/lockdown.h"
#include "runsc/oci/channel.h"
#include "runsc/oci/commands.h"
#include "runsc/oci/groups.h"
#include "runsc/spec/parse.h"

namespace runsc::oci {

namespace {

using RawArguments = std::span<char* const>;

absl::StatusOr<int> Done(const absl::Status& status) {
  if (!status.ok()) return status;
  return 0;
}

struct Running {
  std::string directory;
  Record record;
  cgroup::Manager group;
};

absl::StatusOr<Running> FindRunning(const Config& config, const std::string& id) {
  const absl::StatusOr<Entry> entry = StoreOf(config).Find(id);
  if (!entry.ok()) return entry.status();
  Record record = entry->Load();
  const Phase phase = PhaseOf(record);
  if (phase == Phase::kStopped || phase == Phase::kCreating) {
    return absl::FailedPreconditionError("container not running");
  }
  return Running{entry->directory(), std::move(record), GroupOf(entry->directory())};
}

absl::StatusOr<int> RunSpec(Config&, RawArguments arguments) {
  return Done(SpecCommand(arguments));
}
absl::StatusOr<int> RunInstall(Config&, RawArguments arguments) {
  return Done(InstallCommand(arguments));
}
absl::StatusOr<int> RunUninstall(Config&, RawArguments arguments) {
  return Done(UninstallCommand(arguments));
}

absl::StatusOr<int> RunFeatures(Config&, RawArguments) {
  return Print(absl::StrCat(FeaturesText(Version(), Commit()), "\n"));
}

absl::StatusOr<int> RunUpdate(Config& config, RawArguments arguments) {
  const absl::StatusOr<UpdateRequest> request = ParseUpdate(arguments);
  if (!request.ok()) return request.status();
  const absl::StatusOr<Running> found = FindRunning(config, request->id);
  if (!found.ok()) return found.status();
  if (absl::Status s = found->group.Update(request->resources); !s.ok()) return s;
  // It shows them; and of tasks it is the sentry that keeps the limit, the host's number has room
  // for the sandbox's own.
  const std::string lines = cgroup::EncodeLimits(cgroup::LimitsToShow(request->resources));
  if (lines.empty()) return 0;
  const UniqueFd list(memfd_create("limits", MFD_CLOEXEC));
  if (write(list.get(), lines.data(), lines.size()) != static_cast<ssize_t>(lines.size())) {
    return HostError("memfd_create");
  }
  const int fds[] = {list.get()};
  return Done(Ask(found->directory, {.kind = Request::Kind::kLimits}, fds));
}

absl::StatusOr<int> RunEvents(Config& config, RawArguments arguments) {
  const absl::StatusOr<EventsRequest> request = ParseEvents(arguments);
  if (!request.ok()) return request.status();
  const absl::StatusOr<Running> found = FindRunning(config, request->id);
  if (!found.ok()) return found.status();
  const UniqueFd exited(static_cast<int>(syscall(SYS_pidfd_open, found->record.monitor.pid, 0)));
  const auto running = [&found] { return IsAlive(found->record.monitor); };
  return Done(FollowEvents(*request, found->group.placement(), exited.get(), running));
}

// The stubs of its processes but the first one's, by their numbers in the sentry's pid namespace.
// Nothing when the sentry does not answer.
std::optional<std::set<uint32_t>> AskForStubs(const std::string& directory) {
  const absl::StatusOr<UniqueFd> connection = ConnectIn(directory);
  const UniqueFd list(memfd_create("processes", MFD_CLOEXEC));
  if (!connection.ok() || !list.valid()) return std::nullopt;
  const int fds[] = {list.get()};
  if (!SendRequest(connection->get(), {.kind = Request::Kind::kList}, fds).ok())
    return std::nullopt;
  const Result<Reply> reply = ReceiveReply(connection->get());
  if (!reply.ok() || reply->kind != Reply::Kind::kDone || reply->status < 0) return std::nullopt;
  std::vector<uint32_t> numbers(static_cast<size_t>(reply->status));
  const size_t bytes = numbers.size() * sizeof(uint32_t);
  if (pread(list.get(), numbers.data(), bytes, 0) != static_cast<ssize_t>(bytes)) {
    return std::nullopt;
  }
  return std::set<uint32_t>(numbers.begin(), numbers.end());
}

// proc_pid_status(5): the number of `pid` in its own namespace.
uint32_t InnermostPid(pid_t pid) {
  const auto text = spec::ReadFile(absl::StrCat("/proc/", pid, "/status"));
  uint32_t number = 0;
  if (!text.ok()) return 0;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    if (!absl::ConsumePrefix(&line, "NSpid:")) continue;
    const std::vector<std::string> words = absl::StrSplit(line, '\t', absl::SkipEmpty());
    // What has none but the host's is no stub.
    if (words.size() < 2 || !absl::SimpleAtoi(words.back(), &number)) return 0;
  }
  return number;
}

// Everything in its group but what the sandbox is made of: the monitor stands for the first
// process, and of the stubs not all are the program's already.
std::vector<pid_t> ProcessesOf(const Running& running) {
  const Record& record = running.record;
  std::vector<pid_t> pids = running.group.Processes();
  if (const auto stubs = AskForStubs(running.directory); stubs.has_value()) {
    std::erase_if(pids, [&stubs](pid_t pid) { return !stubs->contains(InnermostPid(pid)); });
  }
  std::erase_if(pids, [&record](pid_t pid) {
    return pid == record.sentry.pid || pid == record.gofer.pid || pid == record.network.pid ||
           pid == record.monitor.pid;
  });
  pids.insert(pids.begin(), record.monitor.pid);
  return pids;
}

absl::StatusOr<int> RunPs(Config& config, RawArguments arguments) {
  const absl::StatusOr<PsRequest> request = ParsePs(arguments);
  if (!request.ok()) return request.status();
  const absl::StatusOr<Running> found = FindRunning(config, request->id);
  if (!found.ok()) return found.status();
  const absl::StatusOr<std::string> text = PsText(*request, ProcessesOf(*found));
  if (!text.ok()) return text.status();
  return Print(text->ends_with('\n') ? *text : absl::StrCat(*text, "\n"));
}

constexpr SideCommand kSideCommands[] = {
    {"ps", "[--format table|json] ID [PS FLAGS...]: its processes on the host", RunPs},
    {"update", "[FLAGS] ID: change its limits", RunUpdate},
    {"events", "[--stats] [--interval 5s] ID: print figures and out-of-memory kills", RunEvents},
    {"spec", "[--bundle DIR] [--rootless]: write a config.json to begin with", RunSpec},
    {"features", "print what is supported as JSON", RunFeatures},
    {"install", "[--runtime NAME] [--config_file FILE]: make it a runtime of Docker", RunInstall},
    {"uninstall", "[--runtime NAME] [--config_file FILE]: undo that", RunUninstall},
};

}  // namespace

std::span<const SideCommand> SideCommands() { return kSideCommands; }

}  // namespace runsc::oci
