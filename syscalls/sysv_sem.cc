// semget(2), semop(2), semctl(2).
#include <sys/sem.h>

#include <algorithm>
#include <array>

#include "sentry/ipc/namespace.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "syscalls/common.h"
#include "syscalls/ipc.h"

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

namespace syscalls {
namespace {

using sentry::Deadline;
using sentry::IpcCaller;
using sentry::kIpcWrite;
using sentry::Semaphores;
using sentry::SemOperation;
using sentry::SemWait;

Semaphores& Sems(Task& task) { return *task.namespaces().ipc().semaphores; }

Status Operate(Task& task, int id, UserPtr<const abi::Sembuf> user, uint32_t count,
               Deadline deadline) {
  Semaphores& sems = Sems(task);
  if (count < 1 || id < 0) return Errno(EINVAL);
  if (count > static_cast<uint32_t>(sems.limits().opm)) return Errno(E2BIG);
  std::vector<SemOperation> operations;
  operations.reserve(count);
  bool undo = false;
  for (const abi::Sembuf& op : TRY(task.mem().ReadArray(user, count))) {
    operations.push_back({.number = op.number, .change = op.change, .flags = op.flags});
    undo = undo || (op.flags & SEM_UNDO) != 0;
  }
  if (undo && !task.sem_undo) {
    task.sem_undo = MakeRef<sentry::SemUndoList>(Ref<Semaphores>::Share(sems));
  }
  SemWait wait(std::move(operations), task.tgid(), task.sem_undo.get());
  if (TRY(sems.Operate(CallerOf(task), id, wait))) return kOk;
  sentry::Waiter waiter(task);
  waiter.Watch(&wait.queue, POLLIN);
  for (;;) {
    if (TRY(sems.Finished(wait))) return kOk;
    const Status slept = waiter.Sleep(deadline);
    if (slept.ok()) continue;
    // Never restarted: signal(7).
    return sems.Cancel(wait, slept.error() == Errno(ETIMEDOUT) ? Errno(EAGAIN) : Errno(EINTR));
  }
}

Result<int> Info(Task& task, int command, UserAddr user) {
  const Semaphores::Limits limits = Sems(task).limits();
  const Semaphores::Totals totals = Sems(task).Count();
  abi::Seminfo info{.map = limits.mns,
                    .mni = limits.mni,
                    .mns = limits.mns,
                    .mnu = limits.mns,
                    .msl = limits.msl,
                    .opm = limits.opm,
                    .ume = limits.opm,
                    .usz = 20,
                    .vmx = Semaphores::kMaxValue,
                    .aem = Semaphores::kMaxValue};
  if (command == SEM_INFO) {
    info.usz = totals.sets;
    info.aem = totals.semaphores;
  }
  TRY(task.mem().Write(UserPtr<abi::Seminfo>{user}, info));
  return totals.highest_index;
}

Result<int> StatSet(Task& task, int id, int command, UserAddr user) {
  const IpcCaller caller = CallerOf(task);
  const Semaphores::Info info =
      command == IPC_STAT ? TRY(Sems(task).Stat(caller, id))
                          : TRY(Sems(task).StatAt(caller, id,
                                                  command == SEM_STAT_ANY ? Semaphores::Any::kYes
                                                                          : Semaphores::Any::kNo));
  const abi::SemidDs out{.perm = abi::IpcPerm::Of(info.perm),
                         .otime = info.otime,
                         .ctime = info.ctime,
                         .nsems = info.count};
  TRY(task.mem().Write(UserPtr<abi::SemidDs>{user}, out));
  return command == IPC_STAT ? 0 : info.perm.id;
}

Status SetAll(Task& task, int id, UserAddr user) {
  const IpcCaller caller = CallerOf(task);
  const size_t count = TRY(Sems(task).Count(caller, id, kIpcWrite));
  const auto values = TRY(task.mem().ReadArray(UserPtr<const uint16_t>{user}, count));
  return Sems(task).SetValues(caller, id, values);
}

}  // namespace

Result<int> Semget(Task& task, int32_t key, int count, int flags) {
  return Sems(task).Get(CallerOf(task), key, count, flags);
}

Status Semop(Task& task, int id, UserPtr<const abi::Sembuf> operations, uint32_t count) {
  return Operate(task, id, operations, count, Deadline::Never());
}

Status Semtimedop(Task& task, int id, UserPtr<const abi::Sembuf> operations, uint32_t count,
                  UserPtr<const abi::Timespec> timeout) {
  return Operate(task, id, operations, count, TRY(ReadDeadline(task, timeout)));
}

Result<int> Semctl(Task& task, int id, int number, int command, uint64_t argument) {
  if (id < 0) return Errno(EINVAL);
  const IpcCaller caller = CallerOf(task);
  const UserAddr user{argument};
  Semaphores& sems = Sems(task);
  switch (command) {
    case IPC_INFO:
    case SEM_INFO:
      return Info(task, command, user);
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY:
      return StatSet(task, id, command, user);
    case GETALL: {
      const std::vector<uint16_t> values = TRY(sems.Values(caller, id));
      TRY(task.mem().WriteArray<uint16_t>(UserPtr<uint16_t>{user}, values));
      return 0;
    }
    case GETVAL:
      return sems.Ask(caller, id, number, Semaphores::Query::kValue);
    case GETPID:
      return sems.Ask(caller, id, number, Semaphores::Query::kPid);
    case GETNCNT:
      return sems.Ask(caller, id, number, Semaphores::Query::kNegativeCount);
    case GETZCNT:
      return sems.Ask(caller, id, number, Semaphores::Query::kZeroCount);
    case SETVAL:
      TRY(sems.SetValue(caller, id, number, static_cast<int>(argument)));
      return 0;
    case SETALL:
      TRY(SetAll(task, id, user));
      return 0;
    case IPC_SET: {
      const abi::SemidDs wanted = TRY(task.mem().Read(UserPtr<const abi::SemidDs>{user}));
      TRY(sems.Set(caller, id, wanted.perm.uid, wanted.perm.gid, wanted.perm.mode));
      return 0;
    }
    case IPC_RMID:
      TRY(sems.Remove(caller, id));
      return 0;
    default:
      return Errno(EINVAL);
  }
}

}  // namespace syscalls
