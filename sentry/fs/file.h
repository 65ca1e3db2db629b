// An open file description: what open(2), pipe(2) and friends make and descriptors share.
#ifndef SENTRY_FS_FILE_H_
#define SENTRY_FS_FILE_H_

#include <sys/inotify.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/inode.h"
#include "sentry/fs/notify.h"
#include "sentry/fs/types.h"
#include "sentry/fs/wait_queue.h"
#include "sentry/mm/io.h"

namespace sentry {

class Task;

// Hears that the last descriptor of its file is closed.
class FileOwner {
 public:
  virtual void OnFileClosed() = 0;

 protected:
  ~FileOwner() = default;
};

// Reference counted by descriptors and mappings. Operations are thread-safe and never block: they
// answer EAGAIN, and the caller waits (see RetryWhileBlocked in sentry/task/waiter.h). Each
// default is what Linux answers for an object without the operation.
class File : public RefCounted {
 public:
  // The access mode was checked by the caller (EBADF). Read and Write use and move the position.
  virtual Result<size_t> Read(IoDst& dst) { return Errno(EINVAL); }
  virtual Result<size_t> Write(IoSrc& src) { return Errno(EINVAL); }
  // The same as if O_APPEND were set, or were not, for this once (RWF_APPEND, RWF_NOAPPEND).
  virtual Result<size_t> WriteOnce(IoSrc& src, bool append) { return Write(src); }
  virtual Result<size_t> ReadAt(IoDst& dst, int64_t offset) { return Errno(ESPIPE); }
  virtual Result<size_t> WriteAt(IoSrc& src, int64_t offset) { return Errno(ESPIPE); }
  virtual Result<int64_t> Seek(int64_t offset, int whence) { return Errno(ESPIPE); }
  virtual Status Truncate(uint64_t size) { return Errno(EINVAL); }
  virtual Status Allocate(int mode, int64_t offset, int64_t length) { return Errno(EOPNOTSUPP); }
  virtual Status Sync() { return Errno(EINVAL); }
  // Calls `add` for entries from the position on, until it returns false (buffer full).
  virtual Status ReadDir(const std::function<bool(const DirEntry&)>& add) { return Errno(ENOTDIR); }
  // `arg` is a value or an application address, as the command says.
  virtual Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) {
    return Errno(ENOTTY);
  }

  // POLL* events that hold now. Regular files are always ready.
  virtual uint32_t Poll() { return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM; }
  // Where to wait for events; nullptr for files that are always ready.
  virtual WaitQueue* wait_queue() { return nullptr; }
  // Whether each thing that read(2) or accept(2) may take comes with a Notify of its own, so that
  // one of those who wait for it is told, and what one leaves over is passed on.
  virtual bool WakesOneReader() { return false; }
  WaitQueue::Turn reader_turn() {
    return WakesOneReader() ? WaitQueue::Turn::kExclusive : WaitQueue::Turn::kEverybody;
  }
  // Whether its events may come from the host: once, to everybody, until somebody asks for them
  // anew (ArmHostEvents). One of several that wait cannot be trusted to do so.
  virtual bool HearsFromHost() { return false; }
  // Called when somebody starts to wait for `events` and before each look at Poll(), for files
  // whose readiness comes from the host. With EPOLLET for who wants to be told of edges only.
  virtual void ArmHostEvents(uint32_t events) {}

  // A host descriptor that can be mapped in place of this file, valid as long as the file.
  // `shared_write` says that MAP_SHARED with PROT_WRITE may follow.
  virtual Result<int> HostFdForMapping(bool shared_write) { return Errno(ENODEV); }
  // For devices of which every mapping is memory of its own: a new descriptor for one mapping.
  virtual Result<UniqueFd> FreshHostFd() { return Errno(ENODEV); }
  // fcntl(F_GET_SEALS), fcntl(F_ADD_SEALS).
  virtual Result<int> GetSeals() { return Errno(EINVAL); }
  virtual Status AddSeals(int seals) { return Errno(EINVAL); }
  // Called each time a descriptor of this description is closed.
  virtual void OnDescriptorClosed() {}
  // Called when the last descriptor (not mapping) of this description is closed.
  virtual void OnLastClose() {}
  // What /proc/PID/fd shows for files without a path: "pipe:[5]", "anon_inode:[eventfd]", ….
  virtual std::string AnonymousName() const { return "anon_inode:[file]"; }
  virtual bool seekable() const { return false; }
  virtual bool is_terminal() const { return false; }
  // For terminals: what job control has to say before `task` reads (SIGTTIN), writes (SIGTTOU with
  // TOSTOP) or changes settings (SIGTTOU). A signal that has been sent answers kRestartSys; EIO for
  // orphaned groups. Handlers of read and write ask when is_terminal().
  enum class TerminalAccess : uint8_t { kRead, kWrite, kChange };
  virtual Status CheckTerminalAccess(Task& task, TerminalAccess access) { return kOk; }
  // For terminals: read(2) with the waits that belong to them (VMIN, VTIME; see ReadByRules in
  // sentry/tty/read_rules.h). The only operation that waits.
  virtual Result<size_t> ReadWaiting(Task& task, IoDst& dst) { return Read(dst); }
  // EAGAIN while open(2) has to wait for something besides this file: the other end of a fifo. The
  // handler retries it until it answers something else, and drops the file when it fails.
  virtual Status FinishOpen() { return kOk; }
  // Which kind of file this is, for calls that want one kind only: the address of its class's kKind
  // (see FileCast).
  virtual const void* kind() const { return nullptr; }

