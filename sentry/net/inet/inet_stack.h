// What internet sockets of one network namespace find each other by: ports, connections, routes.
#ifndef SENTRY_NET_INET_INET_STACK_H_
#define SENTRY_NET_INET_INET_STACK_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/net/inet/inet_address.h"

namespace sentry {

class InetSocket;
class InetStack;
class TcpConnection;

// Port numbers of one transport are another's affair. A ping socket's port is its echo identifier.
enum class Transport : uint8_t { kTcp, kUdp, kUdpLite, kPing, kRaw };

// A port in use: by a socket, by a connection that has none (not accepted yet, or closed), or by
// what remembers one (TIME_WAIT). Held by them; leaves the table with its last reference, so that
// none may be dropped under the table's lock. What is not const is guarded by that lock.
class PortBinding final : public RefCounted {
 public:
  enum class State : uint8_t { kBound, kListening, kConnection, kTimeWait };

  PortBinding(InetStack& stack, Transport transport, int domain);
  ~PortBinding() override;

  InetStack& stack;
  const Transport transport;
  const int domain;
  State state = State::kBound;
  bool v6_only = false, reuse_address = false, reuse_port = false;
  bool autobound = false;  // By connect(2): others may share the port towards other addresses.
  int device = 0;
  uint32_t uid = 0;
  // IP_LOCAL_PORT_RANGE; 0: the system's.
  uint16_t first_port = 0, last_port = 0;
  Endpoint local;
  Endpoint remote;                      // Of a connected datagram socket; port 0 otherwise.
  InetSocket* socket = nullptr;         // Whom lookups find; nullptr once closed. Use TryAddRef.
  TcpConnection* connection = nullptr;  // Likewise, for listings.
  int side = 0;                         // Which end of `connection`.

 private:
  friend class InetStack;
  const Ref<InetStack> keeps_;  // The stack: its namespace may go before the last binding.
  bool registered_ = false;
  std::list<PortBinding*>::iterator place_;
};

// A way to an address, as ip-route(8) would tell.
struct Route {
  IpAddress source;  // What the sender's address becomes when it has none.
  int device = kLoopbackDevice;
};

// A row of /proc/net/{tcp,udp,raw,icmp}* and of sock_diag(7), whoever carries the socket.
struct InetRow {
  int domain = 0, protocol = 0;
  int state = 0;  // TCP_*; of other sockets TCP_CLOSE or TCP_ESTABLISHED.
  Endpoint local, remote;
  uint64_t receive_queue = 0, send_queue = 0;  // Of a listener: connections waiting, the backlog.
  uint32_t uid = 0;
  uint64_t inode = 0;  // 0: no socket (any more).
  uint32_t drops = 0;
};

// Held by its namespace, by bindings and connections. Thread-safe. Its lock is taken within a
// socket's and is a leaf.
class InetStack final : public RefCounted {
 public:
  // `loopback_up`: of the namespace's devices, which outlive it. Without, it always is.
  explicit InetStack(const std::atomic<bool>* loopback_up = nullptr) : loopback_up_(loopback_up) {}
  InetStack(const InetStack&) = delete;
  // The namespace goes, and with it what holds the stack in turn.
  void Close() ABSL_LOCKS_EXCLUDED(mu_);

  // What belongs to this namespace. Of multicast and broadcast: false.
  bool IsLocal(const IpAddress& address) const { return address.is_loopback(); }
  // ENETUNREACH for what is not local: there is no interface but the loopback.
  Result<Route> FindRoute(const IpAddress& to) const;
  // The index of an interface by its name, and its name: ENODEV.
  static Result<int> FindDevice(std::string_view name);
  static const char* DeviceName(int index) { return index == kLoopbackDevice ? "lo" : ""; }

  // bind(2): gives `binding` the address and port, or a free port for 0. EADDRINUSE. Not yet
  // registered, or bound to port 0 only.
  Status Bind(PortBinding& binding, const Endpoint& wanted) ABSL_LOCKS_EXCLUDED(mu_);
  // listen(2) of a bound one: EADDRINUSE when another listens there.
  Status Listen(PortBinding& binding) ABSL_LOCKS_EXCLUDED(mu_);
  void StopListening(PortBinding& binding) ABSL_LOCKS_EXCLUDED(mu_);
  // The socket behind `binding` is closed; the port stays as long as the binding.
  void Forget(PortBinding& binding) ABSL_LOCKS_EXCLUDED(mu_);
  // Whatever else has to be changed under the lock.
  template <typename Change>
  void Update(PortBinding& binding, Change change) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    change(binding);
  }

