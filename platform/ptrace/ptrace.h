// The ptrace platform: stubs with host-managed memory, each thread traced by a sentry thread of its
// own. Needs neither seccomp notify nor anything of /proc; the fallback and the correctness oracle.
#ifndef PLATFORM_PTRACE_PTRACE_H_
#define PLATFORM_PTRACE_PTRACE_H_

#include <memory>

#include "base/result.h"
#include "platform/api/disposition.h"
#include "platform/api/platform.h"

namespace platform::ptrace {

struct PtraceOptions {
  const DispositionTable& dispositions;  // Copied.
  int proc_fd = -1;                      // Borrowed; see native::Zygote::Options.
};

// Forks the zygote, so call it while the process has a single thread. The errno of the step that
// the host refused: EPERM where ptrace(2) is not allowed.
Result<std::unique_ptr<Platform>> CreatePtrace(const PtraceOptions& options);

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_PTRACE_H_
