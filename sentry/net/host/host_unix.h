// AF_UNIX sockets of the host (--host-uds): what a UnixSocket becomes when a path that it is
// connected or bound to is the host's.
#ifndef SENTRY_NET_HOST_HOST_UNIX_H_
#define SENTRY_NET_HOST_HOST_UNIX_H_

#include <atomic>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "sentry/net/socket.h"

namespace sentry {

// A descriptor that the gofer has connected or bound, and that never blocks. Bytes are moved by the
// sentry itself. Descriptors do not travel to the host (EPERM), and those that come from there are
// lost on the way (MSG_CTRUNC): a file is the sandbox's or the host's. Nor does either side learn
// who the other is: the host sees the gofer, the program nobody (SO_PEERCRED).
class HostUnixSocket final : public Socket {
 public:
  enum class State : uint8_t { kBound, kConnected };
  // `wait_point`: of the socket in front of it, which waits for both.
  HostUnixSocket(const SocketKind& what, OpenFlags flags, Ref<WaitPoint> wait_point, UniqueFd fd,
                 State state, const SocketAddress& local, const SocketAddress& peer);
  ~HostUnixSocket() override;

  // The gofer connects new ones only.
  Status Connect(Task& task, const SocketAddress& address) override {
    return Errno(state_ == State::kConnected ? EISCONN : EOPNOTSUPP);
  }
  Status Listen(Task& task, int backlog) override;
  Result<Ref<Socket>> Accept(Task& task, OpenFlags flags) override;
  Result<SocketAddress> LocalAddress() override { return local_; }
  Result<SocketAddress> PeerAddress() override;
  Status Shutdown(int how) override;
  Result<size_t> Send(IoSrc& src, OutgoingMessage& message) override;
  Result<size_t> Receive(IoDst& dst, IncomingMessage& message) override;
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;
  uint32_t Poll() override;
  bool HearsFromHost() override { return true; }
  void ArmHostEvents(uint32_t events) override;
  bool IsListening() const override { return listening_.load(std::memory_order_relaxed); }
  Result<std::string> GetFamilySocketOption(Task& task, int name) override;

 private:
  // The host would block: whoever waits is told when it would not any more.
  Errno WouldBlock(uint32_t events);

  const UniqueFd fd_;
  const State state_;
  const SocketAddress local_, peer_;
  std::atomic<bool> listening_{false};
};

}  // namespace sentry

#endif  // SENTRY_NET_HOST_HOST_UNIX_H_
