#include "sentry/net/inet/inet_stack.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <string_view>

#include "absl/hash/hash.h"
#include "sentry/net/inet/inet_socket.h"
#include "sentry/net/inet/tcp_connection.h"
#include "sentry/time/clocks.h"

namespace sentry {
namespace {

constexpr int64_t kTimeWaitNs = 60'000'000'000;  // TCP_TIMEWAIT_LEN.
constexpr size_t kMaxTimeWait = 16384;           // net.ipv4.tcp_max_tw_buckets.

// Whether two bindings of one port have an address in common (inet_rcv_saddr_equal()).
bool AddressesMeet(int domain, const IpAddress& a, bool a_v6_only, const PortBinding& other) {
  const IpAddress& b = other.local.address;
  const bool a_wide = domain == AF_INET6 && a.is_any();
  const bool b_wide = other.domain == AF_INET6 && b.is_any();
  if (a_wide && b_wide) return true;
  if (a_wide) return !(a_v6_only && b.is_v4());
  if (b_wide) return !(other.v6_only && a.is_v4());
  if (a.is_v4() != b.is_v4()) return false;
  return a == b || a.is_any() || b.is_any();
}

// Whether `binding` hears what is sent to `to`.
bool Covers(const PortBinding& binding, const IpAddress& to) {
  const IpAddress& local = binding.local.address;
  if (!local.is_any()) return local == to;
  if (binding.domain == AF_INET) return to.is_v4();
  return !(binding.v6_only && to.is_v4());
}

}  // namespace

PortBinding::PortBinding(InetStack& stack, Transport transport, int domain)
    : stack(stack), transport(transport), domain(domain), keeps_(Ref<InetStack>::Share(stack)) {}

PortBinding::~PortBinding() { stack.Unregister(*this); }

Result<Route> InetStack::FindRoute(const IpAddress& to) const {
  if (to.is_v4() && to.v4() == INADDR_BROADCAST) return Errno(ENETUNREACH);
  if (!to.is_loopback() && !to.is_multicast()) return Errno(ENETUNREACH);
  if (!loopback_up()) return Errno(ENETUNREACH);
  return Route{.source = IpAddress::LoopbackOf(to.is_v4())};
}

Result<int> InetStack::FindDevice(std::string_view name) {
  if (name == "lo") return kLoopbackDevice;
  return Errno(ENODEV);
}

void InetStack::RegisterLocked(PortBinding& binding, const Endpoint& local) {
  if (binding.registered_) UnregisterLocked(binding);
  binding.local = local;
  Bucket& bucket = buckets_[Key(binding.transport, local.port)];
  const bool connection = binding.state == PortBinding::State::kConnection;
  binding.place_ = bucket.insert(connection ? bucket.end() : bucket.begin(), &binding);
  binding.registered_ = true;
}

void InetStack::UnregisterLocked(PortBinding& binding) {
  const auto it = buckets_.find(Key(binding.transport, binding.local.port));
  it->second.erase(binding.place_);
  if (it->second.empty()) buckets_.erase(it);
  binding.registered_ = false;
}

void InetStack::Unregister(PortBinding& binding) {
  absl::MutexLock lock(&mu_);
  if (binding.registered_) UnregisterLocked(binding);
}

std::vector<InetStack::Waiting> InetStack::ExpireLocked() {
  std::vector<Waiting> expired;
  if (waiting_.empty()) return expired;
  const int64_t now = MonotonicNs();
  while (!waiting_.empty() &&
         (waiting_.front().until_ns <= now || waiting_.size() > kMaxTimeWait)) {
    pairs_.erase({waiting_.front().binding->local, waiting_.front().remote});
    expired.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return expired;
}

// inet_bind_conflict() for TCP, udp_lib_lport_inuse() for the others.
bool InetStack::HasConflictLocked(const PortBinding& binding, const Endpoint& wanted,
                                  bool chosen) const {
  const auto it = buckets_.find(Key(binding.transport, wanted.port));
  if (it == buckets_.end()) return false;
  for (const PortBinding* other : it->second) {
    if (other == &binding) continue;
    if (binding.device != 0 && other->device != 0 && binding.device != other->device) continue;
    const bool share_port =
        binding.reuse_port && other->reuse_port &&
        (binding.uid == other->uid || other->state == PortBinding::State::kTimeWait);
    bool share_address = binding.reuse_address && other->reuse_address;
    if (binding.transport == Transport::kTcp) {
      // A port that nobody asked for is only shared when there is no other.
      share_address = share_address && !chosen && other->state != PortBinding::State::kListening;
    }
    if (share_address || (share_port && !chosen)) continue;
    if (AddressesMeet(binding.domain, wanted.address, binding.v6_only, *other)) return true;
  }
  return false;
}

template <typename Accept>
std::optional<uint16_t> InetStack::FindPortLocked(const PortBinding& binding, Accept accept) {
  uint32_t first = first_ephemeral, last = last_ephemeral;
  // inet_sk_get_local_port_range(): a limit outside of the system's range is none.
  const auto within = [low = first, high = last](uint32_t port) {
    return port >= low && port <= high;
  };
  if (within(binding.first_port)) first = binding.first_port;
  if (within(binding.last_port)) last = binding.last_port;
  if (first > last) return std::nullopt;
  const uint32_t count = last - first + 1;
  random_ =
      random_ * 6364136223846793005 + 1442695040888963407 + static_cast<uint64_t>(MonotonicNs());
  const uint32_t start = static_cast<uint32_t>(random_ >> 33) % count;
  for (uint32_t i = 0; i < count; i++) {
    const auto port = static_cast<uint16_t>(first + (start + i) % count);
    if (accept(port)) return port;
  }
  return std::nullopt;
}

Status InetStack::Bind(PortBinding& binding, const Endpoint& wanted) {
  std::vector<Waiting> expired;
  absl::MutexLock lock(&mu_);
  expired = ExpireLocked();
  Endpoint local = wanted;
  if (wanted.port == 0) {
    const auto port =
        FindPortLocked(binding, [&](uint16_t candidate) ABSL_NO_THREAD_SAFETY_ANALYSIS {
          return !HasConflictLocked(binding, {wanted.address, candidate}, true);
        });
    if (!port) return Errno(EADDRINUSE);
    local.port = *port;
  } else if (HasConflictLocked(binding, wanted, false)) {
    return Errno(EADDRINUSE);
  }
  RegisterLocked(binding, local);
  return kOk;
}

Status InetStack::Listen(PortBinding& binding) {
  absl::MutexLock lock(&mu_);
  // Others may have begun to listen since they were bound.
  if (HasConflictLocked(binding, binding.local, false)) return Errno(EADDRINUSE);
  binding.state = PortBinding::State::kListening;
  return kOk;
}

void InetStack::StopListening(PortBinding& binding) {
  absl::MutexLock lock(&mu_);
  if (binding.state == PortBinding::State::kListening) binding.state = PortBinding::State::kBound;
}

void InetStack::Forget(PortBinding& binding) {
  absl::MutexLock lock(&mu_);
  binding.socket = nullptr;
  if (binding.state == PortBinding::State::kListening) binding.state = PortBinding::State::kBound;
}

bool InetStack::IsSharedPortLocked(uint16_t port) const {
  const auto it = buckets_.find(Key(Transport::kTcp, port));
  if (it == buckets_.end()) return true;
  return std::all_of(it->second.begin(), it->second.end(),
                     [](const PortBinding* other) { return other->autobound; });
}

Status InetStack::ClaimPair(PortBinding& binding, const IpAddress& source, const Endpoint& to) {
  std::vector<Waiting> expired;
  absl::MutexLock lock(&mu_);
  expired = ExpireLocked();
  Endpoint local{source, binding.registered_ ? binding.local.port : uint16_t{0}};
  if (local.port == 0) {
    // A port of its own first, then one that leads elsewhere.
    auto port = FindPortLocked(binding, [&](uint16_t candidate) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return !buckets_.contains(Key(Transport::kTcp, candidate));
    });
    if (!port) {
      port = FindPortLocked(binding, [&](uint16_t candidate) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return IsSharedPortLocked(candidate) && !pairs_.contains({{source, candidate}, to});
      });
    }
    if (!port) return Errno(EADDRNOTAVAIL);
    local.port = *port;
    binding.autobound = true;
  } else if (pairs_.contains({local, to})) {
    return Errno(EADDRNOTAVAIL);
  }
  RegisterLocked(binding, local);
  pairs_.insert({local, to});
  return kOk;
}

