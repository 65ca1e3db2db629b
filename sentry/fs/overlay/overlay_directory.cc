#include <dirent.h>
#include <unistd.h>

#include <utility>

#include "sentry/fs/overlay/overlay_inode.h"

namespace sentry {

namespace {

// Positions: 0 is ".", 1 is "..", then the names of the lower directory as they were when the
// listing began, then the changed ones by cookie.
constexpr int64_t kLowerBegin = 2;
constexpr int64_t kChangedBegin = int64_t{1} << 40;
constexpr size_t kBatch = 128;

class OverlayDirectoryFile final : public DirectoryFile {
 public:
  OverlayDirectoryFile(Ref<OverlayDirectory> directory, OpenFlags flags)
      : DirectoryFile(directory, flags), directory_(*directory) {}

  Status ReadDir(const std::function<bool(const DirEntry&)>& add) override {
    absl::MutexLock lock(&position_mu_);
    const bool all = TRY(AddDotsLocked(add)) && TRY(AddLowerLocked(add));
    if (all) AddChangedLocked(add);
    return kOk;
  }

 protected:
  void OnSeekLocked(int64_t position) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) {
    if (position == 0) lower_ = nullptr;
  }

 private:
  // Each false when `add` had enough.
  Result<bool> AddDotsLocked(const std::function<bool(const DirEntry&)>& add)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) {
    if (position_ == 0) {
      if (!add({.name = ".", .ino = directory_.ino(), .type = DT_DIR, .next = 1})) return false;
      position_ = 1;
    }
    if (position_ == 1) {
      const uint64_t parent = directory_.parent_ino();
      if (!add({.name = "..", .ino = parent, .type = DT_DIR, .next = kLowerBegin})) return false;
      position_ = kLowerBegin;
    }
    return true;
  }

  Result<bool> AddLowerLocked(const std::function<bool(const DirEntry&)>& add)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) {
    if (position_ >= kChangedBegin) return true;
    if (lower_ == nullptr) lower_ = TRY(directory_.ListLower());
    DirEntry entry;
    while (static_cast<uint64_t>(position_ - kLowerBegin) < lower_->size()) {
      lower_->Get(static_cast<size_t>(position_ - kLowerBegin), entry);
      entry.next = position_ + 1;
      if (!directory_.Overrides(entry.name) && !add(entry)) return false;
      ++position_;
    }
    position_ = kChangedBegin;
    lower_ = nullptr;
    return true;
  }

  void AddChangedLocked(const std::function<bool(const DirEntry&)>& add)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) {
    for (;;) {
      std::vector<DirEntry> batch = directory_.ListChanged(position_ - kChangedBegin, kBatch);
      if (batch.empty()) return;
      for (DirEntry& entry : batch) {
        entry.next += kChangedBegin;
        if (!add(entry)) return;
        position_ = entry.next;
      }
    }
  }

  OverlayDirectory& directory_;                                         // Held as inode().
  std::shared_ptr<const Listing> lower_ ABSL_GUARDED_BY(position_mu_);  // While it is handed out.
};

}  // namespace

OverlayDirectory::~OverlayDirectory() {
  std::vector<Ref<Inode>> children;
  TakeChildren(children);
  ReleaseTrees(std::move(children));
  tree().listings().Take(this);
  if (tree().IsRoot(*this)) tree().UnpinAll();
}

void OverlayDirectory::TakeChildren(std::vector<Ref<Inode>>& children) {
  absl::MutexLock lock(&entries_mu_);
  if (entries_ != nullptr) entries_->TakeAll(children);
}

Result<Ref<File>> OverlayDirectory::Open(OpenFlags flags) {
  return MakeRef<OverlayDirectoryFile>(Ref<OverlayDirectory>::Share(*this), flags);
}

Result<std::shared_ptr<const Listing>> OverlayDirectory::ListLower() {
  std::shared_ptr<const Listing> known = tree().listings().Find(this);
  if (known != nullptr) return known;
  auto list = std::make_shared<Listing>();
  if (lower() == nullptr) return std::shared_ptr<const Listing>(std::move(list));
  const Ref<File> file = TRY(lower()->Open(OpenFlags(O_RDONLY | O_DIRECTORY)));
  TRY(file->ReadDir([&list](const DirEntry& entry) {
    if (entry.name != "." && entry.name != "..") list->Add(entry);
    return true;
  }));
  list->Finish();
  std::shared_ptr<const Listing> result = std::move(list);
  if (lower()->CachesLookups()) tree().listings().Insert(this, result, result->bytes());
  return result;
}

