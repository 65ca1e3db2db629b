// mount(2), umount2(2), pivot_root(2), and mount namespaces.
#include "syscalls/mount.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>

#include <bit>
#include <span>
#include <string_view>

#include "sentry/task/kernel.h"
#include "syscalls/common.h"
#include "syscalls/filesystems.h"
#include "syscalls/known_errors.h"

namespace syscalls {
namespace {

using sentry::Mount;
using sentry::MountNamespace;

constexpr uint64_t kMagic = 0xc0ed0000, kMagicMask = 0xffff0000;
constexpr uint64_t kPropagation = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
constexpr uint64_t kAtime = MS_NOATIME | MS_NODIRATIME | MS_RELATIME;

// The flags of a mount that mount(2) asks for (path_mount() of Linux); `old` are those to keep.
uint64_t MountFlags(uint64_t flags, uint64_t old) {
  uint64_t result = flags & Mount::kFlags & ~kAtime;
  constexpr uint64_t kAnyAtime = kAtime | MS_STRICTATIME;
  if ((flags & MS_REMOUNT) != 0 && (flags & kAnyAtime) == 0) return result | (old & kAtime);
  result |= flags & MS_NODIRATIME;
  if ((flags & MS_STRICTATIME) != 0) return result;
  return result | ((flags & MS_NOATIME) != 0 ? MS_NOATIME : MS_RELATIME);
}

Result<Path> FindSource(Task& task, const std::string& source) {
  if (source.empty()) return Errno(EINVAL);
  return task.vfs().Walk(task.walk_context(), source, {});
}

Status ChangePropagation(Task& task, MountNamespace& ns, const Path& at, uint64_t flags) {
  const uint64_t type = flags & ~uint64_t{MS_REC | MS_SILENT};
  if ((type & ~kPropagation) != 0 || std::popcount(type) != 1) return Errno(EINVAL);
  return task.vfs().SetPropagation(ns, at, sentry::Propagation(type), (flags & MS_REC) != 0);
}

Status Remount(Task& task, MountNamespace& ns, const Path& at, uint64_t flags,
               std::string_view options) {
  if (at.dentry != at.mount->root()) return Errno(EINVAL);
  const uint64_t wanted = MountFlags(flags, at.mount->flags());
  if ((flags & MS_BIND) == 0) {
    sentry::Superblock& superblock = at.mount->superblock();
    TRY(superblock.root()->inode().Remount(sentry::ParseMountOptions(options)));
    TRY(task.vfs().SetReadOnly(ns, at, (flags & MS_RDONLY) != 0));
  }
  return task.vfs().SetMountFlags(ns, at, wanted, Mount::kFlags, /*recursive=*/false);
}

struct NewMount {
  std::string source, type, options;
  bool has_type = false;
};

Status MountNew(Task& task, const Path& at, uint64_t flags, const NewMount& request) {
  if (!request.has_type) return Errno(EINVAL);
  const FilesystemType* const type = FindFilesystem(request.type);
  if (type == nullptr) return Errno(ENODEV);
  const sentry::MountOptions options = SplitOptions(*type, request.options);
  Ref<sentry::Inode> root = TRY(CreateFilesystem(*type, {.task = task,
                                                         .kernel = task.kernel(),
                                                         .namespaces = task.namespaces(),
                                                         .creds = task.creds(),
                                                         .options = options}));
  const Ref<sentry::Superblock> superblock =
      TRY(task.vfs().NewSuperblock(std::move(root), request.type));
  if ((flags & MS_RDONLY) != 0) superblock->set_read_only(true);
  TRY(task.vfs().MountAt(at, superblock, request.source, MountFlags(flags, 0)));
  return kOk;
}

Status CheckInNamespace(Task& task, MountNamespace& ns, const Path& at) {
  return task.vfs().NamespaceOf(*at.mount).get() == &ns ? Status(kOk) : Errno(ENOENT);
}

}  // namespace

Result<Ref<MountNamespace>> MountsOf(Task& task) {
  Ref<MountNamespace> ns = task.fs().mounts();
  if (!ns) return Errno(EINVAL);
  return ns;
}

Status Mount(Task& task, UserCString source, UserCString target, UserCString type, uint64_t flags,
             UserAddr data) {
  NewMount request{.has_type = static_cast<bool>(type)};
  if (type) request.type = TRY(task.mem().ReadPath(type));
  if (source) request.source = TRY(task.mem().ReadPath(source));
  if (data) request.options = TRY(task.mem().ReadString(UserCString{data}, kPageSize));
  const Target at = TRY(ResolveAt(task, sentry::kAtFdCwd, target, 0, Follow::kYes));
  if ((flags & kMagicMask) == kMagic) flags &= ~kMagicMask;
  if (!HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  const Ref<MountNamespace> ns = TRY(MountsOf(task));
  if ((flags & MS_REMOUNT) != 0) return Remount(task, *ns, at.path, flags, request.options);
  if ((flags & MS_BIND) != 0) {
    const Path from = TRY(FindSource(task, request.source));
    return task.vfs().Bind(*ns, from, at.path, (flags & MS_REC) != 0);
  }
  if ((flags & kPropagation) != 0) return ChangePropagation(task, *ns, at.path, flags);
  if ((flags & MS_MOVE) != 0) {
    const Path from = TRY(FindSource(task, request.source));
    return task.vfs().Move(*ns, from, at.path);
  }
  TRY(CheckInNamespace(task, *ns, at.path));
  return MountNew(task, at.path, flags, request);
}

Status Umount2(Task& task, UserCString target, uint32_t flags) {
  constexpr uint32_t kKnown = MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW;
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  const Target at =
      TRY(ResolveAt(task, sentry::kAtFdCwd, target,
                    (flags & UMOUNT_NOFOLLOW) != 0 ? AT_SYMLINK_NOFOLLOW : 0, Follow::kYes));
  if (!HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  const Ref<MountNamespace> ns = TRY(MountsOf(task));
  if ((flags & MNT_EXPIRE) != 0) {
    if ((flags & (MNT_FORCE | MNT_DETACH)) != 0) return Errno(EINVAL);
    if (task.fs().root().mount == at.path.mount) return Errno(EINVAL);
  }
  return task.vfs().Unmount(*ns, at.path, static_cast<int>(flags));
}

Status PivotRoot(Task& task, UserCString new_root, UserCString put_old) {
  if (!HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  const Target to = TRY(ResolveAt(task, sentry::kAtFdCwd, new_root, 0, Follow::kYes));
  if (!to.path.dentry->is_directory()) return Errno(ENOTDIR);
  const Target old = TRY(ResolveAt(task, sentry::kAtFdCwd, put_old, 0, Follow::kYes));
  if (!old.path.dentry->is_directory()) return Errno(ENOTDIR);
  const Ref<MountNamespace> ns = TRY(MountsOf(task));
  const Path root = task.fs().root();
  TRY(task.vfs().PivotRoot(*ns, root, to.path, old.path));
  // chroot_fs_refs() of Linux: everybody who stood in the old root.
  std::vector<Ref<Task>> tasks;
  for (const Ref<sentry::ThreadGroup>& group : task.kernel().AllGroups()) {
    absl::MutexLock lock(&task.kernel().mu());
    for (Task* const member : group->tasks) tasks.push_back(Ref<Task>::Share(*member));
  }
  {
    absl::MutexLock lock(&task.kernel().mu());
    for (const Ref<Task>& member : tasks) member->CloseErrorsLocked();
  }
  for (const Ref<Task>& member : tasks) member->fs_ref()->Replace(root, to.path);
  return kOk;
}

Result<int64_t> Sysfs(Task& task, int option, uint64_t first, UserAddr second) {
  enum { kIndexOf = 1, kNameOf = 2, kCount = 3 };
  size_t count = 0;
  while (FilesystemAt(count) != nullptr) ++count;
  switch (option) {
    case kIndexOf: {
      const std::string name = TRY(task.mem().ReadPath(UserCString{UserAddr{first}}));
      for (size_t i = 0; i < count; ++i) {
        if (FilesystemAt(i)->name == name) return static_cast<int64_t>(i);
      }
      return Errno(EINVAL);
    }
    case kNameOf: {
      const FilesystemType* const type = FilesystemAt(first);
      if (type == nullptr) return Errno(EINVAL);
      const std::string name(type->name);
      TRY(task.mem().WriteBytes(second, std::as_bytes(std::span(name.c_str(), name.size() + 1))));
      return 0;
    }
    case kCount:
      return static_cast<int64_t>(count);
    default:
      return Errno(EINVAL);
  }
}

}  // namespace syscalls
