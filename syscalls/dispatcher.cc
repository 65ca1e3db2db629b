#include "syscalls/dispatcher.h"

#include "absl/strings/str_format.h"
#include "base/log.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"
#include "syscalls/seccomp.h"
#include "syscalls/strace.h"
#include "syscalls/strace_names.h"
#include "syscalls/table.h"

namespace syscalls {

using platform::Context;
using platform::SyscallArgs;
using platform::Verdict;

Verdict LinuxDispatcher::Dispatch(sentry::Task& task, const SyscallArgs& call, Context* context) {
  if (!task.kernel().options().strace) [[likely]]
    return Run(task, call, context);
  // The memory as it was: execve replaces it. The thread's number, too.
  const Ref<sentry::Mm> mm = task.mm_ref();
  const sentry::Pid tid = task.tid();
  StraceLine line(mm->memory(), call);
  const Verdict verdict = Run(task, call, context);
  logging::Write(logging::Level::kInfo, absl::StrFormat("[%d] %s", tid, line.Finish(verdict)));
  return verdict;
}

Verdict LinuxDispatcher::Run(sentry::Task& task, const SyscallArgs& call, Context* context) {
  if (task.has_seccomp()) [[unlikely]] {
    if (const std::optional<Verdict> verdict = ApplySeccomp(task, call)) return *verdict;
  }
  const Handler handler = FindHandler(call.nr);
  if (handler == nullptr) [[unlikely]]
    return Unsupported(call);
  const Verdict verdict = handler(task, call, context);
  const bool tells = verdict.value == -ENOENT || verdict.value == -EINVAL;
  if (tells && verdict.kind == Verdict::Kind::kReturn) errors_.Keep(task, call, verdict.value);
  return verdict;
}

Verdict LinuxDispatcher::Unsupported(const SyscallArgs& call) {
  const AbiRow* row = FindRow(call.nr);
  const int error = row != nullptr ? row->error : ENOSYS;
  if (row != nullptr && logging::Enabled(logging::Level::kDebug) &&
      !reported_[call.nr].exchange(true, std::memory_order_relaxed)) {
    LOG_DEBUG("unsupported call %d %s answers %s", row->nr, row->name, ErrnoName(error));
  }
  return {.kind = Verdict::Kind::kReturn, .value = -int64_t{error}};
}

}  // namespace syscalls
