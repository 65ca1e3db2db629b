// The default platform: native memory, system calls through seccomp notifications on the
// application's core (seccomp_unotify(2)), registers through SIGSYS. See README.md.
#ifndef PLATFORM_SYSTRAP_SYSTRAP_H_
#define PLATFORM_SYSTRAP_SYSTRAP_H_

#include <memory>

#include "base/result.h"
#include "platform/api/platform.h"
#include "platform/systrap/filter.h"

namespace platform::systrap {

struct SystrapOptions {
  const FilterProgram& filter;  // BuildFilter of the table in use; must outlive the call only.
  int proc_fd = -1;             // Borrowed; see native::Zygote::Options.
  // Of the same table. Without them every call is a notification.
  const DispositionTable* patch_calls_of = nullptr;
  bool patch_eagerly = false;  // At the first call of each site: for tests.
  // As well, and threads with a mailbox are interrupted all the time, wherever they are.
  bool patch_chaos = false;
};

// Forks the zygote: call while the process has one thread, and before its own seccomp program is
// installed. ENOSYS or EINVAL where the host lacks what is needed (Linux 5.19).
Result<std::unique_ptr<Platform>> CreateSystrap(const SystrapOptions& options);

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_SYSTRAP_H_
