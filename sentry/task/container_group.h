// What the processes of one container of a pod have in common.
#ifndef SENTRY_TASK_CONTAINER_GROUP_H_
#define SENTRY_TASK_CONTAINER_GROUP_H_

#include <atomic>
#include <cstddef>
#include <vector>

#include "base/ref.h"
#include "base/unique_fd.h"

namespace sentry {

struct ContainerGroup : RefCounted {
  // Of the host's control groups that they live in: what a process writes "0" to, to become a
  // member. What they fork is born there.
  std::vector<UniqueFd> files;
  // How many tasks there may be where several containers share a kernel; 0 for no limit.
  std::atomic<size_t> most_tasks{0};
};

}  // namespace sentry

#endif  // SENTRY_TASK_CONTAINER_GROUP_H_