void InetStack::AddConnection(PortBinding& binding, const Endpoint& local) {
  absl::MutexLock lock(&mu_);
  binding.state = PortBinding::State::kConnection;
  RegisterLocked(binding, local);
}

void InetStack::Register(PortBinding& binding, const Endpoint& local) {
  absl::MutexLock lock(&mu_);
  RegisterLocked(binding, local);
}

void InetStack::ReleasePair(const Endpoint& from, const Endpoint& to) {
  absl::MutexLock lock(&mu_);
  pairs_.erase({from, to});
}

void InetStack::Close() {
  std::deque<Waiting> dropped;
  absl::MutexLock lock(&mu_);
  closed_ = true;
  dropped.swap(waiting_);
}

void InetStack::TimeWait(Ref<PortBinding> binding, const Endpoint& remote) {
  std::vector<Waiting> expired;
  absl::MutexLock lock(&mu_);
  if (closed_) {
    expired.push_back({0, std::move(binding), remote});
    return;
  }
  binding->state = PortBinding::State::kTimeWait;
  binding->remote = remote;
  binding->connection = nullptr;
  waiting_.push_back({MonotonicNs() + kTimeWaitNs, std::move(binding), remote});
  expired = ExpireLocked();
}

template <typename Score>
Ref<InetSocket> InetStack::FindBestLocked(Transport transport, const Endpoint& to,
                                          const Endpoint& from, Score score) {
  const auto it = buckets_.find(Key(transport, to.port));
  if (it == buckets_.end()) return nullptr;
  int best = -1;
  std::vector<InetSocket*> equals;
  for (const PortBinding* binding : it->second) {
    if (binding->state == PortBinding::State::kConnection) break;
    if (binding->socket == nullptr || !Covers(*binding, to.address)) continue;
    int points = score(*binding);
    if (points < 0) continue;
    // AF_INET before AF_INET6, a name before any (compute_score()).
    points += (binding->domain == AF_INET ? 1 : 0) + (binding->local.address.is_any() ? 0 : 2) +
              (binding->device != 0 ? 4 : 0);
    if (points > best) equals.clear();
    if (points < best || (points == best && !binding->reuse_port)) continue;
    best = points;
    equals.push_back(binding->socket);
  }
  while (!equals.empty()) {
    // Those of SO_REUSEPORT share the work by the hash of the addresses.
    const size_t at = absl::HashOf(from, to) % equals.size();
    if (equals[at]->TryAddRef()) return Ref<InetSocket>::Adopt(equals[at]);
    equals.erase(equals.begin() + static_cast<ptrdiff_t>(at));
  }
  return nullptr;
}

