#include "sentry/fs/overlayfs/overlayfs_inode.h"

#include <linux/magic.h>

#include <algorithm>
#include <utility>

#include "sentry/fs/overlay/layered_file.h"

namespace sentry {

namespace {

// Opened for reading before the file was copied up, it reads the copy afterwards, as on Linux.
class OverlayfsFile final : public LayeredFile {
 public:
  OverlayfsFile(Ref<OverlayfsInode> inode, OpenFlags flags, Ref<File> inner, bool at_lower)
      : LayeredFile(inode, flags, std::move(inner)), overlay_inode_(*inode), at_lower_(at_lower) {}

  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override {
    TRY(FollowCopy());
    return LayeredFile::ReadAt(dst, offset);
  }
  Result<int64_t> Seek(int64_t offset, int whence) override {
    TRY(FollowCopy());
    return LayeredFile::Seek(offset, whence);
  }

 private:
  Status FollowCopy() {
    if (!at_lower_.load(std::memory_order_acquire)) return kOk;
    const Path up = overlay_inode_.upper();
    if (!up.dentry) return kOk;
    Ref<File> copy = TRY(overlay_inode_.tree().Open(up, flags().Without(O_TMPFILE)));
    absl::MutexLock lock(&mu_);
    if (at_lower_.load(std::memory_order_relaxed)) ReplaceInner(std::move(copy));
    at_lower_.store(false, std::memory_order_release);
    return kOk;
  }

  OverlayfsInode& overlay_inode_;  // Held as inode().
  absl::Mutex mu_;
  std::atomic<bool> at_lower_;
};

}  // namespace

OverlayfsInode::OverlayfsInode(Ref<OverlayfsTree> tree, Path upper, std::vector<Path> lower,
                               uint32_t type, const OverlayfsTree::Identity& identity, Place place)
    : tree_(std::move(tree)),
      lower_(std::move(lower)),
      type_(type),
      identity_(identity),
      place_(std::move(place)),
      upper_(std::move(upper)) {}

OverlayfsInode::~OverlayfsInode() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  const Path up = upper();
  if (up.dentry && type_ != S_IFDIR) tree_->Drop(*this, up.dentry->inode());
  if (!unnamed_.empty()) tree_->Discard({.name = unnamed_, .path = up});
  if (place_.parent) place_.parent->DropChild(place_.name, this);
  // A guest chooses how deep trees are: no recursion through those that nobody else holds.
  Ref<OverlayfsDirectory> above = std::move(place_.parent);
  while (above && above->ref_count() == 1) {
    Place& place = above->place_;
    if (place.parent) place.parent->DropChild(place.name, above.get());
    if (above->ref_count() != 1) break;  // Somebody has found it in the meantime.
    Ref<OverlayfsDirectory> next = std::move(place.parent);
    above = std::move(next);
  }
}

Path OverlayfsInode::upper() const {
  absl::MutexLock lock(&mu_);
  return upper_;
}

Path OverlayfsInode::top() const {
  Path up = upper();
  return up.dentry ? up : lower_.front();
}

bool OverlayfsInode::removed() const {
  absl::MutexLock lock(&mu_);
  return removed_;
}

void OverlayfsInode::SetRemoved(bool removed) {
  // A copy that is under way ends before, and shows.
  absl::MutexLock copying(&tree_->copy_locks().For(this));
  absl::MutexLock lock(&mu_);
  removed_ = removed;
}

void OverlayfsInode::SetUnnamed(std::string temporary) {
  absl::MutexLock lock(&mu_);
  unnamed_ = std::move(temporary);
}

Result<Attributes> OverlayfsInode::GetAttributes() {
  const Path up = upper();
  Attributes attributes = TRY((up.dentry ? up : lower_.front()).dentry->inode().GetAttributes());
  attributes.ino = identity_.ino;
  attributes.dev = identity_.dev;
  // As Linux says of merged directories.
  if (type_ == S_IFDIR && lower_.size() + (up.dentry ? 1 : 0) > 1) attributes.nlink = 1;
  absl::MutexLock lock(&mu_);
  if (!unnamed_.empty()) attributes.nlink = 0;
  return attributes;
}

Status OverlayfsInode::SetAttributes(const AttributeChange& change) {
  TRY(EnsureUpper(change.size.value_or(UINT64_MAX)));
  return upper().dentry->inode().SetAttributes(change);
}

Result<Ref<File>> OverlayfsInode::Open(OpenFlags flags) {
  if (flags.writable()) TRY(EnsureUpper());
  const Path up = upper();
  Ref<File> inner = TRY(tree_->Open(up.dentry ? up : lower_.front(), flags.Without(O_TMPFILE)));
  return MakeRef<OverlayfsFile>(Ref<OverlayfsInode>::Share(*this), flags, std::move(inner),
                                /*at_lower=*/!up.dentry);
}

// What looks like the overlay's own is kept under another name, so that overlays can lie on it.
std::string OverlayfsInode::Escaped(std::string_view name) const {
  if (!tree_->IsPrivate(name)) return std::string(name);
  return tree_->prefix() + "overlay." + std::string(name.substr(tree_->prefix().size()));
}

Result<std::string> OverlayfsInode::GetXattr(std::string_view name) {
  return top().dentry->inode().GetXattr(Escaped(name));
}

Status OverlayfsInode::SetXattr(std::string_view name, std::string_view value, int flags) {
  TRY(EnsureUpper());
  return upper().dentry->inode().SetXattr(Escaped(name), value, flags);
}

Status OverlayfsInode::RemoveXattr(std::string_view name) {
  if (!has_upper()) TRY(GetXattr(name));
  TRY(EnsureUpper());
  return upper().dentry->inode().RemoveXattr(Escaped(name));
}

Result<std::vector<std::string>> OverlayfsInode::ListXattr() {
  std::vector<std::string> names = TRY(top().dentry->inode().ListXattr());
  const std::string escaped = tree_->prefix() + "overlay.";
  std::erase_if(names, [&](const std::string& name) {
    return tree_->IsPrivate(name) && !name.starts_with(escaped);
  });
  for (std::string& name : names) {
    if (name.starts_with(escaped)) name = tree_->prefix() + name.substr(escaped.size());
  }
  return names;
}

Result<FilesystemStats> OverlayfsInode::StatFs() {
  const OverlayfsLayers& layers = tree_->layers();
  const Path& shown = layers.upper ? *layers.upper : layers.lower.front();
  FilesystemStats stats = TRY(shown.dentry->inode().StatFs());
  stats.type = OVERLAYFS_SUPER_MAGIC;
  return stats;
}

}  // namespace sentry
