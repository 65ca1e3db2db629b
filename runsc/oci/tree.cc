#include "runsc/oci/tree.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runsc/filesystem.h"
#include "runsc/oci/mount_data.h"
#include "runsc/oci/sysctl.h"
#include "sentry/fs/cgroup/cgroupfs.h"
#include "sentry/fs/dev/devices.h"
#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/fs/mount.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/pipe/fifo.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/sys/sys.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/ipc/namespace.h"
#include "sentry/tty/devpts.h"

namespace runsc::oci {

namespace {

using sentry::Inode;
using sentry::Path;
using sentry::Tmpfs;
using sentry::WalkContext;

// What Mount::flags() knows of.
constexpr uint64_t kKnownFlags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

absl::Status Failed(const std::string& what, Errno error) {
  return absl::InternalError(absl::StrCat(what, ": ", strerror(error.code())));
}

struct DeviceNode {
  const char* name;
  uint32_t major, minor;
};
// runtime-spec, config-linux.md: "Default Devices".
constexpr DeviceNode kDefaultDevices[] = {
    {"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
    {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0},
};

struct LinkNode {
  const char* name;
  const char* target;
};
// runtime-linux.md: "Dev symbolic links"; and ptmx.
constexpr LinkNode kDefaultLinks[] = {
    {"/dev/fd", "/proc/self/fd"},       {"/dev/stdin", "/proc/self/fd/0"},
    {"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"},
    {"/dev/ptmx", "pts/ptmx"},
};

class TreeBuilder {
 public:
  TreeBuilder(sentry::Kernel& kernel, sentry::GoferClient& files, const Config& config,
              const Container& container)
      : kernel_(kernel),
        vfs_(kernel.vfs()),
        files_(files),
        config_(config),
        container_(container) {}

  absl::StatusOr<Path> Build() {
    terminals_ = sentry::Devpts::Create(kernel_, {.gid = 5, .mode = 0620, .ptmx_mode = 0666});
    // Where it shares the sandbox's kernel they are set, to be changed by nobody.
    if ((container_.joins & CLONE_NEWPID) == 0) {
      vfs_.set_special_openers(sentry::OpenFifo, sentry::DeviceOpener(terminals_));
    }
    absl::StatusOr<Path> root = MountRootTree(vfs_, files_, config_);
    if (!root.ok()) return root;
    root_ = *root;
    ctx_ = SetUpContext(root_);
    for (size_t i = 0; i < container_.spec.mounts.size(); ++i) {
      if (absl::Status s = Join(container_.spec.mounts[i], i); !s.ok()) return s;
    }
    if (absl::Status s = WriteSysctls(); !s.ok()) return s;
    if (absl::Status s = MakeDevices(); !s.ok()) return s;
    if (absl::Status s = MakeWorkingDirectory(); !s.ok()) return s;
    if (absl::Status s = RestrictPaths(); !s.ok()) return s;
    // As with runc, which has made it private before.
    const uint64_t propagation = container_.spec.linux_.rootfs_propagation;
    if (propagation != 0) {
      const Status set = SetPropagation(*root_.mount, propagation);
      if (!set.ok()) return Failed("linux.rootfsPropagation", set.error());
    }
    if (container_.spec.root->readonly) {
      root_.mount->set_flags(root_.mount->flags() | MS_RDONLY);
    }
    return root_;
  }

 private:
  static bool IsCgroup(const spec::Mount& mount) {
    return mount.type == "cgroup" || mount.type == "cgroup2";
  }

  // The root of a fresh filesystem of the mount's type.
  absl::StatusOr<Ref<Inode>> Fresh(const spec::Mount& mount) {
    const std::string what = absl::StrCat("mounts: ", mount.destination);
    if (mount.type == "proc") return Took(what, sentry::CreateProc(kernel_));
    if (mount.type == "sysfs") {
      return Took(what, sentry::CreateSys(Ref<sentry::NetworkNamespace>::Share(kernel_.network())));
    }
    if (mount.type == "mqueue") return kernel_.ipc().mqueues->Root();
    if (mount.type == "tmpfs" || mount.type == "shm") {
      Tmpfs::Options options{.mode = 01777};
      if (absl::Status s = ReadTmpfsData(what, mount.data, options); !s.ok()) return s;
      return Tmpfs::Create(options);
    }
    if (mount.type == "devpts") {
      sentry::DevptsOptions options{.mode = 0600, .ptmx_mode = 0};
      if (absl::Status s = ReadDevptsData(what, mount.data, options); !s.ok()) return s;
      return sentry::Devpts::Create(kernel_, options)->Root();
    }
    // The sandbox's kernel has no v1.
    if (IsCgroup(mount)) return sentry::CreateCgroupFs(kernel_);
    return absl::UnimplementedError(
        absl::StrCat(what, ": the type ", mount.type, " is not supported"));
  }

  static absl::StatusOr<Ref<Inode>> Took(const std::string& what, Result<Ref<Inode>> inode) {
    if (!inode.ok()) return Failed(what, inode.error());
    return *std::move(inode);
  }

  absl::StatusOr<Ref<Inode>> HostTreeOf(const spec::Mount& mount, uint32_t number) {
    absl::StatusOr<Ref<Inode>> tree =
        OpenTree(files_, config_, number, container_.host_trees.size());
    if (tree.ok()) return tree;
    return absl::InternalError(
        absl::StrCat("mounts: ", mount.destination, ": ", tree.status().message()));
  }

  absl::Status Join(const spec::Mount& mount, size_t index) {
    const std::string what = absl::StrCat("mounts: ", mount.destination);
    const uint32_t number = container_.export_of_mount[index];
    absl::StatusOr<Ref<Inode>> root = number != 0 ? HostTreeOf(mount, number) : Fresh(mount);
    if (!root.ok()) return root.status();
    const Result<sentry::Attributes> attributes = (*root)->GetAttributes();
    if (!attributes.ok()) return Failed(what, attributes.error());
    const Result<Path> at = MountPoint(vfs_, ctx_, mount.destination, S_ISDIR(attributes->mode));
    if (!at.ok()) return Failed(what, at.error());
    uint64_t flags = mount.flags & kKnownFlags;
    // A host's file is never a device or gains anybody's rights inside.
    if (number != 0) flags |= MS_NODEV;
    const char* type = number != 0 ? "hostfs" : IsCgroup(mount) ? "cgroup2" : mount.type.c_str();
    if (mount.tmpcopyup) {
      if (absl::Status s = CopyUp(what, *at, *root); !s.ok()) return s;
    }
    const auto joined = vfs_.MountAt(*at, *root, type, mount.source, flags);
    if (!joined.ok()) return Failed(what, joined.error());
    for (const uint64_t propagation : mount.propagation) {
      const Status set = SetPropagation(**joined, propagation);
      if (!set.ok()) return Failed(what, set.error());
    }
    return absl::OkStatus();
  }

  // What the image has there shows in the new filesystem, which is runc's word for it.
  absl::Status CopyUp(const std::string& what, const Path& at, Ref<Inode>& root) {
    auto both = Took(what, sentry::Overlay::Create(at.dentry->inode_ref(), std::move(root)));
    if (!both.ok()) return both.status();
    root = *std::move(both);
    return absl::OkStatus();
  }

  // `flags`: MS_PRIVATE and its like, with MS_REC or without.
  Status SetPropagation(sentry::Mount& mount, uint64_t flags) {
    const Ref<sentry::MountNamespace> mounts = vfs_.NamespaceOf(mount);
    if (!mounts) return Errno(EINVAL);
    const Path at{Ref<sentry::Mount>::Share(mount), mount.root()};
    return vfs_.SetPropagation(*mounts, at, sentry::Propagation(flags & ~uint64_t{MS_REC}),
                               (flags & MS_REC) != 0);
  }

  absl::Status WriteSysctls() {
    for (const auto& [path, value] : WrittenSysctls(container_.spec.linux_)) {
      const Status written = WriteFile(absl::StrCat("/proc/sys/", path), value);
      // The host has set that of the network already; not all of them are shown inside.
      if (path.starts_with("net/")) continue;
      if (!written.ok()) return Failed(absl::StrCat("linux.sysctl: ", path), written.error());
    }
    return absl::OkStatus();
  }

  Status WriteFile(const std::string& path, const std::string& text) {
    const Ref<sentry::File> file = TRY(vfs_.Open(ctx_, path, sentry::OpenFlags(O_WRONLY), 0));
    sentry::IoSrc source(std::as_bytes(std::span(text)));
    const size_t written = TRY(file->Write(source));
    return written == text.size() ? kOk : Status(Errno(EIO));
  }

  // A node where the path's directory is; what exists already stays. The owner is set afterwards.
  Status MakeNode(const std::string& path, uint32_t mode, uint64_t rdev) {
    TRY(MountPoint(vfs_, ctx_, path.substr(0, path.rfind('/')), /*directory=*/true));
    const Status made = vfs_.Mknod(ctx_, path, mode, rdev);
    return made.error() == Errno(EEXIST) ? Status(kOk) : made;
  }

  // Where /dev is the image's own directory or the host's, a device cannot be made: as for rootless
  // runc, there is none then.
  bool HasOwnDev() {
    const Result<Path> dev = vfs_.Walk(ctx_, "/dev", {});
    return dev.ok() && dev->mount != root_.mount && dev->mount->fs_type() != "hostfs";
  }

  absl::Status MakeDevices() {
    if (!HasOwnDev()) return absl::OkStatus();
    for (const DeviceNode& device : kDefaultDevices) {
      const Status made =
          MakeNode(device.name, S_IFCHR | 0666, makedev(device.major, device.minor));
      if (!made.ok()) return Failed(device.name, made.error());
    }
    for (const spec::Device& device : container_.spec.linux_.devices) {
      if (absl::Status s = MakeDevice(device); !s.ok()) return s;
    }
    for (const LinkNode& link : kDefaultLinks) {
      const Status made = vfs_.Symlink(ctx_, link.target, link.name);
      if (!made.ok() && made.error() != Errno(EEXIST)) return Failed(link.name, made.error());
    }
    return absl::OkStatus();
  }

  absl::Status MakeDevice(const spec::Device& device) {
    const std::string what = absl::StrCat("linux.devices: ", device.path);
    const auto rdev =
        makedev(static_cast<unsigned>(device.major), static_cast<unsigned>(device.minor));
    uint32_t type = S_IFIFO;
    if (device.type != 'p') {
      const bool known = rdev == makedev(1, 3) || rdev == makedev(1, 5) || rdev == makedev(1, 7) ||
                         rdev == makedev(1, 8) || rdev == makedev(1, 9) || rdev == makedev(5, 0) ||
                         rdev == makedev(5, 1) || rdev == makedev(5, 2);
      if (device.type != 'c' || !known) {
        return absl::UnimplementedError(
            absl::StrCat(what, ": the host's devices are not passed on"));
      }
      type = S_IFCHR;
    }
    Status made = MakeNode(device.path, type | (device.file_mode & 07777), rdev);
    if (made.ok()) made = SetOwner(device);
    return made.ok() ? absl::OkStatus() : Failed(what, made.error());
  }

  Status SetOwner(const spec::Device& device) {
    const Path path = TRY(vfs_.Walk(ctx_, device.path, {}));
    sentry::AttributeChange change;
    change.uid = device.uid;
    change.gid = device.gid;
    return vfs_.SetAttributes(ctx_, path, change);
  }

  // runc makes it, too.
  absl::Status MakeWorkingDirectory() {
    const std::string& cwd = container_.spec.process->cwd;
    const Result<Path> made = MountPoint(vfs_, ctx_, cwd, /*directory=*/true);
    return made.ok() ? absl::OkStatus() : Failed(absl::StrCat("process.cwd: ", cwd), made.error());
  }

  absl::Status RestrictPaths() {
    for (const std::string& path : container_.spec.linux_.readonly_paths) {
      if (absl::Status s = MakeReadOnly(path); !s.ok()) return s;
    }
    for (const std::string& path : container_.spec.linux_.masked_paths) {
      if (absl::Status s = Mask(path); !s.ok()) return s;
    }
    return absl::OkStatus();
  }

  // What is not there needs no protection; what is covered already, neither.
  absl::Status Cover(const char* field, const std::string& path, auto root_of, uint64_t flags) {
    const Result<Path> at = vfs_.Walk(ctx_, path, {});
    if (!at.ok()) return absl::OkStatus();
    Result<Ref<Inode>> root = root_of(*at);
    const std::string what = absl::StrCat(field, ": ", path);
    if (!root.ok()) return Failed(what, root.error());
    const auto joined = vfs_.MountAt(*at, *root, at->mount->fs_type(), at->mount->source(), flags);
    return joined.ok() ? absl::OkStatus() : Failed(what, joined.error());
  }

  absl::Status MakeReadOnly(const std::string& path) {
    const auto itself = [](const Path& at) -> Result<Ref<Inode>> { return at.dentry->inode_ref(); };
    const Result<Path> at = vfs_.Walk(ctx_, path, {});
    const uint64_t flags = at.ok() ? at->mount->flags() : 0;
    return Cover("linux.readonlyPaths", path, itself, flags | MS_RDONLY);
  }

  absl::Status Mask(const std::string& path) {
    const auto nothing = [this](const Path& at) -> Result<Ref<Inode>> {
      if (at.dentry->is_directory()) return Tmpfs::Create({.size = 4096, .mode = 0755});
      if (!null_) {
        const Ref<Inode> dev = Tmpfs::Create();
        null_ = TRY(dev->Create("null", {.mode = S_IFCHR | 0666, .rdev = makedev(1, 3)}));
      }
      return null_;
    };
    return Cover("linux.maskedPaths", path, nothing, MS_RDONLY);
  }

  sentry::Kernel& kernel_;
  sentry::Vfs& vfs_;
  sentry::GoferClient& files_;
  const Config& config_;
  const Container& container_;
  Ref<sentry::Devpts> terminals_;
  Ref<Inode> null_;
  Path root_;
  WalkContext ctx_;
};

}  // namespace

absl::StatusOr<Path> BuildTree(sentry::Kernel& kernel, sentry::GoferClient& files,
                               const Config& config, const Container& container) {
  return TreeBuilder(kernel, files, config, container).Build();
}

}  // namespace runsc::oci
