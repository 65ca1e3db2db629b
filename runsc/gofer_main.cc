#include "runsc/gofer_main.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/seccomp_filter.h"
#include "gofer/server/seccomp_rules.h"
#include "gofer/server/server.h"
#include "runsc/control.h"
#include "runsc/lockdown.h"
#include "runsc/oci/container.h"
#include "runsc/startup_trace.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

namespace runsc {

namespace {

// Over files whose owners are mapped: CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID,
// CAP_SETFCAP.
constexpr uint64_t kFileCapabilities = 1u << 0 | 1u << 1 | 1u << 3 | 1u << 4 | uint64_t{1} << 31;

constexpr auto kFilter = CompileAllowList(gofer::kSeccompRules);
constexpr auto kFilterWithSockets =
    CompileAllowList(JoinRules(gofer::kSeccompRules, gofer::kSocketRules).rows);

// Where the empty filesystem is mounted that becomes the root. The sandbox has its own /proc.
constexpr char kEmpty[] = "/proc";
// What the sandbox has of its own in the root directory: the host's is not even for the gofer to
// see.
constexpr const char* kHidden[] = {"dev", "proc", "sys", "tmp"};

// A private copy of the mounts at and below `path`, on which the host enforces what the gofer is
// to enforce as well: no writing unless asked for, no devices, no symlinks followed.
absl::StatusOr<UniqueFd> OpenExport(const std::string& path, bool writable) {
  UniqueFd tree(static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, path.c_str(),
                                         OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)));
  if (!tree.valid()) return HostError(path);
  mount_attr attr{};
  attr.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSYMFOLLOW |
                  (writable ? 0 : MOUNT_ATTR_RDONLY);
  if (syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attr,
              sizeof(attr)) != 0) {
    return HostError(absl::StrCat("mount_setattr(", path, ")"));
  }
  return tree;
}

