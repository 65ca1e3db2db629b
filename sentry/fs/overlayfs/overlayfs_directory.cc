// Directories of an overlay that a process mounted: names of all layers, and changes of them.
#include <dirent.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "sentry/fs/overlayfs/overlayfs_inode.h"

namespace sentry {

namespace {

// Positions: 0 is ".", 1 is "..", then the names as they were when the listing began.
class OverlayfsDirectoryFile final : public DirectoryFile {
 public:
  OverlayfsDirectoryFile(Ref<OverlayfsDirectory> directory, OpenFlags flags)
      : DirectoryFile(directory, flags), directory_(*directory) {}

  Status ReadDir(const std::function<bool(const DirEntry&)>& add) override {
    absl::MutexLock lock(&position_mu_);
    if (list_ == nullptr)
      list_ = TRY(directory_.Merge(OpenFlags(access_time() == AccessTime::kKept ? O_NOATIME : 0)));
    for (const uint64_t end = list_->size() + kDots; static_cast<uint64_t>(position_) < end;
         ++position_) {
      DirEntry entry{.name = position_ == 0 ? "." : "..",
                     .ino = position_ == 0 ? directory_.ino() : directory_.parent_ino(),
                     .type = DT_DIR};
      if (position_ >= int64_t{kDots}) list_->Get(static_cast<size_t>(position_) - kDots, entry);
      entry.next = position_ + 1;
      if (!add(entry)) break;
    }
    return kOk;
  }

 protected:
  void OnSeekLocked(int64_t position) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) {
    if (position == 0) list_ = nullptr;
  }

 private:
  static constexpr uint64_t kDots = 2;
  OverlayfsDirectory& directory_;  // Held as inode().
  std::shared_ptr<const Listing> list_ ABSL_GUARDED_BY(position_mu_);
};

bool IsMissing(Errno error) { return error == Errno(ENOENT); }

}  // namespace

Result<Ref<File>> OverlayfsDirectory::Open(OpenFlags flags) {
  return MakeRef<OverlayfsDirectoryFile>(Ref<OverlayfsDirectory>::Share(*this), flags);
}

Result<std::shared_ptr<const Listing>> OverlayfsDirectory::Merge(OpenFlags flags) {
  auto list = std::make_shared<Listing>();
  absl::flat_hash_set<std::string> seen;
  std::vector<Path> layers = lower();
  if (Path up = upper(); up.dentry) layers.insert(layers.begin(), std::move(up));
  for (const Path& layer : layers) {
    for (DirEntry& entry : TRY(tree().List(layer, flags))) {
      if (!seen.insert(entry.name).second) continue;
      if (entry.type == DT_CHR || entry.type == DT_UNKNOWN) {
        const Result<Path> found = tree().Find(layer, entry.name);
        if (!found.ok() || OverlayfsTree::IsWhiteout(*found)) continue;
      }
      entry.ino = tree().ShownIno(layer, entry.ino);
      list->Add(entry);
    }
  }
  list->Finish();
  return std::shared_ptr<const Listing>(std::move(list));
}

Result<Ref<OverlayfsInode>> OverlayfsDirectory::FindChild(std::string_view name) {
  {
    absl::MutexLock lock(&children_mu_);
    const auto known = children_.find(name);
    if (known != children_.end() && known->second->TryAddRef()) {
      return Ref<OverlayfsInode>::Adopt(known->second);
    }
  }
  Path up;
  bool complete = false;  // Nothing of the layers below shows.
  if (const Path above = upper(); above.dentry) {
    const Result<Path> found = tree().Find(above, name);
    if (!found.ok() && !IsMissing(found.error())) return found.error();
    if (found.ok() && OverlayfsTree::IsWhiteout(*found)) return Errno(ENOENT);
    if (found.ok()) up = *found;
    complete = up.dentry && (!up.dentry->is_directory() || tree().IsOpaque(up));
  }
  std::vector<Path> below;
  for (size_t i = 0; i < lower().size() && !complete; ++i) {
    Result<Path> found = tree().Find(lower()[i], name);
    if (!found.ok() && IsMissing(found.error())) continue;
    if (!found.ok()) return found.error();
    if (OverlayfsTree::IsWhiteout(*found)) break;
    const bool directory = found->dentry->is_directory();
    complete = !directory || tree().IsOpaque(*found);
    // A file below a directory does not show.
    if (!directory && (up.dentry || !below.empty())) break;
    below.push_back(*std::move(found));
  }
  if (!up.dentry && below.empty()) return Errno(ENOENT);
  const bool has_lower = !below.empty();
  Ref<OverlayfsInode> made = TRY(tree().Make(std::move(up), std::move(below), this, name));
  if (!has_lower) return made;
  Ref<OverlayfsInode> known;  // `made` goes without the lock.
  absl::MutexLock lock(&children_mu_);
  OverlayfsInode*& entry = children_[std::string(name)];
  if (entry != nullptr && entry->TryAddRef()) {
    known = Ref<OverlayfsInode>::Adopt(entry);
    return known;
  }
  entry = made.get();
  return made;
}

