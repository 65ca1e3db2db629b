#include "sentry/fs/handles.h"

#include <algorithm>
#include <utility>

namespace sentry {

HandleTable& HandleTable::Get() {
  static HandleTable& table = *new HandleTable;  // Never destroyed: file systems may outlive main.
  return table;
}

HandleTable::Entry* HandleTable::FindLocked(const Superblock& filesystem, uint64_t ino) {
  const auto it = std::ranges::find_if(entries_, [&](const Entry& entry) {
    return entry.filesystem == &filesystem && entry.ino == ino;
  });
  if (it == entries_.end()) return nullptr;
  it->used = ++uses_;
  return &*it;
}

void HandleTable::Add(const Superblock& filesystem, uint64_t ino, Ref<Dentry> dentry) {
  Ref<Dentry> replaced;  // Released without the lock.
  {
    absl::MutexLock lock(&mu_);
    Entry* entry = FindLocked(filesystem, ino);
    if (entry == nullptr && entries_.size() == kMost) {
      entry = &*std::ranges::min_element(entries_, {}, &Entry::used);
    }
    if (entry == nullptr) entry = &entries_.emplace_back();
    replaced = std::exchange(entry->dentry, dentry);
    entry->filesystem = &filesystem;
    entry->ino = ino;
    entry->used = ++uses_;
    count_.store(entries_.size(), std::memory_order_release);
  }
  // It may have been removed before anybody could tell us.
  if (dentry->unhashed()) (void)Take(*dentry);
}

Result<Ref<Dentry>> HandleTable::Find(const Superblock& filesystem, uint64_t ino) {
  absl::MutexLock lock(&mu_);
  const Entry* const entry = FindLocked(filesystem, ino);
  if (entry == nullptr) return Errno(ESTALE);
  return entry->dentry;
}

Ref<Dentry> HandleTable::Take(const Dentry& dentry) {
  absl::MutexLock lock(&mu_);
  const auto it = std::ranges::find_if(
      entries_, [&](const Entry& entry) { return entry.dentry.get() == &dentry; });
  if (it == entries_.end()) return {};
  Ref<Dentry> taken = std::move(it->dentry);
  if (it + 1 != entries_.end()) *it = std::move(entries_.back());
  entries_.pop_back();
  count_.store(entries_.size(), std::memory_order_release);
  return taken;
}

void HandleTable::Unmounted(const Superblock& filesystem) {
  if (count_.load(std::memory_order_acquire) == 0) return;
  std::vector<Entry> taken;
  absl::MutexLock lock(&mu_);
  const auto rest = std::ranges::partition(
      entries_, [&](const Entry& entry) { return entry.filesystem != &filesystem; });
  std::ranges::move(rest, std::back_inserter(taken));
  entries_.erase(rest.begin(), rest.end());
  count_.store(entries_.size(), std::memory_order_release);
}

}  // namespace sentry
