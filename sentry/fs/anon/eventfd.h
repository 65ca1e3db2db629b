// eventfd(2).
#ifndef SENTRY_FS_ANON_EVENTFD_H_
#define SENTRY_FS_ANON_EVENTFD_H_

#include <cstdint>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/file.h"

namespace sentry {

class EventFile final : public File {
 public:
  static constexpr char kKind = 0;
  enum class Mode : uint8_t { kCounter, kSemaphore };

  EventFile(uint64_t count, Mode mode, OpenFlags flags);

  Result<size_t> Read(IoDst& dst) override;
  Result<size_t> Write(IoSrc& src) override;
  Result<int64_t> Seek(int64_t offset, int whence) override { return 0; }  // noop_llseek().
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &queue_; }
  std::string AnonymousName() const override { return "anon_inode:[eventfd]"; }
  const void* kind() const override { return &kKind; }

  // The lines in /proc/PID/fdinfo.
  std::string FdInfo() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Result<uint64_t> Take() ABSL_LOCKS_EXCLUDED(mu_);
  Status Put(uint64_t value) ABSL_LOCKS_EXCLUDED(mu_);

  const Mode mode_;
  const uint32_t id_;
  absl::Mutex mu_;
  uint64_t count_ ABSL_GUARDED_BY(mu_);
  WaitQueue queue_;
};

// `flags`: EFD_SEMAPHORE, EFD_NONBLOCK; EFD_CLOEXEC is accepted and for the caller. EINVAL
// otherwise.
Result<Ref<File>> CreateEventFd(uint32_t count, int flags);

}  // namespace sentry

#endif  // SENTRY_FS_ANON_EVENTFD_H_
