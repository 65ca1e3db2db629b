#include "runsc/oci/channel.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runsc/control.h"
#include "runsc/lockdown.h"

namespace runsc::oci {

namespace {

constexpr char kName[] = "control.sock";
constexpr int kBacklog = 64;

struct Address {
  UniqueFd directory;  // Open as long as the address is used.
  sockaddr_un name{.sun_family = AF_UNIX};
};

// By way of /proc/self/fd: a state directory may have a longer path than a socket's name can be.
absl::StatusOr<Address> AddressIn(const std::string& directory) {
  Address address;
  address.directory = UniqueFd(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!address.directory.valid()) return HostError(directory);
  snprintf(address.name.sun_path, sizeof(address.name.sun_path), "/proc/self/fd/%d/%s",
           address.directory.get(), kName);
  return address;
}

const sockaddr* Raw(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address.name);
}

}  // namespace

absl::StatusOr<UniqueFd> ListenIn(const std::string& directory) {
  const absl::StatusOr<Address> address = AddressIn(directory);
  if (!address.ok()) return address.status();
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return HostError("socket");
  if (bind(fd.get(), Raw(*address), sizeof(address->name)) != 0 ||
      listen(fd.get(), kBacklog) != 0) {
    return HostError(absl::StrCat(directory, "/", kName));
  }
  return fd;
}

absl::StatusOr<UniqueFd> ConnectIn(const std::string& directory) {
  const absl::StatusOr<Address> address = AddressIn(directory);
  if (!address.ok()) return address.status();
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return HostError("socket");
  while (connect(fd.get(), Raw(*address), sizeof(address->name)) != 0) {
    if (errno == EINTR) continue;
    if (errno == ENOENT || errno == ECONNREFUSED) {
      return absl::NotFoundError("the container's monitor is gone");
    }
    return HostError(absl::StrCat(directory, "/", kName));
  }
  return fd;
}

Status SendRequest(int socket, const Request& request, std::span<const int> fds) {
  return SendWithFds(socket, std::as_bytes(std::span(&request, 1)), fds);
}

Result<Reply> ReceiveReply(int socket) {
  Reply reply;
  std::vector<UniqueFd> none;
  TRY(ReceiveWithFds(socket, std::as_writable_bytes(std::span(&reply, 1)), none));
  reply.message[sizeof(reply.message) - 1] = '\0';
  return reply;
}

Result<Request> ReceiveRequest(int socket, std::vector<UniqueFd>& fds) {
  Request request{.magic = 0};
  const Status received =
      ReceiveWithFds(socket, std::as_writable_bytes(std::span(&request, 1)), fds, MSG_DONTWAIT);
  const bool whole = request.magic == Request::kMagic;
  if (!received.ok() && received.error() == Errno(EMSGSIZE)) {
    // Cut off were the descriptors.
    return whole && (request.kind == Request::Kind::kExec ||
                     request.kind == Request::Kind::kAddContainer)
               ? Errno(EMFILE)
               : Errno(EPROTO);
  }
  TRY(received);
  if (!whole) return Errno(EPROTO);
  return request;
}

Status SendReply(int socket, Reply::Kind kind, int status, const std::string& message) {
  Reply reply{.kind = kind, .status = status};
  memcpy(reply.message, message.data(), std::min(message.size(), sizeof(reply.message) - 1));
  // A peer that does not read its answers has lost them.
  for (;;) {
    if (send(socket, &reply, sizeof(reply), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return kOk;
    if (errno != EINTR) return Errno::Last();
  }
}

absl::Status Ask(const std::string& directory, const Request& request, std::span<const int> fds) {
  const absl::StatusOr<UniqueFd> socket = ConnectIn(directory);
  if (!socket.ok()) return socket.status();
  Status sent = SendRequest(socket->get(), request, fds);
  const Result<Reply> reply = sent.ok() ? ReceiveReply(socket->get()) : Result<Reply>(sent.error());
  if (!reply.ok()) return absl::NotFoundError("the container's monitor is gone");
  if (reply->kind == Reply::Kind::kDone) return absl::OkStatus();
  return absl::FailedPreconditionError(reply->message);
}

}  // namespace runsc::oci
