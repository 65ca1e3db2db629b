// What the cases about AF_UNIX share.
#ifndef TESTS_CONFORMANCE_UNIX_SUPPORT_H_
#define TESTS_CONFORMANCE_UNIX_SUPPORT_H_

#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/conformance/support.h"

namespace conformance {

struct UnixPair {
  explicit UnixPair(int type = SOCK_STREAM) {
    int fds[2];
    EXPECT_THAT(socketpair(AF_UNIX, type, 0, fds), Returns(0));
    a = UniqueFd(fds[0]);
    b = UniqueFd(fds[1]);
  }
  UniqueFd a, b;
};

inline UniqueFd UnixSocketOf(int type) { return UniqueFd(socket(AF_UNIX, type, 0)); }

// An address of AF_UNIX with its length. A leading '@' stands for the NUL of an abstract name.
struct UnixName {
  explicit UnixName(std::string_view name) {
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, name.data(), name.size());
    if (!name.empty() && name[0] == '@') address.sun_path[0] = '\0';
    const bool path = !name.empty() && name[0] != '@';
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size() + (path ? 1 : 0));
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
  sockaddr_un address{};
  socklen_t size = 0;
};

// An abstract name that no other process uses.
inline std::string UniqueName(std::string_view what) {
  static int count = 0;
  return "@conformance-" + std::to_string(getpid()) + "-" + std::to_string(++count) + "-" +
         std::string(what);
}

inline int Bind(const UniqueFd& fd, const UnixName& name) {
  return bind(fd.get(), name.get(), name.size);
}
inline int Connect(const UniqueFd& fd, const UnixName& name) {
  return connect(fd.get(), name.get(), name.size);
}

// A listener under an abstract name.
struct Listener {
  explicit Listener(int type = SOCK_STREAM, int backlog = 5) : name(UniqueName("listener")) {
    fd = UnixSocketOf(type);
    EXPECT_THAT(Bind(fd, UnixName(name)), Returns(0));
    EXPECT_THAT(listen(fd.get(), backlog), Returns(0));
  }
  UniqueFd Accept() const { return UniqueFd(accept(fd.get(), nullptr, nullptr)); }
  UniqueFd Client() const {
    UniqueFd client = UnixSocketOf(TypeOf(fd.get()));
    EXPECT_THAT(Connect(client, UnixName(name)), Returns(0));
    return client;
  }
  static int TypeOf(int fd) {
    int type = 0;
    socklen_t size = sizeof(type);
    EXPECT_THAT(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size), Returns(0));
    return type;
  }
  std::string name;
  UniqueFd fd;
};

inline int SetInt(int fd, int option, int value, int level = SOL_SOCKET) {
  return setsockopt(fd, level, option, &value, sizeof(value));
}
inline int GetInt(int fd, int option, int level = SOL_SOCKET) {
  int value = -12345;
  socklen_t size = sizeof(value);
  EXPECT_THAT(getsockopt(fd, level, option, &value, &size), Returns(0));
  return value;
}

// POLL* that hold now.
inline short PollNow(int fd, short events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP) {
  pollfd entry{.fd = fd, .events = events, .revents = 0};
  EXPECT_GE(poll(&entry, 1, 0), 0);
  return entry.revents;
}

// sendmsg(2) of `data` with descriptors.
inline ssize_t SendFds(int socket, std::string_view data, const std::vector<int>& fds,
                       int flags = 0) {
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  iovec piece{.iov_base = const_cast<char*>(data.data()), .iov_len = data.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  return sendmsg(socket, &message, flags);
}

// What recvmsg(2) tells.
struct Received {
  ssize_t size = -1;
  int error = 0;
  std::string data;
  std::vector<UniqueFd> fds;
  bool has_credentials = false;
  ucred credentials{};
  int flags = 0;
  size_t control_size = 0;
  socklen_t name_size = 0;
  sockaddr_un name{};
};

inline Received Receive(int socket, size_t room = 4096, int flags = 0, size_t control_room = 1024) {
  Received got;
  std::string buffer(room, '\0');
  std::vector<char> control(control_room + 1);
  iovec piece{.iov_base = buffer.data(), .iov_len = buffer.size()};
  msghdr message{};
  message.msg_name = &got.name;
  message.msg_namelen = sizeof(got.name);
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control_room == 0 ? nullptr : control.data();
  message.msg_controllen = control_room;
  got.size = recvmsg(socket, &message, flags);
  got.error = got.size < 0 ? errno : 0;
  if (got.size < 0) return got;
  got.data = buffer.substr(
      0, static_cast<size_t>(std::min<ssize_t>(got.size, static_cast<ssize_t>(room))));
  got.flags = message.msg_flags;
  got.control_size = message.msg_controllen;
  got.name_size = message.msg_namelen;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    const size_t size = header->cmsg_len - CMSG_LEN(0);
    if (header->cmsg_type == SCM_RIGHTS) {
      for (size_t at = 0; at + sizeof(int) <= size; at += sizeof(int)) {
        int fd;
        memcpy(&fd, CMSG_DATA(header) + at, sizeof(fd));
        got.fds.emplace_back(fd);
      }
    } else if (header->cmsg_type == SCM_CREDENTIALS) {
      got.has_credentials = true;
      memcpy(&got.credentials, CMSG_DATA(header), sizeof(got.credentials));
    }
  }
  return got;
}

inline std::string Text(int socket, int flags = 0, size_t room = 4096) {
  std::string buffer(room, '\0');
  const ssize_t got = recv(socket, buffer.data(), buffer.size(), flags);
  EXPECT_GE(got, 0) << ErrnoName(errno);
  buffer.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return buffer;
}

inline ssize_t SendText(int socket, std::string_view text, int flags = 0) {
  return send(socket, text.data(), text.size(), flags);
}

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_UNIX_SUPPORT_H_
