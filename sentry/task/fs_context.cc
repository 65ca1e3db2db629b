#include "sentry/task/fs_context.h"

#include <utility>

namespace sentry {

FsContext::FsContext(Path root, Path cwd, uint32_t umask)
    : root_(std::move(root)), cwd_(std::move(cwd)), umask_(umask) {}

Path FsContext::root() const {
  absl::MutexLock lock(&mu_);
  return root_;
}

Path FsContext::cwd() const {
  absl::MutexLock lock(&mu_);
  return cwd_;
}

uint32_t FsContext::umask() const {
  absl::MutexLock lock(&mu_);
  return umask_;
}

// The old path is released by the parameter, with no lock held.
void FsContext::set_root(Path root) {
  absl::MutexLock lock(&mu_);
  std::swap(root_, root);
}

void FsContext::set_cwd(Path cwd) {
  absl::MutexLock lock(&mu_);
  std::swap(cwd_, cwd);
}

uint32_t FsContext::set_umask(uint32_t umask) {
  absl::MutexLock lock(&mu_);
  return std::exchange(umask_, umask & 0777);
}

Ref<FsContext> FsContext::Copy() const {
  absl::MutexLock lock(&mu_);
  return MakeRef<FsContext>(root_, cwd_, umask_);
}

}  // namespace sentry