// Covers what the sandbox never asks for with the empty filesystem. `proc_self_fd` is there because
// /proc may be covered by now.
absl::Status HideHostDirectories(const std::string& root, const UniqueFd& proc_self_fd) {
  const UniqueFd empty(open(kEmpty, O_PATH | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd top(open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!empty.valid() || !top.valid()) return HostError("open");
  if (fchdir(proc_self_fd.get()) != 0) return HostError("fchdir");
  const std::string source = absl::StrCat(empty.get());
  for (const char* name : kHidden) {
    const UniqueFd hidden(openat(top.get(), name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!hidden.valid()) continue;
    if (mount(source.c_str(), absl::StrCat(hidden.get()).c_str(), nullptr, MS_BIND, nullptr) != 0) {
      return HostError(absl::StrCat("hiding ", name));
    }
  }
  return absl::OkStatus();
}

// The filestores that overlays keep data in, as FilestoreOf numbers them, behind all other exports.
absl::Status OpenFilestores(const Config& config, const std::vector<std::string>& trees,
                            gofer::ServerConfig& server) {
  std::vector<std::string> directories;
  if (config.overlay == OverlayKind::kDirectory) directories = {config.overlay_directory};
  if (config.overlay == OverlayKind::kSelf) directories = trees;
  if (config.overlay == OverlayKind::kSelf && !config.overlay_all) directories.resize(1);
  for (const std::string& directory : directories) {
    absl::StatusOr<UniqueFd> tree = OpenExport(directory, true);
    if (!tree.ok())
      return absl::Status(tree.status().code(),
                          absl::StrCat("--overlay2: ", tree.status().message()));
    server.exports.push_back({*std::move(tree), true, true});
  }
  return absl::OkStatus();
}

// A container's root has nothing to hide: what is not the image's is mounted over it inside.
absl::Status OpenContainer(const Config& config, gofer::ServerConfig& server) {
  std::vector<oci::HostTree> trees = {{config.container->rootfs, !HasOverlay(config)}};
  const auto& others = config.container->host_trees;
  trees.insert(trees.end(), others.begin(), others.end());
  std::vector<std::string> sources;
  for (const oci::HostTree& tree : trees) {
    const bool writable = tree.writable && !config.overlay_all;
    absl::StatusOr<UniqueFd> opened = OpenExport(tree.source, writable);
    if (!opened.ok()) return opened.status();
    server.exports.push_back({*std::move(opened), writable});
    sources.push_back(tree.source);
  }
  if (absl::Status s = OpenFilestores(config, sources, server); !s.ok()) return s;
  if (absl::Status s = MountEmpty(kEmpty); !s.ok()) return s;
  return PivotTo(kEmpty);
}

// Opens everything that is ever served, then forgets the host's tree.
absl::Status OpenExports(const Config& config, gofer::ServerConfig& server) {
  server.proc_self_fd = UniqueFd(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!server.proc_self_fd.valid()) return HostError("/proc/self/fd");
  if (config.container != nullptr) return OpenContainer(config, server);
  server.exports.resize(1);
  std::vector<std::string> sources = {config.root};
  for (const Volume& volume : config.volumes) {
    const bool writes = !volume.read_only && !config.overlay_all;
    absl::StatusOr<UniqueFd> tree = OpenExport(volume.source, writes);
    if (!tree.ok()) return tree.status();
    server.exports.push_back({*std::move(tree), writes});
    sources.push_back(volume.source);
  }
  if (absl::Status s = OpenFilestores(config, sources, server); !s.ok()) return s;
  const bool writable = !HasOverlay(config);
  if (absl::Status s = MountEmpty(kEmpty); !s.ok()) return s;
  if (absl::Status s = HideHostDirectories(config.root, server.proc_self_fd); !s.ok()) return s;
  absl::StatusOr<UniqueFd> tree = OpenExport(config.root, writable);
  if (!tree.ok()) return tree.status();
  server.exports[0] = {*std::move(tree), writable};
  return PivotTo(kEmpty);
}

absl::Status SetUp(GoferStart& start, gofer::ServerConfig& server) {
  if (absl::Status s = EnterNamespaces(NetworkNamespace::kNew); !s.ok()) return s;
  StartupMark("gofer: in its namespaces");
  const Result<Command> go = ReceiveCommand(start.control.get());
  if (!go.ok()) return absl::AbortedError("the front-end is gone");
  if (absl::Status s = TakeIdentity(start.identity.uid, start.identity.gid); !s.ok()) return s;
  if (absl::Status s = OpenExports(start.config, server); !s.ok()) return s;
  StartupMark("gofer: files open, root empty");
  // A container's files belong to its users, and the caller expects to find them so. Nothing but
  // the exports is within reach of these rights.
  const bool owns_files = start.config.container != nullptr && start.identity.uid == 0;
  const uint64_t kept = owns_files ? kFileCapabilities : 0;
  if (absl::Status s = DropCapabilities(kept); !s.ok()) return s;
  if (absl::Status s = SetLimits(); !s.ok()) return s;
  // Nobody who has the same id may look into it.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return HostError("prctl(PR_SET_DUMPABLE)");
  return DieWithParent(start.control.get());
}

}  // namespace

int GoferMain(GoferStart start) {
  gofer::ServerConfig server;
  const absl::Status status = SetUp(start, server);
  if (!status.ok()) {
    (void)SendReport(start.control.get(), Report::Kind::kFailed, kExitSetUp,
                     absl::StrCat("gofer: ", status.message()));
    return kExitSetUp;
  }
  server.socket = std::move(start.socket);
  server.ring = std::move(start.ring);
  server.policy = {.connect_sockets = OpensHostSockets(start.config),
                   .bind_sockets = CreatesHostSockets(start.config),
                   .open_fifos = start.config.host_fifo};
  const bool sockets = server.policy.sockets();
  // The control socket stays open: its closing would tell the front-end of the gofer's end.
  return gofer::Serve(std::move(server), [sockets] {
    const Status installed =
        sockets ? InstallSeccompFilter(kFilterWithSockets) : InstallSeccompFilter(kFilter);
    StartupMark("gofer: locked down");
    return installed.ok();
  });
}

}  // namespace runsc
