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

// show_mnt_opts() of Linux.
std::string MountFlags(const Mount& mount) {
  struct Word {
    uint64_t flag;
    std::string_view text;
  };
  constexpr Word kWords[] = {{MS_NOSUID, ",nosuid"},
                             {MS_NODEV, ",nodev"},
                             {MS_NOEXEC, ",noexec"},
                             {MS_NOATIME, ",noatime"},
                             {MS_NODIRATIME, ",nodiratime"},
                             {MS_RELATIME, ",relatime"},
                             {Mount::kNoSymfollow, ",nosymfollow"}};
  std::string out;
  for (const Word& word : kWords) {
    if ((mount.flags() & word.flag) != 0) out += word.text;
  }
  return out;
}

std::string OwnOptions(const Mount& mount) {
  return mount.superblock().root()->inode().ShowMountOptions();
}

std::vector<Vfs::MountInfo> MountsOf(const Subject& subject, const Task& task) {
  const Ref<FsContext> fs = task.fs_ref();
  const Ref<MountNamespace> ns = fs->mounts();
  if (!ns) return {};
  std::vector<Vfs::MountInfo> infos = subject.kernel->vfs().AllMounts(*ns, fs->root());
  std::erase_if(infos, [](const Vfs::MountInfo& info) { return info.path.empty(); });
  return infos;
}

std::string OptionalFields(const Vfs::MountInfo& info) {
  std::string text;
  if (info.group != 0) absl::StrAppend(&text, "shared:", info.group, " ");
  if (info.master != 0) absl::StrAppend(&text, "master:", info.master, " ");
  if (info.unbindable) text += "unbindable ";
  return text;
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
                    info.mount->fs_type(), info.mount->read_only() ? " ro" : " rw",
                    MountFlags(*info.mount), OwnOptions(*info.mount), " 0 0\n");
  }
  return text;
}

Result<std::string> MountInfoText(const Subject& subject) {
  const Ref<Task> task = TRY(subject.AnyTask());
  std::string text;
  for (const Vfs::MountInfo& info : MountsOf(subject, *task)) {
    const Superblock& superblock = info.mount->superblock();
    absl::StrAppendFormat(
        &text, "%d %d %u:%u %s %s %s%s %s- %s %s %s%s\n", info.mount->id(), info.parent_id,
        major(superblock.dev()), minor(superblock.dev()), Escape(info.root), Escape(info.path),
        (info.mount->flags() & MS_RDONLY) != 0 ? "ro" : "rw", MountFlags(*info.mount),
        OptionalFields(info), superblock.fs_type(), SourceOf(*info.mount),
        superblock.read_only() ? "ro" : "rw", OwnOptions(*info.mount));
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