  // Counts the descriptors (in tables and in flight) that name this description; FdTable does it.
  // Dropping the last one calls OnLastClose and tells whoever watches.
  void AddDescriptor() { descriptors_.fetch_add(1, std::memory_order_relaxed); }
  void DropDescriptor();
  uint32_t descriptors() const { return descriptors_.load(std::memory_order_acquire); }
  // `watcher` hears of the last close through OnWatchedClose (epoll forgets the file). The watcher
  // unregisters before it is destroyed.
  void WatchClose(File& watcher) ABSL_LOCKS_EXCLUDED(watchers_mu_);
  void UnwatchClose(File& watcher) ABSL_LOCKS_EXCLUDED(watchers_mu_);
  virtual void OnWatchedClose(File& file) {}

  // What keeps whom to tell of readiness (sentry/task/async_io.h); the first that is set stays.
  Ref<RefCounted> SetOwner(Ref<RefCounted> holder, FileOwner* owner)
      ABSL_LOCKS_EXCLUDED(watchers_mu_);
  FileOwner* owner(Ref<RefCounted>& holder) ABSL_LOCKS_EXCLUDED(watchers_mu_);
  bool has_descriptors() const { return descriptors() != 0; }

  // The inode behind the file. Anonymous files have one of their own.
  Inode& inode() const { return *inode_; }
  Ref<Inode> inode_ref() const { return inode_; }
  // The name the file was opened by; empty refs for pipes and other anonymous files.
  const Path& path() const { return path_; }
  void set_path(Path path) { path_ = std::move(path); }

  OpenFlags flags() const { return OpenFlags(flags_.load(std::memory_order_relaxed)); }
  // How reading changes the access time: atime_needs_update() of Linux.
  enum class AccessTime : uint8_t { kKept, kRelative, kStrict };
  AccessTime access_time() const;
  // fcntl(F_SETFL): replaces O_APPEND, O_NONBLOCK, O_DIRECT, O_NOATIME, O_ASYNC.
  void SetStatusFlags(OpenFlags flags);
  // Writes clear the set-user-id and set-group-id bits: the opener lacks CAP_FSETID.
  void set_clears_set_id() { clears_set_id_ = true; }
  // Keeps its mount from becoming read-only. Once, after set_path.
  void HoldMountAsWriter() {
    writes_mount_ = true;
    path_.mount->AddWriter(1);
  }
  // Something that lives as long as this file: the detached mounts that it stands for. Before the file
  // is shared.
  void set_companion(Ref<RefCounted> companion) { companion_ = std::move(companion); }
  // open(2) made the file (F_CREATED_QUERY).
  void set_created() { created_ = true; }
  bool created() const { return created_; }
  bool nonblocking() const { return flags().has(O_NONBLOCK); }

  // Keeps others from executing, or writing, the inode as long as this file lives. ETXTBSY when
  // somebody does. Before the file is shared, at most one of them.
  Status HoldAsWriter() { return Hold(1, inode_->AddWriter()); }
  Status HoldAsExecutable() { return Hold(-1, inode_->AddExecution()); }
  void EndHold() {
    if (hold_ > 0) inode_->RemoveWriter();
    if (hold_ < 0) inode_->RemoveExecution();
    hold_ = 0;
  }

 protected:
  File(Ref<Inode> inode, OpenFlags flags) : inode_(std::move(inode)), flags_(flags.raw()) {}
  ~File() override;
  // For regular files: call after the content has changed.
  void ClearSetId() {
    if (clears_set_id_ && inode_->HasSetIdBits()) [[unlikely]]
      ClearSetIdBits();
  }

 private:
  void ClearSetIdBits();
  Status Hold(int8_t how, bool counted) {
    if (!counted) return Errno(ETXTBSY);
    hold_ = how;
    return kOk;
  }

