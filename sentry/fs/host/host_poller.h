// Watches host descriptors for the files that wait for them.
#ifndef SENTRY_FS_HOST_HOST_POLLER_H_
#define SENTRY_FS_HOST_HOST_POLLER_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/fs/wait_queue.h"

namespace sentry {

// One thread in epoll_wait(2), started when first needed. Descriptors are armed for one event at a
// time (EPOLLONESHOT), so that nothing wakes the sentry that nobody has asked for, unless somebody
// wants to be told of edges. Thread-safe.
class HostPoller {
 public:
  // The sandbox's only one, never destroyed.
  static HostPoller& Get();

  // Notifies `queue` once when any of `events` (POLL*) holds on `host_fd`; events armed earlier and
  // not yet reported stay armed. With EPOLLET among them: each time that one of them comes to hold
  // again, from now on. EPERM for descriptors that are always ready.
  Status Arm(int host_fd, WaitQueue& queue, uint32_t events) ABSL_LOCKS_EXCLUDED(mu_);
  // Forgets the descriptor; the queue is not touched afterwards.
  void Remove(int host_fd) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Watch {
    WaitQueue* queue = nullptr;
    uint32_t armed = 0;
    bool edges = false;  // Until it is removed.
  };
  static void* ThreadMain(void* poller);
  void Loop();
  Status StartLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;  // Before the wait queues'.
  UniqueFd epoll_ ABSL_GUARDED_BY(mu_);
  bool running_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_map<int, Watch> watches_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_FS_HOST_HOST_POLLER_H_
