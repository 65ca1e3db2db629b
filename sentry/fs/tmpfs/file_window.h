// The pages of a memfd, mapped into the sentry.
#ifndef SENTRY_FS_TMPFS_FILE_WINDOW_H_
#define SENTRY_FS_TMPFS_FILE_WINDOW_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace sentry {

// A shared mapping of a memfd from its start on. Touching what lies behind the end of the file is
// SIGBUS, and touching a hole fills it: the owner knows which part it may use. Not thread-safe. At
// most kMost exist at a time (a mapping each; the host has 65,530 for a process).
class FileWindow {
 public:
  static constexpr int kMost = 1024;

  // At least `size` bytes, which may be more than the file has. nullptr when there are too many or
  // the host refuses.
  static std::unique_ptr<FileWindow> Map(int memfd, uint64_t size);
  FileWindow(const FileWindow&) = delete;
  ~FileWindow();

  std::span<std::byte> bytes() const { return {start_, size_}; }
  // Makes it at least that large; what is mapped may move. False when the host refuses.
  bool Grow(uint64_t size);

 private:
  FileWindow(std::byte* start, size_t size) : start_(start), size_(size) {}

  std::byte* start_;
  size_t size_;
};

}  // namespace sentry

#endif  // SENTRY_FS_TMPFS_FILE_WINDOW_H_
