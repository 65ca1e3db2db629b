#include "sentry/net/inet/inet_socket.h"

#include <linux/capability.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <sys/socket.h>

#include <cstring>
#include <string_view>
#include <utility>

#include "sentry/net/devices/ioctl.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

constexpr int kIpProtocol = 52;  // Where headers lack it.

}  // namespace

InetSocket::InetSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags,
                       Ref<WaitPoint> point, Transport transport, uint32_t uid)
    : Socket(what, flags, std::move(point)),
      space_(std::move(space)),
      stack_(space_->inet()),
      transport_(transport),
      uid_(uid),
      local_{IpAddress::AnyOf(what.domain), 0} {}

Result<Endpoint> InetSocket::CheckBindAddress(Task& task, const SocketAddress& address) const {
  SocketAddress given = address;
  if (domain() == AF_INET && address.family() == AF_UNSPEC && address.size >= sizeof(sockaddr_in)) {
    // Programs of old leave the family out; INADDR_ANY only.
    auto in = address.As<sockaddr_in>();
    if (in.sin_addr.s_addr != INADDR_ANY) return Errno(EAFNOSUPPORT);
    in.sin_family = AF_INET;
    given = SocketAddress::Of(in);
  }
  const Endpoint wanted = TRY(ReadEndpoint(domain(), given));
  const IpAddress& ip = wanted.address;
  if (domain() == AF_INET6) {
    if (!ip.is_v4() && ip.is_multicast() && what().type == SOCK_STREAM) return Errno(EINVAL);
    if (ip.is_v4() && v6_only()) return Errno(EINVAL);
  }
  const bool any_address = ip_.has(IpOptions::kFreeBind) || ip_.has(IpOptions::kTransparent) ||
                           ip_.has(IpOptions::kFreeBind6) || ip_.has(IpOptions::kTransparent6);
  const bool good = ip.is_any() || stack_.IsLocal(ip) || ip.is_multicast() || ip.is_broadcast();
  if (!good && !any_address) return Errno(EADDRNOTAVAIL);
  if (transport_ != Transport::kRaw && transport_ != Transport::kPing && wanted.port != 0 &&
      wanted.port < stack_.first_unprivileged &&
      !task.creds().HasCapability(CAP_NET_BIND_SERVICE)) {
    return Errno(EACCES);
  }
  return wanted;
}

Ref<PortBinding> InetSocket::NewBindingLocked() {
  auto binding = MakeRef<PortBinding>(stack_, transport_, domain());
  binding->socket = this;
  binding->uid = uid_;
  binding->v6_only = v6_only();
  binding->reuse_address = options().has(SocketOptions::kReuseAddress);
  binding->reuse_port = options().has(SocketOptions::kReusePort);
  binding->device = options().bound_device;
  const auto range = static_cast<uint32_t>(ip_.get(IpOptions::kLocalPortRange));
  binding->first_port = static_cast<uint16_t>(range);
  binding->last_port = static_cast<uint16_t>(range >> 16);
  return binding;
}

Status InetSocket::Bind(Task& task, const SocketAddress& address) {
  const Endpoint wanted = TRY(CheckBindAddress(task, address));
  absl::MutexLock lock(&mu_);
  if (!MayBindLocked()) return Errno(EINVAL);
  if (wanted.port == 0 && ip_.has(IpOptions::kBindNoPort)) {
    local_ = wanted;
    bound_address_ = true;
    return kOk;
  }
  Ref<PortBinding> binding = NewBindingLocked();
  TRY(stack_.Bind(*binding, wanted));
  local_ = binding->local;
  bound_address_ = !wanted.address.is_any();
  bound_port_ = wanted.port != 0;
  binding_ = std::move(binding);
  return kOk;
}

Status InetSocket::AutobindLocked() {
  if (binding_) return kOk;
  Ref<PortBinding> binding = NewBindingLocked();
  TRY(stack_.Bind(*binding, local_));
  local_ = binding->local;
  binding_ = std::move(binding);
  return kOk;
}

void InetSocket::DropBinding() {
  Ref<PortBinding> binding;
  absl::MutexLock lock(&mu_);
  binding = std::exchange(binding_, nullptr);
  if (binding) stack_.Forget(*binding);
}

Result<SocketAddress> InetSocket::LocalAddress() {
  absl::MutexLock lock(&mu_);
  return ToSocketAddress(domain(), local_);
}

Result<Endpoint> InetSocket::CheckDestination(Endpoint to) const {
  if (to.address.is_v4() && domain() == AF_INET6 && v6_only()) return Errno(ENETUNREACH);
  if (to.address.is_any()) {
    // This host (RFC 1122, section 3.2.1.3).
    to.address = IpAddress::LoopbackOf(to.address.is_v4());
  }
  TRY(stack_.FindRoute(to.address));
  return to;
}

