#include "syscalls/xattr.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <linux/xattr.h>
#include <sys/xattr.h>

#include <span>
#include <string>

#include "syscalls/common.h"

namespace syscalls {
namespace {

Result<Target> Find(Task& task, UserCString path, Follow follow) {
  return ResolveAt(task, sentry::kAtFdCwd, path, 0, follow);
}

Result<Target> Find(Task& task, Fd fd) { return TargetOf(*TRY(GetFile(task, fd))); }

Result<std::string> ReadName(Task& task, UserCString user) {
  Result<std::string> name = task.mem().ReadString(user, XATTR_NAME_MAX + 1);
  if (!name.ok() && name.error() == Errno(ENAMETOOLONG)) return Errno(ERANGE);
  if (name.ok() && name->empty()) return Errno(ERANGE);
  return name;
}

// The rule of the three reading calls: a size of 0 only asks for the length.
Result<int64_t> CopyOut(Task& task, std::string_view bytes, UserAddr to, uint64_t size) {
  if (size == 0) return static_cast<int64_t>(bytes.size());
  if (bytes.size() > size) return Errno(ERANGE);
  TRY(task.mem().WriteBytes(to, std::as_bytes(std::span(bytes))));
  return static_cast<int64_t>(bytes.size());
}

// Pipes, sockets and the like have none: what xattr_permission() of Linux says of user.*.
Errno WithoutXattrs(std::string_view name, Errno hidden) {
  return name.starts_with(XATTR_USER_PREFIX) ? hidden : Errno(EOPNOTSUPP);
}

Status Set(Task& task, const Target& target, UserCString user_name, UserAddr value, uint64_t size,
           int flags) {
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) return Errno(EINVAL);
  const std::string name = TRY(ReadName(task, user_name));
  if (size > XATTR_SIZE_MAX) return Errno(E2BIG);
  std::string bytes(size, '\0');
  TRY(task.mem().ReadBytes(value, std::as_writable_bytes(std::span(bytes))));
  if (!target.path.dentry) return WithoutXattrs(name, Errno(EPERM));
  return task.vfs().SetXattr(task.walk_context(), target.path, name, bytes, flags);
}

Result<int64_t> Get(Task& task, const Target& target, UserCString user_name, UserAddr value,
                    uint64_t size) {
  const std::string name = TRY(ReadName(task, user_name));
  if (!target.path.dentry) return WithoutXattrs(name, Errno(ENODATA));
  const std::string bytes = TRY(task.vfs().GetXattr(task.walk_context(), target.path, name));
  return CopyOut(task, bytes, value, size);
}

Result<int64_t> List(Task& task, const Target& target, UserAddr list, uint64_t size) {
  if (!target.path.dentry) return 0;
  std::string names;
  for (const std::string& name : TRY(task.vfs().ListXattr(task.walk_context(), target.path))) {
    names.append(name).push_back('\0');
  }
  return CopyOut(task, names, list, size);
}

Status Remove(Task& task, const Target& target, UserCString user_name) {
  const std::string name = TRY(ReadName(task, user_name));
  if (!target.path.dentry) return WithoutXattrs(name, Errno(EPERM));
  return task.vfs().RemoveXattr(task.walk_context(), target.path, name);
}

}  // namespace

Status Setxattr(Task& task, UserCString path, UserCString name, UserAddr value, uint64_t size,
                int flags) {
  return Set(task, TRY(Find(task, path, Follow::kYes)), name, value, size, flags);
}
Status Lsetxattr(Task& task, UserCString path, UserCString name, UserAddr value, uint64_t size,
                 int flags) {
  return Set(task, TRY(Find(task, path, Follow::kNo)), name, value, size, flags);
}
Status Fsetxattr(Task& task, Fd fd, UserCString name, UserAddr value, uint64_t size, int flags) {
  return Set(task, TRY(Find(task, fd)), name, value, size, flags);
}

Result<int64_t> Getxattr(Task& task, UserCString path, UserCString name, UserAddr value,
                         uint64_t size) {
  return Get(task, TRY(Find(task, path, Follow::kYes)), name, value, size);
}
Result<int64_t> Lgetxattr(Task& task, UserCString path, UserCString name, UserAddr value,
                          uint64_t size) {
  return Get(task, TRY(Find(task, path, Follow::kNo)), name, value, size);
}
Result<int64_t> Fgetxattr(Task& task, Fd fd, UserCString name, UserAddr value, uint64_t size) {
  return Get(task, TRY(Find(task, fd)), name, value, size);
}

Result<int64_t> Listxattr(Task& task, UserCString path, UserAddr list, uint64_t size) {
  return List(task, TRY(Find(task, path, Follow::kYes)), list, size);
}
Result<int64_t> Llistxattr(Task& task, UserCString path, UserAddr list, uint64_t size) {
  return List(task, TRY(Find(task, path, Follow::kNo)), list, size);
}
Result<int64_t> Flistxattr(Task& task, Fd fd, UserAddr list, uint64_t size) {
  return List(task, TRY(Find(task, fd)), list, size);
}

Status Removexattr(Task& task, UserCString path, UserCString name) {
  return Remove(task, TRY(Find(task, path, Follow::kYes)), name);
}
Status Lremovexattr(Task& task, UserCString path, UserCString name) {
  return Remove(task, TRY(Find(task, path, Follow::kNo)), name);
}
Status Fremovexattr(Task& task, Fd fd, UserCString name) {
  return Remove(task, TRY(Find(task, fd)), name);
}

namespace {

constexpr uint64_t kXattrArgsSize = sizeof(abi::XattrArgs);  // XATTR_ARGS_SIZE_VER0.

Result<Target> FindAt(Task& task, Fd dirfd, UserCString path, uint32_t at_flags) {
  if ((at_flags & ~static_cast<uint32_t>(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) != 0) {
    return Errno(EINVAL);
  }
  const Target target = TRY(ResolveAt(task, dirfd, path, at_flags, Follow::kYes));
  return target;
}

Result<abi::XattrArgs> ReadArgs(Task& task, UserAddr args, uint64_t size) {
  if (size < kXattrArgsSize) return Errno(EINVAL);
  return ReadGrowing<abi::XattrArgs>(task, args, size);
}

}  // namespace

Status Setxattrat(Task& task, Fd dirfd, UserCString path, uint32_t at_flags, UserCString name,
                  UserAddr user_args, uint64_t size) {
  const abi::XattrArgs args = TRY(ReadArgs(task, user_args, size));
  const Target target = TRY(FindAt(task, dirfd, path, at_flags));
  return Set(task, target, name, UserAddr{args.value}, args.size, static_cast<int>(args.flags));
}

Result<int64_t> Getxattrat(Task& task, Fd dirfd, UserCString path, uint32_t at_flags,
                           UserCString name, UserAddr user_args, uint64_t size) {
  const abi::XattrArgs args = TRY(ReadArgs(task, user_args, size));
  if (args.flags != 0) return Errno(EINVAL);
  const Target target = TRY(FindAt(task, dirfd, path, at_flags));
  return Get(task, target, name, UserAddr{args.value}, args.size);
}

Result<int64_t> Listxattrat(Task& task, Fd dirfd, UserCString path, uint32_t at_flags,
                            UserAddr list, uint64_t size) {
  return List(task, TRY(FindAt(task, dirfd, path, at_flags)), list, size);
}

Status Removexattrat(Task& task, Fd dirfd, UserCString path, uint32_t at_flags, UserCString name) {
  return Remove(task, TRY(FindAt(task, dirfd, path, at_flags)), name);
}

}  // namespace syscalls
