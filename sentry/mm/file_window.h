// The pages of a file of the host, mapped into the sentry.
#ifndef SENTRY_MM_FILE_WINDOW_H_
#define SENTRY_MM_FILE_WINDOW_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace sentry {

// A shared mapping of a file from its start on. Touching what lies behind the end of the file is
// SIGBUS, as is an error of the host's disk, and touching a hole for writing fills it: the owner
// knows which part it may use, and leaves what others may cut to IoDst::CopyOutMapped and the like.
// Not thread-safe. At most kMost exist at a time (a mapping each; the host has 65,530 for a
// process).
class FileWindow {
 public:
  static constexpr int kMost = 1024;
  enum class For : bool { kReading, kWriting };

  // At least `size` bytes, which may be more than the file has. nullptr when there are too many or
  // the host refuses.
  static std::unique_ptr<FileWindow> Map(int fd, uint64_t size, For use);
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

#endif  // SENTRY_MM_FILE_WINDOW_H_
