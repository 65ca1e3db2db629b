// The sentry's end of the network gofer: asks for sockets of the host and for what only their maker
// may do to them (gofer/protocol/net_messages.h).
#ifndef SENTRY_NET_HOST_NET_CLIENT_H_
#define SENTRY_NET_HOST_NET_CLIENT_H_

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/net_messages.h"
#include "sentry/net/address.h"
#include "sentry/net/devices/devices.h"
#include "sentry/net/host/host_datagrams.h"

namespace sentry {

class HostSocket;

// What came back: bytes, and a descriptor where one was made.
struct NetAnswer {
  std::string data;
  UniqueFd fd;
  bool more = false;
};

// Thread-safe: one request at a time. Every operation answers what the host's call answered; once
// the gofer is gone, ENETDOWN.
class NetClient final : public RefCounted {
 public:
  explicit NetClient(UniqueFd socket) : socket_(std::move(socket)) {}

  // Non-blocking. EPROTONOSUPPORT, EPERM and the like.
  Result<UniqueFd> MakeSocket(int domain, int type, int protocol);
  Status Bind(int fd, const SocketAddress& address);
  Status Connect(int fd, const SocketAddress& address);
  Status Listen(int fd, int backlog);
  Result<SocketAddress> LocalName(int fd);
  Result<SocketAddress> PeerName(int fd);
  Status Shutdown(int fd, int how);
  Status SetOption(int fd, int level, int name, std::span<const std::byte> value);
  Result<std::string> GetOption(int fd, int level, int name, size_t room);
  // Of options whose value says on its way in what is asked (IsSourceList).
  Result<std::string> GetSources(int fd, int level, int name, std::span<const std::byte> asked);
  // All sockets that are made through this client. They unregister before they are destroyed.
  void Add(HostSocket& socket) ABSL_LOCKS_EXCLUDED(sockets_mu_);
  void Remove(HostSocket& socket) ABSL_LOCKS_EXCLUDED(sockets_mu_);
  std::vector<Ref<HostSocket>> Sockets() ABSL_LOCKS_EXCLUDED(sockets_mu_);
  // Of those, who takes datagrams in memory.
  HostDatagramPorts& ports() { return ports_; }
  // See DeviceSource.
  Result<std::string> Dump(uint16_t type);

 private:
  using Answer = NetAnswer;

  // `fd` goes along if it is not -1.
  Result<Answer> Ask(const gofer::NetRequest& request, int fd, std::span<const std::byte> data = {})
      ABSL_LOCKS_EXCLUDED(mu_);
  Status SendLocked(const gofer::NetRequest& request, int fd, std::span<const std::byte> data = {})
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<Answer> ReceiveLocked(std::span<std::byte> buffer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Status AskWithAddress(gofer::NetOp op, int fd, const SocketAddress& address);
  Result<SocketAddress> AskForName(gofer::NetOp op, int fd);

  absl::Mutex mu_;  // Leaf.
  const UniqueFd socket_;
  absl::Mutex sockets_mu_;  // Leaf.
  std::set<HostSocket*> sockets_ ABSL_GUARDED_BY(sockets_mu_);
  HostDatagramPorts ports_;
};

// The devices of the namespace that the gofer is in.
class NetClientDevices final : public DeviceSource {
 public:
  explicit NetClientDevices(Ref<NetClient> client) : client_(std::move(client)) {}
  Result<std::string> Dump(uint16_t type) override { return client_->Dump(type); }

 private:
  const Ref<NetClient> client_;
};

}  // namespace sentry

#endif  // SENTRY_NET_HOST_NET_CLIENT_H_
