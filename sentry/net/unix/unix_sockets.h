// All AF_UNIX sockets, and the names by which they find each other.
#ifndef SENTRY_NET_UNIX_UNIX_SOCKETS_H_
#define SENTRY_NET_UNIX_UNIX_SOCKETS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"

namespace sentry {

class File;
class UnixEnd;
class UnixSocket;

// Of the whole sandbox: sockets of different network namespaces meet by paths, and in messages.
// Abstract names are each namespace's own. Holds no references. Thread-safe; its lock may be taken before an end's, not the other way round.
class UnixSockets {
 public:
  // Never destroyed.
  static UnixSockets& Get();

  UnixSockets() = default;
  UnixSockets(const UnixSockets&) = delete;

  // Every end, from its construction on.
  void Add(UnixEnd& end) ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(UnixEnd& end) ABSL_LOCKS_EXCLUDED(mu_);
  void SetSocket(UnixEnd& end, UnixSocket* socket) ABSL_LOCKS_EXCLUDED(mu_);
  // Those of network namespace number `space`, for /proc/net/unix and unix_diag.
  std::vector<Ref<UnixEnd>> List(uint64_t space) const ABSL_LOCKS_EXCLUDED(mu_);

  // Abstract names, one space for each socket type. EADDRINUSE; EINVAL when the end has a name.
  Status BindAbstract(UnixEnd& end, const std::string& name) ABSL_LOCKS_EXCLUDED(mu_);
  // An unused name of five hexadecimal digits (autobind). ENOSPC; EINVAL, likewise.
  Result<std::string> BindAny(UnixEnd& end) ABSL_LOCKS_EXCLUDED(mu_);
  // ECONNREFUSED.
  Result<Ref<UnixEnd>> FindAbstract(const UnixEnd& seeker, const std::string& name) const
      ABSL_LOCKS_EXCLUDED(mu_);

  // Sockets in the tree of files, by device and inode number.
  using NodeId = std::pair<uint64_t, uint64_t>;
  Status BindNode(UnixEnd& end, NodeId node) ABSL_LOCKS_EXCLUDED(mu_);
  Result<Ref<UnixEnd>> FindNode(NodeId node) const ABSL_LOCKS_EXCLUDED(mu_);

  void ForgetName(UnixEnd& end) ABSL_LOCKS_EXCLUDED(mu_);

  // `sender` hears (POLLOUT) when the queue of `target` has room. False when it has.
  bool AwaitRoom(UnixEnd& target, UnixEnd& sender) ABSL_LOCKS_EXCLUDED(room_mu_);
  void TellOfRoom(UnixEnd& target) ABSL_LOCKS_EXCLUDED(room_mu_);
  // An end closes: it waits for nobody, and who waits for it is told.
  void StopWaiting(UnixEnd& end) ABSL_LOCKS_EXCLUDED(room_mu_);

  // Sockets that only messages in unreachable queues still name keep each other alive. Count what
  // is sent, and look for such cycles when a socket is closed; see garbage.cc.
  void CountSentSocket() { sent_sockets_.fetch_add(1, std::memory_order_relaxed); }
  void CollectGarbage() ABSL_LOCKS_EXCLUDED(mu_, collecting_mu_);

 private:
  using AbstractName = std::tuple<uint64_t, int, std::string>;  // Namespace, socket type.

  absl::Mutex collecting_mu_ ABSL_ACQUIRED_BEFORE(mu_);  // One collection at a time.
  std::atomic<uint32_t> sent_sockets_{0};  // More than 0: there may be sockets in queues.
  uint32_t closes_ ABSL_GUARDED_BY(collecting_mu_) = 0;  // Since the last collection.

  mutable absl::Mutex mu_;
  absl::flat_hash_set<UnixEnd*> ends_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<AbstractName, UnixEnd*> abstract_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<NodeId, UnixEnd*> nodes_ ABSL_GUARDED_BY(mu_);
  // What ForgetName takes away.
  absl::flat_hash_map<UnixEnd*, AbstractName> abstract_of_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<UnixEnd*, NodeId> node_of_ ABSL_GUARDED_BY(mu_);
  uint32_t next_name_ ABSL_GUARDED_BY(mu_) = 0;

  using EndSets = absl::flat_hash_map<UnixEnd*, absl::flat_hash_set<UnixEnd*>>;
  bool HasNameLocked(UnixEnd& end) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return abstract_of_.contains(&end) || node_of_.contains(&end);
  }
  void TellOfRoomLocked(UnixEnd& target) ABSL_EXCLUSIVE_LOCKS_REQUIRED(room_mu_);
  // Takes `member` out of the set of `key`.
  static void Erase(EndSets& sets, UnixEnd* key, UnixEnd* member);

  absl::Mutex room_mu_;  // Before an end's.
  // Who waits for room in whose queue, both ways.
  EndSets senders_of_ ABSL_GUARDED_BY(room_mu_), targets_of_ ABSL_GUARDED_BY(room_mu_);
};

}  // namespace sentry

#endif  // SENTRY_NET_UNIX_UNIX_SOCKETS_H_