Status InetSocket::SetDevice(Task& task, std::span<const std::byte> value) {
  const std::string_view bytes(reinterpret_cast<const char*>(value.data()),
                               std::min<size_t>(value.size(), 15));
  const std::string_view name = bytes.substr(0, bytes.find('\0'));
  const int device = name.empty() ? 0 : TRY(InetStack::FindDevice(name));
  // Anybody may choose once; to change it takes a right.
  if (options().bound_device != 0 && !task.creds().HasCapability(CAP_NET_RAW)) {
    return Errno(EPERM);
  }
  options().bound_device = device;
  UpdateBinding();
  return kOk;
}

void InetSocket::UpdateBinding() {
  absl::MutexLock lock(&mu_);
  if (!binding_) return;
  stack_.Update(*binding_, [this](PortBinding& binding) {
    binding.reuse_address = options().has(SocketOptions::kReuseAddress);
    binding.reuse_port = options().has(SocketOptions::kReusePort);
    binding.device = options().bound_device;
  });
}

Result<int64_t> InetSocket::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  return DeviceIoctl(task, space_->devices(), domain(), command, arg);
}

Result<std::string> InetSocket::GetOption(Task& task, int level, int name, size_t room) {
  if (level == SOL_SOCKET) {
    if (name != SO_BINDTODEVICE) return Socket::GetOption(task, level, name, room);
    const int device = options().bound_device;
    if (device == 0) return std::string();
    std::string device_name = InetStack::DeviceName(device);
    if (device_name.empty()) return Errno(ENODEV);
    device_name.push_back('\0');
    if (room < 16) return Errno(EINVAL);  // IFNAMSIZ.
    return device_name;
  }
  if (level == IPPROTO_IPV6 && domain() != AF_INET6) return Errno(EOPNOTSUPP);
  if (level == IPPROTO_IP) {
    if (name == IP_MTU) return ShortIntBytes(TRY(PathMtu()), room);
    if (name == IP_OPTIONS) return std::string();
    if (name == kIpProtocol) {
      absl::MutexLock lock(&mu_);
      return OptionBytes(int{local_.port});  // inet_num, which is a raw socket's protocol.
    }
    if (name == IP_ROUTER_ALERT) return OptionBytes(0);
    if (name == IP_MULTICAST_IF && what().type == SOCK_STREAM) return OptionBytes(0);
    if (name == IP_UNICAST_IF) return OptionBytes(ip_.get(IpOptions::kUnicastDevice));
  } else if (level == IPPROTO_IPV6) {
    if (name == IPV6_MTU) return OptionBytes(TRY(PathMtu()));
    if (name == IPV6_MULTICAST_IF) return OptionBytes(ip_.get(IpOptions::kMulticastDevice6));
    if (name == IPV6_UNICAST_IF) return OptionBytes(ip_.get(IpOptions::kUnicastDevice6));
  }
  return ip_.Get(what(), level, name, room);
}

Status InetSocket::SetOption(Task& task, int level, int name, std::span<const std::byte> value) {
  if (level == SOL_SOCKET) {
    if (name == SO_BINDTODEVICE) return SetDevice(task, value);
    TRY(Socket::SetOption(task, level, name, value));
    if (name == SO_REUSEADDR || name == SO_REUSEPORT || name == SO_BINDTOIFINDEX) UpdateBinding();
    return kOk;
  }
  if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && domain() == AF_INET6) {
    TRY(ReadIntOption(value));
    absl::MutexLock lock(&mu_);
    if (local_.port != 0) return Errno(EINVAL);
  }
  if (level == IPPROTO_IPV6 && name == IPV6_MTU && domain() == AF_INET6) {
    // The size of fragments, of which there are none.
    const int size = TRY(ReadIntOption(value));
    return size == 0 || size >= 1280 ? Status(kOk) : Errno(EINVAL);
  }
  if (level == IPPROTO_IP && what().type == SOCK_STREAM) {
    if (name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP) return Errno(EPROTO);
    if (name == IP_MULTICAST_IF || name == IP_ROUTER_ALERT) return Errno(EINVAL);
  }
  if (level == IPPROTO_IP && name == IP_OPTIONS) {
    return value.empty() ? Status(kOk) : Errno(EINVAL);  // Source routes and such: none is known.
  }
  if ((level == IPPROTO_IP && name == IP_UNICAST_IF) ||
      (level == IPPROTO_IPV6 && name == IPV6_UNICAST_IF)) {
    const int index = static_cast<int>(ntohl(static_cast<uint32_t>(TRY(ReadIntOption(value)))));
    if (index != 0 && index != kLoopbackDevice) return Errno(EADDRNOTAVAIL);
    ip_.set(level == IPPROTO_IP ? IpOptions::kUnicastDevice : IpOptions::kUnicastDevice6,
            static_cast<int>(htonl(static_cast<uint32_t>(index))));
    return kOk;
  }
  return ip_.Set(task, what(), level, name, value);
}

}  // namespace sentry
