#include "syscalls/handles.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>

#include "sentry/fs/handles.h"
#include "syscalls/common.h"
#include "syscalls/open.h"

namespace syscalls {
namespace {

using sentry::HandleTable;

// What f_handle holds here: FILEID_INO64_GEN of Linux's exportfs.h.
struct InodeHandle {
  uint32_t ino_low = 0, ino_high = 0;
  uint32_t filesystem = 0;
};
static_assert(sizeof(InodeHandle) == 12);
constexpr int32_t kInodeHandle = 0x81;
constexpr uint32_t kMaxHandleSize = 128;    // MAX_HANDLE_SZ.
constexpr uint32_t kUniqueMountId = 1;      // AT_HANDLE_MNT_ID_UNIQUE, Linux 6.12.
constexpr uint32_t kOnlyToCompare = 0x200;  // AT_HANDLE_FID, Linux 6.5.

UserPtr<InodeHandle> BytesOf(UserAddr handle) { return {handle + sizeof(abi::FileHandle)}; }

// Those whose files are made when somebody looks at them have no handles in Linux either, but may
// be compared.
bool HasHandles(const sentry::Mount& mount) {
  return mount.fs_type() != "proc" && mount.fs_type() != "devpts" && mount.fs_type() != "mqueue";
}

Status WriteMountId(Task& task, const sentry::Mount& mount, UserAddr to, bool unique) {
  if (unique) return task.mem().Write(UserPtr<uint64_t>{to}, mount.unique_id());
  return task.mem().Write(UserPtr<int32_t>{to}, int32_t{mount.id()});
}

}  // namespace

Status NameToHandleAt(Task& task, Fd dirfd, UserCString path, UserPtr<abi::FileHandle> handle,
                      UserAddr mount_id, uint32_t flags) {
  constexpr uint32_t kKnown = AT_SYMLINK_FOLLOW | AT_EMPTY_PATH | kUniqueMountId | kOnlyToCompare;
  if ((flags & ~kKnown) != 0) return Errno(EINVAL);
  const Target target = TRY(ResolveAt(task, dirfd, path, flags, Follow::kNo));
  const bool opens = (flags & kOnlyToCompare) == 0;
  if (!target.path.dentry || (opens && !HasHandles(*target.path.mount))) return Errno(EOPNOTSUPP);
  abi::FileHandle header = TRY(task.mem().Read(handle));
  if (header.handle_bytes > kMaxHandleSize) return Errno(EINVAL);
  const sentry::Superblock& filesystem = target.path.mount->superblock();
  const uint64_t ino = TRY(target.inode->GetAttributes()).ino;
  const bool fits = header.handle_bytes >= sizeof(InodeHandle);
  header = {.handle_bytes = sizeof(InodeHandle), .handle_type = fits ? kInodeHandle : 0xff};
  TRY(WriteMountId(task, *target.path.mount, mount_id, (flags & kUniqueMountId) != 0));
  TRY(task.mem().Write(handle, header));
  if (!fits) return Errno(EOVERFLOW);
  const InodeHandle bytes{.ino_low = static_cast<uint32_t>(ino),
                          .ino_high = static_cast<uint32_t>(ino >> 32),
                          .filesystem = static_cast<uint32_t>(filesystem.dev())};
  TRY(task.mem().Write(BytesOf(handle.addr), bytes));
  if (opens) HandleTable::Get().Add(filesystem, ino, target.path.dentry);
  return kOk;
}

Result<Fd> OpenByHandleAt(Task& task, Fd mount_fd, UserPtr<const abi::FileHandle> handle,
                          uint32_t flags) {
  const abi::FileHandle header = TRY(task.mem().Read(handle));
  if (header.handle_bytes > kMaxHandleSize || header.handle_bytes == 0) return Errno(EINVAL);
  if (header.handle_type < 0) return Errno(EINVAL);
  const Target anchor = TRY(ResolveAt(task, mount_fd, {}, AT_EMPTY_PATH, Follow::kNo));
  if (!task.creds().HasCapability(CAP_DAC_READ_SEARCH)) return Errno(EPERM);
  InodeHandle bytes;
  if (header.handle_bytes < sizeof(bytes) || header.handle_type != kInodeHandle) {
    return Errno(ESTALE);
  }
  bytes = TRY(task.mem().Read(BytesOf(handle.addr)));
  if (!anchor.path.mount) return Errno(ESTALE);
  const sentry::Superblock& filesystem = anchor.path.mount->superblock();
  if (bytes.filesystem != static_cast<uint32_t>(filesystem.dev())) return Errno(ESTALE);
  const uint64_t ino = uint64_t{bytes.ino_high} << 32 | bytes.ino_low;
  const Path found{anchor.path.mount, TRY(HandleTable::Get().Find(filesystem, ino))};
  const OpenFlags cleaned = CleanOpenFlags(flags);
  Ref<File> file = TRY(task.vfs().OpenPath(task.walk_context(), found, cleaned.Without(O_CLOEXEC)));
  if (!cleaned.has(O_PATH)) {
    TRY(sentry::RetryWhileBlocked(task, *file, POLLIN | POLLOUT,
                                  [&] { return file->FinishOpen(); }));
  }
  return task.AddFd(std::move(file), cleaned.has(O_CLOEXEC));
}

}  // namespace syscalls
