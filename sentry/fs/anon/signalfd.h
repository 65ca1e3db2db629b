// signalfd(2).
#ifndef SENTRY_FS_ANON_SIGNALFD_H_
#define SENTRY_FS_ANON_SIGNALFD_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "sentry/fs/file.h"
#include "sentry/task/signal.h"

namespace sentry {

class Kernel;
class Task;

// Reads the signals of whoever reads: those of the calling thread and of its process.
class SignalFile final : public File {
 public:
  static constexpr char kKind = 0;

  SignalFile(Kernel& kernel, SignalSet mask, OpenFlags flags);

  // signalfd4(2) with an existing descriptor.
  void set_mask(SignalSet mask);

  // As many signalfd_siginfo as there are and as fit. EINVAL for less room than one, EAGAIN.
  Result<size_t> Read(IoDst& dst) override;
  uint32_t Poll() override;
  // One for all, since who reads may change.
  Result<int64_t> Seek(int64_t offset, int whence) override { return 0; }  // noop_llseek().
  WaitQueue* wait_queue() override;
  std::string AnonymousName() const override { return "anon_inode:[signalfd]"; }
  // The line in /proc/PID/fdinfo.
  std::string FdInfo();
  const void* kind() const override { return &kKind; }

 private:
  SignalSet mask() const { return SignalSet(mask_.load(std::memory_order_relaxed)); }

  Kernel& kernel_;
  std::atomic<uint64_t> mask_;
};

// signalfd4(2) with fd -1. `flags`: SFD_NONBLOCK, SFD_CLOEXEC; EINVAL otherwise.
Result<Ref<File>> CreateSignalFd(Task& task, SignalSet mask, int flags);

}  // namespace sentry

#endif  // SENTRY_FS_ANON_SIGNALFD_H_
