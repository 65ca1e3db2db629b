#include "runsc/oci/side_commands.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runsc/commands/default_spec.h"
#include "runsc/commands/docker_config.h"
#include "runsc/commands/events.h"
#include "runsc/commands/features.h"
#include "runsc/commands/ps.h"
#include "runsc/commands/update.h"
#include "runsc/help.h"
#include "runsc/oci/commands.h"
#include "runsc/oci/groups.h"

namespace runsc::oci {

namespace {

using RawArguments = std::span<char* const>;

absl::StatusOr<int> Done(const absl::Status& status) {
  if (!status.ok()) return status;
  return 0;
}

struct Running {
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
  return Running{std::move(record), GroupOf(entry->directory())};
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
  return Done(found->group.Set(request->resources));
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

// Everything in its group but what the sandbox is made of: the monitor stands for the first
// process.
std::vector<pid_t> ProcessesOf(const Running& running) {
  const Record& record = running.record;
  std::vector<pid_t> pids = running.group.Processes();
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
