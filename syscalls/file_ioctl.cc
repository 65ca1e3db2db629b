#include "syscalls/file_ioctl.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <array>

namespace syscalls {
namespace {

constexpr uint32_t kBlockSize = 4096;  // s_blocksize of the filesystems here.

bool IsStored(uint32_t mode) { return S_ISREG(mode) || S_ISDIR(mode); }

// FIONREAD of a regular file: what is left behind the position.
Result<int64_t> BytesLeft(Task& task, File& file, uint64_t arg) {
  const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
  if (!S_ISREG(attributes.mode)) return Errno(ENOTTY);
  const int64_t position = TRY(file.Seek(0, SEEK_CUR));
  const int left = static_cast<int>(static_cast<int64_t>(attributes.size) - position);
  TRY(task.mem().Write(UserPtr<int>{UserAddr{arg}}, left));
  return 0;
}

// The checks of ioctl_file_clone() in its order; no filesystem here shares blocks.
Result<int64_t> Clone(Task& task, File& to, Fd from_fd) {
  const Ref<File> from = TRY(GetFile(task, from_fd));
  const sentry::Attributes in = TRY(from->inode().GetAttributes());
  const sentry::Attributes out = TRY(to.inode().GetAttributes());
  if (in.dev != out.dev) return Errno(EXDEV);
  if (S_ISDIR(in.mode) || S_ISDIR(out.mode)) return Errno(EISDIR);
  if (!S_ISREG(in.mode) || !S_ISREG(out.mode)) return Errno(EINVAL);
  const bool writable = to.flags().writable() && !to.flags().has(O_APPEND);
  if (!from->flags().readable() || !writable) return Errno(EBADF);
  return Errno(EOPNOTSUPP);
}

// Flags of inodes (chattr(1)) are known where the sentry keeps the files, and none is ever set. The
// host is not asked for those of its own.
bool HasInodeFlags(const File& file) {
  if (!file.path().mount) return false;
  const std::string& type = file.path().mount->fs_type();
  return type == "overlay" || type == "tmpfs";
}

// FS_IOC_SETFLAGS with `flags`.
Status SetInodeFlags(Task& task, File& file, int flags) {
  if (file.path().mount->read_only()) return Errno(EROFS);
  const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
  if (task.creds().fsuid != attributes.uid && !task.creds().HasCapability(CAP_FOWNER)) {
    return Errno(EPERM);
  }
  return flags == 0 ? Status(kOk) : Errno(EOPNOTSUPP);
}

}  // namespace

Result<int64_t> AnyFileIoctl(Task& task, File& file, uint32_t command, uint64_t arg) {
  switch (command) {
    case FIGETBSZ:
      TRY(task.mem().Write(UserPtr<uint32_t>{UserAddr{arg}}, kBlockSize));
      return 0;
    case FIOQSIZE: {
      const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
      if (!IsStored(attributes.mode)) return Errno(ENOTTY);
      TRY(task.mem().Write(UserPtr<uint64_t>{UserAddr{arg}}, uint64_t{attributes.blocks} * 512));
      return 0;
    }
    // No filesystem here tells where its blocks are, or shares them.
    case FIDEDUPERANGE:
    case FS_IOC_FIEMAP:
      return Errno(EOPNOTSUPP);
    case FICLONE:
      return Clone(task, file, static_cast<Fd>(arg));
    default: {  // FICLONERANGE, of which the source comes first.
      const auto range = TRY(task.mem().ReadArray(UserPtr<const int64_t>{UserAddr{arg}}, 4));
      return Clone(task, file, static_cast<Fd>(range[0]));
    }
  }
}

Result<int64_t> StoredFileIoctl(Task& task, File& file, uint32_t command, uint64_t arg) {
  if (command == FIONREAD) return BytesLeft(task, file, arg);
  const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
  if (command == FIBMAP && S_ISREG(attributes.mode)) {
    return Errno(HasCapability(task, CAP_SYS_RAWIO) ? EINVAL : EPERM);
  }
  if (!IsStored(attributes.mode) || !HasInodeFlags(file)) return Errno(ENOTTY);
  switch (command) {
    case FS_IOC_GETFLAGS:
      TRY(task.mem().Write(UserPtr<int>{UserAddr{arg}}, 0));
      return 0;
    case FS_IOC_SETFLAGS:
      TRY(SetInodeFlags(task, file, TRY(task.mem().Read(UserPtr<const int>{UserAddr{arg}}))));
      return 0;
    case FS_IOC_FSGETXATTR: {
      constexpr std::array<std::byte, sizeof(fsxattr)> kNothing{};
      TRY(task.mem().WriteBytes(UserAddr{arg}, kNothing));
      return 0;
    }
    default:
      return Errno(ENOTTY);
  }
}

}  // namespace syscalls
