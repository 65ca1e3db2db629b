#include "sentry/fs/wait_queue.h"

#include "sentry/fs/wake.h"

namespace sentry {

void WaitQueue::Add(WaitListener& listener, uint32_t events) {
  absl::MutexLock lock(&mu_);
  entries_.push_back({&listener, events | POLLERR | POLLHUP});
}

void WaitQueue::Remove(WaitListener& listener) {
  absl::MutexLock lock(&mu_);
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    if (it->listener == &listener) {
      entries_.erase(it);
      return;
    }
  }
}

void WaitQueue::Notify(uint32_t events) {
  const WakesAfter wakes;
  absl::MutexLock lock(&mu_);
  for (const Entry& entry : entries_) {
    if ((entry.events & events) != 0) entry.listener->OnReady(events);
  }
}

bool WaitQueue::empty() const {
  absl::MutexLock lock(&mu_);
  return entries_.empty();
}

}  // namespace sentry
