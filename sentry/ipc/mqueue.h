// POSIX message queues (mq_overview(7)). Linux: ipc/mqueue.c.
#ifndef SENTRY_IPC_MQUEUE_H_
#define SENTRY_IPC_MQUEUE_H_

#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/anon/anon_inode.h"
#include "sentry/fs/file.h"
#include "sentry/ipc/budget.h"
#include "sentry/ipc/ids.h"
#include "sentry/task/thread_group.h"

namespace sentry {

class Mqueues;

struct MqMessage {
  uint32_t priority = 0;
  std::string text;
};

// One mq_timedsend(2) or mq_timedreceive(2) that waits; on the caller's stack. Messages are handed
// from one to the other, so that nobody takes what a waiting receiver was meant to get.
class MqWait {
 public:
  // Notified with POLLIN once `finished`.
  WaitQueue queue;
  // Of a sender: what it sends; of a receiver: what it got.
  MqMessage message;
  bool finished = false;  // Guarded by the queue's lock.
};

// Who is told of a message (mq_notify(3)).
struct MqNotification {
  int kind = 0;  // SIGEV_*.
  int signo = 0;
  uint64_t value = 0;
  Ref<ThreadGroup> owner;
  // SIGEV_THREAD: sends the cookie, whose last byte says what happened.
  std::function<void(uint8_t)> deliver;
};

// A queue: an inode of the filesystem. Thread-safe.
class Mqueue final : public AnonInode {
 public:
  struct Size {
    int64_t messages = 10, bytes = 8192;  // mq_maxmsg, mq_msgsize.
  };
  // `room`: of Mqueues::room(), for all messages that it can hold.
  Mqueue(Ref<Mqueues> table, std::string name, Size size, const NewNode& node, uint64_t charged,
         BudgetShare room);
  ~Mqueue() override;

  Result<Attributes> GetAttributes() override;
  Status SetAttributes(const AttributeChange& change) override;
  Result<Ref<File>> Open(OpenFlags flags) override;

  // Sends wait.message, or queues the wait: false. EAGAIN when full and `block` is false.
  // ESRCH-free: `sender` is who a notified process hears of.
  Result<bool> Send(MqWait& wait, bool block, const IpcCaller& sender) ABSL_LOCKS_EXCLUDED(mu_);
  // Fills wait.message, or queues the wait: false. EAGAIN when empty and `block` is false.
  Result<bool> Receive(MqWait& wait, bool block) ABSL_LOCKS_EXCLUDED(mu_);
  bool Finished(const MqWait& wait) ABSL_LOCKS_EXCLUDED(mu_);
  // Stops waiting: true when it had finished before.
  bool Cancel(MqWait& wait) ABSL_LOCKS_EXCLUDED(mu_);

  // EBUSY while another process is registered.
  Status Register(MqNotification notification) ABSL_LOCKS_EXCLUDED(mu_);
  // Of process `pid`, if it is the one that is registered.
  void Unregister(int32_t pid) ABSL_LOCKS_EXCLUDED(mu_);

  uint32_t Poll() ABSL_LOCKS_EXCLUDED(mu_);
  WaitQueue& events() { return events_; }
  // What the file reads as: "QSIZE:… NOTIFY:… SIGNO:… NOTIFY_PID:…".
  std::string Text() ABSL_LOCKS_EXCLUDED(mu_);
  int64_t count() ABSL_LOCKS_EXCLUDED(mu_);
  Size size() const { return size_; }
  const std::string& name() const { return name_; }
  uint32_t owner() const { return owner_; }
  uint64_t charged() const { return charged_; }

