#include <dirent.h>

#include <deque>
#include <utility>

#include "sentry/fs/goferfs/gofer_inode.h"

namespace sentry {

namespace {

class GoferDirectoryFile final : public DirectoryFile {
 public:
  GoferDirectoryFile(Ref<GoferDirectory> directory, OpenFlags flags)
      : DirectoryFile(directory, flags), directory_(*directory) {
    cursor_.directory = directory->node();
  }
  ~GoferDirectoryFile() override { directory_.client().CloseDirectory(cursor_); }

  Status ReadDir(const std::function<bool(const DirEntry&)>& add) override {
    absl::MutexLock lock(&position_mu_);
    for (;;) {
      while (!ahead_.empty()) {
        if (!add(ahead_.front())) return kOk;
        position_ = ahead_.front().next;
        ahead_.pop_front();
      }
      if (cursor_.at_end) return kOk;
      const bool notes = directory_.frozen() && noted_.size() < GoferDirectory::kMaxAhead;
      TRY(directory_.client().ReadDir(
          cursor_, GoferClient::Attributes::kNo, [&](const GoferDirectoryEntry& entry) {
            if (notes && entry.name != "." && entry.name != "..") noted_.emplace_back(entry.name);
            ahead_.push_back({.name = std::string(entry.name),
                              .ino = entry.ino,
                              .type = entry.type,
                              .next = static_cast<int64_t>(entry.offset)});
          }));
      if (cursor_.at_end && !noted_.empty()) directory_.SetAhead(std::exchange(noted_, {}));
    }
  }

 protected:
  void OnSeekLocked(int64_t position) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) {
    noted_.clear();
    ahead_.clear();
    cursor_.offset = static_cast<uint64_t>(position);
    cursor_.at_end = false;
  }

 private:
  GoferDirectory& directory_;       // Held as inode().
  GoferDirectoryCursor cursor_;     // Guarded by position_mu_.
  std::deque<DirEntry> ahead_;      // Likewise: a batch, as far as it is not handed out.
  std::vector<std::string> noted_;  // Likewise: for the lookups that follow.
};

// Owners that the host does not let us set are left to it: in a rootless sandbox there is one only.
template <typename Make>
auto WithOwner(const NewNode& node, Make make) -> decltype(make(GoferNewFile{})) {
  auto made = make(GoferNewFile{.mode = node.mode, .uid = node.uid, .gid = node.gid});
  if (made.ok() || (made.error() != Errno(EPERM) && made.error() != Errno(EINVAL))) return made;
  return make(GoferNewFile{.mode = node.mode});
}

}  // namespace

Result<Ref<File>> GoferDirectory::Open(OpenFlags flags) {
  return MakeRef<GoferDirectoryFile>(Ref<GoferDirectory>::Share(*this), flags);
}

Result<Ref<Inode>> GoferDirectory::Lookup(std::string_view name) {
  const gofer::WalkedNode known = TakeAhead(name);
  if (known.id != gofer::NodeId::kNone) return tree().Intern(known);
  return tree().Intern(TRY(client().Lookup(node(), name)));
}

bool GoferDirectory::frozen() const { return tree().frozen(); }

void GoferDirectory::SetAhead(std::vector<std::string> names) {
  ForgetAhead();
  const auto count = static_cast<int64_t>(names.size());
  if (tree().names_ahead().fetch_add(count) + count > kMaxAheadOfTree) {
    tree().names_ahead().fetch_sub(count);
    return;
  }
  absl::MutexLock lock(&ahead_mu_);
  if (ahead_ != nullptr) {  // Another listing came to its end at the same time.
    tree().names_ahead().fetch_sub(count);
    return;
  }
  ahead_ = std::make_unique<Ahead>();
  ahead_->names = std::move(names);
}

void GoferDirectory::ForgetAhead() {
  std::unique_ptr<Ahead> ahead;
  {
    absl::MutexLock lock(&ahead_mu_);
    ahead = std::move(ahead_);
  }
  if (ahead == nullptr) return;
  tree().names_ahead().fetch_sub(static_cast<int64_t>(ahead->names.size()));
  tree().nodes_ahead().fetch_sub(static_cast<int64_t>(ahead->nodes.size()));
  for (const auto& [name, node] : ahead->nodes) client().Forget(node.id);
}

