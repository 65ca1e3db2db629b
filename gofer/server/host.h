// The host calls that need more than a line. None of them follows a symlink or `..`.
#ifndef GOFER_SERVER_HOST_H_
#define GOFER_SERVER_HOST_H_

#include <charconv>
#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/messages.h"

namespace gofer {

// The path of a descriptor relative to /proc/self/fd, which is the gofer's working directory: for
// calls that want a path, or an open file made from an O_PATH descriptor, whatever the file is
// called by now.
class FdPath {
 public:
  explicit FdPath(int fd) { *std::to_chars(text_, text_ + sizeof(text_) - 1, fd).ptr = '\0'; }
  const char* c_str() const { return text_; }

 private:
  char text_[12];
};

// The file `name` in `directory` as an O_PATH descriptor: the symlink itself if it is one.
// Requires: `name` is a single component.
Result<UniqueFd> OpenPath(int directory, const char* name);
// A new regular file. Requires: `name` is a single component.
// A new file of `directory` without a name (O_TMPFILE), open for reading and writing. Where the
// filesystem has no such files (EOPNOTSUPP, EISDIR) it has a name for a moment.
Result<UniqueFd> CreateUnnamed(int directory);
Result<UniqueFd> CreateExclusive(int directory, const char* name, int flags, uint32_t mode);
// Opens the file behind an O_PATH descriptor. Must not be a symlink.
Result<UniqueFd> Reopen(int path_fd, int flags);

Result<Attr> Stat(int fd);
// Of an entry in a directory being read.
Result<Attr> StatAt(int directory, const char* name);
Result<StatFs> StatFileSystem(int fd);

// The outcome of a call that returns -1 for an error.
inline Status Checked(long result) { return result < 0 ? Status(Errno::Last()) : kOk; }

}  // namespace gofer

#endif  // GOFER_SERVER_HOST_H_
