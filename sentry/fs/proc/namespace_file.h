// What a link of /proc/PID/ns leads to: nsfs of Linux, for setns(2), ioctl_nsfs(2) and bind mounts.
#ifndef SENTRY_FS_PROC_NAMESPACE_FILE_H_
#define SENTRY_FS_PROC_NAMESPACE_FILE_H_

#include <string>
#include <utility>

#include "sentry/fs/file.h"
#include "sentry/fs/namespace.h"

namespace sentry {

// Open: keeps the namespace.
class NamespaceFile final : public File {
 public:
  static constexpr char kKind = 0;

  NamespaceFile(Ref<Inode> inode, OpenFlags flags, Ref<Namespace> subject)
      : File(std::move(inode), flags), subject_(std::move(subject)) {}
  Namespace& subject() const { return *subject_; }
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;
  const void* kind() const override { return &kKind; }
  std::string AnonymousName() const override { return subject_->name(); }

 private:
  const Ref<Namespace> subject_;
};

}  // namespace sentry

#endif  // SENTRY_FS_PROC_NAMESPACE_FILE_H_
