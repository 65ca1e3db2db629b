#include "syscalls/file_locks.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "sentry/task/kernel.h"
#include "sentry/task/waiter.h"

namespace syscalls {
namespace {

using sentry::File;
using sentry::Inode;
using sentry::ThreadGroup;

constexpr size_t kMaxLocksPerInode = 4096;

bool Overlaps(const FileLock& a, uint64_t start, uint64_t end) {
  return a.start < end && start < a.end;
}

const FileLock* Conflicting(const std::vector<FileLock>& locks, const FileLock& lock) {
  for (const FileLock& other : locks) {
    if (!(other.owner == lock.owner) && (other.exclusive || lock.exclusive) &&
        Overlaps(other, lock.start, lock.end)) {
      return &other;
    }
  }
  return nullptr;
}

}  // namespace

// A file only because that is what hears of a last close.
class FileLocks::CloseWatcher final : public File {
 public:
  explicit CloseWatcher(FileLocks& locks) : File(nullptr, OpenFlags()), locks_(locks) {}
  void OnWatchedClose(File& file) override {
    locks_.DropOwner({.description = Ref<File>::Share(file)});
  }

 private:
  using OpenFlags = sentry::OpenFlags;
  FileLocks& locks_;
};

void FileLocks::ProcessWatch::OnReady(uint32_t events) {
  locks->process_ended_.store(true, std::memory_order_release);
  locks->changed_.Notify(POLLIN);
}

FileLocks::FileLocks() : close_watcher_(MakeRef<CloseWatcher>(*this)) {}

FileLocks& FileLocks::Records() {
  static FileLocks& locks = *new FileLocks;  // Never destroyed: files may be closed at exit.
  return locks;
}

FileLocks& FileLocks::Whole() {
  static FileLocks& locks = *new FileLocks;
  return locks;
}

std::optional<FileLock> FileLocks::FindConflict(Inode& inode, const FileLock& lock) {
  DropDeadProcesses();
  absl::MutexLock hold(&mu_);
  const auto it = table_.find(&inode);
  if (it == table_.end()) return std::nullopt;
  const FileLock* other = Conflicting(it->second.locks, lock);
  if (other == nullptr) return std::nullopt;
  return *other;
}

Status FileLocks::TryLock(Inode& inode, const FileLock& lock) {
  DropDeadProcesses();
  WatchOwner(lock.owner);
  std::vector<FileLock> dropped;
  {
    absl::MutexLock hold(&mu_);
    const auto it = table_.find(&inode);
    if (it != table_.end()) {
      if (Conflicting(it->second.locks, lock) != nullptr) return Errno(EAGAIN);
      // Subtract may split one lock in two, and one more is added.
      if (it->second.locks.size() + 2 > kMaxLocksPerInode) return Errno(ENOLCK);
    }
    InodeLocks& entry = table_[&inode];
    if (!entry.inode) entry.inode = Ref<Inode>::Share(inode);
    Subtract(entry.locks, lock.owner, lock.start, lock.end, dropped);
    entry.locks.push_back(lock);
    inodes_.store(table_.size(), std::memory_order_relaxed);
  }
  // A conversion to shared may let others in.
  if (!dropped.empty()) changed_.Notify(POLLIN);
  return kOk;
}

Status FileLocks::Lock(sentry::Task& task, Inode& inode, const FileLock& lock) {
  Status result = TryLock(inode, lock);
  if (result.ok() || result.error() != Errno(EAGAIN)) return result;
  sentry::Waiter waiter(task);
  waiter.Watch(&changed_, POLLIN);
  for (;;) {
    result = TryLock(inode, lock);
    if (result.ok() || result.error() != Errno(EAGAIN)) return result;
    TRY(waiter.Sleep());
  }
}

void FileLocks::Unlock(Inode& inode, const LockOwner& owner, uint64_t start, uint64_t end) {
  std::vector<FileLock> dropped;
  Ref<Inode> unused;
  {
    absl::MutexLock hold(&mu_);
    const auto it = table_.find(&inode);
    if (it == table_.end()) return;
    Subtract(it->second.locks, owner, start, end, dropped);
    if (it->second.locks.empty()) {
      unused = std::move(it->second.inode);
      table_.erase(it);
    }
    inodes_.store(table_.size(), std::memory_order_relaxed);
  }
  if (!dropped.empty()) changed_.Notify(POLLIN);
}

void FileLocks::WatchOwner(const LockOwner& owner) {
  {
    absl::MutexLock hold(&mu_);
    if (owner.description) {
      if (!descriptions_.emplace(owner.description.get(), owner.description).second) return;
    } else {
      auto& watch = processes_[owner.process.get()];
      if (watch != nullptr) return;
      watch = std::make_unique<ProcessWatch>();
      watch->process = owner.process;
      watch->locks = this;
      owner.process->exit_events.Add(*watch, POLLIN);
      return;
    }
  }
  owner.description->WatchClose(*close_watcher_);
}

void FileLocks::DropOwner(const LockOwner& owner) {
  std::vector<FileLock> dropped;
  std::vector<Ref<Inode>> unused;
  Ref<File> description;
  {
    absl::MutexLock hold(&mu_);
    for (auto it = table_.begin(); it != table_.end();) {
      Subtract(it->second.locks, owner, 0, UINT64_MAX, dropped);
      const auto here = it++;
      if (!here->second.locks.empty()) continue;
      unused.push_back(std::move(here->second.inode));
      table_.erase(here);
    }
    inodes_.store(table_.size(), std::memory_order_relaxed);
    if (const auto it = descriptions_.find(owner.description.get()); it != descriptions_.end()) {
      description = std::move(it->second);
      descriptions_.erase(it);
    }
  }
  if (description) description->UnwatchClose(*close_watcher_);
  changed_.Notify(POLLIN);
}

void FileLocks::DropDeadProcesses() {
  if (!process_ended_.exchange(false, std::memory_order_acq_rel)) return;
  std::vector<Ref<ThreadGroup>> known;
  {
    absl::MutexLock hold(&mu_);
    for (const auto& [process, watch] : processes_) known.push_back(watch->process);
  }
  for (const Ref<ThreadGroup>& process : known) {
    {
      absl::MutexLock tree(&process->kernel.mu());
      if (!process->zombie && !process->exiting) continue;
    }
    std::unique_ptr<ProcessWatch> watch;
    {
      absl::MutexLock hold(&mu_);
      const auto it = processes_.find(process.get());
      if (it == processes_.end()) continue;
      watch = std::move(it->second);
      processes_.erase(it);
    }
    process->exit_events.Remove(*watch);
    DropOwner({.process = process});
  }
}

void FileLocks::Subtract(std::vector<FileLock>& locks, const LockOwner& owner, uint64_t start,
                         uint64_t end, std::vector<FileLock>& dropped) {
  std::vector<FileLock> kept;
  kept.reserve(locks.size() + 1);
  for (FileLock& lock : locks) {
    if (!(lock.owner == owner) || !Overlaps(lock, start, end)) {
      kept.push_back(std::move(lock));
      continue;
    }
    if (lock.start < start) {
      kept.push_back(lock);
      kept.back().end = start;
    }
    if (lock.end > end) {
      kept.push_back(lock);
      kept.back().start = end;
    }
    dropped.push_back(std::move(lock));
  }
  locks = std::move(kept);
}

}  // namespace syscalls
