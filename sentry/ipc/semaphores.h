// System V semaphores (semop(2)). Linux: ipc/sem.c.
#ifndef SENTRY_IPC_SEMAPHORES_H_
#define SENTRY_IPC_SEMAPHORES_H_

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/wait_queue.h"
#include "sentry/ipc/budget.h"
#include "sentry/ipc/ids.h"

namespace sentry {

class SemUndoList;

// struct sembuf.
struct SemOperation {
  uint16_t number = 0;
  int16_t change = 0;
  int16_t flags = 0;  // IPC_NOWAIT, SEM_UNDO.
};

// A set of semaphores. Everything is guarded by the lock of its Semaphores.
struct SemaphoreSet final : RefCounted {
  struct Semaphore {
    uint16_t value = 0;
    int32_t pid = 0;  // Who changed it last.
  };
  // What a process would take back at its end, by number of the semaphore.
  using Adjustments = std::map<uint16_t, int16_t>;

  IpcPermissions perm;
  BudgetShare room;  // Semaphores::room().
  std::vector<Semaphore> semaphores;
  int64_t otime = 0, ctime = 0;       // Seconds since the epoch.
  std::list<class SemWait*> waiting;  // In the order they came.
  std::map<SemUndoList*, Adjustments> undos;
};

// What a process, or processes that share it (CLONE_SYSVSEM), take back when the last of them ends.
// Holding it means being one of them: its destruction applies the adjustments.
class SemUndoList final : public RefCounted {
 public:
  explicit SemUndoList(Ref<class Semaphores> table) : table_(std::move(table)) {}
  ~SemUndoList() override;
  // Whose the values are that the end changes.
  void set_pid(int32_t pid) { pid_.store(pid, std::memory_order_relaxed); }

 private:
  friend class Semaphores;
  const Ref<class Semaphores> table_;
  std::atomic<int32_t> pid_{0};
  std::map<SemaphoreSet*, Ref<SemaphoreSet>>
      sets_;  // With adjustments; guarded by the table's lock.
};

// One semop(2) that waits. Owned by the caller's stack.
class SemWait {
 public:
  SemWait(std::vector<SemOperation> operations, int32_t pid, SemUndoList* undo)
      : operations(std::move(operations)), pid(pid), undo(undo) {}
  // Notified with POLLIN once `finished`.
  WaitQueue queue;

  const std::vector<SemOperation> operations;
  const int32_t pid;
  SemUndoList* const undo;  // Not empty when an operation asks for it.
  // The rest is guarded by the table's lock.
  Ref<SemaphoreSet> set;  // Where it waits.
  size_t blocked_at = 0;  // The operation that cannot be done.
  bool finished = false;
  int error = 0;  // Valid when finished.
};

// What the commands *_STAT tell.
struct SemaphoreSetInfo {
  IpcPermissions perm;
  int64_t otime = 0, ctime = 0;
  uint64_t count = 0;
};

// All sets of a namespace. Thread-safe.
class Semaphores final : public RefCounted {
 public:
  struct Limits {
    int msl = 32000;       // Semaphores in a set.
    int mns = 1024000000;  // In all.
    int opm = 500;         // Operations in a call.
    int mni = 32000;       // Sets.
  };
  static constexpr int kMaxValue = 32767;  // SEMVMX, and SEMAEM.
  // More than this, of all namespaces, are refused whatever the limits say: they lie in the sentry's
  // memory (ENOMEM).
  static constexpr int kMaxInAll = 4 << 20;
  static Budget& room();
  // Likewise adjustments of SEM_UNDO, and what they hang on (ENOMEM): some 100 bytes each.
  static constexpr size_t kMaxUndoInAll = 512 << 10;
  static constexpr size_t kMaxWaitingInAll = 2 << 20;  // Operations of who waits (ENOMEM).

  Limits limits() const ABSL_LOCKS_EXCLUDED(mu_);
  void set_limits(const Limits& limits) ABSL_LOCKS_EXCLUDED(mu_);

