#include "runsc/oci/inside.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "runsc/filesystem.h"
#include "runsc/oci/pod.h"
#include "runsc/oci/process_wire.h"
#include "runsc/oci/seccomp.h"
#include "runsc/oci/tree.h"
#include "sentry/fs/host/host_file.h"
#include "sentry/fs/mount.h"
#include "sentry/task/file_locks.h"

namespace runsc::oci {

namespace {

// More text than any set of limits.
constexpr size_t kMaxLimits = 64 * 1024;

// The source of the mount at /dev/console that names the terminal of an exec.
constexpr char kExecTerminal[] = "devpts (exec)";

absl::Status Failed(const std::string& what, Errno error) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(error.code())));
}

// What runc says, which callers look for: Go's errors are in lower case.
absl::Status CannotExecute(const std::string& command, Errno error) {
  const bool missing = error == Errno(ENOENT) || error == Errno(ENOTDIR);
  const bool searched = command.find('/') == command.npos;
  const std::string what = absl::StrCat("exec: \"", command, "\": ");
  if (missing && searched) {
    return absl::NotFoundError(absl::StrCat(what, "executable file not found in $PATH"));
  }
  if (missing) {
    return absl::NotFoundError(absl::StrCat(what, "stat ", command, ": no such file or directory"));
  }
  if (error == Errno(EACCES))
    return absl::PermissionDeniedError(absl::StrCat(what, "permission denied"));
  if (error == Errno(ENOEXEC)) return absl::InternalError(absl::StrCat(what, "exec format error"));
  return Failed(absl::StrCat("exec: \"", command, "\""), error);
}

sentry::Credentials CredentialsOf(const spec::Process& process,
                                  const std::optional<spec::Capabilities>& inherited) {
  sentry::Credentials creds = sentry::Credentials::ForUser(process.user.uid, process.user.gid);
  creds.groups = process.user.additional_gids;
  creds.no_new_privs = process.no_new_privileges;
  const spec::Capabilities sets =
      process.capabilities.value_or(inherited.value_or(spec::Capabilities{}));
  constexpr uint64_t kAll = sentry::Credentials::kAllCapabilities;
  creds.bounding = sets.bounding & kAll;
  creds.permitted = sets.permitted & kAll;
  creds.effective = sets.effective & creds.permitted;
  creds.inheritable = sets.inheritable & kAll;
  // capabilities(7): what is neither permitted nor inheritable cannot be ambient.
  creds.ambient = sets.ambient & creds.permitted & creds.inheritable;
  return creds;
}

std::string ValueOf(const std::vector<std::string>& env, std::string_view name) {
  std::string value;
  for (const std::string& entry : env) {
    if (entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=') {
      value = entry.substr(name.size() + 1);
    }
  }
  return value;
}

}  // namespace

absl::Status Inside::Prepare(std::vector<UniqueFd> fds) {
  if (IsPodSandbox(container_.spec)) sentry::FileLocks::KnowByNumbers();
  if (const auto& resources = container_.spec.linux_.resources; resources.has_value()) {
    TakeLimits(cgroup::LimitsToShow(*resources));
  }
  absl::StatusOr<sentry::Path> root = BuildTree(kernel_, files_, config_, container_);
  if (!root.ok()) return root.status();
  root_ = *root;
  sentry::Kernel::InitProcess init{.unkillable = !shares_kernel()};
  const spec::Process& process = *container_.spec.process;
  if (absl::Status s = MakeProcess(process, std::move(fds), init); !s.ok()) return s;
  if (init.terminal) {
    if (absl::Status s = NameTerminal(init); !s.ok()) return s;
  }
  if (shares_kernel()) {
    init.on_exit = [this](int wait_status) {
      (void)SendReport(control_, Report::Kind::kExited, wait_status);
    };
  }
  Result<Ref<sentry::Task>> task = kernel_.PrepareProcess(init);
  if (!task.ok()) return CannotExecute(process.args[0], task.error());
  first_ = *std::move(task);
  group_ = Ref<sentry::ThreadGroup>::Share(first_->group());
  terminal_ = init.terminal;
  return absl::OkStatus();
}

// All but one are the host's to enforce; cgroup/plan.h says why that one is not.
void Inside::TakeLimits(const cgroup::ShownLimits& limits) {
  for (const auto& [file, text] : limits) {
    if (file == "pids.max") {
      LimitTasks(strtoul(text.c_str(), nullptr, 10));  // 0 for "max".
    } else if (!shares_kernel()) {
      kernel_.control_group().Show(file, text);
    }
  }
}

void Inside::TakeLimits(const std::vector<UniqueFd>& fds) {
  std::string lines(kMaxLimits, '\0');
  const ssize_t size = fds.size() == 1 ? pread(fds[0].get(), lines.data(), lines.size(), 0) : 0;
  lines.resize(static_cast<size_t>(std::max<ssize_t>(size, 0)));
  TakeLimits(cgroup::DecodeLimits(lines));
}

