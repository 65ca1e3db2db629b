// Mounts by descriptors: fsopen(2), fsconfig(2), fsmount(2), fspick(2), open_tree(2),
// move_mount(2), mount_setattr(2).
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>

#include <bit>
#include <cstring>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "sentry/fs/anon/anon_inode.h"
#include "sentry/task/kernel.h"
#include "syscalls/common.h"
#include "syscalls/filesystems.h"
#include "syscalls/mount.h"

namespace syscalls {
namespace {

using sentry::Mount;
using sentry::MountNamespace;
using sentry::MountOption;
using sentry::Superblock;

// Numbers of linux/mount.h, some newer than the build's headers.
constexpr uint32_t kRecursive = 0x8000;   // AT_RECURSIVE.
constexpr uint32_t kTreeClone = 1;        // OPEN_TREE_CLONE.
constexpr uint32_t kNoAutomount = 0x800;  // AT_NO_AUTOMOUNT.
enum Attr : uint64_t {
  kAttrReadOnly = 1,
  kAttrNoSuid = 2,
  kAttrNoDev = 4,
  kAttrNoExec = 8,
  kAttrNoAtime = 0x10,
  kAttrStrictAtime = 0x20,
  kAttrAtime = 0x70,
  kAttrNoDirAtime = 0x80,
  kAttrNoSymfollow = 0x200000,
};
constexpr uint64_t kAttrPlain =
    kAttrReadOnly | kAttrNoSuid | kAttrNoDev | kAttrNoExec | kAttrNoDirAtime | kAttrNoSymfollow;
constexpr uint64_t kAttrKnown = kAttrPlain | kAttrAtime;

// MS_* of MOUNT_ATTR_* without access times.
uint64_t PlainFlags(uint64_t attributes) {
  uint64_t flags = attributes & 0xf;  // The same numbers.
  if ((attributes & kAttrNoDirAtime) != 0) flags |= MS_NODIRATIME;
  if ((attributes & kAttrNoSymfollow) != 0) flags |= Mount::kNoSymfollow;
  return flags;
}

Result<uint64_t> AtimeFlags(uint64_t attributes) {
  switch (attributes & kAttrAtime) {
    case 0:
      return uint64_t{MS_RELATIME};
    case kAttrNoAtime:
      return uint64_t{MS_NOATIME};
    case kAttrStrictAtime:
      return uint64_t{0};
    default:
      return Errno(EINVAL);
  }
}

// A filesystem that is being put together, or one that is to change: what fsopen(2) and fspick(2)
// make.
class FsContextFile final : public File {
 public:
  static constexpr char kKind = 0;

  explicit FsContextFile(const FilesystemType& type)
      : File(sentry::NewAnonInode(), OpenFlags(O_RDWR)), type_(&type) {}
  explicit FsContextFile(Path picked)
      : File(sentry::NewAnonInode(), OpenFlags(O_RDWR)),
        picked_(std::move(picked)),
        phase_(Phase::kChange) {}

  // No messages are ever left.
  Result<size_t> Read(sentry::IoDst& dst) override { return Errno(ENODATA); }
  std::string AnonymousName() const override { return "anon_inode:[fscontext]"; }
  const void* kind() const override { return &kKind; }

  // fsconfig(FSCONFIG_SET_*). EBUSY when it is too late.
  Status Set(MountOption option);
  Status Create(Task& task);
  Status Change(Task& task);
  // Hands the instance over, once. EINVAL, EBUSY.
  Result<Ref<Superblock>> Take(std::string& source);

 private:
  enum class Phase : uint8_t { kCollect, kCreated, kTaken, kChange, kFailed };

