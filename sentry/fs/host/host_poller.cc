#include "sentry/fs/host/host_poller.h"

#include <sys/epoll.h>

#include <array>

#include "base/detached_thread.h"

namespace sentry {
namespace {

// epoll(7) and poll(2) share the numbers of the events that matter here.
constexpr uint32_t kPollable = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP;

}  // namespace

HostPoller& HostPoller::Get() {
  static auto* const poller = new HostPoller;
  return *poller;
}

Status HostPoller::Arm(int host_fd, WaitQueue& queue, uint32_t events) {
  absl::MutexLock lock(&mu_);
  TRY(StartLocked());
  const auto [it, fresh] = watches_.try_emplace(host_fd, Watch{.queue = &queue});
  Watch& watch = it->second;
  const uint32_t wanted = watch.armed | (events & kPollable);
  const bool edges = watch.edges || (events & EPOLLET) != 0;
  if (!fresh && wanted == watch.armed && edges == watch.edges) return kOk;
  // Arming tells anew of what is there already, which is no edge: those stay armed.
  epoll_event event{.events = wanted | (edges ? EPOLLET : EPOLLONESHOT), .data = {.fd = host_fd}};
  if (epoll_ctl(epoll_.get(), fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, host_fd, &event) != 0) {
    const Errno error = Errno::Last();
    watches_.erase(it);
    return error;
  }
  watch.armed = wanted;
  watch.edges = edges;
  return kOk;
}

void HostPoller::Remove(int host_fd) {
  absl::MutexLock lock(&mu_);
  if (watches_.erase(host_fd) == 0) return;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, host_fd, nullptr);
}

Status HostPoller::StartLocked() {
  if (running_) return kOk;
  if (!epoll_.valid()) epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return Errno::Last();
  TRY(StartDetachedThread("poller thread", &HostPoller::ThreadMain, this, 128 << 10));
  running_ = true;
  return kOk;
}

void* HostPoller::ThreadMain(void* poller) {
  static_cast<HostPoller*>(poller)->Loop();
  return nullptr;
}

void HostPoller::Loop() {
  int epoll;
  {
    absl::MutexLock lock(&mu_);
    epoll = epoll_.get();
  }
  std::array<epoll_event, 8> events;
  for (;;) {
    const int count = epoll_wait(epoll, events.data(), events.size(), -1);
    absl::MutexLock lock(&mu_);
    for (int i = 0; i < count; ++i) {
      const auto it = watches_.find(events[i].data.fd);
      if (it == watches_.end()) continue;
      if (!it->second.edges) it->second.armed = 0;
      uint32_t ready = events[i].events;
      if ((ready & POLLIN) != 0) ready |= POLLRDNORM;
      if ((ready & POLLOUT) != 0) ready |= POLLWRNORM;
      it->second.queue->Notify(ready);
    }
  }
}

}  // namespace sentry
