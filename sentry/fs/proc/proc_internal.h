// What the files of procfs share among themselves.
#ifndef SENTRY_FS_PROC_PROC_INTERNAL_H_
#define SENTRY_FS_PROC_PROC_INTERNAL_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/proc/pseudo.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"

namespace sentry::proc {

inline constexpr uint64_t kProcDevice = 21;
inline constexpr std::string_view kKernelRelease = "6.18.0";  // As uname(2) answers.
inline constexpr std::string_view kKernelVersion = "#1 SMP PREEMPT_DYNAMIC sandbox";

// The process (tid 0) or thread that a file of /proc/PID or /proc/PID/task/TID is about. Names it
// by number: once it is gone, every file about it answers ESRCH.
struct Subject {
  Kernel* kernel = nullptr;
  Pid tgid = 0;
  Pid tid = 0;
  int64_t born = 0;  // ThreadGroup::start_time_ns: tells it from a later process of that number.

  Result<Ref<ThreadGroup>> Group() const;
  // The thread, or the process's leader or another thread of it: ESRCH for a zombie.
  Result<Ref<Task>> AnyTask() const;
  // The thread or the leader, also when that has ended.
  Result<Ref<Task>> Named() const;
  // Its memory; nothing for a zombie.
  Result<std::optional<Ref<Mm>>> Memory() const;
  Pid pid() const { return tid != 0 ? tid : tgid; }
  // Names a made-up inode; `slot` tells those of one process apart.
  PseudoNode Node(uint32_t mode, uint64_t slot) const;
};

// The slots of inode numbers: a file's place in its table, plus one of these.
inline constexpr uint64_t kSlotFiles = 1, kSlotLinks = 100, kSlotDirectories = 200, kSlotAttr = 300,
                          kSlotNs = 320, kSlotNet = 340, kSlotMapFiles = 390, kSlotFds = 0x1000,
                          kSlotFdInfos = 0x80000000;

// A row of a constexpr table: one text of a process.
struct TaskText {
  enum class Where : uint8_t { kBoth, kProcess, kThread };
  // When ptrace(2)'s rule is applied to who looks.
  enum class Guard : uint8_t { kNone, kOpen, kRead };

