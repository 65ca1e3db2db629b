#include "syscalls/memory.h"

#include <asm/prctl.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <utility>

#include "sentry/fs/vfs.h"
#include "sentry/task/kernel.h"
#include "sentry/task/restart.h"
#include "syscalls/common.h"

namespace syscalls {
namespace {

constexpr int kMapDroppable = 0x08;  // MAP_DROPPABLE, a type of its own.
constexpr uint64_t kProtSem = 0x8;   // PROT_SEM, which does nothing on x86.

bool IsNoexec(const File& file) {
  return file.path().mount && (file.path().mount->flags() & MS_NOEXEC) != 0;
}

// The access mode that a mapping needs of its file, in Linux's order.
Status CheckMappable(File& file, int prot, int flags) {
  const bool shared = (flags & MAP_TYPE) == MAP_SHARED || (flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
  const OpenFlags mode = file.flags();
  if (shared && (prot & PROT_WRITE) != 0 && !mode.writable()) return Errno(EACCES);
  if (!mode.readable()) return Errno(EACCES);
  if (IsNoexec(file) && (prot & PROT_EXEC) != 0) return Errno(EPERM);
  return kOk;
}

// For /proc/PID/maps, where the host can tell the inode but not what it is called here.
void RecordName(Task& task, File& file, int host_fd) {
  struct stat host;
  const auto attributes = file.inode().GetAttributes();
  if (fstat(host_fd, &host) != 0 || !attributes.ok()) return;
  task.mm().RecordName({.host_dev = host.st_dev,
                        .host_ino = host.st_ino,
                        .name = file.path().dentry
                                    ? task.vfs().PathString(task.fs().root(), file.path())
                                    : file.AnonymousName(),
                        .dev = attributes->dev,
                        .ino = attributes->ino,
                        .noexec = IsNoexec(file)});
}

// Whether `fd` of the sentry gives more access than the application's own descriptor does.
bool IsWritable(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

bool HasOtherThreads(Task& task) {
  absl::MutexLock lock(&task.kernel().mu());
  return task.group().tasks.size() > 1;
}

// The host's descriptor to map. A shared mapping of a file that may not be written has to be made
// of one that is read-only as well: the host allows mprotect(2) what its own descriptor allows. So has any
// mapping beside other threads: one of them may just have been allowed to map another file, shared
// and to be written, by the same number, and get this one.
Result<int> DescriptorToMap(Task& task, File& file, bool shared) {
  const bool writable = file.flags().writable();
  Result<UniqueFd> fresh = file.FreshHostFd();
  if (fresh.ok()) {
    task.mapping_fd = *std::move(fresh);
    return task.mapping_fd.get();
  }
  const int host_fd = TRY(file.HostFdForMapping(shared && writable));
  if (writable || !IsWritable(host_fd) || (!shared && !HasOtherThreads(task))) return host_fd;
  task.mapping_fd = TRY(task.kernel().platform().ReopenReadOnly(host_fd));
  return task.mapping_fd.get();
}

Result<Control> MapFile(Task& task, uint64_t addr, uint64_t length, int prot, int flags, Fd fd,
                        uint64_t offset) {
  const Ref<File> file = TRY(GetFile(task, fd));
  const uint64_t rounded = (length + kPageSize - 1) & ~(kPageSize - 1);
  uint64_t end = 0;
  if (__builtin_add_overflow(offset, rounded, &end) || static_cast<int64_t>(end) < 0) {
    return Errno(EOVERFLOW);
  }
  TRY(CheckMappable(*file, prot, flags));
  const bool shared = (flags & MAP_TYPE) != MAP_PRIVATE;
  const int host_fd = TRY(DescriptorToMap(task, *file, shared));
  RecordName(task, *file, host_fd);
  // Elsewhere the address is not known yet, and the host's list of mappings is the truth anyhow.
  if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0) {
    task.mm().RecordFile(addr, rounded, file, offset, shared);
  }
  return Control::ContinueWith(host_fd, static_cast<int>(fd));
}

// mprotect(2) and pkey_mprotect(2). VM_MAYEXEC is the sentry's: for the host no mount is noexec.
// (A thread that maps such a file just now gets by: that is between the application and itself.)
Result<Control> Protect(Task& task, const Context::HostCallRequest& call) {
  const uint64_t addr = call.args[0], length = call.args[1], prot = call.args[2];
  if (!Aligned(addr)) return Errno(EINVAL);
  constexpr uint64_t kOrdinary = PROT_READ | PROT_WRITE | PROT_EXEC | kProtSem;
  constexpr uint64_t kGrows = PROT_GROWSDOWN | PROT_GROWSUP;
  if ((prot & kGrows) == kGrows) return Errno(EINVAL);
  if (length == 0) return Control::Return(0);
  uint64_t end = 0;
  const uint64_t rounded = (length + kPageSize - 1) & ~(kPageSize - 1);
  if (rounded < length || __builtin_add_overflow(addr, rounded, &end)) return Errno(ENOMEM);
  if ((prot & ~(kOrdinary | kGrows)) != 0) return Errno(EINVAL);
  TRY(CheckRange(task, addr, length, ENOMEM));
  // What the host refuses whatever the mapping is, it refuses first.
  if ((prot & PROT_EXEC) == 0 || (prot & ~kOrdinary) != 0) return Control::Continue();
  const auto refused = task.mm().FindNoexec(addr, rounded);
  if (!refused.has_value()) return Control::Continue();
  if (*refused == addr) return Errno(EACCES);
  // As Linux: what lies in front of it has been changed by then.
  task.deferred_call = [call, front = *refused - addr](Task&, Context& context) {
    Context::HostCallRequest first = call;
    first.args[1] = front;
    const Result<uint64_t> changed = context.HostCall(first);
    const Errno error = changed.ok() ? Errno(EACCES) : changed.error();
    return Control::Return(-int64_t{error.code()}).verdict;
  };
  return sentry::kRestartNoIntr;
}

}  // namespace

bool Aligned(uint64_t addr) { return addr % kPageSize == 0; }

Status CheckRange(Task& task, uint64_t addr, uint64_t length, int error) {
  if (length == 0) return kOk;  // Wherever it is: nothing is touched.
  const uint64_t rounded = (length + kPageSize - 1) & ~(kPageSize - 1);
  uint64_t end = 0;
  if (rounded < length || __builtin_add_overflow(addr, rounded, &end)) return Errno(error);
  if (end > task.mem().space().user_end()) return Errno(error);
  return kOk;
}

Result<Control> ContinueWithin(Task& task, uint64_t addr, uint64_t length, int error) {
  TRY(CheckRange(task, addr, length, error));
  return Control::Continue();
}

Result<Control> Mmap(Task& task, uint64_t addr, uint64_t length, int prot, int flags, Fd fd,
                     uint64_t offset) {
  if (!Aligned(offset)) return Errno(EINVAL);
  const bool anonymous = (flags & MAP_ANONYMOUS) != 0;
  if (!anonymous) TRY(GetFile(task, fd));
  if (length == 0) return Errno(EINVAL);
  const uint64_t rounded = (length + kPageSize - 1) & ~(kPageSize - 1);
  if (rounded == 0 || rounded > task.mem().space().user_end()) return Errno(ENOMEM);
  const int type = flags & MAP_TYPE;
  const bool known_type = type == MAP_SHARED || type == MAP_PRIVATE ||
                          (type == MAP_SHARED_VALIDATE && !anonymous) ||
                          (type == kMapDroppable && anonymous);
  if (!known_type) return Errno(EINVAL);
  const bool fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0;
  if (fixed && !Aligned(addr)) return Errno(EINVAL);
  // A mere hint is taken where there is room, and around the platform's part there is none.
  TRY(CheckRange(task, fixed ? addr : 0, length, ENOMEM));
  if (!anonymous) return MapFile(task, addr, length, prot, flags, fd, offset);
  if (fixed) task.mm().Forget(addr, (length + kPageSize - 1) & ~(kPageSize - 1));
  return Control::Continue();
}

Result<Control> Munmap(Task& task, uint64_t addr, uint64_t length) {
  if (!Aligned(addr) || length == 0) return Errno(EINVAL);
  TRY(CheckRange(task, addr, length, EINVAL));
  task.mm().Forget(addr, length);
  return Control::Continue();
}

Result<Control> RemapFilePages(Task& task, uint64_t addr, uint64_t size, int prot,
                               uint64_t page_offset, int flags) {
  if (prot != 0) return Errno(EINVAL);
  // Linux rounds both down.
  addr &= ~(kPageSize - 1);
  TRY(CheckRange(task, addr, size & ~(kPageSize - 1), EINVAL));
  task.mm().Forget(addr, size);
  return Control::Continue();
}

Result<Control> Mseal(Task& task, uint64_t addr, uint64_t length, uint64_t flags) {
  if (flags != 0 || !Aligned(addr)) return Errno(EINVAL);
  uint64_t end = 0;
  const uint64_t rounded = (length + kPageSize - 1) & ~(kPageSize - 1);
  if (rounded < length || __builtin_add_overflow(addr, rounded, &end)) return Errno(EINVAL);
  return ContinueWithin(task, addr, length, ENOMEM);
}

Result<Control> PkeyMprotect(Task& task, uint64_t addr, uint64_t length, uint64_t prot, int key) {
  return Protect(task, {.nr = SYS_pkey_mprotect,
                        .args = {addr, length, prot, static_cast<uint64_t>(int64_t{key})}});
}

Result<Control> PkeyAlloc(Task& task, uint64_t flags, uint64_t rights) {
  return Control::Continue();
}

Result<Control> PkeyFree(Task& task, int key) { return Control::Continue(); }

Result<Control> Mprotect(Task& task, uint64_t addr, uint64_t length, uint64_t prot) {
  return Protect(task, {.nr = SYS_mprotect, .args = {addr, length, prot}});
}

Result<Control> Mremap(Task& task, uint64_t addr, uint64_t old_length, uint64_t new_length,
                       uint64_t flags, uint64_t new_addr) {
  constexpr uint64_t kKnown = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
  if ((flags & ~kKnown) != 0 || !Aligned(addr) || new_length == 0) return Errno(EINVAL);
  // What may be said of the arguments alone comes first, as in check_mremap_params() of Linux.
  TRY(CheckRange(task, 0, new_length, EINVAL));
  const bool elsewhere = (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0;
  if (elsewhere) {
    if ((flags & MREMAP_MAYMOVE) == 0 || !Aligned(new_addr)) return Errno(EINVAL);
    TRY(CheckRange(task, new_addr, new_length, EINVAL));
  }
  const auto pages = [](uint64_t length) { return (length + kPageSize - 1) / kPageSize; };
  if ((flags & MREMAP_DONTUNMAP) != 0 && pages(old_length) != pages(new_length)) {
    return Errno(EINVAL);
  }
  // Of no length it is a second mapping of what is shared there: not of the platform's.
  TRY(CheckRange(task, addr, std::max<uint64_t>(old_length, 1), EFAULT));
  // Growing in place must not reach the platform's part either.
  if (!elsewhere) TRY(CheckRange(task, addr, new_length, ENOMEM));
  task.mm().Forget(addr, old_length);
  return Control::Continue();
}

Result<Control> Brk(Task& task, uint64_t addr) {
  if (task.mm().layout().native_brk) return Control::Continue();
  // A break that never moves: allocators go on with mmap.
  return Control::Return(static_cast<int64_t>(task.mm().layout().start_brk));
}

Result<Control> ArchPrctl(Task& task, int option, uint64_t addr) {
  switch (option) {
    case ARCH_SET_FS:
    case ARCH_SET_GS:
      if (addr >= task.mem().space().user_end()) return Errno(EPERM);
      return Control::Continue();
    case ARCH_GET_FS:
    case ARCH_GET_GS:
      // The host writes the base there.
      TRY(CheckRange(task, addr, sizeof(uint64_t), EFAULT));
      return Control::Continue();
    default:
      return Errno(EINVAL);
  }
}

}  // namespace syscalls
