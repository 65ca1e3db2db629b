#include "runsc/filesystem.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runsc/oci/container.h"
#include "sentry/fs/cgroup/cgroupfs.h"
#include "sentry/fs/dev/devices.h"
#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/pipe/fifo.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/sys/sys.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/ipc/namespace.h"
#include "sentry/tty/devpts.h"

namespace runsc {

namespace {

using sentry::GoferFs;
using sentry::Inode;
using sentry::Path;
using sentry::Tmpfs;
using sentry::Vfs;
using sentry::WalkContext;

absl::Status Failed(const std::string& what, Errno error) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(error.code())));
}

bool IsDirectory(const Path& path) {
  const Result<sentry::Attributes> attributes = path.dentry->inode().GetAttributes();
  return attributes.ok() && S_ISDIR(attributes->mode);
}

// Makes what is missing of a directory and those above it.
Status MakeDirectories(Vfs& vfs, const WalkContext& ctx, const std::string& path) {
  std::string done;
  const std::vector<std::string> names = absl::StrSplit(path, '/', absl::SkipEmpty());
  for (const std::string& name : names) {
    absl::StrAppend(&done, "/", name);
    const Status made = vfs.Mkdir(ctx, done, 0755);
    if (!made.ok() && made.error() != Errno(EEXIST)) return made.error();
  }
  return kOk;
}

struct FreshMount {
  const char* path;
  const char* type;
  Result<Ref<Inode>> root;
  uint64_t flags;
};

absl::Status Join(Vfs& vfs, const WalkContext& ctx, const FreshMount& mount) {
  if (!mount.root.ok()) return Failed(mount.path, mount.root.error());
  const Result<Path> at = MountPoint(vfs, ctx, mount.path, true);
  if (!at.ok()) return Failed(mount.path, at.error());
  const auto joined = vfs.MountAt(*at, *mount.root, mount.type, mount.type, mount.flags);
  return joined.ok() ? absl::OkStatus() : Failed(mount.path, joined.error());
}

