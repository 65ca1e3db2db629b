// The inodes of goferfs.
#ifndef SENTRY_FS_GOFERFS_GOFER_INODE_H_
#define SENTRY_FS_GOFERFS_GOFER_INODE_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "base/lru_cache.h"
#include "base/unique_fd.h"
#include "sentry/fs/file.h"
#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/fs/goferfs/look_ahead.h"

namespace sentry {

class GoferInode;

// A descriptor of the host, whose position means nothing.
class HostDescriptor final : public RefCounted {
 public:
  explicit HostDescriptor(UniqueFd fd) : fd_(std::move(fd)) {}
  int get() const { return fd_.get(); }

 private:
  const UniqueFd fd_;
};
// By inode, which takes it out when it goes; at a cost of one each.
using OpenFiles = LruCache<const GoferInode*, Ref<HostDescriptor>>;

// What the inodes of one export share; they hold it. Thread-safe.
class GoferTree : public RefCounted {
 public:
  GoferTree(GoferClient& client, const GoferFsOptions& options)
      : client_(client), options_(options) {}

  GoferClient& client() const { return client_; }
  bool shared() const { return options_.shared; }
  const GoferFsOptions& options() const { return options_; }
  // The inode of a node, of which the id becomes the inode's: one for each host file, whatever
  // names it has.
  Ref<GoferInode> Intern(const gofer::WalkedNode& node) ABSL_LOCKS_EXCLUDED(mu_);
  // Called by the inode's destructor.
  void Drop(const GoferInode& inode) ABSL_LOCKS_EXCLUDED(mu_);
  // Of an exclusive tree: what the files opened last for reading were opened by, so that opening
  // one again asks nobody.
  OpenFiles& open_files() { return open_files_; }
  LookAheads& look_aheads() { return look_aheads_; }
  ListingHabit& habit() { return habit_; }

 private:
  static constexpr size_t kMostOpenFiles = 256;

  Ref<GoferInode> MakeLocked(const gofer::WalkedNode& node) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Devices of the host get numbers of the sandbox.
  uint32_t DevLocked(uint64_t host_dev) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  GoferClient& client_;
  const GoferFsOptions options_;
  absl::Mutex mu_;
  // By device and inode number of the host, which the inodes know themselves.
  using Key = std::pair<uint64_t, uint64_t>;
  static Key KeyOf(const Key& key) { return key; }
  static Key KeyOf(const GoferInode* inode);
  struct Hash {
    using is_transparent = void;
    template <typename T>
    size_t operator()(const T& t) const {
      return absl::HashOf(KeyOf(t));
    }
  };
  struct Equal {
    using is_transparent = void;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return KeyOf(a) == KeyOf(b);
    }
  };
  absl::flat_hash_set<GoferInode*, Hash, Equal> inodes_ ABSL_GUARDED_BY(mu_);  // Not held.
  absl::flat_hash_map<uint64_t, uint32_t> devs_ ABSL_GUARDED_BY(mu_);
  OpenFiles open_files_{kMostOpenFiles};
  ListingHabit habit_;
  LookAheads look_aheads_{kMostLookAheads};
};

// Any type; the base class is used for fifos, sockets and devices. They are shown only, unless the
// tree's options let sockets and fifos of the host be used.
class GoferInode : public Inode {
 public:
  GoferInode(Ref<GoferTree> tree, const gofer::WalkedNode& node, uint32_t dev);
  ~GoferInode() override;

  Result<Attributes> GetAttributes() override;
  Status SetAttributes(const AttributeChange& change) override;
  Result<Ref<File>> Open(OpenFlags flags) override;
  bool OpensItself() const override { return tree_->options().open_fifos && type() == S_IFIFO; }
  Result<UniqueFd> ConnectHostSocket(int type) override;
  Result<UniqueFd> TakeHostSocket() override;
  Result<std::string> GetXattr(std::string_view name) override;
  Status SetXattr(std::string_view name, std::string_view value, int flags) override;
  Status RemoveXattr(std::string_view name) override;
  Result<std::vector<std::string>> ListXattr() override;
  Result<FilesystemStats> StatFs() override;
  bool CachesLookups() const override { return !tree_->shared(); }
  bool AnyoneMaySearch() const override;
  bool HasSetIdBits() const override {
    return (mode_.load(std::memory_order_relaxed) & (S_ISUID | S_ISGID)) != 0;
  }
  void InvalidateAttributes() override { stale_.store(true, std::memory_order_release); }