  std::string_view name;
  uint32_t mode;
  Result<std::string> (*text)(const Subject& subject);
  Status (*store)(const Subject& subject, std::string_view text) = nullptr;
  Guard guard = Guard::kNone;
  Where where = Where::kBoth;
};

// task_stat.cc, task_status.cc
Result<std::string> StatText(const Subject& subject);
Result<std::string> StatmText(const Subject& subject);
Result<std::string> SchedText(const Subject& subject);
Result<std::string> SchedstatText(const Subject& subject);
Result<std::string> StatusText(const Subject& subject);
// task_memory.cc
Result<std::string> CmdlineText(const Subject& subject);
Result<std::string> EnvironText(const Subject& subject);
Result<std::string> AuxvText(const Subject& subject);
Result<Ref<File>> OpenMem(const Subject& subject, Ref<Inode> inode, OpenFlags flags);
Result<Ref<File>> OpenPagemap(const Subject& subject, Ref<Inode> inode, OpenFlags flags);
// task_maps.cc
Result<std::string> MapsText(const Subject& subject);
Result<std::string> SmapsText(const Subject& subject);
Result<std::string> SmapsRollupText(const Subject& subject);
Result<std::string> NumaMapsText(const Subject& subject);
// Mappings of files, by address; of a zombie none.
struct FileMapping {
  uint64_t begin = 0, end = 0;
  std::string name;  // As maps shows it.
  Ref<File> file;    // Empty where only the name is known.
};
// With `wanted`, the one with these addresses only.
Result<std::vector<FileMapping>> FileMappings(const Subject& subject,
                                              const FileMapping* wanted = nullptr);
// task_mounts.cc
Result<std::string> MountsText(const Subject& subject);
Result<std::string> MountInfoText(const Subject& subject);
Result<std::string> MountStatsText(const Subject& subject);
// task_settings.cc: what a write changes.
Result<std::string> CommText(const Subject& subject);
Status StoreComm(const Subject& subject, std::string_view text);
Result<std::string> AutogroupText(const Subject& subject);
Status StoreAutogroup(const Subject& subject, std::string_view text);
Result<std::string> OomScoreAdjText(const Subject& subject);
Status StoreOomScoreAdj(const Subject& subject, std::string_view text);
Result<std::string> OomAdjText(const Subject& subject);
Status StoreOomAdj(const Subject& subject, std::string_view text);
Result<std::string> CoredumpFilterText(const Subject& subject);
Status StoreCoredumpFilter(const Subject& subject, std::string_view text);
Result<std::string> TimerSlackText(const Subject& subject);
Status StoreTimerSlack(const Subject& subject, std::string_view text);
Status StoreClearRefs(const Subject& subject, std::string_view text);
// task_misc.cc
Result<std::string> LimitsText(const Subject& subject);
Result<std::string> IoText(const Subject& subject);
Result<std::string> ChildrenText(const Subject& subject);
Result<std::string> PersonalityText(const Subject& subject);
Result<std::string> OomScoreText(const Subject& subject);
Result<std::string> IdMapText(const Subject& subject);
Result<std::string> CgroupText(const Subject& subject);
Result<std::string> TimersText(const Subject& subject);
Result<std::string> KsmStatText(const Subject& subject);
Result<std::string> ArchStatusText(const Subject& subject);
// A text that is the same for every process.
template <const char* text>
Result<std::string> SameText(const Subject& subject) {
  TRY(subject.Group());
  return std::string(text);
}
// Of files that exist for writing, or that Linux refuses to read: EINVAL.
Result<std::string> Unreadable(const Subject& subject);

// Bytes of the process's mappings, from its host maps; 0 when the platform cannot tell.
uint64_t VirtualSize(Mm& mm);

// /proc/PID, or /proc/PID/task/TID.
Ref<Inode> NewTaskDirectory(const Subject& subject);
// fd and fdinfo (task_fds.cc).
Ref<Inode> NewFdDirectory(const Subject& subject);
Ref<Inode> NewFdInfoDirectory(const Subject& subject);
// map_files (task_map_files.cc).
Ref<Inode> NewMapFilesDirectory(const Subject& subject);
// ns (task_namespaces.cc), attr (task_misc.cc), net (task_net.cc).
Ref<Inode> NewNamespacesDirectory(const Subject& subject);
Ref<Inode> NewAttrDirectory(const Subject& subject);
Ref<Inode> NewNetDirectory(const Subject& subject);
// A file of a directory about a process, from its row.
Ref<Inode> NewTaskText(const Subject& subject, const TaskText& row, uint64_t slot);
// Whether `task` may look through the subject's links: ptrace(2)'s rule, EACCES otherwise.
Status CheckMayInspect(Task& task, const Subject& subject);
// Of whoever makes the present call.
Status CheckReaderMayInspect(const Subject& subject);
// The namespaces of whoever makes the present call; the first ones outside of calls.
const Namespaces& NamespacesOfReader(Kernel& kernel);
// A number that ends with the text or a line; EINVAL otherwise.
Result<int64_t> ParseNumber(std::string_view text, int base = 10);
// What a write of a word says: up to the end of its line.
std::string_view FirstLine(std::string_view text);

// Puts files into a tree by their paths, and makes the directories on the way.
class Builder {
 public:
  explicit Builder(FixedDirectory& root, uint64_t first_ino = 16) : root_(root), ino_(first_ino) {}
  using Store = std::function<Status(std::string_view)>;
  void Text(std::string_view directory, std::string_view name, FunctionText::Function function,
            uint32_t mode = 0444, Store store = nullptr);
  void Put(std::string_view directory, std::string_view name, Ref<Inode> inode);

 private:
  FixedDirectory& Directory(std::string_view path);

  FixedDirectory& root_;
  uint64_t ino_;
};

// The files about the whole system (system.cc), and /proc/sys (sysctl.cc).
void PutSystemFiles(Kernel& kernel, Builder& builder);
void PutSysctls(Kernel& kernel, Builder& builder);
// Those that bound IPC (sysctl_ipc.cc).
void PutIpcSysctls(Kernel& kernel, Builder& builder);
// A row of a constexpr table: a value without its newline, as sysctl(8) shows it.
struct Sysctl {
  std::string_view directory, name, value;
  uint32_t mode = 0644;
};
// /proc/sys/net (sysctl_net.cc).
void PutNetSysctls(Kernel& kernel, Builder& builder);

}  // namespace sentry::proc

#endif  // SENTRY_FS_PROC_PROC_INTERNAL_H_
