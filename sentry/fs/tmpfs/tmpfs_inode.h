// The inodes of tmpfs.
#ifndef SENTRY_FS_TMPFS_TMPFS_INODE_H_
#define SENTRY_FS_TMPFS_TMPFS_INODE_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "sentry/fs/tmpfs/directory_entries.h"
#include "sentry/fs/tmpfs/file_data.h"
#include "sentry/fs/tmpfs/tmpfs.h"

namespace sentry {

// What all types have in common. Lock order: a directory before what lies in it.
class TmpfsInode : public Inode {
 public:
  TmpfsInode(Ref<Tmpfs> fs, const NewNode& node);
  ~TmpfsInode() override { fs_->ReturnInode(); }

  Result<Attributes> GetAttributes() override;
  Status SetAttributes(const AttributeChange& change) override;
  // Special files: the VFS opens those.
  Result<Ref<File>> Open(OpenFlags flags) override { return Errno(ENXIO); }
  Result<std::string> GetXattr(std::string_view name) override;
  Status SetXattr(std::string_view name, std::string_view value, int flags) override;
  Status RemoveXattr(std::string_view name) override;
  Result<std::vector<std::string>> ListXattr() override;
  Result<FilesystemStats> StatFs() override { return fs_->Stats(); }
  std::string ShowMountOptions() override { return fs_->ShowOptions(); }
  Status Remount(const MountOptions& options) override { return fs_->Remount(options); }
  bool AnyoneMaySearch() const override {
    return (mode_.load(std::memory_order_relaxed) & 0111) == 0111;
  }

  bool HasSetIdBits() const override {
    return (mode_.load(std::memory_order_relaxed) & (S_ISUID | S_ISGID)) != 0;
  }

  bool IsExecutable() const { return (mode_.load(std::memory_order_relaxed) & 0111) != 0; }

  Tmpfs& fs() const { return *fs_; }
  uint64_t ino() const { return ino_; }
  uint32_t type() const { return mode_.load(std::memory_order_relaxed) & S_IFMT; }
  // Names of this inode, of which removal is a change of status.
  void ChangeLinks(int by) ABSL_LOCKS_EXCLUDED(mu_);
  void TouchAccessed(File::AccessTime how) ABSL_LOCKS_EXCLUDED(mu_);
  void TouchModified() ABSL_LOCKS_EXCLUDED(mu_);

 protected:
  virtual uint64_t Size() { return 0; }
  virtual uint64_t Blocks() { return 0; }
  virtual Status SetSize(uint64_t size) { return Errno(EINVAL); }

 private:
  using Xattrs = std::map<std::string, std::string, std::less<>>;
  static constexpr size_t kMaxXattrBytes = 64 * 1024;  // Of one inode, names and values.

  const Ref<Tmpfs> fs_;
  const uint64_t ino_;
  const uint64_t rdev_;
  std::atomic<uint32_t> mode_;
  absl::Mutex mu_;  // Leaf.
  uint32_t nlink_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t uid_ ABSL_GUARDED_BY(mu_);
  uint32_t gid_ ABSL_GUARDED_BY(mu_);
  timespec atime_ ABSL_GUARDED_BY(mu_);
  timespec mtime_ ABSL_GUARDED_BY(mu_);
  timespec ctime_ ABSL_GUARDED_BY(mu_);
  const timespec btime_;
  std::unique_ptr<Xattrs> xattrs_ ABSL_GUARDED_BY(mu_);
};

class TmpfsRegular final : public TmpfsInode {
 public:
  TmpfsRegular(Ref<Tmpfs> fs, const NewNode& node)
      : TmpfsInode(std::move(fs), node), data_(this->fs()) {}
  Result<Ref<File>> Open(OpenFlags flags) override;
  Status SetAttributes(const AttributeChange& change) override;
  FileData& data() { return data_; }

  // Makes it what memfd_create(2) creates. Call before it is shared.
  void BecomeMemfd(std::string_view name, UniqueFd memfd, bool exec_sealed);
  // nullptr unless it is a memfd.
  const std::string* memfd_name() const { return memfd_name_.get(); }
  // F_SEAL_* (fcntl(2)); a file of another tmpfs cannot be sealed.
  Result<int> Seals();
  Status AddSeals(int seals);

 protected:
  uint64_t Size() override { return data_.size(); }
  uint64_t Blocks() override { return data_.blocks(); }
  Status SetSize(uint64_t size) override { return data_.Truncate(size); }

 private:
  static constexpr int kSealExec = 0x20;  // F_SEAL_EXEC, Linux 6.3.

  FileData data_;
  std::unique_ptr<const std::string> memfd_name_;
  std::atomic<bool> exec_sealed_{false};  // The host keeps the other seals.
};

class TmpfsSymlink final : public TmpfsInode {
 public:
  TmpfsSymlink(Ref<Tmpfs> fs, const NewNode& node, std::string_view target)
      : TmpfsInode(std::move(fs), node), target_(target) {}
  Result<std::string> ReadLink() override { return target_; }
  Result<Ref<File>> Open(OpenFlags flags) override { return Errno(ELOOP); }

 protected:
  uint64_t Size() override { return target_.size(); }

 private:
  const std::string target_;
};

class TmpfsDirectory final : public TmpfsInode {
 public:
  TmpfsDirectory(Ref<Tmpfs> fs, const NewNode& node);
  ~TmpfsDirectory() override;

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
  Status RenameLeaving(std::string_view name, Inode& new_parent, std::string_view new_name,
                       const NewNode& whiteout) override;
  Result<Ref<Inode>> CreateUnnamed(const NewNode& node, std::string_view target) override;
  Result<Ref<File>> Open(OpenFlags flags) override;
  void TakeChildren(std::vector<Ref<Inode>>& children) override;

  // Up to `count` entries from `position` on, "." and ".." among them.
  std::vector<DirEntry> List(int64_t position, size_t count);
  // True if it is empty; nothing can be added any more then (rmdir).
  bool CloseIfEmpty() ABSL_LOCKS_EXCLUDED(entries_mu_);

 protected:
  uint64_t Size() override;

 private:
  Status Add(std::string_view name, Ref<TmpfsInode> inode);
  Result<Ref<TmpfsInode>> NewInode(const NewNode& node, std::string_view target);
  // The inode under `name`, whose parent may be about to change.
  TmpfsInode* FindLocked(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(entries_mu_);

  absl::Mutex entries_mu_;  // Before those of the directories in it, and before mu_.
  bool closed_ ABSL_GUARDED_BY(entries_mu_) = false;
  DirectoryEntries entries_ ABSL_GUARDED_BY(entries_mu_);
  std::atomic<uint64_t> parent_ino_;  // For "..".
};

}  // namespace sentry

#endif  // SENTRY_FS_TMPFS_TMPFS_INODE_H_
