#include "sentry/task/pi_futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#include <algorithm>

#include "sentry/mm/host_maps.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// Tries of an operation whose word others change meanwhile; each makes somebody's progress.
constexpr int kMaxAttempts = 1000;
// Locks that wait for locks: beyond this Linux gives up as well.
constexpr int kMaxChain = 1024;

uint32_t Owner(uint32_t value) { return value & FUTEX_TID_MASK; }
uint32_t Id(const Task& task) { return static_cast<uint32_t>(task.tid()); }
UserPtr<uint32_t> Pointer(UserAddr addr) { return UserPtr<uint32_t>{addr}; }

bool IsAlive(Task& asking, uint32_t tid) {
  const Ref<Task> owner = asking.kernel().FindTask(static_cast<Pid>(tid));
  if (!owner) return false;
  absl::MutexLock lock(&asking.kernel().mu());
  return owner->alive();
}

}  // namespace

// Nobody else works on the words of these futexes meanwhile.
class PiFutexes::Hold {
 public:
  Hold(PiFutexes& futexes, Task& task, const Key& key) : futexes_(futexes) {
    first_ = Acquire(task, key);
  }
  Hold(PiFutexes& futexes, Task& task, const Key& condition, const Key& lock) : futexes_(futexes) {
    // In the order of the keys, so that two never wait for each other.
    const bool swap = lock < condition;
    first_ = Acquire(task, swap ? lock : condition);
    second_ = Acquire(task, swap ? condition : lock);
    if (swap) std::swap(first_, second_);
  }
  Hold(const Hold&) = delete;
  ~Hold() {
    absl::MutexLock lock(&futexes_.mu_);
    for (Futex* futex : {first_, second_}) {
      if (futex == nullptr) continue;
      futex->busy = false;
      futexes_.DropLocked(*futex);
    }
    futexes_.idle_.SignalAll();
  }
  Futex& first() const { return *first_; }
  Futex& second() const { return *second_; }

 private:
  Futex* Acquire(Task& task, const Key& key) {
    Futex* futex = nullptr;
    {
      absl::MutexLock lock(&futexes_.mu_);
      futex = &futexes_.futexes_[key];
      futex->key = key;
      ++futex->users;
      futexes_.active_ = static_cast<int>(futexes_.futexes_.size());
      if (!futex->busy) {
        futex->busy = true;
        return futex;
      }
    }
    task.kernel().platform().EnterBlocking();
    {
      absl::MutexLock lock(&futexes_.mu_);
      while (futex->busy) futexes_.idle_.Wait(&futexes_.mu_);
      futex->busy = true;
    }
    task.kernel().platform().LeaveBlocking();
    return futex;
  }

  PiFutexes& futexes_;
  Futex* first_ = nullptr;
  Futex* second_ = nullptr;
};

// Linux: get_futex_key(). Memory that processes share is known by its file.
Result<PiFutexes::Key> PiFutexes::KeyOf(Task& task, Word word) {
  if (word.addr.raw % sizeof(uint32_t) != 0) return Errno(EINVAL);
  platform::AddressSpace& space = task.mem().space();
  if (word.addr.raw >= space.user_end()) return Errno(EFAULT);
  const Key own = {reinterpret_cast<uint64_t>(&space), 0, word.addr.raw};
  if (!word.shared) return own;
  for (const HostRange& range : ParseHostMaps(TRY(space.HostMaps()))) {
    if (word.addr.raw < range.begin || word.addr.raw >= range.end) continue;
    if (!range.shared || range.ino == 0) return own;
    return Key{range.dev, range.ino, range.offset + (word.addr.raw - range.begin)};
  }
  return Errno(EFAULT);
}

Status PiFutexes::SetWaitersBit(platform::Context* context, UserAddr addr) {
  if (context == nullptr) return kNeedsContext;
  // Or with 1 << 31; nobody waits by the private name of this word on the host.
  constexpr uint64_t kSetBit31 = uint64_t{FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT} << 28 |
                                 uint64_t{FUTEX_OP_CMP_LT} << 24 | 31 << 12 | 0x800;
  TRY(context->HostCall(
      {.nr = SYS_futex, .args = {addr.raw, FUTEX_WAKE_OP_PRIVATE, 0, 0, addr.raw, kSetBit31}}));
  return kOk;
}

