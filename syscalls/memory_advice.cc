#include "syscalls/memory_advice.h"

#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <vector>

#include "sentry/fs/anon/pidfd.h"
#include "sentry/mm/host_maps.h"
#include "sentry/task/kernel.h"
#include "syscalls/common.h"
#include "syscalls/memory.h"
#include "syscalls/process_vm.h"

namespace syscalls {
namespace {

using sentry::HostRange;

// Newer than the build's headers.
#ifndef MADV_DONTNEED_LOCKED
constexpr int MADV_DONTNEED_LOCKED = 24;
#endif
#ifndef MADV_COLLAPSE
constexpr int MADV_COLLAPSE = 25;
#endif
constexpr int kSoftOffline = 101;                       // MADV_SOFT_OFFLINE.
constexpr int kGuardInstall = 102, kGuardRemove = 103;  // MADV_GUARD_*.

enum class Advice : uint8_t { kHost, kIgnored, kForbidden, kUnknown };

// Who follows an advice.
Advice Classify(int advice) {
  switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_REMOVE:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case MADV_DONTNEED_LOCKED:
    case MADV_COLLAPSE:
    case kGuardInstall:
    case kGuardRemove:
      return Advice::kHost;
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
      return Advice::kIgnored;  // Pages merged with strangers' tell what those contain.
    case MADV_HWPOISON:
    case kSoftOffline:
      return Advice::kForbidden;
    default:
      return Advice::kUnknown;
  }
}

std::vector<HostRange> HostRanges(sentry::Mm& mm) {
  const Result<std::string> text = mm.memory().space().HostMaps();
  return text.ok() ? sentry::ParseHostMaps(*text) : std::vector<HostRange>();
}

// The checks that every advice begins with: the page-aligned length, or 0 for nothing to do.
Result<uint64_t> CheckAdvice(int advice, uint64_t addr, uint64_t length) {
  const Advice how = Classify(advice);
  if (how == Advice::kUnknown || !Aligned(addr)) return Errno(EINVAL);
  const uint64_t rounded = (length + kPageSize - 1) & ~(kPageSize - 1);
  if (rounded < length || addr + rounded < addr) return Errno(EINVAL);
  if (how == Advice::kForbidden) return Errno(EPERM);
  return rounded;
}

// Advice without effect: only what is mapped takes it.
Status Ignore(sentry::Mm& mm, uint64_t addr, uint64_t length) {
  if (length == 0) return kOk;
  return sentry::CoversRange(HostRanges(mm), addr, addr + length) ? Status(kOk)
                                                                  : Status(Errno(ENOMEM));
}

}  // namespace

Result<Control> Madvise(Task& task, uint64_t addr, uint64_t length, int advice) {
  const uint64_t rounded = TRY(CheckAdvice(advice, addr, length));
  if (Classify(advice) == Advice::kHost) return ContinueWithin(task, addr, rounded, ENOMEM);
  TRY(Ignore(task.mm(), addr, rounded));
  return Control::Return(0);
}

Result<int64_t> ProcessMadvise(Task& task, Context& context, Fd pidfd,
                               UserPtr<const abi::Iovec> iov, uint64_t count, int advice,
                               uint32_t flags) {
  if (flags != 0) return Errno(EINVAL);
  const std::vector<UserSpan> spans = TRY(ReadIovec(task, iov, count));
  const Ref<Task> other = TRY(TaskOfPidfd(task, pidfd));
  const bool own = &other->group() == &task.group();
  // Of others' memory only what cannot change its contents.
  if (!own && advice != MADV_COLD && advice != MADV_PAGEOUT && advice != MADV_WILLNEED &&
      advice != MADV_COLLAPSE) {
    return Errno(EINVAL);
  }
  TRY(MayAccessMemory(task, *other, MemoryAccess::kRead));
  if (!own && !HasCapability(task, CAP_SYS_NICE)) return Errno(EPERM);
  const Ref<sentry::Mm> mm = other->mm_ref();
  int64_t done = 0;
  for (const UserSpan& span : spans) {
    const auto one = [&]() -> Status {
      const uint64_t rounded = TRY(CheckAdvice(advice, span.addr.raw, span.size));
      TRY(CheckRange(task, span.addr.raw, rounded, ENOMEM));
      if (!own || Classify(advice) != Advice::kHost) return Ignore(*mm, span.addr.raw, rounded);
      TRY(context.HostCall(
          {.nr = SYS_madvise, .args = {span.addr.raw, rounded, static_cast<uint64_t>(advice)}}));
      return kOk;
    }();
    if (!one.ok()) return done != 0 ? Result<int64_t>(done) : one.error();
    done += static_cast<int64_t>(span.size);
  }
  return done;
}

