#include "sentry/net/unix/unix_sockets.h"

#include "absl/strings/str_format.h"
#include "sentry/net/unix/unix_end.h"

namespace sentry {
namespace {

// Shares an end that may be about to go.
Result<Ref<UnixEnd>> Share(UnixEnd* end) {
  if (!end->TryAddRef()) return Errno(ECONNREFUSED);
  return Ref<UnixEnd>::Adopt(end);
}

}  // namespace

UnixSockets& UnixSockets::Get() {
  static auto* const sockets = new UnixSockets;
  return *sockets;
}

void UnixSockets::Add(UnixEnd& end) {
  absl::MutexLock lock(&mu_);
  ends_.insert(&end);
}

void UnixSockets::Remove(UnixEnd& end) {
  ForgetName(end);
  StopWaiting(end);
  absl::MutexLock lock(&mu_);
  ends_.erase(&end);
}

void UnixSockets::SetSocket(UnixEnd& end, UnixSocket* socket) {
  absl::MutexLock lock(&mu_);
  end.socket = socket;
}

std::vector<Ref<UnixEnd>> UnixSockets::List(uint64_t space) const {
  std::vector<Ref<UnixEnd>> list;
  absl::MutexLock lock(&mu_);
  for (UnixEnd* end : ends_) {
    if (end->space == space && end->TryAddRef()) list.push_back(Ref<UnixEnd>::Adopt(end));
  }
  return list;
}

Status UnixSockets::BindAbstract(UnixEnd& end, const std::string& name) {
  absl::MutexLock lock(&mu_);
  if (HasNameLocked(end)) return Errno(EINVAL);
  const AbstractName key(end.space, end.type, name);
  if (!abstract_.try_emplace(key, &end).second) return Errno(EADDRINUSE);
  abstract_of_.emplace(&end, key);
  return kOk;
}

Result<std::string> UnixSockets::BindAny(UnixEnd& end) {
  constexpr uint32_t kNames = 1 << 20;
  absl::MutexLock lock(&mu_);
  if (HasNameLocked(end)) return Errno(EINVAL);
  for (uint32_t tried = 0; tried < kNames; ++tried) {
    next_name_ = (next_name_ + 1) % kNames;
    std::string name(1, '\0');
    absl::StrAppendFormat(&name, "%05x", next_name_);
    const AbstractName key(end.space, end.type, name);
    if (!abstract_.try_emplace(key, &end).second) continue;
    abstract_of_.emplace(&end, key);
    return name;
  }
  return Errno(ENOSPC);
}

Result<Ref<UnixEnd>> UnixSockets::FindAbstract(const UnixEnd& seeker,
                                               const std::string& name) const {
  absl::MutexLock lock(&mu_);
  const auto it = abstract_.find(AbstractName(seeker.space, seeker.type, name));
  if (it == abstract_.end()) return Errno(ECONNREFUSED);
  return Share(it->second);
}

Status UnixSockets::BindNode(UnixEnd& end, NodeId node) {
  absl::MutexLock lock(&mu_);
  if (HasNameLocked(end)) return Errno(EINVAL);
  nodes_[node] = &end;
  node_of_[&end] = node;
  return kOk;
}

Result<Ref<UnixEnd>> UnixSockets::FindNode(NodeId node) const {
  absl::MutexLock lock(&mu_);
  const auto it = nodes_.find(node);
  if (it == nodes_.end()) return Errno(ECONNREFUSED);
  return Share(it->second);
}

void UnixSockets::ForgetName(UnixEnd& end) {
  absl::MutexLock lock(&mu_);
  if (const auto it = abstract_of_.find(&end); it != abstract_of_.end()) {
    abstract_.erase(it->second);
    abstract_of_.erase(it);
  }
  if (const auto it = node_of_.find(&end); it != node_of_.end()) {
    // Another socket may have been bound to a node of the same number since.
    const auto node = nodes_.find(it->second);
    if (node != nodes_.end() && node->second == &end) nodes_.erase(node);
    node_of_.erase(it);
  }
}

void UnixSockets::Erase(EndSets& sets, UnixEnd* key, UnixEnd* member) {
  const auto found = sets.find(key);
  if (found == sets.end()) return;
  found->second.erase(member);
  if (found->second.empty()) sets.erase(found);
}

bool UnixSockets::AwaitRoom(UnixEnd& target, UnixEnd& sender) {
  absl::MutexLock lock(&room_mu_);
  if (!target.NoteAwaited(sender)) return false;
  senders_of_[&target].insert(&sender);
  targets_of_[&sender].insert(&target);
  return true;
}

// Ends leave both tables before they are destroyed, so that those in them can be told.
void UnixSockets::TellOfRoomLocked(UnixEnd& target) {
  const auto found = senders_of_.find(&target);
  if (found == senders_of_.end()) return;
  for (UnixEnd* const sender : found->second) {
    Erase(targets_of_, sender, &target);
    sender->queue.Notify(kPollWritable);
  }
  senders_of_.erase(found);
}

void UnixSockets::TellOfRoom(UnixEnd& target) {
  absl::MutexLock lock(&room_mu_);
  TellOfRoomLocked(target);
}

void UnixSockets::StopWaiting(UnixEnd& end) {
  absl::MutexLock lock(&room_mu_);
  TellOfRoomLocked(end);
  const auto found = targets_of_.find(&end);
  if (found == targets_of_.end()) return;
  for (UnixEnd* const target : found->second) Erase(senders_of_, target, &end);
  targets_of_.erase(found);
}

}  // namespace sentry
