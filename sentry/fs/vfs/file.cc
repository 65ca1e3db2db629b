#include "sentry/fs/file.h"

#include <sys/mount.h>
#include <time.h>

namespace sentry {

timespec FileTime() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now;
}

void File::SetStatusFlags(OpenFlags flags) {
  constexpr uint32_t kChangeable = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_ASYNC;
  uint32_t old = flags_.load(std::memory_order_relaxed);
  while (!flags_.compare_exchange_weak(old, (old & ~kChangeable) | (flags.raw() & kChangeable),
                                       std::memory_order_relaxed)) {
  }
}

File::AccessTime File::access_time() const {
  if (flags().has(O_NOATIME)) return AccessTime::kKept;
  if (!path_.mount) return AccessTime::kRelative;
  const uint64_t flags = path_.mount->flags();
  const uint64_t none = MS_NOATIME | (path_.dentry->is_directory() ? uint64_t{MS_NODIRATIME} : 0);
  if (path_.mount->read_only() || (flags & none) != 0) return AccessTime::kKept;
  return (flags & MS_RELATIME) != 0 ? AccessTime::kRelative : AccessTime::kStrict;
}

// file_remove_privs() of Linux, with the rights of the opener.
void File::ClearSetIdBits() {
  const Result<Attributes> attributes = inode_->GetAttributes();
  if (!attributes.ok() || !S_ISREG(attributes->mode)) return;
  uint32_t mode = attributes->mode & 07777 & ~uint32_t{S_ISUID};
  if ((mode & S_IXGRP) != 0) mode &= ~uint32_t{S_ISGID};
  AttributeChange change;
  change.mode = mode;
  if (mode != (attributes->mode & 07777)) (void)inode_->SetAttributes(change);
}

Result<size_t> SeekableFile::Read(IoDst& dst) {
  absl::MutexLock lock(&position_mu_);
  const size_t done = TRY(ReadAt(dst, position()));
  set_position(position() + static_cast<int64_t>(done));
  return done;
}

Result<size_t> SeekableFile::Write(IoSrc& src) {
  absl::MutexLock lock(&position_mu_);
  if (flags().has(O_APPEND)) {
    if (src.remaining() == 0) return size_t{0};  // The position stays.
    int64_t end = 0;
    const size_t done = TRY(Append(src, end));
    set_position(end);
    return done;
  }
  return WriteHere(src);
}

Result<size_t> SeekableFile::WriteHere(IoSrc& src) {
  const size_t done = TRY(WriteAt(src, position()));
  set_position(position() + static_cast<int64_t>(done));
  return done;
}

Result<size_t> SeekableFile::WriteOnce(IoSrc& src, bool append) {
  if (append == flags().has(O_APPEND)) return Write(src);
  absl::MutexLock lock(&position_mu_);
  if (!append) return WriteHere(src);
  if (src.remaining() == 0) return size_t{0};
  const size_t done = TRY(WriteAt(src, kAppend));
  set_position(static_cast<int64_t>(TRY(inode().GetAttributes()).size));
  return done;
}

Result<size_t> SeekableFile::Append(IoSrc& src, int64_t& end) {
  end = static_cast<int64_t>(TRY(inode().GetAttributes()).size);
  const size_t done = TRY(WriteAt(src, end));
  end += static_cast<int64_t>(done);
  return done;
}

Result<int64_t> SeekableFile::Seek(int64_t offset, int whence) {
  absl::MutexLock lock(&position_mu_);
  int64_t target = offset;
  switch (whence) {
    case SEEK_SET:
      break;
    case SEEK_CUR:
      if (__builtin_add_overflow(position(), offset, &target)) return Errno(EOVERFLOW);
      break;
    case SEEK_END:
    case SEEK_DATA:
    case SEEK_HOLE: {
      const int64_t size = static_cast<int64_t>(TRY(inode().GetAttributes()).size);
      if (whence == SEEK_END) {
        if (__builtin_add_overflow(size, offset, &target)) return Errno(EOVERFLOW);
        break;
      }
      if (offset < 0 || offset >= size) return Errno(ENXIO);
      target = whence == SEEK_DATA ? offset : size;
      break;
    }
    default:
      return Errno(EINVAL);
  }
  if (target < 0) return Errno(EINVAL);
  set_position(target);
  return target;
}

Result<int64_t> DirectoryFile::Seek(int64_t offset, int whence) {
  absl::MutexLock lock(&position_mu_);
  if (whence == SEEK_CUR) {
    if (__builtin_add_overflow(position_, offset, &offset)) return Errno(EINVAL);
  } else if (whence != SEEK_SET) {
    return Errno(EINVAL);
  }
  if (offset < 0) return Errno(EINVAL);
  if (offset != position_) {
    position_ = offset;
    OnSeekLocked(offset);
  }
  return offset;
}

}  // namespace sentry