Status ProcessMrelease(Task& task, Fd pidfd, uint32_t flags) {
  if (flags != 0) return Errno(EINVAL);
  const Ref<Task> other = TRY(TaskOfPidfd(task, pidfd));
  // A process that is to die has its memory taken away at once, so this is one that is not.
  return Errno(EINVAL);
}

Result<Control> Msync(Task& task, uint64_t addr, uint64_t length, int flags) {
  constexpr int kKnown = MS_ASYNC | MS_INVALIDATE | MS_SYNC;
  if ((flags & ~kKnown) != 0 || !Aligned(addr)) return Errno(EINVAL);
  if ((flags & MS_ASYNC) != 0 && (flags & MS_SYNC) != 0) return Errno(EINVAL);
  // Linux rounds first, and looks then.
  const uint64_t size = (length + kPageSize - 1) & ~(kPageSize - 1);
  return ContinueWithin(task, addr, size, ENOMEM);
}

Result<Control> Mincore(Task& task, uint64_t addr, uint64_t length, uint64_t vector) {
  if (!Aligned(addr)) return Errno(EINVAL);
  TRY(CheckRange(task, addr, length, ENOMEM));
  // The host writes a byte for each page: both ranges must be the application's.
  const uint64_t pages = length / kPageSize + (length % kPageSize != 0 ? 1 : 0);
  TRY(CheckRange(task, vector, pages, EFAULT));
  return Control::Continue();
}

Result<Control> Mlock(Task& task, uint64_t addr, uint64_t length) {
  // Linux rounds to pages first and then looks for an end that lies in front of the beginning.
  const uint64_t size = (length + addr % kPageSize + kPageSize - 1) & ~(kPageSize - 1);
  addr &= ~(kPageSize - 1);
  if (addr + size < addr) return Errno(EINVAL);
  return ContinueWithin(task, addr, size, ENOMEM);
}

Result<Control> Mlock2(Task& task, uint64_t addr, uint64_t length, int flags) {
  if ((flags & ~MLOCK_ONFAULT) != 0) return Errno(EINVAL);
  return Mlock(task, addr, length);
}

Result<Control> Munlock(Task& task, uint64_t addr, uint64_t length) {
  return Mlock(task, addr, length);
}

namespace {

// Locks what is mapped. The host's mlockall(2) would count the platform's part of the address
// space.
Status LockCurrent(Task& task, Context& context, int flags) {
  const std::vector<HostRange> ranges = HostRanges(task.mm());
  uint64_t total = 0;
  for (const HostRange& range : ranges) total += range.end - range.begin;
  if (total > task.Limit(RLIMIT_MEMLOCK) && !HasCapability(task, CAP_IPC_LOCK)) {
    return Errno(ENOMEM);
  }
  const uint64_t on_fault = (flags & MCL_ONFAULT) != 0 ? MLOCK_ONFAULT : 0;
  for (size_t i = 0; i < ranges.size();) {
    const HostRange& first = ranges[i];
    uint64_t end = first.end;
    // Neighbours of a kind in one call.
    const bool anonymous = first.ino == 0 && (first.readable || first.writable);
    for (++i; i < ranges.size() && ranges[i].begin == end && !ranges[i].special; ++i) {
      const bool alike = ranges[i].ino == 0 && (ranges[i].readable || ranges[i].writable);
      if (alike != anonymous) break;
      end = ranges[i].end;
    }
    if (first.special) continue;
    const auto locked =
        context.HostCall({.nr = SYS_mlock2, .args = {first.begin, end - first.begin, on_fault}});
    // Pages that cannot be brought in are no error here, but a limit of the host's is.
    if (!locked.ok() && anonymous) return locked.error();
  }
  return kOk;
}

}  // namespace

Status Mlockall(Task& task, Context& context, int flags) {
  if (flags == 0 || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) != 0 ||
      flags == MCL_ONFAULT) {
    return Errno(EINVAL);
  }
  if (task.Limit(RLIMIT_MEMLOCK) == 0 && !HasCapability(task, CAP_IPC_LOCK)) return Errno(EPERM);
  if ((flags & MCL_CURRENT) != 0) {
    // The only call that also ends an earlier MCL_FUTURE.
    if ((flags & MCL_FUTURE) == 0) TRY(context.HostCall({.nr = SYS_munlockall}));
    TRY(LockCurrent(task, context, flags));
  }
  if ((flags & MCL_FUTURE) == 0) return kOk;
  const auto future = static_cast<uint64_t>(flags & ~MCL_CURRENT);
  TRY(context.HostCall({.nr = SYS_mlockall, .args = {future}}));
  return kOk;
}

Result<Control> Munlockall(Task& task) { return Control::Continue(); }

}  // namespace syscalls
