// What a descriptor of the host refers to.
#ifndef PLATFORM_NATIVE_HOST_FILE_H_
#define PLATFORM_NATIVE_HOST_FILE_H_

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>
#include <optional>

namespace platform::native {

// Two descriptors with the same are the same to who maps them.
struct HostFileId {
  uint64_t dev = 0;
  uint64_t ino = 0;
  int access = 0;  // O_ACCMODE.
  bool operator==(const HostFileId&) const = default;
};

inline std::optional<HostFileId> IdentifyHostFile(int fd) {
  struct stat stat;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fstat(fd, &stat) != 0) return std::nullopt;
  return HostFileId{.dev = stat.st_dev, .ino = stat.st_ino, .access = flags & O_ACCMODE};
}

}  // namespace platform::native

#endif  // PLATFORM_NATIVE_HOST_FILE_H_
