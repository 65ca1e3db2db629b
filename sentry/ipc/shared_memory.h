// System V shared memory (shmget(2)). Linux: ipc/shm.c.
//
// A segment is a memfd, an attachment a shared mapping of it that the host makes: every process
// sees the very pages. The host unmaps and splits mappings unasked, so attachments are not counted
// but looked up, when somebody asks, in the host's list of mappings of the processes that ever
// attached.
#ifndef SENTRY_IPC_SHARED_MEMORY_H_
#define SENTRY_IPC_SHARED_MEMORY_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/ipc/ids.h"
#include "sentry/mm/mm.h"

namespace sentry {

// Fields without a remark never change; the others are guarded by the lock of its SharedMemory.
struct ShmSegment final : RefCounted {
  // Each has a descriptor of the sentry: no more than these in all namespaces together (ENOSPC).
  static constexpr int kMost = 8192;
  ShmSegment() { count.fetch_add(1, std::memory_order_relaxed); }
  ~ShmSegment() override { count.fetch_sub(1, std::memory_order_relaxed); }
  static inline std::atomic<int> count{0};

  IpcPermissions perm;  // Guarded.
  int32_t key = 0;      // It was made with; perm's goes when it is removed.
  uint64_t size = 0;    // As asked for; what can be touched ends with a page.
  UniqueFd memfd;
  uint64_t host_dev = 0, host_ino = 0;      // Of the memfd, as the host's maps have them.
  int64_t atime = 0, dtime = 0, ctime = 0;  // Guarded. Seconds since the epoch.
  int32_t creator = 0;
  int32_t last = 0;                       // Guarded. Who attached or detached last.
  bool destroyed = false;                 // Guarded. Out of the table.
  int attaching = 0;                      // Guarded. Between Use and Attached.
  uint64_t uses = 0;                      // Guarded. Calls of Use, ever.
  std::set<class ShmAttachments*> users;  // Guarded. Those who may have it mapped.
};

// What one address space has attached of one namespace, and those that were forked from it.
class ShmAttachments final {
 public:
  ShmAttachments(Ref<class SharedMemory> table, Mm& mm, class ShmSpaces& spaces);
  ~ShmAttachments();
  std::unique_ptr<ShmAttachments> Fork(Mm& child, ShmSpaces& spaces);
  class SharedMemory& table() const {
    return *table_;
  }

 private:
  friend class SharedMemory;
  const Ref<class SharedMemory> table_;
  Mm& mm_;
  ShmSpaces& spaces_;
  std::map<ShmSegment*, Ref<ShmSegment>> segments_;  // Guarded by the table's lock.
};

// All that an address space has attached: of more than one namespace when its process went from one
// to another (unshare(2)). Hangs on an Mm. Thread-safe.
class ShmSpaces final : public MmExtension {
 public:
  explicit ShmSpaces(Mm& mm) : mm_(mm) {}
  std::unique_ptr<MmExtension> Fork(Mm& child) override ABSL_LOCKS_EXCLUDED(mu_);

  // Made at first use; goes when there is nothing in it and another one is made. Those of all
  // namespaces, the oldest first.
  std::shared_ptr<ShmAttachments> Of(SharedMemory& table) ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<std::shared_ptr<ShmAttachments>> All() ABSL_LOCKS_EXCLUDED(mu_);

  // Held while the host maps: one descriptor number serves all threads of a process. Nobody else's
  // calls wait for it.
  absl::Mutex& attach_mu() { return attach_mu_; }
  // The process that used the memory last, for what its end leaves behind.
  void set_last_user(int32_t pid) { last_user_.store(pid, std::memory_order_relaxed); }
  int32_t last_user() const { return last_user_.load(std::memory_order_relaxed); }

 private:
  Mm& mm_;
  absl::Mutex attach_mu_;
  std::atomic<int32_t> last_user_{0};
  absl::Mutex mu_;  // Leaf.
  std::vector<std::shared_ptr<ShmAttachments>> attachments_ ABSL_GUARDED_BY(mu_);
};

// What the commands *_STAT tell.
struct ShmSegmentInfo {
  IpcPermissions perm;
  uint64_t size = 0, attachments = 0;
  int64_t atime = 0, dtime = 0, ctime = 0;
  int32_t creator = 0, last = 0;
  uint64_t resident = 0;  // Bytes.
};

// All segments of a namespace. Thread-safe. The host's mappings are read without the lock.
class SharedMemory final : public RefCounted {
 public:
  struct Limits {
    uint64_t max = UINT64_MAX - (uint64_t{1} << 24);  // shmmax: bytes of a segment.
    uint64_t all = UINT64_MAX - (uint64_t{1} << 24);  // shmall: pages in all.
    int mni = 4096;                                   // shmmni: segments.
  };
  static constexpr uint32_t kDest = 01000, kLocked = 02000;  // SHM_DEST, SHM_LOCKED in the mode.

