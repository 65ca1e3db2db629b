// The filesystems that can be mounted.
#ifndef SYSCALLS_FILESYSTEMS_H_
#define SYSCALLS_FILESYSTEMS_H_

#include <string_view>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/inode.h"
#include "sentry/fs/mount_options.h"
#include "sentry/task/credentials.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"

namespace syscalls {

// What a new instance is made of.
struct FilesystemRequest {
  sentry::Task& task;
  sentry::Kernel& kernel;
  const sentry::Namespaces& namespaces;  // Whose contents mqueue and sysfs show.
  const sentry::Credentials& creds;      // Owner of what the options leave open.
  const sentry::MountOptions& options;
};

struct FilesystemType {
  std::string_view name;
  // EINVAL for an option that it does not know.
  Status (*check)(const sentry::MountOption& option);
  // The root of a new instance, with options that have been checked one by one.
  Result<Ref<sentry::Inode>> (*create)(const FilesystemRequest& request);
};

// The root of a new instance; EINVAL for unknown options.
Result<Ref<sentry::Inode>> CreateFilesystem(const FilesystemType& type,
                                            const FilesystemRequest& request);
// "a,b=c" of mount(2) taken apart as that filesystem does it.
sentry::MountOptions SplitOptions(const FilesystemType& type, std::string_view text);
// nullptr for those that are not there.
const FilesystemType* FindFilesystem(std::string_view name);
// sysfs(2): by their order; nullptr behind the last.
const FilesystemType* FilesystemAt(size_t index);

}  // namespace syscalls

#endif  // SYSCALLS_FILESYSTEMS_H_
