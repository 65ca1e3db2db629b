// Wait queues: who wants to know when an object becomes ready.
#ifndef SENTRY_FS_WAIT_QUEUE_H_
#define SENTRY_FS_WAIT_QUEUE_H_

#include <poll.h>

#include <cstdint>
#include <list>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace sentry {

// Told of events on a queue. The call-back runs under the queue's lock: it may only wake somebody.
class WaitListener {
 public:
  virtual void OnReady(uint32_t events) = 0;
  // Instead of it, to who waits exclusively: whether this has woken a task that slept. Otherwise
  // the next one is told.
  virtual bool TakeTurn(uint32_t events) { return OnReady(events), true; }

 protected:
  ~WaitListener() = default;
};

// Belongs to the object that becomes ready; protected by its own lock, which is a leaf apart from
// what a listener takes to wake its owner.
class WaitQueue {
 public:
  // Of those that wait exclusively one is told of an event (WQ_FLAG_EXCLUSIVE of Linux).
  enum class Turn : uint8_t { kEverybody, kExclusive };

  // Registers for POLL* events (POLLERR and POLLHUP always count). Unregister before destruction.
  void Add(WaitListener& listener, uint32_t events, Turn turn = Turn::kEverybody)
      ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(WaitListener& listener) ABSL_LOCKS_EXCLUDED(mu_);
  // Tells who waits for any of `events`: everybody of the end of something, otherwise the first
  // only of those that wait exclusively. Call after the state has changed; the object's own lock
  // may be held. Returns whether one of those has been woken.
  bool Notify(uint32_t events) ABSL_LOCKS_EXCLUDED(mu_);
  // Tells one of those that wait exclusively: whoever was told before has left something over.
  bool PassOn(uint32_t events) ABSL_LOCKS_EXCLUDED(mu_);
  bool empty() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    WaitListener* listener;
    uint32_t events;
  };
  bool TellOneLocked(uint32_t events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mu_);
  std::list<Entry> exclusive_ ABSL_GUARDED_BY(mu_);  // First come, first told.
};

}  // namespace sentry

#endif  // SENTRY_FS_WAIT_QUEUE_H_
