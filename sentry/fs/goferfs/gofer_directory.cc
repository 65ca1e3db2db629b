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
      TRY(ReadMore());
    }
  }
  Status Sync() override { return directory_.client().Sync(directory_.node()); }

 protected:
  void OnSeekLocked(int64_t position) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) {
    ahead_.clear();
    cursor_.offset = static_cast<uint64_t>(position);
    cursor_.at_end = false;
  }

 private:
  // Fills `ahead_`.
  Status ReadMore() {
    GoferTree& tree = directory_.tree();
    const bool first = cursor_.offset == 0 && !tree.shared();
    auto look_ahead = std::make_shared<LookAhead>(tree);
    const bool nodes = first && tree.habit().looks();
    Status status = look_ahead->ReadDir(cursor_, nodes, ahead_);
    // Only where names stay what they are.
    if (!status.ok() && nodes) status = look_ahead->ReadDir(cursor_, false, ahead_);
    if (first) tree.look_aheads().Insert(&directory_, std::move(look_ahead), 1);
    return status;
  }

  GoferDirectory& directory_;    // Held as inode().
  GoferDirectoryCursor cursor_;  // Guarded by position_mu_.
  std::deque<DirEntry> ahead_;   // Likewise: a batch, as far as it is not handed out.
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
  if (tree().shared()) return tree().Intern(TRY(client().Lookup(node(), name)));
  const std::shared_ptr<LookAhead> ahead = tree().look_aheads().Find(this);
  if (ahead != nullptr) {
    if (Ref<GoferInode> inode = ahead->Take(name)) return inode;
  }
  Ref<GoferInode> inode = tree().Intern(TRY(client().Lookup(node(), name, GoferClient::By::kName)));
  // Directories are looked up by who walks a tree without looking at files.
  if (ahead != nullptr && inode->type() != S_IFDIR) ahead->Missed(node());
  return inode;
}

Result<Ref<Inode>> GoferDirectory::Create(std::string_view name, const NewNode& node) {
  const bool binds =
      S_ISSOCK(node.mode) && node.socket_type != 0 && tree().options().bind_sockets;
  const bool named = S_ISFIFO(node.mode) || (S_ISSOCK(node.mode) && tree().holds_sockets());
  if (!S_ISREG(node.mode) && !named && !binds) return Errno(EPERM);
  InvalidateAttributes();
  if (binds) return BindSocket(name, node);
  if (named) {
    return tree().Intern(TRY(WithOwner(
        node, [&](const GoferNewFile& file) { return client().Mknod(this->node(), name, file); })));
  }
  GoferCreatedFile created = TRY(WithOwner(node, [&](GoferNewFile file) {
    file.mode &= 07777;
    return client().CreateFile(this->node(), name, O_RDWR, file);
  }));
  Ref<GoferInode> inode = tree().Intern(created.node);
  if (inode->type() == S_IFREG) {
    tree().KeepCreated(*inode, std::move(created.fd));
  }
  return inode;
}

Result<Ref<Inode>> GoferDirectory::BindSocket(std::string_view name, const NewNode& node) {
  GoferCreatedFile created = TRY(WithOwner(node, [&](GoferNewFile file) {
    file.mode &= 07777;
    return client().Bind(this->node(), name, static_cast<uint32_t>(node.socket_type), file);
  }));
  Ref<GoferInode> inode = tree().Intern(created.node);
  tree().KeepCreated(*inode, std::move(created.fd));
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
