#include "platform/systrap/listener.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "base/log.h"

namespace platform::systrap {
namespace {

// Linux 6.6: hand over on the caller's core. Not in Debian 12's headers.
constexpr uint64_t kSetFlags = _IOW('!', 4, uint64_t);  // SECCOMP_IOCTL_NOTIF_SET_FLAGS
constexpr uint64_t kSyncWakeUp = 1;                     // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP

}  // namespace

Status Listener::Prepare() const {
  seccomp_notif_sizes sizes;
  if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) return Errno::Last();
  if (sizes.seccomp_notif != sizeof(seccomp_notif) ||
      sizes.seccomp_notif_resp != sizeof(seccomp_notif_resp)) {
    return Errno(EINVAL);
  }
  if (ioctl(fd_.get(), kSetFlags, kSyncWakeUp) != 0) {
    LOG_DEBUG("no synchronous wake-ups for seccomp notifications: calls will be slower");
  }
  return kOk;
}

Result<seccomp_notif> Listener::Receive() const {
  seccomp_notif notification{};
  if (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, &notification) != 0) return Errno::Last();
  return notification;
}

bool Listener::Wait(int timeout_ms) const {
  pollfd entry{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  return poll(&entry, 1, timeout_ms) == 1 && (entry.revents & POLLIN) != 0;
}

bool Listener::IsValid(uint64_t id) const {
  return ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

void Listener::AnswerHere(bool here) const {
  if (here == here_.exchange(here, std::memory_order_relaxed)) return;
  ioctl(fd_.get(), kSetFlags, here ? kSyncWakeUp : 0);
}

void Listener::Reply(uint64_t id, int64_t value) const {
  seccomp_notif_resp response{};
  response.id = id;
  // The kernel takes negative errors apart from values, which may be any 64 bits.
  if (value < 0 && value >= -4095) {
    response.error = static_cast<int32_t>(value);
  } else {
    response.val = value;
  }
  ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
}

void Listener::Continue(uint64_t id) const {
  seccomp_notif_resp response{};
  response.id = id;
  response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
}

Status Listener::Inject(uint64_t id, int host_fd, int guest_fd) const {
  seccomp_notif_addfd request{};
  request.id = id;
  request.flags = SECCOMP_ADDFD_FLAG_SETFD;
  request.srcfd = static_cast<uint32_t>(host_fd);
  request.newfd = static_cast<uint32_t>(guest_fd);
  if (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request) < 0) return Errno::Last();
  return kOk;
}

}  // namespace platform::systrap