void PiFutexes::DropLocked(Futex& futex) {
  if (--futex.users > 0) return;
  futexes_.erase(Key(futex.key));
  active_ = static_cast<int>(futexes_.size());
}

bool PiFutexes::IsCycleLocked(int from, int owner) const {
  for (int i = 0; i < kMaxChain; ++i) {
    if (owner == from) return true;
    const auto next = blocked_.find(owner);
    if (next == blocked_.end()) return false;
    owner = next->second->at->owner;
  }
  return true;
}

// ESRCH when the owner has ended meanwhile: what has queued before that is handed on by OwnerDied.
Status PiFutexes::EnqueueLocked(Futex& futex, Waiter& waiter, const Task* owner) {
  if (owner == nullptr || (owner->futexes_released && !futex.settling)) return Errno(ESRCH);
  if (IsCycleLocked(waiter.task->tid(), owner->tid())) return Errno(EDEADLK);
  if (!futex.settling) futex.owner = owner->tid();
  waiter.at = &futex;
  ++futex.users;
  // Real-time priorities first, each in its order.
  const int priority = waiter.task->sched_priority;
  const auto behind = std::find_if(
      futex.waiters.begin(), futex.waiters.end(),
      [priority](const Waiter* other) { return other->task->sched_priority < priority; });
  futex.waiters.insert(behind, &waiter);
  blocked_[waiter.task->tid()] = &waiter;
  return kOk;
}

// The first waiter, which owns the lock from here on; nullptr without one.
PiFutexes::Waiter* PiFutexes::PopLocked(Futex& futex) {
  if (futex.waiters.empty()) return nullptr;
  Waiter* next = futex.waiters.front();
  futex.owner = next->task->tid();
  next->granted = true;
  RemoveLocked(*next);
  return next;
}

void PiFutexes::RemoveLocked(Waiter& waiter) {
  Futex* futex = std::exchange(waiter.at, nullptr);
  if (futex == nullptr) return;
  futex->waiters.remove(&waiter);
  futex->conditions.remove(&waiter);
  const auto blocked = blocked_.find(waiter.task->tid());
  if (blocked != blocked_.end() && blocked->second == &waiter) blocked_.erase(blocked);
  DropLocked(*futex);
}

// Whether a lock whose word is `value`, with FUTEX_WAITERS set, can be waited for. Linux:
// attach_to_pi_state() and attach_to_pi_owner(). The owner.
Result<int> PiFutexes::CheckOwner(Task& task, Futex& futex, uint32_t value) {
  {
    absl::MutexLock lock(&mu_);
    if (futex.settling) return futex.owner;
    if (!futex.waiters.empty()) {
      const bool died = (value & FUTEX_OWNER_DIED) != 0 && Owner(value) == 0;
      if (!died && static_cast<int>(Owner(value)) != futex.owner) return Errno(EINVAL);
      return futex.owner;
    }
  }
  if (!IsAlive(task, Owner(value))) return Errno(ESRCH);
  return static_cast<int>(Owner(value));
}

bool PiFutexes::IsContended(Futex& futex) {
  absl::MutexLock lock(&mu_);
  return futex.settling || !futex.waiters.empty();
}

Result<PiFutexes::Step> PiFutexes::TryLock(Task& task, Futex& futex, UserAddr addr, Waiter& waiter,
                                           bool try_only, uint32_t& attached) {
  const uint32_t value = TRY(task.mem().Read(Pointer(addr)));
  if (Owner(value) == Id(task)) return Errno(EDEADLK);
  if ((value & FUTEX_WAITERS) == 0) {
    attached = IsAlive(task, Owner(value)) ? Owner(value) : 0;
    return Step::kSetBit;
  }
  if (Owner(value) == 0 && !IsContended(futex)) {
    TRY(task.mem().Write(Pointer(addr), Id(task) | (value & FUTEX_OWNER_DIED)));
    return Step::kDone;
  }
  const Result<int> owner = CheckOwner(task, futex, value);
  Status queued = owner.ok() ? Status(kOk) : Status(owner.error());
  if (owner.ok() && try_only) return Errno(EAGAIN);
  if (owner.ok()) {
    const Ref<Task> holder = task.kernel().FindTask(*owner);
    absl::MutexLock lock(&mu_);
    queued = EnqueueLocked(futex, waiter, holder.get());
  }
  if (queued.ok()) return Step::kQueued;
  if (queued.error() != Errno(ESRCH)) return queued.error();
  // An owner that ends changes the word of a robust lock.
  if (TRY(task.mem().Read(Pointer(addr))) != value) return Step::kAgain;
  if (attached == 0 || attached != Owner(value) || IsContended(futex)) return Errno(ESRCH);
  // It has ended since this call announced itself: on Linux that is one step with queueing.
  TRY(task.mem().Write(Pointer(addr), Id(task) | FUTEX_WAITERS | FUTEX_OWNER_DIED));
  return Step::kDone;
}

