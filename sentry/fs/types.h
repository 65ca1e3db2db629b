// Small types of the file layer.
#ifndef SENTRY_FS_TYPES_H_
#define SENTRY_FS_TYPES_H_

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include <cstdint>
#include <optional>
#include <string>

namespace sentry {

enum class Fd : int {};
inline constexpr Fd kAtFdCwd{AT_FDCWD};

// open(2) flags.
class OpenFlags {
 public:
  constexpr OpenFlags() = default;
  constexpr explicit OpenFlags(uint32_t raw) : raw_(raw) {}
  constexpr uint32_t raw() const { return raw_; }
  constexpr bool has(uint32_t flag) const { return (raw_ & flag) == flag; }
  constexpr bool readable() const { return !has(O_PATH) && (raw_ & O_ACCMODE) != O_WRONLY; }
  constexpr bool writable() const {
    return !has(O_PATH) && ((raw_ & O_ACCMODE) == O_WRONLY || (raw_ & O_ACCMODE) == O_RDWR);
  }
  constexpr OpenFlags With(uint32_t flag) const { return OpenFlags(raw_ | flag); }
  constexpr OpenFlags Without(uint32_t flag) const { return OpenFlags(raw_ & ~flag); }

 private:
  uint32_t raw_ = 0;
};

// What stat(2) and statx(2) report of an inode.
struct Attributes {
  uint64_t dev = 0;
  uint64_t ino = 0;
  uint32_t mode = 0;  // S_IF* and permission bits.
  uint32_t nlink = 1;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t rdev = 0;
  uint64_t size = 0;
  uint64_t blocks = 0;  // Of 512 bytes.
  uint32_t blksize = 4096;
  timespec atime{}, mtime{}, ctime{}, btime{};
};

// What chmod, chown, truncate and utimensat change. Absent members stay. A time with tv_nsec
// UTIME_NOW means the current time; Vfs::SetAttributes replaces it and applies the laxer permission
// rule for it, so that inodes only see real times.
struct AttributeChange {
  std::optional<uint32_t> mode;  // Permission bits only.
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<uint64_t> size;
  std::optional<timespec> atime;
  std::optional<timespec> mtime;
};

struct FilesystemStats {  // statfs(2).
  uint64_t type = 0, bsize = 4096, blocks = 0, bfree = 0, bavail = 0, files = 0, ffree = 0;
  uint64_t namelen = 255, flags = 0;
};

// CLOCK_REALTIME as files are stamped with it: coarse, as in Linux.
timespec FileTime();

// One entry handed out by File::ReadDir.
struct DirEntry {
  std::string name;
  uint64_t ino = 0;
  uint8_t type = 0;  // DT_*.
  int64_t next = 0;  // Position behind this entry, for lseek.
};

}  // namespace sentry

#endif  // SENTRY_FS_TYPES_H_