void Inside::LimitTasks(size_t most) {
  if (!shares_kernel()) return kernel_.LimitTasks(most);
  host_group_->most_tasks = most;
}

void Inside::KillAll() {
  const Ref<sentry::Task> parked = std::exchange(first_, {});
  SignalFirst(SIGKILL);
  // What has never run has to, to end.
  if (parked) kernel_.StartProcess(*parked);
  if (shares_kernel()) kernel_.SignalAll(SIGKILL, tag());
}

void Inside::SignalFirst(int sig) { kernel_.SendTo(*group_, sentry::MakeKernelSignalInfo(sig)); }

void Inside::SignalForeground(int sig) {
  if (!shares_kernel()) return kernel_.SignalForeground(sig);
  if (!terminal_) return SignalFirst(sig);
  kernel_.SignalForegroundOf(*terminal_, *group_, sig);
}

absl::Status Inside::Start() {
  if (absl::Status s = RunStartHooks(); !s.ok()) return s;
  kernel_.StartProcess(*std::exchange(first_, {}));
  return absl::OkStatus();
}

absl::Status Inside::MakeProcess(const spec::Process& process, std::vector<UniqueFd> fds,
                                 sentry::Kernel::InitProcess& init) {
  sentry::WalkContext ctx = SetUpContext(root_);
  init.argv = process.args;
  init.envp = process.env;
  init.root = root_;
  init.creds = CredentialsOf(process, container_.spec.process->capabilities);
  init.umask = process.user.umask.value_or(022);
  init.oom_score_adj = process.oom_score_adj.value_or(0);
  init.container = tag();
  init.host_group = host_group_;
  for (const spec::Rlimit& limit : process.rlimits) {
    init.limits.emplace_back(limit.resource, rlimit{limit.soft, limit.hard});
  }
  if (const auto& seccomp = container_.spec.linux_.seccomp; seccomp.has_value()) {
    const auto filters = sentry::SeccompFilters::With({}, MakeSeccompProgram(*seccomp));
    if (!filters.ok()) return Failed("linux.seccomp", filters.error());
    init.seccomp = *filters;
  }
  // With the rights that the process has before it executes anything.
  ctx.creds = init.creds;
  const Result<sentry::Path> cwd = kernel_.vfs().Walk(ctx, process.cwd, {});
  if (!cwd.ok()) return Failed(absl::StrCat("chdir to cwd (\"", process.cwd, "\")"), cwd.error());
  if (!cwd->dentry->is_directory()) return Failed("chdir to cwd", Errno(ENOTDIR));
  init.cwd = *cwd;
  for (UniqueFd& fd : fds) {
    auto file = sentry::HostFile::Create(
        std::move(fd), sentry::HostFile::Owner{process.user.uid, process.user.gid});
    if (!file.ok()) return Failed("standard descriptors", file.error());
    const auto* const host = sentry::FileCast<sentry::HostFile>(**file);
    if (process.terminal && host->is_terminal() && !init.terminal) init.terminal = host->terminal();
    init.stdio.push_back(*std::move(file));
  }
  return FindCommand(process.args, init);
}

absl::Status Inside::FindCommand(const std::vector<std::string>& args,
                                 sentry::Kernel::InitProcess& init) {
  sentry::WalkContext ctx = SetUpContext(root_);
  ctx.creds = init.creds;
  ctx.start = init.cwd;
  const Result<std::string> program =
      FindProgram(kernel_.vfs(), ctx, args[0], ValueOf(init.envp, "PATH"));
  if (!program.ok()) return CannotExecute(args[0], program.error());
  init.path = *program;
  return absl::OkStatus();
}

// The terminal is /dev/console, as with runc.
absl::Status Inside::NameTerminal(sentry::Kernel::InitProcess& init) {
  constexpr char kName[] = "/dev/console";
  sentry::Vfs& vfs = kernel_.vfs();
  const sentry::WalkContext ctx = SetUpContext(root_);
  Result<sentry::Path> at = MountPoint(vfs, ctx, kName, /*directory=*/false);
  // That of the first process stays; that of an earlier exec gives way.
  if (at.ok() && at->mount->source() == kExecTerminal) {
    const Ref<sentry::MountNamespace> mounts = vfs.NamespaceOf(*at->mount);
    if (mounts) (void)vfs.Unmount(*mounts, *at, MNT_DETACH);
    at = MountPoint(vfs, ctx, kName, /*directory=*/false);
  }
  if (at.ok() && at->dentry == at->mount->root()) return absl::OkStatus();
  if (!at.ok()) return absl::OkStatus();  // A read-only /dev: it goes without a name.
  const auto terminal = std::find_if(init.stdio.begin(), init.stdio.end(),
                                     [](const auto& file) { return file->is_terminal(); });
  const char* source = group_ ? kExecTerminal : "devpts";
  const auto joined =
      vfs.MountAt(*at, (*terminal)->inode_ref(), "devpts", source, MS_NOSUID | MS_NOEXEC);
  if (!joined.ok()) return Failed(kName, joined.error());
  const Result<sentry::Path> named = vfs.Walk(ctx, kName, {});
  if (!named.ok()) return Failed(kName, named.error());
  for (const Ref<sentry::File>& file : init.stdio) {
    if (file->is_terminal()) file->set_path(*named);
  }
  return absl::OkStatus();
}

