// /proc/PID/map_files: a link for each mapping of a file, by its addresses.
#include <charconv>
#include <utility>

#include "absl/strings/str_format.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

std::string NameOf(const FileMapping& mapping) {
  return absl::StrFormat("%x-%x", mapping.begin, mapping.end);
}

Result<FileMapping> Named(const Subject& subject, std::string_view name) {
  FileMapping wanted;
  const char* const last = name.data() + name.size();
  const auto begin = std::from_chars(name.data(), last, wanted.begin, 16);
  if (begin.ec != std::errc() || begin.ptr == last || *begin.ptr != '-') return Errno(ENOENT);
  const auto end = std::from_chars(begin.ptr + 1, last, wanted.end, 16);
  if (end.ec != std::errc() || NameOf(wanted) != name) return Errno(ENOENT);
  std::vector<FileMapping> found = TRY(FileMappings(subject, &wanted));
  if (found.empty()) return Errno(ENOENT);
  return std::move(found.front());
}

// Looks for its mapping each time, which may have gone.
class MapFileLink final : public PseudoInode {
 public:
  MapFileLink(const PseudoNode& node, const Subject& subject, std::string name)
      : PseudoInode(node), subject_(subject), name_(std::move(name)) {}

  Result<Attributes> GetAttributes() override {
    Attributes attributes = TRY(PseudoInode::GetAttributes());
    attributes.size = 64;  // As in Linux, whatever it leads to.
    return attributes;
  }
  Result<std::string> ReadLink() override {
    TRY(CheckReaderMayInspect(subject_));
    return TRY(Named(subject_, name_)).name;
  }
  // proc_map_files_get_link() of the kernel: this way permissions of directories do not count.
  Status MagicLink(Task& task, Path& target) override {
    constexpr int kSysAdmin = 21, kCheckpointRestore = 40;
    if (!task.creds().HasCapability(kSysAdmin) && !task.creds().HasCapability(kCheckpointRestore)) {
      return Errno(EPERM);
    }
    TRY(CheckMayInspect(task, subject_));
    const FileMapping mapping = TRY(Named(subject_, name_));
    if (mapping.file) {
      const Path& path = mapping.file->path();
      target = path.dentry ? path : task.vfs().AnonymousPath(*mapping.file);
      return kOk;
    }
    // Of private mappings the name is remembered.
    const Path root = task.fs_ref()->root();
    const WalkContext ctx{.root = root, .start = root, .creds = Credentials::ForUser(0, 0)};
    target = TRY(subject_.kernel->vfs().Walk(ctx, mapping.name, {.follow_last = false}));
    return kOk;
  }

 private:
  const Subject subject_;
  const std::string name_;
};

class MapFilesDirectory final : public PseudoDirectory {
 public:
  MapFilesDirectory(const PseudoNode& node, const Subject& subject)
      : PseudoDirectory(node), subject_(subject) {}

  Result<Ref<Inode>> Find(std::string_view name) override {
    TRY(CheckReaderMayInspect(subject_));
    const FileMapping mapping = TRY(Named(subject_, name));
    return Ref<Inode>(MakeRef<MapFileLink>(NodeOf(mapping), subject_, std::string(name)));
  }
  Status List(std::vector<DirEntry>& entries) override {
    TRY(CheckReaderMayInspect(subject_));
    for (const FileMapping& mapping : TRY(FileMappings(subject_))) {
      entries.push_back({.name = NameOf(mapping),
                         .ino = NodeOf(mapping).ino,
                         .type = DirEntryType(S_IFLNK),
                         .next = kFirstPosition + static_cast<int64_t>(mapping.end >> kPageBits)});
    }
    return kOk;
  }

 private:
  static constexpr int kPageBits = 12;
  // Pages of 47 bits of addresses do not fit beside the process's number: those that differ in the
  // upper ones may have the same.
  PseudoNode NodeOf(const FileMapping& mapping) const {
    // The description's; of private mappings only the name is kept.
    const bool known = static_cast<bool>(mapping.file);
    const uint32_t mode = (!known || mapping.file->flags().readable() ? 0400u : 0) |
                          (known && mapping.file->flags().writable() ? 0200u : 0);
    const uint64_t slot =
        kSlotFdInfos + (uint64_t{1} << 30) + (mapping.begin >> kPageBits & 0x3fffffff);
    return subject_.Node(S_IFLNK | mode, slot);
  }
  const Subject subject_;
};

}  // namespace

Ref<Inode> NewMapFilesDirectory(const Subject& subject) {
  return MakeRef<MapFilesDirectory>(subject.Node(S_IFDIR | 0500, kSlotMapFiles), subject);
}

}  // namespace sentry::proc
