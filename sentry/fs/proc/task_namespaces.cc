// /proc/PID/ns: links to the mount namespace, and to the only one of each other kind.
#include "absl/strings/str_format.h"
#include "sentry/fs/proc/namespace_file.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

constexpr uint64_t kNsfsDevice = 4;

// Numbers as Linux gives the first namespaces.
constexpr NamespaceRow kNamespaces[] = {
    {"cgroup", "cgroup", 4026531835}, {"ipc", "ipc", 4026531839},
    {"mnt", "mnt", 4026531832},       {"net", "net", 4026531833},
    {"pid", "pid", 4026531836},       {"pid_for_children", "pid", 4026531836},
    {"time", "time", 4026531834},     {"time_for_children", "time", 4026531834},
    {"user", "user", 4026531837},     {"uts", "uts", 4026531838},
};

std::string NameOf(const NamespaceRow& row) {
  return absl::StrFormat("%s:[%u]", row.kind, row.ino);
}

class NamespaceFile final : public File {
 public:
  NamespaceFile(Ref<Inode> inode, OpenFlags flags, const NamespaceRow& row)
      : File(std::move(inode), flags), row_(row) {}
  std::string AnonymousName() const override { return NameOf(row_); }

 private:
  const NamespaceRow& row_;
};

class NamespaceInode final : public PseudoInode {
 public:
  explicit NamespaceInode(const NamespaceRow& row)
      : PseudoInode({.dev = kNsfsDevice, .ino = row.ino, .mode = S_IFREG | 0444}), row_(row) {}
  Result<Ref<File>> Open(OpenFlags flags) override {
    if (flags.writable()) return Errno(EPERM);
    return Ref<File>(MakeRef<NamespaceFile>(Ref<Inode>::Share(*this), flags, row_));
  }

 private:
  const NamespaceRow& row_;
};

class MountNamespaceInode final : public PseudoInode {
 public:
  explicit MountNamespaceInode(Ref<MountNamespace> mounts)
      : PseudoInode({.dev = kNsfsDevice, .ino = mounts->ino(), .mode = S_IFREG | 0444}),
        mounts_(std::move(mounts)) {}
  Result<Ref<File>> Open(OpenFlags flags) override {
    if (flags.writable()) return Errno(EPERM);
    return Ref<File>(MakeRef<MountNamespaceFile>(Ref<Inode>::Share(*this), flags, mounts_));
  }

 private:
  const Ref<MountNamespace> mounts_;
};

class NamespaceLink final : public PseudoInode {
 public:
  NamespaceLink(const PseudoNode& node, const Subject& subject, const NamespaceRow& row)
      : PseudoInode(node), subject_(subject), row_(row) {}
  Result<std::string> ReadLink() override {
    TRY(CheckReaderMayInspect(subject_));
    if (row_.kind != "mnt") return NameOf(row_);
    return absl::StrFormat("mnt:[%u]", TRY(Mounts())->ino());
  }
  Status MagicLink(Task& task, Path& target) override {
    TRY(CheckMayInspect(task, subject_));
    Ref<Inode> inode;
    if (row_.kind == "mnt") {
      inode = MakeRef<MountNamespaceInode>(TRY(Mounts()));
    } else {
      inode = MakeRef<NamespaceInode>(row_);
    }
    const Ref<File> file = TRY(inode->Open(OpenFlags(O_RDONLY)));
    target = task.vfs().AnonymousPath(*file);
    return kOk;
  }

 private:
  Result<Ref<MountNamespace>> Mounts() {
    Ref<MountNamespace> mounts = TRY(subject_.AnyTask())->fs_ref()->mounts();
    if (!mounts) return Errno(ENOENT);
    return mounts;
  }

  const Subject subject_;
  const NamespaceRow& row_;
};

}  // namespace

Ref<Inode> NewNamespacesDirectory(const Subject& subject) {
  const auto directory = MakeRef<FixedDirectory>(subject.Node(S_IFDIR | 0511, kSlotNs));
  uint64_t slot = kSlotNs;
  for (const NamespaceRow& row : kNamespaces) {
    directory->Put(std::string(row.name),
                   MakeRef<NamespaceLink>(subject.Node(S_IFLNK | 0777, ++slot), subject, row));
  }
  return directory;
}

}  // namespace sentry::proc
