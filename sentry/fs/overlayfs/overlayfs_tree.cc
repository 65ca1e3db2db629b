#include "sentry/fs/overlayfs/overlayfs_tree.h"

#include <linux/openat2.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sentry/fs/overlayfs/overlayfs_inode.h"

namespace sentry {

namespace {

// A number of a device without one, as the kernel gives them to overlays.
uint64_t NextDev() {
  static std::atomic<unsigned> next{0x800};
  return makedev(0, next.fetch_add(1, std::memory_order_relaxed));
}

uint64_t DevOf(const Path& layer) {
  const Result<Attributes> attributes = layer.dentry->inode().GetAttributes();
  return attributes.ok() ? attributes->dev : 0;
}

}  // namespace

Result<Ref<Inode>> CreateOverlayfs(Vfs& vfs, const Credentials& creds, OverlayfsLayers layers) {
  unsigned depth = 1;
  for (const Path& lower : layers.lower) {
    // As Linux, which counts it as stacked already: too much in it is not what it seems.
    if (lower.mount->fs_type() == "proc") return Errno(EINVAL);
    depth = std::max(depth, lower.dentry->inode().StackDepth() + 1);
  }
  if (depth > Inode::kMostStacked) return Errno(EINVAL);
  if (layers.upper && (layers.upper->dentry->inode().StackDepth() != 0 ||
                       layers.upper->mount->fs_type() == "proc")) {
    return Errno(EINVAL);
  }
  Path upper = layers.upper.value_or(Path{});
  std::vector<Path> lower = layers.lower;
  const Ref<OverlayfsTree> tree = MakeRef<OverlayfsTree>(vfs, creds, std::move(layers), depth);
  TRY(tree->Prepare());
  return TRY(tree->Make(std::move(upper), std::move(lower), nullptr, ""));
}

OverlayfsTree::OverlayfsTree(Vfs& vfs, const Credentials& creds, OverlayfsLayers layers,
                             unsigned depth)
    : vfs_(vfs),
      creds_(creds),
      layers_(std::move(layers)),
      depth_(depth),
      dev_(NextDev()),
      prefix_(layers_.user_xattr ? "user.overlay." : "trusted.overlay.") {
  const uint64_t dev = DevOf(layers_.lower.front());
  same_fs_ = std::all_of(layers_.lower.begin(), layers_.lower.end(),
                         [dev](const Path& layer) { return DevOf(layer) == dev; }) &&
             (!layers_.upper || DevOf(*layers_.upper) == dev);
}

Status OverlayfsTree::Prepare() {
  if (!writable()) return kOk;
  Status made = vfs_.Mkdir(In(*layers_.work), "work", 0);
  if (!made.ok() && made.error() == Errno(EEXIST)) {
    TRY(RemoveOldWork());
    made = vfs_.Mkdir(In(*layers_.work), "work", 0);
  }
  TRY(made);
  work_ = TRY(Find(*layers_.work, "work"));
  if (!work_.dentry->is_directory()) return Errno(ENOTDIR);
  return kOk;
}

// With what a sandbox that was killed has left behind in it.
Status OverlayfsTree::RemoveOldWork() {
  const Path old = TRY(Find(*layers_.work, "work"));
  if (!old.dentry->is_directory()) return Unlink(*layers_.work, "work");
  for (const DirEntry& entry : TRY(List(old))) {
    if (!Unlink(old, entry.name).ok()) (void)RemoveDirectory(old, entry.name);
  }
  return vfs_.Rmdir(In(*layers_.work), "work");
}

WalkContext OverlayfsTree::In(const Path& directory) const {
  return {.root = directory, .start = directory, .creds = creds_, .umask = 0};
}

Result<Path> OverlayfsTree::Find(const Path& directory, std::string_view name) const {
  return vfs_.Walk(In(directory), name, {.follow_last = false, .resolve = RESOLVE_NO_XDEV});
}

Result<Ref<File>> OverlayfsTree::Open(const Path& path, OpenFlags flags) const {
  return vfs_.OpenPath(In(path), path, flags);
}

bool OverlayfsTree::IsWhiteout(const Path& path) {
  if (path.dentry->type() != S_IFCHR) return false;
  const Result<Attributes> attributes = path.dentry->inode().GetAttributes();
  return attributes.ok() && attributes->rdev == 0;
}

bool OverlayfsTree::IsOpaque(const Path& directory) const {
  const Result<std::string> value = directory.dentry->inode().GetXattr(prefix_ + "opaque");
  return value.ok() && *value == "y";
}

Status OverlayfsTree::SetOpaque(const Path& directory) const {
  return directory.dentry->inode().SetXattr(prefix_ + "opaque", "y", 0);
}

Result<std::vector<DirEntry>> OverlayfsTree::List(const Path& directory, OpenFlags flags) const {
  std::vector<DirEntry> entries;
  const Ref<File> file = TRY(Open(directory, flags.With(O_RDONLY | O_DIRECTORY)));
  TRY(file->ReadDir([&entries](const DirEntry& entry) {
    if (entry.name != "." && entry.name != "..") entries.push_back(entry);
    return true;
  }));
  return entries;
}

// Overlays may share a working directory, which Linux only warns of.
std::string OverlayfsTree::NewTemporaryName() {
  static std::atomic<uint64_t> next{0};
  return absl::StrCat("#", absl::Hex(next.fetch_add(1, std::memory_order_relaxed)));
}

Result<OverlayfsTree::Temporary> OverlayfsTree::MakeTemporary(const NewNode& node,
                                                              std::string_view target) {
  const WalkContext in = In(work_);
  Temporary temporary;
  Status made = kOk;
  // Another sandbox may have files there.
  for (int attempt = 0; attempt < 100; ++attempt) {
    temporary.name = NewTemporaryName();
    if (S_ISDIR(node.mode)) {
      made = vfs_.Mkdir(in, temporary.name, node.mode & 07777);
    } else if (S_ISLNK(node.mode)) {
      made = vfs_.Symlink(in, target, temporary.name);
    } else {
      made = vfs_.Mknod(in, temporary.name, node.mode, node.rdev);
    }
    if (made.ok()) break;
    if (made.error() != Errno(EEXIST)) return made.error();
  }
  if (!made.ok()) return made.error();
  temporary.path = TRY(Find(work_, temporary.name));
  AttributeChange change{.uid = node.uid, .gid = node.gid};
  if (!S_ISLNK(node.mode)) change.mode = node.mode & 07777;
  const Status changed = temporary.path.dentry->inode().SetAttributes(change);
  if (!changed.ok()) {
    Discard(temporary);
    return changed.error();
  }
  return temporary;
}

Status OverlayfsTree::MoveIn(const Temporary& temporary, const Path& directory,
                             std::string_view name) {
  const Status moved = TryMoveIn(temporary, directory, name);
  if (!moved.ok()) Discard(temporary);
  return moved;
}

Status OverlayfsTree::TryMoveIn(const Temporary& temporary, const Path& directory,
                                std::string_view name) {
  if (!temporary.path.dentry->is_directory()) {
    return Rename(work_, temporary.name, directory, name, 0);
  }
  bool left = false;
  TRY(RenameDirectory(work_, temporary.name, directory, name, left));
  if (left) (void)Unlink(work_, temporary.name);
  return kOk;
}

void OverlayfsTree::Discard(const Temporary& temporary) {
  if (temporary.path.dentry->is_directory()) {
    (void)vfs_.Rmdir(In(work_), temporary.name);
  } else {
    (void)vfs_.Unlink(In(work_), temporary.name);
  }
}

Status OverlayfsTree::MakeWhiteout(const Path& directory, std::string_view name) {
  const Temporary whiteout =
      TRY(MakeTemporary({.mode = S_IFCHR, .uid = creds_.fsuid, .gid = creds_.fsgid}, {}));
  return MoveIn(whiteout, directory, name);
}

Status OverlayfsTree::ReplaceDirectoryByWhiteout(const Path& directory, std::string_view name) {
  const Temporary whiteout =
      TRY(MakeTemporary({.mode = S_IFCHR, .uid = creds_.fsuid, .gid = creds_.fsgid}, {}));
  const Status exchanged = Rename(work_, whiteout.name, directory, name, RENAME_EXCHANGE);
  if (exchanged.ok()) {
    // What else lies in it shows nowhere.
    (void)RemoveDirectory(work_, whiteout.name);
    return kOk;
  }
  Status done = exchanged;
  // Filesystems of the host that cannot exchange: in two steps.
  if (done.error() == Errno(EINVAL)) {
    done = RemoveDirectory(directory, name);
    if (done.ok()) return MoveIn(whiteout, directory, name);
  }
  Discard(whiteout);
  return done;
}

Status OverlayfsTree::RemoveDirectory(const Path& directory, std::string_view name) {
  const Path victim = TRY(Find(directory, name));
  for (const DirEntry& entry : TRY(List(victim))) {
    const Result<Path> left = Find(victim, entry.name);
    if (left.ok() && IsWhiteout(*left)) TRY(Unlink(victim, entry.name));
  }
  return vfs_.Rmdir(In(directory), name);
}

Status OverlayfsTree::Unlink(const Path& directory, std::string_view name) {
  return vfs_.Unlink(In(directory), name);
}

Status OverlayfsTree::Link(const Path& target, const Path& directory, std::string_view name) {
  return vfs_.Link(In(directory), target, name);
}

Status OverlayfsTree::LinkOver(const Path& target, const Path& directory, std::string_view name) {
  const std::string temporary = NewTemporaryName();
  TRY(vfs_.Link(In(work_), target, temporary));
  const Status moved = Rename(work_, temporary, directory, name, 0);
  if (!moved.ok()) (void)Unlink(work_, temporary);
  return moved;
}

Status OverlayfsTree::RenameDirectory(const Path& from, std::string_view name, const Path& to,
                                      std::string_view new_name, bool& left) {
  left = false;
  const Result<Path> old = Find(to, new_name);
  if (!old.ok() || !IsWhiteout(*old)) return Rename(from, name, to, new_name, 0);
  const Status exchanged = Rename(from, name, to, new_name, RENAME_EXCHANGE);
  left = exchanged.ok();
  // Filesystems of the host that cannot exchange: in two steps.
  if (exchanged.ok() || exchanged.error() != Errno(EINVAL)) return exchanged;
  TRY(Unlink(to, new_name));
  const Status moved = Rename(from, name, to, new_name, 0);
  if (!moved.ok()) (void)MakeWhiteout(to, new_name);
  return moved;
}

Status OverlayfsTree::Rename(const Path& from, std::string_view name, const Path& to,
                             std::string_view new_name, uint32_t flags) {
  return vfs_.Rename(In(from), name, In(to), new_name, flags);
}

OverlayfsTree::Identity OverlayfsTree::IdentityOf(const Path& upper, const Attributes& attributes) {
  absl::MutexLock lock(&mu_);
  if (upper.dentry) {
    const auto copied = copied_.find(attributes.ino);
    if (copied != copied_.end()) return copied->second;
  }
  if (same_fs_) return {.ino = attributes.ino, .dev = dev_};
  if (S_ISDIR(attributes.mode)) return {.ino = next_ino_.fetch_add(1), .dev = dev_};
  // Files of several filesystems may have the same number.
  const auto [it, fresh] = devs_.try_emplace(attributes.dev, 0);
  if (fresh) it->second = NextDev();
  return {.ino = attributes.ino, .dev = it->second};
}

uint64_t OverlayfsTree::ShownIno(const Path& layer, uint64_t ino) {
  if (!layers_.upper || layer.mount != layers_.upper->mount) return ino;
  absl::MutexLock lock(&mu_);
  const auto copied = copied_.find(ino);
  return copied == copied_.end() ? ino : copied->second.ino;
}

Result<Ref<OverlayfsInode>> OverlayfsTree::Make(Path upper, std::vector<Path> lower,
                                                OverlayfsDirectory* parent, std::string_view name) {
  const Path& top = upper.dentry ? upper : lower.front();
  const Attributes attributes = TRY(top.dentry->inode().GetAttributes());
  const Identity identity = IdentityOf(upper, attributes);
  const uint32_t type = attributes.mode & S_IFMT;
  OverlayfsInode::Place place;
  if (parent != nullptr && !lower.empty()) {
    place = {.parent = Ref<OverlayfsDirectory>::Share(*parent), .name = std::string(name)};
  }
  Ref<OverlayfsTree> self = Ref<OverlayfsTree>::Share(*this);
  if (type == S_IFDIR) {
    Ref<OverlayfsDirectory> directory = MakeRef<OverlayfsDirectory>(
        std::move(self), std::move(upper), std::move(lower), type, identity, std::move(place));
    directory->set_parent_ino(parent != nullptr ? parent->ino() : identity.ino);
    return Ref<OverlayfsInode>(std::move(directory));
  }
  const Inode* const key = upper.dentry ? &upper.dentry->inode() : nullptr;
  Ref<OverlayfsInode> made = MakeRef<OverlayfsInode>(
      std::move(self), std::move(upper), std::move(lower), type, identity, std::move(place));
  if (key == nullptr) return made;
  Ref<OverlayfsInode> known;  // `made` goes without the lock.
  absl::MutexLock lock(&mu_);
  OverlayfsInode*& entry = by_upper_[key];
  if (entry != nullptr && entry->TryAddRef()) {
    known = Ref<OverlayfsInode>::Adopt(entry);
    return known;
  }
  entry = made.get();
  return made;
}

void OverlayfsTree::Adopt(OverlayfsInode& inode, const Path& upper, const Identity& identity) {
  const Result<Attributes> attributes = upper.dentry->inode().GetAttributes();
  absl::MutexLock lock(&mu_);
  if (attributes.ok()) copied_[attributes->ino] = identity;
  if (inode.type() != S_IFDIR) by_upper_[&upper.dentry->inode()] = &inode;
}

void OverlayfsTree::ForgetIdentity(uint64_t upper_ino) {
  absl::MutexLock lock(&mu_);
  copied_.erase(upper_ino);
}

void OverlayfsTree::Drop(const OverlayfsInode& inode, const Inode& upper) {
  absl::MutexLock lock(&mu_);
  const auto it = by_upper_.find(&upper);
  if (it != by_upper_.end() && it->second == &inode) by_upper_.erase(it);
}

}  // namespace sentry
