// Futexes with an owner: FUTEX_LOCK_PI and what belongs to it (futex(2), "Priority-inheritance
// futexes"; Linux: kernel/futex/pi.c, requeue.c). The host cannot do them, because such a word
// holds the owner's thread id, and the host's ids are not the sandbox's. Nothing is boosted: the
// host schedules the sandbox's threads as equals.
//
// The word's rule makes them possible from outside: a program changes it by compare-and-swap from 0
// to its id and back, and no more once FUTEX_WAITERS is set. Setting that bit is the one thing that
// has to be atomic; a host call of the thread itself does it (FUTEX_WAKE_OP), for which the call
// needs the thread's context. Whoever has none is told kNeedsContext.
#ifndef SENTRY_TASK_PI_FUTEX_H_
#define SENTRY_TASK_PI_FUTEX_H_

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/mm/user_ptr.h"
#include "sentry/task/waiter.h"

namespace sentry {

class Task;

// One for the sandbox. Its lock is a leaf and is not held while application memory is touched: who
// works on a word holds it by `busy`.
class PiFutexes {
 public:
  // Never reaches the application: to be called again with a context.
  static constexpr Errno kNeedsContext{600};

  // A word as a call names it.
  struct Word {
    UserAddr addr;
    bool shared = false;  // Without FUTEX_PRIVATE_FLAG.
  };

  // EDEADLK, ESRCH (no such owner), EINVAL (the word contradicts its waiters), EFAULT, ETIMEDOUT,
  // kRestartNoIntr; EAGAIN for a held lock when `try_only`.
  Status Lock(Task& task, platform::Context* context, Word word, Deadline deadline, bool try_only);
  // EPERM for who does not own it, EINVAL, EFAULT.
  Status Unlock(Task& task, platform::Context* context, Word word);
  // FUTEX_WAIT_REQUEUE_PI: waits on `condition` and returns with `lock` held.
  Status WaitRequeue(Task& task, Word condition, uint32_t value, Word lock, Deadline deadline);
  // FUTEX_CMP_REQUEUE_PI: gives the lock to the first waiter or has it wait for it, and moves up to
  // `count` others. The number of those woken and moved.
  Result<int> Requeue(Task& task, platform::Context* context, Word condition, Word lock, int count,
                      uint32_t value);
  // The end of a task, or its execve: what it still owns goes on with FUTEX_OWNER_DIED.
  void OwnerDied(Task& task, bool ends) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // (memory or device, inode, address or offset).
  using Key = std::tuple<uint64_t, uint64_t, uint64_t>;

  struct Futex;
  struct Waiter {
    Task* task = nullptr;
    Futex* at = nullptr;  // In whose queue it is; nullptr once it has the lock.
    Key lock;             // Of the lock that it wants in the end.
    bool granted = false;
    bool owner_died = false;  // It has to write the word itself.
    bool moved = false;       // From the condition to the lock.
  };
  struct Futex {
    Key key;
    bool busy = false;
    bool settling = false;          // The new owner has still to write the word.
    int users = 0;                  // Holds and waiters: forgotten without.
    int owner = 0;                  // Known while there are waiters.
    std::list<Waiter*> waiters;     // For the lock, in order.
    std::list<Waiter*> conditions;  // Of FUTEX_WAIT_REQUEUE_PI.
  };
  class Hold;

  enum class Step : uint8_t { kDone, kQueued, kSetBit, kAgain };

  static Result<Key> KeyOf(Task& task, Word word);
  static Status SetWaitersBit(platform::Context* context, UserAddr addr);
  bool IsContended(Futex& futex) ABSL_LOCKS_EXCLUDED(mu_);
  Result<int> CheckOwner(Task& task, Futex& futex, uint32_t value) ABSL_LOCKS_EXCLUDED(mu_);
  Result<Step> TryLock(Task& task, Futex& futex, UserAddr addr, Waiter& waiter, bool try_only,
                       uint32_t& attached) ABSL_LOCKS_EXCLUDED(mu_);
  Status HandOver(Task& task, Futex& futex, UserAddr addr) ABSL_LOCKS_EXCLUDED(mu_);
  Result<int> Move(Task& task, Futex& condition, Futex& lock, UserAddr addr, uint32_t word,
                   int count) ABSL_LOCKS_EXCLUDED(mu_);
  Status AwaitGrant(Task& task, Waiter& waiter, Word lock, Deadline deadline)
      ABSL_LOCKS_EXCLUDED(mu_);
  Status Settle(Task& task, Waiter& waiter, Word lock) ABSL_LOCKS_EXCLUDED(mu_);

  bool IsCycleLocked(int from, int owner) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Status EnqueueLocked(Futex& futex, Waiter& waiter, const Task* owner)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Waiter* PopLocked(Futex& futex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RemoveLocked(Waiter& waiter) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DropLocked(Futex& futex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;  // Leaf, but for Sleeper's.
  absl::CondVar idle_;
  std::map<Key, Futex> futexes_ ABSL_GUARDED_BY(mu_);
  std::map<int, Waiter*> blocked_ ABSL_GUARDED_BY(mu_);  // By thread id, on a lock.
  std::atomic<int> active_{0};                           // futexes_.size().
};

}  // namespace sentry

#endif  // SENTRY_TASK_PI_FUTEX_H_
