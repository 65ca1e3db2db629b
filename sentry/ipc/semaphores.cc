// semget(2) and semctl(2).
#include "sentry/ipc/semaphores.h"

#include <time.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "sentry/task/task.h"

namespace sentry {

Budget& Semaphores::room() {
  static auto& room = *new Budget(kMaxInAll);
  return room;
}

Semaphores::Limits Semaphores::limits() const {
  absl::MutexLock lock(&mu_);
  return limits_;
}

void Semaphores::set_limits(const Limits& limits) {
  absl::MutexLock lock(&mu_);
  limits_ = limits;
}

Result<int> Semaphores::Get(const IpcCaller& caller, int32_t key, int count, int flags) {
  absl::MutexLock lock(&mu_);
  if (count < 0 || count > limits_.msl) return Errno(EINVAL);
  const auto enough = [count](const SemaphoreSet& set) -> Status {
    return static_cast<size_t>(count) > set.semaphores.size() ? Status(Errno(EINVAL)) : kOk;
  };
  const auto make = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) -> Result<SetRef> {
    if (count == 0) return Errno(EINVAL);
    if (count > limits_.mns - in_all_) return Errno(ENOSPC);
    if (table_.size() >= limits_.mni) return Errno(ENOSPC);
    SetRef set = MakeRef<SemaphoreSet>();
    set->room = TRY(room().Take(static_cast<uint64_t>(count)));
    set->perm = IpcPermissions::Of(caller, key, flags);
    set->semaphores.resize(static_cast<size_t>(count));
    set->ctime = time(nullptr);
    in_all_ += count;
    return set;
  };
  return IpcGet(table_, caller.creds, key, flags, limits_.mni, enough, make);
}

Result<Semaphores::SetRef> Semaphores::FindFor(const IpcCaller& caller, int id,
                                               uint32_t wanted) const {
  SetRef set = TRY(table_.Find(id));
  TRY(set->perm.Check(caller.creds, wanted));
  return set;
}

Semaphores::Info Semaphores::InfoOf(const SemaphoreSet& set) {
  return {.perm = set.perm, .otime = set.otime, .ctime = set.ctime, .count = set.semaphores.size()};
}

Result<Semaphores::Info> Semaphores::Stat(const IpcCaller& caller, int id) {
  absl::MutexLock lock(&mu_);
  return InfoOf(*TRY(FindFor(caller, id, kIpcRead)));
}

Result<Semaphores::Info> Semaphores::StatAt(const IpcCaller& caller, int index, Any any) {
  absl::MutexLock lock(&mu_);
  const SetRef set = TRY(table_.At(index));
  if (any == Any::kNo) TRY(set->perm.Check(caller.creds, kIpcRead));
  return InfoOf(*set);
}

Status Semaphores::Set(const IpcCaller& caller, int id, uint32_t uid, uint32_t gid, uint32_t mode) {
  absl::MutexLock lock(&mu_);
  const SetRef set = TRY(table_.Find(id));
  TRY(set->perm.CheckOwner(caller.creds));
  set->perm.Set(uid, gid, mode);
  set->ctime = time(nullptr);
  return kOk;
}

Status Semaphores::Remove(const IpcCaller& caller, int id) {
  SetRef set;
  absl::MutexLock lock(&mu_);
  set = TRY(table_.Find(id));
  TRY(set->perm.CheckOwner(caller.creds));
  in_all_ -= static_cast<int>(set->semaphores.size());
  // The undo lists forget the set, which lives on until this function lets go of it.
  for (const auto& [undo, adjustments] : set->undos) {
    undo->sets_.erase(set.get());
    undo_in_all_ -= adjustments.size() + 1;
  }
  set->undos.clear();
  while (!set->waiting.empty()) {
    SemWait* const wait = set->waiting.front();
    set->waiting.pop_front();
    FinishLocked(*wait, EIDRM);
  }
  (void)table_.Remove(*set);
  return kOk;
}

