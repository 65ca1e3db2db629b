// Errors of path calls that a program may be told again without asking
// (platform/api/known_errors.h).
#ifndef SYSCALLS_KNOWN_ERRORS_H_
#define SYSCALLS_KNOWN_ERRORS_H_

#include <array>
#include <deque>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "platform/api/platform.h"
#include "sentry/task/task.h"

namespace syscalls {

// What has been kept, by the file that was executed and by whom: the next to do so most likely asks
// the same, and is told what still holds. One per kernel. Thread-safe.
class ErrorHistory {
 public:
  // `call` has answered `error`, a negative errno: kept if it is about names alone.
  void Keep(sentry::Task& task, const platform::SyscallArgs& call, int64_t error)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static constexpr size_t kMostPrograms = 32;
  static constexpr size_t kMostEntries = 256;  // Of each.
  struct Entry {
    uint64_t nr = 0;
    std::string path;
    std::array<uint64_t, platform::KnownError::kArguments> masks{}, args{};
    int64_t error = 0;
  };
  struct Program {
    const void* executable = nullptr;  // Only to be compared: what is kept is looked for again.
    uint32_t uid = 0, gid = 0;
    std::vector<Entry> entries;
  };
  Program& Find(sentry::Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // A copy: each of them costs a walk, for which nobody else is to wait.
  std::vector<Entry> Entries(sentry::Task& task) ABSL_LOCKS_EXCLUDED(mu_);

  absl::Mutex mu_;
  std::deque<Program> programs_ ABSL_GUARDED_BY(mu_);  // The oldest first.
};

// Names are to mean something else to this task and to whoever shares its root: in front of that.
// What they have forked keeps the old names and has kept its errors in the same place, so there are
// no more until execve.
void CloseErrors(sentry::Task& task);

// Whether these filters are to see such calls.
bool SeesPathCalls(const sentry::SeccompFilters& filters);

}  // namespace syscalls

#endif  // SYSCALLS_KNOWN_ERRORS_H_
