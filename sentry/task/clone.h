// New tasks: what clone(2), clone3(2), fork(2) and vfork(2) share.
#ifndef SENTRY_TASK_CLONE_H_
#define SENTRY_TASK_CLONE_H_

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/task/task.h"

namespace sentry {

// As clone_args of clone3(2); `stack` is the first stack pointer (0: the parent's).
struct CloneArgs {
  uint64_t flags = 0;
  uint64_t pidfd = 0;       // Address of an int.
  uint64_t child_tid = 0;
  uint64_t parent_tid = 0;
  int exit_signal = 0;
  uint64_t stack = 0;
  uint64_t tls = 0;
  std::vector<Pid> set_tid;
  int cgroup = -1;  // With CLONE_INTO_CGROUP: a descriptor.
};

// The child's tid, after a vfork child has executed or ended. EINVAL, EAGAIN, EPERM as clone(2).
Result<Pid> CloneTask(Task& parent, platform::Context& context, const CloneArgs& args);

}  // namespace sentry

#endif  // SENTRY_TASK_CLONE_H_
