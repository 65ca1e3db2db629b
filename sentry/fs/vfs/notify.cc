#include "sentry/fs/notify.h"

#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <utility>

#include "sentry/fs/dentry.h"
#include "sentry/fs/file.h"

namespace sentry::notify {

namespace {

constexpr uint32_t kTold = IN_ALL_EVENTS | IN_UNMOUNT;

}  // namespace

Table& Table::Get() {
  static Table& table = *new Table;  // Never destroyed: files may be closed at exit.
  return table;
}

Result<int> Table::Add(Watcher& watcher, const Path& place, uint64_t dev, uint32_t mask,
                       uint32_t uid, int& next_wd) {
  Inode& inode = place.dentry->inode();
  const uint32_t kept = mask & (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT);
  absl::MutexLock lock(&mu_);
  std::vector<MarkPtr>& marks = marks_[&inode];
  for (const MarkPtr& mark : marks) {
    if (mark->watcher != &watcher) continue;
    if ((mask & IN_MASK_CREATE) != 0) return Errno(EEXIST);
    mark->mask = (mask & IN_MASK_ADD) != 0 ? mark->mask | kept : kept;
    return mark->wd;
  }
  size_t& used = of_user_[uid];
  if (used >= kMaxMarksOfUser || next_wd == INT32_MAX) {
    if (marks.empty()) marks_.erase(&inode);
    return Errno(ENOSPC);
  }
  ++used;
  auto mark = std::make_unique<Mark>();
  mark->watcher = &watcher;
  mark->inode = Ref<Inode>::Share(inode);
  mark->filesystem = &place.mount->superblock();
  mark->dev = dev;
  mark->wd = next_wd++;
  mark->uid = uid;
  mark->mask = kept;
  const int wd = mark->wd;
  of_watcher_[&watcher].emplace(wd, &inode);
  marks.push_back(std::move(mark));
  mark_count.fetch_add(1, std::memory_order_relaxed);
  return wd;
}

void Table::ForgetLocked(const Mark& mark) {
  mark_count.fetch_sub(1, std::memory_order_relaxed);
  const auto used = of_user_.find(mark.uid);
  if (--used->second == 0) of_user_.erase(used);
  const auto watched = of_watcher_.find(mark.watcher);
  watched->second.erase(mark.wd);
  if (watched->second.empty()) of_watcher_.erase(watched);
}

Table::MarkPtr Table::TakeLocked(const Inode& inode, const Watcher& watcher) {
  const auto here = marks_.find(&inode);
  std::vector<MarkPtr>& marks = here->second;
  const auto found = std::find_if(marks.begin(), marks.end(),
                                  [&](const MarkPtr& mark) { return mark->watcher == &watcher; });
  MarkPtr mark = std::move(*found);
  marks.erase(found);
  if (marks.empty()) marks_.erase(here);
  return mark;
}

Status Table::Remove(Watcher& watcher, int wd) {
  MarkPtr removed;
  absl::MutexLock lock(&mu_);
  const auto watched = of_watcher_.find(&watcher);
  if (watched == of_watcher_.end()) return Errno(EINVAL);
  const auto found = watched->second.find(wd);
  if (found == watched->second.end()) return Errno(EINVAL);
  removed = TakeLocked(*found->second, watcher);
  ForgetLocked(*removed);
  watcher.OnEvent(wd, IN_IGNORED, 0, {});
  return kOk;
}

void Table::RemoveAll(Watcher& watcher) {
  std::vector<MarkPtr> removed;
  absl::MutexLock lock(&mu_);
  for (auto it = of_watcher_.find(&watcher); it != of_watcher_.end();
       it = of_watcher_.find(&watcher)) {
    removed.push_back(TakeLocked(*it->second.begin()->second, watcher));
    ForgetLocked(*removed.back());
  }
}

std::vector<Mark> Table::MarksOf(const Watcher& watcher) {
  std::vector<Mark> found;
  absl::MutexLock lock(&mu_);
  const auto watched = of_watcher_.find(&watcher);
  if (watched == of_watcher_.end()) return found;
  for (const auto& [wd, inode] : watched->second) {
    for (const MarkPtr& mark : marks_.find(inode)->second) {
      if (mark->watcher == &watcher) found.push_back(*mark);
    }
  }
  return found;
}

void Table::Deliver(Inode& inode, uint32_t mask, uint32_t cookie, std::string_view name,
                    bool unlinked) {
  std::vector<MarkPtr> spent;
  absl::MutexLock lock(&mu_);
  const auto it = marks_.find(&inode);
  if (it == marks_.end()) return;
  for (MarkPtr& mark : it->second) {
    if ((mark->mask & mask & kTold) == 0) continue;
    if (unlinked && (mark->mask & IN_EXCL_UNLINK) != 0) continue;
    mark->watcher->OnEvent(mark->wd, mask, cookie, name);
    if ((mark->mask & IN_ONESHOT) == 0) continue;
    mark->watcher->OnEvent(mark->wd, IN_IGNORED, 0, {});
    ForgetLocked(*mark);
    spent.push_back(std::move(mark));
  }
  std::erase(it->second, nullptr);
  if (it->second.empty()) marks_.erase(it);
}

void Table::DeliverLast(Inode& inode, uint32_t mask) {
  std::vector<MarkPtr> ended;
  absl::MutexLock lock(&mu_);
  const auto it = marks_.find(&inode);
  if (it == marks_.end()) return;
  ended = std::move(it->second);
  marks_.erase(it);
  for (const MarkPtr& mark : ended) {
    ForgetLocked(*mark);
    if ((mark->mask & mask) != 0) mark->watcher->OnEvent(mark->wd, mask, 0, {});
    mark->watcher->OnEvent(mark->wd, IN_IGNORED, 0, {});
  }
}

void Table::Unmounted(const Superblock& filesystem) {
  std::vector<MarkPtr> ended;
  absl::MutexLock lock(&mu_);
  for (auto it = marks_.begin(); it != marks_.end();) {
    const auto here = it++;
    for (MarkPtr& mark : here->second) {
      if (mark->filesystem != &filesystem) continue;
      ForgetLocked(*mark);
      mark->watcher->OnEvent(mark->wd, IN_UNMOUNT, 0, {});
      mark->watcher->OnEvent(mark->wd, IN_IGNORED, 0, {});
      ended.push_back(std::move(mark));
    }
    std::erase(here->second, nullptr);
    if (here->second.empty()) marks_.erase(here);
  }
}

void TellInode(Inode& inode, uint32_t mask) {
  Table::Get().Deliver(inode, mask, 0, {}, /*unlinked=*/false);
}

void TellEntry(Inode& directory, std::string_view name, uint32_t mask, uint32_t cookie) {
  Table::Get().Deliver(directory, mask, cookie, name, /*unlinked=*/false);
}

void TellDentry(const Dentry& dentry, uint32_t mask) {
  if (dentry.is_directory()) mask |= IN_ISDIR;
  const Ref<Dentry> parent = dentry.parent();
  const bool unlinked = dentry.unhashed();
  if (parent.get() != &dentry) {
    Table::Get().Deliver(parent->inode(), mask, 0, dentry.name(), unlinked);
  }
  Table::Get().Deliver(dentry.inode(), mask, 0, {}, unlinked);
}

void TellFile(const File& file, uint32_t mask) {
  if (file.flags().has(O_PATH) || !file.path().dentry) return;
  TellDentry(*file.path().dentry, mask);
}

void TellReleased(const Dentry& dentry, uint64_t holders) {
  if (dentry.negative() || dentry.ref_count() > holders || !dentry.unhashed()) return;
  const Result<Attributes> attributes = dentry.inode().GetAttributes();
  if (attributes.ok() && attributes->nlink == 0) {
    Table::Get().DeliverLast(dentry.inode(), IN_DELETE_SELF);
  }
}

uint32_t NextCookie() {
  static std::atomic<uint32_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace sentry::notify
