#include "sentry/fs/vfs/walk.h"

#include <limits.h>
#include <linux/capability.h>
#include <linux/openat2.h>

#include <utility>

#include "sentry/fs/vfs/dentry_cache.h"
#include "sentry/fs/vfs/mount_table.h"

namespace sentry {

namespace {

constexpr int kMaxLinks = 40;

}  // namespace

Walker::Walker(Vfs& vfs, const WalkContext& ctx, const WalkOptions& options, Until until)
    : vfs_(vfs),
      ctx_(ctx),
      options_(options),
      until_(until),
      searches_all_(ctx.creds.HasCapability(CAP_DAC_OVERRIDE) ||
                    ctx.creds.HasCapability(CAP_DAC_READ_SEARCH)),
      root_((options.resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0 ? ctx.start : ctx.root) {}

Status Walker::Begin(std::string_view path) {
  if (path.size() >= PATH_MAX) return Errno(ENAMETOOLONG);
  if (path.empty() && !options_.allow_empty) return Errno(ENOENT);
  const bool absolute = path.starts_with('/');
  if (absolute && resolves(RESOLVE_BENEATH)) return Errno(EXDEV);
  const Path& begin = absolute ? root_ : ctx_.start;
  mount_ = begin.mount.get();
  dentry_ = begin.dentry.get();
  rest_ = path;
  return kOk;
}

Status Walker::Run(std::string_view path) {
  TRY(Begin(path));
  for (;;) {
    Path dropped;  // Released without the lock.
    Stop stop;
    {
      absl::ReaderMutexLock lock(&internal::tree_mu);
      connected_ = nullptr;
      stop = TRY(Advance());
      dropped = std::exchange(owned_, {Ref<Mount>::Share(*mount_), Ref<Dentry>::Share(*dentry_)});
    }
    if (stop == Stop::kDone) return kOk;
    TRY(Handle(stop));
  }
}

bool Walker::NextName() {
  size_t begin = 0;
  while (begin < rest_.size() && rest_[begin] == '/') ++begin;
  rest_.remove_prefix(begin);
  size_t end = 0;
  while (end < rest_.size() && rest_[end] != '/') ++end;
  name_ = rest_.substr(0, end);
  after_ = rest_.substr(end);
  slash_ = !after_.empty();
  while (!after_.empty() && after_.front() == '/') after_.remove_prefix(1);
  last_ = after_.empty();
  return !name_.empty();
}

Result<Walker::Stop> Walker::Advance() {
  if (child_) {
    const Stop stop = TRY(Enter(*child_));
    // Kept until the walk stands on it by a reference, or follows it as a symlink.
    if (stop != Stop::kDone) return stop;
  }
  while (NextName()) {
    if (!dentry_->is_directory()) return Errno(ENOTDIR);
    if (!searches_all_ && searched_ != dentry_ && !dentry_->inode().AnyoneMaySearch()) {
      return Stop::kPermission;
    }
    if (last_ && until_ == Until::kParent) return Stop::kDone;
    if (name_ == ".") {
      rest_ = after_;
      continue;
    }
    if (name_ == "..") {
      TRY(StepUp());
      rest_ = after_;
      continue;
    }
    if (name_.size() > NAME_MAX) return Errno(ENAMETOOLONG);
    Dentry* child = vfs_.names_->Find(*dentry_, name_);
    if (child == nullptr || (!dentry_->caches_lookups_ && child->mounts_ == 0)) {
      return resolves(RESOLVE_CACHED) ? Result<Stop>(Errno(EAGAIN)) : Stop::kLookup;
    }
    const Stop stop = TRY(Enter(*child));
    if (stop == Stop::kSymlink) {
      child_ = Ref<Dentry>::Share(*child);
      return stop;
    }
  }
  return Stop::kDone;
}

Result<Walker::Stop> Walker::Enter(Dentry& child) {
  if (child.negative()) return Errno(ENOENT);
  if (child.type() == S_IFLNK && (!last_ || slash_ || options_.follow_last)) return Stop::kSymlink;
  dentry_ = &child;
  TRY(CrossMounts());
  if (last_ && slash_ && !dentry_->is_directory()) return Errno(ENOTDIR);
  rest_ = after_;
  return Stop::kDone;
}

Status Walker::CrossMounts() {
  while (dentry_->mounts_ != 0) {
    Mount* mounted = vfs_.MountedOn(*mount_, *dentry_);
    if (mounted == nullptr) break;
    if (resolves(RESOLVE_NO_XDEV)) return Errno(EXDEV);
    mount_ = mounted;
    dentry_ = mounted->root_.get();
  }
  return kOk;
}

Status Walker::StepUp() {
  const auto at_root = [this] {
    return dentry_ == root_.dentry.get() && mount_ == root_.mount.get();
  };
  if (at_root()) return resolves(RESOLVE_BENEATH) ? Status(Errno(EXDEV)) : kOk;
  while (dentry_ == mount_->root_.get()) {
    if (!mount_->parent_) return kOk;
    if (resolves(RESOLVE_NO_XDEV)) return Errno(EXDEV);
    dentry_ = mount_->mount_point_.get();
    mount_ = mount_->parent_.get();
    connected_ = nullptr;
    if (at_root()) return kOk;
  }
  if (dentry_->parent_) dentry_ = dentry_->parent_.get();
  if (!IsConnected()) return Errno(ENOENT);
  return CrossMounts();
}

// path_connected() of Linux: a directory that was renamed out of a bind mount has no way up from
// there, which would lead past the mount's root. Once it is known it stays so while the lock is
// held.
bool Walker::IsConnected() {
  if (connected_ == mount_ || mount_->root_ == mount_->superblock_->root()) return true;
  if (!mount_->root_->IsAncestorOfLocked(*dentry_)) return false;
  connected_ = mount_;
  return true;
}

Status Walker::Handle(Stop stop) {
  if (stop == Stop::kPermission) {
    child_ = nullptr;
    TRY(Vfs::CheckAccess(TRY(dentry_->inode().GetAttributes()), ctx_.creds, X_OK));
    searched_ = dentry_;
    return kOk;
  }
  if (stop == Stop::kSymlink) return FollowLink();
  child_ = TRY(vfs_.Lookup(owned_.dentry, name_));
  return kOk;
}

Status Walker::FollowLink() {
  const Ref<Dentry> link = std::exchange(child_, nullptr);
  if (++links_ > kMaxLinks || resolves(RESOLVE_NO_SYMLINKS)) return Errno(ELOOP);
  if (last_) TRY(vfs_.protections_.CheckFollow(dentry_->inode(), link->inode(), ctx_.creds));
  if ((mount_->flags() & Mount::kNoSymfollow) != 0) return Errno(ELOOP);
  if (ctx_.task != nullptr) {
    Path target;
    const Status magic = link->inode().MagicLink(*ctx_.task, target);
    if (magic.ok()) return Jump(std::move(target));
    if (magic.error() != Errno(EINVAL)) return magic;
  }
  std::string text = TRY(link->inode().ReadLink());
  if (text.empty()) return Errno(ENOENT);
  if (slash_) text += '/';
  text += after_;
  text_ = std::move(text);
  rest_ = text_;
  if (!rest_.starts_with('/')) return kOk;
  if (resolves(RESOLVE_BENEATH)) return Errno(EXDEV);
  if (resolves(RESOLVE_NO_XDEV) && mount_ != root_.mount.get()) return Errno(EXDEV);
  mount_ = root_.mount.get();
  dentry_ = root_.dentry.get();
  return kOk;
}

Status Walker::Jump(Path target) {
  if (!target.dentry || !target.mount) return Errno(ENXIO);
  if (resolves(RESOLVE_NO_MAGICLINKS)) return Errno(ELOOP);
  if (resolves(RESOLVE_BENEATH | RESOLVE_IN_ROOT)) return Errno(EXDEV);
  if (resolves(RESOLVE_NO_XDEV) && target.mount.get() != mount_) return Errno(EXDEV);
  if (last_ && slash_ && !target.dentry->is_directory()) return Errno(ENOTDIR);
  rest_ = after_;
  owned_ = std::move(target);
  mount_ = owned_.mount.get();
  dentry_ = owned_.dentry.get();
  return kOk;
}

Result<Path> Vfs::Walk(const WalkContext& ctx, std::string_view path, const WalkOptions& options) {
  Walker walker(*this, ctx, options, Walker::Until::kEnd);
  TRY(walker.Run(path));
  return walker.TakeResult();
}

Result<Vfs::Place> Vfs::WalkToParent(const WalkContext& ctx, std::string_view path,
                                     uint64_t resolve) {
  const WalkOptions options{.follow_last = false, .resolve = resolve};
  Walker walker(*this, ctx, options, Walker::Until::kParent);
  TRY(walker.Run(path));
  Place place{.parent = walker.TakeResult(),
              .name = std::string(walker.last_name()),
              .trailing_slash = walker.trailing_slash()};
  if (place.name.size() > NAME_MAX) return Errno(ENAMETOOLONG);
  return place;
}

}  // namespace sentry
