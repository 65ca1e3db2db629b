#include "sentry/tty/devpts.h"

#include <dirent.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sentry/fs/proc/pseudo.h"
#include "sentry/fs/vfs.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"
#include "sentry/tty/pty.h"
#include "sentry/tty/pty_file.h"

namespace sentry {
namespace {

// As in Linux: the root is 1, ptmx 2, and pts/N N + 3.
constexpr uint64_t kRootIno = 1, kPtmxIno = 2, kFirstSlaveIno = 3;

uint64_t NextDev() {
  static std::atomic<unsigned> next{0x600};
  return makedev(0, next.fetch_add(1, std::memory_order_relaxed));
}

void Apply(const AttributeChange& change, Attributes& attributes) {
  if (change.mode) attributes.mode = (attributes.mode & S_IFMT) | *change.mode;
  if (change.uid) attributes.uid = *change.uid;
  if (change.gid) attributes.gid = *change.gid;
  if (change.atime) attributes.atime = *change.atime;
  if (change.mtime) attributes.mtime = *change.mtime;
  attributes.ctime = FileTime();
}

Attributes NewDevice(uint64_t dev, uint64_t ino, uint32_t mode, uint64_t rdev) {
  const timespec now = FileTime();
  return {.dev = dev,
          .ino = ino,
          .mode = S_IFCHR | mode,
          .rdev = rdev,
          .blksize = 1024,
          .atime = now,
          .mtime = now,
          .ctime = now,
          .btime = now};
}

}  // namespace

// pts/N. Cached names may keep it alive; the pseudo-terminal ends with its descriptions.
class PtyNode final : public Inode {
 public:
  PtyNode(Ref<Pty> pty, const Attributes& attributes)
      : pty_(std::move(pty)), attributes_(attributes) {}

  Result<Attributes> GetAttributes() override {
    absl::MutexLock lock(&mu_);
    return attributes_;
  }
  Status SetAttributes(const AttributeChange& change) override {
    absl::MutexLock lock(&mu_);
    Apply(change, attributes_);
    return kOk;
  }
  Result<Ref<File>> Open(OpenFlags flags) override {
    Ref<Pty> pty;
    {
      absl::MutexLock lock(&mu_);
      pty = pty_;
    }
    if (!pty) return Errno(EIO);
    return pty->Open(Ref<Inode>::Share(*this), flags);
  }
  bool OpensItself() const override { return true; }
  // The master is closed: nobody opens it any more.
  void Detach() {
    Ref<Pty> dropped;
    absl::MutexLock lock(&mu_);
    dropped = std::move(pty_);
  }

 private:
  absl::Mutex mu_;  // Leaf.
  Ref<Pty> pty_ ABSL_GUARDED_BY(mu_);
  Attributes attributes_ ABSL_GUARDED_BY(mu_);
};

namespace {

class PtmxNode final : public Inode {
 public:
  explicit PtmxNode(Ref<Devpts> devpts) : devpts_(std::move(devpts)) {}
  Result<Attributes> GetAttributes() override { return devpts_->PtmxAttributes(); }
  Status SetAttributes(const AttributeChange& change) override {
    devpts_->ChangePtmx(change);
    return kOk;
  }
  Result<Ref<File>> Open(OpenFlags flags) override {
    return devpts_->OpenMaster(Ref<Inode>::Share(*this), flags);
  }
  bool OpensItself() const override { return true; }

 private:
  const Ref<Devpts> devpts_;
};

class DevptsRoot final : public PseudoDirectory {
 public:
  explicit DevptsRoot(Ref<Devpts> devpts)
      : PseudoDirectory({.dev = devpts->dev(),
                         .ino = kRootIno,
                         .mode = S_IFDIR | 0755,
                         .creation_error = EPERM}),
        devpts_(std::move(devpts)) {}

  Result<Ref<Inode>> Find(std::string_view name) override {
    if (name == "ptmx") return Ref<Inode>(MakeRef<PtmxNode>(devpts_));
    uint32_t index = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), index);
    const bool plain = name == "0" || !name.starts_with('0');
    if (error != std::errc() || end != name.data() + name.size() || !plain) return Errno(ENOENT);
    auto node = devpts_->Node(index);
    return node.ok() ? node : Errno(ENOENT);
  }
  Status List(std::vector<DirEntry>& entries) override {
    entries.push_back({.name = "ptmx", .ino = kPtmxIno, .type = DT_CHR});
    for (const uint32_t index : devpts_->List()) {
      entries.push_back(
          {.name = absl::StrCat(index), .ino = kFirstSlaveIno + index, .type = DT_CHR});
    }
    return kOk;
  }
  // Linux's answer for a directory that makes no files.
  Result<Ref<Inode>> Create(std::string_view name, const NewNode& node) override {
    return Errno(S_ISREG(node.mode) ? EACCES : EPERM);
  }
  Result<FilesystemStats> StatFs() override { return FilesystemStats{.type = DEVPTS_SUPER_MAGIC}; }

