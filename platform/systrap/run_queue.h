// Whether there is a CPU to spare.
#ifndef PLATFORM_SYSTRAP_RUN_QUEUE_H_
#define PLATFORM_SYSTRAP_RUN_QUEUE_H_

#include "base/unique_fd.h"

namespace platform::systrap {

// How many threads want to run now, on the whole machine: proc_loadavg(5). Looking costs about 1
// us. Knows nothing where this process may not use all CPUs. Thread-safe.
class RunQueue {
 public:
  RunQueue() = default;
  // `proc_fd` is a procfs. Before the sentry's own seccomp program.
  explicit RunQueue(int proc_fd);

  // There are at least so many more CPUs than threads that run or want to, the caller's among them;
  // true if it is not known.
  bool HasSpare(int cpus) const;

 private:
  UniqueFd loadavg_;
  int cpus_ = 0;
};

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_RUN_QUEUE_H_
