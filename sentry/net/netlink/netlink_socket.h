// AF_NETLINK sockets, entirely in the sentry: netlink(7). NETLINK_ROUTE and NETLINK_SOCK_DIAG
// answer; NETLINK_KOBJECT_UEVENT never says anything; other protocols are not there, as in a Linux
// without their modules.
#ifndef SENTRY_NET_NETLINK_NETLINK_SOCKET_H_
#define SENTRY_NET_NETLINK_NETLINK_SOCKET_H_

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/net/namespace.h"
#include "sentry/net/netlink/message.h"
#include "sentry/net/netlink/route.h"
#include "sentry/net/socket.h"

namespace sentry {

// Thread-safe. The kernel's side answers within the call that sends a request.
class NetlinkSocket final : public Socket {
 public:
  static Result<Ref<Socket>> Create(Task& task, const SocketKind& what, OpenFlags flags);
  NetlinkSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags);
  ~NetlinkSocket() override;

  Status Bind(Task& task, const SocketAddress& address) override;
  Status Connect(Task& task, const SocketAddress& address) override;
  Result<SocketAddress> LocalAddress() override;
  Result<SocketAddress> PeerAddress() override;
  Result<size_t> Send(IoSrc& src, OutgoingMessage& message) override;
  Result<size_t> Receive(IoDst& dst, IncomingMessage& message) override;
  Result<std::string> GetOption(Task& task, int level, int name, size_t room) override;
  Status SetOption(Task& task, int level, int name, std::span<const std::byte> value) override;
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;
  uint32_t Poll() override ABSL_LOCKS_EXCLUDED(mu_);
  void OnLastClose() override;

  // A line of /proc/net/netlink.
  struct Summary {
    int protocol = 0;
    uint32_t port = 0, groups = 0;
    size_t queued = 0;
    uint64_t inode = 0;
  };
  Summary Summarize() const ABSL_LOCKS_EXCLUDED(mu_);
  // A datagram of `port` (0: the kernel) to `group` (0: to this socket). Lost with ENOBUFS when the
  // receiver has no room.
  void Deliver(std::string bytes, uint32_t port, uint32_t group = 0) ABSL_LOCKS_EXCLUDED(mu_);
  // Of any group; of this one (RTNLGRP_*).
  bool is_member() const ABSL_LOCKS_EXCLUDED(mu_);
  bool IsIn(uint32_t group) const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static constexpr uint32_t kMaxGroup = 64;

  struct Datagram {
    std::string bytes;
    uint32_t port = 0, group = 0;
  };

  // Bits of flags_: options at SOL_NETLINK.
  enum Flag : uint32_t {
    kPacketInfo = 1,
    kBroadcastError = 2,
    kNoBufferErrors = 4,
    kListenAll = 8,
    kCappedAck = 16,
    kExtendedAck = 32,
    kStrictChecks = 64,
  };
  static uint32_t FlagOf(int option);
  bool has(Flag flag) const ABSL_LOCKS_EXCLUDED(mu_);

  uint32_t Port() const ABSL_LOCKS_EXCLUDED(mu_);
  // A port, if there is none yet.
  uint32_t EnsurePort() ABSL_LOCKS_EXCLUDED(mu_);
  Result<uint32_t> TargetOf(const OutgoingMessage& message) ABSL_LOCKS_EXCLUDED(mu_);
  void HandleRequests(std::string_view bytes);
  void HandleRequest(const NlRequest& request);
  Result<NlOutcome> Dispatch(const NlRequest& request, NlReply& reply);
  Status ChangeMembership(int option, uint32_t group) ABSL_LOCKS_EXCLUDED(mu_);

  const Ref<NetworkNamespace> space_;
  mutable absl::Mutex mu_;  // Leaf, apart from the wait queue's.
  uint32_t port_ ABSL_GUARDED_BY(mu_) = 0;
  uint32_t peer_port_ ABSL_GUARDED_BY(mu_) = 0, peer_groups_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t groups_ ABSL_GUARDED_BY(mu_) = 0;  // Bit n: group n + 1.
  uint32_t flags_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<Datagram> queue_ ABSL_GUARDED_BY(mu_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace sentry

#endif  // SENTRY_NET_NETLINK_NETLINK_SOCKET_H_
