// semop(2): what a call does, who waits and who takes his turn.
#include <sys/sem.h>
#include <time.h>

#include <algorithm>

#include "sentry/ipc/semaphores.h"

namespace sentry {
namespace {

bool Alters(const SemWait& wait) {
  return std::any_of(wait.operations.begin(), wait.operations.end(),
                     [](const SemOperation& op) { return op.change != 0; });
}

// Whether others may be able to go on after these operations: something grew, or became zero.
bool MayFree(const SemaphoreSet& set, const SemWait& wait) {
  return std::any_of(wait.operations.begin(), wait.operations.end(), [&](const SemOperation& op) {
    return op.change > 0 || (op.change < 0 && set.semaphores[op.number].value == 0);
  });
}

int Adjustment(const SemaphoreSet& set, const SemWait& wait, uint16_t number) {
  const auto undo = set.undos.find(wait.undo);
  if (undo == set.undos.end()) return 0;
  const auto it = undo->second.find(number);
  return it == undo->second.end() ? 0 : it->second;
}

}  // namespace

// perform_atomic_semop(): operations are done one after the other and taken back when one cannot
// be.
Result<Semaphores::Attempt> Semaphores::TryLocked(SemaphoreSet& set, SemWait& wait) {
  std::map<uint16_t, int> adjustments;  // As they would be, of the semaphores that are undone.
  int error = 0;
  bool blocked = false;
  size_t done = 0;
  for (; done < wait.operations.size(); ++done) {
    const SemOperation& op = wait.operations[done];
    auto& value = set.semaphores[op.number].value;
    const int after = value + op.change;
    blocked = (op.change == 0 && value != 0) || after < 0;
    if (blocked) {
      wait.blocked_at = done;
      if ((op.flags & IPC_NOWAIT) != 0) error = EAGAIN;
      break;
    }
    if (after > kMaxValue) error = ERANGE;
    if (error == 0 && (op.flags & SEM_UNDO) != 0) {
      const auto [it, fresh] = adjustments.try_emplace(op.number, 0);
      if (fresh) it->second = Adjustment(set, wait, op.number);
      it->second -= op.change;
      if (it->second < -kMaxValue - 1 || it->second > kMaxValue) error = ERANGE;
    }
    if (error != 0) break;
    value = static_cast<uint16_t>(after);
  }
  if (done < wait.operations.size()) {
    while (done-- > 0) {
      const SemOperation& op = wait.operations[done];
      set.semaphores[op.number].value =
          static_cast<uint16_t>(set.semaphores[op.number].value - op.change);
    }
    if (error != 0) return Errno(error);
    return Attempt::kBlocked;
  }
  for (const SemOperation& op : wait.operations) set.semaphores[op.number].pid = wait.pid;
  if (!adjustments.empty()) KeepUndoLocked(set, wait, adjustments);
  set.otime = time(nullptr);
  return Attempt::kDone;
}

void Semaphores::KeepUndoLocked(SemaphoreSet& set, SemWait& wait,
                                const std::map<uint16_t, int>& adjustments) {
  const auto [list, fresh] = set.undos.try_emplace(wait.undo);
  if (fresh) ++undo_in_all_;
  auto& kept = list->second;
  undo_in_all_ -= kept.size();
  for (const auto& [number, adjustment] : adjustments) {
    // One that comes to nothing, as after P and V, need not be kept.
    if (adjustment == 0) {
      kept.erase(number);
    } else {
      kept[number] = static_cast<int16_t>(adjustment);
    }
  }
  undo_in_all_ += kept.size();
  wait.undo->sets_.try_emplace(&set, SetRef::Share(set));
}

bool Semaphores::HasUndoRoomLocked(const SemWait& wait) const {
  const auto most =
      std::count_if(wait.operations.begin(), wait.operations.end(),
                    [](const SemOperation& op) { return (op.flags & SEM_UNDO) != 0; });
  return most == 0 || undo_in_all_ + static_cast<size_t>(most) + 1 <= kMaxUndoInAll;
}

void Semaphores::FinishLocked(SemWait& wait, int error) {
  waiting_in_all_ -= wait.operations.size();
  wait.finished = true;
  wait.error = error;
  wait.queue.Notify(POLLIN);
}

void Semaphores::WakeLocked(SemaphoreSet& set) {
  for (auto it = set.waiting.begin(); it != set.waiting.end();) {
    SemWait& wait = **it;
    const Result<Attempt> tried = TryLocked(set, wait);
    if (tried.ok() && *tried == Attempt::kBlocked) {
      ++it;
      continue;
    }
    it = set.waiting.erase(it);
    const bool again = tried.ok() && MayFree(set, wait);
    FinishLocked(wait, tried.ok() ? 0 : tried.error().code());
    if (again) it = set.waiting.begin();  // Who came first is asked first.
  }
}

Result<bool> Semaphores::Operate(const IpcCaller& caller, int id, SemWait& wait) {
  absl::MutexLock lock(&mu_);
  const SetRef set = TRY(table_.Find(id));
  for (const SemOperation& op : wait.operations) {
    if (op.number >= set->semaphores.size()) return Errno(EFBIG);
  }
  const bool alters = Alters(wait);
  TRY(set->perm.Check(caller.creds, alters ? kIpcWrite : kIpcRead));
  if (!HasUndoRoomLocked(wait)) return Errno(ENOMEM);
  if (TRY(TryLocked(*set, wait)) == Attempt::kDone) {
    if (alters) WakeLocked(*set);
    return true;
  }
  if (waiting_in_all_ + wait.operations.size() > kMaxWaitingInAll) return Errno(ENOMEM);
  waiting_in_all_ += wait.operations.size();
  wait.set = set;
  set->waiting.push_back(&wait);
  return false;
}

Result<bool> Semaphores::Finished(SemWait& wait) {
  absl::MutexLock lock(&mu_);
  if (wait.finished && wait.error != 0) return Errno(wait.error);
  return wait.finished;
}

Status Semaphores::Cancel(SemWait& wait, Errno error) {
  absl::MutexLock lock(&mu_);
  if (wait.finished) return wait.error == 0 ? kOk : Status(Errno(wait.error));
  wait.set->waiting.remove(&wait);
  waiting_in_all_ -= wait.operations.size();
  wait.finished = true;
  return error;
}

SemUndoList::~SemUndoList() { table_->ApplyAtExit(*this); }

// exit_sem(): values stay within their bounds, whatever else was done meanwhile.
void Semaphores::ApplyAtExit(SemUndoList& undo) {
  std::map<SemaphoreSet*, SetRef> sets;  // Released without the lock.
  absl::MutexLock lock(&mu_);
  sets.swap(undo.sets_);
  const int32_t pid = undo.pid_.load(std::memory_order_relaxed);
  for (const auto& [set, ref] : sets) {
    const auto found = set->undos.extract(&undo);
    if (found.empty()) continue;
    undo_in_all_ -= found.mapped().size() + 1;
    for (const auto& [number, adjustment] : found.mapped()) {
      if (adjustment == 0) continue;
      auto& semaphore = set->semaphores[number];
      semaphore.value =
          static_cast<uint16_t>(std::clamp(semaphore.value + adjustment, 0, kMaxValue));
      semaphore.pid = pid;
    }
    set->otime = time(nullptr);
    WakeLocked(*set);
  }
}

}  // namespace sentry
