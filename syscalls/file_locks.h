// Advisory locks: POSIX record locks, open file description locks and flock(2).
#ifndef SYSCALLS_FILE_LOCKS_H_
#define SYSCALLS_FILE_LOCKS_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/fs/wait_queue.h"
#include "sentry/task/task.h"

namespace syscalls {

// Whose a lock is: one of the two is set.
struct LockOwner {
  Ref<sentry::ThreadGroup> process;  // POSIX record locks.
  Ref<sentry::File> description;     // OFD locks and flock(2).

  bool operator==(const LockOwner&) const = default;
};

struct FileLock {
  LockOwner owner;
  bool exclusive = false;
  uint64_t start = 0;
  uint64_t end = UINT64_MAX;  // Exclusive; UINT64_MAX: to the end however the file grows.
};

// The locks of every inode that has any; flock(2) and record locks do not see each other, so there
// is one table for each. Locks of a description go with its last descriptor, those of a process when
// it has ended. Thread-safe.
class FileLocks {
 public:
  static FileLocks& Records();
  static FileLocks& Whole();

  // The first lock of somebody else that stands in the way.
  std::optional<FileLock> FindConflict(sentry::Inode& inode, const FileLock& lock)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Takes or converts; EAGAIN when somebody stands in the way, ENOLCK when there are too many.
  Status TryLock(sentry::Inode& inode, const FileLock& lock) ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until TryLock succeeds. kRestartSys when a signal arrives.
  Status Lock(sentry::Task& task, sentry::Inode& inode, const FileLock& lock);
  void Unlock(sentry::Inode& inode, const LockOwner& owner, uint64_t start = 0,
              uint64_t end = UINT64_MAX) ABSL_LOCKS_EXCLUDED(mu_);
  bool empty() const { return inodes_.load(std::memory_order_relaxed) == 0; }

 private:
  struct InodeLocks {
    Ref<sentry::Inode> inode;
    std::vector<FileLock> locks;
  };
  // Lives until its process has ended, and hears of that.
  struct ProcessWatch final : sentry::WaitListener {
    Ref<sentry::ThreadGroup> process;
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

  Ref<sentry::File> close_watcher_;
  std::atomic<bool> process_ended_{false};
  std::atomic<size_t> inodes_{0};
  absl::Mutex mu_;  // Leaf; references are dropped after it is released.
  absl::flat_hash_map<sentry::Inode*, InodeLocks> table_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<sentry::ThreadGroup*, std::unique_ptr<ProcessWatch>> processes_
      ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<sentry::File*, Ref<sentry::File>> descriptions_ ABSL_GUARDED_BY(mu_);
  sentry::WaitQueue changed_;
};

}  // namespace syscalls

#endif  // SYSCALLS_FILE_LOCKS_H_
