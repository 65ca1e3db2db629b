// Whom a description tells of readiness: fcntl(F_SETOWN), F_SETSIG and O_ASYNC.
#ifndef SENTRY_TASK_ASYNC_IO_H_
#define SENTRY_TASK_ASYNC_IO_H_

#include <poll.h>

#include <atomic>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/fs/wait_queue.h"
#include "sentry/task/kernel.h"
#include "sentry/time/timer_queue.h"

namespace sentry {

// Held by its description from the first such fcntl(2) on. Thread-safe. Events come under locks
// under which no signal can be sent: the alarm clock's thread sends it.
class AsyncIo final : public Alarm, public FileOwner, private WaitListener {
 public:
  enum class Kind : int32_t { kThread = 0, kProcess = 1, kGroup = 2 };  // F_OWNER_*.

  // That of the file, made if it has none yet.
  static Ref<AsyncIo> Of(Kernel& kernel, File& file);
  // After a change of O_ASYNC through `fd`.
  static void FollowFlag(Kernel& kernel, File& file, Fd fd);
  // Empty without one.
  static Ref<AsyncIo> Find(File& file);

  // Who is told, with the rights of `creds`; `id` 0 is nobody. ESRCH.
  Status SetOwner(Kind kind, Pid id, const Credentials& creds) ABSL_LOCKS_EXCLUDED(mu_);
  struct Owner {
    Kind kind = Kind::kProcess;
    Pid id = 0;  // 0 when it has ended.
  };
  Owner owner() ABSL_LOCKS_EXCLUDED(mu_);
  // 0: SIGIO without details.
  void set_signal(int signal) { signal_.store(signal, std::memory_order_relaxed); }
  int signal() const { return signal_.load(std::memory_order_relaxed); }
  // O_ASYNC through descriptor `fd`, which signals name.
  void Enable(File& file, Fd fd) ABSL_LOCKS_EXCLUDED(mu_);
  void Disable() ABSL_LOCKS_EXCLUDED(mu_);

  // Sockets, O_ASYNC or not: SIGURG to the owner when urgent data arrives (POLLPRI).
  void FollowUrgent(File& file) ABSL_LOCKS_EXCLUDED(mu_);

  void OnFileClosed() override ABSL_LOCKS_EXCLUDED(mu_);
  void OnAlarm() override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  explicit AsyncIo(Kernel& kernel) : kernel_(kernel) {}
  class UrgentListener final : public WaitListener {
   public:
    explicit UrgentListener(AsyncIo& async) : async_(async) {}
    void OnReady(uint32_t events) override { async_.Tell(events & POLLPRI); }

   private:
    AsyncIo& async_;
  };

  void OnReady(uint32_t events) override;
  void Tell(uint32_t events);
  void Send(uint32_t event, int code) ABSL_LOCKS_EXCLUDED(mu_);
  void SendToOwner(const SignalInfo& info) ABSL_LOCKS_EXCLUDED(mu_);
  bool Exists(const Owner& owner);

  Kernel& kernel_;
  std::atomic<int> signal_{0};
  std::atomic<uint32_t> pending_{0};  // POLLIN, POLLOUT, POLLPRI: not told yet.
  UrgentListener urgent_{*this};
  absl::Mutex mu_;
  Owner owner_ ABSL_GUARDED_BY(mu_);
  uint32_t uid_ ABSL_GUARDED_BY(mu_) = 0, euid_ ABSL_GUARDED_BY(mu_) = 0;
  WaitQueue* queue_ ABSL_GUARDED_BY(mu_) = nullptr;
  WaitQueue* urgent_queue_ ABSL_GUARDED_BY(mu_) = nullptr;
  int fd_ ABSL_GUARDED_BY(mu_) = -1;
};

}  // namespace sentry

#endif  // SENTRY_TASK_ASYNC_IO_H_
