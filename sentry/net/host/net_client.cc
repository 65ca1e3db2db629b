#include "sentry/net/host/net_client.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "sentry/net/host/host_socket.h"

namespace sentry {
namespace {

using gofer::NetOp;
using gofer::NetReply;
using gofer::NetRequest;

// More than a namespace's tables ever were; a gofer that says more is broken.
constexpr size_t kMaxDump = 16 << 20;

NetRequest Request(NetOp op, int a = 0, int b = 0, int c = 0) {
  NetRequest request;
  request.op = op;
  request.a = a;
  request.b = b;
  request.c = c;
  return request;
}

}  // namespace

Status NetClient::SendLocked(const NetRequest& request, int fd, std::span<const std::byte> data) {
  iovec io[2] = {{.iov_base = const_cast<NetRequest*>(&request), .iov_len = sizeof(request)},
                 {.iov_base = const_cast<std::byte*>(data.data()), .iov_len = data.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_iov = io;
  header.msg_iovlen = 2;
  if (fd >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    cmsghdr* const cmsg = CMSG_FIRSTHDR(&header);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
  }
  ssize_t count;
  do {
    count = sendmsg(socket_.get(), &header, MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  return count < 0 ? Status(Errno(ENETDOWN)) : kOk;
}

Result<NetClient::Answer> NetClient::ReceiveLocked(std::span<std::byte> buffer) {
  NetReply reply;
  iovec io[2] = {{.iov_base = &reply, .iov_len = sizeof(reply)},
                 {.iov_base = buffer.data(), .iov_len = buffer.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr header{};
  header.msg_iov = io;
  header.msg_iovlen = 2;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t count;
  do {
    count = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count < static_cast<ssize_t>(sizeof(reply))) return Errno(ENETDOWN);
  Answer answer;
  const cmsghdr* const first = CMSG_FIRSTHDR(&header);
  if (first != nullptr && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS &&
      first->cmsg_len == CMSG_LEN(sizeof(int))) {
    int fd;
    memcpy(&fd, CMSG_DATA(first), sizeof(fd));
    answer.fd.reset(fd);
  }
  if (reply.error != 0) return Errno(reply.error);
  const size_t size = std::min(static_cast<size_t>(count) - sizeof(reply), buffer.size());
  answer.data.assign(reinterpret_cast<const char*>(buffer.data()), size);
  answer.more = reply.more != 0;
  return answer;
}

Result<NetClient::Answer> NetClient::Ask(const NetRequest& request, int fd,
                                         std::span<const std::byte> data) {
  std::byte buffer[gofer::kNetShortData];
  absl::MutexLock lock(&mu_);
  TRY(SendLocked(request, fd, data));
  return ReceiveLocked(buffer);
}

Result<UniqueFd> NetClient::MakeSocket(int domain, int type, int protocol) {
  Answer answer = TRY(Ask(Request(NetOp::kSocket, domain, type, protocol), -1));
  if (!answer.fd.valid()) return Errno(ENFILE);
  return std::move(answer.fd);
}

Status NetClient::AskWithAddress(NetOp op, int fd, const SocketAddress& address) {
  TRY(Ask(Request(op), fd, std::as_bytes(std::span(address.bytes).first(address.size))));
  return kOk;
}

Status NetClient::Bind(int fd, const SocketAddress& address) {
  return AskWithAddress(NetOp::kBind, fd, address);
}

Status NetClient::Connect(int fd, const SocketAddress& address) {
  return AskWithAddress(NetOp::kConnect, fd, address);
}

Status NetClient::Listen(int fd, int backlog) {
  TRY(Ask(Request(NetOp::kListen, backlog), fd));
  return kOk;
}

Result<SocketAddress> NetClient::AskForName(NetOp op, int fd) {
  const Answer answer = TRY(Ask(Request(op), fd));
  if (answer.data.size() > SocketAddress::kMaxSize) return Errno(EINVAL);
  return SocketAddress(std::as_bytes(std::span(answer.data)));
}

Result<SocketAddress> NetClient::LocalName(int fd) { return AskForName(NetOp::kLocalName, fd); }

Result<SocketAddress> NetClient::PeerName(int fd) { return AskForName(NetOp::kPeerName, fd); }

Status NetClient::Shutdown(int fd, int how) {
  TRY(Ask(Request(NetOp::kShutdown, how), fd));
  return kOk;
}

Status NetClient::SetOption(int fd, int level, int name, std::span<const std::byte> value) {
  if (value.size() > gofer::kNetData) return Errno(EINVAL);
  TRY(Ask(Request(NetOp::kSetOption, level, name), fd, value));
  return kOk;
}

Result<std::string> NetClient::GetOption(int fd, int level, int name, size_t room) {
  const int size = static_cast<int>(std::min(room, gofer::kNetShortData));
  return TRY(Ask(Request(NetOp::kGetOption, level, name, size), fd)).data;
}

Result<std::string> NetClient::GetSources(int fd, int level, int name,
                                          std::span<const std::byte> asked) {
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(gofer::kNetData);
  const int room = static_cast<int>(gofer::kNetData);
  absl::MutexLock lock(&mu_);
  TRY(SendLocked(Request(NetOp::kGetOption, level, name, room), fd, asked));
  return TRY(ReceiveLocked({buffer.get(), gofer::kNetData})).data;
}

void NetClient::Add(HostSocket& socket) {
  absl::MutexLock lock(&sockets_mu_);
  sockets_.insert(&socket);
}

void NetClient::Remove(HostSocket& socket) {
  absl::MutexLock lock(&sockets_mu_);
  sockets_.erase(&socket);
}

std::vector<Ref<HostSocket>> NetClient::Sockets() {
  absl::MutexLock lock(&sockets_mu_);
  std::vector<Ref<HostSocket>> list;
  for (HostSocket* const socket : sockets_) {
    // One that is just being destroyed is gone.
    if (socket->TryAddRef()) list.push_back(Ref<HostSocket>::Adopt(socket));
  }
  return list;
}

Result<std::string> NetClient::Dump(uint16_t type) {
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(gofer::kNetDumpPart);
  std::string all;
  absl::MutexLock lock(&mu_);
  TRY(SendLocked(Request(NetOp::kDump, type), -1));
  for (;;) {
    const Answer part = TRY(ReceiveLocked({buffer.get(), gofer::kNetDumpPart}));
    // Beyond the bound the rest is read, but not kept.
    if (all.size() + part.data.size() <= kMaxDump) all.append(part.data);
    if (!part.more) return all;
  }
}

}  // namespace sentry
