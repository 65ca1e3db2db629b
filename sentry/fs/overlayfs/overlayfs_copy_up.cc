// Copies of lower files in the upper directory.
#include <utility>
#include <vector>

#include "sentry/fs/overlay/copy_up.h"
#include "sentry/fs/overlayfs/overlayfs_inode.h"

namespace sentry {

namespace {

// What the upper filesystem cannot keep is left behind.
void CopyXattrs(const OverlayfsTree& tree, Inode& lower, Inode& upper) {
  const Result<std::vector<std::string>> names = lower.ListXattr();
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (tree.IsPrivate(name)) continue;
    const Result<std::string> value = lower.GetXattr(name);
    if (value.ok()) (void)upper.SetXattr(name, *value, 0);
  }
}

AttributeChange TimesOf(const Attributes& attributes) {
  AttributeChange times;
  times.atime = attributes.atime;
  times.mtime = attributes.mtime;
  return times;
}

Status Fill(const OverlayfsTree& tree, Inode& lower, Inode& upper, const Attributes& attributes,
            uint64_t size) {
  CopyXattrs(tree, lower, upper);
  if (S_ISREG(attributes.mode)) TRY(CopyDataUp(lower, upper, size));
  return upper.SetAttributes(TimesOf(attributes));
}

}  // namespace

Status OverlayfsInode::EnsureUpper(uint64_t size) {
  if (has_upper()) {
    const bool read_only = tree_->writable() && tree_->layers().upper->mount->read_only();
    return read_only ? Status(Errno(EROFS)) : kOk;
  }
  if (!tree_->writable()) return Errno(EROFS);
  std::vector<OverlayfsInode*> missing;  // From here upwards; each is held by the one before it.
  for (OverlayfsInode* inode = this; inode != nullptr && !inode->has_upper();
       inode = inode->place_.parent.get()) {
    missing.push_back(inode);
  }
  for (; !missing.empty(); missing.pop_back()) {
    TRY(missing.back()->CopyUp(missing.back() == this ? size : UINT64_MAX));
  }
  return kOk;
}

Status OverlayfsInode::CopyUp(uint64_t size) {
  absl::MutexLock lock(&tree_->copy_locks().For(this));
  return has_upper() ? Status(kOk) : CopyUpLocked(size);
}

Status OverlayfsInode::CopyUpLocked(uint64_t size) {
  Inode& below = lower_.front().dentry->inode();
  const Attributes attributes = TRY(below.GetAttributes());
  std::string target;
  if (type_ == S_IFLNK) target = TRY(below.ReadLink());
  const OverlayfsTree::Temporary copy = TRY(tree_->MakeTemporary({.mode = attributes.mode,
                                                                  .uid = attributes.uid,
                                                                  .gid = attributes.gid,
                                                                  .rdev = attributes.rdev},
                                                                 target));
  const Status filled = Fill(*tree_, below, copy.path.dentry->inode(), attributes, size);
  if (!filled.ok()) {
    tree_->Discard(copy);
    return filled;
  }
  if (removed()) {
    tree_->Discard(copy);  // Its descriptors go on with it.
  } else {
    // That a copy came to lie there is no change of the directory.
    const Path directory = place_.parent->upper();
    const Attributes above = TRY(directory.dentry->inode().GetAttributes());
    TRY(tree_->MoveIn(copy, directory, place_.name));
    (void)directory.dentry->inode().SetAttributes(TimesOf(above));
  }
  // A number that nobody finds by name need not be remembered.
  if (!removed()) tree_->Adopt(*this, copy.path, identity_);
  absl::MutexLock lock(&mu_);
  upper_ = copy.path;
  return kOk;
}

}  // namespace sentry
