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

constexpr auto kNone = TaskText::Guard::kNone, kOpen = TaskText::Guard::kOpen,
               kRead = TaskText::Guard::kRead;
constexpr auto kProcess = TaskText::Where::kProcess, kThread = TaskText::Where::kThread;

constexpr char kAllow[] = "allow\n", kZero[] = "0", kSlash[] = "/\n", kNobody[] = "4294967295",
               kRunning[] = "running\n", kEmpty[] = "", kNothingMerged[] = "0\n",
               kTimeOffsets[] =
                   "monotonic           0         0\nboottime            0         0\n";

constexpr TaskText kTexts[] = {
    {"arch_status", 0444, &ArchStatusText},
    {"autogroup", 0644, &AutogroupText, &StoreAutogroup, kNone, kProcess},
    {"auxv", 0400, &AuxvText, nullptr, kOpen},
    {"cgroup", 0444, &CgroupText},
    {"children", 0444, &ChildrenText, nullptr, kNone, kThread},
    {"clear_refs", 0200, &Unreadable, &StoreClearRefs},
    {"cmdline", 0444, &CmdlineText},
    {"comm", 0644, &CommText, &StoreComm},
    {"coredump_filter", 0644, &CoredumpFilterText, &StoreCoredumpFilter, kNone, kProcess},
    {"cpuset", 0444, &SameText<kSlash>},
    {"environ", 0400, &EnvironText, nullptr, kOpen},
    {"gid_map", 0644, &IdMapText},
    {"io", 0400, &IoText, nullptr, kRead},
    {"ksm_merging_pages", 0400, &SameText<kNothingMerged>},
    {"ksm_stat", 0400, &KsmStatText},
    {"limits", 0444, &LimitsText},
    {"loginuid", 0644, &SameText<kNobody>},
    {"maps", 0444, &MapsText, nullptr, kOpen},
    {"mountinfo", 0444, &MountInfoText},
    {"mounts", 0444, &MountsText},
    {"mountstats", 0400, &MountStatsText, nullptr, kNone, kProcess},
    {"numa_maps", 0444, &NumaMapsText, nullptr, kOpen},
    {"oom_adj", 0644, &OomAdjText, &StoreOomAdj},
    {"oom_score", 0444, &OomScoreText},
    {"oom_score_adj", 0644, &OomScoreAdjText, &StoreOomScoreAdj},
    {"personality", 0400, &PersonalityText, nullptr, kRead},
    {"projid_map", 0644, &IdMapText},
    {"sched", 0644, &SchedText},
    {"schedstat", 0444, &SchedstatText},
    {"sessionid", 0444, &SameText<kNobody>},
    {"setgroups", 0644, &SameText<kAllow>},
    {"smaps", 0444, &SmapsText, nullptr, kOpen},
    {"smaps_rollup", 0444, &SmapsRollupText, nullptr, kOpen, kProcess},
    {"stack", 0400, &SameText<kEmpty>, nullptr, kRead},  // The sentry's stack is nobody's business.
    {"stat", 0444, &StatText},
    {"statm", 0444, &StatmText},
    {"status", 0444, &StatusText},
    {"syscall", 0400, &SameText<kRunning>, nullptr, kRead},  // Which call it is in is not recorded.
    {"timens_offsets", 0644, &SameText<kTimeOffsets>, nullptr, kNone, kProcess},
    {"timers", 0444, &TimersText, nullptr, kNone, kProcess},
    {"timerslack_ns", 0666, &TimerSlackText, &StoreTimerSlack, kNone, kProcess},
    {"uid_map", 0644, &IdMapText},
    {"wchan", 0444, &SameText<kZero>},
};

