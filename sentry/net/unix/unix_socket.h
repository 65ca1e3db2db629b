// AF_UNIX sockets, entirely in the sentry: unix(7).
#ifndef SENTRY_NET_UNIX_UNIX_SOCKET_H_
#define SENTRY_NET_UNIX_UNIX_SOCKET_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/net/family.h"
#include "sentry/net/host/host_unix.h"
#include "sentry/net/namespace.h"
#include "sentry/net/socket.h"
#include "sentry/net/unix/unix_end.h"

namespace sentry {

// The open description in front of a UnixEnd, which has all the state. SOCK_STREAM, SOCK_DGRAM and
// SOCK_SEQPACKET.
class UnixSocket final : public Socket {
 public:
  UnixSocket(Ref<NetworkNamespace> space, Ref<UnixEnd> end, OpenFlags flags);
  ~UnixSocket() override;

  static Result<Ref<Socket>> Create(Task& task, const SocketKind& what, OpenFlags flags);
  static Result<SocketPair> CreatePair(Task& task, const SocketKind& what, OpenFlags flags);

  Status Bind(Task& task, const SocketAddress& address) override;
  Status Listen(Task& task, int backlog) override;
  Status Connect(Task& task, const SocketAddress& address) override;
  Ref<WaitPoint> ConnectQueue() override;
  Result<Ref<Socket>> Accept(Task& task, OpenFlags flags) override;
  Result<SocketAddress> LocalAddress() override { return end_->Name(); }
  Result<SocketAddress> PeerAddress() override;
  Status Shutdown(int how) override;
  Result<size_t> Send(IoSrc& src, OutgoingMessage& message) override;
  Result<size_t> Receive(IoDst& dst, IncomingMessage& message) override;
  Result<std::string> GetOption(Task& task, int level, int name, size_t room) override;
  Status SetOption(Task& task, int level, int name, std::span<const std::byte> value) override;
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;
  uint32_t Poll() override;
  bool WakesOneReader() override { return host() == nullptr && IsListening(); }
  // Who is not connected yet may come to be with a socket of the host.
  bool HearsFromHost() override { return host() != nullptr || !IsListening(); }
  void ArmHostEvents(uint32_t events) override;
  void OnLastClose() override;

  UnixEnd& end() const { return *end_; }

 protected:
  bool IsListening() const override;
  Result<std::string> GetFamilySocketOption(Task& task, int name) override;

 private:
  using State = UnixEnd::State;

  Status Autobind();
  // ECONNREFUSED; EAGAIN when its queue is full, of which connect_queue_ then tells.
  Status CheckListenerLocked(UnixEnd& listener)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(connect_mu_, listener.mu);
  // SIOCUNIXFILE: what the socket's name leads to, as a descriptor of O_PATH.
  Result<int64_t> OpenNamedFile(Task& task);
  Status BindPath(Task& task, const std::string& name);
  // What carries this socket once a path that it was bound or connected to turned out to be the
  // host's (--host-uds): everything but the name is its affair then. nullptr for most; never taken
  // back.
  HostUnixSocket* host() const { return host_.load(std::memory_order_acquire); }
  Status MoveToHost(UniqueFd fd, HostUnixSocket::State state, const SocketAddress& peer)
      ABSL_LOCKS_EXCLUDED(connect_mu_);
  // `why`: what the sandbox's own sockets answer, which counts unless the path is the host's
  // socket.
  Status ConnectOnHost(Task& task, const SocketAddress& address, const std::string& name, Errno why)
      ABSL_LOCKS_EXCLUDED(connect_mu_);
  Status ConnectDatagram(Task& task, const SocketAddress& address);
  // The end that a name leads to: ECONNREFUSED, ENOENT, EACCES, EPROTOTYPE, ….
  Result<Ref<UnixEnd>> Find(Task& task, const std::string& name) const;
  // SO_PASSCRED and SO_PASSPIDFD: what is received without credentials shows nobody's.
  bool WantsCredentials() const;
  void FillCredentials(IncomingMessage& message) const;
  // Tells who sends, if this socket or the other one (`wanted`) is to be told of that.
  void AttachCredentials(ControlData& control, bool wanted) const;
  void CountSentSockets(const FileRights& rights) const;
  // Puts files on the account of who sends them: ETOOMANYREFS.
  Status ChargeRights(FileRights& rights) const;

  Result<size_t> SendStream(IoSrc& src, OutgoingMessage& message);
  Result<size_t> SendUrgent(ByteStream& out, IoSrc& src, size_t room, ControlData& control);
  Result<size_t> ReceiveUrgent(ByteStream& in, IoDst& dst, IncomingMessage& message);
  bool MayQueue(UnixEnd& target, const OutgoingMessage& message) const;
  Result<size_t> SendMessage(IoSrc& src, OutgoingMessage& message);
  Result<Ref<UnixEnd>> MessageTarget(const OutgoingMessage& message);
  Result<size_t> ReceiveStream(IoDst& dst, IncomingMessage& message);
  Result<size_t> ReceiveMessage(IoDst& dst, IncomingMessage& message);
  Result<size_t> PeekMessage(IoDst& dst, IncomingMessage& message);

  const Ref<NetworkNamespace> space_;
  const Ref<UnixEnd> end_;
  std::atomic<HostUnixSocket*> host_{nullptr};  // Held.
  // One attempt to connect at a time; before an end's.
  absl::Mutex connect_mu_;
  Ref<WaitPoint> connect_queue_ ABSL_GUARDED_BY(connect_mu_);  // Of the listener that was full.
};

// What is in sun_path, as bytes: an abstract name with its leading NUL, a path without its NUL.
// Empty for the family alone. EINVAL for other families and sizes.
Result<std::string> UnixName(const SocketAddress& address);

// Whether its pid means anything to `task`: a container of a pod has a pid namespace of its own.
bool IsSeenBy(const Task& task, const SocketCredentials& who);
// Who `task` is, for SO_PEERCRED and SCM_CREDENTIALS.
SocketCredentials CredentialsOf(Task& task);

}  // namespace sentry

#endif  // SENTRY_NET_UNIX_UNIX_SOCKET_H_