bool OverlayDirectory::Overrides(std::string_view name) {
  absl::MutexLock lock(&entries_mu_);
  return entries_ != nullptr && entries_->Find(name) != nullptr;
}

std::vector<DirEntry> OverlayDirectory::ListChanged(int64_t cookie, size_t count) {
  std::vector<DirEntry> list;
  absl::MutexLock lock(&entries_mu_);
  if (entries_ == nullptr) return list;
  const DirectoryEntries::Map& entries = entries_->by_cookie();
  for (auto it = entries.lower_bound(cookie); it != entries.end() && list.size() < count; ++it) {
    if (!it->second.inode) continue;
    list.push_back({.name = it->second.name,
                    .ino = it->second.ino,
                    .type = it->second.type,
                    .next = it->first + 1});
  }
  return list;
}

Result<Ref<OverlayInode>> OverlayDirectory::Find(std::string_view name) {
  {
    absl::MutexLock lock(&entries_mu_);
    const DirectoryEntries::Entry* entry = entries_ == nullptr ? nullptr : entries_->Find(name);
    if (entry != nullptr) {
      if (!entry->inode) return Errno(ENOENT);
      return Ref<OverlayInode>::Share(static_cast<OverlayInode&>(*entry->inode));
    }
  }
  if (lower() == nullptr) return Errno(ENOENT);
  Ref<OverlayInode> found = TRY(tree().ForLower(TRY(lower()->Lookup(name))));
  if (found->is_directory()) static_cast<OverlayDirectory&>(*found).parent_ino_ = ino();
  return found;
}

Result<Ref<Inode>> OverlayDirectory::Lookup(std::string_view name) { return TRY(Find(name)); }

bool OverlayDirectory::InLower(std::string_view name) {
  return lower() != nullptr && lower()->Lookup(name).ok();
}

Status OverlayDirectory::PrepareChange() {
  TRY(EnsureUpper());
  absl::MutexLock lock(&entries_mu_);
  if (closed_) return Errno(ENOENT);
  return kOk;
}

void OverlayDirectory::Touch() {
  AttributeChange change;
  change.mtime = FileTime();
  (void)upper()->SetAttributes(change);  // PrepareChange has made it.
}

Status OverlayDirectory::Set(std::string_view name, Ref<OverlayInode> inode) {
  if (inode->is_directory()) static_cast<OverlayDirectory&>(*inode).parent_ino_ = ino();
  Ref<Inode> replaced;
  absl::MutexLock lock(&entries_mu_);
  if (closed_) return Errno(ENOENT);
  if (entries_ == nullptr) entries_ = std::make_unique<DirectoryEntries>();
  if (entries_->Find(name) != nullptr) replaced = entries_->Erase(name);
  const uint8_t type = static_cast<uint8_t>(inode->type() >> 12);
  const uint64_t number = inode->ino();
  entries_->Insert(
      {.name = std::string(name), .inode = std::move(inode), .type = type, .ino = number});
  return kOk;
}

void OverlayDirectory::Hide(std::string_view name) {
  const bool whiteout = InLower(name);
  Ref<Inode> removed;
  absl::MutexLock lock(&entries_mu_);
  if (entries_ == nullptr) entries_ = std::make_unique<DirectoryEntries>();
  if (entries_->Find(name) != nullptr) removed = entries_->Erase(name);
  if (whiteout) entries_->Insert({.name = std::string(name), .inode = {}});
}

Result<Ref<Inode>> OverlayDirectory::Add(std::string_view name, const NewNode& node,
                                         std::string_view target) {
  TRY(PrepareChange());
  Ref<Inode> content = TRY(tree().upper().CreateUnnamed(node, target));
  Ref<OverlayInode> inode = tree().ForNew(std::move(content), node.mode, dev());
  inode->ChangeLinks(inode->is_directory() ? 2 : 1);
  TRY(Set(name, inode));
  if (inode->is_directory()) ChangeSubdirectories(1);
  Touch();
  return inode;
}

