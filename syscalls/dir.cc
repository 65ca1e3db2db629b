#include "syscalls/dir.h"

#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "syscalls/common.h"

namespace syscalls {
namespace {

// More than any C library asks for at once; a bigger buffer is filled in part.
constexpr size_t kMaxChunk = 256 << 10;

size_t RoundUp(size_t n) { return (n + 7) & ~size_t{7}; }

// Collects records in the layout of one of the two calls.
class Records {
 public:
  enum class Layout : uint8_t { kOld, k64 };
  Records(Layout layout, size_t capacity) : layout_(layout), capacity_(capacity) {}

  // False when the entry does not fit any more.
  bool Add(const sentry::DirEntry& entry) {
    const size_t header = layout_ == Layout::k64 ? sizeof(abi::DirentHeader64)
                                                 : sizeof(abi::DirentHeader);
    // The old layout keeps the type in the last byte.
    const size_t tail = layout_ == Layout::k64 ? 1 : 2;
    const size_t length = RoundUp(header + entry.name.size() + tail);
    if (length > capacity_ - bytes_.size()) return false;
    const size_t at = bytes_.size();
    bytes_.resize(at + length);  // Zeroes, the NUL among them.
    std::byte* record = bytes_.data() + at;
    if (layout_ == Layout::k64) {
      const abi::DirentHeader64 fixed{entry.ino, entry.next, static_cast<uint16_t>(length),
                                      entry.type};
      memcpy(record, &fixed, sizeof(fixed));
    } else {
      const abi::DirentHeader fixed{entry.ino, static_cast<uint64_t>(entry.next),
                                    static_cast<uint16_t>(length)};
      memcpy(record, &fixed, sizeof(fixed));
      record[length - 1] = std::byte{entry.type};
    }
    memcpy(record + header, entry.name.data(), entry.name.size());
    return true;
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  const Layout layout_;
  const size_t capacity_;
  std::vector<std::byte> bytes_;
};

Result<int64_t> ReadEntries(Task& task, Fd fd, UserAddr buffer, uint32_t size,
                            Records::Layout layout) {
  const Ref<File> file = TRY(GetFile(task, fd));
  if (!S_ISDIR(TRY(file->inode().GetAttributes()).mode)) return Errno(ENOTDIR);
  Records records(layout, std::min<size_t>(size, kMaxChunk));
  bool too_small = false;
  TRY(file->ReadDir([&](const sentry::DirEntry& entry) {
    const bool added = records.Add(entry);
    too_small = !added && records.bytes().empty();
    return added;
  }));
  sentry::notify::OnFile(*file, IN_ACCESS);
  if (too_small) return Errno(EINVAL);
  TRY(task.mem().WriteBytes(buffer, records.bytes()));
  return static_cast<int64_t>(records.bytes().size());
}

}  // namespace

Result<int64_t> Getdents(Task& task, Fd fd, UserAddr buffer, uint32_t size) {
  return ReadEntries(task, fd, buffer, size, Records::Layout::kOld);
}

Result<int64_t> Getdents64(Task& task, Fd fd, UserAddr buffer, uint32_t size) {
  return ReadEntries(task, fd, buffer, size, Records::Layout::k64);
}

}  // namespace syscalls
