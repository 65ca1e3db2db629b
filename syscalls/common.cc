#include "syscalls/common.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <limits>

#include "sentry/task/kernel.h"
#include "syscalls/known_errors.h"

namespace syscalls {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr uint64_t kMaxIovec = 1024;

// Saturates: a timeout of centuries is as good as none.
int64_t Combine(int64_t sec, int64_t nsec) {
  if (sec >= std::numeric_limits<int64_t>::max() / kSecond) {
    return std::numeric_limits<int64_t>::max();
  }
  return sec * kSecond + nsec;
}

}  // namespace

Result<Ref<File>> GetFile(Task& task, Fd fd) {
  Ref<File> file = TRY(task.fds().Get(fd));
  if (file->flags().has(O_PATH)) return Errno(EBADF);
  return file;
}

ReservedFd::~ReservedFd() {
  if (reserved_) task_.fds().Unreserve(fd_);
}

Fd ReservedFd::Install(Ref<File> file, bool close_on_exec) {
  reserved_ = false;
  task_.fds().Install(fd_, std::move(file), close_on_exec);
  return fd_;
}

Result<std::vector<UserSpan>> ReadIovec(Task& task, UserPtr<const abi::Iovec> iov, uint64_t count) {
  if (count > kMaxIovec) return Errno(EINVAL);
  const std::vector<abi::Iovec> pieces = TRY(task.mem().ReadArray(iov, count));
  std::vector<UserSpan> spans;
  spans.reserve(count);
  uint64_t total = 0;
  for (const abi::Iovec& piece : pieces) {
    if (static_cast<int64_t>(piece.length) < 0) return Errno(EINVAL);
    const uint64_t length = std::min(piece.length, kMaxIo - total);
    total += length;
    if (length != 0) spans.push_back({UserAddr{piece.base}, length});
  }
  return spans;
}

Result<std::string> ReadPathOrEmpty(Task& task, UserCString path, uint32_t at_flags) {
  if (!path && (at_flags & AT_EMPTY_PATH) != 0) return std::string();
  return task.mem().ReadPath(path);
}

Result<sentry::WalkContext> ContextFor(Task& task, Fd dirfd, std::string_view path) {
  if (path.starts_with('/')) return task.walk_context();
  return task.walk_context(dirfd);
}

Target TargetOf(const File& file) { return {file.path(), file.inode_ref()}; }

Result<Target> ResolveIn(Task& task, const sentry::WalkContext& context, Fd dirfd,
                         std::string_view name, uint32_t at_flags, Follow follow) {
  if (name.empty() && (at_flags & AT_EMPTY_PATH) != 0 && dirfd != sentry::kAtFdCwd) {
    return TargetOf(*TRY(task.fds().Get(dirfd)));
  }
  bool follow_last = follow == Follow::kYes;
  if ((at_flags & AT_SYMLINK_NOFOLLOW) != 0) follow_last = false;
  if ((at_flags & AT_SYMLINK_FOLLOW) != 0) follow_last = true;
  Path path = TRY(task.vfs().Walk(
      context, name, {.follow_last = follow_last, .allow_empty = (at_flags & AT_EMPTY_PATH) != 0}));
  if (path.dentry->negative()) return Errno(ENOENT);
  Ref<sentry::Inode> inode = path.dentry->inode_ref();
  return Target{std::move(path), std::move(inode)};
}

Result<Target> ResolveAt(Task& task, Fd dirfd, UserCString path, uint32_t at_flags, Follow follow) {
  const std::string name = TRY(ReadPathOrEmpty(task, path, at_flags));
  // A descriptor that is meant itself need not be a directory.
  const bool itself = name.empty() && (at_flags & AT_EMPTY_PATH) != 0;
  if (name.empty() && !itself) return Errno(ENOENT);  // Whatever the descriptor is.
  const sentry::WalkContext context =
      itself ? task.walk_context() : TRY(ContextFor(task, dirfd, name));
  return ResolveIn(task, context, dirfd, name, at_flags, follow);
}

Result<int64_t> ToNanoseconds(const abi::Timespec& time) {
  if (time.sec < 0 || time.nsec < 0 || time.nsec >= kSecond) return Errno(EINVAL);
  return Combine(time.sec, time.nsec);
}

Result<int64_t> ToNanoseconds(const abi::Timeval& time) {
  if (time.sec < 0 || time.usec < 0 || time.usec >= 1'000'000) return Errno(EINVAL);
  return Combine(time.sec, time.usec * 1000);
}

abi::Timespec ToTimespec(int64_t ns) { return {ns / kSecond, ns % kSecond}; }
abi::Timeval ToTimeval(int64_t ns) { return {ns / kSecond, ns % kSecond / 1000}; }

Result<sentry::Deadline> ReadDeadline(Task& task, UserPtr<const abi::Timespec> timeout) {
  if (!timeout) return sentry::Deadline::Never();
  return sentry::Deadline::After(TRY(ToNanoseconds(TRY(task.mem().Read(timeout)))));
}

Status ReadGrowing(Task& task, UserAddr from, uint64_t size, std::span<std::byte> to) {
  if (size > kPageSize) return Errno(E2BIG);
  std::array<std::byte, kPageSize> bytes;
  const std::span<std::byte> given(bytes.data(), size);
  TRY(task.mem().ReadBytes(from, given));
  const size_t known = std::min<size_t>(size, to.size());
  std::copy_n(given.begin(), known, to.begin());
  const auto rest = given.subspan(known);
  const bool zero =
      std::all_of(rest.begin(), rest.end(), [](std::byte b) { return b == std::byte{0}; });
  return zero ? Status(kOk) : Errno(E2BIG);
}

Result<sentry::SignalSet> ReadSignalSet(Task& task, UserAddr addr, uint64_t size) {
  if (size != sizeof(uint64_t)) return Errno(EINVAL);
  return sentry::SignalSet(TRY(task.mem().Read(UserPtr<const uint64_t>{addr})));
}

bool HasCapability(Task& task, int capability) { return task.creds().HasCapability(capability); }

}  // namespace syscalls
