// /proc/PID/mounts, mountinfo and mountstats.
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

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

Result<std::string> MountsText(const Subject& subject) {
  const Ref<Task> task = TRY(subject.AnyTask());
  std::string text;
  for (const Vfs::MountInfo& info : MountsOf(subject, *task)) {
    absl::StrAppend(&text, SourceOf(*info.mount), " ", Escape(info.path), " ",
                    info.mount->fs_type(), " ", Options(*info.mount), " 0 0\n");
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
                          info.parent_id, major(dev), minor(dev), Escape(info.path),
                          Options(*info.mount), info.mount->fs_type(), SourceOf(*info.mount),
                          info.mount->read_only() ? "ro" : "rw");
  }
  return text;
}

Result<std::string> MountStatsText(const Subject& subject) {
  const Ref<Task> task = TRY(subject.AnyTask());
  std::string text;
  for (const Vfs::MountInfo& info : MountsOf(subject, *task)) {
    absl::StrAppend(&text, "device ", SourceOf(*info.mount), " mounted on ", Escape(info.path),
                    " with fstype ", info.mount->fs_type(), "\n");
  }
  return text;
}

}  // namespace sentry::proc
