// The inodes of an overlay.
//
// An inode stands for a file of the lower tree, or for a new one. The first change to a lower file
// gives it an unnamed inode of the upper filesystem, which has its attributes from then on; data
// follow with the first write. Names are kept here: a directory remembers those that differ from
// the lower tree, whiteouts among them, so that a rename of whatever size moves one pointer.
#ifndef SENTRY_FS_OVERLAY_OVERLAY_INODE_H_
#define SENTRY_FS_OVERLAY_OVERLAY_INODE_H_

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "base/mutex_pool.h"
#include "base/slab.h"
#include "sentry/fs/file.h"
#include "sentry/fs/overlay/listing.h"
#include "sentry/fs/overlay/overlay.h"
#include "sentry/fs/tmpfs/directory_entries.h"

namespace sentry {

class OverlayInode;

// What the inodes of one overlay share; they hold it. Thread-safe.
class OverlayTree : public RefCounted {
 public:
  OverlayTree(Ref<Inode> upper, uint64_t lower_dev);

  Inode& upper() const { return *upper_; }
  // The only inode for a lower one, so that hard links stay one file.
  Result<Ref<OverlayInode>> ForLower(Ref<Inode> lower) ABSL_LOCKS_EXCLUDED(mu_);
  // An inode for a new file whose content is `upper`.
  Ref<OverlayInode> ForNew(Ref<Inode> upper, uint32_t mode, uint32_t dev);
  // Keeps a changed inode of the lower tree, which could not be made again, until its last name is
  // gone.
  void Pin(OverlayInode& inode) ABSL_LOCKS_EXCLUDED(mu_);
  void Unpin(const OverlayInode& inode) ABSL_LOCKS_EXCLUDED(mu_);
  // The root is kept by the mount. Its destructor breaks the cycle of pinned inodes.
  void set_root(const OverlayInode& root) { root_ = &root; }
  bool IsRoot(const OverlayInode& inode) const { return root_ == &inode; }
  void UnpinAll() ABSL_LOCKS_EXCLUDED(mu_);
  // Called by the inode's destructor.
  void Drop(const OverlayInode& inode) ABSL_LOCKS_EXCLUDED(mu_);
  // Of lower directories, by the overlay's.
  ListingCache& listings() { return listings_; }
  // Of inodes, while they are copied up.
  MutexPool& copy_locks() { return copy_locks_; }
  // Devices by small numbers, which inodes keep.
  uint32_t dev(uint8_t index) const { return devs_[index].load(std::memory_order_relaxed); }
  uint8_t IndexOf(uint32_t dev) ABSL_LOCKS_EXCLUDED(dev_mu_);

 private:
  const Ref<Inode> upper_;
  const uint64_t lower_dev_;  // Of the lower root; its files are shown on dev_.
  const uint32_t dev_;
  const OverlayInode* root_ = nullptr;
  std::atomic<uint64_t> next_ino_;
  absl::Mutex mu_;
  // By lower inode, which the inodes know themselves.
  static const Inode* KeyOf(const Inode* lower) { return lower; }
  static const Inode* KeyOf(const OverlayInode* inode);
  struct Hash {
    using is_transparent = void;
    template <typename T>
    size_t operator()(const T* t) const {
      return absl::HashOf(KeyOf(t));
    }
  };
  struct Equal {
    using is_transparent = void;
    template <typename A, typename B>
    bool operator()(const A* a, const B* b) const {
      return KeyOf(a) == KeyOf(b);
    }
  };
  absl::flat_hash_set<OverlayInode*, Hash, Equal> by_lower_ ABSL_GUARDED_BY(mu_);  // Not held.
  absl::flat_hash_map<const OverlayInode*, Ref<OverlayInode>> pinned_ ABSL_GUARDED_BY(mu_);
  ListingCache listings_{kMostListedBytes};
  MutexPool copy_locks_;
  absl::Mutex dev_mu_;  // Leaf.
  // The first is dev_. Where there are more, the last one stands for all of them.
  std::array<std::atomic<uint32_t>, 256> devs_{};
  size_t dev_count_ ABSL_GUARDED_BY(dev_mu_) = 1;
};

// Any type; the base class is used for symlinks, fifos, sockets and devices.
class OverlayInode : public Inode {
 public:
  struct Identity {
    uint64_t ino;
    uint32_t dev;
    uint32_t type;  // S_IF*.
  };
  // Takes one of both; `lower` empty: a new file.
  OverlayInode(Ref<OverlayTree> tree, Ref<Inode> lower, Ref<Inode> upper, const Identity& identity);
  ~OverlayInode() override;
  void* operator new(size_t size) { return Slab::Allocate(size); }
  void operator delete(void* memory) { Slab::Free(memory); }

