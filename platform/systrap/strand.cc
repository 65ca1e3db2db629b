// Calls by mailbox that have to wait leave the spinner its thread: each is answered on a stack of
// its own (a strand), and while it waits another strand goes on looking at mailboxes. What it waits
// for is a word, so that looking whether the wait is over costs no more than looking at a mailbox,
// and who ends it wakes nobody. A strand whose spinner stops is given to a worker, on whose thread
// it waits in the host.
#include <pthread.h>

#include "platform/systrap/core.h"

namespace platform::systrap {

std::unique_ptr<Strand> Systrap::NewStrand() {
  if (!idle_strands_.empty()) {
    auto strand = std::move(idle_strands_.back());
    idle_strands_.pop_back();
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
  Worker& worker = Here();
  Fiber::Switch(*worker.strand->fiber, worker.home);
}

bool Systrap::ResumeWaiting() {
  if (spell_.waiting.empty()) return false;
  for (std::unique_ptr<Strand>& waiting : spell_.waiting) {
    if (!waiting->over(spell_.last_look)) continue;
    Worker& worker = Here();
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

void Systrap::Park(const std::atomic<uint32_t>& word, uint32_t value, int64_t deadline_ns) {
  Worker* worker = current_;
  if (worker == nullptr || !worker->spins || spell_.over()) return;
  std::unique_ptr<Strand> next = NewStrand();
  if (next == nullptr) return;
  KillDoomed(*worker);
  HostThread* const serves = worker->serves;
  {
    absl::MutexLock lock(&mu_);
    if (serves->in_mail && serves->mailbox != nullptr) {
      serves->dozes = true;
      serves->mailbox->call.state.fetch_or(MAILBOX_ASLEEP, std::memory_order_release);
    }
  }
  Strand& self = *worker->strand;
  self.word = &word;
  self.value = value;
  self.deadline_ns = deadline_ns;
  spell_.waiting.push_back(std::exchange(worker->strand, std::move(next)));
  const auto mark = [this, serves](bool waits) {
    for (Polled& polled : spell_.set) {
      if (polled.thread.get() == serves) polled.waits = waits;
    }
  };
  mark(true);
  native::CarriedBuffer* const carried = native::CarriedBuffer::Exchange(nullptr);
  // What was there when the call was made may be gone by then, and what it takes must not be lost.
  if (carried != nullptr) carried->BringNothingBack();
  Fiber::Switch(*self.fiber, *worker->strand->fiber);
  native::CarriedBuffer::Exchange(carried);
  Here().serves = serves;
  if (Here().spins) mark(false);
  absl::MutexLock lock(&mu_);
  serves->caller = pthread_self();
}

}  // namespace platform::systrap
