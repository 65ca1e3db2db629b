// TCP connections over loopback between two sockets of the sandbox, which stay in memory although
// the sandbox uses a network of the host.
//
// A socket that the host knows at a loopback address, or at any, has a twin of that name in the
// namespace's own stack, which listens when it does, with the same wait queue: accept(2) takes from
// both queues. connect(2) to a loopback address asks that stack first; only where nobody listens
// there is it the host's affair.
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "sentry/net/host/host_socket.h"
#include "sentry/net/inet/inet_stack.h"
#include "sentry/net/inet/tcp_socket.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// More options than there are; each is remembered once.
constexpr size_t kMaxRemembered = 64;

}  // namespace

Ref<TcpSocket> HostSocket::memory() const {
  if (!in_memory_.load(std::memory_order_acquire)) return nullptr;
  absl::MutexLock lock(&mu_);
  return connection_;
}

Ref<TcpSocket> HostSocket::twin() const {
  absl::MutexLock lock(&mu_);
  return twin_;
}

Ref<TcpSocket> HostSocket::ReplaceMemory(const Ref<TcpSocket>& former, Ref<TcpSocket> socket) {
  Ref<TcpSocket> dropped;  // Without the lock.
  absl::MutexLock lock(&mu_);
  if (connection_.get() != former.get()) return connection_;  // Another thread was first.
  dropped = std::exchange(connection_, std::move(socket));
  in_memory_.store(static_cast<bool>(connection_), std::memory_order_release);
  return connection_;
}

void HostSocket::Remember(int level, int name, std::span<const std::byte> value) {
  if (what().type != SOCK_STREAM || value.size() > gofer::kNetShortData) return;
  std::string bytes(reinterpret_cast<const char*>(value.data()), value.size());
  absl::MutexLock lock(&mu_);
  const auto same = [=](const SetTo& set) { return set.level == level && set.name == name; };
  const auto it = std::find_if(set_.begin(), set_.end(), same);
  if (it != set_.end()) {
    it->value = std::move(bytes);
  } else if (set_.size() < kMaxRemembered) {
    set_.push_back({level, name, std::move(bytes)});
  }
}

Ref<TcpSocket> HostSocket::NewInMemory(Task& task) {
  auto socket = MakeRef<TcpSocket>(space_, what(), OpenFlags(nonblocking() ? O_NONBLOCK : 0),
                                   wait_point(), uid_);
  socket->ListAs(inode_number());
  std::vector<SetTo> set;
  {
    absl::MutexLock lock(&mu_);
    set = set_;
  }
  for (const SetTo& one : set) {
    // What the stack does not know it does not need.
    (void)socket->SetOption(task, one.level, one.name, std::as_bytes(std::span(one.value)));
  }
  return socket;
}

Result<Ref<TcpSocket>> HostSocket::BindTwin(Task& task, const SocketAddress& address) {
  if (what().type != SOCK_STREAM || options().bound_device != 0) return Ref<TcpSocket>();
  const Result<Endpoint> local = ReadEndpoint(what().domain, address);
  if (!local.ok() || local->port == 0) return Ref<TcpSocket>();
  if (!local->address.is_any() && !local->address.is_loopback()) return Ref<TcpSocket>();
  Ref<TcpSocket> twin = NewInMemory(task);
  const Status bound = twin->Bind(task, address);
  if (bound.ok()) return twin;
  return bound.error() == Errno(EADDRINUSE) ? Result<Ref<TcpSocket>>(bound.error())
                                            : Ref<TcpSocket>();
}

Status HostSocket::BindBoth(Task& task, const SocketAddress& address) {
  if (named_) return client_.Bind(fd_.get(), address);
  // First, for what only the stack knows of: connections and what is left of them.
  Ref<TcpSocket> twin = TRY(BindTwin(task, address));
  TRY(client_.Bind(fd_.get(), address));
  named_ = true;
  if (!twin && what().type == SOCK_STREAM) {
    // The host has chosen the port.
    const Result<SocketAddress> name = LocalAddress();
    auto made = name.ok() ? BindTwin(task, *name) : Result<Ref<TcpSocket>>(name.error());
    if (made.ok()) twin = *std::move(made);
  }
  absl::MutexLock lock(&mu_);
  if (!twin_) std::swap(twin_, twin);
  return kOk;
}

void HostSocket::ListenInMemory(Task& task, int backlog) {
  Ref<TcpSocket> listener = twin();
  if (!listener && !named_) {
    const Result<SocketAddress> name = LocalAddress();  // Any, and the port that it got just now.
    auto made = name.ok() ? BindTwin(task, *name) : Result<Ref<TcpSocket>>(name.error());
    if (made.ok()) listener = *std::move(made);
  }
  if (!listener || !listener->Listen(task, backlog).ok()) return;
  absl::MutexLock lock(&mu_);
  if (!twin_) std::swap(twin_, listener);
}

std::optional<Status> HostSocket::ConnectInMemory(Task& task, const SocketAddress& address) {
  if (what().type != SOCK_STREAM) return std::nullopt;
  if (const Ref<TcpSocket> socket = memory()) {
    if (!socket->is_idle()) return socket->Connect(task, address);
    // An attempt that failed, or a connection that was dissolved.
    (void)ReplaceMemory(socket, nullptr);
  }
  if (engaged_ || options().bound_device != 0) return std::nullopt;
  const Result<Endpoint> to = ReadEndpoint(what().domain, address);
  if (!to.ok()) return std::nullopt;
  Endpoint target = *to;
  if (target.address.is_any()) target.address = IpAddress::LoopbackOf(target.address.is_v4());
  if (!target.address.is_loopback()) return std::nullopt;
  if (!space_->inet().FindListener(target, target)) return std::nullopt;
  Ref<TcpSocket> socket = twin();
  if (socket) {
    socket->SetStatusFlags(OpenFlags(nonblocking() ? O_NONBLOCK : 0));
  } else {
    if (named_) return std::nullopt;
    socket = NewInMemory(task);
  }
  socket = ReplaceMemory(nullptr, std::move(socket));
  return socket ? socket->Connect(task, address) : Status(Errno(EALREADY));
}

void HostSocket::OnLastClose() {
  client_.ports().Erase(*this);
  if (const Ref<TcpSocket> socket = memory()) socket->OnLastClose();
  Ref<TcpSocket> dropped;
  {
    absl::MutexLock lock(&mu_);
    dropped = std::exchange(twin_, nullptr);
  }
  if (dropped) dropped->OnLastClose();
}

}  // namespace sentry
