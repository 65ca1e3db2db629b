// Cached names: how dentries come and go.
#include "sentry/fs/vfs.h"

#include <sys/mount.h>

#include <utility>

#include "sentry/fs/handles.h"
#include "sentry/fs/vfs/dentry_cache.h"
#include "sentry/fs/vfs/mount_table.h"
#include "sentry/fs/vfs/path_errors.h"

namespace sentry {

namespace {

// The root of the mount that anonymous files are shown on: a directory without anything.
class NothingInode final : public Inode {
 public:
  Result<Attributes> GetAttributes() override { return Attributes{.mode = S_IFDIR | 0555}; }
  Result<Ref<Inode>> Lookup(std::string_view name) override { return Errno(ENOENT); }
  Result<Ref<File>> Open(OpenFlags flags) override { return Errno(ENXIO); }
};

Ref<Dentry> NothingRoot() {
  return Dentry::Make(Ref<Dentry>(), "", MakeRef<NothingInode>(), uint32_t{S_IFDIR});
}

}  // namespace

Vfs::Vfs()
    : anonymous_mount_(MakeRef<Mount>(MakeRef<Superblock>(NothingRoot(), "anon_inodefs", 0),
                                      NothingRoot(), "none", 0)),
      errors_(std::make_unique<PathErrors>()),
      names_(std::make_unique<DentryCache>(*errors_)),
      mounts_(std::make_unique<MountTable>(*errors_)) {}

Vfs::~Vfs() = default;

void Vfs::set_special_openers(FifoOpener fifo, DeviceOpener device) {
  open_fifo_ = std::move(fifo);
  open_device_ = std::move(device);
}

Path Vfs::AnonymousPath(const File& file) {
  const Result<Attributes> attributes = file.inode().GetAttributes();
  const uint32_t mode = attributes.ok() ? attributes->mode : uint32_t{S_IFREG};
  return {anonymous_mount_,
          Dentry::Make(Ref<Dentry>(), file.AnonymousName(), file.inode_ref(), mode)};
}

size_t Vfs::DirectoryLockIndex(const Dentry& directory) const {
  const Inode& inode = directory.inode();
  return (reinterpret_cast<uintptr_t>(&inode) >> 6) % kDirectoryLocks +
         inode.StackDepth() * kDirectoryLocks;
}

absl::Mutex& Vfs::DirectoryLock(const Dentry& directory) const {
  return directory_locks_[DirectoryLockIndex(directory)];
}

Ref<Dentry> Vfs::FindCached(const Dentry& directory, std::string_view name) {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  Dentry* dentry = names_->Find(directory, name);
  if (dentry == nullptr || (!directory.caches_lookups_ && dentry->mounts_ == 0)) return {};
  return Ref<Dentry>::Share(*dentry);
}

Result<Ref<Dentry>> Vfs::Lookup(const Ref<Dentry>& directory, std::string_view name) {
  // Where names change behind the VFS nothing is gained by keeping changes away, and the filesystem
  // may need locks that come before ours.
  if (!directory->caches_lookups_) return LookupLocked(directory, name);
  absl::ReaderMutexLock lock(&DirectoryLock(*directory));
  return LookupLocked(directory, name);
}

Result<Ref<Dentry>> Vfs::LookupLocked(const Ref<Dentry>& directory, std::string_view name) {
  if (Ref<Dentry> cached = FindCached(*directory, name)) return cached;
  Result<Ref<Inode>> found = WithRoom([&] { return directory->inode().Lookup(name); });
  if (!found.ok() && found.error() != Errno(ENOENT)) return found.error();
  return Remember(directory, name, *std::move(found));
}

Result<Ref<Dentry>> Vfs::Remember(const Ref<Dentry>& directory, std::string_view name,
                                  Ref<Inode> inode) {
  uint32_t mode = 0;
  if (inode) mode = TRY(inode->GetAttributes()).mode;
  // Everything that is released is released without the lock.
  Ref<Dentry> dentry = Dentry::Make(directory, name, std::move(inode), mode);
  Ref<Dentry> replaced;
  std::vector<Ref<Dentry>> evicted;
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (directory->deleted_) return dentry;
  if (Dentry* old = names_->Find(*directory, name)) {
    const bool keep = old->inode_ == dentry->inode_ || old->mounts_ != 0 ||
                      (directory->caches_lookups_ && !old->negative());
    if (keep) return Ref<Dentry>::Share(*old);
    old->deleted_ = dentry->negative();
    replaced = names_->Remove(*old);
  }
  if (dentry->negative() && !directory->caches_lookups_) return dentry;
  names_->Insert(*dentry, evicted);
  return dentry;
}

void Vfs::Forget(Dentry& dentry) {
  Ref<Dentry> removed;
  Ref<Dentry> negative, of_handle;
  std::vector<Ref<Dentry>> evicted;
  absl::WriterMutexLock lock(&internal::tree_mu);
  dentry.deleted_ = true;
  of_handle = HandleTable::Get().Forget(dentry);
  if (!dentry.hashed_) return;
  removed = names_->Remove(dentry);
  if (!dentry.parent_->caches_lookups_ || dentry.parent_->deleted_) return;
  // Temporary files come back under their names: remember that this one is free.
  negative = Dentry::Make(dentry.parent_, dentry.name_text(), Ref<Inode>(), 0u);
  names_->Insert(*negative, evicted);
}

void Vfs::Drop(Dentry& dentry) {
  Ref<Dentry> removed, of_handle;
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (dentry.hashed_ && dentry.children_ == 0 && dentry.mounts_ == 0) {
    dentry.deleted_ = true;
    of_handle = HandleTable::Get().Forget(dentry);
    removed = names_->Remove(dentry);
  }
}

void Vfs::MoveNames(Dentry& from, const Ref<Dentry>& new_parent, std::string_view new_name,
                    Dentry* replaced, uint32_t flags) {
  Ref<Dentry> kept[4];
  std::vector<Ref<Dentry>> evicted;
  Ref<Dentry> parent = new_parent;
  absl::WriterMutexLock lock(&internal::tree_mu);
  if (from.hashed_) kept[0] = names_->Remove(from);
  if (Dentry* cached = names_->Find(*new_parent, new_name)) kept[1] = names_->Remove(*cached);
  const std::string name(from.name_text());
  std::swap(from.parent_, parent);
  from.SetName(new_name);
  // `parent` and `name` are now the old ones.
  if ((flags & RENAME_EXCHANGE) != 0) {
    if (replaced->hashed_) kept[2] = names_->Remove(*replaced);
    std::swap(replaced->parent_, parent);
    replaced->SetName(name);
    names_->Insert(*replaced, evicted);
  } else if (replaced != nullptr && !replaced->negative()) {
    replaced->deleted_ = true;
    kept[3] = HandleTable::Get().Forget(*replaced);
  }
  names_->Insert(from, evicted);
}

void Vfs::ShrinkCaches() {
  std::vector<Ref<Dentry>> evicted;
  do {
    evicted.clear();
    absl::WriterMutexLock lock(&internal::tree_mu);
    names_->Shrink(SIZE_MAX, names_->TwiceAround(), evicted);
    names_->Compact();
  } while (!evicted.empty());
}

bool Vfs::ReleaseNames() {
  std::vector<Ref<Dentry>> evicted;  // Released without the lock.
  absl::WriterMutexLock lock(&internal::tree_mu);
  names_->Shrink(names_->size() / 4 + 64, names_->TwiceAround(), evicted);
  return !evicted.empty();
}

size_t Vfs::cached_bytes() const {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  return names_->bytes();
}

size_t Vfs::cached_names() const {
  absl::ReaderMutexLock lock(&internal::tree_mu);
  return names_->size();
}

}  // namespace sentry
