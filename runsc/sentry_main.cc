#include "runsc/sentry_main.h"

#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/internal/sysinfo.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/host_cpus.h"
#include "base/log.h"
#include "platform/native/vdso_layout.h"
#include "platform/ptrace/ptrace.h"
#include "platform/systrap/systrap.h"
#include "runsc/control.h"
#include "runsc/filesystem.h"
#include "runsc/lockdown.h"
#include "runsc/oci/container.h"
#include "runsc/oci/inside.h"
#include "runsc/oci/seccomp.h"
#include "runsc/sentry_seccomp.h"
#include "runsc/startup_trace.h"
#include "sentry/fs/gofer/gofer_client.h"
#include "sentry/fs/host/host_file.h"
#include "sentry/net/host/net_client.h"
#include "sentry/net/namespace.h"
#include "sentry/task/kernel.h"
#include "syscalls/dispatcher.h"
#include "syscalls/dispositions.h"

namespace runsc {

namespace {

constexpr platform::DispositionTable kDispositions = syscalls::Dispositions();
// The stubs' seccomp program: made by the compiler.
constexpr platform::systrap::FilterProgram kStubFilter =
    platform::systrap::BuildFilter(kDispositions);

// For a container whose seccomp profile has something to say about calls that otherwise would not
// come: all of them do.
constexpr platform::DispositionTable EveryCall() {
  platform::DispositionTable table = kDispositions;
  for (platform::Disposition& disposition : table) {
    if (disposition == platform::Disposition::kDirect) {
      disposition = platform::Disposition::kApprove;
    } else if (disposition == platform::Disposition::kLocal) {
      disposition = platform::Disposition::kEmulate;
    }
  }
  return table;
}
constexpr platform::DispositionTable kEveryCall = EveryCall();
constexpr platform::systrap::FilterProgram kEveryCallFilter =
    platform::systrap::BuildFilter(kEveryCall);

bool WantsEveryCall(const Config& config) {
  if (config.container == nullptr) return false;
  const auto& seccomp = config.container->spec.linux_.seccomp;
  return seccomp.has_value() && !oci::AllowsUnseenCalls(*oci::MakeSeccompProgram(*seccomp));
}

// For PATH, where the environment has none (execvp(3) has the current directory there as well).
constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// What could not be done, and the exit status that tells so.
struct Failure {
  int exit_status = 0;
  std::string message;
  bool happened() const { return exit_status != 0; }
};

Failure SetUpFailed(const absl::Status& status) {
  return {kExitSetUp, std::string(status.message())};
}

absl::Status LockDown(SentryStart& start, UniqueFd& proc) {
  // Whatever the sandbox's network is: the sentry's own has nothing in it, not even a loopback
  // interface that is up.
  if (absl::Status s = EnterNamespaces(NetworkNamespace::kNew); !s.ok()) return s;
  StartupMark("sentry: in its namespaces");
  platform::native::HostVdso();  // While there is a /proc.
  const Result<Command> go = ReceiveCommand(start.control.get());
  if (!go.ok()) return absl::AbortedError("the front-end is gone");
  if (absl::Status s = TakeIdentity(start.identity.uid, start.identity.gid); !s.ok()) return s;
  proc = OpenDetachedProc();
  if (absl::Status s = MountEmpty("/proc"); !s.ok()) return s;
  if (absl::Status s = PivotTo("/proc"); !s.ok()) return s;
  StartupMark("sentry: root empty");
  if (absl::Status s = DropCapabilities(); !s.ok()) return s;
  if (absl::Status s = SetLimits(); !s.ok()) return s;
  // It reads its stubs' memory and they are its copies: without capabilities that takes "dumpable"
  // (ptrace(2)), which changing ids took away.
  if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) return HostError("prctl(PR_SET_DUMPABLE)");
  return DieWithParent(start.control.get());
}

struct ChosenPlatform {
  PlatformKind kind = PlatformKind::kSystrap;
  std::unique_ptr<platform::Platform> platform;
};

absl::StatusOr<ChosenPlatform> CreatePlatform(const Config& config, int proc_fd) {
  const bool every_call = WantsEveryCall(config);
  if (config.platform == PlatformKind::kSystrap) {
    // --strace shows every call; some of the patched ones never get here.
    const bool patch = !config.no_syscall_patching && !config.strace && !every_call;
    auto systrap =
        platform::systrap::CreateSystrap({.filter = every_call ? kEveryCallFilter : kStubFilter,
                                          .proc_fd = proc_fd,
                                          .patch_calls_of = patch ? &kDispositions : nullptr,
                                          .patch_eagerly = config.patch_eagerly,
                                          .patch_chaos = config.patch_chaos});
    if (systrap.ok()) return ChosenPlatform{PlatformKind::kSystrap, *std::move(systrap)};
    LOG_WARNING("platform systrap does not work on this host (%s): using ptrace, which is slower",
                strerror(systrap.error().code()));
  }
  auto ptrace = platform::ptrace::CreatePtrace(
      {.dispositions = every_call ? kEveryCall : kDispositions, .proc_fd = proc_fd});
  if (ptrace.ok()) return ChosenPlatform{PlatformKind::kPtrace, *std::move(ptrace)};
  return absl::InternalError(absl::StrCat("platform ptrace does not work on this host: ",
                                          strerror(ptrace.error().code())));
}

// What libraries would look up later, when nothing can be opened: the number of processors, which
// malloc wants for its arenas and abseil for its locks, and the time zone, which even gmtime_r(3)
// reads. One arena also keeps a sentry small.
void PrepareLibraries() {
  tzset();
  mallopt(M_ARENA_MAX, 1);
#ifdef NDEBUG
  // Debian's abseil looks for cycles by default, which costs more than the locks.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
#else
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kAbort);
#endif
  absl::base_internal::NumCPUs();
  HostCpus();
}