Result<Ref<Inode>> OverlayDirectory::Create(std::string_view name, const NewNode& node) {
  return Add(name, node, {});
}

Result<Ref<Inode>> OverlayDirectory::Mkdir(std::string_view name, const NewNode& node) {
  return Add(name, node, {});
}

Result<Ref<Inode>> OverlayDirectory::Symlink(std::string_view name, std::string_view target,
                                             const NewNode& node) {
  return Add(name, node, target);
}

Result<Ref<Inode>> OverlayDirectory::CreateUnnamed(const NewNode& node, std::string_view target) {
  return tree().ForNew(TRY(tree().upper().CreateUnnamed(node, target)), node.mode, dev());
}

Status OverlayDirectory::Link(std::string_view name, Inode& target) {
  auto& inode = static_cast<OverlayInode&>(target);
  TRY(PrepareChange());
  TRY(inode.EnsureUpper());
  TRY(Set(name, Ref<OverlayInode>::Share(inode)));
  inode.ChangeLinks(1);
  inode.TouchStatus();
  Touch();
  return kOk;
}

Status OverlayDirectory::Remove(std::string_view name, OverlayInode& child) {
  if (child.is_directory()) {
    TRY(static_cast<OverlayDirectory&>(child).CloseIfEmpty());
    child.ChangeLinks(-static_cast<int>(child.links()));
    ChangeSubdirectories(-1);
  } else {
    child.ChangeLinks(-1);
    child.TouchStatus();
  }
  Hide(name);
  return kOk;
}

Status OverlayDirectory::Unlink(std::string_view name) {
  const Ref<OverlayInode> child = TRY(Find(name));
  if (child->is_directory()) return Errno(EISDIR);
  TRY(PrepareChange());
  TRY(Remove(name, *child));
  Touch();
  return kOk;
}

Status OverlayDirectory::Rmdir(std::string_view name) {
  const Ref<OverlayInode> child = TRY(Find(name));
  if (!child->is_directory()) return Errno(ENOTDIR);
  TRY(PrepareChange());
  TRY(Remove(name, *child));
  Touch();
  return kOk;
}

Status OverlayDirectory::CloseIfEmpty() {
  const std::shared_ptr<const Listing> lower = TRY(ListLower());
  DirEntry entry;
  for (size_t i = 0; i < lower->size(); ++i) {
    lower->Get(i, entry);
    if (!Overrides(entry.name)) return Errno(ENOTEMPTY);
  }
  absl::MutexLock lock(&entries_mu_);
  if (entries_ != nullptr) {
    for (const auto& [cookie, entry] : entries_->by_cookie()) {
      if (entry.inode) return Errno(ENOTEMPTY);
    }
  }
  closed_ = true;
  return kOk;
}

Status OverlayDirectory::Rename(std::string_view name, Inode& new_parent, std::string_view new_name,
                                uint32_t flags) {
  auto& to = static_cast<OverlayDirectory&>(new_parent);
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  const Ref<OverlayInode> source = TRY(Find(name));
  const Result<Ref<OverlayInode>> found = to.Find(new_name);
  if (!found.ok() && (found.error() != Errno(ENOENT) || exchange)) return found.error();
  TRY(PrepareChange());
  TRY(to.PrepareChange());
  TRY(source->EnsureUpper());  // Its status changes.
  if (exchange) {
    const Ref<OverlayInode> target = *found;
    TRY(Set(name, target));
    target->TouchStatus();
    if (target->is_directory()) to.ChangeSubdirectories(-1);
    if (target->is_directory()) ChangeSubdirectories(1);
  } else if (found.ok()) {
    TRY(to.Remove(new_name, **found));
  }
  TRY(to.Set(new_name, source));
  source->TouchStatus();
  if (source->is_directory()) to.ChangeSubdirectories(1);
  if (source->is_directory()) ChangeSubdirectories(-1);
  if (!exchange) Hide(name);
  Touch();
  to.Touch();
  return kOk;
}

}  // namespace sentry