  Result<int> Get(const IpcCaller& caller, int32_t key, int count, int flags)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Does the operations of `wait`, or queues it: false, and wait.queue tells of the end. EINVAL,
  // EFBIG, EACCES, EAGAIN, ERANGE.
  Result<bool> Operate(const IpcCaller& caller, int id, SemWait& wait) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether a queued wait has ended; how, if it failed.
  Result<bool> Finished(SemWait& wait) ABSL_LOCKS_EXCLUDED(mu_);
  // Stops waiting: its outcome if that came first, `error` otherwise.
  Status Cancel(SemWait& wait, Errno error) ABSL_LOCKS_EXCLUDED(mu_);

  // semctl(2).
  using Info = SemaphoreSetInfo;
  enum class Any : uint8_t { kNo, kYes };  // SEM_STAT_ANY: without looking at rights.
  Result<Info> Stat(const IpcCaller& caller, int id) ABSL_LOCKS_EXCLUDED(mu_);
  Result<Info> StatAt(const IpcCaller& caller, int index, Any any) ABSL_LOCKS_EXCLUDED(mu_);
  Status Set(const IpcCaller& caller, int id, uint32_t uid, uint32_t gid, uint32_t mode)
      ABSL_LOCKS_EXCLUDED(mu_);
  Status Remove(const IpcCaller& caller, int id) ABSL_LOCKS_EXCLUDED(mu_);
  enum class Query : uint8_t { kValue, kPid, kNegativeCount, kZeroCount };
  Result<int> Ask(const IpcCaller& caller, int id, int number, Query query)
      ABSL_LOCKS_EXCLUDED(mu_);
  // How many there are in the set, for who may (`wanted` as IpcPermissions::Check).
  Result<size_t> Count(const IpcCaller& caller, int id, uint32_t wanted) ABSL_LOCKS_EXCLUDED(mu_);
  Result<std::vector<uint16_t>> Values(const IpcCaller& caller, int id) ABSL_LOCKS_EXCLUDED(mu_);
  Status SetValue(const IpcCaller& caller, int id, int number, int value) ABSL_LOCKS_EXCLUDED(mu_);
  Status SetValues(const IpcCaller& caller, int id, std::span<const uint16_t> values)
      ABSL_LOCKS_EXCLUDED(mu_);
  struct Totals {
    int sets = 0, semaphores = 0, highest_index = 0;
  };
  Totals Count() const ABSL_LOCKS_EXCLUDED(mu_);
  // /proc/sysvipc/sem, for who may read.
  std::string Table() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class SemUndoList;
  using SetRef = Ref<SemaphoreSet>;

  // sem_operations.cc
  enum class Attempt : uint8_t { kDone, kBlocked };
  // All operations or none. EAGAIN, ERANGE; `wait.blocked_at` otherwise.
  Result<Attempt> TryLocked(SemaphoreSet& set, SemWait& wait) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether the adjustments that `wait` may leave behind have room.
  bool HasUndoRoomLocked(const SemWait& wait) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void KeepUndoLocked(SemaphoreSet& set, SemWait& wait, const std::map<uint16_t, int>& adjustments)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Gives everybody who can go on now his turn.
  void WakeLocked(SemaphoreSet& set) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void FinishLocked(SemWait& wait, int error) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ApplyAtExit(SemUndoList& undo) ABSL_LOCKS_EXCLUDED(mu_);

  Result<SetRef> FindFor(const IpcCaller& caller, int id, uint32_t wanted) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static Info InfoOf(const SemaphoreSet& set);

  mutable absl::Mutex mu_;  // Before wait queues.
  Limits limits_ ABSL_GUARDED_BY(mu_);
  int in_all_ ABSL_GUARDED_BY(mu_) = 0;
  // Of all tables.
  static inline std::atomic<size_t> waiting_in_all_{0};
  static inline std::atomic<size_t> undo_in_all_{0};  // Adjustments, and lists by set.
  IpcTable<SemaphoreSet> table_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_IPC_SEMAPHORES_H_
