// /proc/PID/fd and /proc/PID/fdinfo.
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/anon/epoll.h"
#include "sentry/fs/anon/eventfd.h"
#include "sentry/fs/anon/inotify.h"
#include "sentry/fs/anon/pidfd.h"
#include "sentry/fs/anon/signalfd.h"
#include "sentry/fs/anon/timerfd.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/file_locks.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

Result<Ref<File>> FileOf(const Subject& subject, Fd fd) {
  const auto task = subject.AnyTask();
  if (!task.ok()) return Errno(ENOENT);  // A zombie has none.
  auto file = (*task)->fds_ref()->Get(fd);
  return file.ok() ? file : Errno(ENOENT);
}

class FdLink final : public PseudoInode {
 public:
  FdLink(const PseudoNode& node, const Subject& subject, Fd fd)
      : PseudoInode(node), subject_(subject), fd_(fd) {}

  Result<Attributes> GetAttributes() override {
    Attributes attributes = TRY(PseudoInode::GetAttributes());
    attributes.size = 64;  // As in Linux, whatever it leads to.
    return attributes;
  }

  Result<std::string> ReadLink() override {
    Task* const reader = Task::Current();
    if (reader != nullptr) TRY(CheckMayInspect(*reader, subject_));
    const Ref<File> file = TRY(FileOf(subject_, fd_));
    if (!file->path().dentry) return file->AnonymousName();
    const Ref<Task> task = TRY(subject_.AnyTask());
    const Path root = (reader != nullptr ? *reader : *task).fs_ref()->root();
    return subject_.kernel->vfs().PathString(root, file->path());
  }
  Status MagicLink(Task& task, Path& target) override {
    TRY(CheckMayInspect(task, subject_));
    const Ref<File> file = TRY(FileOf(subject_, fd_));
    target = file->path().dentry ? file->path() : task.vfs().AnonymousPath(*file);
    return kOk;
  }

 private:
  const Subject subject_;
  const Fd fd_;
};

class FdInfo final : public TextInode {
 public:
  FdInfo(const PseudoNode& node, const Subject& subject, Fd fd)
      : TextInode(node), subject_(subject), fd_(fd) {}

  Result<Ref<File>> Open(OpenFlags flags) override {
    TRY(CheckReaderMayInspect(subject_));
    return TextInode::Open(flags);
  }
  Result<std::string> Generate() override {
    const FdEntry entry = TRY(TRY(subject_.AnyTask())->fds_ref()->GetEntry(fd_));
    File& file = *entry.file;
    const auto position = file.seekable() ? file.Seek(0, SEEK_CUR) : Result<int64_t>(int64_t{0});
    const auto attributes = file.inode().GetAttributes();
    const Path& path = file.path();
    std::string text = absl::StrFormat(
        "pos:\t%d\nflags:\t0%o\nmnt_id:\t%d\nino:\t%u\n", position.ok() ? *position : 0,
        file.flags().raw() | (entry.close_on_exec ? O_CLOEXEC : 0),
        path.mount ? path.mount->id() : 0, attributes.ok() ? attributes->ino : 0);
    if (EventFile* event = FileCast<EventFile>(file)) text += event->FdInfo();
    if (EpollFile* epoll = FileCast<EpollFile>(file)) text += epoll->FdInfo();
    if (SignalFile* signals = FileCast<SignalFile>(file)) text += signals->FdInfo();
    if (TimerFile* timer = FileCast<TimerFile>(file)) text += timer->FdInfo();
    int number = 0;
    for (const std::string& line : FileLocks::Describe(&file)) {
      absl::StrAppendFormat(&text, "lock:\t%d: %s\n", ++number, line);
    }
    if (InotifyFile* inotify = FileCast<InotifyFile>(file)) text += inotify->FdInfo();
    if (PidFile* pidfd = FileCast<PidFile>(file)) text += pidfd->FdInfo();
    return text;
  }

 private:
  const Subject subject_;
  const Fd fd_;
};

// Both directories: a name for each open descriptor.
class FdDirectory final : public PseudoDirectory {
 public:
  enum class Kind : uint8_t { kLinks, kInfos };
  FdDirectory(const PseudoNode& node, const Subject& subject, Kind kind)
      : PseudoDirectory(node), subject_(subject), kind_(kind) {}

  Result<Ref<Inode>> Find(std::string_view name) override {
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    const bool padded = name.size() > 1 && name[0] == '0';
    if (error != std::errc() || end != name.data() + name.size() || number > INT32_MAX || padded) {
      return Errno(ENOENT);
    }
    const Fd fd{static_cast<int>(number)};
    const Ref<File> file = TRY(FileOf(subject_, fd));
    if (kind_ == Kind::kInfos) {
      const PseudoNode node = subject_.Node(S_IFREG | 0444, kSlotFdInfos + number);
      return Ref<Inode>(MakeRef<FdInfo>(node, subject_, fd));
    }
    // The mode says what the description may do.
    const uint32_t mode =
        (file->flags().readable() ? 0500u : 0) | (file->flags().writable() ? 0300u : 0);
    const PseudoNode node = subject_.Node(S_IFLNK | mode, kSlotFds + number);
    return Ref<Inode>(MakeRef<FdLink>(node, subject_, fd));
  }

  // Its size is how many descriptors there are (Linux 6.2).
  Result<Attributes> GetAttributes() override {
    Attributes attributes = TRY(PseudoInode::GetAttributes());
    const auto task = subject_.AnyTask();
    if (kind_ == Kind::kLinks && task.ok()) attributes.size = (*task)->fds_ref()->List().size();
    return attributes;
  }

  Status List(std::vector<DirEntry>& entries) override {
    // A zombie has none.
    const auto task = subject_.AnyTask();
    if (!task.ok()) return subject_.Group().ok() ? Status(kOk) : Status(Errno(ENOENT));
    if (kind_ == Kind::kInfos) TRY(CheckReaderMayInspect(subject_));
    const uint32_t type = kind_ == Kind::kLinks ? S_IFLNK : S_IFREG;
    const uint64_t slot = kind_ == Kind::kLinks ? kSlotFds : kSlotFdInfos;
    for (const Fd fd : (*task)->fds_ref()->List()) {
      const int number = static_cast<int>(fd);
      entries.push_back({.name = absl::StrCat(number),
                         .ino = subject_.Node(type, slot + static_cast<uint64_t>(number)).ino,
                         .type = DirEntryType(type),
                         .next = kFirstPosition + 1 + number});
    }
    return kOk;
  }

 private:
  const Subject subject_;
  const Kind kind_;
};

}  // namespace

Ref<Inode> NewFdDirectory(const Subject& subject) {
  return MakeRef<FdDirectory>(subject.Node(S_IFDIR | 0500, kSlotDirectories + 1), subject,
                              FdDirectory::Kind::kLinks);
}

Ref<Inode> NewFdInfoDirectory(const Subject& subject) {
  return MakeRef<FdDirectory>(subject.Node(S_IFDIR | 0555, kSlotDirectories + 2), subject,
                              FdDirectory::Kind::kInfos);
}

}  // namespace sentry::proc
