#include "sentry/fs/goferfs/look_ahead.h"

#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "sentry/fs/goferfs/gofer_inode.h"

namespace sentry {

LookAhead::~LookAhead() {
  tree_.client().CloseDirectory(cursor_);
  if (taken_ < inodes_.size()) tree_.habit().DidNotLook();
}

Status LookAhead::ReadDir(GoferDirectoryCursor& cursor, bool nodes, std::deque<DirEntry>& entries) {
  struct Found {
    std::string name;
    gofer::WalkedNode node;
  };
  std::vector<Found> found;
  const auto add = [&](const GoferDirectoryEntry& entry) {
    entries.push_back({.name = std::string(entry.name),
                       .ino = entry.ino,
                       .type = entry.type,
                       .next = static_cast<int64_t>(entry.offset)});
    if (entry.node == gofer::NodeId::kNone) return;
    found.push_back({std::string(entry.name), {entry.node, *entry.attr}});
  };
  using Attributes = GoferClient::Attributes;
  const Status status =
      tree_.client().ReadDir(cursor, nodes ? Attributes::kNodes : Attributes::kNo, add);
  if (nodes && !status.ok() && status.error() == Errno(EINVAL)) tree_.habit().Refused();
  absl::flat_hash_map<std::string, Ref<GoferInode>> inodes;
  for (Found& one : found) inodes.insert_or_assign(std::move(one.name), tree_.Intern(one.node));
  if (inodes.empty()) return status;
  absl::MutexLock lock(&mu_);
  inodes_.swap(inodes);  // What nobody has asked for goes.
  taken_ = 0;
  return status;
}

Ref<GoferInode> LookAhead::Take(std::string_view name) {
  absl::MutexLock lock(&mu_);
  const auto it = inodes_.find(absl::string_view(name.data(), name.size()));
  if (it == inodes_.end()) return {};
  Ref<GoferInode> inode = std::move(it->second);
  inodes_.erase(it);
  ++taken_;
  if (inode->type() != S_IFDIR && missed_++ == 0) tree_.habit().Looked();
  return inode;
}

void LookAhead::Missed(gofer::NodeId directory) {
  {
    absl::MutexLock lock(&mu_);
    if (missed_++ == 0) tree_.habit().Looked();
    if (useless_ || fetching_ || missed_ < kPatience || !tree_.habit().allowed()) return;
    fetching_ = true;
  }
  cursor_.directory = directory;
  std::deque<DirEntry> entries;
  const Status status = ReadDir(cursor_, true, entries);
  absl::MutexLock lock(&mu_);
  fetching_ = false;
  useless_ = !status.ok() || cursor_.at_end;
}

}  // namespace sentry