class TaskTextInode final : public TextInode {
 public:
  TaskTextInode(const PseudoNode& node, const Subject& subject, const TaskText& row)
      : TextInode(WithEnd(node, row.name)), subject_(subject), row_(row) {}
  Result<Ref<File>> Open(OpenFlags flags) override {
    if (row_.guard == kOpen) TRY(CheckReaderMayInspect(subject_));
    return TextInode::Open(flags);
  }
  Result<std::string> Generate() override {
    if (row_.guard == kRead) TRY(CheckReaderMayInspect(subject_));
    return row_.text(subject_);
  }
  Ref<MountNamespace> Watched() override {
    if (row_.text != &MountInfoText && row_.text != &MountsText) return {};
    const auto task = subject_.AnyTask();
    return task.ok() ? (*task)->fs_ref()->mounts() : Ref<MountNamespace>();
  }
  Status Store(std::string_view text) override {
    return row_.store != nullptr ? row_.store(subject_, text) : Errno(EINVAL);
  }

 private:
  // What Linux copies from memory instead of writing it down.
  static PseudoNode WithEnd(PseudoNode node, std::string_view name) {
    node.has_end = name == "cmdline" || name == "auxv";
    return node;
  }

  const Subject subject_;
  const TaskText& row_;
};

// Files that are no texts.
struct BinaryRow {
  std::string_view name;
  uint32_t mode;
  Result<Ref<File>> (*open)(const Subject& subject, Ref<Inode> inode, OpenFlags flags);
};
constexpr BinaryRow kBinaries[] = {{"mem", 0600, &OpenMem}, {"pagemap", 0400, &OpenPagemap}};

class BinaryInode final : public PseudoInode {
 public:
  BinaryInode(const PseudoNode& node, const Subject& subject, const BinaryRow& row)
      : PseudoInode(node), subject_(subject), row_(row) {}
  Result<Ref<File>> Open(OpenFlags flags) override {
    return row_.open(subject_, Ref<Inode>::Share(*this), flags);
  }

 private:
  const Subject subject_;
  const BinaryRow& row_;
};

Result<Path> ExePath(Task& task) {
  const Ref<Mm> mm = task.mm_ref();
  if (!mm->executable()) return Errno(ENOENT);
  const File& file = *mm->executable();
  return file.path().dentry ? file.path() : task.vfs().AnonymousPath(file);  // A memfd has none.
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

Ref<Inode> NewThreadsDirectory(const Subject& subject);

struct DirectoryRow {
  std::string_view name;
  Ref<Inode> (*make)(const Subject& subject);
};
constexpr DirectoryRow kProcessDirectories[] = {
    {"attr", &NewAttrDirectory},     {"fd", &NewFdDirectory},
    {"fdinfo", &NewFdInfoDirectory}, {"map_files", &NewMapFilesDirectory},
    {"net", &NewNetDirectory},       {"ns", &NewNamespacesDirectory},
    {"task", &NewThreadsDirectory},
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
      if (row.name == name && Shows(row)) return NewTaskText(subject_, row, slot);
    }
    for (const BinaryRow& row : kBinaries) {
      ++slot;
      if (row.name != name) continue;
      const PseudoNode node = subject_.Node(S_IFREG | row.mode, slot);
      return Ref<Inode>(MakeRef<BinaryInode>(node, subject_, row));
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
    for (const TaskText& row : kTexts) {
      ++slot;
      if (Shows(row)) Append(entries, row.name, S_IFREG, slot);
    }
    for (const BinaryRow& row : kBinaries) Append(entries, row.name, S_IFREG, ++slot);
    slot = kSlotLinks;
    for (const LinkRow& row : kLinks) Append(entries, row.name, S_IFLNK, ++slot);
    for (const DirectoryRow& row : kProcessDirectories) {
      if (!Shows(row)) continue;
      const Attributes attributes = TRY(row.make(subject_)->GetAttributes());
      entries.push_back(
          {.name = std::string(row.name), .ino = attributes.ino, .type = DirEntryType(S_IFDIR)});
    }
    return kOk;
  }
  // Its own name and owner stay the process's, whatever it hides.
  Result<Attributes> GetAttributes() override {
    Attributes attributes = TRY(PseudoInode::GetAttributes());
    attributes.nlink = 2 + static_cast<uint32_t>(std::size(kProcessDirectories));
    return attributes;
  }

 private:
  bool Shows(const TaskText& row) const {
    return row.where == TaskText::Where::kBoth || (row.where == kThread) == (subject_.tid != 0);
  }
  // A thread has no threads, nor mappings that it does not share with its process.
  bool Shows(const DirectoryRow& row) const {
    return subject_.tid == 0 || (row.name != "task" && row.name != "map_files");
  }
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

bool IsDumpable(const ThreadGroup& group) {
  absl::MutexLock lock(&group.kernel.mu());
  return group.dumpable == 1;
}

}  // namespace

