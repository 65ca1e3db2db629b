// create, start and run.
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runsc/cli.h"
#include "runsc/hooks/hooks.h"
#include "runsc/lockdown.h"
#include "runsc/oci/channel.h"
#include "runsc/oci/commands.h"
#include "runsc/oci/container.h"
#include "runsc/oci/enter.h"
#include "runsc/oci/foreground.h"
#include "runsc/oci/groups.h"
#include "runsc/oci/late_hooks.h"
#include "runsc/oci/monitor.h"
#include "runsc/oci/record_json.h"
#include "runsc/oci/sysctl.h"
#include "runsc/oci/terminal.h"
#include "runsc/spec/parse.h"

namespace runsc::oci {

namespace {

// A container that has been made, in the process that made it.
struct Made {
  Entry entry;
  Record record;
  pid_t monitor = -1;
  UniqueFd console;  // The terminal's master, when nobody asked for it.
};

std::string Now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                         utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, now.tv_nsec);
}

// dev.sandbox.flag.NAME=VALUE: what a container's image or user may choose about its own sandbox.
absl::Status ApplyAnnotations(Config& config, const spec::Spec& spec) {
  constexpr std::string_view kPrefix = "dev.sandbox.flag.";
  constexpr std::string_view kSafe[] = {"platform", "strace", "overlay2", "no-syscall-patching"};
  for (const auto& [key, value] : spec.annotations) {
    if (!key.starts_with(kPrefix)) continue;
    const std::string name = key.substr(kPrefix.size());
    if (std::find(std::begin(kSafe), std::end(kSafe), name) == std::end(kSafe)) {
      return absl::InvalidArgumentError(
          absl::StrCat("annotations: ", key, ": this flag cannot be set by an annotation"));
    }
    const absl::Status status = SetGlobalFlag(config, name, value);
    if (!status.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("annotations: ", key, ": ", status.message()));
    }
  }
  return absl::OkStatus();
}

