// The filesystem of pseudo-terminals: pts(4).
#ifndef SENTRY_TTY_DEVPTS_H_
#define SENTRY_TTY_DEVPTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/fs/inode.h"

namespace sentry {

class Kernel;
class Pty;
class PtyNode;

struct DevptsOptions {
  std::optional<uint32_t> uid, gid;  // Of new nodes; the opener's fsuid and fsgid without.
  uint32_t mode = 0600;
  uint32_t ptmx_mode = 0;
  uint32_t max = 1 << 20;  // Pseudo-terminals at one time.
};

// One instance: each mount has its own, as in Linux since 4.7. Held by its root directory, its
// pseudo-terminals and /dev/ptmx; it holds the nodes of those whose master is open. Thread-safe.
class Devpts final : public RefCounted {
 public:
  static Ref<Devpts> Create(Kernel& kernel, const DevptsOptions& options);
  Devpts(Kernel& kernel, const DevptsOptions& options);

  // A new root directory of this instance: `ptmx`, and a node for each pseudo-terminal.
  Ref<Inode> Root();
  // open(2) of ptmx, here or in /dev: the master of a new pseudo-terminal. ENOSPC when there are
  // enough of them.
  Result<Ref<File>> OpenMaster(Ref<Inode> node, OpenFlags flags);

  // The node of a slave; EIO once its master is closed.
  Result<Ref<Inode>> Node(uint32_t index) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<uint32_t> List() const ABSL_LOCKS_EXCLUDED(mu_);
  // Where the task sees that node. ENODEV when this instance is not mounted.
  Result<Path> PathOf(Task& task, uint32_t index) const;
  // By the pseudo-terminal: when its master closes, and at its end.
  void Remove(uint32_t index) ABSL_LOCKS_EXCLUDED(mu_);
  void FreeIndex(uint32_t index) ABSL_LOCKS_EXCLUDED(mu_);

  uint64_t dev() const { return dev_; }
  Attributes PtmxAttributes() const ABSL_LOCKS_EXCLUDED(mu_);
  void ChangePtmx(const AttributeChange& change) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Result<uint32_t> TakeIndex() ABSL_LOCKS_EXCLUDED(mu_);

  Kernel& kernel_;
  const DevptsOptions options_;
  const uint64_t dev_;
  mutable absl::Mutex mu_;  // Leaf; references are dropped without it.
  Attributes ptmx_ ABSL_GUARDED_BY(mu_);
  std::map<uint32_t, Ref<PtyNode>> nodes_ ABSL_GUARDED_BY(mu_);
  std::set<uint32_t> taken_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_TTY_DEVPTS_H_
