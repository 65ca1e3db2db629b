// The operations that change files. Dispatch has refused read-only exports before.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "gofer/server/file_service.h"
#include "gofer/server/host.h"

namespace gofer {

namespace {

constexpr uint32_t kModeBits = 07777;
// As in FileService::Open; a new file is empty anyway.
constexpr int kCreateFlags = O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC;
constexpr uint32_t kTimeFields = kSetAtime | kSetMtime | kSetAtimeNow | kSetMtimeNow;

// The attributes that belong to the application's own world. The others (trusted.*, other
// security.*) mean something to the host.
bool MayWriteXattr(std::string_view name) {
  return name.starts_with("user.") || name == "security.capability" ||
         name == "system.posix_acl_access" || name == "system.posix_acl_default";
}

Result<timespec> ToHost(const Time& time, uint32_t valid, uint32_t set, uint32_t set_now) {
  if ((valid & set_now) != 0) return timespec{.tv_sec = 0, .tv_nsec = UTIME_NOW};
  if ((valid & set) == 0) return timespec{.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  if (time.nanoseconds >= 1'000'000'000) return Errno(EINVAL);
  return timespec{.tv_sec = time.seconds, .tv_nsec = time.nanoseconds};
}

Status SetOwner(int fd, uint32_t uid, uint32_t gid) {
  if (uid == kNoOwner && gid == kNoOwner) return kOk;
  return Checked(fchownat(fd, "", uid, gid, AT_EMPTY_PATH));
}

Status SetMode(int fd, uint32_t mode) {
  return Checked(fchmodat(AT_FDCWD, FdPath(fd).c_str(), mode & kModeBits, 0));
}

}  // namespace

Status FileService::SetAttr(Operation& op) {
  const Request& request = op.request;
  const int fd = op.node->fd;
  const timespec times[2] = {
      TRY(ToHost(request.atime, request.valid, kSetAtime, kSetAtimeNow)),
      TRY(ToHost(request.mtime, request.valid, kSetMtime, kSetMtimeNow)),
  };
  if ((request.valid & kSetSize) != 0) {
    if (S_ISDIR(op.node->type)) return Errno(EISDIR);
    if (!S_ISREG(op.node->type)) return Errno(EINVAL);
    TRY(Checked(truncate(FdPath(fd).c_str(), static_cast<off_t>(request.offset))));
  }
  // The owner before the mode: changing it clears set-user-ID.
  TRY(SetOwner(fd, (request.valid & kSetUid) != 0 ? request.uid : kNoOwner,
               (request.valid & kSetGid) != 0 ? request.gid : kNoOwner));
  if ((request.valid & kSetMode) != 0) {
    if (S_ISLNK(op.node->type)) return Errno(EOPNOTSUPP);
    TRY(SetMode(fd, request.mode));
  }
  if ((request.valid & kTimeFields) != 0) {
    TRY(Checked(utimensat(fd, "", times, AT_EMPTY_PATH)));
  }
  op.response.attr = TRY(Stat(fd));
  return kOk;
}

Status FileService::AnswerNewFile(Operation& op, Result<WalkedNode> made, int remove_flags) {
  if (!made.ok()) return made.error();
  WalkedNode walked = *made;
  const Node& node = **nodes_.Get(walked.id);
  const Request& request = op.request;
  const bool chosen_owner = request.uid != kNoOwner || request.gid != kNoOwner;
  Status status = SetOwner(node.fd, request.uid, request.gid);
  if (status.ok() && chosen_owner && (walked.attr.mode & (S_ISUID | S_ISGID)) != 0 &&
      !S_ISLNK(node.type)) {
    status = SetMode(node.fd, walked.attr.mode);
  }
  if (status.ok() && chosen_owner) {
    const Result<Attr> attr = Stat(node.fd);
    status = attr.ok() ? kOk : Status(attr.error());
    walked.attr = *attr;
  }
  if (!status.ok()) {
    nodes_.Forget(walked.id);
    unlinkat(op.node->fd, op.names[0], remove_flags);
    return status;
  }
  memcpy(op.out.data(), &walked, sizeof(walked));
  op.response.payload_size = sizeof(walked);
  op.response.node = walked.id;
  return kOk;
}

Status FileService::Create(Operation& op) {
  const int flags = static_cast<int>(op.request.flags);
  if ((flags & O_ACCMODE) == O_ACCMODE) return Errno(EINVAL);
  if (nodes_.full()) return Errno(ENFILE);
  op.fd = TRY(
      CreateExclusive(op.node->fd, op.names[0], flags & kCreateFlags, op.request.mode & kModeBits));
  // From the open file and not from the name, which the host may have moved.
  return AnswerNewFile(op, AddOpened(*op.node, op.fd.get()), 0);
}

Result<WalkedNode> FileService::AddOpened(const Node& parent, int fd) {
  UniqueFd path = TRY(Reopen(fd, O_PATH));
  WalkedNode walked;
  walked.attr = TRY(Stat(fd));
  walked.id = TRY(nodes_.Add(std::move(path), parent.export_index, walked.attr.mode & S_IFMT));
  return walked;
}

// A file made by name is found by name. Should the host have replaced it meanwhile, it is one of
// another kind at worst: the sentry could have walked to that as well.
Status FileService::Mkdir(Operation& op) {
  if (nodes_.full()) return Errno(ENFILE);
  // mkdir(2) itself ignores the set-ID bits.
  TRY(Checked(mkdirat(op.node->fd, op.names[0], op.request.mode & kModeBits)));
  return AnswerNewFile(op, AddChild(*op.node, op.names[0]), AT_REMOVEDIR);
}

Status FileService::Mknod(Operation& op) {
  const uint32_t type = op.request.mode & S_IFMT;
  // A socket made so is a name that leads nowhere on the host.
  if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK) return Errno(EPERM);
  if (nodes_.full()) return Errno(ENFILE);
  TRY(Checked(mknodat(op.node->fd, op.names[0], type | (op.request.mode & kModeBits), 0)));
  return AnswerNewFile(op, AddChild(*op.node, op.names[0]), 0);
}

Status FileService::Symlink(Operation& op) {
  if (nodes_.full()) return Errno(ENFILE);
  if (strlen(op.names[1]) >= kMaxPath) return Errno(ENAMETOOLONG);
  TRY(Checked(symlinkat(op.names[1], op.node->fd, op.names[0])));
  return AnswerNewFile(op, AddChild(*op.node, op.names[0]), 0);
}

Result<Node*> FileService::SecondDirectory(const Operation& op) const {
  Node* node = TRY(nodes_.Get(op.request.node2));  // In an export without names.
  if (!S_ISDIR(node->type)) return Errno(ENOTDIR);
  // Also what keeps a read-only file from appearing in a writable tree.
  if (node->export_index != op.node->export_index) return Errno(EXDEV);
  return node;
}

Status FileService::Link(Operation& op) {
  const Node* directory = TRY(SecondDirectory(op));
  if (S_ISDIR(op.node->type)) return Errno(EPERM);
  // By way of /proc/self/fd: AT_EMPTY_PATH wants CAP_DAC_READ_SEARCH. The link followed is the
  // kernel's own, so that a symlink is linked itself.
  TRY(Checked(linkat(AT_FDCWD, FdPath(op.node->fd).c_str(), directory->fd, op.names[0],
                     AT_SYMLINK_FOLLOW)));
  op.response.attr = TRY(Stat(op.node->fd));
  return kOk;
}

Status FileService::Unlink(Operation& op) {
  if ((op.request.flags & ~uint32_t{AT_REMOVEDIR}) != 0) return Errno(EINVAL);
  return Checked(unlinkat(op.node->fd, op.names[0], static_cast<int>(op.request.flags)));
}

Status FileService::Rename(Operation& op) {
  if ((op.request.flags & ~uint32_t{RENAME_NOREPLACE | RENAME_EXCHANGE}) != 0) {
    return Errno(EINVAL);
  }
  const Node* directory = TRY(SecondDirectory(op));
  // Not through the C library, which makes another call of it when there are no flags.
  return Checked(static_cast<int>(syscall(SYS_renameat2, op.node->fd, op.names[0], directory->fd,
                                          op.names[1], op.request.flags)));
}

Status FileService::SetXattr(Operation& op) {
  if (!MayWriteXattr(op.names[0])) return Errno(EPERM);
  const size_t size = op.request.value_size;
  if (size > op.value.size()) return Errno(EINVAL);
  if (size > kMaxXattrValue) return Errno(E2BIG);
  const int flags = static_cast<int>(op.request.flags);
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) return Errno(EINVAL);
  return Checked(setxattr(FdPath(op.node->fd).c_str(), op.names[0], op.value.data(), size, flags));
}

Status FileService::RemoveXattr(Operation& op) {
  if (!MayWriteXattr(op.names[0])) return Errno(EPERM);
  return Checked(removexattr(FdPath(op.node->fd).c_str(), op.names[0]));
}

}  // namespace gofer