Status PiFutexes::Lock(Task& task, platform::Context* context, Word word, Deadline deadline,
                       bool try_only) {
  const Key key = TRY(KeyOf(task, word));
  Waiter waiter{.task = &task, .lock = key};
  uint32_t attached = 0;  // The owner that was alive when this call set FUTEX_WAITERS.
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    Step step;
    {
      Hold hold(*this, task, key);
      step = TRY(TryLock(task, hold.first(), word.addr, waiter, try_only, attached));
    }
    if (step == Step::kDone) return kOk;
    if (step == Step::kQueued) return AwaitGrant(task, waiter, word, deadline);
    if (step == Step::kSetBit) TRY(SetWaitersBit(context, word.addr));
  }
  return Errno(EAGAIN);
}

Status PiFutexes::AwaitGrant(Task& task, Waiter& waiter, Word lock, Deadline deadline) {
  for (;;) {
    {
      absl::MutexLock guard(&mu_);
      if (waiter.granted) break;
    }
    const Status slept = task.sleeper().Sleep(deadline);
    if (slept.ok()) continue;
    absl::MutexLock guard(&mu_);
    if (waiter.granted) break;
    RemoveLocked(waiter);
    if (slept.error() == Errno(ETIMEDOUT)) return slept.error();
    return waiter.moved ? Errno(EAGAIN) : kRestartNoIntr;
  }
  return Settle(task, waiter, lock);
}

// Waits for whoever has handed the lock over to be done with the word, and writes it in the name of
// an owner that has died.
Status PiFutexes::Settle(Task& task, Waiter& waiter, Word lock) {
  Hold hold(*this, task, waiter.lock);
  if (!waiter.owner_died) return kOk;
  const Status written =
      task.mem().Write(Pointer(lock.addr), Id(task) | FUTEX_WAITERS | FUTEX_OWNER_DIED);
  absl::MutexLock guard(&mu_);
  hold.first().settling = false;
  DropLocked(hold.first());
  return written;
}

Status PiFutexes::Unlock(Task& task, platform::Context* context, Word word) {
  // Before anything about the word itself (Linux).
  if (Owner(TRY(task.mem().Read(Pointer(word.addr)))) != Id(task)) return Errno(EPERM);
  const Key key = TRY(KeyOf(task, word));
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    {
      Hold hold(*this, task, key);
      const uint32_t value = TRY(task.mem().Read(Pointer(word.addr)));
      if (Owner(value) != Id(task)) return Errno(EPERM);
      if ((value & FUTEX_WAITERS) != 0) return HandOver(task, hold.first(), word.addr);
    }
    TRY(SetWaitersBit(context, word.addr));
  }
  return Errno(EAGAIN);
}

Status PiFutexes::HandOver(Task& task, Futex& futex, UserAddr addr) {
  Ref<Task> next;
  {
    absl::MutexLock lock(&mu_);
    if (!futex.waiters.empty() && futex.owner != task.tid()) return Errno(EINVAL);
    Waiter* waiter = PopLocked(futex);
    if (waiter != nullptr) next = Ref<Task>::Share(*waiter->task);
  }
  const Status written =
      task.mem().Write(Pointer(addr), next ? Id(*next) | FUTEX_WAITERS : uint32_t{0});
  if (next) next->sleeper().Wake();
  return written;
}