// The caller's environment with --env on top.
std::vector<std::string> Environment(const Config& config) {
  std::vector<std::string> env;
  for (char** entry = environ; *entry != nullptr; ++entry) env.emplace_back(*entry);
  for (const std::string& entry : config.env) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    std::erase_if(env, [&](const std::string& old) { return old.starts_with(name); });
    env.push_back(entry);
  }
  return env;
}

std::string SearchPath(const std::vector<std::string>& env) {
  for (const std::string& entry : env) {
    if (entry.starts_with("PATH=")) return entry.substr(strlen("PATH="));
  }
  return kDefaultPath;
}

// The exit status of shells for a program that could not be started.
Failure CannotExecute(const std::string& command, Errno error) {
  const bool missing = error == Errno(ENOENT) || error == Errno(ENOTDIR);
  const bool searched = command.find('/') == command.npos;
  return {missing ? kExitNotFound : kExitNotExecutable,
          absl::StrCat(command, ": ",
                       missing && searched ? "command not found" : strerror(error.code()))};
}

// Standard input, output and error. Two descriptors of one terminal, say, become two files.
absl::Status TakeStdio(sentry::Kernel::InitProcess& init) {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    if (!copy.valid()) return HostError("standard descriptors");
    auto file = sentry::HostFile::Create(std::move(copy));
    if (!file.ok()) {
      return absl::InternalError(
          absl::StrCat("standard descriptors: ", strerror(file.error().code())));
    }
    const auto* const host = sentry::FileCast<sentry::HostFile>(**file);
    if (host->is_terminal() && !init.terminal) init.terminal = host->terminal();
    init.stdio.push_back(*std::move(file));
  }
  return absl::OkStatus();
}

// Shows the caller's terminal as /dev/console, so that ttyname(3) finds a name for it: the host's
// name is not for the sandbox to know.
Status NameTerminal(sentry::Vfs& vfs, const sentry::WalkContext& ctx,
                    sentry::Kernel::InitProcess& init) {
  constexpr char kName[] = "/dev/console";
  TRY(vfs.Mknod(ctx, kName, S_IFREG | 0600, 0));
  const sentry::Path at = TRY(vfs.Walk(ctx, kName, {}));
  const auto terminal = std::find_if(init.stdio.begin(), init.stdio.end(),
                                     [](const auto& file) { return file->is_terminal(); });
  TRY(vfs.MountAt(at, (*terminal)->inode_ref(), "devpts", "devpts", MS_NOSUID | MS_NOEXEC));
  const sentry::Path named = TRY(vfs.Walk(ctx, kName, {}));
  for (const Ref<sentry::File>& file : init.stdio) {
    if (file->is_terminal()) file->set_path(named);
  }
  return kOk;
}

