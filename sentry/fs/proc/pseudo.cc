#include "sentry/fs/proc/pseudo.h"

#include <dirent.h>
#include <linux/magic.h>

#include <algorithm>
#include <array>
#include <span>

namespace sentry {
namespace {

constexpr size_t kMaxStore = 4096;

// As statfs(2) tells it. What is like a file of procfs may belong to another one.
uint64_t FilesystemOf(Inode& inode) {
  const Result<FilesystemStats> stats = inode.StatFs();
  return stats.ok() ? stats->type : 0;
}

// generic_file_llseek() of Linux for a file of `size` bytes without holes: SEEK_END, SEEK_DATA and
// SEEK_HOLE.
Result<int64_t> SeekFromEnd(File& file, int64_t size, int64_t offset, int whence) {
  int64_t target = size;
  if (whence == SEEK_END) {
    if (__builtin_add_overflow(size, offset, &target)) return Errno(EOVERFLOW);
  } else {
    if (offset < 0 || offset >= size) return Errno(ENXIO);
    if (whence == SEEK_DATA) target = offset;
  }
  return file.Seek(target, SEEK_SET);
}

class TextFile final : public SeekableFile {
 public:
  TextFile(Ref<Inode> inode, OpenFlags flags, Ref<MountNamespace> watched)
      : SeekableFile(std::move(inode), flags), watched_(std::move(watched)) {
    if (watched_) seen_ = watched_->events().load();
  }

  WaitQueue* wait_queue() override { return watched_ ? &watched_->changed() : nullptr; }
  uint32_t Poll() override {
    if (!watched_) return SeekableFile::Poll();
    const uint64_t events = watched_->events().load();
    const bool changed = seen_.exchange(events) != events;
    return POLLIN | POLLRDNORM | (changed ? POLLERR | POLLPRI : 0);
  }

  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override ABSL_LOCKS_EXCLUDED(text_mu_) {
    if (offset < 0) return Errno(EINVAL);
    const std::string text = TRY(TextFor(offset));
    if (static_cast<uint64_t>(offset) >= text.size()) return size_t{0};
    const auto bytes = std::as_bytes(std::span(text)).subspan(static_cast<size_t>(offset));
    return dst.CopyOut(bytes.first(std::min(bytes.size(), dst.remaining())));
  }
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override {
    std::array<char, kMaxStore> text;
    const size_t size = std::min(src.remaining(), text.size());
    if (size == 0) return size_t{0};
    const size_t copied = TRY(src.CopyIn(std::as_writable_bytes(std::span(text).first(size))));
    TRY(static_cast<TextInode&>(inode()).Store({text.data(), copied}));
    return copied;
  }
  // Files of sysfs are a page long for lseek(2), texts of procfs empty, or without an end.
  Result<int64_t> Seek(int64_t offset, int whence) override {
    const PseudoNode& node = static_cast<TextInode&>(inode()).node();
    if (whence == SEEK_SET || whence == SEEK_CUR) return SeekableFile::Seek(offset, whence);
    const bool proc = node.filesystem == PseudoNode().filesystem;
    if (proc && !node.has_end) return Errno(EINVAL);
    return SeekFromEnd(*this, proc ? 0 : int64_t{kMaxStore}, offset, whence);
  }
  // Nothing is to be written; of procfs the files do not even know how.
  Status Sync() override {
    return FilesystemOf(inode()) == PROC_SUPER_MAGIC ? Status(Errno(EINVAL)) : kOk;
  }
  // O_TRUNC of `echo x > file`.
  Status Truncate(uint64_t size) override { return kOk; }

 private:
  // A copy, so that nothing is locked while the application's memory is written.
  Result<std::string> TextFor(int64_t offset) ABSL_LOCKS_EXCLUDED(text_mu_) {
    {
      absl::MutexLock lock(&text_mu_);
      if (offset != 0 && generated_) return text_;
    }
    std::string text = TRY(static_cast<TextInode&>(inode()).Generate());
    absl::MutexLock lock(&text_mu_);
    generated_ = true;
    text_ = text;
    return text;
  }