 private:
  const Ref<Devpts> devpts_;
};

}  // namespace

Ref<Devpts> Devpts::Create(Kernel& kernel, const DevptsOptions& options) {
  return MakeRef<Devpts>(kernel, options);
}

Devpts::Devpts(Kernel& kernel, const DevptsOptions& options)
    : kernel_(kernel),
      options_(options),
      dev_(NextDev()),
      ptmx_(NewDevice(dev_, kPtmxIno, options.ptmx_mode, makedev(5, 2))) {}

Ref<Inode> Devpts::Root() { return MakeRef<DevptsRoot>(Ref<Devpts>::Share(*this)); }

Result<Ref<File>> Devpts::OpenMaster(Ref<Inode> node, OpenFlags flags) {
  const uint32_t index = TRY(TakeIndex());
  const Ref<Pty> pty = MakeRef<Pty>(kernel_, Ref<Devpts>::Share(*this), index);
  Attributes attributes =
      NewDevice(dev_, kFirstSlaveIno + index, options_.mode, makedev(136, index));
  const Task* const task = Task::Current();
  attributes.uid = options_.uid.value_or(task != nullptr ? task->creds().fsuid : 0);
  attributes.gid = options_.gid.value_or(task != nullptr ? task->creds().fsgid : 0);
  Ref<PtyNode> slave = MakeRef<PtyNode>(pty, attributes);
  Ref<File> master = MakeRef<PtyMasterFile>(std::move(node), pty, flags);
  absl::MutexLock lock(&mu_);
  nodes_[index] = std::move(slave);
  return master;
}

Result<Ref<Inode>> Devpts::Node(uint32_t index) {
  absl::MutexLock lock(&mu_);
  const auto it = nodes_.find(index);
  if (it == nodes_.end()) return Errno(EIO);
  return Ref<Inode>(it->second);
}

std::vector<uint32_t> Devpts::List() const {
  std::vector<uint32_t> indices;
  absl::MutexLock lock(&mu_);
  indices.reserve(nodes_.size());
  for (const auto& [index, node] : nodes_) indices.push_back(index);
  return indices;
}

Result<Path> Devpts::PathOf(Task& task, uint32_t index) const {
  Vfs& vfs = task.vfs();
  const Path root = task.fs_ref()->root();
  for (const Vfs::MountInfo& info : vfs.Mounts(root)) {
    const Result<Attributes> attributes = info.mount->root()->inode().GetAttributes();
    if (!attributes.ok() || attributes->dev != dev_) continue;
    WalkContext context = task.walk_context();
    context.start = {info.mount, info.mount->root()};
    return vfs.Walk(context, absl::StrCat(index), {});
  }
  return Errno(ENODEV);
}

void Devpts::Remove(uint32_t index) {
  Ref<PtyNode> removed;
  {
    absl::MutexLock lock(&mu_);
    const auto it = nodes_.find(index);
    if (it == nodes_.end()) return;
    removed = std::move(it->second);
    nodes_.erase(it);
  }
  removed->Detach();
}

Result<uint32_t> Devpts::TakeIndex() {
  constexpr size_t kMost = 4096;  // /proc/sys/kernel/pty/max.
  absl::MutexLock lock(&mu_);
  if (taken_.size() >= std::min<size_t>(options_.max, kMost)) return Errno(ENOSPC);
  uint32_t index = 0;
  for (const uint32_t used : taken_) {
    if (used != index) break;
    ++index;
  }
  taken_.insert(index);
  return index;
}

void Devpts::FreeIndex(uint32_t index) {
  absl::MutexLock lock(&mu_);
  taken_.erase(index);
}

Attributes Devpts::PtmxAttributes() const {
  absl::MutexLock lock(&mu_);
  return ptmx_;
}

void Devpts::ChangePtmx(const AttributeChange& change) {
  absl::MutexLock lock(&mu_);
  Apply(change, ptmx_);
}

}  // namespace sentry