Ref<Inode> NewTaskText(const Subject& subject, const TaskText& row, uint64_t slot) {
  return MakeRef<TaskTextInode>(subject.Node(S_IFREG | row.mode, slot), subject, row);
}

Result<Ref<ThreadGroup>> Subject::Group() const {
  Ref<ThreadGroup> group = kernel->FindGroup(tgid);
  if (!group || group->start_time_ns != born) return Errno(ESRCH);
  return group;
}

Result<Ref<Task>> Subject::Named() const {
  TRY(Group());
  Ref<Task> task = kernel->FindTask(pid());
  if (!task || task->tgid() != tgid) return Errno(ESRCH);
  return task;
}

Result<std::optional<Ref<Mm>>> Subject::Memory() const {
  TRY(Group());
  const auto task = AnyTask();
  if (!task.ok()) return std::optional<Ref<Mm>>();
  return std::optional<Ref<Mm>>((*task)->mm_ref());
}

Result<Ref<Task>> Subject::AnyTask() const {
  const Ref<ThreadGroup> group = TRY(Group());
  if (tid != 0) {
    Ref<Task> task = kernel->FindTask(tid);
    if (!task || task->tgid() != tgid) return Errno(ESRCH);
    absl::MutexLock lock(&kernel->mu());
    if (!task->alive()) return Errno(ESRCH);
    return task;
  }
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
  // proc(5): root's when it may not be dumped, except for the directory itself.
  const Ref<ThreadGroup> group = kernel->FindGroup(tgid);
  const bool hidden = group && mode != (S_IFDIR | 0555) && !IsDumpable(*group);
  if (creds.ok() && !hidden) {
    node.uid = creds->euid;
    node.gid = creds->egid;
  }
  return node;
}

// ptrace(2), "Ptrace access mode checking", with filesystem credentials. PTRACE_MODE_READ and
// ATTACH do not differ without a security module.
Status CheckMayInspect(Task& task, const Subject& subject) {
  if (task.tgid() == subject.tgid) return kOk;
  const Ref<ThreadGroup> group = TRY(subject.Group());
  const Credentials& own = task.creds();
  if (own.HasCapability(19 /* CAP_SYS_PTRACE */)) return kOk;
  const auto other = subject.kernel->CredentialsOf(subject.pid());
  if (!other.ok()) return Errno(ESRCH);
  const bool same_user =
      own.fsuid == other->euid && own.fsuid == other->suid && own.fsuid == other->uid;
  const bool same_group =
      own.fsgid == other->egid && own.fsgid == other->sgid && own.fsgid == other->gid;
  const bool no_more_rights = (other->permitted & ~own.effective) == 0;
  const bool allowed = same_user && same_group && no_more_rights && IsDumpable(*group);
  return allowed ? Status(kOk) : Errno(EACCES);
}

Status CheckReaderMayInspect(const Subject& subject) {
  Task* const reader = Task::Current();
  return reader == nullptr ? Status(kOk) : CheckMayInspect(*reader, subject);
}

Ref<Inode> NewTaskDirectory(const Subject& subject) {
  return MakeRef<TaskDirectory>(subject.Node(S_IFDIR | 0555, kSlotDirectories), subject);
}

}  // namespace sentry::proc