  // A TCP connection from `binding` (registered here with a port from the ephemeral range when it
  // has none) to `to`: EADDRNOTAVAIL when that pair exists, or no port is left.
  Status ClaimPair(PortBinding& binding, const IpAddress& source, const Endpoint& to)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The other end of it: registers `binding` at `local` without asking.
  void AddConnection(PortBinding& binding, const Endpoint& local) ABSL_LOCKS_EXCLUDED(mu_);
  // A raw socket, whose "port" is its protocol: any number of them may have the same.
  void Register(PortBinding& binding, const Endpoint& local) ABSL_LOCKS_EXCLUDED(mu_);
  void ReleasePair(const Endpoint& from, const Endpoint& to) ABSL_LOCKS_EXCLUDED(mu_);
  // Remembers an ordered end for a minute, as the side that closed first.
  void TimeWait(Ref<PortBinding> binding, const Endpoint& remote) ABSL_LOCKS_EXCLUDED(mu_);

  // The socket that listens at `to`: the most specific, among equals of SO_REUSEPORT by `from`.
  Ref<InetSocket> FindListener(const Endpoint& to, const Endpoint& from) ABSL_LOCKS_EXCLUDED(mu_);
  // The datagram socket that a unicast datagram goes to, likewise.
  Ref<InetSocket> FindDatagram(Transport transport, const Endpoint& to, const Endpoint& from)
      ABSL_LOCKS_EXCLUDED(mu_);
  // All that might take a datagram to a group or a broadcast address.
  std::vector<Ref<InetSocket>> FindMembers(Transport transport, const Endpoint& to,
                                           const Endpoint& from) ABSL_LOCKS_EXCLUDED(mu_);
  // Whatever has a port, also what no socket belongs to.
  std::vector<InetRow> List(Transport transport) ABSL_LOCKS_EXCLUDED(mu_);

  // net.ipv4.ip_local_port_range, ip_unprivileged_port_start, ping_group_range.
  std::atomic<uint16_t> first_ephemeral{32768}, last_ephemeral{60999};
  std::atomic<uint16_t> first_unprivileged{1024};
  std::atomic<uint32_t> first_ping_group{1}, last_ping_group{0};

 private:
  friend class PortBinding;
  using Pair = std::pair<Endpoint, Endpoint>;  // From, to.
  // Those of one port: sockets in front, connections behind.
  using Bucket = std::list<PortBinding*>;
  struct Waiting {
    int64_t until_ns;
    Ref<PortBinding> binding;
    Endpoint remote;
  };

  static uint32_t Key(Transport transport, uint16_t port) {
    return static_cast<uint32_t>(transport) << 16 | port;
  }
  void RegisterLocked(PortBinding& binding, const Endpoint& local)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void UnregisterLocked(PortBinding& binding) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Unregister(PortBinding& binding) ABSL_LOCKS_EXCLUDED(mu_);
  bool HasConflictLocked(const PortBinding& binding, const Endpoint& wanted, bool chosen) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether a connection may share `port`: nobody bound it by name.
  bool IsSharedPortLocked(uint16_t port) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Tries the ephemeral ports that `binding` may have, from a random one on.
  template <typename Accept>
  std::optional<uint16_t> FindPortLocked(const PortBinding& binding, Accept accept)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes out what has waited long enough; the caller drops it without the lock.
  std::vector<Waiting> ExpireLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  template <typename Score>
  Ref<InetSocket> FindBestLocked(Transport transport, const Endpoint& to, const Endpoint& from,
                                 Score score) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  bool loopback_up() const {
    return loopback_up_ == nullptr || loopback_up_->load(std::memory_order_relaxed);
  }

  const std::atomic<bool>* const loopback_up_;
  absl::Mutex mu_;
  absl::flat_hash_map<uint32_t, Bucket> buckets_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_set<Pair> pairs_ ABSL_GUARDED_BY(mu_);
  std::deque<Waiting> waiting_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t random_ ABSL_GUARDED_BY(mu_) = 0x9e3779b97f4a7c15;
};

}  // namespace sentry

#endif  // SENTRY_NET_INET_INET_STACK_H_
