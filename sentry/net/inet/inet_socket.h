// What AF_INET and AF_INET6 sockets of all types have in common.
#ifndef SENTRY_NET_INET_INET_SOCKET_H_
#define SENTRY_NET_INET_INET_SOCKET_H_

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/net/inet/inet_address.h"
#include "sentry/net/inet/inet_stack.h"
#include "sentry/net/inet/ip_options.h"
#include "sentry/net/namespace.h"
#include "sentry/net/socket.h"

namespace sentry {

// socket(2) for both families: SOCK_STREAM, SOCK_DGRAM with UDP or ICMP, SOCK_RAW.
Result<Ref<Socket>> CreateInetSocket(Task& task, const SocketKind& what, OpenFlags flags);
// EINVAL for protocols that cannot be.
Status CheckProtocol(const SocketKind& what);

// A name, its port and the options of IP. Lock order: mu_, the stack's.
class InetSocket : public Socket {
 public:
  InetSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags,
             Ref<WaitPoint> point, Transport transport, uint32_t uid);

  Status Bind(Task& task, const SocketAddress& address) override ABSL_LOCKS_EXCLUDED(mu_);
  Result<SocketAddress> LocalAddress() override ABSL_LOCKS_EXCLUDED(mu_);
  Result<std::string> GetOption(Task& task, int level, int name, size_t room) override;
  Status SetOption(Task& task, int level, int name, std::span<const std::byte> value) override;

  // Those about interfaces (netdevice(7)).
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;

  // For listings.
  virtual InetRow Row() = 0;

  const IpOptions& ip() const { return ip_; }
  IpOptions& ip() { return ip_; }
  InetStack& stack() const { return stack_; }
  uint32_t uid() const { return uid_; }

 protected:
  ~InetSocket() override = default;
  int domain() const { return what().domain; }
  bool v6_only() const { return ip_.has(IpOptions::kV6Only); }
  // Whether bind(2) is still allowed.
  virtual bool MayBindLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return local_.port == 0; }
  // The path MTU: ENOTCONN.
  virtual Result<int> PathMtu() { return Errno(ENOTCONN); }

  // What connect(2) and sendto(2) may go to, with any replaced by loopback: ENETUNREACH.
  Result<Endpoint> CheckDestination(Endpoint to) const;
  // Takes a port if there is none yet.
  Status AutobindLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Ref<PortBinding> NewBindingLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The last close.
  void DropBinding() ABSL_LOCKS_EXCLUDED(mu_);

  const Ref<NetworkNamespace> space_;
  InetStack& stack_;
  const Transport transport_;
  const uint32_t uid_;
  IpOptions ip_;
  mutable absl::Mutex mu_;
  Endpoint local_ ABSL_GUARDED_BY(mu_);
  bool bound_address_ ABSL_GUARDED_BY(mu_) = false;  // By bind(2): kept when a peer is forgotten.
  bool bound_port_ ABSL_GUARDED_BY(mu_) = false;
  Ref<PortBinding> binding_ ABSL_GUARDED_BY(mu_);  // Empty without a port.

 private:
  Result<Endpoint> CheckBindAddress(Task& task, const SocketAddress& address) const;
  Status SetDevice(Task& task, std::span<const std::byte> name);
  // Lets the table know of a changed option.
  void UpdateBinding() ABSL_LOCKS_EXCLUDED(mu_);
};

}  // namespace sentry

#endif  // SENTRY_NET_INET_INET_SOCKET_H_