  Limits limits() const ABSL_LOCKS_EXCLUDED(mu_);
  void set_limits(const Limits& limits) ABSL_LOCKS_EXCLUDED(mu_);

  // `flags` without SHM_HUGETLB.
  Result<int> Get(const IpcCaller& caller, int32_t key, uint64_t size, int flags)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The segment for shmat(2), entered as used by `user`; Attached has to follow. EINVAL, EACCES,
  // EIDRM.
  Result<Ref<ShmSegment>> Use(const IpcCaller& caller, int id, uint32_t wanted,
                              ShmAttachments& user) ABSL_LOCKS_EXCLUDED(mu_);
  // It has been mapped, or could not be.
  void Attached(const IpcCaller& caller, ShmSegment& segment, bool mapped) ABSL_LOCKS_EXCLUDED(mu_);
  // What shmdt(2) of `addr` has to unmap, in order. Empty: nothing is attached there.
  struct Piece {
    uint64_t begin = 0, end = 0;
  };
  struct Detachment {
    Ref<ShmSegment> segment;
    std::vector<Piece> pieces;
  };
  Result<Detachment> FindAttachment(ShmAttachments& user, uint64_t addr) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether nothing of `user` is attached, or about to be.
  bool IsUnused(const ShmAttachments& user) ABSL_LOCKS_EXCLUDED(mu_);
  // They have been unmapped.
  void Detached(const IpcCaller& caller, ShmAttachments& user, const Ref<ShmSegment>& segment)
      ABSL_LOCKS_EXCLUDED(mu_);

  // shmctl(2).
  using Info = ShmSegmentInfo;
  enum class Any : uint8_t { kNo, kYes };  // SHM_STAT_ANY: without looking at rights.
  Result<Info> Stat(const IpcCaller& caller, int id) ABSL_LOCKS_EXCLUDED(mu_);
  Result<Info> StatAt(const IpcCaller& caller, int index, Any any) ABSL_LOCKS_EXCLUDED(mu_);
  Status Set(const IpcCaller& caller, int id, uint32_t uid, uint32_t gid, uint32_t mode)
      ABSL_LOCKS_EXCLUDED(mu_);
  Status Remove(const IpcCaller& caller, int id) ABSL_LOCKS_EXCLUDED(mu_);
  // SHM_LOCK, SHM_UNLOCK: recorded only. `memlock` is RLIMIT_MEMLOCK.
  Status SetLocked(const IpcCaller& caller, int id, bool locked, uint64_t memlock)
      ABSL_LOCKS_EXCLUDED(mu_);
  struct Totals {
    int segments = 0, highest_index = 0;
    uint64_t pages = 0, resident_pages = 0;
  };
  Totals Count() ABSL_LOCKS_EXCLUDED(mu_);
  // /proc/sysvipc/shm, for who may read.
  std::string Table() ABSL_LOCKS_EXCLUDED(mu_);
  // The namespace goes: what is attached lives on until it no longer is.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static constexpr int kFirstSweep = 16;

  friend class ShmAttachments;
  using SegmentRef = Ref<ShmSegment>;

  Result<SegmentRef> Make(const IpcCaller& caller, int32_t key, uint64_t size, int flags)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // How often the host has each of them mapped now. Asks every process that may have one, once.
  std::vector<uint64_t> CountAttachments(const std::vector<SegmentRef>& segments)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Lets go of a segment that is to go (SHM_DEST) when nobody has it any more: whether it went.
  bool DestroyIfUnused(const SegmentRef& segment) ABSL_LOCKS_EXCLUDED(mu_);
  // The same for all of them.
  void DestroyUnused(const std::vector<SegmentRef>& segments) ABSL_LOCKS_EXCLUDED(mu_);
  // The same for all there are: what was unmapped unasked is found here.
  void Sweep() ABSL_LOCKS_EXCLUDED(mu_);
  // The same, when so many wait for their end that it is worth asking everybody.
  void SweepNowAndThen() ABSL_LOCKS_EXCLUDED(mu_);
  Result<Info> InfoOf(const SegmentRef& segment) ABSL_LOCKS_EXCLUDED(mu_);
  void Inherit(ShmAttachments& from, ShmAttachments& to) ABSL_LOCKS_EXCLUDED(mu_);
  void Leave(ShmAttachments& user) ABSL_LOCKS_EXCLUDED(mu_);

  mutable absl::Mutex mu_;
  Limits limits_ ABSL_GUARDED_BY(mu_);
  uint64_t pages_ ABSL_GUARDED_BY(mu_) = 0;
  int doomed_ ABSL_GUARDED_BY(mu_) = 0;                // Segments with SHM_DEST.
  int next_sweep_ ABSL_GUARDED_BY(mu_) = kFirstSweep;  // At so many of them.
  IpcTable<ShmSegment> table_ ABSL_GUARDED_BY(mu_);
};

// The attachments of an address space, made at first use.
ShmSpaces& AttachmentsOf(Mm& mm);

}  // namespace sentry

#endif  // SENTRY_IPC_SHARED_MEMORY_H_