Result<int> Semaphores::Ask(const IpcCaller& caller, int id, int number, Query query) {
  absl::MutexLock lock(&mu_);
  const SetRef set = TRY(FindFor(caller, id, kIpcRead));
  if (number < 0 || static_cast<size_t>(number) >= set->semaphores.size()) return Errno(EINVAL);
  const SemaphoreSet::Semaphore& semaphore = set->semaphores[static_cast<size_t>(number)];
  if (query == Query::kValue) return int{semaphore.value};
  if (query == Query::kPid) return semaphore.pid;
  int count = 0;
  for (const SemWait* wait : set->waiting) {
    const SemOperation& at = wait->operations[wait->blocked_at];
    if (at.number == number) count += (at.change == 0) == (query == Query::kZeroCount);
  }
  return count;
}

Result<size_t> Semaphores::Count(const IpcCaller& caller, int id, uint32_t wanted) {
  absl::MutexLock lock(&mu_);
  return TRY(FindFor(caller, id, wanted))->semaphores.size();
}

Result<std::vector<uint16_t>> Semaphores::Values(const IpcCaller& caller, int id) {
  absl::MutexLock lock(&mu_);
  const SetRef set = TRY(FindFor(caller, id, kIpcRead));
  std::vector<uint16_t> values;
  values.reserve(set->semaphores.size());
  for (const auto& semaphore : set->semaphores) values.push_back(semaphore.value);
  return values;
}

Status Semaphores::SetValue(const IpcCaller& caller, int id, int number, int value) {
  if (value < 0 || value > kMaxValue) return Errno(ERANGE);
  absl::MutexLock lock(&mu_);
  const SetRef set = TRY(table_.Find(id));
  if (number < 0 || static_cast<size_t>(number) >= set->semaphores.size()) return Errno(EINVAL);
  TRY(set->perm.Check(caller.creds, kIpcWrite));
  for (auto& [undo, adjustments] : set->undos) {
    undo_in_all_ -= adjustments.erase(static_cast<uint16_t>(number));
  }
  set->semaphores[static_cast<size_t>(number)] = {static_cast<uint16_t>(value), caller.pid};
  set->ctime = time(nullptr);
  WakeLocked(*set);
  return kOk;
}

Status Semaphores::SetValues(const IpcCaller& caller, int id, std::span<const uint16_t> values) {
  const auto too_large = [](uint16_t value) { return value > kMaxValue; };
  if (std::any_of(values.begin(), values.end(), too_large)) return Errno(ERANGE);
  absl::MutexLock lock(&mu_);
  const SetRef set = TRY(FindFor(caller, id, kIpcWrite));
  // The set was asked for its size, and may be another one since.
  if (set->semaphores.size() != values.size()) return Errno(EIDRM);
  for (auto& [undo, adjustments] : set->undos) {
    undo_in_all_ -= adjustments.size();
    adjustments.clear();
  }
  for (size_t i = 0; i < values.size(); ++i) set->semaphores[i] = {values[i], caller.pid};
  set->ctime = time(nullptr);
  WakeLocked(*set);
  return kOk;
}

Semaphores::Totals Semaphores::Count() const {
  absl::MutexLock lock(&mu_);
  return {.sets = table_.size(), .semaphores = in_all_, .highest_index = table_.highest_index()};
}

std::string Semaphores::Table() const {
  Task* const reader = Task::Current();
  std::string text =
      "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
  absl::MutexLock lock(&mu_);
  for (const auto& [index, set] : table_.objects()) {
    const IpcPermissions& p = set->perm;
    if (reader != nullptr && !p.Check(reader->creds(), kIpcRead).ok()) continue;
    absl::StrAppendFormat(&text, "%10d %10d  %4o %10u %5u %5u %5u %5u %10d %10d\n", p.key, p.id,
                          p.mode, set->semaphores.size(), p.uid, p.gid, p.cuid, p.cgid, set->otime,
                          set->ctime);
  }
  return text;
}

}  // namespace sentry
