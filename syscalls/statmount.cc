// statmount(2), listmount(2).
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>

#include "sentry/task/kernel.h"
#include "syscalls/common.h"
#include "syscalls/mount.h"

namespace syscalls {
namespace {

using sentry::Mount;
using sentry::MountNamespace;
using MountInfo = sentry::Vfs::MountInfo;

// struct mnt_id_req.
struct Request {
  uint32_t size = 0, spare = 0;
  uint64_t mount_id = 0, param = 0, namespace_id = 0;
};
static_assert(sizeof(Request) == 32);
constexpr uint32_t kFirstSize = 24;  // MNT_ID_REQ_SIZE_VER0.

enum Mask : uint64_t {
  kSbBasic = 1,
  kMntBasic = 2,
  kPropagateFrom = 4,
  kMntRoot = 8,
  kMntPoint = 0x10,
  kFsType = 0x20,
  kMntNsId = 0x40,
  kMntOpts = 0x80,
  kSbSource = 0x200,
  kSupportedMask = 0x1000,
};
constexpr uint64_t kSupported = kSbBasic | kMntBasic | kPropagateFrom | kMntRoot | kMntPoint |
                                kFsType | kMntNsId | kMntOpts | kSbSource | kSupportedMask;

// struct statmount without its strings.
struct StatMount {
  uint32_t size = 0, mnt_opts = 0;
  uint64_t mask = 0;
  uint32_t sb_dev_major = 0, sb_dev_minor = 0;
  uint64_t sb_magic = 0;
  uint32_t sb_flags = 0, fs_type = 0;
  uint64_t mnt_id = 0, mnt_parent_id = 0;
  uint32_t mnt_id_old = 0, mnt_parent_id_old = 0;
  uint64_t mnt_attr = 0, mnt_propagation = 0, mnt_peer_group = 0, mnt_master = 0,
           propagate_from = 0;
  uint32_t mnt_root = 0, mnt_point = 0;
  uint64_t mnt_ns_id = 0;
  uint32_t fs_subtype = 0, sb_source = 0, opt_num = 0, opt_array = 0, opt_sec_num = 0,
           opt_sec_array = 0;
  uint64_t supported_mask = 0;
  uint64_t spare[45] = {};
};
static_assert(sizeof(StatMount) == 512);

Result<Request> ReadRequest(Task& task, UserAddr user) {
  const uint32_t size = TRY(task.mem().Read(UserPtr<const uint32_t>{user}));
  if (size > kPageSize) return Errno(E2BIG);
  if (size < kFirstSize) return Errno(EINVAL);
  const Request request = TRY(ReadGrowing<Request>(task, user, size));
  if (request.spare != 0) return Errno(EINVAL);
  // Numbers of mounts begin where the old ones cannot reach.
  if (request.mount_id <= (uint64_t{1} << 31)) return Errno(EINVAL);
  return request;
}

uint64_t AttributesOf(const Mount& mount) {
  const uint64_t flags = mount.flags();
  uint64_t attributes = flags & 0xf;  // MOUNT_ATTR_* have the numbers of MS_*.
  if ((flags & MS_NODIRATIME) != 0) attributes |= 0x80;
  if ((flags & Mount::kNoSymfollow) != 0) attributes |= 0x200000;
  if ((flags & MS_NOATIME) != 0) {
    attributes |= 0x10;
  } else if ((flags & MS_RELATIME) == 0) {
    attributes |= 0x20;
  }
  return attributes;
}

uint64_t PropagationOf(const MountInfo& info) {
  uint64_t propagation = 0;
  if (info.group != 0) propagation |= MS_SHARED;
  if (info.master != 0) propagation |= MS_SLAVE;
  if (info.unbindable) propagation |= MS_UNBINDABLE;
  return propagation != 0 ? propagation : uint64_t{MS_PRIVATE};
}

// Fills what `asked` names and collects the strings.
Result<StatMount> Describe(const MountInfo& info, const MountNamespace& ns, uint64_t asked,
                           std::string& strings) {
  const Mount& mount = *info.mount;
  StatMount out;
  const auto add = [&](uint64_t bit, const std::string& text, uint32_t& offset) {
    if ((asked & bit) == 0) return;
    out.mask |= bit;
    offset = static_cast<uint32_t>(strings.size());
    strings.append(text).push_back('\0');
  };
  if ((asked & kSbBasic) != 0) {
    out.mask |= kSbBasic;
    out.sb_dev_major = major(mount.superblock().dev());
    out.sb_dev_minor = minor(mount.superblock().dev());
    out.sb_magic = TRY(mount.root()->inode().StatFs()).type;
    out.sb_flags = mount.superblock().read_only() ? MS_RDONLY : 0;
  }
  if ((asked & kMntBasic) != 0) {
    out.mask |= kMntBasic;
    out.mnt_id = mount.unique_id();
    out.mnt_parent_id = info.parent_unique_id;
    out.mnt_id_old = static_cast<uint32_t>(mount.id());
    out.mnt_parent_id_old = static_cast<uint32_t>(info.parent_id);
    out.mnt_attr = AttributesOf(mount);
    out.mnt_propagation = PropagationOf(info);
    out.mnt_peer_group = static_cast<uint64_t>(info.group);
    out.mnt_master = static_cast<uint64_t>(info.master);
  }
  if ((asked & kPropagateFrom) != 0) out.mask |= kPropagateFrom;
  if ((asked & kMntNsId) != 0) {
    out.mask |= kMntNsId;
    out.mnt_ns_id = ns.ino();
  }
  if ((asked & kSupportedMask) != 0) {
    out.mask |= kSupportedMask;
    out.supported_mask = kSupported;
  }
  add(kFsType, mount.fs_type(), out.fs_type);
  add(kMntRoot, info.root, out.mnt_root);
  add(kMntPoint, info.path, out.mnt_point);
  add(kSbSource, mount.source(), out.sb_source);
  std::string options = mount.superblock().root()->inode().ShowMountOptions();
  if (!options.empty()) options.erase(0, 1);  // Its comma.
  if (!options.empty()) add(kMntOpts, options, out.mnt_opts);
  out.size = static_cast<uint32_t>(sizeof(out) + strings.size());
  return out;
}

}  // namespace

Status Statmount(Task& task, UserAddr user_request, UserAddr buffer, uint64_t size,
                 uint32_t flags) {
  if (flags != 0) return Errno(EINVAL);
  const Request request = TRY(ReadRequest(task, user_request));
  const Ref<MountNamespace> ns = TRY(MountsOf(task));
  if (request.namespace_id != 0 && request.namespace_id != ns->ino()) return Errno(ENOENT);
  const Path root = task.fs().root();
  const std::vector<MountInfo> mounts = task.vfs().AllMounts(*ns, root);
  const auto it = std::find_if(mounts.begin(), mounts.end(), [&](const MountInfo& info) {
    return info.mount->unique_id() == request.mount_id;
  });
  if (it == mounts.end()) return Errno(ENOENT);
  if (it->path.empty() && !HasCapability(task, CAP_SYS_ADMIN)) return Errno(EPERM);
  std::string strings;
  const StatMount out = TRY(Describe(*it, *ns, request.param, strings));
  if (size < sizeof(out.size) || (!strings.empty() && size < out.size)) return Errno(EOVERFLOW);
  const auto fixed = std::as_bytes(std::span(&out, 1));
  TRY(task.mem().WriteBytes(buffer, fixed.first(std::min<size_t>(size, fixed.size()))));
  if (strings.empty()) return kOk;
  return task.mem().WriteBytes(UserAddr{buffer.raw + sizeof(out)},
                               std::as_bytes(std::span(strings)));
}

Result<int64_t> Listmount(Task& task, UserAddr user_request, UserAddr ids, uint64_t count,
                          uint32_t flags) {
  constexpr uint32_t kReverse = 1;        // LISTMOUNT_REVERSE.
  constexpr uint64_t kRoot = UINT64_MAX;  // LSMT_ROOT.
  constexpr uint64_t kMost = 1'000'000;
  if ((flags & ~kReverse) != 0) return Errno(EINVAL);
  if (count > kMost) return Errno(EOVERFLOW);
  const Request request = TRY(ReadRequest(task, user_request));
  const Ref<MountNamespace> ns = TRY(MountsOf(task));
  if (request.namespace_id != 0 && request.namespace_id != ns->ino()) return Errno(ENOENT);
  const Path root = task.fs().root();
  Path from = root;
  if (request.mount_id != kRoot) {
    const std::vector<MountInfo> all = task.vfs().AllMounts(*ns, root);
    const auto it = std::find_if(all.begin(), all.end(), [&](const MountInfo& info) {
      return info.mount->unique_id() == request.mount_id;
    });
    if (it == all.end()) return Errno(ENOENT);
    from = {it->mount, it->mount->root()};
  }
  std::vector<MountInfo> mounts = task.vfs().AllMounts(*ns, from);
  if ((flags & kReverse) != 0) std::reverse(mounts.begin(), mounts.end());
  std::vector<uint64_t> found;
  for (const MountInfo& info : mounts) {
    const uint64_t id = info.mount->unique_id();
    const bool behind =
        request.param == 0 || ((flags & kReverse) != 0 ? id < request.param : id > request.param);
    const bool itself = request.mount_id != kRoot && info.mount == from.mount;
    if (!info.path.empty() && behind && !itself && found.size() < count) found.push_back(id);
  }
  TRY(task.mem().WriteBytes(ids, std::as_bytes(std::span(found))));
  return static_cast<int64_t>(found.size());
}

}  // namespace syscalls
