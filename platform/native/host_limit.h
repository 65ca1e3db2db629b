// Limits of a stub process that the host keeps, for all platforms made of host processes.
#ifndef PLATFORM_NATIVE_HOST_LIMIT_H_
#define PLATFORM_NATIVE_HOST_LIMIT_H_

#include <sys/resource.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "base/result.h"
#include "platform/native/layout.h"

namespace platform::native {

// Sets the soft limit of process `pid`, as near to `value` as its hard one allows, which stays: it
// could not be raised again. The caller knows that the process has not been reaped.
inline Status SetHostLimit(pid_t pid, int resource, uint64_t value) {
  // The stub's part of the address space is not the application's.
  constexpr uint64_t kReserved = STUB_REGION_END - STUB_REGION_START;
  if (resource == RLIMIT_AS && value < RLIM_INFINITY - kReserved) value += kReserved;
  const auto which = static_cast<__rlimit_resource>(resource);
  rlimit limit;
  if (prlimit(pid, which, nullptr, &limit) != 0) return Errno(errno);
  limit.rlim_cur = std::min<uint64_t>(value, limit.rlim_max);
  return prlimit(pid, which, &limit, nullptr) == 0 ? Status(kOk) : Status(Errno(errno));
}

}  // namespace platform::native

#endif  // PLATFORM_NATIVE_HOST_LIMIT_H_
