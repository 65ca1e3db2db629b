#include "sentry/fs/cgroup/cgroupfs.h"

#include <linux/magic.h>

#include <algorithm>
#include <string>
#include <utility>

#include "sentry/fs/cgroup/interface_files.h"
#include "sentry/fs/proc/pseudo.h"

namespace sentry {
namespace cgroup {
namespace {

constexpr uint64_t kDevice = 22;

// strstrip() of Linux.
std::string_view Strip(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

class InterfaceFile final : public TextInode {
 public:
  InterfaceFile(const PseudoNode& node, Kernel& kernel, Ref<ControlGroup> group, const FileRow& row)
      : TextInode(node), kernel_(kernel), group_(std::move(group)), row_(row) {}

  Result<std::string> Generate() override {
    if (group_->removed()) return Errno(ENODEV);
    if (row_.read != nullptr) return row_.read({kernel_, *group_});
    if ((row_.mode & 0444) == 0) return Errno(EINVAL);
    return group_->Shown(row_.name, row_.shown);
  }
  Status Store(std::string_view text) override {
    if (group_->removed()) return Errno(ENODEV);
    if ((row_.mode & 0222) == 0) return Errno(EINVAL);
    // Its own limits are not a sandbox's to change.
    if (group_->is_root() && !row_.delegated) return Errno(EPERM);
    if (row_.write == nullptr) return Errno(EINVAL);
    return row_.write({kernel_, *group_}, Strip(text));
  }

 private:
  Kernel& kernel_;
  const Ref<ControlGroup> group_;
  const FileRow& row_;
};

class Directory final : public PseudoDirectory {
 public:
  Directory(Kernel& kernel, Ref<ControlGroup> group)
      : PseudoDirectory(NodeOf(*group, 0, S_IFDIR | group->owner().mode)),
        kernel_(kernel),
        group_(std::move(group)) {}

  Result<Attributes> GetAttributes() override {
    Attributes attributes = TRY(PseudoDirectory::GetAttributes());
    attributes.nlink += static_cast<uint32_t>(group_->Children().size());
    return attributes;
  }
  Result<Ref<Inode>> Find(std::string_view name) override {
    if (group_->removed()) return Errno(ENOENT);
    const auto files = Files();
    const auto row = std::lower_bound(
        files.begin(), files.end(), name,
        [](const FileRow& file, std::string_view wanted) { return file.name < wanted; });
    if (row == files.end() || row->name != name) return DirectoryOf(TRY(group_->Find(name)));
    if (!IsThere(*row, *group_)) return Errno(ENOENT);
    const auto slot = static_cast<uint64_t>(row - files.begin()) + 1;
    const PseudoNode node = NodeOf(*group_, slot, S_IFREG | row->mode);
    return Ref<Inode>(MakeRef<InterfaceFile>(node, kernel_, group_, *row));
  }
  Status List(std::vector<DirEntry>& entries) override {
    if (group_->removed()) return Errno(ENOENT);
    int64_t position = kFirstPosition;
    uint64_t slot = 0;
    for (const FileRow& row : Files()) {
      ++slot;
      ++position;
      if (!IsThere(row, *group_)) continue;
      entries.push_back({.name = std::string(row.name),
                         .ino = NodeOf(*group_, slot, 0).ino,
                         .type = DirEntryType(S_IFREG),
                         .next = position});
    }
    for (const auto& [name, child] : group_->Children()) {
      const auto ino = NodeOf(*child, 0, 0).ino;
      entries.push_back({.name = name,
                         .ino = ino,
                         .type = DirEntryType(S_IFDIR),
                         .next = static_cast<int64_t>(ino) + kFirstPosition});
    }
    // Positions rise: numbers of groups do, in the order in which they were made.
    std::sort(entries.begin() + 2, entries.end(),
              [](const DirEntry& a, const DirEntry& b) { return a.next < b.next; });
    return kOk;
  }

  Result<Ref<Inode>> Create(std::string_view name, const NewNode& node) override {
    return Errno(S_ISREG(node.mode) ? EACCES : EPERM);
  }
  Result<Ref<Inode>> Symlink(std::string_view, std::string_view, const NewNode&) override {
    return Errno(EPERM);
  }
  Result<Ref<Inode>> Mkdir(std::string_view name, const NewNode& node) override {
    if (group_->removed()) return Errno(ENOENT);
    if (name.find('\n') != name.npos) return Errno(EINVAL);
    return DirectoryOf(
        TRY(group_->Add(name, {.uid = node.uid, .gid = node.gid, .mode = node.mode & 07777})));
  }
  Status Rmdir(std::string_view name) override { return group_->Remove(name); }
  Status Rename(std::string_view, Inode&, std::string_view, uint32_t) override {
    return Errno(EPERM);
  }
  ControlGroup* control_group() const override { return group_.get(); }
  std::string ShowMountOptions() override { return ",nsdelegate"; }

 private:
  static PseudoNode NodeOf(const ControlGroup& group, uint64_t slot, uint32_t mode) {
    return {.dev = kDevice,
            .ino = CgroupInode(group) + slot,
            .mode = mode,
            .uid = group.owner().uid,
            .gid = group.owner().gid,
            .filesystem = CGROUP2_SUPER_MAGIC,
            .block_size = 4096};
  }
  Ref<Inode> DirectoryOf(Ref<ControlGroup> group) {
    return MakeRef<Directory>(kernel_, std::move(group));
  }

  Kernel& kernel_;
  const Ref<ControlGroup> group_;
};

}  // namespace
}  // namespace cgroup

Ref<Inode> CreateCgroupFs(Kernel& kernel) {
  return MakeRef<cgroup::Directory>(kernel, Ref<ControlGroup>::Share(kernel.control_group()));
}

}  // namespace sentry
