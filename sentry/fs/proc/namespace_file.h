// What a link of /proc/PID/ns leads to, for setns(2).
#ifndef SENTRY_FS_PROC_NAMESPACE_FILE_H_
#define SENTRY_FS_PROC_NAMESPACE_FILE_H_

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sentry/fs/file.h"
#include "sentry/fs/mount.h"

namespace sentry {

// /proc/PID/ns/mnt, open: keeps the namespace.
class MountNamespaceFile final : public File {
 public:
  static constexpr char kKind = 0;

  MountNamespaceFile(Ref<Inode> inode, OpenFlags flags, Ref<MountNamespace> mounts)
      : File(std::move(inode), flags), mounts_(std::move(mounts)) {}
  const Ref<MountNamespace>& mounts() const { return mounts_; }
  const void* kind() const override { return &kKind; }
  std::string AnonymousName() const override { return absl::StrCat("mnt:[", mounts_->ino(), "]"); }

 private:
  const Ref<MountNamespace> mounts_;
};

}  // namespace sentry

#endif  // SENTRY_FS_PROC_NAMESPACE_FILE_H_
