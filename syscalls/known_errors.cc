#include "syscalls/known_errors.h"

#include <fcntl.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "sentry/fs/vfs.h"
#include "sentry/task/fs_context.h"
#include "sentry/task/kernel.h"
#include "sentry/task/seccomp.h"

namespace syscalls {
namespace {

using sentry::Task;

constexpr uint64_t kInt = 0xffffffff;  // Linux does not look at the upper half.

// What else than the path decides what such a call answers, where it changes nothing.
struct PathCall {
  uint64_t nr;
  size_t path;                                                   // Its argument.
  std::array<uint64_t, platform::KnownError::kArguments> masks;  // See there.
};
constexpr PathCall kPathCalls[] = {
    {SYS_open, 0, {kInt, 0, 0}},
    {SYS_stat, 0, {}},
    {SYS_lstat, 0, {}},
    {SYS_access, 0, {kInt, 0, 0}},
    {SYS_readlink, 0, {0, kInt, 0}},
    {SYS_openat, 1, {0, kInt, 0}},
    {SYS_newfstatat, 1, {0, 0, kInt}},
    {SYS_readlinkat, 1, {0, 0, kInt}},
    {SYS_faccessat, 1, {0, kInt, 0}},
    {SYS_faccessat2, 1, {0, kInt, kInt}},
    {SYS_statx, 1, {0, kInt, kInt}},
};

const PathCall* FindCall(uint64_t nr) {
  const auto it = std::ranges::find(kPathCalls, nr, &PathCall::nr);
  return it == std::end(kPathCalls) ? nullptr : it;
}

bool MayKeep(const platform::SyscallArgs& call, int64_t error) {
  constexpr uint64_t kCreates = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);
  switch (call.nr) {
    case SYS_readlink:
    case SYS_readlinkat:
      return true;
    case SYS_open:
      return error == -ENOENT && (call.args[1] & kCreates) == 0;
    case SYS_openat:
      return error == -ENOENT && (call.args[2] & kCreates) == 0;
    default:
      return error == -ENOENT;
  }
}

}  // namespace

ErrorHistory::Program& ErrorHistory::Find(Task& task) {
  const auto mm = task.mm_ref();
  const auto& executable = mm->executable();
  const Program wanted{.executable = executable.get() == nullptr ? nullptr : &executable->inode(),
                       .uid = task.creds().fsuid,
                       .gid = task.creds().fsgid,
                       .entries = {}};
  const auto it = std::ranges::find_if(programs_, [&](const Program& other) {
    return other.executable == wanted.executable && other.uid == wanted.uid &&
           other.gid == wanted.gid;
  });
  if (it != programs_.end()) return *it;
  if (programs_.size() == kMostPrograms) programs_.pop_front();
  return programs_.emplace_back(wanted);
}

std::vector<ErrorHistory::Entry> ErrorHistory::Entries(Task& task) {
  absl::MutexLock lock(&mu_);
  return Find(task).entries;
}

void ErrorHistory::Keep(Task& task, const platform::SyscallArgs& call, int64_t error) {
  const PathCall* const kind = FindCall(call.nr);
  if (kind == nullptr || !MayKeep(call, error)) return;
  if (task.has_seccomp() && !task.seccomp_ref()->AlwaysAllow(call.nr)) return;
  const Ref<platform::KnownErrors> program = task.thread().known_errors();
  if (!program || task.MayLackFds()) return;
  // If it has changed since, no harm is done: the error is looked for once more.
  const Result<std::string> path =
      task.mem().ReadPath(sentry::UserCString{sentry::UserAddr{call.args[kind->path]}});
  if (!path.ok()) return;
  platform::KnownError known{
      .nr = call.nr, .path = *path, .masks = kind->masks, .args = {}, .error = error};
  for (size_t i = 0; i < known.args.size(); ++i) known.args[i] = call.args[i + 1] & known.masks[i];
  const sentry::Path root = task.fs().root();
  if (!task.vfs().KeepError(program, root, known)) return;
  if (program->WantsMany() && !task.has_seccomp()) {
    for (const Entry& entry : Entries(task)) {
      task.vfs().KeepError(program, root,
                           {.nr = entry.nr,
                            .path = entry.path,
                            .masks = entry.masks,
                            .args = entry.args,
                            .error = entry.error});
    }
  }
  absl::MutexLock lock(&mu_);
  Program& history = Find(task);
  if (history.entries.size() == kMostEntries) return;
  const bool known_before = std::ranges::any_of(history.entries, [&](const Entry& entry) {
    return entry.nr == known.nr && entry.args == known.args && entry.path == known.path;
  });
  if (known_before) return;
  history.entries.push_back({.nr = known.nr,
                             .path = *path,
                             .masks = known.masks,
                             .args = known.args,
                             .error = known.error});
}

void CloseErrors(Task& task) {
  const Ref<sentry::FsContext> fs = task.fs_ref();
  for (const Ref<sentry::ThreadGroup>& group : task.kernel().AllGroups()) {
    absl::MutexLock lock(&task.kernel().mu());
    for (Task* const member : group->tasks) {
      if (member->fs_ref().get() == fs.get()) member->CloseErrorsLocked();
    }
  }
}

bool SeesPathCalls(const sentry::SeccompFilters& filters) {
  return !std::ranges::all_of(kPathCalls,
                              [&](const PathCall& call) { return filters.AlwaysAllow(call.nr); });
}

}  // namespace syscalls