  GoferClient& client() const { return tree_->client(); }
  gofer::NodeId node() const { return node_; }
  uint64_t host_dev() const { return host_dev_; }
  uint64_t ino() const { return ino_; }
  uint32_t type() const { return mode_.load(std::memory_order_relaxed) & S_IFMT; }
  // The host's answer to anything.
  void Update(const gofer::Attr& attr) ABSL_LOCKS_EXCLUDED(mu_);
  // Attributes change without us from now on: the file is mapped for writing.
  void DistrustAttributes() { volatile_.store(true, std::memory_order_relaxed); }

  GoferTree& tree() const { return *tree_; }
  // The descriptor that came with its creation: of a regular file for the open that follows, of a
  // socket for who has bound it.
  void KeepCreated(UniqueFd fd) { UniqueFd(created_fd_.exchange(fd.release())); }

 protected:
  std::atomic<int>& created_fd() { return created_fd_; }

 private:
  // Attributes without padding: there are very many of them.
  struct Packed {
    uint64_t size, blocks, rdev;
    int64_t seconds[4];  // atime, mtime, ctime, btime.
    uint32_t nanoseconds[4];
    uint32_t nlink, uid, gid, blksize;
  };
  static Packed Pack(const gofer::Attr& attr);

  const Ref<GoferTree> tree_;
  const gofer::NodeId node_;
  const uint64_t host_dev_;
  const uint64_t ino_;
  const uint32_t dev_;
  std::atomic<uint32_t> mode_;
  std::atomic<bool> stale_{false};
  std::atomic<bool> volatile_{false};
  std::atomic<int> created_fd_{-1};  // Here, where there is room for it.
  absl::Mutex mu_;                   // Leaf.
  Packed packed_ ABSL_GUARDED_BY(mu_);
};

class GoferRegular final : public GoferInode {
 public:
  using GoferInode::GoferInode;
  Result<Ref<File>> Open(OpenFlags flags) override;
  ~GoferRegular() override { tree().open_files().Take(this); }
  // Serialises writes to the end.
  absl::Mutex& append_mu() { return append_mu_; }

 private:
  // Opened by the gofer with the access that `flags` ask for, or more if the file is written.
  Result<UniqueFd> OpenOnHost(OpenFlags flags);

  absl::Mutex append_mu_;
};

class GoferSymlink final : public GoferInode {
 public:
  using GoferInode::GoferInode;
  Result<std::string> ReadLink() override;
  Result<Ref<File>> Open(OpenFlags flags) override { return Errno(ELOOP); }

 private:
  absl::Mutex target_mu_;                           // Leaf.
  std::string target_ ABSL_GUARDED_BY(target_mu_);  // Empty until first read.
};

class GoferDirectory final : public GoferInode {
 public:
  using GoferInode::GoferInode;
  ~GoferDirectory() override { tree().look_aheads().Take(this); }
  Result<Ref<Inode>> Lookup(std::string_view name) override;
  Result<Ref<Inode>> Create(std::string_view name, const NewNode& node) override;
  Result<Ref<Inode>> Mkdir(std::string_view name, const NewNode& node) override;
  Result<Ref<Inode>> Symlink(std::string_view name, std::string_view target,
                             const NewNode& node) override;
  Status Link(std::string_view name, Inode& target) override;
  Status Unlink(std::string_view name) override;
  Status Rmdir(std::string_view name) override;
  Status Rename(std::string_view name, Inode& new_parent, std::string_view new_name,
                uint32_t flags) override;
  Result<Ref<File>> Open(OpenFlags flags) override;

 private:
  Result<Ref<Inode>> BindSocket(std::string_view name, const NewNode& node);
};

}  // namespace sentry

#endif  // SENTRY_FS_GOFERFS_GOFER_INODE_H_
