#include "syscalls/open.h"

#include <fcntl.h>
#include <linux/openat2.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "syscalls/common.h"

namespace syscalls {
namespace {

constexpr uint32_t kKernelLargeFile = 0100000;  // glibc's O_LARGEFILE is 0 on x86-64.
constexpr uint32_t kValidFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND |
                                 O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT | O_DIRECTORY |
                                 O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | O_TMPFILE |
                                 kKernelLargeFile;
constexpr uint32_t kPathFlags = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
constexpr uint64_t kValidResolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS |
                                   RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;

// What open(2) and openat2(2) have in common, with flags and mode already cleaned.
Result<Fd> DoOpen(Task& task, Fd dirfd, UserCString path, OpenFlags flags, uint32_t mode,
                  uint64_t resolve) {
  const uint32_t raw = flags.raw();
  if ((raw & O_TMPFILE) == O_TMPFILE) {
    if (!flags.writable()) return Errno(EINVAL);
  } else if ((raw & (O_TMPFILE & ~O_DIRECTORY)) != 0) {
    return Errno(EINVAL);
  }
  // Linux before 6.4 created a regular file here, to everybody's surprise.
  if ((raw & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY)) return Errno(EINVAL);
  const std::string name = TRY(task.mem().ReadPath(path));
  if (name.empty()) return Errno(ENOENT);  // Whatever the descriptor is.
  // First, so that nothing is made that there is no descriptor for.
  ReservedFd reserved(task, TRY(task.ReserveFd()));
  const bool from_dirfd = (resolve & RESOLVE_IN_ROOT) != 0;
  const sentry::WalkContext context =
      from_dirfd ? TRY(task.walk_context(dirfd)) : TRY(ContextFor(task, dirfd, name));
  Ref<File> file = TRY(task.vfs().Open(context, name, flags.Without(O_CLOEXEC), mode, resolve));
  if (!flags.has(O_PATH)) {
    // A fifo waits for its other end even when nobody asked for blocking reads.
    TRY(sentry::RetryWhileBlocked(task, *file, POLLIN | POLLOUT,
                                  [&] { return file->FinishOpen(); }));
  }
  return reserved.Install(std::move(file), flags.has(O_CLOEXEC));
}

}  // namespace

OpenFlags CleanOpenFlags(uint32_t flags) {
  flags = (flags & kValidFlags) | kKernelLargeFile;
  return OpenFlags((flags & O_PATH) != 0 ? flags & kPathFlags : flags);
}

Result<Fd> Openat(Task& task, Fd dirfd, UserCString path, uint32_t flags, uint32_t mode) {
  const OpenFlags cleaned = CleanOpenFlags(flags);
  const bool creates = (cleaned.raw() & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) != 0;
  return DoOpen(task, dirfd, path, cleaned, creates ? mode & 07777 : 0, 0);
}

Result<Fd> Open(Task& task, UserCString path, uint32_t flags, uint32_t mode) {
  return Openat(task, sentry::kAtFdCwd, path, flags, mode);
}

Result<Fd> Creat(Task& task, UserCString path, uint32_t mode) {
  return Openat(task, sentry::kAtFdCwd, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

Result<Fd> Openat2(Task& task, Fd dirfd, UserCString path, UserAddr how_addr, uint64_t size) {
  if (size < sizeof(abi::OpenHow)) return Errno(EINVAL);
  if (size > kPageSize) return Errno(E2BIG);
  std::array<std::byte, kPageSize> bytes;
  const std::span<std::byte> given(bytes.data(), size);
  TRY(task.mem().ReadBytes(how_addr, given));
  // Members that this kernel does not know must be zero.
  const auto rest = given.subspan(sizeof(abi::OpenHow));
  if (std::any_of(rest.begin(), rest.end(), [](std::byte b) { return b != std::byte{0}; })) {
    return Errno(E2BIG);
  }
  abi::OpenHow how;
  memcpy(&how, bytes.data(), sizeof(how));
  if ((how.flags & ~uint64_t{kValidFlags}) != 0 || (how.resolve & ~kValidResolve) != 0) {
    return Errno(EINVAL);
  }
  if ((how.resolve & RESOLVE_BENEATH) != 0 && (how.resolve & RESOLVE_IN_ROOT) != 0) {
    return Errno(EINVAL);
  }
  const uint32_t flags = static_cast<uint32_t>(how.flags);
  const bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
  if (creates ? (how.mode & ~uint64_t{07777}) != 0 : how.mode != 0) return Errno(EINVAL);
  if ((flags & O_PATH) != 0 && (flags & ~kPathFlags) != 0) return Errno(EINVAL);
  if ((how.resolve & RESOLVE_CACHED) != 0) return Errno(EAGAIN);  // "Try without" is allowed.
  return DoOpen(task, dirfd, path, OpenFlags(flags | kKernelLargeFile),
                static_cast<uint32_t>(how.mode), how.resolve);
}

}  // namespace syscalls
