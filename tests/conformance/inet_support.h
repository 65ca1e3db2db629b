// What the cases of AF_INET and AF_INET6 share: addresses of loopback, connected pairs, poll.
#ifndef TESTS_CONFORMANCE_INET_SUPPORT_H_
#define TESTS_CONFORMANCE_INET_SUPPORT_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <string_view>

#include "tests/conformance/support.h"

namespace conformance {

// A socket address of either family.
struct InetAddress {
  sockaddr_storage storage = {};
  socklen_t size = sizeof(sockaddr_storage);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  uint16_t port() const {
    return ntohs(family() == AF_INET ? reinterpret_cast<const sockaddr_in*>(&storage)->sin_port
                                     : reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
  }
  void set_port(uint16_t port) {
    if (family() == AF_INET) reinterpret_cast<sockaddr_in*>(&storage)->sin_port = htons(port);
    if (family() == AF_INET6) reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port = htons(port);
  }
  // "127.0.0.1", "::1".
  std::string host() const {
    char text[INET6_ADDRSTRLEN] = "?";
    if (family() == AF_INET) {
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr, text,
                sizeof text);
    } else if (family() == AF_INET6) {
      inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr, text,
                sizeof text);
    }
    return text;
  }
  std::string text() const { return host() + " " + std::to_string(port()); }
};

// "127.0.0.1" or "::1", … as an address; the family is told by the colon.
inline InetAddress At(std::string_view host, uint16_t port = 0) {
  InetAddress address;
  const std::string text(host);
  if (text.find(':') == std::string::npos) {
    auto& in = reinterpret_cast<sockaddr_in&>(address.storage);
    in.sin_family = AF_INET;
    EXPECT_EQ(inet_pton(AF_INET, text.c_str(), &in.sin_addr), 1);
    address.size = sizeof(sockaddr_in);
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(address.storage);
    in.sin6_family = AF_INET6;
    EXPECT_EQ(inet_pton(AF_INET6, text.c_str(), &in.sin6_addr), 1);
    address.size = sizeof(sockaddr_in6);
  }
  address.set_port(port);
  return address;
}
inline InetAddress Loopback(int family, uint16_t port = 0) {
  return At(family == AF_INET ? "127.0.0.1" : "::1", port);
}
inline InetAddress Any(int family, uint16_t port = 0) {
  return At(family == AF_INET ? "0.0.0.0" : "::", port);
}

inline InetAddress NameOf(int fd) {
  InetAddress address;
  EXPECT_THAT(getsockname(fd, address.get(), &address.size), Returns(0));
  return address;
}
inline InetAddress PeerOf(int fd) {
  InetAddress address;
  EXPECT_THAT(getpeername(fd, address.get(), &address.size), Returns(0));
  return address;
}

inline int Bind(int fd, const InetAddress& to) { return bind(fd, to.get(), to.size); }
inline int Bind(const UniqueFd& fd, const InetAddress& to) { return Bind(fd.get(), to); }
inline int Connect(int fd, const InetAddress& to) { return connect(fd, to.get(), to.size); }
inline int Connect(const UniqueFd& fd, const InetAddress& to) { return Connect(fd.get(), to); }
inline ssize_t SendTo(const UniqueFd& fd, std::string_view data, const InetAddress& to,
                      int flags = 0) {
  return sendto(fd.get(), data.data(), data.size(), flags, to.get(), to.size);
}
inline ssize_t Send(const UniqueFd& fd, std::string_view data, int flags = MSG_NOSIGNAL) {
  return send(fd.get(), data.data(), data.size(), flags);
}

