// /proc/PID and /proc/PID/task.
#include <algorithm>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

constexpr TaskText kTexts[] = {
    {"auxv", 0400, &AuxvText},
    {"cgroup", 0444, &CgroupText},
    {"cmdline", 0444, &CmdlineText},
    {"comm", 0644, &CommText, &StoreComm},
    {"environ", 0400, &EnvironText},
    {"gid_map", 0444, &IdMapText},
    {"limits", 0444, &LimitsText},
    {"maps", 0400, &MapsText},  // 0444 in Linux, which checks on top of it who opens it.
    {"mountinfo", 0444, &MountInfoText},
    {"mounts", 0444, &MountsText},
    {"oom_score", 0444, &OomScoreText},
    {"oom_score_adj", 0644, &OomScoreAdjText, &StoreOomScoreAdj},
    {"setgroups", 0444, &SetGroupsText},
    {"stat", 0444, &StatText},
    {"statm", 0444, &StatmText},
    {"status", 0444, &StatusText},
    {"uid_map", 0444, &IdMapText},
    {"wchan", 0444, &WchanText},
};

class TaskTextInode final : public TextInode {
 public:
  TaskTextInode(const PseudoNode& node, const Subject& subject, const TaskText& row)
      : TextInode(node), subject_(subject), row_(row) {}
  Result<std::string> Generate() override { return row_.text(subject_); }
  Status Store(std::string_view text) override {
    return row_.store != nullptr ? row_.store(subject_, text) : Errno(EINVAL);
  }

 private:
  const Subject subject_;
  const TaskText& row_;
};

Result<Path> ExePath(Task& task) {
  const Ref<Mm> mm = task.mm_ref();
  if (!mm->executable()) return Errno(ENOENT);
  return mm->executable()->path();
}
Result<Path> CwdPath(Task& task) { return task.fs_ref()->cwd(); }
Result<Path> RootPath(Task& task) { return task.fs_ref()->root(); }

// A row of links that lead to what they are about, whatever became of its name.
struct LinkRow {
  std::string_view name;
  Result<Path> (*path)(Task& task);
};
constexpr LinkRow kLinks[] = {{"cwd", &CwdPath}, {"exe", &ExePath}, {"root", &RootPath}};

class TaskLink final : public PseudoInode {
 public:
  TaskLink(const PseudoNode& node, const Subject& subject, const LinkRow& row)
      : PseudoInode(node), subject_(subject), row_(row) {}

  Result<std::string> ReadLink() override {
    Task* const reader = Task::Current();
    if (reader != nullptr) TRY(CheckMayInspect(*reader, subject_));
    const Ref<Task> task = TRY(Target());
    const Path path = TRY(row_.path(*task));
    const Path root = (reader != nullptr ? *reader : *task).fs_ref()->root();
    return subject_.kernel->vfs().PathString(root, path);
  }
  Status MagicLink(Task& task, Path& target) override {
    TRY(CheckMayInspect(task, subject_));
    target = TRY(row_.path(*TRY(Target())));
    return kOk;
  }

 private:
  // Linux: the links of a zombie lead nowhere.
  Result<Ref<Task>> Target() const {
    auto task = subject_.AnyTask();
    return task.ok() ? task : Errno(ENOENT);
  }
  const Subject subject_;
  const LinkRow& row_;
};

class ThreadsDirectory;
Ref<Inode> NewThreadsDirectory(const Subject& subject);

struct DirectoryRow {
  std::string_view name;
  uint32_t mode;
  Ref<Inode> (*make)(const Subject& subject);
};
constexpr DirectoryRow kProcessDirectories[] = {
    {"fd", 0500, &NewFdDirectory},
    {"fdinfo", 0500, &NewFdInfoDirectory},
    {"task", 0555, &NewThreadsDirectory},
};

class TaskDirectory final : public PseudoDirectory {
 public:
  TaskDirectory(const PseudoNode& node, const Subject& subject)
      : PseudoDirectory(node), subject_(subject) {}

  Result<Ref<Inode>> Find(std::string_view name) override {
    TRY(subject_.Group());
    uint64_t slot = kSlotFiles;
    for (const TaskText& row : kTexts) {
      ++slot;
      if (row.name != name) continue;
      const PseudoNode node = subject_.Node(S_IFREG | row.mode, slot);
      return Ref<Inode>(MakeRef<TaskTextInode>(node, subject_, row));
    }
    slot = kSlotLinks;
    for (const LinkRow& row : kLinks) {
      ++slot;
      if (row.name != name) continue;
      const PseudoNode node = subject_.Node(S_IFLNK | 0777, slot);
      return Ref<Inode>(MakeRef<TaskLink>(node, subject_, row));
    }
    for (const DirectoryRow& row : kProcessDirectories) {
      if (row.name == name && Shows(row)) return row.make(subject_);
    }
    return Errno(ENOENT);
  }

