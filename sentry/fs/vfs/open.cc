// open(2) without the descriptor.
#include <linux/capability.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <unistd.h>

#include <optional>
#include <utility>

#include "sentry/fs/notify.h"
#include "sentry/fs/vfs.h"
#include "sentry/fs/vfs/permissions.h"
#include "sentry/fs/vfs/walk.h"

namespace sentry {

namespace {

// Files of the host are opened anew there, where the flags of our mounts are unknown: they get what
// comes to the same. The description shows what was asked for.
Result<Ref<File>> OpenStored(Inode& inode, const Mount& mount, OpenFlags flags) {
  const bool keeps_atime = mount.read_only() || (mount.flags() & MS_NOATIME) != 0;
  Ref<File> file = TRY(inode.Open(keeps_atime ? flags.With(O_NOATIME) : flags));
  if (keeps_atime && !flags.has(O_NOATIME)) file->SetStatusFlags(flags);
  return file;
}

// What fcntl(F_GETFL) shows for every file opened by a 64-bit program; glibc's O_LARGEFILE is 0.
constexpr uint32_t kLargeFile = 0100000;
constexpr uint32_t kTmpFileBit = O_TMPFILE & ~O_DIRECTORY;
// Flags that act on open(2) itself and are forgotten afterwards.
constexpr uint32_t kOpenOnly = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;

// An O_PATH descriptor: a place in the tree and nothing else.
class PathFile final : public File {
 public:
  PathFile(Ref<Inode> inode, OpenFlags flags) : File(std::move(inode), flags) {}
  Result<size_t> Read(IoDst& dst) override { return Errno(EBADF); }
  Result<size_t> Write(IoSrc& src) override { return Errno(EBADF); }
  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override { return Errno(EBADF); }
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override { return Errno(EBADF); }
  Result<int64_t> Seek(int64_t offset, int whence) override { return Errno(EBADF); }
  Status Truncate(uint64_t size) override { return Errno(EBADF); }
  Status Allocate(int mode, int64_t offset, int64_t length) override { return Errno(EBADF); }
  Status Sync() override { return Errno(EBADF); }
  Status ReadDir(const std::function<bool(const DirEntry&)>& add) override { return Errno(EBADF); }
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override {
    return Errno(EBADF);
  }
  uint32_t Poll() override { return POLLNVAL; }
  Result<int> HostFdForMapping(bool shared_write) override { return Errno(EBADF); }
};

// MAY_READ and MAY_WRITE that opening with `flags` takes.
int AccessOf(OpenFlags flags) {
  static constexpr int kByMode[] = {R_OK, W_OK, R_OK | W_OK, R_OK | W_OK};
  return kByMode[flags.raw() & O_ACCMODE] | (flags.has(O_TRUNC) ? W_OK : 0);
}

}  // namespace

// The rules of build_open_flags() have been applied.
struct Vfs::OpenRequest {
  OpenFlags flags;
  uint32_t mode = 0;
  uint64_t resolve = 0;
};

Result<Ref<File>> Vfs::Open(const WalkContext& ctx, std::string_view path, OpenFlags flags,
                            uint32_t mode, uint64_t resolve) {
  OpenRequest request{.flags = flags, .mode = mode, .resolve = resolve};
  if (flags.has(O_PATH)) {
    request.flags = OpenFlags(flags.raw() & (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  } else if (flags.has(kTmpFileBit)) {
    if (!flags.has(O_TMPFILE) || flags.has(O_CREAT) || !flags.writable()) return Errno(EINVAL);
  } else if (flags.has(O_CREAT | O_DIRECTORY)) {
    return Errno(EINVAL);
  }
  if (request.flags.has(O_CREAT)) return OpenCreating(ctx, path, request);
  const WalkOptions options{.follow_last = !flags.has(O_NOFOLLOW), .resolve = resolve};
  Path found = TRY(Walk(ctx, path, options));
  if (request.flags.has(O_DIRECTORY) && !found.dentry->is_directory()) return Errno(ENOTDIR);
  if (request.flags.has(O_TMPFILE)) return OpenTemporary(ctx, found, request);
  Result<Ref<File>> file = OpenFound(ctx, found, request.flags, false);
  if (file.ok() || file.error() != Errno(ESTALE)) return file;
  // The host has put another file there: Linux asks once more, too.
  Drop(*found.dentry);
  found = TRY(Walk(ctx, path, options));
  return OpenFound(ctx, found, request.flags, false);
}

// A name that is created, or found after all. The last component may be a symlink, even to a name
// that does not exist: then the walk starts again behind it.
Result<Ref<File>> Vfs::OpenCreating(const WalkContext& ctx, std::string_view path,
                                    const OpenRequest& request) {
  const OpenFlags flags = request.flags;
  std::string text(path);
  for (int links = 0; links <= 40; ++links) {
    const Place place = TRY(WalkToParent(ctx, text, request.resolve));
    if (!place.ordinary()) return Errno(flags.has(O_EXCL) ? EEXIST : EISDIR);
    if (place.trailing_slash) return Errno(EISDIR);
    Path found{place.parent.mount, {}};
    {
      absl::WriterMutexLock lock(&DirectoryLock(*place.parent.dentry));
      found.dentry = TRY(LookupLocked(place.parent.dentry, place.name));
      if (found.dentry->negative()) {
        TRY(CheckCreatable(ctx, place, false));
        const uint32_t bits = request.mode & 07777 & ~ctx.umask;
        const NewNode node = TRY(MakeNode(ctx, place.parent, S_IFREG | bits));
        Inode& parent = place.parent.dentry->inode();
        Ref<Inode> made = TRY(WithRoom([&] { return parent.Create(place.name, node); }));
        found.dentry = TRY(Remember(place.parent.dentry, place.name, std::move(made)));
        notify::OnEntry(place.parent.dentry->inode(), place.name, IN_CREATE);
        return OpenFound(ctx, found, flags, true);
      }
    }
    if (flags.has(O_EXCL)) return Errno(EEXIST);
    // Once more to the end, to cross mounts and to follow links to what exists.
    const WalkOptions options{.follow_last = !flags.has(O_NOFOLLOW), .resolve = request.resolve};
    const Result<Path> end = Walk(ctx, text, options);
    if (end.ok() && end->dentry->is_directory()) return Errno(EISDIR);
    if (end.ok()) {
      const Ref<Dentry> directory = DirectoryOf(*end);
      TRY(protections_.CheckFound(directory->inode(), end->dentry->inode(), ctx.creds));
      return OpenFound(ctx, *end, flags, false);
    }
    if (end.error() != Errno(ENOENT) || found.dentry->type() != S_IFLNK) return end.error();
    const std::string target = TRY(found.dentry->inode().ReadLink());
    if (target.starts_with('/')) text.clear();
    text.resize(text.rfind('/') + 1);  // Empty without a slash: npos + 1 is 0.
    text += target;
  }
  return Errno(ELOOP);
}

Ref<Dentry> Vfs::DirectoryOf(const Path& path) const {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  Mount* mount = path.mount.get();
  Dentry* dentry = path.dentry.get();
  while (dentry == mount->root_.get() && mount->parent_) {
    dentry = mount->mount_point_.get();
    mount = mount->parent_.get();
  }
  return dentry->parent_ ? dentry->parent_ : Ref<Dentry>::Share(*dentry);
}

Result<Ref<File>> Vfs::OpenTemporary(const WalkContext& ctx, const Path& directory,
                                     const OpenRequest& request) {
  if (directory.mount->read_only()) return Errno(EROFS);
  TRY(CheckAccess(TRY(GetAttributes(directory)), ctx.creds, W_OK | X_OK));
  const uint32_t bits = request.mode & 07777 & ~ctx.umask;
  const NewNode node = TRY(MakeNode(ctx, directory, S_IFREG | bits));
  Ref<Inode> inode = TRY(directory.dentry->inode().CreateUnnamed(node, {}));
  const uint64_t ino = TRY(inode->GetAttributes()).ino;
  Ref<Dentry> dentry =
      Dentry::Make(directory.dentry, "#" + std::to_string(ino), std::move(inode), node.mode);
  {
    absl::WriterMutexLock lock(&internal::tree_mu);
    dentry->deleted_ = true;
    dentry->linkable_ = !request.flags.has(O_EXCL);
  }
  return OpenInode(ctx, {directory.mount, std::move(dentry)}, request.flags);
}

Result<Ref<File>> Vfs::OpenPath(const WalkContext& ctx, const Path& path, OpenFlags flags) {
  if (flags.has(O_DIRECTORY) && !path.dentry->is_directory()) return Errno(ENOTDIR);
  return OpenFound(ctx, path, flags.Without(O_CREAT | O_EXCL), false);
}

// do_open() and may_open() of Linux, in their order.
Result<Ref<File>> Vfs::OpenFound(const WalkContext& ctx, const Path& path, OpenFlags flags,
                                 bool created) {
  if (flags.has(O_PATH)) {
    Ref<File> file = MakeRef<PathFile>(path.dentry->inode_ref(), flags.Without(O_CLOEXEC));
    file->set_path(path);
    return file;
  }
  if (created) {
    Ref<File> file = TRY(OpenInode(ctx, path, flags.Without(O_TRUNC)));
    file->set_created();
    return file;
  }
  const uint32_t type = path.dentry->type();
  const bool truncate = flags.has(O_TRUNC) && type == S_IFREG;
  if (truncate && path.mount->read_only()) return Errno(EROFS);
  const int access = AccessOf(flags);
  if (type == S_IFLNK) return Errno(ELOOP);
  if (type == S_IFDIR && (access & W_OK) != 0) return Errno(EISDIR);
  if ((type == S_IFCHR || type == S_IFBLK) && (path.mount->flags() & MS_NODEV) != 0) {
    return Errno(EACCES);
  }
  const Attributes attributes = TRY(GetAttributes(path));
  TRY(CheckAccess(attributes, ctx.creds, access));
  if (flags.has(O_NOATIME) && !OwnerOrCapable(ctx.creds, attributes)) return Errno(EPERM);
  const bool stored = type == S_IFREG || type == S_IFDIR;
  if (flags.writable() && stored && path.mount->read_only()) return Errno(EROFS);
  const bool writes = flags.writable() || truncate;
  if (writes && type == S_IFREG && path.dentry->inode().executing()) return Errno(ETXTBSY);
  if (truncate) {
    // Before opening, so that an overlay need not copy data that is thrown away.
    AttributeChange change;
    change.size = 0;
    const uint32_t mode = ModeAfterChown(attributes, ctx.creds);
    if (mode != (attributes.mode & 07777) && !ctx.creds.HasCapability(CAP_FSETID)) {
      change.mode = mode;
    }
    TRY(path.dentry->inode().SetAttributes(change));
    notify::OnDentry(*path.dentry, IN_MODIFY);
  }
  return OpenInode(ctx, path, flags);
}

Result<Ref<File>> Vfs::OpenInode(const WalkContext& ctx, const Path& path, OpenFlags flags) {
  const OpenFlags kept = flags.Without(kOpenOnly).With(kLargeFile);
  Inode& inode = path.dentry->inode();
  Ref<File> file;
  const bool anonymous = path.mount == anonymous_mount_;
  switch (anonymous ? uint32_t{S_IFREG} : path.dentry->type()) {
    case S_IFIFO:
      if (inode.OpensItself()) {
        file = TRY(inode.Open(kept));
        break;
      }
      if (!open_fifo_) return Errno(ENXIO);
      file = TRY(open_fifo_(inode, kept));
      break;
    case S_IFCHR:
    case S_IFBLK:
      // Nodes that are a device themselves, wherever a node of that number would lead. Only
      // terminals know O_NOCTTY.
      if (inode.OpensItself()) {
        file = TRY(inode.Open(kept.With(flags.raw() & O_NOCTTY)));
        break;
      }
      if (!open_device_) return Errno(ENXIO);
      file = TRY(open_device_(TRY(inode.GetAttributes()).rdev, path.dentry->inode_ref(),
                              kept.With(flags.raw() & O_NOCTTY), ctx.task));
      break;
    case S_IFSOCK:
      return Errno(ENXIO);
    default:
      file = TRY(OpenStored(inode, *path.mount, kept));
      if (flags.writable()) TRY(file->HoldAsWriter());
  }
  if (!anonymous) file->set_path(path);
  if (!anonymous && flags.writable() && path.dentry->type() == S_IFREG) file->HoldMountAsWriter();
  notify::OnFile(*file, IN_OPEN);
  if (flags.writable() && !ctx.creds.HasCapability(CAP_FSETID)) file->set_clears_set_id();
  return file;
}

}  // namespace sentry
