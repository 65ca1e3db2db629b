// System V message queues (msgget(2)). Linux: ipc/msg.c.
#ifndef SENTRY_IPC_MESSAGES_H_
#define SENTRY_IPC_MESSAGES_H_

#include <cstdint>
#include <list>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/wait_queue.h"
#include "sentry/ipc/budget.h"
#include "sentry/ipc/ids.h"

namespace sentry {

struct Message {
  int64_t type = 0;
  std::string text;
  BudgetShare room;  // Messages::room(), as long as it exists.
};

// Everything but the wait queues is guarded by the lock of its Messages.
struct MessageQueue final : RefCounted {
  IpcPermissions perm;
  std::list<Message> messages;
  uint64_t bytes = 0, max_bytes = 0;
  int64_t stime = 0, rtime = 0, ctime = 0;  // Seconds since the epoch.
  int32_t sender = 0, receiver = 0;
  bool removed = false;
  // POLLOUT: there is room; POLLIN: there is a message; POLLHUP: it is gone, or rights have
  // changed.
  WaitQueue events;
};

// What the commands *_STAT tell.
struct MessageQueueInfo {
  IpcPermissions perm;
  int64_t stime = 0, rtime = 0, ctime = 0;
  uint64_t bytes = 0, count = 0, max_bytes = 0;
  int32_t sender = 0, receiver = 0;
};

// All queues of a namespace. Thread-safe. Nothing blocks: EAGAIN and ENOMSG say that a caller who
// wants to has to wait for the queue's events.
class Messages final : public RefCounted {
 public:
  struct Limits {
    uint64_t max_text = 8192;    // msgmax: bytes of one message.
    uint64_t max_bytes = 16384;  // msgmnb: of one queue at first.
    int max_queues = 32000;      // msgmni.
  };
  // What all messages of all namespaces may take in the sentry's memory, whatever the limits say:
  // those in queues, and those of who has to wait to send them.
  static constexpr uint64_t kMaxInAll = uint64_t{256} << 20;
  static constexpr uint64_t kOverhead = 96;  // Of a message, about.
  static Budget& room();

  Limits limits() const ABSL_LOCKS_EXCLUDED(mu_);
  void set_limits(const Limits& limits) ABSL_LOCKS_EXCLUDED(mu_);

  Result<int> Get(const IpcCaller& caller, int32_t key, int flags) ABSL_LOCKS_EXCLUDED(mu_);
  Result<Ref<MessageQueue>> Find(int id) ABSL_LOCKS_EXCLUDED(mu_);
  // One attempt. EACCES, EIDRM; EAGAIN while the queue is full. `message`, which has its room, is
  // moved from on success only.
  Status Send(const IpcCaller& caller, MessageQueue& queue, Message& message)
      ABSL_LOCKS_EXCLUDED(mu_);
  // One attempt with the type, size and flags of msgrcv(2). EACCES, EIDRM, E2BIG; EAGAIN without
  // such a message.
  Result<Message> Receive(const IpcCaller& caller, MessageQueue& queue, int64_t type, uint64_t size,
                          int flags) ABSL_LOCKS_EXCLUDED(mu_);

  // msgctl(2).
  using Info = MessageQueueInfo;
  enum class Any : uint8_t { kNo, kYes };  // MSG_STAT_ANY: without looking at rights.
  Result<Info> Stat(const IpcCaller& caller, int id) ABSL_LOCKS_EXCLUDED(mu_);
  Result<Info> StatAt(const IpcCaller& caller, int index, Any any) ABSL_LOCKS_EXCLUDED(mu_);
  Status Set(const IpcCaller& caller, int id, uint32_t uid, uint32_t gid, uint32_t mode,
             uint64_t max_bytes) ABSL_LOCKS_EXCLUDED(mu_);
  Status Remove(const IpcCaller& caller, int id) ABSL_LOCKS_EXCLUDED(mu_);
  struct Totals {
    int queues = 0, highest_index = 0;
    uint64_t messages = 0, bytes = 0;
  };
  Totals Count() const ABSL_LOCKS_EXCLUDED(mu_);
  // /proc/sysvipc/msg, for who may read.
  std::string Table() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static Info InfoOf(const MessageQueue& queue);
  static std::list<Message>::iterator Pick(MessageQueue& queue, int64_t type, int flags);
  void TakeLocked(MessageQueue& queue, const Message& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;  // Before wait queues.
  Limits limits_ ABSL_GUARDED_BY(mu_);
  uint64_t messages_ ABSL_GUARDED_BY(mu_) = 0, bytes_ ABSL_GUARDED_BY(mu_) = 0;  // In all.
  IpcTable<MessageQueue> table_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_IPC_MESSAGES_H_
