// signalfd(2).
#ifndef SENTRY_FS_ANON_SIGNALFD_H_
#define SENTRY_FS_ANON_SIGNALFD_H_

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "sentry/fs/file.h"
#include "sentry/task/signal.h"
#include "sentry/task/thread_group.h"

namespace sentry {

class Task;

// Reads signals pending for the process that made it, or for its threads. Linux takes those of
// whoever reads, which differs only when a child uses a descriptor made by its parent.
class SignalFile final : public File {
 public:
  static constexpr char kKind = 0;

  SignalFile(Ref<ThreadGroup> group, SignalSet mask, OpenFlags flags);

  // signalfd4(2) with an existing descriptor.
  void set_mask(SignalSet mask);

  // As many signalfd_siginfo as there are and as fit. EINVAL for less room than one, EAGAIN.
  Result<size_t> Read(IoDst& dst) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &group_->signal_events; }
  std::string AnonymousName() const override { return "anon_inode:[signalfd]"; }
  const void* kind() const override { return &kKind; }

 private:
  SignalSet mask() const { return SignalSet(mask_.load(std::memory_order_relaxed)); }
  bool SeesLocked(const Task& task) const;  // Requires: Kernel::mu() is held.
  std::optional<SignalInfo> Take();

  const Ref<ThreadGroup> group_;
  std::atomic<uint64_t> mask_;
};

// signalfd4(2) with fd -1. `flags`: SFD_NONBLOCK, SFD_CLOEXEC; EINVAL otherwise.
Result<Ref<File>> CreateSignalFd(Task& task, SignalSet mask, int flags);

}  // namespace sentry

#endif  // SENTRY_FS_ANON_SIGNALFD_H_
