// shmget(2), shmat(2), shmdt(2), shmctl(2).
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "absl/strings/str_format.h"
#include "sentry/ipc/namespace.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "syscalls/common.h"
#include "syscalls/ipc.h"
#include "syscalls/memory.h"

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

namespace syscalls {
namespace {

using sentry::IpcCaller;
using sentry::kIpcExecute;
using sentry::kIpcRead;
using sentry::kIpcWrite;
using sentry::SharedMemory;
using sentry::ShmAttachments;
using sentry::ShmSegment;

// What the segment is called while it is being mapped, in the table of the host process.
constexpr int kGuestFd = 1019;

SharedMemory& Shm(Task& task) { return *task.namespaces().ipc().shared_memory; }

uint64_t RoundUp(uint64_t bytes) { return (bytes + kPageSize - 1) & ~(kPageSize - 1); }

struct Attachment {
  uint64_t addr = 0;
  int prot = PROT_READ;
  int flags = MAP_SHARED;
  uint32_t wanted = kIpcRead;  // Rights.
};

// do_shmat()'s arguments, in its order.
Result<Attachment> CheckArguments(int id, uint64_t addr, int flags) {
  Attachment at{.addr = addr};
  if (id < 0) return Errno(EINVAL);
  if (addr != 0) {
    if (!Aligned(addr)) {
      if ((flags & SHM_RND) == 0) return Errno(EINVAL);
      at.addr &= ~(kPageSize - 1);
      if (at.addr == 0 && (flags & SHM_REMAP) != 0) return Errno(EINVAL);
    }
    at.flags |= (flags & SHM_REMAP) != 0 ? MAP_FIXED : MAP_FIXED_NOREPLACE;
  } else if ((flags & SHM_REMAP) != 0) {
    return Errno(EINVAL);
  }
  if ((flags & SHM_RDONLY) == 0) {
    at.prot |= PROT_WRITE;
    at.wanted |= kIpcWrite;
  }
  if ((flags & SHM_EXEC) != 0) {
    at.prot |= PROT_EXEC;
    at.wanted |= kIpcExecute;
  }
  return at;
}

Result<uint64_t> Map(Task& task, Context& context, const ShmSegment& segment,
                     const Attachment& at) {
  int host_fd = segment.memfd.get();
  // mprotect(2), which the host executes unasked, must not make it writable.
  UniqueFd read_only;
  if ((at.prot & PROT_WRITE) == 0) {
    read_only = TRY(task.kernel().platform().ReopenReadOnly(host_fd));
    host_fd = read_only.get();
  }
  const Result<uint64_t> mapped =
      context.HostCall({.nr = SYS_mmap,
                        .args = {at.addr, RoundUp(segment.size), static_cast<uint64_t>(at.prot),
                                 static_cast<uint64_t>(at.flags), uint64_t{kGuestFd}, 0},
                        .host_fd = host_fd,
                        .guest_fd = kGuestFd});
  if (!mapped.ok() && mapped.error() == Errno(EEXIST)) return Errno(EINVAL);
  return mapped;
}

Result<int> Limits(Task& task, UserAddr user) {
  const SharedMemory::Limits limits = Shm(task).limits();
  const uint64_t mni = static_cast<uint64_t>(limits.mni);
  const abi::ShmInfo64 info{.max = limits.max, .min = 1, .mni = mni, .seg = mni, .all = limits.all};
  TRY(task.mem().Write(UserPtr<abi::ShmInfo64>{user}, info));
  return Shm(task).Count().highest_index;
}

Result<int> Usage(Task& task, UserAddr user) {
  const SharedMemory::Totals totals = Shm(task).Count();
  const abi::ShmInfo info{
      .used_ids = totals.segments, .total = totals.pages, .resident = totals.resident_pages};
  TRY(task.mem().Write(UserPtr<abi::ShmInfo>{user}, info));
  return totals.highest_index;
}

Result<int> StatSegment(Task& task, int id, int command, UserAddr user) {
  const IpcCaller caller = CallerOf(task);
  const SharedMemory::Info info =
      command == IPC_STAT ? TRY(Shm(task).Stat(caller, id))
                          : TRY(Shm(task).StatAt(caller, id,
                                                 command == SHM_STAT_ANY ? SharedMemory::Any::kYes
                                                                         : SharedMemory::Any::kNo));
  const abi::ShmidDs out{.perm = abi::IpcPerm::Of(info.perm),
                         .size = info.size,
                         .atime = info.atime,
                         .dtime = info.dtime,
                         .ctime = info.ctime,
                         .cpid = info.creator,
                         .lpid = info.last,
                         .nattch = info.attachments};
  TRY(task.mem().Write(UserPtr<abi::ShmidDs>{user}, out));
  return command == IPC_STAT ? 0 : info.perm.id;
}

}  // namespace

Result<int> Shmget(Task& task, int32_t key, uint64_t size, int flags) {
  if ((flags & SHM_HUGETLB) != 0) {
    // There are no huge pages to give: /proc/sys/vm/nr_hugepages is 0.
    return Errno(HasCapability(task, CAP_IPC_LOCK) ? ENOMEM : EPERM);
  }
  return Shm(task).Get(CallerOf(task), key, size, flags);
}

Result<uint64_t> Shmat(Task& task, Context& context, int id, uint64_t addr, int flags) {
  const Attachment at = TRY(CheckArguments(id, addr, flags));
  sentry::ShmSpaces& spaces = sentry::AttachmentsOf(task.mm());
  const IpcCaller caller = CallerOf(task);
  spaces.set_last_user(caller.pid);
  // Another thread of the process may be at it. It holds the lock for two calls that the host makes
  // at once, and nothing of another process depends on it.
  task.kernel().platform().EnterBlocking();
  absl::MutexLock lock(&spaces.attach_mu());
  task.kernel().platform().LeaveBlocking();
  const std::shared_ptr<ShmAttachments> attachments = spaces.Of(Shm(task));
  const Ref<ShmSegment> segment = TRY(Shm(task).Use(caller, id, at.wanted, *attachments));
  Result<uint64_t> mapped = Errno(ENOMEM);
  if (at.addr == 0 || CheckRange(task, at.addr, segment->size, ENOMEM).ok()) {
    mapped = Map(task, context, *segment, at);
  }
  Shm(task).Attached(caller, *segment, mapped.ok());
  if (!mapped.ok()) return mapped;
  task.mm().Forget(*mapped, RoundUp(segment->size));
  task.mm().RecordName({.host_dev = segment->host_dev,
                        .host_ino = segment->host_ino,
                        .name = absl::StrFormat("/SYSV%08x (deleted)", segment->key),
                        .dev = 1,
                        .ino = static_cast<uint64_t>(id)});
  return mapped;
}

Status Shmdt(Task& task, Context& context, uint64_t addr) {
  if (!Aligned(addr)) return Errno(EINVAL);
  sentry::ShmSpaces& spaces = sentry::AttachmentsOf(task.mm());
  task.kernel().platform().EnterBlocking();
  absl::MutexLock lock(&spaces.attach_mu());
  task.kernel().platform().LeaveBlocking();
  // Of whatever namespace the segment is.
  std::shared_ptr<ShmAttachments> attachments;
  SharedMemory::Detachment found;
  for (const std::shared_ptr<ShmAttachments>& one : spaces.All()) {
    const auto detachment = one->table().FindAttachment(*one, addr);
    if (!detachment.ok()) continue;
    attachments = one;
    found = *detachment;
    break;
  }
  if (!attachments) return Errno(EINVAL);
  Status unmapped = kOk;
  for (const SharedMemory::Piece& piece : found.pieces) {
    const auto done =
        context.HostCall({.nr = SYS_munmap, .args = {piece.begin, piece.end - piece.begin}});
    if (!done.ok()) unmapped = done.error();
  }
  attachments->table().Detached(CallerOf(task), *attachments, found.segment);
  return unmapped;
}

Result<int> Shmctl(Task& task, int id, int command, UserAddr user) {
  if (id < 0 || command < 0) return Errno(EINVAL);
  SharedMemory& shm = Shm(task);
  switch (command) {
    case IPC_INFO:
      return Limits(task, user);
    case SHM_INFO:
      return Usage(task, user);
    case IPC_STAT:
    case SHM_STAT:
    case SHM_STAT_ANY:
      return StatSegment(task, id, command, user);
    case IPC_SET: {
      const abi::ShmidDs wanted = TRY(task.mem().Read(UserPtr<const abi::ShmidDs>{user}));
      TRY(shm.Set(CallerOf(task), id, wanted.perm.uid, wanted.perm.gid, wanted.perm.mode));
      return 0;
    }
    case IPC_RMID:
      TRY(shm.Remove(CallerOf(task), id));
      return 0;
    case SHM_LOCK:
    case SHM_UNLOCK:
      TRY(shm.SetLocked(CallerOf(task), id, command == SHM_LOCK, task.Limit(RLIMIT_MEMLOCK)));
      return 0;
    default:
      return Errno(EINVAL);
  }
}

}  // namespace syscalls