void OverlayfsDirectory::DropChild(std::string_view name, const OverlayfsInode* child) {
  absl::MutexLock lock(&children_mu_);
  const auto it = children_.find(name);
  if (it != children_.end() && it->second == child) children_.erase(it);
}

Result<Ref<Inode>> OverlayfsDirectory::Lookup(std::string_view name) {
  return TRY(FindChild(name));
}

bool OverlayfsDirectory::InLower(std::string_view name) {
  for (const Path& layer : lower()) {
    const Result<Path> found = tree().Find(layer, name);
    if (found.ok()) return !OverlayfsTree::IsWhiteout(*found);
  }
  return false;
}

Result<Ref<Inode>> OverlayfsDirectory::Add(std::string_view name, const NewNode& node,
                                           std::string_view target) {
  if (S_ISCHR(node.mode) && node.rdev == 0) return Errno(EPERM);  // It would be a whiteout.
  TRY(EnsureUpper());
  const OverlayfsTree::Temporary made = TRY(tree().MakeTemporary(node, target));
  if (S_ISDIR(node.mode) && merged()) {
    const Status hidden = tree().SetOpaque(made.path);
    if (!hidden.ok() && InLower(name)) {
      tree().Discard(made);
      return hidden.error();
    }
  }
  TRY(tree().MoveIn(made, upper(), name));
  return TRY(tree().Make(made.path, {}, this, name));
}

Result<Ref<Inode>> OverlayfsDirectory::CreateUnnamed(const NewNode& node, std::string_view target) {
  if (!tree().writable()) return Errno(EROFS);
  OverlayfsTree::Temporary made = TRY(tree().MakeTemporary(node, target));
  Ref<OverlayfsInode> inode = TRY(tree().Make(made.path, {}, this, ""));
  inode->SetUnnamed(std::move(made.name));
  return inode;
}

Status OverlayfsDirectory::Link(std::string_view name, Inode& target) {
  auto& inode = static_cast<OverlayfsInode&>(target);
  TRY(EnsureUpper());
  TRY(inode.EnsureUpper());
  const Path directory = upper();
  {
    // Two links at a time: one of them is the first.
    absl::MutexLock lock(&tree().copy_locks().For(&inode));
    if (std::string temporary = inode.unnamed(); !temporary.empty()) {
      TRY(tree().TryMoveIn({.name = std::move(temporary), .path = inode.upper()}, directory, name));
      inode.SetUnnamed({});
      return kOk;
    }
  }
  const Result<Path> old = tree().Find(directory, name);
  const bool hidden = old.ok() && OverlayfsTree::IsWhiteout(*old);
  return hidden ? tree().LinkOver(inode.upper(), directory, name)
                : tree().Link(inode.upper(), directory, name);
}

bool OverlayfsDirectory::ForgetUnlessNamed(const Path& upper, bool directory) {
  const Result<Attributes> left = upper.dentry->inode().GetAttributes();
  if (!left.ok()) return false;
  const bool named = !directory && left->nlink != 0;
  if (!named) tree().ForgetIdentity(left->ino);
  return named;
}

