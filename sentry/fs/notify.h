// Who watches which inode: the source of what inotify(7) reports.
#ifndef SENTRY_FS_NOTIFY_H_
#define SENTRY_FS_NOTIFY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/inode.h"

namespace sentry {

class Dentry;
class File;
class Superblock;
struct Path;

namespace notify {

// Receives what its marks are about.
class Watcher {
 public:
  // One event. `name` is of an entry of the watched directory; empty for the inode itself. Called
  // with the table's lock held: it may only queue and wake.
  virtual void OnEvent(int wd, uint32_t mask, uint32_t cookie, std::string_view name) = 0;

 protected:
  ~Watcher() = default;
};

// An inode that somebody watches.
struct Mark {
  Watcher* watcher = nullptr;  // Takes its marks away before it goes.
  Ref<Inode> inode;
  const Superblock* filesystem = nullptr;  // Which takes its marks away as it goes.
  uint64_t dev = 0;
  int wd = 0;
  uint32_t uid = 0;   // Whose limit it counts against.
  uint32_t mask = 0;  // IN_* events, IN_EXCL_UNLINK, IN_ONESHOT.
};

// Every mark of the sandbox, by inode. Thread-safe; its lock comes after those of the VFS and of
// filesystems and before wait queues. References are dropped after it is released.
class Table {
 public:
  static constexpr size_t kMaxMarksOfUser = 65536;  // fs.inotify.max_user_watches.

  static Table& Get();

  // inotify_add_watch(2) with a checked mask: the watch descriptor, `next_wd` for a new one, which
  // is then counted up. EEXIST with IN_MASK_CREATE, ENOSPC beyond the user's limit.
  Result<int> Add(Watcher& watcher, const Path& place, uint64_t dev, uint32_t mask, uint32_t uid,
                  int& next_wd) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes one away, which is told (IN_IGNORED). EINVAL.
  Status Remove(Watcher& watcher, int wd) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes all of a watcher away, in silence.
  void RemoveAll(Watcher& watcher) ABSL_LOCKS_EXCLUDED(mu_);
  // Of one watcher, in the order of their descriptors.
  std::vector<Mark> MarksOf(const Watcher& watcher) ABSL_LOCKS_EXCLUDED(mu_);

  void Deliver(Inode& inode, uint32_t mask, uint32_t cookie, std::string_view name, bool unlinked)
      ABSL_LOCKS_EXCLUDED(mu_);
  // `mask` is the last event of this inode: IN_DELETE_SELF.
  void DeliverLast(Inode& inode, uint32_t mask) ABSL_LOCKS_EXCLUDED(mu_);
  // Marks of a filesystem that has been taken off: IN_UNMOUNT.
  void Unmounted(const Superblock& filesystem) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using MarkPtr = std::unique_ptr<Mark>;
  void ForgetLocked(const Mark& mark) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes one out of marks_.
  MarkPtr TakeLocked(const Inode& inode, const Watcher& watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;
  absl::flat_hash_map<const Inode*, std::vector<MarkPtr>> marks_ ABSL_GUARDED_BY(mu_);
  // What each watcher has marked, by watch descriptor.
  absl::flat_hash_map<const Watcher*, absl::btree_map<int, const Inode*>> of_watcher_
      ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint32_t, size_t> of_user_ ABSL_GUARDED_BY(mu_);
};

// How many marks there are: while there are none, telling costs one load.
inline std::atomic<size_t> mark_count{0};
inline bool AnyMarks() { return mark_count.load(std::memory_order_relaxed) != 0; }

void TellInode(Inode& inode, uint32_t mask);
void TellEntry(Inode& directory, std::string_view name, uint32_t mask, uint32_t cookie);
void TellDentry(const Dentry& dentry, uint32_t mask);
void TellFile(const File& file, uint32_t mask);
void TellReleased(const Dentry& dentry, uint64_t names);
uint32_t NextCookie();

// Something happened to the inode, whatever it is called.
inline void OnInode(Inode& inode, uint32_t mask) {
  if (AnyMarks()) [[unlikely]]
    TellInode(inode, mask);
}
// A name was added to or taken from a directory. Moves share a cookie.
inline void OnEntry(Inode& directory, std::string_view name, uint32_t mask, uint32_t cookie = 0) {
  if (AnyMarks()) [[unlikely]]
    TellEntry(directory, name, mask, cookie);
}
// Something happened to what this name stands for: its directory hears of it, and itself.
inline void OnDentry(const Dentry& dentry, uint32_t mask) {
  if (AnyMarks()) [[unlikely]]
    TellDentry(dentry, mask);
}
// Likewise, by the name the file was opened by.
inline void OnFile(const File& file, uint32_t mask) {
  if (AnyMarks()) [[unlikely]]
    TellFile(file, mask);
}
// A reference to a name is about to go of which `holders` are left. The last one to a removed name
// of an inode without others is its end: IN_DELETE_SELF.
inline void OnRelease(const Dentry& dentry, uint64_t holders) {
  if (AnyMarks()) [[unlikely]]
    TellReleased(dentry, holders);
}

}  // namespace notify
}  // namespace sentry

#endif  // SENTRY_FS_NOTIFY_H_
