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

 protected:
  ~WaitListener() = default;
};

// Belongs to the object that becomes ready; protected by its own lock, which is a leaf apart from
// what a listener takes to wake its owner.
class WaitQueue {
 public:
  // Registers for POLL* events (POLLERR and POLLHUP always count). Unregister before destruction.
  void Add(WaitListener& listener, uint32_t events) ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(WaitListener& listener) ABSL_LOCKS_EXCLUDED(mu_);
  // Tells everyone who waits for any of `events`. Call after the state has changed; the object's
  // own lock may be held.
  void Notify(uint32_t events) ABSL_LOCKS_EXCLUDED(mu_);
  bool empty() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    WaitListener* listener;
    uint32_t events;
  };
  mutable absl::Mutex mu_;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_FS_WAIT_QUEUE_H_
