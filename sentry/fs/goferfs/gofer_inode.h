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
#include "base/mutex_pool.h"
#include "base/slab.h"
#include "base/unique_fd.h"
#include "sentry/fs/file.h"
#include "sentry/fs/goferfs/goferfs.h"
#include "sentry/fs/goferfs/host_descriptor.h"
#include "sentry/fs/goferfs/look_ahead.h"
#include "sentry/fs/goferfs/packed_attributes.h"

namespace sentry {

class GoferInode;

// By inode, which takes it out when it goes; at a cost of one each.
using OpenFiles = LruCache<const GoferInode*, Ref<HostDescriptor>>;

class GoferTree;

// A filesystem of the host in a tree. Devices of the host get numbers of the sandbox.
struct GoferDevice {
  GoferTree& tree;
  uint64_t host_dev;
  uint32_t dev;
};

// What the inodes of one export share; they hold it. Thread-safe.
class GoferTree : public RefCounted {
 public:
  GoferTree(GoferClient& client, const GoferFsOptions& options)
      : client_(client), options_(options) {}

  GoferClient& client() const { return client_; }
  bool shared() const { return options_.shared; }
  const GoferFsOptions& options() const { return options_; }
  // Of the sandbox's own root: names of its sockets lie there, which lead nowhere outside. Volumes
  // are others' as well.
  bool holds_sockets() const { return holds_sockets_; }
  void set_holds_sockets() { holds_sockets_ = true; }
  // The inode of a node, of which the id becomes the inode's: one for each host file, whatever
  // names it has.
  Ref<GoferInode> Intern(const gofer::WalkedNode& node) ABSL_LOCKS_EXCLUDED(mu_);
  // Called by the inode's destructor.
  void Drop(const GoferInode& inode) ABSL_LOCKS_EXCLUDED(mu_);
  // Of an exclusive tree: what the files opened last for reading were opened by, so that opening
  // one again asks nobody.
  OpenFiles& open_files() { return open_files_; }
  LookAheads& look_aheads() { return look_aheads_; }
  // The descriptor that came with its creation, kept and taken: of a regular file for the open that
  // follows, of a socket for who has bound it.
  void KeepCreated(const GoferInode& inode, UniqueFd fd) ABSL_LOCKS_EXCLUDED(mu_);
  UniqueFd TakeCreated(const GoferInode& inode) ABSL_LOCKS_EXCLUDED(mu_);
  // Of inodes: of their attributes, and of writes to their end, which come first.
  MutexPool& attribute_locks() { return attribute_locks_; }
  MutexPool& append_locks() { return append_locks_; }
  ListingHabit& habit() { return habit_; }

 private:
  static constexpr size_t kMostOpenFiles = 256;

  Ref<GoferInode> MakeLocked(const gofer::WalkedNode& node) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  const GoferDevice& DeviceLocked(uint64_t host_dev) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  GoferClient& client_;
  const GoferFsOptions options_;
  bool holds_sockets_ = false;
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
  absl::flat_hash_map<uint64_t, std::unique_ptr<GoferDevice>> devices_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const GoferInode*, UniqueFd> created_ ABSL_GUARDED_BY(mu_);
  std::atomic<size_t> created_count_{0};  // To be read without the lock.
  MutexPool attribute_locks_;
  MutexPool append_locks_;
  OpenFiles open_files_{kMostOpenFiles};
  ListingHabit habit_;
  LookAheads look_aheads_{kMostLookAheads};
};

// Any type; the base class is used for fifos, sockets and devices. They are shown only, unless the
// tree's options let sockets and fifos of the host be used.
class GoferInode : public Inode {
 public:
  // Keeps the device's tree.
  GoferInode(const GoferDevice& device, const gofer::WalkedNode& node);
  ~GoferInode() override;
  void* operator new(size_t size) { return Slab::Allocate(size); }
  void operator delete(void* memory) { Slab::Free(memory); }

  Result<Attributes> GetAttributes() override;
  Status SetAttributes(const AttributeChange& change) override;
  Result<Ref<File>> Open(OpenFlags flags) override;
  bool OpensItself() const override { return tree().options().open_fifos && type() == S_IFIFO; }
  Result<UniqueFd> ConnectHostSocket(int type) override;
  Result<UniqueFd> TakeHostSocket() override;
  Result<std::string> GetXattr(std::string_view name) override;
  Status SetXattr(std::string_view name, std::string_view value, int flags) override;
  Status RemoveXattr(std::string_view name) override;
  Result<std::vector<std::string>> ListXattr() override;
  Result<FilesystemStats> StatFs() override;
  bool CachesLookups() const override { return !tree().shared(); }
  bool AnyoneMaySearch() const override;
  bool HasSetIdBits() const override {
    return (mode_.load(std::memory_order_relaxed) & (S_ISUID | S_ISGID)) != 0;
  }
  void InvalidateAttributes() override { stale_.store(true, std::memory_order_release); }

  GoferClient& client() const { return tree().client(); }
  gofer::NodeId node() const { return node_; }
  uint64_t host_dev() const { return device_.host_dev; }
  uint64_t ino() const { return ino_; }
  uint32_t type() const { return mode_.load(std::memory_order_relaxed) & S_IFMT; }
  // The host's answer to anything.
  void Update(const gofer::Attr& attr);
  // Attributes change without us from now on: the file is mapped for writing.
  void DistrustAttributes() { volatile_.store(true, std::memory_order_relaxed); }

  GoferTree& tree() const { return device_.tree; }

 private:
  absl::Mutex& mu() const { return tree().attribute_locks().For(this); }  // Leaf.

  // In an order without holes, from the base's last byte on: there are very many of them.
  std::atomic<bool> stale_{false};
  std::atomic<bool> volatile_{false};
  uint8_t blksize_log_ ABSL_GUARDED_BY(mu());  // 0: the host has to be asked each time.
  std::atomic<uint32_t> mode_;
  const GoferDevice& device_;
  const gofer::NodeId node_;
  const uint64_t ino_;
  PackedAttributes packed_ ABSL_GUARDED_BY(mu());
};

class GoferRegular final : public GoferInode {
 public:
  using GoferInode::GoferInode;
  Result<Ref<File>> Open(OpenFlags flags) override;
  ~GoferRegular() override { tree().open_files().Take(this); }
  // Serialises writes to the end.
  absl::Mutex& append_mu() { return tree().append_locks().For(this); }

 private:
  // Opened by the gofer with the access that `flags` ask for, or more if the file is written.
  Result<UniqueFd> OpenOnHost(OpenFlags flags);
};
static_assert(sizeof(GoferRegular) == 104);

class GoferSymlink final : public GoferInode {
 public:
  using GoferInode::GoferInode;
  Result<std::string> ReadLink() override;
  Result<Ref<File>> Open(OpenFlags flags) override { return Errno(ELOOP); }

 private:
  absl::Mutex target_mu_;                           // Leaf.
  std::string target_ ABSL_GUARDED_BY(target_mu_);  // Empty until first read.
};

static_assert(sizeof(GoferSymlink) <= Slab::kMostSize);

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
