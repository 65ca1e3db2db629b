// Mount namespaces: which mounts a process sees.
#ifndef SENTRY_FS_MOUNT_H_
#define SENTRY_FS_MOUNT_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/ref.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/namespace.h"
#include "sentry/fs/wait_queue.h"

namespace sentry {

class Vfs;

// Held by the FsContext of the tasks in it and by whoever opened it; a detached tree (fsmount(2),
// open_tree(2)) has a nameless one, held by its descriptor. Dissolved with the last reference.
class MountNamespace final : public Namespace {
 public:
  enum class Kind : uint8_t { kNamed, kDetached };
  MountNamespace(Vfs& vfs, Kind kind);
  ~MountNamespace() override;

  bool detached() const { return kind_ == Kind::kDetached; }
  // Counts changes; whoever polls /proc/PID/mounts waits in the queue.
  const std::atomic<uint64_t>& events() const { return events_; }
  WaitQueue& changed() { return changed_; }
  // Tell after a change, without the lock of the tree.
  void Changed();

 private:
  friend class Vfs;
  friend class MountTable;

  Vfs& vfs_;
  const Kind kind_;
  std::atomic<uint64_t> events_{1};
  WaitQueue changed_;
  std::vector<Ref<Mount>> mounts_ ABSL_GUARDED_BY(internal::tree_mu);  // In the order of joining.
  Mount* root_ ABSL_GUARDED_BY(internal::tree_mu) = nullptr;
};

// MS_SHARED, MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE.
enum class Propagation : uint32_t {};

}  // namespace sentry

#endif  // SENTRY_FS_MOUNT_H_
