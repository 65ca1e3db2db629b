// What the files of procfs share among themselves.
#ifndef SENTRY_FS_PROC_PROC_INTERNAL_H_
#define SENTRY_FS_PROC_PROC_INTERNAL_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/proc/pseudo.h"
#include "sentry/task/kernel.h"

namespace sentry::proc {

inline constexpr uint64_t kProcDevice = 21;

// The process (tid 0) or thread that a file of /proc/PID or /proc/PID/task/TID is about. Names it
// by number: once it is gone, every file about it answers ESRCH.
struct Subject {
  Kernel* kernel = nullptr;
  Pid tgid = 0;
  Pid tid = 0;

  Result<Ref<ThreadGroup>> Group() const;
  // The thread, or the process's leader or another thread of it: ESRCH for a zombie.
  Result<Ref<Task>> AnyTask() const;
  Pid pid() const { return tid != 0 ? tid : tgid; }
  // Names a made-up inode; `slot` tells those of one process apart.
  PseudoNode Node(uint32_t mode, uint64_t slot) const;
};

// The slots of inode numbers: a file's place in its table, plus one of these.
inline constexpr uint64_t kSlotFiles = 1, kSlotLinks = 100, kSlotDirectories = 200, kSlotFds = 0x1000,
                          kSlotFdInfos = 0x80000000;

// A row of a constexpr table: one text of a process.
struct TaskText {
  std::string_view name;
  uint32_t mode;
  Result<std::string> (*text)(const Subject& subject);
  Status (*store)(const Subject& subject, std::string_view text) = nullptr;
};

// Texts, by file: task_stat.cc, task_memory.cc, task_misc.cc.
Result<std::string> StatText(const Subject& subject);
Result<std::string> StatusText(const Subject& subject);
Result<std::string> StatmText(const Subject& subject);
Result<std::string> CmdlineText(const Subject& subject);
Result<std::string> EnvironText(const Subject& subject);
Result<std::string> AuxvText(const Subject& subject);
Result<std::string> MapsText(const Subject& subject);
Result<std::string> CommText(const Subject& subject);
Status StoreComm(const Subject& subject, std::string_view text);
Result<std::string> LimitsText(const Subject& subject);
Result<std::string> MountsText(const Subject& subject);
Result<std::string> MountInfoText(const Subject& subject);
Result<std::string> OomScoreAdjText(const Subject& subject);
Status StoreOomScoreAdj(const Subject& subject, std::string_view text);
Result<std::string> IdMapText(const Subject& subject);
Result<std::string> SetGroupsText(const Subject& subject);
Result<std::string> CgroupText(const Subject& subject);
Result<std::string> WchanText(const Subject& subject);
Result<std::string> OomScoreText(const Subject& subject);

// The bytes of the process's mappings, from its host maps; 0 when the platform cannot tell.
uint64_t VirtualSize(Mm& mm);

// /proc/PID, or /proc/PID/task/TID.
Ref<Inode> NewTaskDirectory(const Subject& subject);
// fd and fdinfo (task_fds.cc).
Ref<Inode> NewFdDirectory(const Subject& subject);
Ref<Inode> NewFdInfoDirectory(const Subject& subject);
// Whether `task` may look through the subject's links: ptrace(2)'s rule, EACCES otherwise.
Status CheckMayInspect(Task& task, const Subject& subject);

// Fills in /proc/sys and the files about the whole system (system.cc).
void PutSystemFiles(Kernel& kernel, FixedDirectory& root);

}  // namespace sentry::proc

#endif  // SENTRY_FS_PROC_PROC_INTERNAL_H_