inline int GetInt(int fd, int level, int option) {
  int value = -12345;
  socklen_t size = sizeof value;
  EXPECT_THAT(getsockopt(fd, level, option, &value, &size), Returns(0)) << level << " " << option;
  EXPECT_EQ(size, sizeof value);
  return value;
}
inline int GetInt(const UniqueFd& fd, int level, int option) {
  return GetInt(fd.get(), level, option);
}
inline int SetInt(const UniqueFd& fd, int level, int option, int value) {
  return setsockopt(fd.get(), level, option, &value, sizeof value);
}
// SO_ERROR, which is also cleared.
inline int ErrorOf(const UniqueFd& fd) { return GetInt(fd, SOL_SOCKET, SO_ERROR); }

constexpr short kAllEvents =
    POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLWRNORM | POLLRDHUP | POLLRDBAND | POLLWRBAND;

// What poll(2) reports at this moment.
inline int PollNow(const UniqueFd& fd, short events = kAllEvents) {
  pollfd one = {.fd = fd.get(), .events = events, .revents = 0};
  EXPECT_THAT(poll(&one, 1, 0), Succeeds());
  return one.revents;
}
// Waits until one of `events` (or POLLERR, POLLHUP) holds.
inline bool AwaitEvents(const UniqueFd& fd, short events) {
  pollfd one = {.fd = fd.get(), .events = events, .revents = 0};
  return poll(&one, 1, 5000) == 1;
}
// Waits until poll(2) reports exactly `wanted`.
inline bool AwaitExactly(const UniqueFd& fd, int wanted) {
  return Eventually([&] { return PollNow(fd) == wanted; });
}

// Up to `size` bytes from one recv(2); "<ERRNO>" when it fails.
inline std::string Receive(const UniqueFd& fd, size_t size = 65536, int flags = 0) {
  std::string data(size, '\0');
  const ssize_t count = recv(fd.get(), data.data(), size, flags);
  if (count < 0) return "<" + ErrnoName(errno) + ">";
  data.resize(count);
  return data;
}

inline UniqueFd NewSocket(int family, int type, int protocol = 0) {
  UniqueFd fd(socket(family, type, protocol));
  EXPECT_GE(fd.get(), 0) << ErrnoName(errno);
  return fd;
}

// A TCP socket that listens on a free port of loopback.
inline UniqueFd NewListener(int family, int backlog = 16, int flags = 0) {
  UniqueFd fd = NewSocket(family, SOCK_STREAM | flags);
  EXPECT_THAT(Bind(fd, Loopback(family)), Returns(0));
  EXPECT_THAT(listen(fd.get(), backlog), Returns(0));
  return fd;
}
inline UniqueFd AcceptOne(const UniqueFd& listener, int flags = 0) {
  UniqueFd fd(accept4(listener.get(), nullptr, nullptr, flags));
  EXPECT_GE(fd.get(), 0) << ErrnoName(errno);
  return fd;
}

// A connected TCP pair over loopback; `flags`: SOCK_NONBLOCK for both ends once connected.
struct TcpPair {
  explicit TcpPair(int family, int flags = 0) : listener(NewListener(family)) {
    client = NewSocket(family, SOCK_STREAM);
    EXPECT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
    server = AcceptOne(listener, flags);
    if ((flags & SOCK_NONBLOCK) != 0) fcntl(client.get(), F_SETFL, O_RDWR | O_NONBLOCK);
  }
  UniqueFd listener, client, server;
};

// A UDP socket that is bound to a free port of loopback.
inline UniqueFd NewUdp(int family, int flags = 0) {
  UniqueFd fd = NewSocket(family, SOCK_DGRAM | flags);
  EXPECT_THAT(Bind(fd, Loopback(family)), Returns(0));
  return fd;
}

inline std::string FamilyName(const testing::TestParamInfo<int>& info) {
  return info.param == AF_INET ? "V4" : "V6";
}
// A suite whose cases run for AF_INET and AF_INET6: GetParam() is the family.
#define INET_SUITE(name)                              \
  class name : public testing::TestWithParam<int> {}; \
  INSTANTIATE_TEST_SUITE_P(Inet, name, testing::Values(AF_INET, AF_INET6), FamilyName)

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_INET_SUPPORT_H_
