// signalfd(2).
#ifndef SENTRY_FS_ANON_SIGNALFD_H_
#define SENTRY_FS_ANON_SIGNALFD_H_

#include <atomic>
#include <string>

#include "sentry/fs/file.h"
#include "sentry/task/signal.h"

namespace sentry {

class Task;

// Reads the signals pending for a task and its process. Linux takes those of whoever reads; here
// every operation is about the task that asks, as set by the call's handler (see ForTask).
class SignalFile final : public File {
 public:
  static constexpr char kKind = 0;

  SignalFile(Task& creator, SignalSet mask, OpenFlags flags);
  ~SignalFile() override;

  void set_mask(SignalSet mask);
  SignalSet mask() const { return SignalSet(mask_.load(std::memory_order_relaxed)); }

  Result<size_t> Read(IoDst& dst) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override;
  std::string AnonymousName() const override { return "anon_inode:[signalfd]"; }
  const void* kind() const override { return &kKind; }

 private:
  struct State;
  std::atomic<uint64_t> mask_;
  std::unique_ptr<State> state_;
};

// signalfd4(2) with fd -1. `flags`: SFD_NONBLOCK, SFD_CLOEXEC; EINVAL otherwise.
Result<Ref<File>> CreateSignalFd(Task& task, SignalSet mask, int flags);

}  // namespace sentry

#endif  // SENTRY_FS_ANON_SIGNALFD_H_
