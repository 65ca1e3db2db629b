#include "syscalls/process_vm.h"

#include <linux/capability.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "sentry/fs/anon/pidfd.h"
#include "sentry/mm/io.h"
#include "sentry/mm/io_buffer.h"
#include "sentry/task/kernel.h"
#include "syscalls/common.h"

namespace syscalls {
namespace {

using sentry::IoBuffer;
using sentry::IoDst;
using sentry::IoSrc;

// What both calls are about.
struct Transfer {
  Ref<sentry::Mm> mm;  // Of the other process.
  std::vector<UserSpan> local, remote;
};

Result<Transfer> Prepare(Task& task, int pid, UserPtr<const abi::Iovec> local, uint64_t local_count,
                         UserPtr<const abi::Iovec> remote, uint64_t remote_count, uint64_t flags) {
  if (flags != 0) return Errno(EINVAL);
  Transfer transfer;
  transfer.local = TRY(ReadIovec(task, local, local_count));
  // With no room here nothing is asked of anybody there.
  const auto empty = [](const UserSpan& span) { return span.size == 0; };
  if (std::all_of(transfer.local.begin(), transfer.local.end(), empty)) return transfer;
  transfer.remote = TRY(ReadIovec(task, remote, remote_count));
  if (std::all_of(transfer.remote.begin(), transfer.remote.end(), empty)) return transfer;
  const Ref<Task> other = task.kernel().FindTask(pid);
  if (!other) return Errno(ESRCH);
  {
    absl::MutexLock lock(&task.kernel().mu());
    if (!other->alive()) return Errno(ESRCH);  // A zombie has no memory.
  }
  TRY(MayAccessMemory(task, *other, MemoryAccess::kAttach));
  transfer.mm = other->mm_ref();
  return transfer;
}

// Calls `move(address, size)` for pieces of the remote side until it moves less than it was given.
template <typename Remaining, typename Move>
Result<int64_t> ForEachPiece(const Transfer& transfer, Remaining remaining, Move move) {
  const uint64_t end = transfer.mm->memory().space().user_end();
  size_t done = 0;
  for (const UserSpan& span : transfer.remote) {
    for (uint64_t at = 0; at < span.size && remaining() != 0;) {
      const UserAddr from = span.addr + at;
      const uint64_t room = from.raw < end ? end - from.raw : 0;
      const size_t want = std::min<uint64_t>({span.size - at, remaining(), room});
      if (want == 0) return done != 0 ? Result<int64_t>(static_cast<int64_t>(done)) : Errno(EFAULT);
      const size_t moved = move(from, want);
      done += moved;
      at += moved;
      if (moved == want) continue;
      return done != 0 ? Result<int64_t>(static_cast<int64_t>(done)) : Errno(EFAULT);
    }
  }
  return static_cast<int64_t>(done);
}

}  // namespace

Status MayAccessMemory(Task& task, Task& other, MemoryAccess access) {
  if (&task.group() == &other.group()) return kOk;
  if (HasCapability(task, CAP_SYS_PTRACE)) return kOk;
  const sentry::Credentials& own = task.creds();
  const sentry::Credentials theirs = TRY(task.kernel().CredentialsOf(other.tid()));
  const bool real = access == MemoryAccess::kAttach;
  const uint32_t uid = real ? own.uid : own.fsuid, gid = real ? own.gid : own.fsgid;
  const bool same = uid == theirs.euid && uid == theirs.suid && uid == theirs.uid &&
                    gid == theirs.egid && gid == theirs.sgid && gid == theirs.gid;
  absl::MutexLock lock(&task.kernel().mu());
  return same && other.group().dumpable == 1 ? Status(kOk) : Status(Errno(EPERM));
}

Result<Ref<Task>> TaskOfPidfd(Task& task, Fd pidfd) {
  if (pidfd == sentry::kSelfThread || pidfd == sentry::kSelfProcess) return Ref<Task>::Share(task);
  const Ref<File> file = TRY(GetFile(task, pidfd));
  auto* process = FileCast<sentry::PidFile>(*file);
  if (process == nullptr) return Errno(EBADF);
  absl::MutexLock lock(&task.kernel().mu());
  if (process->group().tasks.empty()) return Errno(ESRCH);
  return Ref<Task>::Share(*process->group().tasks.front());
}

Result<int64_t> ProcessVmReadv(Task& task, int pid, UserPtr<const abi::Iovec> local,
                               uint64_t local_count, UserPtr<const abi::Iovec> remote,
                               uint64_t remote_count, uint64_t flags) {
  Transfer transfer = TRY(Prepare(task, pid, local, local_count, remote, remote_count, flags));
  if (!transfer.mm) return 0;
  IoDst dst(task.mem(), std::move(transfer.local));
  [[gnu::uninitialized]] IoBuffer buffer(dst.remaining());
  const auto remaining = [&] { return std::min(dst.remaining(), buffer.bytes().size()); };
  return ForEachPiece(transfer, remaining, [&](UserAddr addr, size_t want) {
    const size_t got = transfer.mm->memory().ReadSome(addr, buffer.bytes().first(want));
    const Result<size_t> copied = dst.CopyOut(buffer.bytes().first(got));
    return copied.ok() ? *copied : 0;
  });
}

Result<int64_t> ProcessVmWritev(Task& task, int pid, UserPtr<const abi::Iovec> local,
                                uint64_t local_count, UserPtr<const abi::Iovec> remote,
                                uint64_t remote_count, uint64_t flags) {
  Transfer transfer = TRY(Prepare(task, pid, local, local_count, remote, remote_count, flags));
  if (!transfer.mm) return 0;
  IoSrc src(task.mem(), std::move(transfer.local));
  [[gnu::uninitialized]] IoBuffer buffer(src.remaining());
  const auto remaining = [&] { return std::min(src.remaining(), buffer.bytes().size()); };
  return ForEachPiece(transfer, remaining, [&](UserAddr addr, size_t want) {
    const Result<size_t> copied = src.CopyIn(buffer.bytes().first(want));
    if (!copied.ok()) return size_t{0};
    return transfer.mm->memory().WriteSome(addr, buffer.bytes().first(*copied));
  });
}

}  // namespace syscalls
