// Calls that have to wait leave their thread: each is answered on a stack of its own (a strand), and
// while it waits another strand goes on, looking at mailboxes or receiving notifications. What it
// waits for is a word, so that for the spinner looking whether the wait is over costs no more than
// looking at a mailbox; of waits that workers have left parking.cc knows, and of the spinner's when
// it stops.
#include <pthread.h>

#include "platform/systrap/core.h"

namespace platform::systrap {
namespace {

// A shorter wait ends by its time more often than not, and then its own thread is soonest.
constexpr int64_t kLongNs = 2'000'000;

}  // namespace

std::unique_ptr<Strand> Systrap::NewStrand(Strands& spare) {
  if (!spare.empty()) {
    auto strand = std::move(spare.back());
    spare.pop_back();
    return strand;
  }
  auto strand = std::make_unique<Strand>();
  strand->fiber = Fiber::Create(&Systrap::StrandMain, this);
  return strand->fiber == nullptr ? nullptr : std::move(strand);
}

void Systrap::StrandMain(void* self) {
  for (;;) static_cast<Systrap*>(self)->RunStrand();
}

// A call that has waited may have been taken to another thread, which does not spin.
void Systrap::RunStrand() {
  while (Here().spins && !spell_.over()) LookAround();
  if (!Here().spins) {
    while (ServeNext()) {
    }
  }
  Worker& worker = Here();
  Fiber::Switch(*worker.strand->fiber, worker.home);
}

bool Systrap::ResumeWaiting() {
  if (spell_.waiting.empty()) return false;
  for (std::unique_ptr<Strand>& waiting : spell_.waiting) {
    if (waiting->word->load(std::memory_order_relaxed) == waiting->value &&
        spell_.last_look < waiting->deadline_ns) {
      continue;
    }
    Worker& worker = Here();
    ++spell_.resumed;
    std::unique_ptr<Strand> next = std::move(waiting);
    std::swap(waiting, spell_.waiting.back());
    spell_.waiting.pop_back();
    Fiber& self = *worker.strand->fiber;
    idle_strands_.push_back(std::exchange(worker.strand, std::move(next)));
    Fiber::Switch(self, *worker.strand->fiber);
    return true;
  }
  return false;
}

// The thread goes on with another strand, and comes back, or another thread does.
void Systrap::Park(std::atomic<uint32_t>& word, uint32_t value, int64_t deadline_ns) {
  Worker* worker = current_;
  if (worker == nullptr || worker->strand == nullptr) return;
  const bool spins = worker->spins;
  if (spins ? spell_.over() : deadline_ns < MonotonicNs() + kLongNs) return;
  std::unique_ptr<Strand> next;
  if (spins && (next = NewStrand(idle_strands_)) == nullptr) return;
  KillDoomed(*worker);
  HostThread* const serves = std::exchange(worker->serves, nullptr);
  {
    absl::MutexLock lock(&mu_);
    if (serves->in_mail && serves->mailbox != nullptr && !serves->dozes) {
      serves->dozes = true;
      serves->mailbox->call.state.fetch_or(MAILBOX_ASLEEP, std::memory_order_release);
    }
  }
  const auto mark = [this, serves](bool waits) {
    for (Polled& polled : spell_.set) {
      if (polled.thread.get() == serves) polled.waits = waits;
    }
  };
  native::CarriedBuffer* const carried = native::CarriedBuffer::Exchange(nullptr);
  // What was there when the call was made may be gone by then, and what it takes must not be lost.
  if (carried != nullptr) carried->BringNothingBack();
  Strand& self = *worker->strand;
  self.word = &word;
  self.value = value;
  self.deadline_ns = deadline_ns;
  if (spins) {
    mark(true);
    spell_.waiting.push_back(std::exchange(worker->strand, std::move(next)));
    Fiber::Switch(*self.fiber, *worker->strand->fiber);
  } else {
    worker->parks = true;
    Fiber::Switch(*self.fiber, worker->home);
  }
  word.fetch_and(~kParked);
  native::CarriedBuffer::Exchange(carried);
  Here().serves = serves;
  if (Here().spins) mark(false);
  absl::MutexLock lock(&mu_);
  serves->caller = pthread_self();
}

}  // namespace platform::systrap