void Inside::OnCommand(const Command& command, std::vector<UniqueFd> fds) {
  if (command.kind == Command::Kind::kAddContainer) {
    if (!members_) members_ = std::make_unique<Members>(kernel_, config_);
    const absl::Status added = members_->Add(std::move(fds));
    if (!added.ok()) LOG_WARNING("%s", std::string(added.message()));
    return;
  }
  if (command.kind == Command::Kind::kListProcesses) return List(command.id, fds);
  if (command.kind == Command::Kind::kLimits) return TakeLimits(fds);
  if (command.kind != Command::Kind::kExec) return Signal(command);
  const absl::Status status = Exec(command.id, std::move(fds));
  if (status.ok()) return;
  Report report{.kind = Report::Kind::kExecFailed, .status = kExitSetUp, .id = command.id};
  const std::string text(status.message());
  memcpy(report.message, text.data(), std::min(text.size(), sizeof(report.message) - 1));
  (void)SendReport(control_, report);
}

absl::Status Inside::Exec(uint32_t id, std::vector<UniqueFd> fds) {
  // There was no room for them: runsc/control.h.
  if (fds.size() < kExecFds) return Failed("exec: the sandbox", Errno(EMFILE));
  const Result<spec::Process> process = ProcessFromMemfd(fds[0].get());
  if (!process.ok()) return Failed("exec", process.error());
  fds.erase(fds.begin());
  sentry::Kernel::InitProcess init;
  if (absl::Status s = MakeProcess(*process, std::move(fds), init); !s.ok()) return s;
  if (init.terminal) {
    if (absl::Status s = NameTerminal(init); !s.ok()) return s;
  }
  init.on_exit = [this, id](int wait_status) {
    {
      absl::MutexLock lock(&mu_);
      added_.erase(id);
    }
    (void)SendReport(control_,
                     {.kind = Report::Kind::kExecExited, .status = wait_status, .id = id});
  };
  Result<Ref<sentry::Task>> task = kernel_.PrepareProcess(init);
  if (!task.ok()) return CannotExecute(process->args[0], task.error());
  {
    absl::MutexLock lock(&mu_);
    added_[id] = {Ref<sentry::ThreadGroup>::Share((*task)->group()), init.terminal};
  }
  (void)SendReport(control_,
                   {.kind = Report::Kind::kExecStarted, .status = (*task)->tgid(), .id = id});
  kernel_.StartProcess(**task);
  return absl::OkStatus();
}

void Inside::List(uint32_t id, const std::vector<UniqueFd>& fds) {
  std::vector<uint32_t> pids;
  for (const Ref<sentry::ThreadGroup>& group : kernel_.AllGroups()) {
    if (group->container != tag() || group.get() == group_.get()) continue;
    absl::MutexLock lock(&kernel_.mu());
    if (group->zombie || group->leader == nullptr || !group->leader->alive()) continue;
    pids.push_back(static_cast<uint32_t>(group->leader->thread().host_tid()));
  }
  const auto bytes = static_cast<ssize_t>(pids.size() * sizeof(uint32_t));
  const bool written =
      fds.size() == 1 && pwrite(fds[0].get(), pids.data(), static_cast<size_t>(bytes), 0) == bytes;
  (void)SendReport(control_, {.kind = Report::Kind::kListed,
                              .status = written ? static_cast<int32_t>(pids.size()) : -1,
                              .id = id});
}

void Inside::Signal(const Command& command) {
  switch (command.kind) {
    case Command::Kind::kSignalForeground:
      return SignalForeground(command.signal);
    case Command::Kind::kSignalInit:
      return SignalFirst(command.signal);
    case Command::Kind::kSignalAll:
      return kernel_.SignalAll(command.signal, tag());
    default:
      break;
  }
  Added target;
  {
    absl::MutexLock lock(&mu_);
    const auto found = added_.find(command.id);
    if (found == added_.end()) return;
    target = found->second;
  }
  if (command.kind == Command::Kind::kSignalExecTerminal && target.terminal) {
    kernel_.SignalForegroundOf(*target.terminal, *target.group, command.signal);
  } else {
    kernel_.SendTo(*target.group, sentry::MakeKernelSignalInfo(command.signal));
  }
}

}  // namespace runsc::oci
