// Advisory locks: POSIX record locks, open file description locks and flock(2).
#ifndef SENTRY_TASK_FILE_LOCKS_H_
#define SENTRY_TASK_FILE_LOCKS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/fs/wait_queue.h"
#include "sentry/task/task.h"

namespace sentry {

// Whose a lock is: one of the two is set.
struct LockOwner {
  Ref<ThreadGroup> process;  // POSIX record locks.
  Ref<File> description;     // OFD locks and flock(2).

  bool operator==(const LockOwner&) const = default;
};

struct FileLock {
  LockOwner owner;
  bool exclusive = false;
  uint64_t start = 0;
  uint64_t end = UINT64_MAX;  // Exclusive; UINT64_MAX: to the end however the file grows.
  Pid pid = 0;                // Who took it, as /proc/locks shows; -1 for OFD locks.
};

// The locks of every inode that has any; flock(2) and record locks do not see each other, so there
// is one table for each. Locks of a description go with its last descriptor, those of a process
// when it has ended. Thread-safe.
class FileLocks {
 public:
  static FileLocks& Records();
  static FileLocks& Whole();
  // From now on a file is known by its numbers, not by its inode: in a pod each container has
  // inodes of its own for a volume that they share. Before there are any locks.
  static void KnowByNumbers();

  // The first lock of somebody else that stands in the way.
  std::optional<FileLock> FindConflict(Inode& inode, const FileLock& lock) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes or converts; EAGAIN when somebody stands in the way, ENOLCK when there are too many.
  Status TryLock(Inode& inode, const FileLock& lock) ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until TryLock succeeds. kRestartSys when a signal arrives; EDEADLK for a record lock of a
  // process that somebody waits for who stands in the way.
  Status Lock(Task& task, Inode& inode, const FileLock& lock);
  void Unlock(Inode& inode, const LockOwner& owner, uint64_t start = 0, uint64_t end = UINT64_MAX)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Lines as in /proc/locks without their number, of one description or, with nullptr, of all. A
  // lock that is waited for follows the one in its way, marked "-> ".
  static std::vector<std::string> Describe(const File* only = nullptr);
  bool empty() const { return inodes_.load(std::memory_order_relaxed) == 0; }

 private:
  // Device and inode number, or 0 and the inode's address.
  using Key = std::pair<uint64_t, uint64_t>;
  // May ask the gofer: not with the lock held.
  static Key KeyOf(Inode& inode);
  struct Blocked {
    Task* task;
    Key key;
    FileLock lock;
    const ThreadGroup* blocker;  // nullptr when it is no process.
  };
  // As TryLock; remembers who waits for whom when it cannot.
  Status LockOrBlock(Task& task, Inode& inode, const FileLock& lock) ABSL_LOCKS_EXCLUDED(mu_);
  bool WouldDeadlockLocked(const ThreadGroup& waiter, const ThreadGroup* blocker) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Status TakeLocked(const Key& key, Inode& inode, const FileLock& lock,
                    std::vector<FileLock>& dropped, const FileLock** conflict)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Unblock(Task& task) ABSL_LOCKS_EXCLUDED(mu_);
  void DescribeTo(std::vector<std::string>& lines, const File* only) ABSL_LOCKS_EXCLUDED(mu_);
  std::string Line(const Inode& inode, const FileLock& lock) const;

  struct InodeLocks {
    Ref<Inode> inode;
    std::vector<FileLock> locks;
  };
  // Lives until its process has ended, and hears of that.
  struct ProcessWatch final : WaitListener {
    Ref<ThreadGroup> process;
    FileLocks* locks = nullptr;
    void OnReady(uint32_t events) override;
  };
  class CloseWatcher;

  FileLocks();
  void WatchOwner(const LockOwner& owner) ABSL_LOCKS_EXCLUDED(mu_);
  void DropOwner(const LockOwner& owner) ABSL_LOCKS_EXCLUDED(mu_);
  // Drops the locks of processes that have ended, when any may have.
  void DropDeadProcesses() ABSL_LOCKS_EXCLUDED(mu_);
  static void Subtract(std::vector<FileLock>& locks, const LockOwner& owner, uint64_t start,
                       uint64_t end, std::vector<FileLock>& dropped);

  Ref<File> close_watcher_;
  std::atomic<bool> process_ended_{false};
  std::atomic<size_t> inodes_{0};
  absl::Mutex mu_;  // Leaf; references are dropped after it is released.
  absl::flat_hash_map<Key, InodeLocks> table_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<ThreadGroup*, std::unique_ptr<ProcessWatch>> processes_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<File*, Ref<File>> descriptions_ ABSL_GUARDED_BY(mu_);
  std::vector<Blocked> blocked_ ABSL_GUARDED_BY(mu_);
  WaitQueue changed_;
};

}  // namespace sentry

#endif  // SENTRY_TASK_FILE_LOCKS_H_
