// AF_INET and AF_INET6 sockets that are sockets of the host, for a sandbox that uses a network
// namespace of the host.
#ifndef SENTRY_NET_HOST_HOST_SOCKET_H_
#define SENTRY_NET_HOST_HOST_SOCKET_H_

#include <optional>
#include <string>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/net/host/host_datagrams.h"
#include "sentry/net/host/net_client.h"
#include "sentry/net/inet/tcp_socket.h"
#include "sentry/net/listing.h"
#include "sentry/net/namespace.h"
#include "sentry/net/socket.h"

namespace sentry {

// Bytes are moved by the sentry itself on the donated descriptor, which never blocks; whatever
// names an address or changes the socket is asked of the network gofer. Thread-safe, as the host's
// sockets are.
class HostSocket final : public Socket {
 public:
  static Result<Ref<Socket>> Create(Task& task, const SocketKind& what, OpenFlags flags);
  // `peer` of one that was accepted; it does not change any more.
  HostSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags, UniqueFd fd,
             std::optional<SocketAddress> peer = std::nullopt);
  ~HostSocket() override;

  Status Bind(Task& task, const SocketAddress& given) override;
  Status Listen(Task& task, int backlog) override;
  Status Connect(Task& task, const SocketAddress& address) override;
  Status FinishConnect() override ABSL_LOCKS_EXCLUDED(mu_);
  Result<Ref<Socket>> Accept(Task& task, OpenFlags flags) override;
  Result<SocketAddress> LocalAddress() override;
  Result<SocketAddress> PeerAddress() override;
  Status Shutdown(int how) override;
  Result<size_t> Send(IoSrc& src, OutgoingMessage& message) override;
  Result<size_t> Receive(IoDst& dst, IncomingMessage& message) override;
  Result<std::string> GetOption(Task& task, int level, int name, size_t room) override;
  Result<std::string> GetSources(int level, int name, std::span<const std::byte> asked) override;
  Status SetOption(Task& task, int level, int name, std::span<const std::byte> value) override;
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;
  uint32_t Poll() override;
  bool HearsFromHost() override { return true; }
  void ArmHostEvents(uint32_t events) override;
  void OnLastClose() override ABSL_LOCKS_EXCLUDED(mu_);

  // For listings.
  InetTable table() const;
  InetRow Describe();

  // The stack of the namespace lists it.
  bool is_in_memory() const { return in_memory_.load(std::memory_order_acquire); }
  bool is_listening() const { return listening_.load(std::memory_order_relaxed); }

 protected:
  bool IsListening() const override { return is_listening(); }

 private:
  // The host would block: whoever waits is told when it would not any more.
  Errno WouldBlock(uint32_t events);
  Status SetDevice(Task& task, std::span<const std::byte> value);
  Status SetSocketOption(Task& task, int name, std::span<const std::byte> value);

  // Over loopback, within the sandbox: host_loopback.cc.
  struct SetTo {
    int level = 0, name = 0;
    std::string value;
  };
  // Who carries this socket's connection; empty where the host does.
  Ref<TcpSocket> memory() const ABSL_LOCKS_EXCLUDED(mu_);
  // Who has this socket's name in the stack.
  Ref<TcpSocket> twin() const ABSL_LOCKS_EXCLUDED(mu_);
  Ref<TcpSocket> memory_listener() const { return is_listening() ? twin() : nullptr; }
  // Empty for names that are the host's alone; EADDRINUSE.
  Result<Ref<TcpSocket>> BindTwin(Task& task, const SocketAddress& address);
  Status BindBoth(Task& task, const SocketAddress& address) ABSL_LOCKS_EXCLUDED(mu_);
  // Puts `socket` in the place of `former`, unless another thread has. Returns which is there.
  Ref<TcpSocket> ReplaceMemory(const Ref<TcpSocket>& former, Ref<TcpSocket> socket)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Keeps an option for a connection that may turn out to be one in memory.
  void Remember(int level, int name, std::span<const std::byte> value) ABSL_LOCKS_EXCLUDED(mu_);
  Ref<TcpSocket> NewInMemory(Task& task) ABSL_LOCKS_EXCLUDED(mu_);
  void ListenInMemory(Task& task, int backlog) ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing when it is the host's affair.
  std::optional<Status> ConnectInMemory(Task& task, const SocketAddress& address)
      ABSL_LOCKS_EXCLUDED(mu_);
  Status ConnectOnHost(const SocketAddress& address);
  // Checks of the address that come before the gofer's: EINVAL, EAFNOSUPPORT.
  Result<SocketAddress> CheckBindAddress(const SocketAddress& address) const;
  Status CheckConnectAddress(const SocketAddress& address) const;
  Result<size_t> ReceiveFromHost(IoDst& dst, IncomingMessage& message);

  // Datagrams over loopback, within the sandbox: host_datagrams.cc.
  bool is_udp() const;
  // What this socket is called by now, and whom it is connected to; an error: not to be named.
  void LearnNames(const Result<Endpoint>& remote) ABSL_LOCKS_EXCLUDED(mu_);
  void LearnConnection(const SocketAddress& address) ABSL_LOCKS_EXCLUDED(mu_);
  void NoteOption(int level, int name, std::span<const std::byte> value);
  // Where at a loopback address a message goes.
  std::optional<Endpoint> LoopbackTarget(const OutgoingMessage& message) ABSL_LOCKS_EXCLUDED(mu_);
  // What a message to `to` comes from; takes a port first.
  std::optional<Endpoint> NameFor(const Endpoint& to) ABSL_LOCKS_EXCLUDED(mu_);
  // Nothing when it is the host's affair.
  std::optional<Result<size_t>> SendInMemory(IoSrc& src, const OutgoingMessage& message);
  std::optional<Result<size_t>> ReceiveInMemory(IoDst& dst, IncomingMessage& message);
  bool TakesFromHostFirst(bool peek);

  const Ref<NetworkNamespace> space_;
  NetClient& client_;  // The namespace's.
  const UniqueFd fd_;
  const std::optional<SocketAddress> accepted_from_;
  const uint32_t uid_;
  std::atomic<bool> listening_{false};
  std::atomic<bool> named_{false};       // By bind(2).
  std::atomic<bool> engaged_{false};     // It listens, or the host has connected it.
  std::atomic<bool> in_memory_{false};   // connection_ is there.
  std::atomic<bool> needs_host_{false};  // An option that only the host can serve.
  std::atomic<bool> v6_only_{false};
  std::atomic<bool> read_shut_{false}, write_shut_{false};  // Of UDP.
  std::atomic<bool> gathering_{false};  // The host has the beginning of a message (MSG_MORE).
  enum class Side : uint8_t { kNone, kHost, kInbox };
  std::atomic<Side> peeked_{Side::kNone};  // Where the last look was.
  std::atomic<uint32_t> turn_{0};
  DatagramInbox inbox_;
  mutable absl::Mutex mu_;  // Leaf.
  Endpoint local_ ABSL_GUARDED_BY(mu_), remote_ ABSL_GUARDED_BY(mu_);
  SocketAddress connecting_to_ ABSL_GUARDED_BY(mu_);
  Ref<TcpSocket> connection_ ABSL_GUARDED_BY(mu_), twin_ ABSL_GUARDED_BY(mu_);
  std::vector<SetTo> set_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_NET_HOST_HOST_SOCKET_H_
