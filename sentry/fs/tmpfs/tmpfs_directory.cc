#include <dirent.h>
#include <unistd.h>

#include <utility>

#include "sentry/fs/tmpfs/tmpfs_inode.h"

namespace sentry {

namespace {

constexpr uint64_t kEntrySize = 20;  // What tmpfs of Linux counts for a name.
constexpr size_t kListBatch = 128;

class TmpfsDirectoryFile final : public DirectoryFile {
 public:
  TmpfsDirectoryFile(Ref<TmpfsDirectory> directory, OpenFlags flags)
      : DirectoryFile(directory, flags), directory_(*directory) {}

  Status ReadDir(const std::function<bool(const DirEntry&)>& add) override {
    absl::MutexLock lock(&position_mu_);
    directory_.TouchAccessed(access_time());
    for (;;) {
      const std::vector<DirEntry> batch = directory_.List(position_, kListBatch);
      if (batch.empty()) return kOk;
      for (const DirEntry& entry : batch) {
        if (!add(entry)) return kOk;
        position_ = entry.next;
      }
    }
  }

 private:
  TmpfsDirectory& directory_;  // Held as inode().
};

}  // namespace

TmpfsDirectory::TmpfsDirectory(Ref<Tmpfs> fs, const NewNode& node)
    : TmpfsInode(std::move(fs), node), parent_ino_(ino()) {
  ChangeLinks(1);  // Its own ".".
}

TmpfsDirectory::~TmpfsDirectory() {
  std::vector<Ref<Inode>> children;
  TakeChildren(children);
  ReleaseTrees(std::move(children));
}

void TmpfsDirectory::TakeChildren(std::vector<Ref<Inode>>& children) {
  absl::MutexLock lock(&entries_mu_);
  entries_.TakeAll(children);
}

uint64_t TmpfsDirectory::Size() {
  absl::MutexLock lock(&entries_mu_);
  return (entries_.size() + 2) * kEntrySize;
}

bool TmpfsDirectory::CloseIfEmpty() {
  absl::MutexLock lock(&entries_mu_);
  if (!entries_.empty()) return false;
  closed_ = true;
  return true;
}

Result<Ref<File>> TmpfsDirectory::Open(OpenFlags flags) {
  return MakeRef<TmpfsDirectoryFile>(Ref<TmpfsDirectory>::Share(*this), flags);
}

Result<Ref<Inode>> TmpfsDirectory::Lookup(std::string_view name) {
  absl::MutexLock lock(&entries_mu_);
  const DirectoryEntries::Entry* entry = entries_.Find(name);
  if (entry == nullptr) return Errno(ENOENT);
  return entry->inode;
}

Result<Ref<TmpfsInode>> TmpfsDirectory::NewInode(const NewNode& node, std::string_view target) {
  TRY(fs().TakeInode());
  const Ref<Tmpfs> fs = Ref<Tmpfs>::Share(this->fs());
  switch (node.mode & S_IFMT) {
    case S_IFREG:
      return Ref<TmpfsInode>(MakeRef<TmpfsRegular>(fs, node));
    case S_IFDIR:
      return Ref<TmpfsInode>(MakeRef<TmpfsDirectory>(fs, node));
    case S_IFLNK:
      return Ref<TmpfsInode>(MakeRef<TmpfsSymlink>(fs, node, target));
    default:
      return MakeRef<TmpfsInode>(fs, node);
  }
}

Status TmpfsDirectory::Add(std::string_view name, Ref<TmpfsInode> inode) {
  const bool directory = inode->type() == S_IFDIR;
  if (directory) static_cast<TmpfsDirectory&>(*inode).parent_ino_ = ino();
  {
    absl::MutexLock lock(&entries_mu_);
    if (closed_) return Errno(ENOENT);
    if (entries_.Find(name) != nullptr) return Errno(EEXIST);
    inode->ChangeLinks(1);
    const uint64_t number = inode->ino();
    const uint8_t type = static_cast<uint8_t>(inode->type() >> 12);
    entries_.Insert(
        {.name = std::string(name), .inode = std::move(inode), .type = type, .ino = number});
  }
  if (directory) ChangeLinks(1);  // Its "..".
  TouchModified();
  return kOk;
}

Result<Ref<Inode>> TmpfsDirectory::Create(std::string_view name, const NewNode& node) {
  Ref<TmpfsInode> inode = TRY(NewInode(node, {}));
  TRY(Add(name, inode));
  return inode;
}

Result<Ref<Inode>> TmpfsDirectory::Mkdir(std::string_view name, const NewNode& node) {
  return Create(name, node);
}

Result<Ref<Inode>> TmpfsDirectory::Symlink(std::string_view name, std::string_view target,
                                           const NewNode& node) {
  Ref<TmpfsInode> inode = TRY(NewInode(node, target));
  TRY(Add(name, inode));
  return inode;
}

Result<Ref<Inode>> TmpfsDirectory::CreateUnnamed(const NewNode& node, std::string_view target) {
  return TRY(NewInode(node, target));
}

Status TmpfsDirectory::Link(std::string_view name, Inode& target) {
  return Add(name, Ref<TmpfsInode>::Share(static_cast<TmpfsInode&>(target)));
}

TmpfsInode* TmpfsDirectory::FindLocked(std::string_view name) {
  DirectoryEntries::Entry* entry = entries_.Find(name);
  return entry == nullptr ? nullptr : static_cast<TmpfsInode*>(entry->inode.get());
}

Status TmpfsDirectory::Unlink(std::string_view name) {
  Ref<Inode> removed;
  {
    absl::MutexLock lock(&entries_mu_);
    if (FindLocked(name) == nullptr) return Errno(ENOENT);
    removed = entries_.Erase(name);
  }
  static_cast<TmpfsInode&>(*removed).ChangeLinks(-1);
  TouchModified();
  return kOk;
}

Status TmpfsDirectory::Rmdir(std::string_view name) {
  Ref<Inode> removed;
  {
    absl::MutexLock lock(&entries_mu_);
    TmpfsInode* victim = FindLocked(name);
    if (victim == nullptr) return Errno(ENOENT);
    if (victim->type() != S_IFDIR) return Errno(ENOTDIR);
    if (!static_cast<TmpfsDirectory*>(victim)->CloseIfEmpty()) return Errno(ENOTEMPTY);
    removed = entries_.Erase(name);
  }
  static_cast<TmpfsInode&>(*removed).ChangeLinks(-2);
  ChangeLinks(-1);
  TouchModified();
  return kOk;
}

Status TmpfsDirectory::Rename(std::string_view name, Inode& new_parent, std::string_view new_name,
                              uint32_t flags) {
  auto& to = static_cast<TmpfsDirectory&>(new_parent);
  const auto is_directory = [](const Ref<Inode>& inode) {
    return inode && static_cast<TmpfsInode&>(*inode).type() == S_IFDIR;
  };
  // The VFS lets nobody else change names in the two directories meanwhile.
  const Ref<Inode> source = TRY(Lookup(name));
  const Result<Ref<Inode>> found = to.Lookup(new_name);
  const Ref<Inode> target = found.ok() ? *found : Ref<Inode>();
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if (exchange && !target) return Errno(ENOENT);
  if (!exchange && is_directory(target)) {
    TRY(to.Rmdir(new_name));
  } else if (!exchange && target) {
    TRY(to.Unlink(new_name));
  }
  const auto take = [](TmpfsDirectory& from, std::string_view what) {
    absl::MutexLock lock(&from.entries_mu_);
    return from.entries_.Erase(what);
  };
  const auto move = [&](TmpfsDirectory& from, TmpfsDirectory& into, const Ref<Inode>& inode,
                        std::string_view as) -> Status {
    static_cast<TmpfsInode&>(*inode).ChangeLinks(-1);
    if (is_directory(inode)) from.ChangeLinks(-1);
    from.TouchModified();
    return into.Add(as, Ref<TmpfsInode>::Share(static_cast<TmpfsInode&>(*inode)));
  };
  take(*this, name);
  if (exchange) {
    take(to, new_name);
    TRY(move(to, *this, target, name));
  }
  return move(*this, to, source, new_name);
}

// The VFS keeps both directories locked: nobody looks a name up in between.
Status TmpfsDirectory::RenameLeaving(std::string_view name, Inode& new_parent,
                                     std::string_view new_name, const NewNode& whiteout) {
  Ref<TmpfsInode> left = TRY(NewInode(whiteout, {}));
  TRY(Rename(name, new_parent, new_name, 0));
  return Add(name, std::move(left));
}

std::vector<DirEntry> TmpfsDirectory::List(int64_t position, size_t count) {
  std::vector<DirEntry> list;
  if (position == 0) list.push_back({.name = ".", .ino = ino(), .type = DT_DIR, .next = 1});
  if (position <= 1) list.push_back({.name = "..", .ino = parent_ino_, .type = DT_DIR, .next = 2});
  absl::MutexLock lock(&entries_mu_);
  const DirectoryEntries::Map& entries = entries_.by_cookie();
  for (auto it = entries.lower_bound(position); it != entries.end() && list.size() < count; ++it) {
    list.push_back({.name = it->second.name,
                    .ino = it->second.ino,
                    .type = it->second.type,
                    .next = it->first + 1});
  }
  return list;
}

}  // namespace sentry
