#include "syscalls/filesystems.h"

#include <algorithm>

#include "sentry/fs/cgroup/cgroupfs.h"
#include "sentry/fs/dev/devices.h"
#include "sentry/fs/filesystem_names.h"
#include "sentry/fs/proc/proc.h"
#include "sentry/fs/sys/sys.h"
#include "sentry/fs/tmpfs/tmpfs.h"
#include "sentry/ipc/namespace.h"
#include "sentry/tty/devpts.h"
#include "syscalls/overlay_mount.h"

namespace syscalls {
namespace {

using sentry::Inode;
using sentry::MountOption;

Status CheckTmpfs(const MountOption& option) {
  TRY(sentry::Tmpfs::Parse({option}, {}));
  return kOk;
}

Result<Ref<Inode>> CreateTmpfs(const FilesystemRequest& request) {
  const sentry::TmpfsOptions defaults{.uid = request.creds.fsuid, .gid = request.creds.fsgid};
  return sentry::Tmpfs::Create(TRY(sentry::Tmpfs::Parse(request.options, defaults)));
}

// ramfs of Linux ignores what it does not know.
Status CheckRamfs(const MountOption& option) { return kOk; }

// A tmpfs of which only the mode can be said.
Result<Ref<Inode>> CreateRamfs(const FilesystemRequest& request) {
  sentry::TmpfsOptions options{
      .mode = 0755, .uid = request.creds.fsuid, .gid = request.creds.fsgid};
  for (const MountOption& option : request.options) {
    if (option.name == "mode") options.mode = TRY(sentry::ParseMountNumber(option, 8)) & 07777;
  }
  return sentry::Tmpfs::Create(options);
}

Status ApplyDevpts(const MountOption& option, sentry::DevptsOptions& options) {
  if (option.name == "newinstance") return kOk;  // Each is one.
  if (option.name == "uid") {
    options.uid = TRY(sentry::ParseMountNumber(option, 10));
  } else if (option.name == "gid") {
    options.gid = TRY(sentry::ParseMountNumber(option, 10));
  } else if (option.name == "mode") {
    options.mode = TRY(sentry::ParseMountNumber(option, 8)) & 0777;
  } else if (option.name == "ptmxmode") {
    options.ptmx_mode = TRY(sentry::ParseMountNumber(option, 8)) & 0777;
  } else if (option.name == "max") {
    options.max = TRY(sentry::ParseMountNumber(option, 10));
  } else {
    return Errno(EINVAL);
  }
  return kOk;
}

Status CheckDevpts(const MountOption& option) {
  sentry::DevptsOptions options;
  return ApplyDevpts(option, options);
}

Result<Ref<Inode>> CreateDevpts(const FilesystemRequest& request) {
  sentry::DevptsOptions options;
  for (const MountOption& option : request.options) TRY(ApplyDevpts(option, options));
  return sentry::Devpts::Create(request.kernel, options)->Root();
}

// Processes are not hidden from each other.
Status CheckProc(const MountOption& option) {
  const bool shows_all = option.name == "hidepid" && (option.value == "0" || option.value == "off");
  return shows_all || option.name == "gid" ? Status(kOk) : Errno(EINVAL);
}

Result<Ref<Inode>> CreateProc(const FilesystemRequest& request) {
  return sentry::CreateProc(request.kernel);
}

Status RefuseOption(const MountOption& option) { return Errno(EINVAL); }

Result<Ref<Inode>> CreateSysfs(const FilesystemRequest& request) {
  return sentry::CreateSys(Ref<sentry::NetworkNamespace>::Share(request.namespaces.network()));
}

// The only one of an IPC namespace.
Result<Ref<Inode>> CreateMqueue(const FilesystemRequest& request) {
  return request.namespaces.ipc().mqueues->Root();
}

// Options as of a tmpfs; the instance of Linux, of which there is one, ignores them as well.
Result<Ref<Inode>> CreateDevtmpfs(const FilesystemRequest& request) {
  return sentry::CreateDevTree();
}

// What the first mount of Linux decides for all; nsdelegate is in force anyway.
Status CheckCgroup2(const MountOption& option) {
  constexpr std::string_view kKnown[] = {"nsdelegate", "favordynmods", "memory_localevents",
                                         "memory_recursiveprot", "memory_hugetlb_accounting"};
  const bool known =
      std::find(std::begin(kKnown), std::end(kKnown), option.name) != std::end(kKnown);
  return known ? Status(kOk) : Errno(EINVAL);
}

Result<Ref<Inode>> CreateCgroup2(const FilesystemRequest& request) {
  return sentry::CreateCgroupFs(request.kernel);
}

constexpr FilesystemType kFilesystems[] = {
    {"sysfs", &RefuseOption, &CreateSysfs},     {"tmpfs", &CheckTmpfs, &CreateTmpfs},
    {"proc", &CheckProc, &CreateProc},          {"devtmpfs", &CheckTmpfs, &CreateDevtmpfs},
    {"devpts", &CheckDevpts, &CreateDevpts},    {"ramfs", &CheckRamfs, &CreateRamfs},
    {"mqueue", &RefuseOption, &CreateMqueue},   {"cgroup2", &CheckCgroup2, &CreateCgroup2},
    {"overlay", &CheckOverlay, &CreateOverlay},
};

// /proc/filesystems shows what can be mounted, in this order.
static_assert(std::equal(std::begin(kFilesystems), std::end(kFilesystems),
                         std::begin(sentry::kFilesystemNames), std::end(sentry::kFilesystemNames),
                         [](const FilesystemType& type, std::string_view name) {
                           return type.name == name;
                         }));

}  // namespace

Result<Ref<Inode>> CreateFilesystem(const FilesystemType& type, const FilesystemRequest& request) {
  for (const MountOption& option : request.options) TRY(type.check(option));
  return type.create(request);
}

sentry::MountOptions SplitOptions(const FilesystemType& type, std::string_view text) {
  return type.check == &CheckOverlay ? sentry::SplitOverlayfsOptions(text)
                                     : sentry::ParseMountOptions(text);
}

const FilesystemType* FindFilesystem(std::string_view name) {
  const auto* const found =
      std::find_if(std::begin(kFilesystems), std::end(kFilesystems),
                   [name](const FilesystemType& filesystem) { return filesystem.name == name; });
  return found == std::end(kFilesystems) ? nullptr : found;
}

const FilesystemType* FilesystemAt(size_t index) {
  return index < std::size(kFilesystems) ? &kFilesystems[index] : nullptr;
}

}  // namespace syscalls
