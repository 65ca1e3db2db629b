#include "sentry/task/file_locks.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/task/kernel.h"
#include "sentry/task/waiter.h"

namespace sentry {
namespace {

std::atomic<bool> by_numbers{false};

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

// Neighbours of the same kind become one, as readers of F_GETLK see.
void AddMerged(std::vector<FileLock>& locks, FileLock lock) {
  std::erase_if(locks, [&lock](const FileLock& other) {
    if (!(other.owner == lock.owner) || other.exclusive != lock.exclusive) return false;
    if (other.end != lock.start && other.start != lock.end) return false;
    lock.start = std::min(lock.start, other.start);
    lock.end = std::max(lock.end, other.end);
    return true;
  });
  locks.push_back(std::move(lock));
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

void FileLocks::KnowByNumbers() { by_numbers.store(true, std::memory_order_relaxed); }

FileLocks::Key FileLocks::KeyOf(Inode& inode) {
  const Key own = {0, reinterpret_cast<uintptr_t>(&inode)};
  if (!by_numbers.load(std::memory_order_relaxed)) return own;
  const Result<Attributes> attributes = inode.GetAttributes();
  // Only of files and directories are they unique.
  const bool unique = attributes.ok() && (S_ISREG(attributes->mode) || S_ISDIR(attributes->mode));
  return unique ? Key(attributes->dev, attributes->ino) : own;
}

std::optional<FileLock> FileLocks::FindConflict(Inode& inode, const FileLock& lock) {
  DropDeadProcesses();
  const Key key = KeyOf(inode);
  absl::MutexLock hold(&mu_);
  const auto it = table_.find(key);
  if (it == table_.end()) return std::nullopt;
  const FileLock* other = Conflicting(it->second.locks, lock);
  if (other == nullptr) return std::nullopt;
  return *other;
}

Status FileLocks::TakeLocked(const Key& key, Inode& inode, const FileLock& lock,
                             std::vector<FileLock>& dropped, const FileLock** conflict) {
  const auto it = table_.find(key);
  if (it != table_.end()) {
    *conflict = Conflicting(it->second.locks, lock);
    if (*conflict != nullptr) return Errno(EAGAIN);
    // Subtract may split one lock in two, and one more is added.
    if (it->second.locks.size() + 2 > kMaxLocksPerInode) return Errno(ENOLCK);
  }
  InodeLocks& entry = table_[key];
  if (!entry.inode) entry.inode = Ref<Inode>::Share(inode);
  Subtract(entry.locks, lock.owner, lock.start, lock.end, dropped);
  AddMerged(entry.locks, lock);
  inodes_.store(table_.size(), std::memory_order_relaxed);
  return kOk;
}

Status FileLocks::TryLock(Inode& inode, const FileLock& lock) {
  DropDeadProcesses();
  WatchOwner(lock.owner);
  const Key key = KeyOf(inode);
  std::vector<FileLock> dropped;
  {
    const FileLock* conflict = nullptr;
    absl::MutexLock hold(&mu_);
    TRY(TakeLocked(key, inode, lock, dropped, &conflict));
  }
  // A conversion to shared may let others in.
  if (!dropped.empty()) changed_.Notify(POLLIN);
  return kOk;
}

// posix_locks_deadlock() of Linux, which does not follow longer chains either.
bool FileLocks::WouldDeadlockLocked(const ThreadGroup& waiter, const ThreadGroup* blocker) const {
  constexpr int kMaxSteps = 10;
  for (int step = 0; step < kMaxSteps && blocker != nullptr; ++step) {
    if (blocker == &waiter) return true;
    const auto next = std::find_if(blocked_.begin(), blocked_.end(), [&](const Blocked& blocked) {
      return blocked.lock.owner.process.get() == blocker;
    });
    blocker = next == blocked_.end() ? nullptr : next->blocker;
  }
  return false;
}

void FileLocks::Unblock(Task& task) {
  std::vector<Blocked> gone;  // Released without the lock.
  absl::MutexLock hold(&mu_);
  const auto it = std::find_if(blocked_.begin(), blocked_.end(),
                               [&](const Blocked& blocked) { return blocked.task == &task; });
  if (it == blocked_.end()) return;
  gone.push_back(std::move(*it));
  blocked_.erase(it);
}

Status FileLocks::LockOrBlock(Task& task, Inode& inode, const FileLock& lock) {
  Unblock(task);
  DropDeadProcesses();
  WatchOwner(lock.owner);
  const Key key = KeyOf(inode);
  std::vector<FileLock> dropped;
  {
    const FileLock* conflict = nullptr;
    absl::MutexLock hold(&mu_);
    const Status taken = TakeLocked(key, inode, lock, dropped, &conflict);
    if (!taken.ok() && taken.error() == Errno(EAGAIN)) {
      const ThreadGroup* const blocker = conflict->owner.process.get();
      if (lock.owner.process && WouldDeadlockLocked(*lock.owner.process, blocker)) {
        return Errno(EDEADLK);
      }
      blocked_.push_back({.task = &task, .key = key, .lock = lock, .blocker = blocker});
    }
    TRY(taken);
  }
  if (!dropped.empty()) changed_.Notify(POLLIN);
  return kOk;
}

Status FileLocks::Lock(Task& task, Inode& inode, const FileLock& lock) {
  Status result = TryLock(inode, lock);
  if (result.ok() || result.error() != Errno(EAGAIN)) return result;
  Waiter waiter(task);
  waiter.Watch(&changed_, POLLIN);
  for (;;) {
    result = LockOrBlock(task, inode, lock);
    if (result.ok() || result.error() != Errno(EAGAIN)) return result;
    const Status slept = waiter.Sleep();
    if (slept.ok()) continue;
    Unblock(task);
    return slept;
  }
}

std::string FileLocks::Line(const Inode& inode, const FileLock& lock) const {
  const Result<Attributes> attributes = const_cast<Inode&>(inode).GetAttributes();
  const Attributes a = attributes.ok() ? *attributes : Attributes();
  const bool whole = this == &Whole();
  const char* const kind = whole ? "FLOCK " : lock.owner.process ? "POSIX " : "OFDLCK";
  std::string line =
      absl::StrFormat("%s ADVISORY  %s %d %02x:%02x:%u ", kind, lock.exclusive ? "WRITE" : "READ",
                      lock.pid, major(a.dev), minor(a.dev), a.ino);
  absl::StrAppend(&line, whole ? 0 : lock.start, " ");
  if (lock.end == UINT64_MAX) {
    absl::StrAppend(&line, "EOF");
  } else {
    absl::StrAppend(&line, lock.end - 1);
  }
  return line;
}

void FileLocks::DescribeTo(std::vector<std::string>& lines, const File* only) {
  struct Known {
    Ref<Inode> inode;
    FileLock lock;
    bool waits;
  };
  // Attributes may have to be asked for: not with the lock held.
  std::vector<Known> known;
  DropDeadProcesses();
  const Key wanted = only == nullptr ? Key() : KeyOf(only->inode());
  {
    absl::MutexLock hold(&mu_);
    for (const auto& [key, entry] : table_) {
      for (const FileLock& lock : entry.locks) {
        if (only != nullptr && key != wanted) continue;
        if (only != nullptr && lock.owner.description && lock.owner.description.get() != only) {
          continue;
        }
        known.push_back({entry.inode, lock, false});
        if (only != nullptr) continue;
        for (const Blocked& blocked : blocked_) {
          if (blocked.key != key || blocked.lock.owner == lock.owner ||
              !(blocked.lock.exclusive || lock.exclusive) ||
              !Overlaps(lock, blocked.lock.start, blocked.lock.end)) {
            continue;
          }
          known.push_back({entry.inode, blocked.lock, true});
        }
      }
    }
  }
  for (const Known& one : known) {
    lines.push_back((one.waits ? "-> " : "") + Line(*one.inode, one.lock));
  }
}

std::vector<std::string> FileLocks::Describe(const File* only) {
  std::vector<std::string> lines;
  Records().DescribeTo(lines, only);
  Whole().DescribeTo(lines, only);
  return lines;
}

void FileLocks::Unlock(Inode& inode, const LockOwner& owner, uint64_t start, uint64_t end) {
  std::vector<FileLock> dropped;
  Ref<Inode> unused;
  const Key key = KeyOf(inode);
  {
    absl::MutexLock hold(&mu_);
    const auto it = table_.find(key);
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

}  // namespace sentry