  const Ref<MountNamespace> watched_;
  std::atomic<uint64_t> seen_{0};
  absl::Mutex text_mu_;
  bool generated_ ABSL_GUARDED_BY(text_mu_) = false;
  std::string text_ ABSL_GUARDED_BY(text_mu_);
};

// The list is made anew for each call: a position says which entries have been told, so that a
// reader may close descriptors or end processes as it goes.
class PseudoDirectoryFile final : public DirectoryFile {
 public:
  PseudoDirectoryFile(Ref<Inode> inode, OpenFlags flags) : DirectoryFile(std::move(inode), flags) {}

  Result<int64_t> Seek(int64_t offset, int whence) override {
    if (whence == SEEK_SET || whence == SEEK_CUR) return DirectoryFile::Seek(offset, whence);
    return SeekFromEnd(*this, 0, offset, whence);
  }

  // As of files, and of kernfs directories do not know, either.
  Status Sync() override {
    const uint64_t filesystem = FilesystemOf(inode());
    const bool unknown = filesystem == PROC_SUPER_MAGIC || filesystem == SYSFS_MAGIC ||
                         filesystem == CGROUP2_SUPER_MAGIC;
    return unknown ? Status(Errno(EINVAL)) : kOk;
  }

  Status ReadDir(const std::function<bool(const DirEntry&)>& add) override {
    auto& directory = static_cast<PseudoDirectory&>(inode());
    std::vector<DirEntry> entries{{.name = ".", .ino = directory.node().ino, .type = DT_DIR},
                                  {.name = "..", .ino = directory.node().ino, .type = DT_DIR}};
    TRY(directory.List(entries));
    absl::MutexLock lock(&position_mu_);
    int64_t place = 0;
    for (DirEntry& entry : entries) {
      ++place;
      if (entry.next == 0) entry.next = place;
      if (entry.next <= position_) continue;
      if (!add(entry)) return kOk;
      position_ = entry.next;
    }
    return kOk;
  }
};

}  // namespace

uint8_t DirEntryType(uint32_t mode) { return static_cast<uint8_t>(IFTODT(mode)); }

PseudoInode::PseudoInode(const PseudoNode& node) : node_(node), time_(FileTime()) {}

Result<Attributes> PseudoInode::GetAttributes() {
  return Attributes{.dev = node_.dev,
                    .ino = node_.ino,
                    .mode = node_.mode,
                    .nlink = S_ISDIR(node_.mode) ? 2u : 1u,
                    .uid = node_.uid,
                    .gid = node_.gid,
                    .blksize = node_.block_size,
                    .atime = time_,
                    .mtime = time_,
                    .ctime = time_,
                    .btime = time_};
}

Status PseudoInode::SetAttributes(const AttributeChange& change) {
  // O_TRUNC arrives as a change of size; utimes has nowhere to go.
  if (change.mode || change.uid || change.gid) return Errno(EPERM);
  return kOk;
}

Result<FilesystemStats> PseudoInode::StatFs() { return FilesystemStats{.type = node_.filesystem}; }

Result<Ref<File>> TextInode::Open(OpenFlags flags) {
  return Ref<File>(MakeRef<TextFile>(Ref<Inode>::Share(*this), flags, Watched()));
}

Result<Ref<File>> PseudoDirectory::Open(OpenFlags flags) {
  return Ref<File>(MakeRef<PseudoDirectoryFile>(Ref<Inode>::Share(*this), flags));
}

Result<Ref<Inode>> FixedDirectory::Find(std::string_view name) {
  const auto it = entries_.find(name);
  if (it == entries_.end()) return Errno(ENOENT);
  return it->second;
}

Status FixedDirectory::List(std::vector<DirEntry>& entries) {
  for (const auto& [name, inode] : entries_) {
    const Attributes attributes = TRY(inode->GetAttributes());
    entries.push_back({.name = name, .ino = attributes.ino, .type = DirEntryType(attributes.mode)});
  }
  return kOk;
}

}  // namespace sentry