Status PiFutexes::WaitRequeue(Task& task, Word condition, uint32_t value, Word lock,
                              Deadline deadline) {
  if (condition.addr == lock.addr) return Errno(EINVAL);
  const Key lock_key = TRY(KeyOf(task, lock));
  const Key key = TRY(KeyOf(task, condition));
  if (key == lock_key) return Errno(EINVAL);
  Waiter waiter{.task = &task, .lock = lock_key};
  {
    Hold hold(*this, task, key);
    if (TRY(task.mem().Read(Pointer(condition.addr))) != value) return Errno(EAGAIN);
    absl::MutexLock guard(&mu_);
    waiter.at = &hold.first();
    ++hold.first().users;
    hold.first().conditions.push_back(&waiter);
  }
  return AwaitGrant(task, waiter, lock, deadline);
}

Result<int> PiFutexes::Requeue(Task& task, platform::Context* context, Word condition, Word lock,
                               int count, uint32_t value) {
  if (condition.addr == lock.addr || count < 0) return Errno(EINVAL);
  const Key key = TRY(KeyOf(task, condition)), lock_key = TRY(KeyOf(task, lock));
  if (key == lock_key) return Errno(EINVAL);
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    {
      Hold hold(*this, task, key, lock_key);
      if (TRY(task.mem().Read(Pointer(condition.addr))) != value) return Errno(EAGAIN);
      const uint32_t word = TRY(task.mem().Read(Pointer(lock.addr)));
      {
        absl::MutexLock guard(&mu_);
        if (hold.first().conditions.empty()) return 0;
        if (hold.first().conditions.front()->lock != lock_key) return Errno(EINVAL);
      }
      if ((word & FUTEX_WAITERS) != 0) {
        return Move(task, hold.first(), hold.second(), lock.addr, word, count);
      }
    }
    TRY(SetWaitersBit(context, lock.addr));
  }
  return Errno(EAGAIN);
}

// With both held: the first waiter takes the lock when it is free.
Result<int> PiFutexes::Move(Task& task, Futex& condition, Futex& lock, UserAddr addr, uint32_t word,
                            int count) {
  int moved = 0;
  int64_t left = count;
  int owner = static_cast<int>(Owner(word));
  if (owner == 0 && !IsContended(lock)) {
    Ref<Task> first;
    {
      absl::MutexLock guard(&mu_);
      if (condition.conditions.empty()) return 0;  // Its time is up.
      Waiter& waiter = *condition.conditions.front();
      RemoveLocked(waiter);
      waiter.granted = true;
      first = Ref<Task>::Share(*waiter.task);
    }
    owner = first->tid();
    const Status written =
        task.mem().Write(Pointer(addr), Id(*first) | FUTEX_WAITERS | (word & FUTEX_OWNER_DIED));
    first->sleeper().Wake();
    TRY(written);
    moved = 1;
  } else {
    owner = TRY(CheckOwner(task, lock, word));
    ++left;  // The one that could not be woken waits for the lock as well.
  }
  const Ref<Task> holder = task.kernel().FindTask(owner);
  absl::MutexLock guard(&mu_);
  for (; left > 0 && !condition.conditions.empty(); --left, ++moved) {
    Waiter& waiter = *condition.conditions.front();
    if (waiter.lock != lock.key) return Errno(EINVAL);
    condition.conditions.pop_front();
    const Status queued = EnqueueLocked(lock, waiter, holder.get());
    if (!queued.ok()) {
      condition.conditions.push_front(&waiter);
      return queued.error();
    }
    waiter.moved = true;
    DropLocked(condition);
  }
  return moved;
}

void PiFutexes::OwnerDied(Task& task, bool ends) {
  std::vector<Ref<Task>> woken;
  {
    absl::MutexLock lock(&mu_);
    task.futexes_released = ends;
    if (active_ == 0) return;
    for (auto& [key, futex] : futexes_) {
      if (futex.owner != task.tid() || futex.waiters.empty()) continue;
      ++futex.users;  // Until it has been settled.
      Waiter* next = PopLocked(futex);
      next->owner_died = true;
      futex.settling = true;
      woken.push_back(Ref<Task>::Share(*next->task));
    }
  }
  for (const Ref<Task>& next : woken) next->sleeper().Wake();
}

}  // namespace sentry
