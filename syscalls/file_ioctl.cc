#include "syscalls/file_ioctl.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

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

// The checks of ioctl_file_dedupe_range() and vfs_dedupe_file_range() in their order, as far as a
// filesystem comes that cannot share blocks.
Result<int64_t> Deduplicate(Task& task, File& from, uint64_t arg) {
  constexpr uint64_t kCountOffset = offsetof(file_dedupe_range, dest_count);
  const auto count = TRY(task.mem().Read(UserPtr<const uint16_t>{UserAddr{arg + kCountOffset}}));
  const uint64_t size = sizeof(file_dedupe_range) + count * sizeof(file_dedupe_range_info);
  if (size > kBlockSize) return Errno(ENOMEM);  // A page, whatever the count says.
  std::array<std::byte, kBlockSize> copy;
  TRY(task.mem().ReadBytes(UserAddr{arg}, std::span(copy).first(size)));
  file_dedupe_range range;
  std::memcpy(&range, copy.data(), sizeof(range));
  if (!from.flags().readable()) return Errno(EINVAL);
  if (range.reserved1 != 0 || range.reserved2 != 0) return Errno(EINVAL);
  const uint32_t mode = TRY(from.inode().GetAttributes()).mode;
  if (S_ISDIR(mode)) return Errno(EISDIR);
  return Errno(S_ISREG(mode) ? EOPNOTSUPP : EINVAL);
}

// Flags of inodes (chattr(1)) are known where the sentry keeps the files, and none is ever set. The
// host is not asked for those of its own.
bool HasInodeFlags(const File& file) {
  if (!file.path().mount) return false;
  const std::string& type = file.path().mount->fs_type();
  return type == "overlay" || type == "tmpfs";
}

Status MayChangeFlags(Task& task, File& file) {
  if (file.path().mount->read_only()) return Errno(EROFS);
  const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
  if (task.creds().fsuid != attributes.uid && !task.creds().HasCapability(CAP_FOWNER)) {
    return Errno(EPERM);
  }
  return kOk;
}

// FS_IOC_SETFLAGS with `flags`.
Status SetInodeFlags(Task& task, File& file, int flags) {
  TRY(MayChangeFlags(task, file));
  return flags == 0 ? Status(kOk) : Errno(EOPNOTSUPP);
}

// FS_IOC_FSSETXATTR. Extent sizes and projects are nothing that shmem would keep.
Status SetExtendedFlags(Task& task, File& file, uint64_t arg) {
  std::array<std::byte, sizeof(fsxattr)> copy;
  TRY(task.mem().ReadBytes(UserAddr{arg}, copy));
  fsxattr asked;
  std::memcpy(&asked, copy.data(), sizeof(asked));
  TRY(MayChangeFlags(task, file));
  const bool nothing = asked.fsx_xflags == 0 && asked.fsx_extsize == 0 && asked.fsx_projid == 0 &&
                       asked.fsx_cowextsize == 0;
  return nothing ? Status(kOk) : Errno(EOPNOTSUPP);
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
    case FIDEDUPERANGE:
      return Deduplicate(task, file, arg);
    // No filesystem here tells where its blocks are.
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
    case FS_IOC_FSSETXATTR:
      TRY(SetExtendedFlags(task, file, arg));
      return 0;
    default:
      return Errno(ENOTTY);
  }
}

}  // namespace syscalls
