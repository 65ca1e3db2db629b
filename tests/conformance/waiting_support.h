// What the cases about waiting share.
#ifndef TESTS_CONFORMANCE_WAITING_SUPPORT_H_
#define TESTS_CONFORMANCE_WAITING_SUPPORT_H_

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

#include <functional>

#include "tests/conformance/support.h"

namespace conformance {

class Epoll {
 public:
  Epoll() : fd_(epoll_create1(EPOLL_CLOEXEC)) { EXPECT_TRUE(fd_.valid()); }
  int Control(int op, int fd, uint32_t events, uint64_t data = 0) const {
    epoll_event event = {};
    event.events = events;
    event.data.u64 = data;
    return epoll_ctl(fd_.get(), op, fd, &event);
  }
  int Add(int fd, uint32_t events, uint64_t data = 0) const {
    return Control(EPOLL_CTL_ADD, fd, events, data);
  }
  int Mod(int fd, uint32_t events, uint64_t data = 0) const {
    return Control(EPOLL_CTL_MOD, fd, events, data);
  }
  int Del(int fd) const { return Control(EPOLL_CTL_DEL, fd, 0); }
  // The events, as "data:events" in hexadecimal.
  std::string Wait(int timeout = 0, int most = 8) const {
    std::vector<epoll_event> events(static_cast<size_t>(most));
    const int n = epoll_wait(fd_.get(), events.data(), most, timeout);
    if (n < 0) return ErrnoName(errno);
    std::string text;
    for (int i = 0; i < n; ++i) {
      char one[64];
      const epoll_event event = events[static_cast<size_t>(i)];
      snprintf(one, sizeof(one), "%s%llx:%x", i == 0 ? "" : " ",
               static_cast<unsigned long long>(event.data.u64), event.events);
      text += one;
    }
    return text;
  }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

inline short PollOnce(int fd, short events) {
  pollfd one = {fd, events, 0};
  EXPECT_GE(poll(&one, 1, 0), 0) << ErrnoName(errno);
  return one.revents;
}

// Writes a pipe until no more fits.
inline void Fill(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  std::vector<char> page(4096, 'f');
  while (write(fd, page.data(), page.size()) > 0) {
  }
  fcntl(fd, F_SETFL, flags);
}

inline void Drain(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  std::vector<char> page(65536);
  while (read(fd, page.data(), page.size()) > 0) {
  }
  fcntl(fd, F_SETFL, flags);
}

class EventFd {
 public:
  explicit EventFd(unsigned count = 0, int flags = EFD_NONBLOCK) : fd_(eventfd(count, flags)) {
    EXPECT_TRUE(fd_.valid());
  }
  int Add(uint64_t value = 1) const { return eventfd_write(fd_.get(), value); }
  // The value, or minus the errno.
  int64_t Take() const {
    eventfd_t value = 0;
    return eventfd_read(fd_.get(), &value) == 0 ? static_cast<int64_t>(value) : -errno;
  }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_WAITING_SUPPORT_H_