gofer::WalkedNode GoferDirectory::TakeAhead(std::string_view name) {
  if (!frozen()) return {};
  absl::MutexLock lock(&ahead_mu_);
  if (ahead_ == nullptr) return {};
  auto found = ahead_->nodes.find(std::string(name));
  if (found == ahead_->nodes.end()) {
    if (!MayWalkAheadLocked()) return {};
    WalkAheadLocked(name);
    found = ahead_->nodes.find(std::string(name));
    if (found == ahead_->nodes.end()) return {};
  }
  const gofer::WalkedNode node = found->second;
  ahead_->nodes.erase(found);
  tree().nodes_ahead().fetch_sub(1);
  return node;
}

bool GoferDirectory::MayWalkAheadLocked() {
  // A single lookup is no reason yet.
  return ++ahead_->lookups > 1 && ahead_->next < ahead_->names.size() &&
         ahead_->nodes.size() <= kMaxNodesAhead &&
         tree().nodes_ahead().load(std::memory_order_relaxed) <= kMaxNodesAheadOfTree;
}

void GoferDirectory::WalkAheadLocked(std::string_view name) {
  Ahead& ahead = *ahead_;
  std::vector<std::string_view> names = {name};
  if (ahead.names[ahead.next] == name) {
    ++ahead.next;
  } else {
    ahead.walked.emplace(name);
  }
  while (names.size() < gofer::kMaxWalk && ahead.next < ahead.names.size()) {
    const std::string& next = ahead.names[ahead.next++];
    if (next != name && ahead.walked.erase(next) == 0) names.push_back(next);
  }
  const Result<std::vector<gofer::WalkedNode>> nodes = client().WalkSiblings(node(), names);
  if (!nodes.ok()) return;
  for (size_t i = 0; i < nodes->size(); ++i) {
    const gofer::WalkedNode& node = (*nodes)[i];
    if (node.id == gofer::NodeId::kNone) continue;
    if (ahead.nodes.try_emplace(std::string(names[i]), node).second) {
      tree().nodes_ahead().fetch_add(1);
    } else {
      client().Forget(node.id);
    }
  }
}

Result<Ref<Inode>> GoferDirectory::Create(std::string_view name, const NewNode& node) {
  if (!S_ISREG(node.mode) && !S_ISFIFO(node.mode)) return Errno(EPERM);
  InvalidateAttributes();
  if (S_ISFIFO(node.mode)) {
    return tree().Intern(TRY(WithOwner(
        node, [&](const GoferNewFile& file) { return client().Mknod(this->node(), name, file); })));
  }
  GoferCreatedFile created = TRY(WithOwner(node, [&](GoferNewFile file) {
    file.mode &= 07777;
    return client().CreateFile(this->node(), name, O_RDWR, file);
  }));
  Ref<GoferInode> inode = tree().Intern(created.node);
  if (inode->type() == S_IFREG) {
    static_cast<GoferRegular&>(*inode).KeepCreated(std::move(created.fd));
  }
  return inode;
}

Result<Ref<Inode>> GoferDirectory::Mkdir(std::string_view name, const NewNode& node) {
  InvalidateAttributes();
  return tree().Intern(TRY(WithOwner(node, [&](GoferNewFile file) {
    file.mode &= 07777;
    return client().Mkdir(this->node(), name, file);
  })));
}

Result<Ref<Inode>> GoferDirectory::Symlink(std::string_view name, std::string_view target,
                                           const NewNode& node) {
  InvalidateAttributes();
  return tree().Intern(TRY(WithOwner(node, [&](const GoferNewFile& file) {
    return client().Symlink(this->node(), name, target, file);
  })));
}

Status GoferDirectory::Link(std::string_view name, Inode& target) {
  auto& inode = static_cast<GoferInode&>(target);
  inode.Update(TRY(client().Link(inode.node(), node(), name)));
  InvalidateAttributes();
  return kOk;
}

Status GoferDirectory::Unlink(std::string_view name) {
  InvalidateAttributes();
  return client().Unlink(node(), name, GoferClient::UnlinkKind::kFile);
}

Status GoferDirectory::Rmdir(std::string_view name) {
  InvalidateAttributes();
  return client().Unlink(node(), name, GoferClient::UnlinkKind::kDirectory);
}

Status GoferDirectory::Rename(std::string_view name, Inode& new_parent, std::string_view new_name,
                              uint32_t flags) {
  auto& to = static_cast<GoferDirectory&>(new_parent);
  TRY(client().Rename(node(), name, to.node(), new_name, flags));
  InvalidateAttributes();
  to.InvalidateAttributes();
  return kOk;
}

}  // namespace sentry
