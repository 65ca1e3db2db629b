// msgget(2), msgsnd(2), msgrcv(2), msgctl(2).
#include <sys/msg.h>

#include <algorithm>

#include "sentry/ipc/namespace.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "syscalls/common.h"
#include "syscalls/ipc.h"

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif
#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif

namespace syscalls {
namespace {

using sentry::IpcCaller;
using sentry::Message;
using sentry::MessageQueue;
using sentry::Messages;

constexpr uint64_t kTypeSize = sizeof(int64_t);

Messages& Queues(Task& task) { return *task.namespaces().ipc().messages; }

// Repeats `attempt` while it answers EAGAIN: `busy` is what IPC_NOWAIT makes of that.
template <typename Attempt>
auto RetryOn(Task& task, MessageQueue& queue, uint32_t events, int flags, Errno busy,
             Attempt attempt) -> decltype(attempt()) {
  const auto blocked = [](const auto& r) { return !r.ok() && r.error() == Errno(EAGAIN); };
  auto result = attempt();
  if (!blocked(result)) return result;
  if ((flags & IPC_NOWAIT) != 0) return busy;
  sentry::Waiter waiter(task);
  waiter.Watch(&queue.events, events);
  for (;;) {
    result = attempt();
    if (!blocked(result)) return result;
    const Status slept = waiter.Sleep();
    if (!slept.ok()) return sentry::kRestartNoHand;
  }
}

Result<int> Info(Task& task, int command, UserAddr user) {
  const Messages::Limits limits = Queues(task).limits();
  const Messages::Totals totals = Queues(task).Count();
  constexpr int kDefaultBytes = 16384, kDefaultQueues = 32000;
  abi::Msginfo info{.pool = kDefaultQueues * (kDefaultBytes / 1024),
                    .map = kDefaultBytes,
                    .max = static_cast<int>(limits.max_text),
                    .mnb = static_cast<int>(limits.max_bytes),
                    .mni = limits.max_queues,
                    .ssz = 16,
                    .tql = kDefaultBytes,
                    .seg = 0xffff};
  if (command == MSG_INFO) {
    info.pool = totals.queues;
    info.map = static_cast<int>(totals.messages);
    info.tql = static_cast<int>(totals.bytes);
  }
  TRY(task.mem().Write(UserPtr<abi::Msginfo>{user}, info));
  return totals.highest_index;
}

Result<int> StatQueue(Task& task, int id, int command, UserAddr user) {
  const IpcCaller caller = CallerOf(task);
  const Messages::Info info =
      command == IPC_STAT
          ? TRY(Queues(task).Stat(caller, id))
          : TRY(Queues(task).StatAt(
                caller, id, command == MSG_STAT_ANY ? Messages::Any::kYes : Messages::Any::kNo));
  const abi::MsqidDs out{.perm = abi::IpcPerm::Of(info.perm),
                         .stime = info.stime,
                         .rtime = info.rtime,
                         .ctime = info.ctime,
                         .cbytes = info.bytes,
                         .qnum = info.count,
                         .qbytes = info.max_bytes,
                         .lspid = info.sender,
                         .lrpid = info.receiver};
  TRY(task.mem().Write(UserPtr<abi::MsqidDs>{user}, out));
  return command == IPC_STAT ? 0 : info.perm.id;
}

}  // namespace

Result<int> Msgget(Task& task, int32_t key, int flags) {
  return Queues(task).Get(CallerOf(task), key, flags);
}

Status Msgsnd(Task& task, int id, UserAddr user, uint64_t size, int flags) {
  Messages& queues = Queues(task);
  Message message;
  message.type = TRY(task.mem().Read(UserPtr<const int64_t>{user}));
  if (size > queues.limits().max_text || static_cast<int64_t>(size) < 0 || id < 0) {
    return Errno(EINVAL);
  }
  if (message.type < 1) return Errno(EINVAL);
  message.room = TRY(Messages::room().Take(size + Messages::kOverhead));
  message.text.resize(size);
  TRY(task.mem().ReadBytes(UserAddr{user.raw + kTypeSize},
                           std::as_writable_bytes(std::span(message.text))));
  const Ref<MessageQueue> queue = TRY(queues.Find(id));
  return RetryOn(task, *queue, POLLOUT, flags, Errno(EAGAIN),
                 [&] { return queues.Send(CallerOf(task), *queue, message); });
}

Result<uint64_t> Msgrcv(Task& task, int id, UserAddr user, uint64_t size, int64_t type, int flags) {
  if (id < 0 || static_cast<int64_t>(size) < 0) return Errno(EINVAL);
  const bool copy = (flags & MSG_COPY) != 0;
  if (copy && ((flags & MSG_EXCEPT) != 0 || (flags & IPC_NOWAIT) == 0)) return Errno(EINVAL);
  Messages& queues = Queues(task);
  const Ref<MessageQueue> queue = TRY(queues.Find(id));
  const Message message = TRY(RetryOn(task, *queue, POLLIN, flags, Errno(ENOMSG), [&] {
    return queues.Receive(CallerOf(task), *queue, type, size, flags);
  }));
  // As in Linux, a message that cannot be delivered is lost.
  const uint64_t length = std::min<uint64_t>(size, message.text.size());
  TRY(task.mem().Write(UserPtr<int64_t>{user}, message.type));
  TRY(task.mem().WriteBytes(UserAddr{user.raw + kTypeSize},
                            std::as_bytes(std::span(message.text)).first(length)));
  return length;
}

Result<int> Msgctl(Task& task, int id, int command, UserAddr user) {
  if (id < 0 || command < 0) return Errno(EINVAL);
  Messages& queues = Queues(task);
  switch (command) {
    case IPC_INFO:
    case MSG_INFO:
      return Info(task, command, user);
    case IPC_STAT:
    case MSG_STAT:
    case MSG_STAT_ANY:
      return StatQueue(task, id, command, user);
    case IPC_SET: {
      const abi::MsqidDs wanted = TRY(task.mem().Read(UserPtr<const abi::MsqidDs>{user}));
      TRY(queues.Set(CallerOf(task), id, wanted.perm.uid, wanted.perm.gid, wanted.perm.mode,
                     wanted.qbytes));
      return 0;
    }
    case IPC_RMID:
      TRY(queues.Remove(CallerOf(task), id));
      return 0;
    default:
      return Errno(EINVAL);
  }
}

}  // namespace syscalls