// What the command line leaves open, for containers.
absl::Status Complete(Config& config, const Container& container) {
  if (absl::Status s = ApplyAnnotations(config, container.spec); !s.ok()) return s;
  // As runc: the caller looks at the root and expects to find what was written. Memory is for those
  // who ask for it.
  if (!config.oci.overlay_given) config.overlay = OverlayKind::kNone;
  // The monitor's namespace, which is the one that the spec asks for.
  const bool own = container.spec.linux_.Find(spec::NamespaceType::kNetwork) != nullptr;
  const bool none = config.oci.network_given && config.network == NetworkKind::kNone;
  if (!none && (geteuid() == 0 || !own)) config.network = NetworkKind::kHost;
  config.container = &container;
  config.sysctls = ShownSysctls(container.spec.linux_);
  config.root = container.rootfs;
  // A new UTS namespace begins with the names of the caller's.
  utsname names{};
  uname(&names);
  config.hostname = container.spec.hostname.empty() ? names.nodename : container.spec.hostname;
  if (!container.spec.domainname.empty()) config.domainname = container.spec.domainname;
  if (config.overlay == OverlayKind::kMemory && config.oci.shared_root.value_or(false)) {
    return absl::UnimplementedError(
        "--file-access: shared: below an overlay in memory, changes of the host are not seen");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Pty>> MakeConsole(const Config& config, const spec::Process& process) {
  if (!process.terminal) return std::optional<Pty>();
  absl::StatusOr<Pty> pty = OpenPty(process.console_size, process.user.uid);
  if (!pty.ok()) return pty.status();
  if (!config.oci.console_socket.empty()) {
    absl::Status sent = SendDescriptor("--console-socket", config.oci.console_socket, "/dev/ptmx",
                                       pty->master.get());
    if (!sent.ok()) return sent;
    pty->master.reset();
  }
  return std::optional<Pty>(*std::move(pty));
}

// Makes the control group that the monitor then enters. The store knows of it before it exists, so
// that a crash leaves nothing that `delete` does not find.
absl::Status PrepareGroup(const Config& config, Made& made) {
  absl::StatusOr<cgroup::Placement> placement = LocateGroup(config, *config.container);
  if (!placement.ok()) return placement.status();
  // Whatever is in the group ends with the container: it must not be anybody else's.
  if (absl::Status s = cgroup::CheckEmpty(*placement); !s.ok()) return s;
  if (absl::Status s = made.entry.Save(made.record); !s.ok()) return s;
  if (absl::Status s = SaveGroup(made.entry.directory(), *placement); !s.ok()) return s;
  absl::Status status = MakeGroup(config, *config.container, made.monitor, *placement);
  if (!status.ok()) return status;
  return SaveGroup(made.entry.directory(), *placement);
}

// Starts the monitor and waits until the container is set up.
absl::Status Launch(const Config& config, Made& made, UniqueFd& channel) {
  absl::StatusOr<UniqueFd> listener = ListenIn(made.entry.directory());
  if (!listener.ok()) return listener.status();
  absl::StatusOr<std::optional<Pty>> console = MakeConsole(config, *config.container->spec.process);
  if (!console.ok()) return console.status();
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return HostError("socketpair");
  }
  channel = UniqueFd(ends[0]);
  UniqueFd slave = console->has_value() ? std::move((*console)->slave) : UniqueFd();
  const absl::StatusOr<pid_t> monitor = ForkMonitor({.config = config,
                                                     .listener = *std::move(listener),
                                                     .creator = UniqueFd(ends[1]),
                                                     .directory = made.entry.directory(),
                                                     .terminal = std::move(slave),
                                                     .enter = Enter});
  if (!monitor.ok()) return monitor.status();
  made.monitor = *monitor;
  if (console->has_value()) made.console = std::move((*console)->master);
  if (absl::Status s = PrepareGroup(config, made); !s.ok()) return s;
  if (absl::Status s = Proceed(channel.get()); !s.ok()) return s;
  const absl::StatusOr<Birth> birth = AwaitBirth(channel.get());
  if (!birth.ok()) return birth.status();
  if (birth->failed != 0) {
    return absl::InternalError(absl::StrCat("unable to start container process: ", birth->message));
  }
  made.record.monitor = Identify(made.monitor);
  made.record.sentry = Identify(birth->sentry);
  made.record.gofer = Identify(birth->gofer);
  if (birth->network > 0) made.record.network = Identify(birth->network);
  return absl::OkStatus();
}

std::string NameOfUser() {
  const uid_t uid = getuid();
  return uid == 0 ? "root" : absl::StrCat(uid);
}

absl::Status RunHooksOf(const Record& record, const char* kind,
                        const std::vector<spec::Hook>& hooks, const char* status) {
  if (hooks.empty()) return absl::OkStatus();
  return RunHooks(kind, hooks, HookStateOf(record, status));
}

// The namespaces are there, the process does not run yet.
absl::Status RunCreateHooks(const Record& record, const spec::Hooks& hooks) {
  constexpr char kStatus[] = "creating";
  absl::Status status = RunHooksOf(record, "prestart", hooks.prestart, kStatus);
  if (status.ok()) status = RunHooksOf(record, "createRuntime", hooks.create_runtime, kStatus);
  if (status.ok()) status = RunHooksOf(record, "createContainer", hooks.create_container, kStatus);
  return status;
}

absl::Status Finish(const Config& config, Made& made, const UniqueFd& channel) {
  const spec::Hooks& hooks = config.container->spec.hooks;
  if (absl::Status s = RunCreateHooks(made.record, hooks); !s.ok()) return s;
  if (absl::Status s = made.entry.Save(made.record); !s.ok()) return s;
  if (absl::Status s = TellPid(config, made.monitor); !s.ok()) return s;
  return Release(channel.get());
}

// It ends by itself, and has children to reap; should it not, it is killed.
void ReapMonitor(pid_t pid) {
  constexpr int kPatienceMs = 2'000;
  const UniqueFd fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd end{.fd = fd.get(), .events = POLLIN};
  while (poll(&end, 1, kPatienceMs) < 0 && errno == EINTR) {
  }
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// On failure nothing is left.
absl::StatusOr<Made> Make(Config& config, const std::string& id, Container& container) {
  absl::StatusOr<Container> loaded = LoadContainer(id, config.oci.bundle, StoreOf(config));
  if (!loaded.ok()) return loaded.status();
  container = *std::move(loaded);
  container.preserve_fds = config.oci.preserve_fds;
  if (absl::Status s = Complete(config, container); !s.ok()) return s;
  absl::Status status = CheckTerminal(config, *container.spec.process);
  if (!status.ok()) return status;

  absl::StatusOr<Entry> entry = StoreOf(config).Create(id);
  if (!entry.ok()) return entry.status();
  Made made{.entry = *std::move(entry)};
  made.record = {.id = id,
                 .oci_version = container.spec.oci_version,
                 .bundle = container.bundle,
                 .rootfs = container.rootfs,
                 .created = Now(),
                 .owner = NameOfUser(),
                 .annotations = container.spec.annotations,
                 .creator = Identify(getpid()),
                 .has_hooks = HasLateHooks(container.spec.hooks)};
  UniqueFd channel;
  signal(SIGCHLD, SIG_DFL);  // Hooks are waited for.
  status = SaveProcess(made.entry, *container.spec.process);
  if (status.ok()) status = Launch(config, made, channel);
  if (status.ok()) status = Finish(config, made, channel);
  if (status.ok()) return made;
  channel.reset();  // Which ends the monitor.
  if (made.monitor > 0) ReapMonitor(made.monitor);
  (void)Destroy(made.entry, made.record);
  return status;
}

absl::Status Start(Entry& entry, Record& record) {
  switch (PhaseOf(record)) {
    case Phase::kCreated:
      break;
    case Phase::kStopped:
      return absl::FailedPreconditionError("cannot start a container that has stopped");
    case Phase::kCreating:
      return absl::FailedPreconditionError("cannot start a container that is being created");
    case Phase::kRunning:
    case Phase::kPaused:
      return absl::FailedPreconditionError("cannot start an already running container");
  }
  absl::Status asked = Ask(entry.directory(), {.kind = Request::Kind::kStart});
  if (!asked.ok()) return asked;
  record.started = true;
  if (absl::Status s = entry.Save(record); !s.ok()) return s;
  const absl::StatusOr<spec::Hooks> hooks = LoadHooks(record);
  if (!hooks.ok()) return hooks.status();
  return RunHooksOf(record, "poststart", hooks->poststart, "running");
}

}  // namespace

absl::StatusOr<int> RunCreate(Config& config, const Arguments& arguments) {
  config.oci.detach = true;
  Container container;
  const absl::StatusOr<Made> made = Make(config, arguments[0], container);
  if (!made.ok()) return made.status();
  return 0;
}

absl::StatusOr<int> RunStart(Config& config, const Arguments& arguments) {
  absl::StatusOr<Entry> entry = StoreOf(config).Open(arguments[0]);
  if (!entry.ok()) return entry.status();
  Record record = entry->Load();
  if (absl::Status s = Start(*entry, record); !s.ok()) return s;
  return 0;
}

absl::StatusOr<int> RunRun(Config& config, const Arguments& arguments) {
  Container container;
  // Before there is anything to supervise.
  std::unique_ptr<Foreground> foreground;
  if (!config.oci.detach) foreground = std::make_unique<Foreground>();
  absl::StatusOr<Made> made = Make(config, arguments[0], container);
  if (!made.ok()) return made.status();
  absl::Status status = Start(made->entry, made->record);
  if (!status.ok()) {
    (void)Destroy(made->entry, made->record);
    return status;
  }
  if (config.oci.detach) return 0;
  made->entry.Unlock();
  const int exit_status = foreground->AwaitChild(made->monitor, std::move(made->console));
  if (config.oci.keep) return exit_status;
  absl::StatusOr<Entry> entry = StoreOf(config).Open(arguments[0]);
  // Somebody else may have deleted it.
  if (!entry.ok()) return exit_status;
  status = Destroy(*entry, entry->Load());
  return status.ok() ? absl::StatusOr<int>(exit_status) : status;
}

}  // namespace runsc::oci
