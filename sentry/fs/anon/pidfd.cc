#include "sentry/fs/anon/pidfd.h"

#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "absl/strings/str_format.h"
#include "sentry/fs/anon/anon_inode.h"
#include "sentry/fs/cgroup/cgroupfs.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// struct pidfd_info of <linux/pidfd.h>, which libc's headers do not have yet: Linux 6.13, grown
// since.
struct PidfdInfo {
  uint64_t mask = 0, cgroup_id = 0;
  uint32_t pid = 0, tgid = 0, ppid = 0;
  uint32_t ruid = 0, rgid = 0, euid = 0, egid = 0, suid = 0, sgid = 0, fsuid = 0, fsgid = 0;
  int32_t exit_code = 0;
  uint32_t coredump_mask = 0, spare = 0;  // Linux 6.16.
};
constexpr size_t kFirstSize = 64;
// PIDFD_INFO_*: the first three are told unasked, but for a process that has been reaped.
constexpr uint64_t kOfPid = 1, kOfCredentials = 2, kOfCgroup = 4, kOfExit = 8, kOfCoredump = 16;
// PIDFD_GET_INFO, of whatever size.
constexpr bool IsGetInfo(uint32_t command) {
  constexpr uint32_t kSize = _IOC_SIZEMASK << _IOC_SIZESHIFT;
  return (command & ~kSize) == _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, 0) &&
         _IOC_SIZE(command) >= kFirstSize;
}

// What would be done with a core of it: PIDFD_COREDUMP_SKIP, PIDFD_COREDUMP_USER,
// PIDFD_COREDUMP_ROOT.
constexpr uint32_t CoredumpMask(int dumpable) {
  return uint32_t{1} << (dumpable == 1 ? 2 : dumpable == 2 ? 3 : 1);
}

}  // namespace

PidFile::PidFile(Ref<ThreadGroup> group, Ref<Task> thread, OpenFlags flags)
    : File(NewAnonInode(), flags), group_(std::move(group)), thread_(std::move(thread)) {}

PidFile::~PidFile() = default;

Result<Ref<Task>> PidFile::FindTask() const {
  const Ref<Task> task = group_->kernel.FindTask(thread_ ? thread_->tid() : group_->id);
  // The number may be another one's by now.
  if (!task || &task->group() != group_.get()) return Errno(ESRCH);
  if (thread_ && task.get() != thread_.get()) return Errno(ESRCH);
  return task;
}

uint32_t PidFile::Poll() {
  const bool reaped = !FindTask().ok();
  absl::MutexLock lock(&group_->kernel.mu());
  const bool ended = thread_ ? !thread_->alive() : group_->zombie;
  if (reaped) return POLLIN | POLLRDNORM | POLLHUP;
  return ended ? POLLIN | POLLRDNORM : 0;
}

std::string PidFile::FdInfo() const {
  const Result<Ref<Task>> task = FindTask();
  const Pid pid = task.ok() ? (*task)->tid() : -1;
  return absl::StrFormat("Pid:\t%d\nNSpid:\t%d\n", pid, pid);
}

Result<int64_t> PidFile::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  if (!IsGetInfo(command)) return Errno(ENOTTY);
  if (arg == 0) return Errno(EINVAL);
  const uint64_t wanted = TRY(task.mem().Read(UserPtr<const uint64_t>{UserAddr{arg}}));
  PidfdInfo info;
  const Result<Ref<Task>> subject = FindTask();
  // Of who has been reaped nothing is left but this, and of a thread not even that.
  if (!subject.ok() && (wanted & kOfExit) == 0) return Errno(ESRCH);
  Credentials creds;
  if (subject.ok()) creds = TRY(group_->kernel.CredentialsOf((*subject)->tid()));
  {
    absl::MutexLock lock(&group_->kernel.mu());
    if (subject.ok()) {
      info = {.mask = kOfPid | kOfCredentials,
              .pid = static_cast<uint32_t>((*subject)->tid()),
              .tgid = static_cast<uint32_t>(group_->id),
              .ppid = static_cast<uint32_t>(group_->parent != nullptr ? group_->parent->id : 0),
              .ruid = creds.uid,
              .rgid = creds.gid,
              .euid = creds.euid,
              .egid = creds.egid,
              .suid = creds.suid,
              .sgid = creds.sgid,
              .fsuid = creds.fsuid,
              .fsgid = creds.fsgid};
    } else if (!thread_) {
      info.mask = kOfExit;
      info.exit_code = group_->exit_status;
    }
    if (group_->control_group) {
      info.mask |= kOfCgroup;
      info.cgroup_id = CgroupInode(*group_->control_group);
    }
    if ((wanted & kOfCoredump) != 0 && subject.ok()) {
      info.mask |= kOfCoredump;
      info.coredump_mask = CoredumpMask(group_->dumpable);
    }
  }
  const auto bytes = std::as_bytes(std::span(&info, 1));
  const size_t size = _IOC_SIZE(command);
  TRY(task.mem().WriteBytes(UserAddr{arg}, bytes.first(std::min(size, bytes.size()))));
  // What a newer caller knows of and nobody here does is zero.
  constexpr std::array<std::byte, 256> kNothing{};
  for (size_t at = bytes.size(); at < size; at += kNothing.size()) {
    const auto part = std::span(kNothing).first(std::min(kNothing.size(), size - at));
    TRY(task.mem().WriteBytes(UserAddr{arg + at}, part));
  }
  return 0;
}

Result<Ref<File>> CreatePidFd(Ref<ThreadGroup> group, uint32_t flags) {
  if ((flags & ~uint32_t{O_NONBLOCK}) != 0) return Errno(EINVAL);
  return Ref<File>(MakeRef<PidFile>(std::move(group), Ref<Task>(), OpenFlags(O_RDWR | flags)));
}

Result<Ref<File>> CreateThreadPidFd(Ref<Task> thread, uint32_t flags) {
  if ((flags & ~uint32_t{O_NONBLOCK | O_EXCL}) != 0) return Errno(EINVAL);
  Ref<ThreadGroup> group = Ref<ThreadGroup>::Share(thread->group());
  return Ref<File>(
      MakeRef<PidFile>(std::move(group), std::move(thread), OpenFlags(O_RDWR | flags)));
}

}  // namespace sentry