 private:
  std::optional<MqNotification> TakeNotificationLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Ref<Mqueues> table_;
  const std::string name_;
  const Size size_;
  const uint32_t owner_;    // Whose RLIMIT_MSGQUEUE it counts for.
  const uint64_t charged_;  // Bytes.
  const BudgetShare room_;
  absl::Mutex mu_;          // Before wait queues.
  std::multimap<uint32_t, std::string, std::greater<>> messages_ ABSL_GUARDED_BY(mu_);
  uint64_t bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::list<MqWait*> senders_ ABSL_GUARDED_BY(mu_);
  std::list<MqWait*> receivers_ ABSL_GUARDED_BY(mu_);
  std::optional<MqNotification> notification_ ABSL_GUARDED_BY(mu_);
  WaitQueue events_;
};

// An open queue: what mq_open(3) and open(2) give.
class MqueueFile final : public SeekableFile {
 public:
  static constexpr char kKind = 0;
  MqueueFile(Ref<Mqueue> queue, OpenFlags flags) : SeekableFile(queue, flags), queue_(*queue) {}

  Mqueue& queue() const { return queue_; }  // Held as inode().
  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override;
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override { return Errno(EINVAL); }
  uint32_t Poll() override { return queue_.Poll(); }
  WaitQueue* wait_queue() override { return &queue_.events(); }
  void OnDescriptorClosed() override;
  std::string AnonymousName() const override { return "/" + queue_.name(); }
  const void* kind() const override { return &kKind; }

 private:
  Mqueue& queue_;
};

// The queues of a namespace by name. Thread-safe.
class Mqueues final : public RefCounted {
 public:
  struct Limits {
    int queues_max = 256, msg_max = 10, msgsize_max = 8192, msg_default = 10,
        msgsize_default = 8192;
  };
  static constexpr int64_t kHardMessages = 65536, kHardBytes = 16 << 20;
  // Of all namespaces, whatever the limits say (ENOMEM): what queues can hold, and the messages of
  // those who may have to wait for room in one.
  static constexpr uint64_t kMaxInAll = uint64_t{512} << 20, kMaxSending = uint64_t{128} << 20;
  static Budget& room();
  static Budget& senders();

  Limits limits() const ABSL_LOCKS_EXCLUDED(mu_);
  void set_limits(const Limits& limits) ABSL_LOCKS_EXCLUDED(mu_);

  // ENOENT.
  Result<Ref<Mqueue>> Find(std::string_view name) ABSL_LOCKS_EXCLUDED(mu_);
  // A new queue. `size` empty: the defaults; `memory` is RLIMIT_MSGQUEUE. EEXIST, EINVAL, ENOSPC,
  // EMFILE.
  Result<Ref<Mqueue>> Create(std::string_view name, const NewNode& node,
                             std::optional<Mqueue::Size> size, const Credentials& creds,
                             uint64_t memory) ABSL_LOCKS_EXCLUDED(mu_);
  // ENOENT.
  Status Unlink(std::string_view name) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<Ref<Mqueue>> List() ABSL_LOCKS_EXCLUDED(mu_);
  // The namespace goes: unlinks all of them, and there will be no more (EACCES).
  void Close() ABSL_LOCKS_EXCLUDED(mu_);
  // A root directory for a mount of the filesystem, and its attributes.
  Ref<Inode> Root();
  Attributes RootAttributes() ABSL_LOCKS_EXCLUDED(mu_);
  void ChangeRoot(const AttributeChange& change) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class Mqueue;
  static Result<uint64_t> ChargeFor(Mqueue::Size size);
  void Return(const Mqueue& queue) ABSL_LOCKS_EXCLUDED(mu_);

  mutable absl::Mutex mu_;  // Leaf.
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  Limits limits_ ABSL_GUARDED_BY(mu_);
  int queues_ ABSL_GUARDED_BY(mu_) = 0;  // Unlinked ones that are open among them.
  std::map<std::string, Ref<Mqueue>, std::less<>> by_name_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint32_t, uint64_t> charged_ ABSL_GUARDED_BY(mu_);  // Bytes by user.
  std::optional<Attributes> root_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_IPC_MQUEUE_H_