  const FilesystemType* const type_ = nullptr;  // Of fsopen(2).
  const Path picked_;                           // Of fspick(2).
  absl::Mutex mu_;
  Phase phase_ ABSL_GUARDED_BY(mu_) = Phase::kCollect;
  std::optional<std::string> source_ ABSL_GUARDED_BY(mu_);
  sentry::MountOptions options_ ABSL_GUARDED_BY(mu_);
  std::optional<bool> read_only_ ABSL_GUARDED_BY(mu_);
  Ref<Superblock> made_ ABSL_GUARDED_BY(mu_);
};

constexpr size_t kMaxOptions = 256;

Status FsContextFile::Set(MountOption option) {
  absl::MutexLock lock(&mu_);
  if (phase_ != Phase::kCollect && phase_ != Phase::kChange) return Errno(EBUSY);
  if (!option.value && (option.name == "ro" || option.name == "rw")) {
    read_only_ = option.name == "ro";
    return kOk;
  }
  if (option.name == "source") {
    if (!option.value || source_) return Errno(EINVAL);
    source_ = std::move(option.value);
    return kOk;
  }
  if (type_ != nullptr) TRY(type_->check(option));
  if (options_.size() >= kMaxOptions) return Errno(ENOMEM);
  options_.push_back(std::move(option));
  return kOk;
}

Status FsContextFile::Create(Task& task) {
  sentry::MountOptions options;
  {
    absl::MutexLock lock(&mu_);
    if (phase_ != Phase::kCollect) return Errno(EBUSY);
    phase_ = Phase::kFailed;  // Until it has worked.
    options = options_;
  }
  Ref<sentry::Inode> root = TRY(CreateFilesystem(*type_, {.task = task,
                                                          .kernel = task.kernel(),
                                                          .namespaces = task.namespaces(),
                                                          .creds = task.creds(),
                                                          .options = options}));
  Ref<Superblock> made = TRY(task.vfs().NewSuperblock(std::move(root), std::string(type_->name)));
  absl::MutexLock lock(&mu_);
  if (read_only_.value_or(false)) made->set_read_only(true);
  made_ = std::move(made);
  phase_ = Phase::kCreated;
  return kOk;
}

Status FsContextFile::Change(Task& task) {
  sentry::MountOptions options;
  std::optional<bool> read_only;
  {
    absl::MutexLock lock(&mu_);
    if (phase_ != Phase::kChange) return Errno(EBUSY);
    options = std::exchange(options_, {});
    read_only = read_only_;
  }
  const Ref<MountNamespace> ns = TRY(MountsOf(task));
  if (!(task.vfs().NamespaceOf(*picked_.mount) == ns)) return Errno(EINVAL);
  TRY(picked_.mount->superblock().root()->inode().Remount(options));
  return read_only ? task.vfs().SetReadOnly(*ns, picked_, *read_only) : Status(kOk);
}

Result<Ref<Superblock>> FsContextFile::Take(std::string& source) {
  absl::MutexLock lock(&mu_);
  if (phase_ == Phase::kTaken) return Errno(EBUSY);
  if (phase_ != Phase::kCreated) return Errno(EINVAL);
  phase_ = Phase::kTaken;
  source = source_.value_or("none");
  return std::exchange(made_, {});
}

Status CheckMayMount(Task& task) {
  return HasCapability(task, CAP_SYS_ADMIN) ? Status(kOk) : Errno(EPERM);
}

Result<std::string> ReadWord(Task& task, UserCString user) {
  constexpr size_t kMax = 256;
  Result<std::string> word = task.mem().ReadString(user, kMax);
  if (!word.ok() && word.error() == Errno(ENAMETOOLONG)) return Errno(EINVAL);
  return word;
}

// An O_PATH descriptor of a place, which keeps `holder`.
Result<Fd> AddPath(Task& task, const Path& path, Ref<RefCounted> holder, bool close_on_exec) {
  const Ref<File> file = TRY(task.vfs().OpenPath(task.walk_context(), path, OpenFlags(O_PATH)));
  if (holder) file->set_companion(std::move(holder));
  return task.AddFd(file, close_on_exec);
}

}  // namespace

Result<Fd> Fsopen(Task& task, UserCString user_type, uint32_t flags) {
  TRY(CheckMayMount(task));
  constexpr uint32_t kCloseOnExec = 1;  // FSOPEN_CLOEXEC.
  if ((flags & ~kCloseOnExec) != 0) return Errno(EINVAL);
  const std::string name = TRY(ReadWord(task, user_type));
  const FilesystemType* const type = FindFilesystem(name);
  if (type == nullptr) return Errno(ENODEV);
  return task.AddFd(MakeRef<FsContextFile>(*type), (flags & kCloseOnExec) != 0);
}

Result<Fd> Fspick(Task& task, Fd dirfd, UserCString path, uint32_t flags) {
  constexpr uint32_t kCloseOnExec = 1, kNoFollow = 2, kEmptyPath = 8;  // FSPICK_*.
  TRY(CheckMayMount(task));
  if ((flags & ~uint32_t{15}) != 0) return Errno(EINVAL);
  const uint32_t at_flags = ((flags & kNoFollow) != 0 ? AT_SYMLINK_NOFOLLOW : 0) |
                            ((flags & kEmptyPath) != 0 ? AT_EMPTY_PATH : 0);
  const Target target = TRY(ResolveAt(task, dirfd, path, at_flags, Follow::kYes));
  if (!target.path.dentry || target.path.dentry != target.path.mount->root()) {
    return Errno(EINVAL);
  }
  return task.AddFd(MakeRef<FsContextFile>(target.path), (flags & kCloseOnExec) != 0);
}

Status Fsconfig(Task& task, Fd fd, uint32_t command, UserCString key, UserAddr value, int aux) {
  enum : uint32_t { kFlag, kString, kBinary, kPath, kPathEmpty, kFd, kCreate, kChange, kCreateNew };
  constexpr int kMaxBinary = 1 << 20;
  const bool has_key = static_cast<bool>(key), has_value = static_cast<bool>(value);
  bool fits = false;
  switch (command) {
    case kFlag:
      fits = has_key && !has_value && aux == 0;
      break;
    case kString:
      fits = has_key && has_value && aux == 0;
      break;
    case kBinary:
      fits = has_key && has_value && aux > 0 && aux <= kMaxBinary;
      break;
    case kPath:
    case kPathEmpty:
      fits = has_key && has_value && (aux == AT_FDCWD || aux >= 0);
      break;
    case kFd:
      fits = has_key && !has_value && aux >= 0;
      break;
    case kCreate:
    case kChange:
    case kCreateNew:
      fits = !has_key && !has_value && aux == 0;
      break;
    default:
      return Errno(EOPNOTSUPP);
  }
  if (static_cast<int>(fd) < 0 || !fits) return Errno(EINVAL);
  const Ref<File> file = TRY(GetFile(task, fd));
  auto* const context = sentry::FileCast<FsContextFile>(*file);
  if (context == nullptr) return Errno(EINVAL);
  // As in Linux, whoever has the descriptor by now needs the right himself.
  if (command == kCreate || command == kChange || command == kCreateNew) TRY(CheckMayMount(task));
  if (command == kCreate || command == kCreateNew) return context->Create(task);
  if (command == kChange) return context->Change(task);
  MountOption option{.name = TRY(ReadWord(task, key)), .value = {}};
  if (command == kString) option.value = TRY(ReadWord(task, UserCString{value}));
  // No filesystem here takes blobs, paths or descriptors.
  if (command != kFlag && command != kString) return Errno(EINVAL);
  return context->Set(std::move(option));
}

Result<Fd> Fsmount(Task& task, Fd fd, uint32_t flags, uint32_t attributes) {
  TRY(CheckMayMount(task));
  constexpr uint32_t kCloseOnExec = 1;  // FSMOUNT_CLOEXEC.
  if ((flags & ~kCloseOnExec) != 0 || (attributes & ~kAttrKnown) != 0) return Errno(EINVAL);
  const uint64_t mount_flags = PlainFlags(attributes) | TRY(AtimeFlags(attributes));
  const Ref<File> file = TRY(GetFile(task, fd));
  auto* const context = sentry::FileCast<FsContextFile>(*file);
  if (context == nullptr) return Errno(EINVAL);
  std::string source;
  Ref<Superblock> superblock = TRY(context->Take(source));
  Ref<MountNamespace> holder;
  const Path path =
      task.vfs().MountDetached(std::move(superblock), std::move(source), mount_flags, holder);
  return AddPath(task, path, std::move(holder), (flags & kCloseOnExec) != 0);
}

namespace {

// What open_tree(2) finds, or a copy of it that `holder` keeps.
struct OpenedTree {
  Path path;
  Ref<MountNamespace> holder;
};

Result<OpenedTree> FindTree(Task& task, Fd dirfd, UserCString user_path, uint32_t flags) {
  constexpr uint32_t kWalk = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  constexpr uint32_t kKnown = kWalk | kNoAutomount | kRecursive | kTreeClone | O_CLOEXEC;
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  const bool clones = (flags & kTreeClone) != 0, recursive = (flags & kRecursive) != 0;
  if (recursive && !clones) return Errno(EINVAL);
  if (clones) TRY(CheckMayMount(task));
  const Target target = TRY(ResolveAt(task, dirfd, user_path, flags & kWalk, Follow::kYes));
  if (!target.path.dentry) return Errno(EINVAL);
  if (!clones) return OpenedTree{target.path, {}};
  const Ref<MountNamespace> ns = TRY(MountsOf(task));
  OpenedTree opened;
  opened.path = TRY(task.vfs().CloneDetached(*ns, target.path, recursive, opened.holder));
  return opened;
}

}  // namespace

Result<Fd> OpenTree(Task& task, Fd dirfd, UserCString path, uint32_t flags) {
  OpenedTree opened = TRY(FindTree(task, dirfd, path, flags));
  return AddPath(task, opened.path, std::move(opened.holder), (flags & O_CLOEXEC) != 0);
}

Status MoveMount(Task& task, Fd from_dir, UserCString from, Fd to_dir, UserCString to,
                 uint32_t flags) {
  constexpr uint32_t kFollowFrom = 1, kEmptyFrom = 4, kFollowTo = 0x10, kEmptyTo = 0x40;
  constexpr uint32_t kKnown = 0x377, kSetGroup = 0x100, kBeneath = 0x200;  // MOVE_MOUNT_*.
  TRY(CheckMayMount(task));
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  // Not there: joining peer groups by hand, and mounting below what is seen.
  if ((flags & (kSetGroup | kBeneath)) != 0) return Errno(EINVAL);
  const auto follow = [flags](uint32_t flag) {
    return (flags & flag) != 0 ? Follow::kYes : Follow::kNo;
  };
  const Target source = TRY(ResolveAt(
      task, from_dir, from, (flags & kEmptyFrom) != 0 ? AT_EMPTY_PATH : 0, follow(kFollowFrom)));
  const Target at = TRY(
      ResolveAt(task, to_dir, to, (flags & kEmptyTo) != 0 ? AT_EMPTY_PATH : 0, follow(kFollowTo)));
  if (!source.path.dentry || !at.path.dentry) return Errno(EINVAL);
  if (source.path.dentry != source.path.mount->root()) return Errno(EINVAL);
  const Ref<MountNamespace> ns = TRY(MountsOf(task));
  const Ref<MountNamespace> owner = task.vfs().NamespaceOf(*source.path.mount);
  if (!owner || !owner->detached()) return task.vfs().Move(*ns, source.path, at.path);
  return task.vfs().AttachDetached(*ns, *owner, *source.path.mount, at.path);
}

namespace {

struct AttrRequest {
  uint64_t set = 0, clear = 0, propagation = 0, userns_fd = 0;
};
static_assert(sizeof(AttrRequest) == 32);

Status ApplyAttributes(Task& task, const Path& at, const AttrRequest& request, bool recursive) {
  constexpr uint64_t kPropagation = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
  if ((request.propagation & ~kPropagation) != 0 || std::popcount(request.propagation) > 1) {
    return Errno(EINVAL);
  }
  // Ids are not mapped: no filesystem here would let them be.
  if (((request.set | request.clear) & ~kAttrKnown) != 0) return Errno(EINVAL);
  uint64_t set = PlainFlags(request.set), clear = PlainFlags(request.clear);
  if ((request.clear & kAttrAtime) != 0) {
    if ((request.clear & kAttrAtime) != kAttrAtime) return Errno(EINVAL);
    clear |= MS_RELATIME | MS_NOATIME;
    set |= TRY(AtimeFlags(request.set));
  } else if ((request.set & kAttrAtime) != 0) {
    return Errno(EINVAL);
  }
  if (at.dentry != at.mount->root()) return Errno(EINVAL);
  const Ref<MountNamespace> ns = TRY(MountsOf(task));
  TRY(task.vfs().SetMountFlags(*ns, at, set, clear, recursive));
  if (request.propagation == 0) return kOk;
  return task.vfs().SetPropagation(*ns, at, sentry::Propagation(request.propagation), recursive);
}

Result<AttrRequest> ReadAttributes(Task& task, UserAddr attr, uint64_t size) {
  if (size > kPageSize) return Errno(E2BIG);
  if (size < sizeof(AttrRequest)) return Errno(EINVAL);
  TRY(CheckMayMount(task));
  return ReadGrowing<AttrRequest>(task, attr, size);
}

bool IsNothing(const AttrRequest& request) {
  return request.set == 0 && request.clear == 0 && request.propagation == 0;
}

}  // namespace

Status MountSetattr(Task& task, Fd dirfd, UserCString path, uint32_t flags, UserAddr attr,
                    uint64_t size) {
  constexpr uint32_t kWalk = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  if ((flags & ~(kWalk | kRecursive | kNoAutomount)) != 0) return Errno(EINVAL);
  const AttrRequest request = TRY(ReadAttributes(task, attr, size));
  if (IsNothing(request)) return kOk;
  const Target target = TRY(ResolveAt(task, dirfd, path, flags & kWalk, Follow::kYes));
  if (!target.path.dentry) return Errno(EINVAL);
  return ApplyAttributes(task, target.path, request, (flags & kRecursive) != 0);
}

Result<Fd> OpenTreeAttr(Task& task, Fd dirfd, UserCString path, uint32_t flags, UserAddr attr,
                        uint64_t size) {
  if (!attr && size != 0) return Errno(EINVAL);
  AttrRequest request;
  if (attr) request = TRY(ReadAttributes(task, attr, size));
  OpenedTree opened = TRY(FindTree(task, dirfd, path, flags));
  if (!IsNothing(request)) {
    TRY(ApplyAttributes(task, opened.path, request, (flags & kRecursive) != 0));
  }
  return AddPath(task, opened.path, std::move(opened.holder), (flags & O_CLOEXEC) != 0);
}

}  // namespace syscalls
