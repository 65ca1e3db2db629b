// Waiting for children: what wait4(2) and waitid(2) share.
#ifndef SENTRY_TASK_WAIT_H_
#define SENTRY_TASK_WAIT_H_

#include <cstdint>

#include "base/result.h"
#include "sentry/task/kernel.h"

namespace sentry {

struct WaitQuery {
  enum class Kind : uint8_t { kAny, kPid, kProcessGroup };
  Kind kind = Kind::kAny;
  Pid id = 0;
  int options = 0;  // WNOHANG, WEXITED, WSTOPPED, WCONTINUED, WNOWAIT, __WALL, __WCLONE.
};

struct WaitReport {
  Pid pid = 0;         // 0: WNOHANG and nothing to tell.
  uint32_t uid = 0;    // Real user id of the child.
  int code = 0;        // CLD_*.
  int status = 0;      // As wait4(2) reports it.
  uint64_t cpu_ns = 0; // Of the child and the children it has waited for.
};

// ECHILD without a child that could match, kRestartSys when a signal arrives.
Result<WaitReport> WaitForChild(Task& task, const WaitQuery& query);

// The exit code or signal number, as si_status has it.
int StatusForInfo(int code, int wait_status);
SignalInfo ChildInfo(const WaitReport& report);

}  // namespace sentry

#endif  // SENTRY_TASK_WAIT_H_
