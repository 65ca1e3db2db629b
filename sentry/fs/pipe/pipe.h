// Pipes: pipe(7).
#ifndef SENTRY_FS_PIPE_PIPE_H_
#define SENTRY_FS_PIPE_PIPE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"

namespace sentry {

inline constexpr size_t kPipePage = 4096;              // Also PIPE_BUF.
inline constexpr size_t kPipeDefaultCapacity = 65536;  // Bytes.
inline constexpr size_t kPipeMaxCapacity = 1 << 20;    // /proc/sys/fs/pipe-max-size.

// The object between the ends: a queue of pages that are allocated as bytes arrive and freed as
// they leave (one is kept, for a pipe in steady use). Shared by the files of both ends.
class Pipe : public RefCounted {
 public:
  enum End : uint32_t { kRead = 1, kWrite = 2 };

  Pipe() = default;

  // Reads what is there: 0 at the end of the stream (no writers), EAGAIN when empty.
  Result<size_t> Read(IoDst& dst) ABSL_LOCKS_EXCLUDED(mu_);
  // Copies from the front without taking anything out. Answers as Read does.
  Result<size_t> Peek(std::span<std::byte> bytes) const ABSL_LOCKS_EXCLUDED(mu_);
  // Takes what fits; up to PIPE_BUF bytes all or nothing. EAGAIN when full, EPIPE without readers
  // (the write handler raises SIGPIPE). `packet`: each page is read by itself (O_DIRECT).
  Result<size_t> Write(IoSrc& src, bool packet) ABSL_LOCKS_EXCLUDED(mu_);
  uint32_t Poll(uint32_t ends, bool saw_writer) ABSL_LOCKS_EXCLUDED(mu_);
  size_t ReadableBytes() const ABSL_LOCKS_EXCLUDED(mu_);
  size_t WritableBytes() const ABSL_LOCKS_EXCLUDED(mu_);

  size_t capacity() const ABSL_LOCKS_EXCLUDED(mu_);
  // Rounds up to a power of two of pages. EPERM beyond 1 MiB, EBUSY when more is inside, EINVAL.
  Result<size_t> SetCapacity(size_t bytes) ABSL_LOCKS_EXCLUDED(mu_);

  // Counts an end (bits of End) in and out.
  void OpenEnds(uint32_t ends) ABSL_LOCKS_EXCLUDED(mu_);
  void CloseEnds(uint32_t ends) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends ever opened and those open now, for fifos.
  struct Counters {
    uint64_t reader_opens = 0, writer_opens = 0;
    uint32_t readers = 0, writers = 0;
  };
  Counters counters() const ABSL_LOCKS_EXCLUDED(mu_);
  WaitQueue& queue() { return queue_; }

 private:
  struct Page {
    std::unique_ptr<std::byte[]> bytes;
    uint32_t begin = 0, end = 0;
    bool packet = false;
  };
  // Read(); `left`: there are bytes that it has not taken.
  Result<size_t> ReadPieces(IoDst& dst, bool& left) ABSL_LOCKS_EXCLUDED(mu_);
  // Bytes that a write could put in now.
  size_t RoomLocked(bool packet) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PutLocked(std::span<const std::byte> bytes, bool packet) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Fills `bytes` from the front, or with one packet; returns how many bytes.
  size_t TakeLocked(std::span<std::byte> bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Puts bytes back in front that a fault kept from being delivered.
  void PutBackLocked(std::span<const std::byte> bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PopPageLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::unique_ptr<std::byte[]> NewPageLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Never held while bytes are copied from or to the application.
  mutable absl::Mutex mu_;
  std::deque<Page> pages_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<std::byte[]> spare_ ABSL_GUARDED_BY(mu_);
  size_t size_ ABSL_GUARDED_BY(mu_) = 0;  // Bytes inside.
  size_t max_pages_ ABSL_GUARDED_BY(mu_) = kPipeDefaultCapacity / kPipePage;
  Counters counters_ ABSL_GUARDED_BY(mu_);
  WaitQueue queue_;
};

// One open description of a pipe or fifo: either end, or both (a fifo opened O_RDWR).
class PipeFile final : public File {
 public:
  static constexpr char kKind = 0;

  // What an open has to wait for, as counters of the pipe that have to grow.
  struct FifoOpen {
    std::optional<uint64_t> past_reader_opens, past_writer_opens;
    // A nonblocking reader sees no POLLHUP before there was a writer.
    std::optional<uint64_t> quiet_writer_opens;
  };

  // Counts its ends in.
  PipeFile(Ref<Inode> inode, Ref<Pipe> pipe, OpenFlags flags, FifoOpen fifo = {});
  ~PipeFile() override;

  Result<size_t> Read(IoDst& dst) override;
  Result<size_t> Write(IoSrc& src) override;
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;  // FIONREAD.
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &pipe_->queue(); }
  bool WakesOneReader() override { return true; }
  void OnLastClose() override;
  std::string AnonymousName() const override;
  const void* kind() const override { return &kKind; }
  Status FinishOpen() override;

  // fcntl(F_GETPIPE_SZ, F_SETPIPE_SZ).
  Pipe& pipe() { return *pipe_; }

 private:
  const Ref<Pipe> pipe_;
  const uint32_t ends_;
  std::atomic<bool> open_{true};
  const FifoOpen fifo_;
};

// pipe2(2): the read end and the write end. `flags`: O_NONBLOCK, O_DIRECT (O_CLOEXEC is for the
// descriptors). EINVAL for others.
Result<std::pair<Ref<File>, Ref<File>>> CreatePipe(OpenFlags flags);

}  // namespace sentry

#endif  // SENTRY_FS_PIPE_PIPE_H_
