#include "gofer/server/host.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string>

namespace gofer {

namespace {

constexpr uint64_t kResolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;

Result<UniqueFd> OpenBeneath(int directory, const char* name, const open_how& how) {
  const long fd = syscall(SYS_openat2, directory, name, &how, sizeof(how));
  if (fd < 0) return Errno::Last();
  return UniqueFd(static_cast<int>(fd));
}

Time FromHost(const statx_timestamp& time) {
  return {.seconds = time.tv_sec, .nanoseconds = time.tv_nsec};
}

Result<Attr> Statx(int fd, const char* name, int flags) {
  struct statx st;
  if (statx(fd, name, flags | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
            STATX_BASIC_STATS | STATX_BTIME, &st) != 0) {
    return Errno::Last();
  }
  Attr attr{
      .ino = st.stx_ino,
      .dev = makedev(st.stx_dev_major, st.stx_dev_minor),
      .rdev = makedev(st.stx_rdev_major, st.stx_rdev_minor),
      .size = st.stx_size,
      .blocks = st.stx_blocks,
      .mode = st.stx_mode,
      .uid = st.stx_uid,
      .gid = st.stx_gid,
      .nlink = st.stx_nlink,
      .blksize = st.stx_blksize,
      .atime = FromHost(st.stx_atime),
      .mtime = FromHost(st.stx_mtime),
      .ctime = FromHost(st.stx_ctime),
  };
  if ((st.stx_mask & STATX_BTIME) != 0) attr.btime = FromHost(st.stx_btime);
  return attr;
}

}  // namespace

Result<UniqueFd> OpenPath(int directory, const char* name) {
  return OpenBeneath(directory, name,
                     {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .mode = 0, .resolve = kResolve});
}

Result<UniqueFd> CreateExclusive(int directory, const char* name, int flags, uint32_t mode) {
  const auto all = static_cast<uint32_t>(flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC);
  return OpenBeneath(directory, name, {.flags = all, .mode = mode, .resolve = kResolve});
}

Result<UniqueFd> CreateUnnamed(int directory) {
  // Everybody may open it again who has a descriptor of it: mappings for reading only need that.
  constexpr uint32_t kMode = 0666;
  constexpr auto kFlags = static_cast<uint32_t>(O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC);
  Result<UniqueFd> fd =
      OpenBeneath(directory, ".", {.flags = kFlags, .mode = kMode, .resolve = kResolve});
  if (fd.ok() || (fd.error() != Errno(EOPNOTSUPP) && fd.error() != Errno(EISDIR))) return fd;
  static uint64_t next = 0;  // The server has one thread.
  for (int i = 0; i < 1000; ++i) {
    const std::string name = ".sandbox.filestore." + std::to_string(next++);
    fd = CreateExclusive(directory, name.c_str(), O_RDWR, kMode);
    if (fd.ok()) unlinkat(directory, name.c_str(), 0);
    if (fd.ok() || fd.error() != Errno(EEXIST)) break;
  }
  return fd;
}

Result<UniqueFd> Reopen(int path_fd, int flags) {
  const int fd = openat(AT_FDCWD, FdPath(path_fd).c_str(), flags | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) return Errno::Last();
  return UniqueFd(fd);
}

Result<Attr> Stat(int fd) { return Statx(fd, "", AT_EMPTY_PATH); }
Result<Attr> StatAt(int directory, const char* name) { return Statx(directory, name, 0); }

Result<StatFs> StatFileSystem(int fd) {
  struct statfs st;
  if (fstatfs(fd, &st) != 0) return Errno::Last();
  return StatFs{
      .type = static_cast<uint64_t>(st.f_type),
      .block_size = static_cast<uint64_t>(st.f_bsize),
      .blocks = st.f_blocks,
      .blocks_free = st.f_bfree,
      .blocks_available = st.f_bavail,
      .files = st.f_files,
      .files_free = st.f_ffree,
      .name_length = static_cast<uint64_t>(st.f_namelen),
      .fragment_size = static_cast<uint64_t>(st.f_frsize),
      .flags = static_cast<uint64_t>(st.f_flags),
  };
}

}  // namespace gofer
