// The filesystem cgroup2: the control groups of a kernel as directories
// (Documentation/admin-guide/cgroup-v2.rst).
#ifndef SENTRY_FS_CGROUP_CGROUPFS_H_
#define SENTRY_FS_CGROUP_CGROUPFS_H_

#include "base/ref.h"
#include "sentry/fs/inode.h"
#include "sentry/task/kernel.h"

namespace sentry {

// Its root. All that a kernel has show the same groups.
Ref<Inode> CreateCgroupFs(Kernel& kernel);

// The number of a group's directory there, which is the group's id for programs. Those of its files
// follow.
inline constexpr uint64_t kInosOfGroup = 256;
inline uint64_t CgroupInode(const ControlGroup& group) { return group.id() * kInosOfGroup; }

}  // namespace sentry

#endif  // SENTRY_FS_CGROUP_CGROUPFS_H_