  Ref<Inode> inode_;
  Path path_;
  std::atomic<uint32_t> flags_;
  Ref<RefCounted> companion_;
  bool clears_set_id_ = false;  // Set before the file is shared.
  bool created_ = false;        // Likewise.
  bool writes_mount_ = false;   // Likewise.
  int8_t hold_ = 0;             // 1: a writer, -1: an executable.
  std::atomic<uint32_t> descriptors_{0};
  absl::Mutex watchers_mu_;  // Leaf.
  std::vector<File*> watchers_ ABSL_GUARDED_BY(watchers_mu_);
  Ref<RefCounted> owner_holder_ ABSL_GUARDED_BY(watchers_mu_);
  FileOwner* owner_ ABSL_GUARDED_BY(watchers_mu_) = nullptr;  // Part of owner_holder_.
};

// The file as a T, or nullptr when it is something else. T has a `static constexpr char kKind`,
// which its kind() returns the address of.
template <typename T>
T* FileCast(File& file) {
  return file.kind() == &T::kKind ? static_cast<T*>(&file) : nullptr;
}

inline File::~File() {
  EndHold();
  if (writes_mount_) path_.mount->AddWriter(-1);
  if (path_.dentry) notify::OnRelease(*path_.dentry, 1);
}

inline void File::DropDescriptor() {
  OnDescriptorClosed();
  if (descriptors_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  notify::OnFile(*this, flags().writable() ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
  std::vector<Ref<File>> watchers;
  Ref<RefCounted> holder;
  if (FileOwner* const told = owner(holder)) told->OnFileClosed();
  {
    absl::MutexLock lock(&watchers_mu_);
    // A watcher that is just being destroyed will find itself here and needs no news.
    for (File* watcher : watchers_) {
      if (watcher->TryAddRef()) watchers.push_back(Ref<File>::Adopt(watcher));
    }
  }
  for (const Ref<File>& watcher : watchers) watcher->OnWatchedClose(*this);
  OnLastClose();
}

inline Ref<RefCounted> File::SetOwner(Ref<RefCounted> holder, FileOwner* owner) {
  absl::MutexLock lock(&watchers_mu_);
  if (owner_ == nullptr) {
    owner_holder_ = std::move(holder);
    owner_ = owner;
  }
  return owner_holder_;
}

inline FileOwner* File::owner(Ref<RefCounted>& holder) {
  absl::MutexLock lock(&watchers_mu_);
  holder = owner_holder_;
  return owner_;
}

inline void File::WatchClose(File& watcher) {
  absl::MutexLock lock(&watchers_mu_);
  watchers_.push_back(&watcher);
}

inline void File::UnwatchClose(File& watcher) {
  absl::MutexLock lock(&watchers_mu_);
  // One registration only: an epoll may watch the same description under two descriptors.
  const auto it = std::find(watchers_.begin(), watchers_.end(), &watcher);
  if (it != watchers_.end()) watchers_.erase(it);
}

// A file with a position: implements Read, Write and Seek on top of ReadAt and WriteAt.
class SeekableFile : public File {
 public:
  // As the offset of WriteAt: at the end, wherever that is. With O_APPEND that is where pwrite(2)
  // writes, as its caller sees to: WriteAt itself does not look at the flags.
  static constexpr int64_t kAppend = -1;

  Result<size_t> Read(IoDst& dst) override;
  Result<size_t> Write(IoSrc& src) override;
  Result<size_t> WriteOnce(IoSrc& src, bool append) override;
  // SEEK_SET, SEEK_CUR, SEEK_END; SEEK_DATA and SEEK_HOLE as for a file without holes.
  Result<int64_t> Seek(int64_t offset, int whence) override;
  bool seekable() const override { return true; }

 protected:
  using File::File;
  // WriteAt(kAppend) for files whose end moves; `end` is the position behind what was written. The
  // default asks the inode for its size and suits files that only one writer extends.
  virtual Result<size_t> Append(IoSrc& src, int64_t& end);
  Result<size_t> WriteHere(IoSrc& src) ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_);
  int64_t position() const { return position_.load(std::memory_order_relaxed); }
  void set_position(int64_t position) { position_.store(position, std::memory_order_relaxed); }
  // Serialises position updates (POSIX: read and write are atomic to each other).
  absl::Mutex position_mu_;

 private:
  std::atomic<int64_t> position_{0};
};

// A directory with a position: implements Seek (SEEK_SET, SEEK_CUR) and answers EISDIR to reads.
class DirectoryFile : public File {
 public:
  Result<size_t> Read(IoDst& dst) override { return Errno(EISDIR); }
  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override { return Errno(EISDIR); }
  Result<int64_t> Seek(int64_t offset, int whence) override;
  Status Sync() override { return kOk; }
  bool seekable() const override { return true; }

 protected:
  using File::File;
  // Told of a new position, with position_mu_ held.
  virtual void OnSeekLocked(int64_t position) ABSL_EXCLUSIVE_LOCKS_REQUIRED(position_mu_) {}
  absl::Mutex position_mu_;
  int64_t position_ ABSL_GUARDED_BY(position_mu_) = 0;
};

}  // namespace sentry

#endif  // SENTRY_FS_FILE_H_
