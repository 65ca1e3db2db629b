// kcmp(2): whether two tasks share something.
#include <linux/kcmp.h>
#include <unistd.h>

#include <array>
#include <bit>

#include "sentry/task/fd_table.h"
#include "sentry/task/kernel.h"
#include "syscalls/common.h"
#include "syscalls/process.h"
#include "syscalls/process_vm.h"

namespace syscalls {
namespace {

// 0 when they are the same, 1 or 2 for an order that says nothing of addresses (kptr_obfuscate() of
// the kernel).
int64_t Order(int type, const void* one, const void* other) {
  static const std::array<std::array<uint64_t, 2>, KCMP_TYPES> cookies = [] {
    std::array<std::array<uint64_t, 2>, KCMP_TYPES> words{};
    (void)getentropy(words.data(), sizeof(words));
    for (auto& pair : words) pair[1] |= uint64_t{1} << 63 | 1;
    return words;
  }();
  const auto& cookie = cookies[static_cast<size_t>(type)];
  const auto key = [&](const void* p) {
    return (std::bit_cast<uint64_t>(p) ^ cookie[0]) * cookie[1];
  };
  const uint64_t a = key(one), b = key(other);
  return a == b ? 0 : a < b ? 1 : 2;
}

Result<int64_t> CompareFiles(Task& one, Task& other, uint64_t fd1, uint64_t fd2) {
  if (fd1 > INT32_MAX || fd2 > INT32_MAX) return Errno(EBADF);
  const Ref<File> first = TRY(one.fds_ref()->Get(Fd{static_cast<int>(fd1)}));
  const Ref<File> second = TRY(other.fds_ref()->Get(Fd{static_cast<int>(fd2)}));
  return Order(KCMP_FILE, first.get(), second.get());
}

}  // namespace

Result<int64_t> Kcmp(Task& task, int pid1, int pid2, int type, uint64_t idx1, uint64_t idx2) {
  const Ref<Task> one = task.kernel().FindTask(pid1);
  const Ref<Task> other = task.kernel().FindTask(pid2);
  if (!one || !other) return Errno(ESRCH);
  TRY(MayAccessMemory(task, *one, MemoryAccess::kAttach));
  TRY(MayAccessMemory(task, *other, MemoryAccess::kAttach));
  switch (type) {
    case KCMP_FILE:
      return CompareFiles(*one, *other, idx1, idx2);
    case KCMP_VM:
      return Order(type, one->mm_ref().get(), other->mm_ref().get());
    case KCMP_FILES:
      return Order(type, one->fds_ref().get(), other->fds_ref().get());
    case KCMP_FS:
      return Order(type, one->fs_ref().get(), other->fs_ref().get());
    case KCMP_SIGHAND: {
      absl::MutexLock lock(&task.kernel().mu());
      return Order(type, one->group().handlers.get(), other->group().handlers.get());
    }
    case KCMP_IO:
      return 0;  // Nobody has a context of its own.
    case KCMP_SYSVSEM:
    case KCMP_EPOLL_TFD:
      return Errno(EOPNOTSUPP);  // As a kernel that was built without them.
    default:
      return Errno(EINVAL);
  }
}

}  // namespace syscalls
