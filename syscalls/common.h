// What handlers of several families need.
#ifndef SYSCALLS_COMMON_H_
#define SYSCALLS_COMMON_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/fs/vfs.h"
#include "sentry/mm/user_memory.h"
#include "sentry/task/waiter.h"
#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

using sentry::File;
using sentry::OpenFlags;
using sentry::Path;
using sentry::UserSpan;

inline constexpr uint64_t kMaxIo = 0x7ffff000;  // MAX_RW_COUNT of Linux.
inline constexpr uint64_t kPageSize = 4096;

// A file for anything but the few calls that accept O_PATH descriptors (EBADF for those).
Result<Ref<File>> GetFile(Task& task, Fd fd);

// A number of Task::ReserveFd, given up unless the file comes.
class ReservedFd {
 public:
  ReservedFd(Task& task, Fd fd) : task_(task), fd_(fd) {}
  ReservedFd(const ReservedFd&) = delete;
  ~ReservedFd();
  Fd Install(Ref<File> file, bool close_on_exec);

 private:
  Task& task_;
  const Fd fd_;
  bool reserved_ = true;
};

// Checks and clips an iovec array as Linux does: more than 1024 pieces or a negative length are
// EINVAL; the total is cut at kMaxIo.
Result<std::vector<UserSpan>> ReadIovec(Task& task, UserPtr<const abi::Iovec> iov, uint64_t count);

// Where a walk of `path` starts: absolute paths ignore `dirfd`, even a bad one.
Result<sentry::WalkContext> ContextFor(Task& task, Fd dirfd, std::string_view path);

// What a path call is about. `path` is empty for pipes and other files without a name.
struct Target {
  Path path;
  Ref<sentry::Inode> inode;
};
enum class Follow : uint8_t { kNo, kYes };
// Resolves dirfd and path. AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW and AT_EMPTY_PATH of `at_flags`
// count (with the last, a null pointer is an empty path); `follow` holds without either.
Result<Target> ResolveAt(Task& task, Fd dirfd, UserCString path, uint32_t at_flags, Follow follow);
// The same with the credentials and start of `context` (access(2)).
Result<Target> ResolveIn(Task& task, const sentry::WalkContext& context, Fd dirfd,
                         std::string_view name, uint32_t at_flags, Follow follow);
Result<std::string> ReadPathOrEmpty(Task& task, UserCString path, uint32_t at_flags);
Target TargetOf(const File& file);

// A timeout that must be normalised and not negative (EINVAL).
Result<int64_t> ToNanoseconds(const abi::Timespec& time);
Result<int64_t> ToNanoseconds(const abi::Timeval& time);
abi::Timespec ToTimespec(int64_t ns);
abi::Timeval ToTimeval(int64_t ns);
// A deadline from an optional relative timeout; a null pointer is never.
Result<sentry::Deadline> ReadDeadline(Task& task, UserPtr<const abi::Timespec> timeout);

// copy_struct_from_user() of Linux: what the application knows of a structure that may grow. What it
// leaves out is zero; E2BIG when it sets what this kernel does not know, or for more than a page.
Status ReadGrowing(Task& task, UserAddr from, uint64_t size, std::span<std::byte> to);
template <typename T>
Result<T> ReadGrowing(Task& task, UserAddr from, uint64_t size) {
  T value{};
  TRY(ReadGrowing(task, from, size, std::as_writable_bytes(std::span(&value, 1))));
  return value;
}

// Reads a kernel sigset_t; a `size` other than 8 is EINVAL.
Result<sentry::SignalSet> ReadSignalSet(Task& task, UserAddr addr, uint64_t size);

bool HasCapability(Task& task, int capability);

}  // namespace syscalls

#endif  // SYSCALLS_COMMON_H_
