#include "runsc/control.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace runsc {

namespace {

Status SendAll(int socket, const void* data, size_t size, int flags = 0) {
  for (;;) {
    if (send(socket, data, size, MSG_NOSIGNAL | flags) == static_cast<ssize_t>(size)) return kOk;
    if (errno != EINTR) return Errno::Last();
  }
}

Status ReceiveAll(int socket, void* data, size_t size, int flags) {
  for (;;) {
    const ssize_t received = recv(socket, data, size, flags);
    if (received == static_cast<ssize_t>(size)) return kOk;
    if (received >= 0) return Errno(ECONNRESET);
    if (errno != EINTR) return Errno::Last();
  }
}

// Room for SCM_RIGHTS.
struct alignas(cmsghdr) AncillaryRoom {
  char bytes[CMSG_SPACE(sizeof(int) * kMaxCommandFds)] = {};
};

void TakeFds(const msghdr& header, std::vector<UniqueFd>& fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr;
       part = CMSG_NXTHDR(const_cast<msghdr*>(&header), part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
      fds.emplace_back(fd);
    }
  }
}

}  // namespace

Status SendWithFds(int socket, std::span<const std::byte> message, std::span<const int> fds,
                   int flags) {
  if (fds.size() > kMaxCommandFds) return Errno(E2BIG);
  iovec data{.iov_base = const_cast<std::byte*>(message.data()), .iov_len = message.size()};
  AncillaryRoom room;
  msghdr header{.msg_iov = &data, .msg_iovlen = 1};
  if (!fds.empty()) {
    header.msg_control = room.bytes;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size_bytes());
    memcpy(CMSG_DATA(part), fds.data(), fds.size_bytes());
  }
  for (;;) {
    if (sendmsg(socket, &header, MSG_NOSIGNAL | flags) >= 0) return kOk;
    if (errno != EINTR) return Errno::Last();
  }
}

Status ReceiveWithFds(int socket, std::span<std::byte> message, std::vector<UniqueFd>& fds,
                      int flags) {
  iovec data{.iov_base = message.data(), .iov_len = message.size()};
  AncillaryRoom room;
  msghdr header{.msg_iov = &data,
                .msg_iovlen = 1,
                .msg_control = room.bytes,
                .msg_controllen = sizeof(room.bytes)};
  for (;;) {
    const ssize_t received = recvmsg(socket, &header, flags | MSG_CMSG_CLOEXEC);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return Errno::Last();
    TakeFds(header, fds);
    if (received == 0) return Errno(ECONNRESET);
    const bool whole = static_cast<size_t>(received) == message.size() &&
                       (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
    return whole ? kOk : Status(Errno(EMSGSIZE));
  }
}

Status SendCommand(int socket, const Command& command, std::span<const int> fds) {
  if (fds.empty()) return SendAll(socket, &command, sizeof(command), MSG_DONTWAIT);
  return SendWithFds(socket, std::as_bytes(std::span(&command, 1)), fds, MSG_DONTWAIT);
}

Result<Command> ReceiveCommand(int socket, std::vector<UniqueFd>& fds) {
  Command command{};
  const Status received =
      ReceiveWithFds(socket, std::as_writable_bytes(std::span(&command, 1)), fds);
  if (!received.ok() && received.error() != Errno(EMSGSIZE)) return received.error();
  // What has no room for all of them, or comes in another size, is no reason to end: it is refused.
  if (!received.ok()) fds.clear();
  return command;
}

Result<Command> ReceiveCommand(int socket) {
  Command command{};
  TRY(ReceiveAll(socket, &command, sizeof(command), 0));
  return command;
}

Status SendReport(int socket, const Report& report) {
  return SendAll(socket, &report, sizeof(report));
}

Status SendReport(int socket, Report::Kind kind, int status, const std::string& message) {
  Report report{.kind = kind, .status = status};
  memcpy(report.message, message.data(), std::min(message.size(), sizeof(report.message) - 1));
  return SendAll(socket, &report, sizeof(report));
}

Result<Report> ReceiveReport(int socket) {
  Report report{};
  TRY(ReceiveAll(socket, &report, sizeof(report), MSG_DONTWAIT));
  // The sentry is not trusted with the end of the string.
  report.message[sizeof(report.message) - 1] = '\0';
  return report;
}

}  // namespace runsc
