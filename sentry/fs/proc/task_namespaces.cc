// /proc/PID/ns: namespaces(7).
#include <linux/nsfs.h>

#include "sentry/fs/proc/namespace_file.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/task.h"

namespace sentry {
namespace proc {
namespace {

constexpr uint64_t kNsfsDevice = 4;

struct NamespaceRow {
  std::string_view name;
  NamespaceKind kind;
};

constexpr NamespaceRow kNamespaces[] = {
    {"cgroup", NamespaceKind::kCgroup}, {"ipc", NamespaceKind::kIpc},
    {"mnt", NamespaceKind::kMount},     {"net", NamespaceKind::kNetwork},
    {"pid", NamespaceKind::kPid},       {"pid_for_children", NamespaceKind::kPid},
    {"time", NamespaceKind::kTime},     {"time_for_children", NamespaceKind::kTime},
    {"user", NamespaceKind::kUser},     {"uts", NamespaceKind::kUts},
};

class NamespaceInode final : public PseudoInode {
 public:
  explicit NamespaceInode(Ref<Namespace> subject)
      : PseudoInode({.dev = kNsfsDevice, .ino = subject->ino(), .mode = S_IFREG | 0444}),
        subject_(std::move(subject)) {}
  Result<Ref<File>> Open(OpenFlags flags) override {
    if (flags.writable()) return Errno(EPERM);
    return Ref<File>(MakeRef<NamespaceFile>(Ref<Inode>::Share(*this), flags, subject_));
  }
  // A namespace of mounts that is mounted in itself would never go.
  bool BindsAnywhere() const override { return subject_->kind() != NamespaceKind::kMount; }

 private:
  const Ref<Namespace> subject_;
};

class NamespaceLink final : public PseudoInode {
 public:
  NamespaceLink(const PseudoNode& node, const Subject& subject, NamespaceKind kind)
      : PseudoInode(node), subject_(subject), kind_(kind) {}
  Result<std::string> ReadLink() override {
    TRY(CheckReaderMayInspect(subject_));
    return TRY(Find())->name();
  }
  Status MagicLink(Task& task, Path& target) override {
    TRY(CheckMayInspect(task, subject_));
    const Ref<Inode> inode = MakeRef<NamespaceInode>(TRY(Find()));
    target = task.vfs().AnonymousPath(*TRY(inode->Open(OpenFlags(O_RDONLY))));
    return kOk;
  }

 private:
  Result<Ref<Namespace>> Find() {
    const Ref<Task> task = TRY(subject_.AnyTask());
    if (kind_ != NamespaceKind::kMount) return task->namespaces_ref()->Find(kind_);
    const Ref<MountNamespace> mounts = task->fs_ref()->mounts();
    if (!mounts) return Errno(ENOENT);
    return Ref<Namespace>(mounts);
  }

  const Subject subject_;
  const NamespaceKind kind_;
};

// A descriptor of the user namespace that owns `subject`: the only one, which nobody owns.
Result<int64_t> OpenOwner(Task& task, const Namespace& subject) {
  if (subject.kind() == NamespaceKind::kUser) return Errno(EPERM);
  const auto inode = MakeRef<NamespaceInode>(task.namespaces().Find(NamespaceKind::kUser));
  Ref<File> file = TRY(inode->Open(OpenFlags(O_RDONLY)));
  const Fd fd = TRY(task.AddFd(std::move(file), /*close_on_exec=*/true));
  return static_cast<int64_t>(fd);
}

}  // namespace

Ref<Inode> NewNamespacesDirectory(const Subject& subject) {
  const auto directory = MakeRef<FixedDirectory>(subject.Node(S_IFDIR | 0511, kSlotNs));
  uint64_t slot = kSlotNs;
  for (const NamespaceRow& row : kNamespaces) {
    directory->Put(std::string(row.name),
                   MakeRef<NamespaceLink>(subject.Node(S_IFLNK | 0777, ++slot), subject, row.kind));
  }
  return directory;
}

}  // namespace proc

// ioctl_nsfs(2). User and pid namespaces alone have parents, and these are the topmost.
Result<int64_t> NamespaceFile::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  const bool user = subject_->kind() == NamespaceKind::kUser;
  switch (command) {
    case NS_GET_USERNS:
      return proc::OpenOwner(task, *subject_);
    case NS_GET_PARENT:
      return Errno(user || subject_->kind() == NamespaceKind::kPid ? EPERM : EINVAL);
    case NS_GET_NSTYPE:
      return static_cast<int64_t>(subject_->flag());
    case NS_GET_OWNER_UID:
      if (!user) return Errno(EINVAL);
      TRY(task.mem().Write(UserPtr<uint32_t>{UserAddr{arg}}, uint32_t{0}));
      return 0;
    default:
      return Errno(ENOTTY);
  }
}

}  // namespace sentry
