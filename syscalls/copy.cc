#include "syscalls/copy.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>

#include "sentry/fs/pipe/pipe.h"
#include "sentry/net/socket.h"
#include "syscalls/common.h"
#include "syscalls/file_io.h"

namespace syscalls {
namespace {

constexpr size_t kChunk = 64 << 10;
constexpr uint32_t kSpliceFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;

// One side of a copy: at the file's own position, or at one that the application keeps.
struct Side {
  Ref<File> file;
  UserPtr<int64_t> user;
  std::optional<int64_t> offset;

  Status ReadOffset(Task& task) {
    if (!user) return kOk;
    if (!file->seekable()) return Errno(ESPIPE);
    offset = TRY(task.mem().Read(user));
    return *offset < 0 ? Errno(EINVAL) : Status(kOk);
  }
  void Advance(int64_t n) {
    if (offset) *offset += n;
  }
  Status WriteOffset(Task& task) const {
    return user ? task.mem().Write(user, *offset) : Status(kOk);
  }
};

enum class Wait : uint8_t { kAsFilesSay, kNever };

// Reads at most `size` bytes.
Result<int64_t> Fill(Task& task, Side& in, std::span<std::byte> buffer, Wait wait) {
  sentry::IoDst dst(buffer);
  if (wait == Wait::kAsFilesSay) return ReadFile(task, *in.file, dst, in.offset);
  const auto read = in.offset ? in.file->ReadAt(dst, *in.offset) : in.file->Read(dst);
  if (read.ok() && *read != 0) sentry::notify::OnFile(*in.file, IN_ACCESS);
  return static_cast<int64_t>(TRY(read));
}

// Writes what was read, all of it: bytes that came out of a pipe cannot go back, so that a full
// nonblocking target is waited for, unless `may_go_back`.
Result<int64_t> Drain(Task& task, Side& out, std::span<const std::byte> bytes, bool may_go_back) {
  sentry::IoSrc src(bytes);
  int64_t total = 0;
  // Not until `src` is empty: what throws bytes away need not look at them.
  while (static_cast<size_t>(total) < bytes.size()) {
    std::optional<int64_t> at;
    if (out.offset) at = *out.offset + total;
    const Result<int64_t> written = WriteFile(task, *out.file, src, at);
    if (written.ok()) {
      if (*written == 0) break;
      total += *written;
      continue;
    }
    if (written.error() != Errno(EAGAIN) || (may_go_back && out.file->nonblocking())) {
      if (total != 0) return total;
      return written.error();
    }
    sentry::Waiter waiter(task);
    waiter.Watch(*out.file, POLLOUT);
    if ((out.file->Poll() & (POLLOUT | POLLERR | POLLHUP)) == 0) TRY(waiter.Sleep());
  }
  return total;
}

// Copies until `count` bytes, the end of the source, or, with something done, a source or target
// that would block.
Result<int64_t> Copy(Task& task, Side& in, Side& out, uint64_t count, Wait wait) {
  const size_t size = std::min<uint64_t>(count, kChunk);
  const auto buffer = std::make_unique<std::byte[]>(size);
  auto* const pipe = sentry::FileCast<sentry::PipeFile>(*out.file);
  int64_t total = 0;
  while (static_cast<uint64_t>(total) < count) {
    const bool target_full = (out.file->Poll() & (POLLOUT | POLLERR | POLLHUP)) == 0;
    if (total != 0 && target_full) break;
    if (target_full && (wait == Wait::kNever || out.file->nonblocking())) return Errno(EAGAIN);
    size_t want = std::min<uint64_t>(size, count - static_cast<uint64_t>(total));
    // A pipe with room for a part takes that part, and nobody waits for the rest.
    const size_t room = pipe != nullptr ? pipe->pipe().WritableBytes() : 0;
    if (room != 0) want = std::min(want, room);
    // What is there is enough once something has been copied.
    const Wait now = total == 0 || in.file->seekable() ? wait : Wait::kNever;
    const Result<int64_t> got = Fill(task, in, std::span(buffer.get(), want), now);
    if (!got.ok() && total == 0) return got.error();
    if (!got.ok() || *got == 0) break;
    const std::span<const std::byte> bytes(buffer.get(), static_cast<size_t>(*got));
    const Result<int64_t> put = Drain(task, out, bytes, in.offset || in.file->seekable());
    const int64_t moved = put.ok() ? *put : 0;
    // A source with a position takes back what found no place.
    if (moved < *got && !in.offset && in.file->seekable()) {
      (void)in.file->Seek(moved - *got, SEEK_CUR);
    }
    if (!put.ok() && total == 0) return put.error();
    in.Advance(moved);
    out.Advance(moved);
    total += moved;
    if (moved < *got || task.interrupted()) break;
  }
  return total;
}

Result<uint32_t> TypeOf(File& file) { return TRY(file.inode().GetAttributes()).mode & S_IFMT; }

// EINVAL for what Linux cannot splice from: directories, and the device that has nothing.
Status CheckSource(File& file) {
  const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
  const bool null = S_ISCHR(attributes.mode) && attributes.rdev == makedev(1, 3);
  return S_ISDIR(attributes.mode) || null ? Status(Errno(EINVAL)) : kOk;
}

// Descriptors that never had a name, but for pipes, sockets and memfds.
bool IsAnonymous(File& file) {
  return !file.path().dentry && !file.seekable() && file.AnonymousName().starts_with("anon_inode:");
}

// EINVAL for what has no splice_write(): descriptors without a name but for memfds, and /dev/full.
Status CheckTarget(File& file) {
  if (IsAnonymous(file)) return Errno(EINVAL);
  const sentry::Attributes attributes = TRY(file.inode().GetAttributes());
  const bool full = S_ISCHR(attributes.mode) && attributes.rdev == makedev(1, 7);
  return full ? Errno(EINVAL) : Status(kOk);
}

}  // namespace

Result<int64_t> Sendfile(Task& task, Fd out_fd, Fd in_fd, UserPtr<int64_t> offset, uint64_t count) {
  Side in{.file = TRY(GetReadable(task, in_fd)), .user = offset};
  TRY(in.ReadOffset(task));
  Side out{.file = TRY(GetWritable(task, out_fd))};
  // Into a pipe whatever can be spliced, otherwise what has pages.
  const bool to_pipe = sentry::FileCast<sentry::PipeFile>(*out.file) != nullptr;
  const bool streams =
      sentry::FileCast<sentry::Socket>(*in.file) != nullptr || in.file->is_terminal();
  if (!in.file->seekable() && !(to_pipe && streams)) return Errno(EINVAL);
  TRY(CheckSource(*in.file));
  if (out.file->flags().has(O_APPEND)) return Errno(EINVAL);
  TRY(CheckTarget(*out.file));
  const int64_t total = TRY(Copy(task, in, out, std::min(count, kMaxIo), Wait::kAsFilesSay));
  TRY(in.WriteOffset(task));
  return total;
}

Result<int64_t> CopyFileRange(Task& task, Fd in_fd, UserPtr<int64_t> in_offset, Fd out_fd,
                              UserPtr<int64_t> out_offset, uint64_t count, uint32_t flags) {
  Side in{.file = TRY(GetFile(task, in_fd)), .user = in_offset};
  Side out{.file = TRY(GetFile(task, out_fd)), .user = out_offset};
  if (flags != 0) return Errno(EINVAL);
  const sentry::Attributes from = TRY(in.file->inode().GetAttributes());
  const sentry::Attributes to = TRY(out.file->inode().GetAttributes());
  if (S_ISDIR(from.mode) || S_ISDIR(to.mode)) return Errno(EISDIR);
  if (!S_ISREG(from.mode) || !S_ISREG(to.mode)) return Errno(EINVAL);
  if (!in.file->flags().readable() || !out.file->flags().writable()) return Errno(EBADF);
  if (out.file->flags().has(O_APPEND)) return Errno(EBADF);
  if (from.dev != to.dev) return Errno(EXDEV);
  TRY(in.ReadOffset(task));
  TRY(out.ReadOffset(task));
  count = std::min(count, kMaxIo);
  if (in.file->inode_ref() == out.file->inode_ref()) {
    const int64_t start = in.offset ? *in.offset : TRY(in.file->Seek(0, SEEK_CUR));
    const int64_t target = out.offset ? *out.offset : TRY(out.file->Seek(0, SEEK_CUR));
    const auto distance = static_cast<uint64_t>(std::max(start, target)) -
                          static_cast<uint64_t>(std::min(start, target));
    if (distance < count) return Errno(EINVAL);
  }
  const int64_t total = TRY(Copy(task, in, out, count, Wait::kAsFilesSay));
  TRY(in.WriteOffset(task));
  TRY(out.WriteOffset(task));
  return total;
}

Result<int64_t> Splice(Task& task, Fd in_fd, UserPtr<int64_t> in_offset, Fd out_fd,
                       UserPtr<int64_t> out_offset, uint64_t count, uint32_t flags) {
  if (count == 0) return 0;
  if ((flags & ~kSpliceFlags) != 0) return Errno(EINVAL);
  Side in{.file = TRY(GetReadable(task, in_fd)), .user = in_offset};
  Side out{.file = TRY(GetWritable(task, out_fd)), .user = out_offset};
  const bool from_pipe = TRY(TypeOf(*in.file)) == S_IFIFO;
  const bool to_pipe = TRY(TypeOf(*out.file)) == S_IFIFO;
  if (!from_pipe && !to_pipe) return Errno(EINVAL);
  if (from_pipe && to_pipe && in.file->inode_ref() == out.file->inode_ref()) {
    return Errno(EINVAL);
  }
  if ((from_pipe && in.user) || (to_pipe && out.user)) return Errno(ESPIPE);
  if (!to_pipe && out.file->flags().has(O_APPEND)) return Errno(EINVAL);
  TRY(CheckSource(*in.file));
  // What has no positions cannot be read or written at one.
  const auto cannot_seek = [](const Side& side) { return side.user && !side.file->seekable(); };
  if (cannot_seek(in) || cannot_seek(out)) return Errno(EINVAL);
  TRY(CheckTarget(*out.file));
  // Events come as a whole or not at all.
  if (!from_pipe && IsAnonymous(*in.file)) return Errno(EINVAL);
  TRY(in.ReadOffset(task));
  TRY(out.ReadOffset(task));
  const Wait wait = (flags & SPLICE_F_NONBLOCK) != 0 ? Wait::kNever : Wait::kAsFilesSay;
  const int64_t total = TRY(Copy(task, in, out, std::min(count, kMaxIo), wait));
  TRY(in.WriteOffset(task));
  TRY(out.WriteOffset(task));
  return total;
}

// Copies: pages of the application are its own, and SPLICE_F_GIFT is a hint.
Result<int64_t> Vmsplice(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count,
                         uint32_t flags) {
  if ((flags & ~kSpliceFlags) != 0) return Errno(EINVAL);
  const Ref<File> file = TRY(GetFile(task, fd));
  if (sentry::FileCast<sentry::PipeFile>(*file) == nullptr) return Errno(EBADF);
  const std::vector<UserSpan> spans = TRY(ReadIovec(task, iov, count));
  const bool never = (flags & SPLICE_F_NONBLOCK) != 0;
  if (file->flags().writable()) {
    sentry::IoSrc src(task.mem(), spans);
    if (src.remaining() == 0) return 0;
    if (!never) return WriteFile(task, *file, src);
    const Result<size_t> written = file->Write(src);
    if (!written.ok() && written.error() == Errno(EPIPE)) RaiseSignal(task, SIGPIPE);
    return static_cast<int64_t>(TRY(written));
  }
  sentry::IoDst dst(task.mem(), spans);
  if (dst.remaining() == 0) return 0;
  if (!never) return ReadFile(task, *file, dst);
  return static_cast<int64_t>(TRY(file->Read(dst)));
}

Result<int64_t> Tee(Task& task, Fd in_fd, Fd out_fd, uint64_t count, uint32_t flags) {
  if ((flags & ~kSpliceFlags) != 0) return Errno(EINVAL);
  if (count == 0) return 0;
  const Ref<File> in = TRY(GetReadable(task, in_fd)), out = TRY(GetWritable(task, out_fd));
  auto* const from = sentry::FileCast<sentry::PipeFile>(*in);
  auto* const to = sentry::FileCast<sentry::PipeFile>(*out);
  if (from == nullptr || to == nullptr || &from->pipe() == &to->pipe()) return Errno(EINVAL);
  const bool waits = (flags & SPLICE_F_NONBLOCK) == 0 && !in->nonblocking() && !out->nonblocking();
  const size_t size = std::min<uint64_t>(count, kChunk);
  const auto buffer = std::make_unique<std::byte[]>(size);
  sentry::Waiter waiter(task);
  if (waits) waiter.Watch(*in, POLLIN);
  if (waits) waiter.Watch(*out, POLLOUT);
  for (;;) {
    // What was seen may be gone after a wait.
    Result<size_t> done = from->pipe().Peek(std::span(buffer.get(), size));
    if (done.ok()) {
      sentry::IoSrc src(std::span<const std::byte>(buffer.get(), *done));
      done = to->Write(src);
    }
    if (done.ok()) return static_cast<int64_t>(*done);
    if (done.error() == Errno(EPIPE)) RaiseSignal(task, SIGPIPE);
    if (done.error() != Errno(EAGAIN) || !waits) return done.error();
    TRY(waiter.Sleep());
  }
}

}  // namespace syscalls
