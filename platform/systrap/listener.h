// The sentry's end of seccomp notifications.
#ifndef PLATFORM_SYSTRAP_LISTENER_H_
#define PLATFORM_SYSTRAP_LISTENER_H_

#include <linux/seccomp.h>

#include <atomic>
#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace platform::systrap {

// Thread-safe. One for all stubs of a zygote: they inherit its filter, and so its listener.
class Listener {
 public:
  explicit Listener(UniqueFd fd) : fd_(std::move(fd)) {}
  // ENOSYS or EINVAL where the host's structures have other sizes than ours.
  Status Prepare() const;

  // Blocks. ENOENT when the caller of the notification died meanwhile, EINTR.
  Result<seccomp_notif> Receive() const;
  // True when Receive would not block, at the latest after `timeout_ms`.
  bool Wait(int timeout_ms) const;
  bool IsValid(uint64_t id) const;
  // Whether callers that are answered go on on the core of who answers, as at first, or where the
  // host's scheduler sees fit. A hint.
  void AnswerHere(bool here) const;

  // Failures mean that the caller is gone, which its reaping will tell: they are not reported.
  void Reply(uint64_t id, int64_t value) const;
  void Continue(uint64_t id) const;
  // Makes `host_fd` visible as `guest_fd` in the caller, replacing what was there.
  Status Inject(uint64_t id, int host_fd, int guest_fd) const;

 private:
  UniqueFd fd_;
  mutable std::atomic<bool> here_{true};
};

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_LISTENER_H_