  Status List(std::vector<DirEntry>& entries) override {
    TRY(subject_.Group());
    uint64_t slot = kSlotFiles;
    for (const TaskText& row : kTexts) Append(entries, row.name, S_IFREG, ++slot);
    slot = kSlotLinks;
    for (const LinkRow& row : kLinks) Append(entries, row.name, S_IFLNK, ++slot);
    slot = kSlotDirectories;
    for (const DirectoryRow& row : kProcessDirectories) {
      ++slot;
      if (Shows(row)) Append(entries, row.name, S_IFDIR, slot);
    }
    return kOk;
  }

 private:
  // A thread has no threads.
  bool Shows(const DirectoryRow& row) const { return subject_.tid == 0 || row.name != "task"; }
  void Append(std::vector<DirEntry>& entries, std::string_view name, uint32_t type,
              uint64_t slot) const {
    entries.push_back({.name = std::string(name),
                       .ino = subject_.Node(type, slot).ino,
                       .type = DirEntryType(type)});
  }
  const Subject subject_;
};

class ThreadsDirectory final : public PseudoDirectory {
 public:
  ThreadsDirectory(const PseudoNode& node, const Subject& subject)
      : PseudoDirectory(node), subject_(subject) {}

  Result<Ref<Inode>> Find(std::string_view name) override {
    Pid tid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), tid);
    if (error != std::errc() || end != name.data() + name.size()) return Errno(ENOENT);
    const Ref<Task> task = subject_.kernel->FindTask(tid);
    if (!task || task->tgid() != subject_.tgid) return Errno(ENOENT);
    Subject thread = subject_;
    thread.tid = tid;
    return NewTaskDirectory(thread);
  }
  Status List(std::vector<DirEntry>& entries) override {
    const Ref<ThreadGroup> group = TRY(subject_.Group());
    std::vector<Pid> tids;
    {
      absl::MutexLock lock(&subject_.kernel->mu());
      for (const Task* task : group->tasks) tids.push_back(task->tid());
      // A zombie still shows its leader.
      if (tids.empty()) tids.push_back(group->id);
    }
    std::sort(tids.begin(), tids.end());
    for (const Pid tid : tids) {
      Subject thread = subject_;
      thread.tid = tid;
      entries.push_back({.name = absl::StrCat(thread.tid),
                         .ino = thread.Node(S_IFDIR, kSlotDirectories).ino,
                         .type = DirEntryType(S_IFDIR),
                         .next = kFirstPosition + tid});
    }
    return kOk;
  }

 private:
  const Subject subject_;
};

Ref<Inode> NewThreadsDirectory(const Subject& subject) {
  return MakeRef<ThreadsDirectory>(subject.Node(S_IFDIR | 0555, kSlotDirectories + 3), subject);
}

}  // namespace

Result<Ref<ThreadGroup>> Subject::Group() const {
  Ref<ThreadGroup> group = kernel->FindGroup(tgid);
  if (!group) return Errno(ESRCH);
  return group;
}

Result<Ref<Task>> Subject::AnyTask() const {
  if (tid != 0) {
    Ref<Task> task = kernel->FindTask(tid);
    if (!task || task->tgid() != tgid) return Errno(ESRCH);
    return task;
  }
  const Ref<ThreadGroup> group = TRY(Group());
  absl::MutexLock lock(&kernel->mu());
  if (group->tasks.empty()) return Errno(ESRCH);
  for (Task* task : group->tasks) {
    if (task->tid() == tgid) return Ref<Task>::Share(*task);
  }
  return Ref<Task>::Share(*group->tasks.front());
}

// Owned by the process's effective ids, unless it may not be dumped.
PseudoNode Subject::Node(uint32_t mode, uint64_t slot) const {
  PseudoNode node{.dev = kProcDevice,
                  .ino = (static_cast<uint64_t>(pid()) << 33 | slot) + (tid != 0 ? 1ull << 32 : 0),
                  .mode = mode};
  const auto creds = kernel->CredentialsOf(pid());
  if (creds.ok()) {
    node.uid = creds->euid;
    node.gid = creds->egid;
  }
  return node;
}

Status CheckMayInspect(Task& task, const Subject& subject) {
  if (task.tgid() == subject.tgid) return kOk;
  const Credentials& own = task.creds();
  if (own.HasCapability(19 /* CAP_SYS_PTRACE */)) return kOk;
  const auto other = subject.kernel->CredentialsOf(subject.pid());
  if (!other.ok()) return Errno(ESRCH);
  const bool same_user =
      own.fsuid == other->euid && own.fsuid == other->suid && own.fsuid == other->uid;
  const bool same_group =
      own.fsgid == other->egid && own.fsgid == other->sgid && own.fsgid == other->gid;
  return same_user && same_group ? Status(kOk) : Errno(EACCES);
}

Ref<Inode> NewTaskDirectory(const Subject& subject) {
  return MakeRef<TaskDirectory>(subject.Node(S_IFDIR | 0555, kSlotDirectories), subject);
}

}  // namespace sentry::proc
