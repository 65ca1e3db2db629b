#include "syscalls/rw.h"

#include <sys/inotify.h>
#include <sys/uio.h>

#include <algorithm>

#include "syscalls/common.h"
#include "syscalls/file_io.h"

namespace syscalls {
namespace {

using sentry::IoDst;
using sentry::IoSrc;

// Positioned calls on pipes and terminals are ESPIPE, whatever the access mode.
Result<Ref<File>> GetSeekable(Task& task, Fd fd, int64_t offset) {
  if (offset < 0) return Errno(EINVAL);
  Ref<File> file = TRY(GetFile(task, fd));
  if (!file->seekable()) return Errno(ESPIPE);
  return file;
}

Status CheckEnd(int64_t offset, uint64_t count) {
  int64_t end = 0;
  if (__builtin_add_overflow(offset, std::min(count, kMaxIo), &end)) return Errno(EINVAL);
  return kOk;
}

UserSpan Buffer(UserAddr buffer, uint64_t count) { return {buffer, std::min(count, kMaxIo)}; }

}  // namespace

Result<int64_t> Read(Task& task, Fd fd, UserAddr buffer, uint64_t count) {
  const Ref<File> file = TRY(GetReadable(task, fd));
  if (static_cast<int64_t>(count) < 0) return Errno(EINVAL);
  IoDst dst(task.mem(), Buffer(buffer, count));
  return ReadFile(task, *file, dst);
}

Result<int64_t> Write(Task& task, Fd fd, UserAddr buffer, uint64_t count) {
  const Ref<File> file = TRY(GetWritable(task, fd));
  if (static_cast<int64_t>(count) < 0) return Errno(EINVAL);
  IoSrc src(task.mem(), Buffer(buffer, count));
  return WriteFile(task, *file, src);
}

Result<int64_t> Pread64(Task& task, Fd fd, UserAddr buffer, uint64_t count, int64_t offset) {
  const Ref<File> file = TRY(GetSeekable(task, fd, offset));
  if (!file->flags().readable()) return Errno(EBADF);
  TRY(CheckEnd(offset, count));
  IoDst dst(task.mem(), Buffer(buffer, count));
  return ReadFile(task, *file, dst, offset);
}

Result<int64_t> Pwrite64(Task& task, Fd fd, UserAddr buffer, uint64_t count, int64_t offset) {
  const Ref<File> file = TRY(GetSeekable(task, fd, offset));
  if (!file->flags().writable()) return Errno(EBADF);
  TRY(CheckEnd(offset, count));
  IoSrc src(task.mem(), Buffer(buffer, count));
  // Linux appends even here when the file is O_APPEND.
  if (file->flags().has(O_APPEND)) offset = sentry::SeekableFile::kAppend;
  return WriteFile(task, *file, src, offset);
}

Result<int64_t> Readv(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count) {
  const Ref<File> file = TRY(GetReadable(task, fd));
  IoDst dst(task.mem(), TRY(ReadIovec(task, iov, count)));
  return ReadFile(task, *file, dst);
}

Result<int64_t> Writev(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count) {
  const Ref<File> file = TRY(GetWritable(task, fd));
  IoSrc src(task.mem(), TRY(ReadIovec(task, iov, count)));
  return WriteFile(task, *file, src);
}

Result<int64_t> Preadv(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count,
                       int64_t offset) {
  const Ref<File> file = TRY(GetSeekable(task, fd, offset));
  if (!file->flags().readable()) return Errno(EBADF);
  IoDst dst(task.mem(), TRY(ReadIovec(task, iov, count)));
  return ReadFile(task, *file, dst, offset);
}

Result<int64_t> Pwritev(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count,
                        int64_t offset) {
  const Ref<File> file = TRY(GetSeekable(task, fd, offset));
  if (!file->flags().writable()) return Errno(EBADF);
  IoSrc src(task.mem(), TRY(ReadIovec(task, iov, count)));
  if (file->flags().has(O_APPEND)) offset = sentry::SeekableFile::kAppend;
  return WriteFile(task, *file, src, offset);
}

namespace {

constexpr uint32_t kNoAppend = 0x20;  // RWF_NOAPPEND.
// RWF_HIPRI, RWF_DSYNC and RWF_SYNC are hints here: the host's page cache is the only one.
constexpr uint32_t kKnownFlags =
    RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | kNoAppend;

// RWF_NOWAIT of stored files: tmpfs does not know it, others when they read.
Status CheckNoWait(File& file, bool writes) {
  const sentry::Path& path = file.path();
  if (!path.mount || !S_ISREG(path.dentry->type())) return kOk;
  return writes || path.mount->fs_type() == "tmpfs" ? Errno(EOPNOTSUPP) : Status(kOk);
}

// RWF_NOWAIT: what is there, or EAGAIN.
Result<int64_t> ReadNow(File& file, IoDst& dst, int64_t offset) {
  const size_t size = TRY(offset < 0 ? file.Read(dst) : file.ReadAt(dst, offset));
  if (size != 0) sentry::notify::OnFile(file, IN_ACCESS);
  return static_cast<int64_t>(size);
}

Result<int64_t> WriteNow(File& file, IoSrc& src, int64_t offset) {
  const size_t size = TRY(offset < 0 ? file.Write(src) : file.WriteAt(src, offset));
  if (size != 0) sentry::notify::OnFile(file, IN_MODIFY);
  return static_cast<int64_t>(size);
}

}  // namespace

Result<int64_t> Preadv2(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count,
                        int64_t offset, uint64_t offset_high, uint32_t flags) {
  if (offset < -1) return Errno(EINVAL);
  const Ref<File> file =
      offset == -1 ? TRY(GetReadable(task, fd)) : TRY(GetSeekable(task, fd, offset));
  if (!file->flags().readable()) return Errno(EBADF);
  if ((flags & ~kKnownFlags) != 0) return Errno(EOPNOTSUPP);
  if ((flags & RWF_NOWAIT) != 0) {
    TRY(CheckNoWait(*file, /*writes=*/false));
    IoDst dst(task.mem(), TRY(ReadIovec(task, iov, count)));
    return ReadNow(*file, dst, offset);
  }
  if (offset == -1) return Readv(task, fd, iov, count);
  return Preadv(task, fd, iov, count, offset);
}

Result<int64_t> Pwritev2(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count,
                         int64_t offset, uint64_t offset_high, uint32_t flags) {
  if (offset < -1) return Errno(EINVAL);
  const Ref<File> file =
      offset == -1 ? TRY(GetWritable(task, fd)) : TRY(GetSeekable(task, fd, offset));
  if (!file->flags().writable()) return Errno(EBADF);
  if ((flags & ~kKnownFlags) != 0) return Errno(EOPNOTSUPP);
  if ((flags & RWF_APPEND) != 0 && (flags & kNoAppend) != 0) return Errno(EINVAL);
  if ((flags & RWF_NOWAIT) != 0) {
    TRY(CheckNoWait(*file, /*writes=*/true));
    IoSrc src(task.mem(), TRY(ReadIovec(task, iov, count)));
    return WriteNow(*file, src, offset);
  }
  if ((flags & (RWF_APPEND | kNoAppend)) != 0) {
    const bool append = (flags & RWF_APPEND) != 0;
    IoSrc src(task.mem(), TRY(ReadIovec(task, iov, count)));
    if (offset == -1) return WriteFile(task, *file, src, std::nullopt, append);
    return WriteFile(task, *file, src, append ? sentry::SeekableFile::kAppend : offset);
  }
  if (offset == -1) return Writev(task, fd, iov, count);
  return Pwritev(task, fd, iov, count, offset);
}

Result<int64_t> Lseek(Task& task, Fd fd, int64_t offset, uint32_t whence) {
  const Ref<File> file = TRY(GetFile(task, fd));
  if (whence > SEEK_HOLE) return Errno(EINVAL);
  return file->Seek(offset, static_cast<int>(whence));
}

}  // namespace syscalls
