// The names of queues: mq_open(3)'s, and those of a mounted mqueue filesystem.
#include <dirent.h>
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <utility>

#include "sentry/fs/proc/pseudo.h"
#include "sentry/ipc/mqueue.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

constexpr uint64_t kMqueueDevice = 19, kMqueueMagic = 0x19800202, kRootIno = 1;

class MqueueRoot final : public PseudoDirectory {
 public:
  explicit MqueueRoot(Ref<Mqueues> table)
      : PseudoDirectory({.dev = kMqueueDevice, .ino = kRootIno, .mode = S_IFDIR | 01777}),
        table_(std::move(table)) {}

  Result<Attributes> GetAttributes() override { return table_->RootAttributes(); }
  Status SetAttributes(const AttributeChange& change) override {
    table_->ChangeRoot(change);
    return kOk;
  }
  Result<Ref<Inode>> Find(std::string_view name) override {
    return Ref<Inode>(TRY(table_->Find(name)));
  }
  Result<Ref<Inode>> Create(std::string_view name, const NewNode& node) override {
    if (!S_ISREG(node.mode)) return Errno(EPERM);
    Task* const task = Task::Current();
    if (task == nullptr) return Errno(EPERM);
    return Ref<Inode>(
        TRY(table_->Create(name, node, std::nullopt, task->creds(), task->Limit(RLIMIT_MSGQUEUE))));
  }
  Result<Ref<Inode>> Mkdir(std::string_view name, const NewNode& node) override {
    return Errno(EPERM);
  }
  Result<Ref<Inode>> Symlink(std::string_view name, std::string_view target,
                             const NewNode& node) override {
    return Errno(EPERM);
  }
  Status Unlink(std::string_view name) override { return table_->Unlink(name); }
  Status List(std::vector<DirEntry>& entries) override {
    for (const Ref<Mqueue>& queue : table_->List()) {
      entries.push_back({.name = queue->name(), .ino = queue->number(), .type = DT_REG});
    }
    return kOk;
  }
  Result<FilesystemStats> StatFs() override { return FilesystemStats{.type = kMqueueMagic}; }

 private:
  const Ref<Mqueues> table_;
};

}  // namespace

Budget& Mqueues::room() {
  static auto& room = *new Budget(kMaxInAll);
  return room;
}

Budget& Mqueues::senders() {
  static auto& senders = *new Budget(kMaxSending);
  return senders;
}

Mqueues::Limits Mqueues::limits() const {
  absl::MutexLock lock(&mu_);
  return limits_;
}

void Mqueues::set_limits(const Limits& limits) {
  absl::MutexLock lock(&mu_);
  limits_ = limits;
}

Result<Ref<Mqueue>> Mqueues::Find(std::string_view name) {
  absl::MutexLock lock(&mu_);
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return Errno(ENOENT);
  return it->second;
}

// mqueue_get_inode(): messages, their heads, and a tree node for each priority.
Result<uint64_t> Mqueues::ChargeFor(Mqueue::Size size) {
  constexpr uint64_t kHead = 48, kNode = 48, kPriorities = 32768;
  const uint64_t messages = static_cast<uint64_t>(size.messages);
  uint64_t bytes = 0, total = 0;
  if (__builtin_mul_overflow(messages, static_cast<uint64_t>(size.bytes), &bytes) ||
      __builtin_add_overflow(bytes, messages * kHead + std::min(messages, kPriorities) * kNode,
                             &total)) {
    return Errno(EOVERFLOW);
  }
  return total;
}

Result<Ref<Mqueue>> Mqueues::Create(std::string_view name, const NewNode& node,
                                    std::optional<Mqueue::Size> wanted, const Credentials& creds,
                                    uint64_t memory) {
  const bool privileged = creds.HasCapability(CAP_SYS_RESOURCE);
  absl::MutexLock lock(&mu_);
  // A mount of the filesystem may outlive its namespace.
  if (closed_) return Errno(EACCES);
  if (by_name_.contains(name)) return Errno(EEXIST);
  if (queues_ >= limits_.queues_max && !privileged) return Errno(ENOSPC);
  const Mqueue::Size size = wanted.value_or(
      Mqueue::Size{.messages = std::min(limits_.msg_max, limits_.msg_default),
                   .bytes = std::min(limits_.msgsize_max, limits_.msgsize_default)});
  if (size.messages <= 0 || size.bytes <= 0) return Errno(EINVAL);
  const int64_t most_messages = privileged ? kHardMessages : limits_.msg_max;
  const int64_t most_bytes = privileged ? kHardBytes : limits_.msgsize_max;
  if (size.messages > most_messages || size.bytes > most_bytes) return Errno(EINVAL);
  const uint64_t charge = TRY(ChargeFor(size));
  // The sentry's memory is not that of whoever raises his own limit.
  BudgetShare share = TRY(room().Take(charge));
  uint64_t& charged = charged_[node.uid];
  if (charge > memory || charged > memory - charge) {
    if (charged == 0) charged_.erase(node.uid);
    return Errno(EMFILE);
  }
  charged += charge;
  ++queues_;
  Ref<Mqueue> queue = MakeRef<Mqueue>(Ref<Mqueues>::Share(*this), std::string(name), size, node,
                                      charge, std::move(share));
  by_name_.emplace(std::string(name), queue);
  return queue;
}

void Mqueues::Return(const Mqueue& queue) {
  absl::MutexLock lock(&mu_);
  --queues_;
  const auto it = charged_.find(queue.owner());
  if (it == charged_.end()) return;
  it->second -= std::min(it->second, queue.charged());
  if (it->second == 0) charged_.erase(it);
}

Status Mqueues::Unlink(std::string_view name) {
  Ref<Mqueue> removed;  // Released without the lock.
  absl::MutexLock lock(&mu_);
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return Errno(ENOENT);
  removed = std::move(it->second);
  by_name_.erase(it);
  return kOk;
}

std::vector<Ref<Mqueue>> Mqueues::List() {
  std::vector<Ref<Mqueue>> queues;
  absl::MutexLock lock(&mu_);
  queues.reserve(by_name_.size());
  for (const auto& [name, queue] : by_name_) queues.push_back(queue);
  return queues;
}

void Mqueues::Close() {
  std::map<std::string, Ref<Mqueue>, std::less<>> removed;  // Released without the lock.
  absl::MutexLock lock(&mu_);
  closed_ = true;
  removed.swap(by_name_);
}

Ref<Inode> Mqueues::Root() { return MakeRef<MqueueRoot>(Ref<Mqueues>::Share(*this)); }

Attributes Mqueues::RootAttributes() {
  absl::MutexLock lock(&mu_);
  if (!root_) {
    const timespec now = FileTime();
    root_ = Attributes{.dev = kMqueueDevice,
                       .ino = kRootIno,
                       .mode = S_IFDIR | 01777,
                       .nlink = 2,
                       .atime = now,
                       .mtime = now,
                       .ctime = now,
                       .btime = now};
  }
  Attributes attributes = *root_;
  attributes.size = 20 * by_name_.size();
  return attributes;
}

void Mqueues::ChangeRoot(const AttributeChange& change) {
  (void)RootAttributes();
  absl::MutexLock lock(&mu_);
  if (change.mode) root_->mode = S_IFDIR | (*change.mode & 07777);
  if (change.uid) root_->uid = *change.uid;
  if (change.gid) root_->gid = *change.gid;
  root_->ctime = FileTime();
}

}  // namespace sentry
