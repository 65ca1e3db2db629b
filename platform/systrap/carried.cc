#include "platform/systrap/carried.h"

#include <sys/epoll.h>
#include <sys/syscall.h>

#include <algorithm>

namespace platform::systrap {

namespace {

using Place = native::CarriedBuffer::Place;

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

// Structures of the x86-64 ABI, in bytes.
constexpr uint64_t kStat = 144, kStatx = 256, kStatFs = 120, kUtsname = 390;

// Only calls that change nothing and only tell, or that tell last: whether the memory is there
// turns out when the stub copies, after the call.
Place OutOf(const SyscallArgs& call) {
  const auto& args = call.args;
  switch (call.nr) {
    case SYS_stat:
    case SYS_lstat:
    case SYS_fstat:
      return {args[1], kStat};
    case SYS_newfstatat:
      return {args[2], kStat};
    case SYS_statx:
      return {args[4], kStatx};
    case SYS_statfs:
    case SYS_fstatfs:
      return {args[1], kStatFs};
    case SYS_readlink:
      return {args[1], args[2]};
    case SYS_readlinkat:
      return {args[2], args[3]};
    case SYS_getcwd:
      return {args[0], args[1]};
    case SYS_uname:
      return {args[0], kUtsname};
    default:
      return {};
  }
}

// Memory of which the stub has seen that it is there.
Place LookedAt(const SyscallArgs& call) {
  const auto& args = call.args;
  switch (call.nr) {
    case SYS_read:
    case SYS_pread64:
    case SYS_recvfrom:
    case SYS_getdents64:
      return {args[1], args[2]};
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      return {args[1], static_cast<uint32_t>(args[2]) * sizeof(epoll_event)};
    default:
      return {};
  }
}

Place BroughtAlong(const SyscallArgs& call) {
  const auto& args = call.args;
  switch (call.nr) {
    case SYS_write:
    case SYS_pwrite64:
    case SYS_sendto:
      return {args[1], args[2]};
    case SYS_epoll_ctl:
      return {args[3], sizeof(epoll_event)};
    default:
      return {};
  }
}

}  // namespace

std::optional<size_t> PathArgument(uint64_t nr) {
  switch (nr) {
    case SYS_open:
    case SYS_stat:
    case SYS_lstat:
    case SYS_access:
    case SYS_truncate:
    case SYS_chdir:
    case SYS_rename:
    case SYS_mkdir:
    case SYS_rmdir:
    case SYS_creat:
    case SYS_link:
    case SYS_unlink:
    case SYS_symlink:
    case SYS_readlink:
    case SYS_chmod:
    case SYS_chown:
    case SYS_lchown:
    case SYS_statfs:
    case SYS_getxattr:
    case SYS_lgetxattr:
    case SYS_listxattr:
    case SYS_llistxattr:
      return 0;
    case SYS_openat:
    case SYS_mkdirat:
    case SYS_fchownat:
    case SYS_newfstatat:
    case SYS_unlinkat:
    case SYS_renameat:
    case SYS_linkat:
    case SYS_readlinkat:
    case SYS_fchmodat:
    case SYS_faccessat:
    case SYS_utimensat:
    case SYS_renameat2:
    case SYS_statx:
    case SYS_openat2:
    case SYS_faccessat2:
    case SYS_fchmodat2:
      return 1;
    default:
      return std::nullopt;
  }
}

std::array<uint8_t, kMaxSyscalls / 8> PathCalls(size_t index) {
  std::array<uint8_t, kMaxSyscalls / 8> bits{};
  for (uint64_t nr = 0; nr < kMaxSyscalls; ++nr) {
    if (PathArgument(nr) == index) bits[nr / 8] |= static_cast<uint8_t>(1u << nr % 8);
  }
  return bits;
}

CarriedPlaces CarriedBy(const SyscallArgs& call, uint64_t carried) {
  const auto& args = call.args;
  CarriedPlaces places;
  if (carried == CARRY_OUT) {
    places.out = LookedAt(call);
  } else if (carried == CARRY_IN) {
    places.in = BroughtAlong(call);
    if (places.in.size > MAILBOX_DATA_SIZE) places.in = {};
  } else {
    const std::optional<size_t> path = PathArgument(call.nr);
    const uint64_t size = carried >> CARRY_SIZE_SHIFT;
    const bool has_path = (carried & CARRY_PATH) != 0 && size <= CARRY_PATH_SIZE;
    if (path.has_value() && has_path) places.in = {args[*path], size, true};
    places.out = OutOf(call);
  }
  places.out.size = std::min<uint64_t>(places.out.size, MAILBOX_DATA_SIZE);
  return places;
}

}  // namespace platform::systrap
