#include "sentry/ipc/messages.h"

#include <linux/capability.h>
#include <sys/msg.h>
#include <time.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "sentry/task/task.h"

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

namespace sentry {

Budget& Messages::room() {
  static auto& room = *new Budget(kMaxInAll);
  return room;
}

Messages::Limits Messages::limits() const {
  absl::MutexLock lock(&mu_);
  return limits_;
}

void Messages::set_limits(const Limits& limits) {
  absl::MutexLock lock(&mu_);
  limits_ = limits;
}

Result<int> Messages::Get(const IpcCaller& caller, int32_t key, int flags) {
  absl::MutexLock lock(&mu_);
  const auto any = [](const MessageQueue&) -> Status { return kOk; };
  const auto make = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) -> Result<Ref<MessageQueue>> {
    if (table_.size() >= limits_.max_queues) return Errno(ENOSPC);
    Ref<MessageQueue> queue = MakeRef<MessageQueue>();
    queue->perm = IpcPermissions::Of(caller, key, flags);
    queue->max_bytes = limits_.max_bytes;
    queue->ctime = time(nullptr);
    return queue;
  };
  return IpcGet(table_, caller.creds, key, flags, limits_.max_queues, any, make);
}

Result<Ref<MessageQueue>> Messages::Find(int id) {
  absl::MutexLock lock(&mu_);
  return table_.Find(id);
}

Status Messages::Send(const IpcCaller& caller, MessageQueue& queue, Message& message) {
  const uint64_t size = message.text.size();
  {
    absl::MutexLock lock(&mu_);
    if (queue.removed) return Errno(EIDRM);
    TRY(queue.perm.Check(caller.creds, kIpcWrite));
    if (size + queue.bytes > queue.max_bytes || queue.messages.size() + 1 > queue.max_bytes) {
      return Errno(EAGAIN);
    }
    queue.messages.push_back(std::move(message));
    queue.bytes += size;
    bytes_ += size;
    ++messages_;
    queue.sender = caller.pid;
    queue.stime = time(nullptr);
  }
  queue.events.Notify(POLLIN);
  return kOk;
}

// find_msg().
std::list<Message>::iterator Messages::Pick(MessageQueue& queue, int64_t type, int flags) {
  auto& messages = queue.messages;
  if ((flags & MSG_COPY) != 0) {
    auto it = messages.begin();
    for (int64_t left = type; left > 0 && it != messages.end(); --left) ++it;
    return type < 0 ? messages.end() : it;
  }
  if (type == 0) return messages.begin();
  if (type < 0) {
    const int64_t most = type == INT64_MIN ? INT64_MAX : -type;
    const auto lowest =
        std::min_element(messages.begin(), messages.end(),
                         [](const Message& a, const Message& b) { return a.type < b.type; });
    return lowest != messages.end() && lowest->type <= most ? lowest : messages.end();
  }
  const bool except = (flags & MSG_EXCEPT) != 0;
  return std::find_if(messages.begin(), messages.end(),
                      [&](const Message& m) { return (m.type == type) != except; });
}

void Messages::TakeLocked(MessageQueue& queue, const Message& message) {
  queue.bytes -= message.text.size();
  bytes_ -= message.text.size();
  --messages_;
}

Result<Message> Messages::Receive(const IpcCaller& caller, MessageQueue& queue, int64_t type,
                                  uint64_t size, int flags) {
  std::list<Message> taken;
  {
    absl::MutexLock lock(&mu_);
    if (queue.removed) return Errno(EIDRM);
    TRY(queue.perm.Check(caller.creds, kIpcRead));
    const auto it = Pick(queue, type, flags);
    if (it == queue.messages.end()) return Errno(EAGAIN);
    if (size < it->text.size() && (flags & MSG_NOERROR) == 0) return Errno(E2BIG);
    if ((flags & MSG_COPY) != 0) return Message{.type = it->type, .text = it->text, .room = {}};
    TakeLocked(queue, *it);
    taken.splice(taken.begin(), queue.messages, it);
    queue.receiver = caller.pid;
    queue.rtime = time(nullptr);
  }
  queue.events.Notify(POLLOUT);
  return std::move(taken.front());
}

Messages::Info Messages::InfoOf(const MessageQueue& queue) {
  return {.perm = queue.perm,
          .stime = queue.stime,
          .rtime = queue.rtime,
          .ctime = queue.ctime,
          .bytes = queue.bytes,
          .count = queue.messages.size(),
          .max_bytes = queue.max_bytes,
          .sender = queue.sender,
          .receiver = queue.receiver};
}

Result<Messages::Info> Messages::Stat(const IpcCaller& caller, int id) {
  absl::MutexLock lock(&mu_);
  const Ref<MessageQueue> queue = TRY(table_.Find(id));
  TRY(queue->perm.Check(caller.creds, kIpcRead));
  return InfoOf(*queue);
}

Result<Messages::Info> Messages::StatAt(const IpcCaller& caller, int index, Any any) {
  absl::MutexLock lock(&mu_);
  const Ref<MessageQueue> queue = TRY(table_.At(index));
  if (any == Any::kNo) TRY(queue->perm.Check(caller.creds, kIpcRead));
  return InfoOf(*queue);
}

Status Messages::Set(const IpcCaller& caller, int id, uint32_t uid, uint32_t gid, uint32_t mode,
                     uint64_t max_bytes) {
  Ref<MessageQueue> queue;
  {
    absl::MutexLock lock(&mu_);
    queue = TRY(table_.Find(id));
    TRY(queue->perm.CheckOwner(caller.creds));
    if (max_bytes > limits_.max_bytes && !caller.creds.HasCapability(CAP_SYS_RESOURCE)) {
      return Errno(EPERM);
    }
    queue->perm.Set(uid, gid, mode);
    queue->max_bytes = max_bytes;
    queue->ctime = time(nullptr);
  }
  // Whoever waits may have lost his rights, or found room.
  queue->events.Notify(POLLHUP);
  return kOk;
}

Status Messages::Remove(const IpcCaller& caller, int id) {
  Ref<MessageQueue> queue;
  std::list<Message> messages;
  {
    absl::MutexLock lock(&mu_);
    queue = TRY(table_.Find(id));
    TRY(queue->perm.CheckOwner(caller.creds));
    queue->removed = true;
    for (const Message& message : queue->messages) TakeLocked(*queue, message);
    messages.swap(queue->messages);
    (void)table_.Remove(*queue);
  }
  queue->events.Notify(POLLHUP);
  return kOk;
}

Messages::Totals Messages::Count() const {
  absl::MutexLock lock(&mu_);
  return {.queues = table_.size(),
          .highest_index = table_.highest_index(),
          .messages = messages_,
          .bytes = bytes_};
}

std::string Messages::Table() const {
  Task* const reader = Task::Current();
  std::string text =
      "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      "
      "stime      rtime      ctime\n";
  absl::MutexLock lock(&mu_);
  for (const auto& [index, queue] : table_.objects()) {
    const IpcPermissions& p = queue->perm;
    if (reader != nullptr && !p.Check(reader->creds(), kIpcRead).ok()) continue;
    absl::StrAppendFormat(
        &text, "%10d %10d  %4o  %10u %10u %5u %5u %5u %5u %5u %5u %10d %10d %10d\n", p.key, p.id,
        p.mode, queue->bytes, queue->messages.size(), queue->sender, queue->receiver, p.uid, p.gid,
        p.cuid, p.cgid, queue->stime, queue->rtime, queue->ctime);
  }
  return text;
}

}  // namespace sentry
