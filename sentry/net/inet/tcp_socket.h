// TCP sockets: tcp(7), net/ipv4/tcp.c.
#ifndef SENTRY_NET_INET_TCP_SOCKET_H_
#define SENTRY_NET_INET_TCP_SOCKET_H_

#include <atomic>
#include <deque>
#include <memory>
#include <string>

#include "sentry/net/inet/inet_socket.h"
#include "sentry/net/inet/tcp_connection.h"
#include "sentry/net/inet/tcp_options.h"

namespace sentry {

// Listens, or is one side of a connection. Nobody locks two sockets at a time.
class TcpSocket final : public InetSocket {
 public:
  TcpSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags,
            Ref<WaitPoint> point, uint32_t uid);
  ~TcpSocket() override;

  Status Listen(Task& task, int backlog) override ABSL_LOCKS_EXCLUDED(mu_);
  Status Connect(Task& task, const SocketAddress& address) override ABSL_LOCKS_EXCLUDED(mu_);
  Status FinishConnect() override ABSL_LOCKS_EXCLUDED(mu_);
  Result<Ref<Socket>> Accept(Task& task, OpenFlags flags) override ABSL_LOCKS_EXCLUDED(mu_);
  Result<SocketAddress> PeerAddress() override ABSL_LOCKS_EXCLUDED(mu_);
  Status Shutdown(int how) override ABSL_LOCKS_EXCLUDED(mu_);
  Result<size_t> Send(IoSrc& src, OutgoingMessage& message) override;
  Result<size_t> Receive(IoDst& dst, IncomingMessage& message) override;
  Result<std::string> GetOption(Task& task, int level, int name, size_t room) override;
  Status SetOption(Task& task, int level, int name, std::span<const std::byte> value) override;
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;
  uint32_t Poll() override ABSL_LOCKS_EXCLUDED(mu_);
  bool WakesOneReader() override { return IsListening(); }
  void OnLastClose() override ABSL_LOCKS_EXCLUDED(mu_);
  InetRow Row() override ABSL_LOCKS_EXCLUDED(mu_);

  // Neither connected, nor about to be, nor listening.
  bool is_idle() const ABSL_LOCKS_EXCLUDED(mu_);
  // Listings show this number instead of its own.
  void ListAs(uint64_t inode) { listed_as_ = inode; }

  // The connection of a client has come: queues it, established as long as there is room.
  // ECONNREFUSED when this one does not listen any more.
  Status Enqueue(Ref<TcpConnection> connection) ABSL_LOCKS_EXCLUDED(mu_);

 protected:
  bool IsListening() const override ABSL_LOCKS_EXCLUDED(mu_);
  bool MayBindLocked() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return local_.port == 0 && listener_ == nullptr && !connection_;
  }
  Result<int> PathMtu() override;

 private:
  // enum socket_state of Linux, as far as connect(2) shows it.
  enum class Progress : uint8_t { kUnconnected, kConnecting, kConnected };
  struct Listener {
    size_t backlog = 0;
    std::deque<Ref<TcpConnection>> established;  // To be accepted.
    std::deque<Ref<TcpConnection>> waiting;      // For room.
  };
  struct Attached {
    Ref<TcpConnection> connection;
    int side = 0;
  };

  Attached attached() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return {connection_, side_};
  }
  Status StartConnect(Task& task, const SocketAddress& address) ABSL_LOCKS_EXCLUDED(mu_);
  // The outcome of a connection under way: EALREADY, what went wrong, or success.
  Status ProgressLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // `listener` becomes whom to ask, or empty.
  Result<Ref<TcpConnection>> ClaimConnection(const Endpoint& to, Ref<InetSocket>& listener)
      ABSL_LOCKS_EXCLUDED(mu_);
  void AttachLocked(Ref<TcpConnection> connection, int side) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // connect(2) to AF_UNSPEC, and shutdown(2) of a listener.
  Status Disconnect() ABSL_LOCKS_EXCLUDED(mu_);
  void StopListening(Listener& listener);
  void UpdateBuffers() ABSL_LOCKS_EXCLUDED(mu_);
  bool oob_inline() const { return options().has(SocketOptions::kOobInline); }
  std::string Info() ABSL_LOCKS_EXCLUDED(mu_);
  // What a socket without a connection answers.
  Status NotConnected(int error);

  TcpOptions tcp_;
  std::atomic<bool> send_buffer_set_{false}, receive_buffer_set_{false};
  Progress progress_ ABSL_GUARDED_BY(mu_) = Progress::kUnconnected;
  Ref<TcpConnection> connection_ ABSL_GUARDED_BY(mu_);
  int side_ ABSL_GUARDED_BY(mu_) = 0;
  std::unique_ptr<Listener> listener_ ABSL_GUARDED_BY(mu_);
  std::atomic<uint64_t> listed_as_;
  std::atomic<bool> failed_{false};  // A connection was refused: poll(2) shows its end.
};

}  // namespace sentry

#endif  // SENTRY_NET_INET_TCP_SOCKET_H_
