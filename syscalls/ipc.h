// System V IPC and POSIX message queues.
#ifndef SYSCALLS_IPC_H_
#define SYSCALLS_IPC_H_

#include "syscalls/abi_types.h"
#include "syscalls/ipc_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

// Who asks, for rights and what is recorded.
inline sentry::IpcCaller CallerOf(Task& task) {
  return {.creds = task.creds(), .pid = task.tgid()};
}

// sysv_shm.cc
Result<int> Shmget(Task& task, int32_t key, uint64_t size, int flags);
Result<uint64_t> Shmat(Task& task, Context& context, int id, uint64_t addr, int flags);
Status Shmdt(Task& task, Context& context, uint64_t addr);
Result<int> Shmctl(Task& task, int id, int command, UserAddr argument);

// sysv_sem.cc
Result<int> Semget(Task& task, int32_t key, int count, int flags);
Status Semop(Task& task, int id, UserPtr<const abi::Sembuf> operations, uint32_t count);
Status Semtimedop(Task& task, int id, UserPtr<const abi::Sembuf> operations, uint32_t count,
                  UserPtr<const abi::Timespec> timeout);
Result<int> Semctl(Task& task, int id, int number, int command, uint64_t argument);

// sysv_msg.cc
Result<int> Msgget(Task& task, int32_t key, int flags);
Status Msgsnd(Task& task, int id, UserAddr message, uint64_t size, int flags);
Result<uint64_t> Msgrcv(Task& task, int id, UserAddr message, uint64_t size, int64_t type,
                        int flags);
Result<int> Msgctl(Task& task, int id, int command, UserAddr argument);

// mqueue.cc
Result<Fd> MqOpen(Task& task, UserCString name, uint32_t flags, uint32_t mode,
                  UserPtr<const abi::MqAttr> attributes);
Status MqUnlink(Task& task, UserCString name);
Status MqTimedsend(Task& task, Fd fd, UserAddr message, uint64_t size, uint32_t priority,
                   UserPtr<const abi::Timespec> timeout);
Result<uint64_t> MqTimedreceive(Task& task, Fd fd, UserAddr message, uint64_t size,
                                UserPtr<uint32_t> priority, UserPtr<const abi::Timespec> timeout);
Status MqNotify(Task& task, Fd fd, UserPtr<const abi::Sigevent> event);
Status MqGetsetattr(Task& task, Fd fd, UserPtr<const abi::MqAttr> wanted, UserPtr<abi::MqAttr> old);

}  // namespace syscalls

#endif  // SYSCALLS_IPC_H_
