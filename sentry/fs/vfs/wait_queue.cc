#include "sentry/fs/wait_queue.h"

#include "sentry/fs/wake.h"

namespace sentry {

void WaitQueue::Add(WaitListener& listener, uint32_t events, Turn turn) {
  absl::MutexLock lock(&mu_);
  auto& entries = turn == Turn::kExclusive ? exclusive_ : entries_;
  entries.push_back({&listener, events | POLLERR | POLLHUP});
}

void WaitQueue::Remove(WaitListener& listener) {
  absl::MutexLock lock(&mu_);
  for (auto* const entries : {&entries_, &exclusive_}) {
    for (auto it = entries->begin(); it != entries->end(); ++it) {
      if (it->listener == &listener) {
        entries->erase(it);
        return;
      }
    }
  }
}

bool WaitQueue::TellOneLocked(uint32_t events) {
  const bool ends = (events & (POLLERR | POLLHUP | POLLRDHUP)) != 0;
  bool woken = false;
  for (const Entry& entry : exclusive_) {
    if ((entry.events & events) == 0) continue;
    woken |= entry.listener->TakeTurn(events);
    if (woken && !ends) break;
  }
  return woken;
}

bool WaitQueue::Notify(uint32_t events) {
  const WakesAfter wakes;
  absl::MutexLock lock(&mu_);
  for (const Entry& entry : entries_) {
    if ((entry.events & events) != 0) entry.listener->OnReady(events);
  }
  return TellOneLocked(events);
}

bool WaitQueue::PassOn(uint32_t events) {
  const WakesAfter wakes;
  absl::MutexLock lock(&mu_);
  return TellOneLocked(events);
}

bool WaitQueue::empty() const {
  absl::MutexLock lock(&mu_);
  return entries_.empty() && exclusive_.empty();
}

}  // namespace sentry
