// Names of directories that are being looked up one after the other.
#ifndef SENTRY_FS_GOFERFS_LOOK_AHEAD_H_
#define SENTRY_FS_GOFERFS_LOOK_AHEAD_H_

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/lru_cache.h"
#include "base/ref.h"
#include "sentry/fs/gofer/gofer_client.h"
#include "sentry/fs/types.h"

namespace sentry {

class GoferInode;
class GoferTree;

// Whether listings of a tree are followed by looks at the files in them, judged by the last few.
class ListingHabit {
 public:
  bool looks() const { return allowed() && score_.load(std::memory_order_relaxed) >= kEnough; }
  // False once the gofer has refused.
  bool allowed() const { return !refused_.load(std::memory_order_relaxed); }
  void Refused() { refused_.store(true, std::memory_order_relaxed); }
  void Looked() { Add(1); }
  void DidNotLook() { Add(-1); }

 private:
  static constexpr int kEnough = 3, kMost = 8;
  void Add(int by) {
    // Two at once may count as one.
    score_.store(std::clamp(score_.load(std::memory_order_relaxed) + by, 0, kMost),
                 std::memory_order_relaxed);
  }
  std::atomic<int> score_{0};
  std::atomic<bool> refused_{false};
};

// Who lists a directory and then looks at its files is about to look at the others: they come
// together, with their attributes, some hundred in one request, or with the listing itself where
// that is the habit. One for each directory that was listed lately, owned by its GoferTree.
// Thread-safe; no lock is held while the gofer is asked.
class LookAhead {
 public:
  explicit LookAhead(GoferTree& tree) : tree_(tree) {}
  ~LookAhead();

  // A batch of a listing. Nodes that it brings become inodes of the tree.
  Status ReadDir(GoferDirectoryCursor& cursor, bool nodes, std::deque<DirEntry>& entries)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The inode under a name that has come already; empty if it has not.
  Ref<GoferInode> Take(std::string_view name) ABSL_LOCKS_EXCLUDED(mu_);
  // A file was looked up the slow way: fetches others, if it is time to.
  void Missed(gofer::NodeId directory) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static constexpr int kPatience = 2;

  GoferTree& tree_;  // Outlives it.
  absl::Mutex mu_;   // Leaf.
  absl::flat_hash_map<std::string, Ref<GoferInode>> inodes_ ABSL_GUARDED_BY(mu_);
  int missed_ ABSL_GUARDED_BY(mu_) = 0;
  size_t taken_ ABSL_GUARDED_BY(mu_) = 0;
  bool fetching_ ABSL_GUARDED_BY(mu_) = false;
  bool useless_ ABSL_GUARDED_BY(mu_) = false;  // All has come, or nothing comes.
  GoferDirectoryCursor cursor_;                // Of who is fetching.
};

// By directory, which takes its own out when it goes.
using LookAheads = LruCache<const GoferInode*, std::shared_ptr<LookAhead>>;
inline constexpr size_t kMostLookAheads = 16;

}  // namespace sentry

#endif  // SENTRY_FS_GOFERFS_LOOK_AHEAD_H_
