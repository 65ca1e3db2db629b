// One walk along a path.
#ifndef SENTRY_FS_VFS_WALK_H_
#define SENTRY_FS_VFS_WALK_H_

#include <string>
#include <string_view>

#include "sentry/fs/vfs.h"

namespace sentry {

// Goes over cached names with internal::tree_mu held shared and no references taken; stops, with
// references, where a filesystem has to be asked.
class Walker {
 public:
  enum class Until : uint8_t { kEnd, kParent };

  Walker(Vfs& vfs, const WalkContext& ctx, const WalkOptions& options, Until until);

  Status Run(std::string_view path) ABSL_LOCKS_EXCLUDED(internal::tree_mu);
  Path TakeResult() { return std::move(owned_); }
  // With Until::kParent: the last component, empty if there is none.
  std::string_view last_name() const { return name_; }
  bool trailing_slash() const { return slash_; }

 private:
  enum class Stop : uint8_t { kDone, kLookup, kSymlink, kPermission };

  Status Begin(std::string_view path);
  Result<Stop> Advance() ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  // Splits the next component off `rest_`. False at the end.
  bool NextName();
  Result<Stop> Enter(Dentry& child) ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  Status StepUp() ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  bool IsConnected() ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  Status CrossMounts() ABSL_SHARED_LOCKS_REQUIRED(internal::tree_mu);
  Status Handle(Stop stop) ABSL_LOCKS_EXCLUDED(internal::tree_mu);
  Status FollowLink() ABSL_LOCKS_EXCLUDED(internal::tree_mu);
  Status Jump(Path target) ABSL_LOCKS_EXCLUDED(internal::tree_mu);
  bool resolves(uint64_t flag) const { return (options_.resolve & flag) != 0; }

  Vfs& vfs_;
  const WalkContext& ctx_;
  const WalkOptions& options_;
  const Until until_;
  const bool searches_all_;  // By capability.
  const Path& root_;         // Where ".." and absolute symlinks end.

  Mount* mount_ = nullptr;    // Where the walk stands: borrowed while tree_mu is held, or from
  Dentry* dentry_ = nullptr;  // owned_ or ctx_.
  Path owned_;
  Ref<Dentry> child_;                 // What a lookup or a symlink stop found.
  const Dentry* searched_ = nullptr;  // The directory whose permission has been checked.
  const Mount* connected_ = nullptr;  // dentry_ lies below the root of this one.

  std::string text_;        // Where rest_ points once a symlink was followed.
  std::string_view rest_;   // From name_ on.
  std::string_view after_;  // Behind name_ and its slashes.
  std::string_view name_;
  bool last_ = false;   // Nothing follows name_ but slashes.
  bool slash_ = false;  // A slash follows name_.
  int links_ = 0;
};

}  // namespace sentry

#endif  // SENTRY_FS_VFS_WALK_H_
