// What wait4(2) and waitid(2) ask and are told.
#ifndef SENTRY_TASK_WAIT_QUERY_H_
#define SENTRY_TASK_WAIT_QUERY_H_

#include <cstdint>

#include "sentry/task/thread_group.h"

namespace sentry {

struct WaitQuery {
  enum class Kind : uint8_t { kAny, kPid, kProcessGroup };
  Kind kind = Kind::kAny;
  Pid id = 0;
  Pid tid = 0;      // Who asks, for __WNOTHREAD.
  int options = 0;  // WNOHANG, WEXITED, WSTOPPED, WCONTINUED, WNOWAIT, __WALL, __WCLONE.
};

struct WaitReport {
  Pid pid = 0;         // 0: WNOHANG and nothing to tell.
  uint32_t uid = 0;    // Real user id of the child.
  int code = 0;        // CLD_*.
  int status = 0;      // As wait4(2) reports it.
  // What the child has used, with the children it has waited for. For a dead child the host's accounts
  // are still to be added: its own, and those of its children that are not in yet. `usage.cpu` has its
  // CPU time if they never come.
  platform::Usage usage;
  platform::CpuTimes own_cpu;  // The dead child's own share of usage.cpu.
  Ref<platform::UsageLedger> ledger;
  std::vector<Ref<platform::UsageLedger>> unsettled;
};

}  // namespace sentry

#endif  // SENTRY_TASK_WAIT_QUERY_H_