// The VFS has found `child` here, and forgets its name afterwards.
Status OverlayfsDirectory::Remove(std::string_view name, OverlayfsInode& child) {
  const bool hides = InLower(name);
  if (hides) TRY(EnsureUpper());
  const bool directory = child.type() == S_IFDIR;
  if (directory) {
    if (TRY(static_cast<OverlayfsDirectory&>(child).Merge(OpenFlags(O_NOATIME)))->size() != 0)
      return Errno(ENOTEMPTY);
  }
  child.SetRemoved(true);
  const Path above = upper(), up = child.upper();
  Status done = kOk;
  if (hides) {
    done = up.dentry && directory ? tree().ReplaceDirectoryByWhiteout(above, name)
                                  : tree().MakeWhiteout(above, name);
  } else if (up.dentry) {
    done = directory ? tree().RemoveDirectory(above, name) : tree().Unlink(above, name);
  }
  if (!done.ok()) {
    child.SetRemoved(false);
    return done;
  }
  DropChild(name, &child);
  if (!up.dentry) return kOk;
  if (ForgetUnlessNamed(up, directory)) child.SetRemoved(false);
  return kOk;
}

Status OverlayfsDirectory::Unlink(std::string_view name) {
  const Ref<OverlayfsInode> child = TRY(FindChild(name));
  return child->type() == S_IFDIR ? Errno(EISDIR) : Remove(name, *child);
}

Status OverlayfsDirectory::Rmdir(std::string_view name) {
  const Ref<OverlayfsInode> child = TRY(FindChild(name));
  return child->type() != S_IFDIR ? Errno(ENOTDIR) : Remove(name, *child);
}

// Without redirections a directory that has a part below stays where it is.
Status OverlayfsDirectory::CheckRenamed(const OverlayfsInode& inode) const {
  const bool fixed = inode.type() == S_IFDIR && !inode.lower().empty();
  return fixed ? Errno(EXDEV) : Status(kOk);
}

void OverlayfsDirectory::MovedTo(const OverlayfsDirectory& to, OverlayfsInode& inode) {
  if (inode.type() != S_IFDIR) return;
  static_cast<OverlayfsDirectory&>(inode).set_parent_ino(to.ino());
}

Status OverlayfsDirectory::Rename(std::string_view name, Inode& new_parent,
                                  std::string_view new_name, uint32_t flags) {
  auto& to = static_cast<OverlayfsDirectory&>(new_parent);
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  const Ref<OverlayfsInode> source = TRY(FindChild(name));
  const Result<Ref<OverlayfsInode>> target = to.FindChild(new_name);
  if (!target.ok() && (exchange || !IsMissing(target.error()))) return target.error();
  TRY(CheckRenamed(*source));
  if (exchange) TRY(CheckRenamed(**target));
  TRY(EnsureUpper());
  TRY(to.EnsureUpper());
  TRY(source->EnsureUpper());
  if (exchange) TRY((*target)->EnsureUpper());
  const bool hides = !exchange && InLower(name);
  if (source->type() == S_IFDIR && to.merged()) TRY(tree().SetOpaque(source->upper()));
  if (exchange && (*target)->type() == S_IFDIR && merged()) {
    TRY(tree().SetOpaque((*target)->upper()));
  }
  const Path from_dir = upper(), to_dir = to.upper();
  if (!exchange && target.ok()) {
    // A file is replaced at once; so is a directory, once nothing lies in it.
    if ((*target)->type() == S_IFDIR) {
      TRY(to.Remove(new_name, **target));
    } else {
      (*target)->SetRemoved(!(*target)->has_upper());
    }
  }
  bool whiteout_left = false;  // Under the old name.
  const bool of_directory = !exchange && source->type() == S_IFDIR;
  const Status moved = of_directory
                           ? tree().RenameDirectory(from_dir, name, to_dir, new_name, whiteout_left)
                           : tree().Rename(from_dir, name, to_dir, new_name, flags);
  if (!moved.ok()) {
    if (!exchange && target.ok()) (*target)->SetRemoved(false);
    return moved;
  }
  MovedTo(to, *source);
  if (exchange) MovedTo(*this, **target);
  DropChild(name, source.get());
  if (target.ok()) to.DropChild(new_name, target->get());
  if (const Path gone = target.ok() ? (*target)->upper() : Path{}; !exchange && gone.dentry) {
    (void)ForgetUnlessNamed(gone, /*directory=*/false);
  }
  if (hides && !whiteout_left) return tree().MakeWhiteout(from_dir, name);
  if (!hides && whiteout_left) (void)tree().Unlink(from_dir, name);
  return kOk;
}

}  // namespace sentry
