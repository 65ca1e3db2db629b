// Sockets of the host that have a name in an exported tree (--host-uds).
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <string>
#include <utility>

#include "gofer/server/file_service.h"
#include "gofer/server/host.h"

namespace gofer {

namespace {

// `path` is relative to /proc/self/fd, so that it leads to what was walked to and is short.
Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) return Errno(ENAMETOOLONG);
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// One that never blocks: who connects it must not wait for a server, nor who is given it.
Result<UniqueFd> NewSocket(uint32_t type) {
  if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET) return Errno(EINVAL);
  const int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
  UniqueFd fd(socket(AF_UNIX, static_cast<int>(type) | flags, 0));
  if (!fd.valid()) return Errno::Last();
  return fd;
}

}  // namespace

// EAGAIN: its queue is full.
Status FileService::Connect(Operation& op) {
  if (!policy_.connect_sockets || !S_ISSOCK(op.node->type)) return Errno(ECONNREFUSED);
  UniqueFd fd = TRY(NewSocket(op.request.flags));
  const sockaddr_un address = TRY(AddressOf(FdPath(op.node->fd).c_str()));
  TRY(Checked(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address))));
  op.fd = std::move(fd);
  return kOk;
}

// EADDRINUSE when the name is taken.
Status FileService::Bind(Operation& op) {
  if (!policy_.bind_sockets) return Errno(EPERM);
  if (nodes_.full()) return Errno(ENFILE);
  UniqueFd fd = TRY(NewSocket(op.request.flags));
  // A socket's file begins with the socket's own mode: nobody else gets in before the owner is set.
  TRY(Checked(fchmodat(AT_FDCWD, FdPath(fd.get()).c_str(), op.request.mode & 0777, 0)));
  const std::string path = std::string(FdPath(op.node->fd).c_str()) + "/" + op.names[0];
  const sockaddr_un address = TRY(AddressOf(path));
  TRY(Checked(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address))));
  op.fd = std::move(fd);
  return AnswerNewFile(op, AddChild(*op.node, op.names[0]), 0);
}

}  // namespace gofer