// For --strace, which shows calls, and this is none.
std::string DescribeExec(const sentry::Kernel::InitProcess& init) {
  std::string arguments;
  for (const std::string& argument : init.argv) {
    absl::StrAppend(&arguments, arguments.empty() ? "" : ", ", "\"", absl::CHexEscape(argument),
                    "\"");
  }
  return absl::StrCat("execve(\"", absl::CHexEscape(init.path), "\", [", arguments, "], /* ",
                      init.envp.size(), " vars */)");
}

// Builds the tree and the first process, ready to run.
Failure CreateInit(sentry::Kernel& kernel, sentry::GoferClient& files, const SentryStart& start) {
  const Config& config = start.config;
  const absl::StatusOr<sentry::Path> root = BuildTree(kernel, files, config);
  if (!root.ok()) return SetUpFailed(root.status());
  StartupMark("sentry: files mounted");
  const absl::StatusOr<sentry::Path> cwd = FindWorkingDirectory(kernel.vfs(), *root, config);
  if (!cwd.ok()) return SetUpFailed(cwd.status());

  const User user = config.user.value_or(start.caller);
  sentry::Kernel::InitProcess init{.argv = config.argv,
                                   .envp = Environment(config),
                                   .root = *root,
                                   .cwd = *cwd,
                                   .creds = sentry::Credentials::ForUser(user.uid, user.gid),
                                   .nice = start.nice};
  if (!config.user.has_value()) init.creds.groups = start.groups;
  sentry::WalkContext ctx = SetUpContext(*root);
  ctx.start = *cwd;
  const Result<std::string> program =
      FindProgram(kernel.vfs(), ctx, init.argv[0], SearchPath(init.envp));
  if (!program.ok()) return CannotExecute(init.argv[0], program.error());
  init.path = *program;
  if (absl::Status s = TakeStdio(init); !s.ok()) return SetUpFailed(s);
  if (init.terminal && !NameTerminal(kernel.vfs(), ctx, init).ok()) {
    LOG_WARNING("the terminal has no name: /dev/console cannot be made");
  }
  StartupMark("sentry: program found");
  const Status created = kernel.CreateInit(init);
  if (!created.ok()) return CannotExecute(init.argv[0], created.error());
  if (config.strace) LOG_INFO("[1] %s = 0", DescribeExec(init));
  StartupMark("sentry: program loaded");
  return {};
}

// Builds the container and waits until its first process may run.
Failure CreateContainer(oci::Inside& inside, const SentryStart& start) {
  std::vector<UniqueFd> fds;
  const int last = STDERR_FILENO + start.config.container->preserve_fds;
  for (int fd = STDIN_FILENO; fd <= last; ++fd) {
    fds.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, last + 1));
    if (!fds.back().valid()) return SetUpFailed(HostError("standard descriptors"));
  }
  if (absl::Status s = inside.Prepare(std::move(fds)); !s.ok()) return SetUpFailed(s);
  StartupMark("sentry: container prepared");
  (void)SendReport(start.control.get(), Report::Kind::kParked, 0);
  for (;;) {
    std::vector<UniqueFd> with;
    const Result<Command> command = ReceiveCommand(start.control.get(), with);
    if (command.ok() && command->kind == Command::Kind::kStart) break;
    if (!command.ok() || command->kind != Command::Kind::kLimits) _exit(kExitSetUp);
    inside.OnCommand(*command, std::move(with));
  }
  if (inside.has_start_hooks()) return {};  // The control thread's to run.
  (void)inside.Start();
  return {};
}

// What the control thread works with; lives as long as the process.
struct Control {
  int socket;
  sentry::Kernel& kernel;
  oci::Inside* inside = nullptr;  // Of a container.
};

