// mount(2) and umount2(2).
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/ipc/namespace.h"
#include "sentry/task/kernel.h"
#include "sentry/tty/devpts.h"
#include "syscalls/common.h"
#include "syscalls/path.h"

namespace syscalls {
namespace {

constexpr uint64_t kMagic = 0xc0ed0000, kMagicMask = 0xffff0000;
// Flags that only a fresh mount does without: bind mounts and changes of mounts come later.
constexpr uint64_t kOtherOperations =
    MS_REMOUNT | MS_BIND | MS_MOVE | MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
constexpr uint64_t kKept = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;

// A number with an optional suffix k, m or g.
Result<uint64_t> ParseSize(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return Errno(EINVAL);
  const std::string_view suffix(end, text.data() + text.size() - end);
  int shift = 0;
  if (suffix == "k" || suffix == "K")
    shift = 10;
  else if (suffix == "m" || suffix == "M")
    shift = 20;
  else if (suffix == "g" || suffix == "G")
    shift = 30;
  else if (!suffix.empty())
    return Errno(EINVAL);
  if (value > UINT64_MAX >> shift) return Errno(EINVAL);
  return value << shift;
}

Result<uint32_t> ParseId(std::string_view text, int base) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return Errno(EINVAL);
  return value;
}

Result<sentry::TmpfsOptions> ParseTmpfs(Task& task, std::string_view data) {
  sentry::TmpfsOptions options;
  options.uid = task.creds().fsuid;
  options.gid = task.creds().fsgid;
  while (!data.empty()) {
    const std::string_view option = data.substr(0, data.find(','));
    data.remove_prefix(std::min(option.size() + 1, data.size()));
    if (option.empty()) continue;
    const size_t equals = std::min(option.find('='), option.size());
    const std::string_view name = option.substr(0, equals);
    const std::string_view value = option.substr(std::min(equals + 1, option.size()));
    if (name == "size")
      options.size = TRY(ParseSize(value));
    else if (name == "nr_inodes")
      options.inodes = TRY(ParseSize(value));
    else if (name == "mode")
      options.mode = TRY(ParseId(value, 8)) & 07777;
    else if (name == "uid")
      options.uid = TRY(ParseId(value, 10));
    else if (name == "gid")
      options.gid = TRY(ParseId(value, 10));
    else
      return Errno(EINVAL);
  }
  return options;
}

Result<sentry::DevptsOptions> ParseDevpts(std::string_view data) {
  sentry::DevptsOptions options;
  while (!data.empty()) {
    const std::string_view option = data.substr(0, data.find(','));
    data.remove_prefix(std::min(option.size() + 1, data.size()));
    const size_t equals = std::min(option.find('='), option.size());
    const std::string_view name = option.substr(0, equals);
    const std::string_view value = option.substr(std::min(equals + 1, option.size()));
    if (option.empty() || option == "newinstance") continue;  // Each is one.
    if (name == "uid")
      options.uid = TRY(ParseId(value, 10));
    else if (name == "gid")
      options.gid = TRY(ParseId(value, 10));
    else if (name == "mode")
      options.mode = TRY(ParseId(value, 8)) & 0777;
    else if (name == "ptmxmode")
      options.ptmx_mode = TRY(ParseId(value, 8)) & 0777;
    else if (name == "max")
      options.max = TRY(ParseId(value, 10));
    else
      return Errno(EINVAL);
  }
  return options;
}

// The root of a fresh filesystem of this type.
Result<Ref<sentry::Inode>> CreateFilesystem(Task& task, std::string_view type,
                                            std::string_view options) {
  if (type == "tmpfs") return sentry::Tmpfs::Create(TRY(ParseTmpfs(task, options)));
  if (type == "devpts") {
    return sentry::Devpts::Create(task.kernel(), TRY(ParseDevpts(options)))->Root();
  }
  if (type == "mqueue") return task.kernel().ipc().mqueues->Root();
  return Errno(ENODEV);
}

}  // namespace

Status Mount(Task& task, UserCString source, UserCString target, UserCString type, uint64_t flags,
             UserAddr data) {
  const std::string type_name = type ? TRY(task.mem().ReadPath(type)) : std::string();
  const std::string source_name = source ? TRY(task.mem().ReadPath(source)) : std::string();
  std::string options;
  if (data) options = TRY(task.mem().ReadString(UserCString{data}, kPageSize));
  const Target at = TRY(ResolveAt(task, sentry::kAtFdCwd, target, 0, Follow::kYes));
  if (!HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  if ((flags & kMagicMask) == kMagic) flags &= ~kMagicMask;
  // Propagation means nothing in a sandbox with one mount namespace.
  if ((flags & (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)) != 0) return kOk;
  if ((flags & kOtherOperations) != 0) return Errno(EPERM);
  if (type_name.empty()) return Errno(EINVAL);
  Ref<sentry::Inode> root = TRY(CreateFilesystem(task, type_name, options));
  TRY(task.vfs().MountAt(at.path, std::move(root), type_name, source_name, flags & kKept));
  return kOk;
}

Status Umount2(Task& task, UserCString target, uint32_t flags) {
  constexpr uint32_t kKnown = MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW;
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  const Target at =
      TRY(ResolveAt(task, sentry::kAtFdCwd, target,
                    (flags & UMOUNT_NOFOLLOW) != 0 ? AT_SYMLINK_NOFOLLOW : 0, Follow::kYes));
  if (!HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  if ((flags & MNT_EXPIRE) != 0) return Errno(EINVAL);
  const uint64_t dev = TRY(at.inode->GetAttributes()).dev;
  TRY(task.vfs().Unmount(at.path, static_cast<int>(flags)));
  if (sentry::notify::AnyMarks()) sentry::notify::Table::Get().Unmounted(dev);
  return kOk;
}

}  // namespace syscalls