Ref<InetSocket> InetStack::FindListener(const Endpoint& to, const Endpoint& from) {
  absl::MutexLock lock(&mu_);
  return FindBestLocked(Transport::kTcp, to, from, [](const PortBinding& binding) {
    return binding.state == PortBinding::State::kListening ? 0 : -1;
  });
}

Ref<InetSocket> InetStack::FindDatagram(Transport transport, const Endpoint& to,
                                        const Endpoint& from) {
  absl::MutexLock lock(&mu_);
  return FindBestLocked(transport, to, from, [&from](const PortBinding& binding) {
    if (binding.remote.port == 0) return 0;
    return binding.remote == from ? 8 : -1;
  });
}

std::vector<Ref<InetSocket>> InetStack::FindMembers(Transport transport, const Endpoint& to,
                                                    const Endpoint& from) {
  std::vector<Ref<InetSocket>> members;
  absl::MutexLock lock(&mu_);
  const auto it = buckets_.find(Key(transport, to.port));
  if (it == buckets_.end()) return members;
  for (const PortBinding* binding : it->second) {
    if (binding->socket == nullptr || !Covers(*binding, to.address)) continue;
    if (binding->remote.port != 0 && binding->remote != from) continue;
    if (binding->socket->TryAddRef()) members.push_back(Ref<InetSocket>::Adopt(binding->socket));
  }
  return members;
}

std::vector<InetRow> InetStack::List(Transport transport) {
  std::vector<InetRow> rows;
  std::vector<std::pair<Ref<TcpConnection>, int>> connections;
  std::vector<Ref<InetSocket>> sockets;
  std::vector<Waiting> expired;
  {
    absl::MutexLock lock(&mu_);
    expired = ExpireLocked();
    for (const auto& [key, bucket] : buckets_) {
      if (key >> 16 != static_cast<uint32_t>(transport)) continue;
      for (const PortBinding* binding : bucket) {
        if (binding->state == PortBinding::State::kTimeWait) {
          rows.push_back({.domain = binding->domain,
                          .protocol = IPPROTO_TCP,
                          .state = TCP_TIME_WAIT,
                          .local = binding->local,
                          .remote = binding->remote});
        } else if (binding->connection != nullptr) {
          if (binding->connection->TryAddRef()) {
            connections.emplace_back(Ref<TcpConnection>::Adopt(binding->connection), binding->side);
          }
        } else if (binding->socket != nullptr && binding->socket->TryAddRef()) {
          sockets.push_back(Ref<InetSocket>::Adopt(binding->socket));
        }
      }
    }
  }
  for (const auto& [connection, side] : connections) rows.push_back(connection->Row(side));
  for (const auto& socket : sockets) {
    InetRow row = socket->Row();
    if (transport != Transport::kTcp || row.state != TCP_CLOSE) rows.push_back(row);
  }
  return rows;
}

}  // namespace sentry