  Result<Attributes> GetAttributes() override;
  Status SetAttributes(const AttributeChange& change) override;
  Result<std::string> ReadLink() override { return top().ReadLink(); }
  // Fifos of the host, where those may be used.
  bool OpensItself() const override { return type() == S_IFIFO && lower_ && lower_->OpensItself(); }
  Result<Ref<File>> Open(OpenFlags flags) override {
    return OpensItself() ? lower_->Open(flags) : Errno(ENXIO);
  }
  // Of the lower tree, also when its attributes have been copied up.
  Result<UniqueFd> ConnectHostSocket(int type) override {
    return lower_ ? lower_->ConnectHostSocket(type) : Errno(ECONNREFUSED);
  }
  Result<std::string> GetXattr(std::string_view name) override { return top().GetXattr(name); }
  Status SetXattr(std::string_view name, std::string_view value, int flags) override;
  Status RemoveXattr(std::string_view name) override;
  Result<std::vector<std::string>> ListXattr() override { return top().ListXattr(); }
  Result<FilesystemStats> StatFs() override;
  bool AnyoneMaySearch() const override { return top().AnyoneMaySearch(); }
  bool HasSetIdBits() const override { return top().HasSetIdBits(); }

  uint64_t ino() const { return ino_; }
  uint32_t dev() const { return tree_->dev(dev_index_); }
  uint32_t type() const { return uint32_t{type_} << 12; }
  bool is_directory() const { return type() == S_IFDIR; }
  // Names of this inode; the last one to go ends its being kept.
  void ChangeLinks(int by);
  // Its status has changed, which is a time to set: copies it up unless that was its last name.
  void TouchStatus();
  // Likewise for the ".." of subdirectories, if the lower filesystem counts them.
  void ChangeSubdirectories(int by);
  uint32_t links() const;
  // Makes sure that there is an upper inode, with the attributes of the lower one.
  Status EnsureUpper();

  Inode* lower() const { return lower_.get(); }

 protected:
  OverlayTree& tree() const { return *tree_; }
  Inode* upper() const { return upper_.load(std::memory_order_acquire); }
  // What has the attributes now.
  Inode& top() const { return upper() != nullptr ? *upper() : *lower_; }
  bool data_in_upper() const { return data_in_upper_.load(std::memory_order_acquire); }
  // Likewise with the data, of which only the first `size` bytes will be needed.
  Status EnsureData(uint64_t size);

 private:
  absl::Mutex& copy_mu() const { return tree_->copy_locks().For(this); }  // One copies.
  Status EnsureUpperLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(copy_mu());

  // In an order without holes, from the base's last byte on: there are very many of them.
  std::atomic<bool> data_in_upper_;
  const uint8_t type_;  // DT_*: the type bits of a mode, shifted by 12.
  const uint8_t dev_index_;
  std::atomic<int32_t> links_{0};  // Added to those of lower_.
  const Ref<OverlayTree> tree_;
  const Ref<Inode> lower_;
  const uint64_t ino_;
  std::atomic<Inode*> upper_;  // Held; set once.
};

class OverlayRegular final : public OverlayInode {
 public:
  using OverlayInode::OverlayInode;
  Result<Ref<File>> Open(OpenFlags flags) override;
};
static_assert(sizeof(OverlayRegular) == 56);

class OverlayDirectory final : public OverlayInode {
 public:
  using OverlayInode::OverlayInode;
  ~OverlayDirectory() override;

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
  Result<Ref<Inode>> CreateUnnamed(const NewNode& node, std::string_view target) override;
  Result<Ref<File>> Open(OpenFlags flags) override;
  void TakeChildren(std::vector<Ref<Inode>>& children) override;

  // For listings. Names of the lower directory, changed ones among them:
  Result<std::shared_ptr<const Listing>> ListLower();
  bool Overrides(std::string_view name) ABSL_LOCKS_EXCLUDED(entries_mu_);
  // Up to `count` names that are not the lower directory's, by cookie.
  std::vector<DirEntry> ListChanged(int64_t cookie, size_t count) ABSL_LOCKS_EXCLUDED(entries_mu_);
  uint64_t parent_ino() const { return parent_ino_.load(std::memory_order_relaxed); }

 private:
  Result<Ref<OverlayInode>> Find(std::string_view name);
  bool InLower(std::string_view name);
  Result<Ref<Inode>> Add(std::string_view name, const NewNode& node, std::string_view target);
  Status Set(std::string_view name, Ref<OverlayInode> inode) ABSL_LOCKS_EXCLUDED(entries_mu_);
  void Hide(std::string_view name) ABSL_LOCKS_EXCLUDED(entries_mu_);
  Status PrepareChange();
  void Touch();
  // Takes `child`, which lies under `name`, away for good.
  Status Remove(std::string_view name, OverlayInode& child);
  // ENOTEMPTY, or nothing can be added any more.
  Status CloseIfEmpty() ABSL_LOCKS_EXCLUDED(entries_mu_);

  absl::Mutex entries_mu_;  // Leaf.
  std::unique_ptr<DirectoryEntries> entries_ ABSL_GUARDED_BY(entries_mu_);
  bool closed_ ABSL_GUARDED_BY(entries_mu_) = false;
  std::atomic<uint64_t> parent_ino_{ino()};
};

}  // namespace sentry

#endif  // SENTRY_FS_OVERLAY_OVERLAY_INODE_H_
