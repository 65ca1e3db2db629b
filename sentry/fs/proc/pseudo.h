// Building blocks of filesystems whose files are made up when they are read: procfs and sysfs.
#ifndef SENTRY_FS_PROC_PSEUDO_H_
#define SENTRY_FS_PROC_PSEUDO_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/file.h"
#include "sentry/fs/inode.h"
#include "sentry/fs/mount.h"

namespace sentry {

// Number, mode and owner of a made-up inode.
struct PseudoNode {
  uint64_t dev = 0;
  uint64_t ino = 0;
  uint32_t mode = 0;  // S_IF* and permission bits.
  uint32_t uid = 0;
  uint32_t gid = 0;
  int creation_error = 2;        // What making something in a directory answers: ENOENT in procfs.
  uint64_t filesystem = 0x9fa0;  // As statfs(2) tells it: PROC_SUPER_MAGIC.
  uint32_t block_size = 1024;    // As stat(2) does.
  bool has_end = false;          // Of texts in procfs: SEEK_END works. It does not in a seq_file.
};

class PseudoInode : public Inode {
 public:
  explicit PseudoInode(const PseudoNode& node);
  Result<Attributes> GetAttributes() override;
  // chmod and chown of made-up files do nothing that lasts, and say so.
  Status SetAttributes(const AttributeChange& change) override;
  Result<Ref<File>> Open(OpenFlags flags) override { return Errno(ELOOP); }
  Result<FilesystemStats> StatFs() override;
  bool CachesLookups() const override { return false; }
  const PseudoNode& node() const { return node_; }

 private:
  const PseudoNode node_;
  const timespec time_;
};

// A file whose text is made at the first read and whenever a read begins at its start.
class TextInode : public PseudoInode {
 public:
  using PseudoInode::PseudoInode;
  Result<Ref<File>> Open(OpenFlags flags) override;
  virtual Result<std::string> Generate() = 0;
  // The namespace of which a change makes the file ready for POLLPRI; empty for most.
  virtual Ref<MountNamespace> Watched() { return {}; }
  // What one write(2) says; at most a page.
  virtual Status Store(std::string_view text) { return Errno(EINVAL); }
};

// A directory: Find and List say what is in it.
class PseudoDirectory : public PseudoInode {
 public:
  using PseudoInode::PseudoInode;
  Result<Ref<Inode>> Lookup(std::string_view name) final { return Find(name); }
  Result<Ref<File>> Open(OpenFlags flags) override;
  Result<Ref<Inode>> Create(std::string_view name, const NewNode& node) override {
    return Errno(this->node().creation_error);
  }
  Result<Ref<Inode>> Mkdir(std::string_view name, const NewNode& node) override {
    return Errno(this->node().creation_error);
  }
  Result<Ref<Inode>> Symlink(std::string_view name, std::string_view target,
                             const NewNode& node) override {
    return Errno(this->node().creation_error);
  }
  virtual Result<Ref<Inode>> Find(std::string_view name) = 0;
  // Appends the names in it, without "." and "..". An entry's `next` is a position that stays its
  // own while others come and go, above kFirstPosition and rising; 0 stands for its place in the
  // list, which does where nothing vanishes.
  static constexpr int64_t kFirstPosition = 2;
  virtual Status List(std::vector<DirEntry>& entries) = 0;
};

class PseudoLink : public PseudoInode {
 public:
  PseudoLink(const PseudoNode& node, std::string target)
      : PseudoInode(node), target_(std::move(target)) {}
  Result<std::string> ReadLink() override { return target_; }

 private:
  const std::string target_;
};

// A text that a function makes.
class FunctionText final : public TextInode {
 public:
  using Function = std::function<Result<std::string>()>;
  using StoreFunction = std::function<Status(std::string_view)>;
  FunctionText(const PseudoNode& node, Function function, StoreFunction store = nullptr)
      : TextInode(node), function_(std::move(function)), store_(std::move(store)) {}
  Result<std::string> Generate() override { return function_(); }
  Status Store(std::string_view text) override {
    return store_ ? store_(text) : Status(Errno(EINVAL));
  }

 private:
  const Function function_;
  const StoreFunction store_;
};

// A directory filled once, before anybody sees it.
class FixedDirectory final : public PseudoDirectory {
 public:
  using PseudoDirectory::PseudoDirectory;
  void Put(std::string name, Ref<Inode> inode) { entries_[std::move(name)] = std::move(inode); }
  Result<Ref<Inode>> Find(std::string_view name) override;
  Status List(std::vector<DirEntry>& entries) override;

 private:
  std::map<std::string, Ref<Inode>, std::less<>> entries_;
};

uint8_t DirEntryType(uint32_t mode);

}  // namespace sentry

#endif  // SENTRY_FS_PROC_PSEUDO_H_