absl::Status JoinFresh(sentry::Kernel& kernel, const WalkContext& ctx, sentry::Devpts& terminals) {
  const FreshMount mounts[] = {
      {"/proc", "proc", sentry::CreateProc(kernel), MS_NOSUID | MS_NODEV | MS_NOEXEC},
      {"/sys", "sysfs", sentry::CreateSys(Ref<sentry::NetworkNamespace>::Share(kernel.network())),
       MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC},
      {"/sys/fs/cgroup", "cgroup2", sentry::CreateCgroupFs(kernel),
       MS_NOSUID | MS_NODEV | MS_NOEXEC},
      {"/dev", "devtmpfs", sentry::CreateDevTree(), MS_NOSUID},
      {"/dev/pts", "devpts", terminals.Root(), MS_NOSUID | MS_NOEXEC},
      {"/dev/mqueue", "mqueue", kernel.ipc().mqueues->Root(), MS_NOSUID | MS_NODEV | MS_NOEXEC},
      {"/dev/shm", "tmpfs", Tmpfs::Create({.mode = 01777}), MS_NOSUID | MS_NODEV},
      {"/tmp", "tmpfs", Tmpfs::Create({.mode = 01777}), MS_NODEV},
  };
  for (const FreshMount& mount : mounts) {
    if (absl::Status s = Join(kernel.vfs(), ctx, mount); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// The export in which the overlay over export `index` has its data (OpenFilestores in
// gofer_main.cc).
std::optional<uint32_t> FilestoreOf(const Config& config, uint32_t index, size_t trees) {
  if (config.overlay == OverlayKind::kDirectory) return static_cast<uint32_t>(trees + 1);
  if (config.overlay == OverlayKind::kSelf) return static_cast<uint32_t>(trees + 1 + index);
  return std::nullopt;
}

// A file as a whole has no directory that could take a filestore.
Result<Ref<Inode>> NewUpper(sentry::GoferClient& files, const Config& config,
                            std::optional<uint32_t> filestore) {
  sentry::TmpfsOptions options{.size = config.overlay_size, .mode = 0755};
  if (filestore) {
    // Fails at once, and not at the first write.
    TRY(files.NewUnnamed(*filestore));
    options.new_store = [&files, index = *filestore] { return files.NewUnnamed(index); };
    // The host's own limit, unless there is one of ours.
    if (options.size == 0) options.size = uint64_t{1} << 62;
  }
  return Tmpfs::Create(options);
}

absl::Status JoinVolume(Vfs& vfs, const WalkContext& ctx, sentry::GoferClient& files,
                        uint32_t export_index, const Config& config) {
  const Volume& volume = config.volumes[export_index - 1];
  const std::string what = absl::StrCat("--volume: ", volume.destination);
  const auto root = OpenTree(files, config, export_index, config.volumes.size());
  if (!root.ok()) return absl::InternalError(absl::StrCat("--volume: ", root.status().message()));
  const Result<sentry::Attributes> attributes = (*root)->GetAttributes();
  if (!attributes.ok()) return Failed(what, attributes.error());
  const Result<Path> at = MountPoint(vfs, ctx, volume.destination, S_ISDIR(attributes->mode));
  if (!at.ok()) return Failed(what, at.error());
  const uint64_t flags = MS_NOSUID | MS_NODEV | (volume.read_only ? MS_RDONLY : 0);
  const auto joined = vfs.MountAt(*at, *root, "hostfs", volume.source, flags);
  return joined.ok() ? absl::OkStatus() : Failed(what, joined.error());
}

// X_OK for a regular file.
Status CheckProgram(Vfs& vfs, const WalkContext& ctx, const std::string& path) {
  const Path found = TRY(vfs.Walk(ctx, path, {}));
  const sentry::Attributes attributes = TRY(vfs.GetAttributes(found));
  if (!S_ISREG(attributes.mode)) return Errno(EACCES);
  return Vfs::CheckAccess(attributes, ctx.creds, X_OK);
}

}  // namespace

Result<Path> MountPoint(Vfs& vfs, const WalkContext& ctx, const std::string& path, bool directory) {
  Result<Path> found = vfs.Walk(ctx, path, {});
  if (found.ok() || found.error() != Errno(ENOENT)) return found;
  if (directory) {
    TRY(MakeDirectories(vfs, ctx, path));
  } else {
    TRY(MakeDirectories(vfs, ctx, path.substr(0, path.rfind('/'))));
    TRY(vfs.Mknod(ctx, path, S_IFREG | 0644, 0));
  }
  return vfs.Walk(ctx, path, {});
}

absl::StatusOr<Ref<Inode>> OpenTree(sentry::GoferClient& files, const Config& config,
                                    uint32_t index, size_t trees) {
  const bool overlay = HasOverlay(config) && (index == 0 || config.overlay_all);
  const std::string what = index == 0 ? config.root : absl::StrCat("export ", index);
  // Under an overlay nobody is to see changes from outside; without one, changes go both ways.
  const bool shared = !overlay && (index != 0 || config.oci.shared_root.value_or(true));
  const auto lower = GoferFs::Create(files, index,
                                     {.shared = shared,
                                      .connect_sockets = OpensHostSockets(config),
                                      .bind_sockets = CreatesHostSockets(config),
                                      .open_fifos = config.host_fifo});
  if (!lower.ok()) return Failed(what, lower.error());
  if (!overlay) return *lower;
  const Result<sentry::Attributes> attributes = (*lower)->GetAttributes();
  if (!attributes.ok()) return Failed(what, attributes.error());
  std::optional<uint32_t> filestore;
  if (S_ISDIR(attributes->mode) || config.overlay == OverlayKind::kDirectory) {
    filestore = FilestoreOf(config, index, trees);
  }
  const auto upper = NewUpper(files, config, filestore);
  if (!upper.ok()) return Failed(absl::StrCat("--overlay2: ", what), upper.error());
  const auto both = sentry::Overlay::Create(*lower, *upper);
  if (!both.ok()) return Failed(what, both.error());
  return *both;
}

absl::StatusOr<Path> MountRootTree(Vfs& vfs, sentry::GoferClient& files, const Config& config) {
  const size_t trees =
      config.container != nullptr ? config.container->host_trees.size() : config.volumes.size();
  absl::StatusOr<Ref<Inode>> root = OpenTree(files, config, 0, trees);
  if (!root.ok()) return root.status();
  const bool overlay = HasOverlay(config);
  return vfs.MountRoot(*root, overlay ? "overlay" : "hostfs", overlay ? "overlay" : config.root, 0);
}

WalkContext SetUpContext(const Path& root) {
  return {.root = root, .start = root, .creds = sentry::Credentials::ForUser(0, 0), .umask = 0};
}

absl::StatusOr<Path> BuildTree(sentry::Kernel& kernel, sentry::GoferClient& files,
                               const Config& config) {
  Vfs& vfs = kernel.vfs();
  // The group and the modes that Debian mounts it with; /dev/ptmx leads to the same instance.
  const Ref<sentry::Devpts> terminals =
      sentry::Devpts::Create(kernel, {.gid = 5, .mode = 0620, .ptmx_mode = 0666});
  vfs.set_special_openers(sentry::OpenFifo, sentry::DeviceOpener(terminals));
  absl::StatusOr<Path> root = MountRootTree(vfs, files, config);
  if (!root.ok()) return root;
  const WalkContext ctx = SetUpContext(*root);
  if (absl::Status s = JoinFresh(kernel, ctx, *terminals); !s.ok()) return s;
  for (size_t i = 0; i < config.volumes.size(); ++i) {
    absl::Status s = JoinVolume(vfs, ctx, files, static_cast<uint32_t>(i + 1), config);
    if (!s.ok()) return s;
  }
  return root;
}

absl::StatusOr<Path> FindWorkingDirectory(Vfs& vfs, const Path& root, const Config& config) {
  const WalkContext ctx = SetUpContext(root);
  if (config.cwd.has_value()) {
    const Result<Path> found = vfs.Walk(ctx, *config.cwd, {});
    if (!found.ok()) return Failed(absl::StrCat("--cwd: ", *config.cwd), found.error());
    if (!IsDirectory(*found)) return Failed(absl::StrCat("--cwd: ", *config.cwd), Errno(ENOTDIR));
    return *found;
  }
  if (config.root != "/" || config.caller_cwd.empty()) return root;
  const Result<Path> found = vfs.Walk(ctx, config.caller_cwd, {});
  return found.ok() && IsDirectory(*found) ? *found : root;
}

Result<std::string> FindProgram(Vfs& vfs, const WalkContext& ctx, const std::string& command,
                                const std::string& search) {
  if (command.empty()) return Errno(ENOENT);
  if (command.find('/') != command.npos) {
    TRY(CheckProgram(vfs, ctx, command));
    return command;
  }
  Errno error(ENOENT);
  const std::vector<std::string> directories = absl::StrSplit(search, ':');
  for (const std::string& directory : directories) {
    const std::string path = absl::StrCat(directory.empty() ? "." : directory, "/", command);
    const Status usable = CheckProgram(vfs, ctx, path);
    if (usable.ok()) return path;
    if (usable.error() == Errno(EACCES)) error = usable.error();
  }
  return error;
}

}  // namespace runsc
