// Which programs are told errors of path calls without asking, and when that ends.
#ifndef SENTRY_FS_VFS_PATH_ERRORS_H_
#define SENTRY_FS_VFS_PATH_ERRORS_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "platform/api/known_errors.h"
#include "sentry/fs/dentry.h"

namespace sentry {

// What is kept was found by a walk over cached names, and ends no later than any of these names
// leaves the cache: internal::tree_mu is held shared while something is found and kept, and
// exclusively by whoever changes what it depends on, until he has told so here. So nobody is told
// what a walk would not find as well.
class PathErrors {
 public:
  // `directories`: those searched, from `root` on. A program keeps to one root.
  void Keep(const Ref<platform::KnownErrors>& program, const Path& root,
            const platform::KnownError& known, std::span<const Dentry* const> directories)
      ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu) ABSL_LOCKS_EXCLUDED(mu_);
  // A name in `directory` leaves the cache, or who may search it changes.
  void Changed(const Dentry& directory) ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu)
      ABSL_LOCKS_EXCLUDED(mu_);
  // What lies on what.
  void MountsChanged() ABSL_EXCLUSIVE_LOCKS_REQUIRED(internal::tree_mu) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Programs that are told something at a time: they hold memory of the platform's.
  static constexpr size_t kMostPrograms = 64;
  static constexpr size_t kBits = 1024;
  struct Program {
    Ref<platform::KnownErrors> errors;
    const Mount* mount = nullptr;  // Its root, only to be compared.
    const Dentry* dentry = nullptr;
    // A Bloom filter of the directories, by address: each stays where it is while names below it
    // are cached.
    std::array<uint64_t, kBits / 64> directories{};
  };
  static size_t BitOf(const Dentry& directory);
  void ForgetIf(const Dentry* directory) ABSL_LOCKS_EXCLUDED(mu_);

  std::atomic<bool> any_{false};
  absl::Mutex mu_;  // Below internal::tree_mu, a leaf but for the platform's own.
  std::vector<Program> programs_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_FS_VFS_PATH_ERRORS_H_
