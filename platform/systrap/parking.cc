// Where calls by notification wait: each worker answers on a strand, and a call that has to wait
// leaves it there. The worker goes on receiving, so that nobody else has to be woken to do that; and
// whoever ends the wait in a call-back of his own goes on with the strand after it, so that again
// nobody is woken. Only who is no worker, or will be waiting himself, calls a follower.
#include <sys/prctl.h>

#include "base/log.h"
#include "platform/systrap/core.h"

namespace platform::systrap {
namespace {

constexpr size_t kMostSpare = 4;  // Of a worker.

}  // namespace

bool Systrap::ChooseStrand(Worker& worker) {
  if (!worker.ready.empty()) {
    worker.strand = std::move(worker.ready.front());
    worker.ready.erase(worker.ready.begin());
    return true;
  }
  if (worker.leads == nullptr && !TakeLead(worker)) return false;
  if (worker.strand == nullptr) worker.strand = NewStrand(worker.spare);
  return true;
}

void Systrap::LeaveStrand(Worker& worker) {
  std::unique_ptr<Strand> left = std::move(worker.strand);
  if (std::exchange(worker.parks, false)) {
    // Who was not answered on his own core had not waited.
    if (worker.leads != nullptr) worker.leads->listener.AnswerHere(true);
    absl::MutexLock lock(&mu_);
    left = ParkLocked(std::move(left));
    if (left != nullptr) worker.ready.push_back(std::move(left));
  } else if (worker.spare.size() < kMostSpare) {
    worker.spare.push_back(std::move(left));
  }
}

std::unique_ptr<Strand> Systrap::ParkLocked(std::unique_ptr<Strand> strand) {
  std::atomic<uint32_t>* const word = strand->word;
  uint32_t expected = strand->value;
  if (!word->compare_exchange_strong(expected, strand->value | kParked)) return strand;
  if (strand->deadline_ns != INT64_MAX) {
    if (!timekeeper_exists_) {
      timekeeper_exists_ = Spawn(&Systrap::TimekeeperMain);
      if (!timekeeper_exists_) return strand;
    }
    const auto at = deadlines_.emplace(strand->deadline_ns, word).first;
    if (at == deadlines_.begin()) deadline_wake_.Signal();
  }
  parked_[word] = std::move(strand);
  return nullptr;
}

std::unique_ptr<Strand> Systrap::UnparkLocked(const std::atomic<uint32_t>& word) {
  const auto it = parked_.find(&word);
  if (it == parked_.end()) return nullptr;
  std::unique_ptr<Strand> strand = std::move(it->second);
  parked_.erase(it);
  if (strand->deadline_ns != INT64_MAX) deadlines_.erase({strand->deadline_ns, &word});
  return strand;
}

bool Systrap::QueueLocked(std::unique_ptr<Strand> strand) {
  strands_.push_back(std::move(strand));
  return CallFollowerLocked();
}

void Systrap::Unpark(const std::atomic<uint32_t>& word) {
  Worker* const worker = current_;
  bool spawn = false;
  {
    absl::MutexLock lock(&mu_);
    std::unique_ptr<Strand> strand = UnparkLocked(word);
    if (strand == nullptr) return;  // Its time has come, as well.
    if (worker != nullptr && !worker->spins && worker->blocks == 0) {
      worker->ready.push_back(std::move(strand));
    } else {
      spawn = QueueLocked(std::move(strand));
    }
  }
  if (spawn) SpawnWorker();
}

void Systrap::HandReadyOn() {
  Worker* const worker = current_;
  if (worker == nullptr || worker->ready.empty()) return;
  int missing = 0;
  {
    absl::MutexLock lock(&mu_);
    for (std::unique_ptr<Strand>& ready : worker->ready) {
      missing += QueueLocked(std::move(ready)) ? 1 : 0;
    }
  }
  worker->ready.clear();
  for (; missing > 0; --missing) SpawnWorker();
}

void* Systrap::TimekeeperMain(void* self) {
  prctl(PR_SET_NAME, "timekeeper", 0, 0, 0);
  static_cast<Systrap*>(self)->KeepTime();
  return nullptr;
}

void Systrap::KeepTime() {
  int missing = 0;
  for (;;) {
    for (; missing > 0; --missing) SpawnWorker();
    absl::MutexLock lock(&mu_);
    if (stopped_) return;
    if (deadlines_.empty()) {
      deadline_wake_.Wait(&mu_);
      continue;
    }
    const auto [deadline_ns, word] = *deadlines_.begin();
    const int64_t left = deadline_ns - MonotonicNs();
    if (left > 0) {
      deadline_wake_.WaitWithTimeout(&mu_, absl::Nanoseconds(left));
    } else {
      missing += QueueLocked(UnparkLocked(*word)) ? 1 : 0;
    }
  }
}

}  // namespace platform::systrap