// Sleeps until the front-end passes a signal on, or is gone.
void* ControlThread(void* argument) {
  const Control& control = *static_cast<Control*>(argument);
  prctl(PR_SET_NAME, "control", 0, 0, 0);
  // Abseil measures the clock the first time two threads want one lock, for some milliseconds. Here
  // it keeps nobody waiting.
  absl::base_internal::NominalCPUFrequency();
  if (control.inside != nullptr && control.inside->has_start_hooks()) {
    const absl::Status started = control.inside->Start();
    if (!started.ok()) {
      (void)SendReport(control.socket, Report::Kind::kFailed, 1, std::string(started.message()));
      _exit(kExitSetUp);
    }
    (void)SendReport(control.socket, Report::Kind::kRunning, 0);
  }
  for (;;) {
    std::vector<UniqueFd> fds;
    const Result<Command> command = ReceiveCommand(control.socket, fds);
    if (!command.ok()) _exit(kExitSetUp);
    if (control.inside != nullptr) {
      control.inside->OnCommand(*command, std::move(fds));
    } else if (command->kind == Command::Kind::kSignalForeground) {
      control.kernel.SignalForeground(command->signal);
    } else if (command->kind == Command::Kind::kSignalInit) {
      control.kernel.SignalInit(command->signal);
    }
  }
}

absl::Status StartControlThread(Control& control) {
  // Signals go down into the kernel's locks and wait queues, no further; exec loads programs.
  const size_t kStack = control.inside == nullptr ? 256 * 1024 : 1024 * 1024;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStack);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  errno = pthread_create(&thread, &attributes, ControlThread, &control);
  pthread_attr_destroy(&attributes);
  return errno == 0 ? absl::OkStatus() : HostError("pthread_create");
}

// The process ends here and now: nothing is worth taking down piece by piece.
[[noreturn]] void End(const SentryStart& start, Report::Kind kind, int status,
                      const std::string& message) {
  (void)SendReport(start.control.get(), kind, status, message);
  _exit(0);
}

// Returns only if the program could not be run.
Failure RunProgram(SentryStart& start) {
  UniqueFd proc;
  if (absl::Status s = LockDown(start, proc); !s.ok()) return SetUpFailed(s);
  absl::StatusOr<ChosenPlatform> chosen = CreatePlatform(start.config, proc.get());
  proc.reset();  // The zygote has it; the sentry must not.
  if (!chosen.ok()) return SetUpFailed(chosen.status());
  StartupMark("sentry: platform created");
  PrepareLibraries();
  if (const Status s = InstallSentryFilter(chosen->kind, start.config.host_uds); !s.ok()) {
    return {kExitSetUp, absl::StrCat("seccomp: ", strerror(s.error().code()))};
  }
  StartupMark("sentry: locked down");
  platform::Platform& platform = *chosen->platform;

  syscalls::LinuxDispatcher dispatcher;
  sentry::Kernel kernel(platform, dispatcher,
                        {.hostname = start.config.hostname,
                         .domainname = start.config.domainname,
                         .sysctls = start.config.sysctls,
                         .strace = start.config.strace});
  Ref<sentry::NetClient> network;
  if (start.network.valid()) network = MakeRef<sentry::NetClient>(std::move(start.network));
  kernel.set_network(MakeRef<sentry::NetworkNamespace>(std::move(network)));
  auto files =
      sentry::GoferClient::Create(std::move(start.socket), std::move(start.ring), platform);
  if (!files.ok()) return {kExitSetUp, absl::StrCat("gofer: ", strerror(files.error().code()))};
  std::unique_ptr<oci::Inside> inside;
  if (start.config.container != nullptr) {
    inside = std::make_unique<oci::Inside>(kernel, **files, start.config, start.control.get());
  }
  const Failure failure =
      inside == nullptr ? CreateInit(kernel, **files, start) : CreateContainer(*inside, start);
  if (failure.happened()) End(start, Report::Kind::kFailed, failure.exit_status, failure.message);
  Control control{.socket = start.control.get(), .kernel = kernel, .inside = inside.get()};
  if (absl::Status s = StartControlThread(control); !s.ok()) return SetUpFailed(s);
  if (inside == nullptr || !inside->has_start_hooks()) {
    (void)SendReport(start.control.get(), Report::Kind::kRunning, 0);
  }
  const int wait_status = kernel.Run();
  End(start, Report::Kind::kExited, wait_status, "");
}

}  // namespace

void SentryMain(SentryStart start) {
  const Failure failure = RunProgram(start);
  End(start, Report::Kind::kFailed, failure.exit_status, failure.message);
}

}  // namespace runsc
