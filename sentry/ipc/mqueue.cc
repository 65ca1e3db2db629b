#include "sentry/ipc/mqueue.h"

#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <span>

#include "absl/strings/str_format.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

constexpr uint64_t kMqueueDevice = 19;
constexpr uint64_t kTextSize = 80;             // FILENT_SIZE.
constexpr uint8_t kWokenUp = 1, kRemoved = 2;  // NOTIFY_*: the last byte of the cookie.

// Tells the registered process. No lock may be held.
void Deliver(const MqNotification& notification, const IpcCaller& sender) {
  if (notification.kind == SIGEV_SIGNAL) {
    SignalInfo info = MakeSignalInfo(notification.signo, SI_MESGQ, sender.pid, sender.creds.uid);
    info.si_value.sival_ptr = reinterpret_cast<void*>(notification.value);
    notification.owner->kernel.SendTo(*notification.owner, info);
  } else if (notification.deliver) {
    notification.deliver(kWokenUp);
  }
}

bool HasEnded(ThreadGroup& group) {
  absl::MutexLock lock(&group.kernel.mu());
  return group.zombie || group.exiting;
}

}  // namespace

Mqueue::Mqueue(Ref<Mqueues> table, std::string name, Size size, const NewNode& node,
               uint64_t charged, BudgetShare room)
    : AnonInode(kMqueueDevice, node.mode),
      table_(std::move(table)),
      name_(std::move(name)),
      size_(size),
      owner_(node.uid),
      charged_(charged),
      room_(std::move(room)) {
  AttributeChange change;
  change.uid = node.uid;
  change.gid = node.gid;
  (void)AnonInode::SetAttributes(change);
}

Mqueue::~Mqueue() { table_->Return(*this); }

Result<Attributes> Mqueue::GetAttributes() {
  Attributes attributes = TRY(AnonInode::GetAttributes());
  attributes.size = kTextSize;
  return attributes;
}

Status Mqueue::SetAttributes(const AttributeChange& change) {
  // O_TRUNC and ftruncate(2) change nothing.
  AttributeChange kept = change;
  kept.size.reset();
  return AnonInode::SetAttributes(kept);
}

Result<Ref<File>> Mqueue::Open(OpenFlags flags) {
  return Ref<File>(MakeRef<MqueueFile>(Ref<Mqueue>::Share(*this), flags));
}

std::optional<MqNotification> Mqueue::TakeNotificationLocked() {
  return std::exchange(notification_, std::nullopt);
}

Result<bool> Mqueue::Send(MqWait& wait, bool block, const IpcCaller& sender) {
  std::optional<MqNotification> told;
  {
    absl::MutexLock lock(&mu_);
    if (!receivers_.empty()) {
      MqWait* const receiver = receivers_.front();
      receivers_.pop_front();
      receiver->message = std::move(wait.message);
      receiver->finished = true;
      receiver->queue.Notify(POLLIN);
      return true;
    }
    if (static_cast<int64_t>(messages_.size()) >= size_.messages) {
      if (!block) return Errno(EAGAIN);
      senders_.push_back(&wait);
      return false;
    }
    bytes_ += wait.message.text.size();
    messages_.emplace(wait.message.priority, std::move(wait.message.text));
    if (messages_.size() == 1) told = TakeNotificationLocked();
  }
  events_.Notify(POLLIN | POLLRDNORM);
  if (told) Deliver(*told, sender);
  return true;
}

Result<bool> Mqueue::Receive(MqWait& wait, bool block) {
  {
    absl::MutexLock lock(&mu_);
    if (messages_.empty()) {
      if (!block) return Errno(EAGAIN);
      receivers_.push_back(&wait);
      return false;
    }
    const auto first = messages_.begin();
    wait.message = {.priority = first->first, .text = std::move(first->second)};
    messages_.erase(first);
    bytes_ -= wait.message.text.size();
    if (!senders_.empty()) {
      MqWait* const sender = senders_.front();
      senders_.pop_front();
      bytes_ += sender->message.text.size();
      messages_.emplace(sender->message.priority, std::move(sender->message.text));
      sender->finished = true;
      sender->queue.Notify(POLLIN);
      return true;  // As full as before: no news for poll(2).
    }
  }
  events_.Notify(POLLOUT | POLLWRNORM);
  return true;
}

bool Mqueue::Finished(const MqWait& wait) {
  absl::MutexLock lock(&mu_);
  return wait.finished;
}

bool Mqueue::Cancel(MqWait& wait) {
  absl::MutexLock lock(&mu_);
  if (wait.finished) return true;
  senders_.remove(&wait);
  receivers_.remove(&wait);
  return false;
}

Status Mqueue::Register(MqNotification notification) {
  Ref<ThreadGroup> owner;
  {
    absl::MutexLock lock(&mu_);
    if (!notification_) {
      notification_ = std::move(notification);
      return kOk;
    }
    owner = notification_->owner;
  }
  // Linux unregisters at the last close; a process that was killed did not close here.
  if (!HasEnded(*owner)) return Errno(EBUSY);
  Unregister(owner->id);
  absl::MutexLock lock(&mu_);
  if (notification_) return Errno(EBUSY);
  notification_ = std::move(notification);
  return kOk;
}

void Mqueue::Unregister(int32_t pid) {
  std::optional<MqNotification> removed;
  {
    absl::MutexLock lock(&mu_);
    if (!notification_ || notification_->owner->id != pid) return;
    removed = TakeNotificationLocked();
  }
  if (removed->deliver) removed->deliver(kRemoved);
}

uint32_t Mqueue::Poll() {
  absl::MutexLock lock(&mu_);
  uint32_t events = 0;
  if (!messages_.empty()) events |= POLLIN | POLLRDNORM;
  if (static_cast<int64_t>(messages_.size()) < size_.messages) events |= POLLOUT | POLLWRNORM;
  return events;
}

std::string Mqueue::Text() {
  absl::MutexLock lock(&mu_);
  const bool registered = notification_.has_value();
  const bool signal = registered && notification_->kind == SIGEV_SIGNAL;
  return absl::StrFormat("QSIZE:%-10u NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", bytes_,
                         registered ? notification_->kind : 0, signal ? notification_->signo : 0,
                         registered ? notification_->owner->id : 0);
}

int64_t Mqueue::count() {
  absl::MutexLock lock(&mu_);
  return static_cast<int64_t>(messages_.size());
}

Result<size_t> MqueueFile::ReadAt(IoDst& dst, int64_t offset) {
  if (offset < 0) return Errno(EINVAL);
  const std::string text = queue_.Text();
  if (static_cast<uint64_t>(offset) >= text.size()) return size_t{0};
  const auto bytes = std::as_bytes(std::span(text)).subspan(static_cast<size_t>(offset));
  return dst.CopyOut(bytes.first(std::min(bytes.size(), dst.remaining())));
}

// mqueue_flush_file(): whoever closes any descriptor of the queue is registered no longer.
void MqueueFile::OnDescriptorClosed() {
  Task* const task = Task::Current();
  if (task != nullptr) queue_.Unregister(task->tgid());
}

}  // namespace sentry
