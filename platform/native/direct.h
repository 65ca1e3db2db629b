// Which calls of disposition direct the host may execute unasked. The same rule twice: here for
// platforms that look at calls themselves, and in platform/systrap/filter.h as a seccomp program;
// filter_test.cc holds one against the other.
#ifndef PLATFORM_NATIVE_DIRECT_H_
#define PLATFORM_NATIVE_DIRECT_H_

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <cstdint>

#include "platform/api/platform.h"
#include "platform/native/layout.h"

namespace platform::native {

// Ranges that end safely below the stub: addresses under this many 4 GiB units, lengths under one.
inline constexpr uint32_t kDirectAddressLimit = (STUB_REGION_START >> 32) - 1;

inline constexpr uint64_t kDirectMapFlags =
    MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_32BIT | MAP_DENYWRITE |
    MAP_EXECUTABLE | MAP_NORESERVE | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_FIXED_NOREPLACE;
inline constexpr uint64_t kDirectProt = PROT_READ | PROT_WRITE | PROT_EXEC;
// Of mprotect(2): what a file on a noexec mount is mapped in must not become executable.
inline constexpr uint64_t kDirectProtChange = PROT_READ | PROT_WRITE;

inline constexpr uint32_t kRseqUnregister = 1;  // RSEQ_FLAG_UNREGISTER, the only flag.

constexpr bool IsDirectRange(uint64_t addr, uint64_t length) {
  return (addr >> 32) < kDirectAddressLimit && (length >> 32) == 0;
}

constexpr bool IsDirectFutex(uint32_t op) {
  switch (op & ~uint32_t{FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME}) {
    case FUTEX_WAIT:
    case FUTEX_WAKE:
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE:
    case FUTEX_WAKE_OP:
    case FUTEX_WAIT_BITSET:
    case FUTEX_WAKE_BITSET:
      return true;
    default:
      return false;
  }
}

// With a timeout its end has to be known, in case that the wait is interrupted and goes on.
constexpr bool IsRelativeWait(uint32_t op) {
  return (op & ~uint32_t{FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME}) == FUTEX_WAIT;
}

// Advice that changes only the caller's own anonymous memory or is a hint: not MADV_REMOVE, which
// writes to files, nor MADV_HWPOISON and its like.
constexpr bool IsDirectAdvice(uint32_t advice) {
  return advice <= MADV_DONTNEED || advice == MADV_FREE || advice == MADV_DONTFORK ||
         advice == MADV_DOFORK || (advice >= MADV_HUGEPAGE && advice <= MADV_POPULATE_WRITE);
}

constexpr bool IsDirect(const SyscallArgs& call) {
  const uint64_t* a = call.args;
  switch (call.nr) {
    case SYS_sched_yield:
    case SYS_brk:
      return true;
    case SYS_futex:
      if (IsRelativeWait(static_cast<uint32_t>(a[1])) && a[3] != 0) return false;
      return IsDirectFutex(static_cast<uint32_t>(a[1]));
    case SYS_munmap:
      return IsDirectRange(a[0], a[1]);
    case SYS_mprotect:
      return IsDirectRange(a[0], a[1]) && (a[2] & ~kDirectProtChange) == 0;
    case SYS_madvise:
      return IsDirectRange(a[0], a[1]) && IsDirectAdvice(static_cast<uint32_t>(a[2]));
    case SYS_rseq:
      return (a[0] >> 32) < kDirectAddressLimit && static_cast<uint32_t>(a[2]) <= kRseqUnregister;
    case SYS_mmap:
      if ((a[2] & ~kDirectProt) != 0 || (a[3] & ~kDirectMapFlags) != 0) return false;
      if ((a[3] & MAP_ANONYMOUS) == 0) return false;
      return (a[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == 0 || IsDirectRange(a[0], a[1]);
    default:
      return false;
  }
}

}  // namespace platform::native

#endif  // PLATFORM_NATIVE_DIRECT_H_
