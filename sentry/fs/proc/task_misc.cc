// The small texts of /proc/PID: comm, limits, mounts, oom_score_adj, ….
#include <sys/mount.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

constexpr size_t kCommSize = 15;

struct LimitRow {
  int resource;
  std::string_view name, unit;
};
constexpr LimitRow kLimits[] = {
    {RLIMIT_CPU, "Max cpu time", "seconds"},
    {RLIMIT_FSIZE, "Max file size", "bytes"},
    {RLIMIT_DATA, "Max data size", "bytes"},
    {RLIMIT_STACK, "Max stack size", "bytes"},
    {RLIMIT_CORE, "Max core file size", "bytes"},
    {RLIMIT_RSS, "Max resident set", "bytes"},
    {RLIMIT_NPROC, "Max processes", "processes"},
    {RLIMIT_NOFILE, "Max open files", "files"},
    {RLIMIT_MEMLOCK, "Max locked memory", "bytes"},
    {RLIMIT_AS, "Max address space", "bytes"},
    {RLIMIT_LOCKS, "Max file locks", "locks"},
    {RLIMIT_SIGPENDING, "Max pending signals", "signals"},
    {RLIMIT_MSGQUEUE, "Max msgqueue size", "bytes"},
    {RLIMIT_NICE, "Max nice priority", ""},
    {RLIMIT_RTPRIO, "Max realtime priority", ""},
    {RLIMIT_RTTIME, "Max realtime timeout", "us"},
};

std::string_view WithoutNewline(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

std::string LimitValue(uint64_t value) {
  return value == RLIM_INFINITY ? "unlimited" : absl::StrCat(value);
}

// Blanks and backslashes in mount paths, as proc_pid_mounts(5) writes them.
std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '\\' || c == '#') {
      absl::StrAppendFormat(&out, "\\%03o", c);
    } else {
      out += c;
    }
  }
  return out;
}

std::string Options(const Mount& mount) {
  std::string out = mount.read_only() ? "ro" : "rw";
  if ((mount.flags() & MS_NOSUID) != 0) out += ",nosuid";
  if ((mount.flags() & MS_NODEV) != 0) out += ",nodev";
  if ((mount.flags() & MS_NOEXEC) != 0) out += ",noexec";
  return out;
}

std::vector<Vfs::MountInfo> MountsOf(const Subject& subject, const Task& task) {
  return subject.kernel->vfs().Mounts(task.fs_ref()->root());
}

std::string SourceOf(const Mount& mount) {
  return Escape(mount.source().empty() ? "none" : mount.source());
}

}  // namespace

Result<std::string> CommText(const Subject& subject) {
  const Ref<Task> task = TRY(subject.AnyTask());
  absl::MutexLock lock(&subject.kernel->mu());
  return task->comm + "\n";
}

Status StoreComm(const Subject& subject, std::string_view text) {
  const Ref<Task> task = TRY(subject.AnyTask());
  // Only threads of the same process may.
  Task* const writer = Task::Current();
  if (writer == nullptr || writer->tgid() != task->tgid()) return Errno(EINVAL);
  text = text.substr(0, std::min(text.find('\0'), text.size()));
  text = WithoutNewline(text).substr(0, kCommSize);
  absl::MutexLock lock(&subject.kernel->mu());
  task->comm = std::string(text);
  return kOk;
}

Result<std::string> LimitsText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  std::array<rlimit, RLIM_NLIMITS> limits;
  {
    absl::MutexLock lock(&subject.kernel->mu());
    limits = group->limits;
  }
  std::string text =
      absl::StrFormat("%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
  for (const LimitRow& row : kLimits) {
    const rlimit& limit = limits[static_cast<size_t>(row.resource)];
    absl::StrAppendFormat(&text, "%-25s %-20s %-20s %-10s\n", row.name, LimitValue(limit.rlim_cur),
                          LimitValue(limit.rlim_max), row.unit);
  }
  return text;
}

Result<std::string> MountsText(const Subject& subject) {
  const Ref<Task> task = TRY(subject.AnyTask());
  std::string text;
  for (const Vfs::MountInfo& info : MountsOf(subject, *task)) {
    absl::StrAppend(&text, SourceOf(*info.mount), " ", Escape(info.path), " ", info.mount->fs_type(),
                    " ", Options(*info.mount), " 0 0\n");
  }
  return text;
}

Result<std::string> MountInfoText(const Subject& subject) {
  const Ref<Task> task = TRY(subject.AnyTask());
  std::string text;
  for (const Vfs::MountInfo& info : MountsOf(subject, *task)) {
    const auto attributes = info.mount->root()->inode().GetAttributes();
    const uint64_t dev = attributes.ok() ? attributes->dev : 0;
    absl::StrAppendFormat(&text, "%d %d %u:%u / %s %s - %s %s %s\n", info.mount->id(),
                          info.parent_id, dev >> 8 & 0xfff, dev & 0xff, Escape(info.path),
                          Options(*info.mount), info.mount->fs_type(), SourceOf(*info.mount),
                          info.mount->read_only() ? "ro" : "rw");
  }
  return text;
}

Result<std::string> OomScoreAdjText(const Subject& subject) {
  const Ref<ThreadGroup> group = TRY(subject.Group());
  absl::MutexLock lock(&subject.kernel->mu());
  return absl::StrCat(group->oom_score_adj, "\n");
}

Status StoreOomScoreAdj(const Subject& subject, std::string_view text) {
  int value = 0;
  text = WithoutNewline(text);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return Errno(EINVAL);
  if (value < -1000 || value > 1000) return Errno(EINVAL);
  const Ref<ThreadGroup> group = TRY(subject.Group());
  Task* const writer = Task::Current();
  const bool privileged = writer != nullptr && writer->creds().HasCapability(24 /* SYS_RESOURCE */);
  absl::MutexLock lock(&subject.kernel->mu());
  if (value < group->oom_score_adj && !privileged) return Errno(EACCES);
  group->oom_score_adj = value;
  return kOk;
}

// One user namespace, in which every id is itself.
Result<std::string> IdMapText(const Subject& subject) {
  TRY(subject.Group());
  return std::string("         0          0 4294967295\n");
}

Result<std::string> SetGroupsText(const Subject& subject) {
  TRY(subject.Group());
  return std::string("allow\n");
}

Result<std::string> CgroupText(const Subject& subject) {
  TRY(subject.Group());
  return std::string("0::/\n");
}

Result<std::string> WchanText(const Subject& subject) {
  TRY(subject.Group());
  return std::string("0");
}

Result<std::string> OomScoreText(const Subject& subject) {
  TRY(subject.Group());
  return std::string("0\n");
}

}  // namespace sentry::proc
