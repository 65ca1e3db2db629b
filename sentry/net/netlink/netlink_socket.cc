#include "sentry/net/netlink/netlink_socket.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sentry/net/devices/ioctl.h"
#include "sentry/net/netlink/diag.h"
#include "sentry/net/netlink/netlink_sockets.h"
#include "sentry/task/kernel.h"
#include "sentry/task/namespaces.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

constexpr int kNetAdmin = 12;  // CAP_NET_ADMIN

bool IsAdmin(const Task* task) { return task != nullptr && task->creds().HasCapability(kNetAdmin); }

// What is there without modules. Others: __netlink_create() is never reached.
bool HasProtocol(int protocol) {
  return protocol == NETLINK_ROUTE || protocol == NETLINK_SOCK_DIAG ||
         protocol == NETLINK_KOBJECT_UEVENT;
}

SocketAddress NameOf(uint32_t port, uint32_t groups) {
  sockaddr_nl name{};
  name.nl_family = AF_NETLINK;
  name.nl_pid = port;
  name.nl_groups = groups;
  return SocketAddress::Of(name);
}

}  // namespace

Result<Ref<Socket>> NetlinkSocket::Create(Task& task, const SocketKind& what, OpenFlags flags) {
  if (what.type != SOCK_RAW && what.type != SOCK_DGRAM) return Errno(ESOCKTNOSUPPORT);
  if (!HasProtocol(what.protocol)) return Errno(EPROTONOSUPPORT);
  return Ref<Socket>(MakeRef<NetlinkSocket>(
      Ref<NetworkNamespace>::Share(task.namespaces().network()), what, flags));
}

NetlinkSocket::NetlinkSocket(Ref<NetworkNamespace> space, const SocketKind& what, OpenFlags flags)
    : Socket(what, flags), space_(std::move(space)) {
  space_->netlink_sockets().Add(*this);
}

NetlinkSocket::~NetlinkSocket() { space_->netlink_sockets().Remove(*this); }

void NetlinkSocket::OnLastClose() { space_->netlink_sockets().Remove(*this); }

uint32_t NetlinkSocket::Port() const {
  absl::MutexLock lock(&mu_);
  return port_;
}

bool NetlinkSocket::has(Flag flag) const {
  absl::MutexLock lock(&mu_);
  return (flags_ & flag) != 0;
}

uint32_t NetlinkSocket::EnsurePort() {
  const uint32_t port = Port();
  if (port != 0) return port;
  const Task* const task = Task::Current();
  const uint32_t preferred = task == nullptr ? 1 : static_cast<uint32_t>(task->tgid());
  const uint32_t chosen = space_->netlink_sockets().BindAny(*this, what().protocol, preferred);
  absl::MutexLock lock(&mu_);
  // Should another thread have been faster, this one has two: both are given back in the end.
  if (port_ == 0) port_ = chosen;
  return port_;
}

Status NetlinkSocket::Bind(Task& task, const SocketAddress& address) {
  if (address.size < sizeof(sockaddr_nl) || address.family() != AF_NETLINK) return Errno(EINVAL);
  const auto name = address.As<sockaddr_nl>();
  // Of these only the kernel's own protocols let everybody listen.
  if (name.nl_groups != 0 && what().protocol == NETLINK_SOCK_DIAG && !IsAdmin(&task)) {
    return Errno(EPERM);
  }
  const uint32_t port = Port();
  if (port != 0 && name.nl_pid != port) return Errno(EINVAL);
  if (port == 0 && name.nl_pid == 0) {
    EnsurePort();
  } else if (port == 0) {
    TRY(space_->netlink_sockets().Bind(*this, what().protocol, name.nl_pid));
    absl::MutexLock lock(&mu_);
    port_ = name.nl_pid;
  }
  absl::MutexLock lock(&mu_);
  groups_ = (groups_ & ~uint64_t{0xffffffff}) | name.nl_groups;
  return kOk;
}

Status NetlinkSocket::Connect(Task& task, const SocketAddress& address) {
  if (address.size < sizeof(sa_family_t)) return Errno(EINVAL);
  if (address.family() == AF_UNSPEC) {
    absl::MutexLock lock(&mu_);
    peer_port_ = peer_groups_ = 0;
    return kOk;
  }
  if (address.family() != AF_NETLINK || address.size < sizeof(sockaddr_nl)) return Errno(EINVAL);
  const auto name = address.As<sockaddr_nl>();
  const bool kernel_only = name.nl_pid == 0 && name.nl_groups == 0;
  if (!kernel_only && !IsAdmin(&task)) return Errno(EPERM);
  EnsurePort();
  absl::MutexLock lock(&mu_);
  peer_port_ = name.nl_pid;
  peer_groups_ = name.nl_groups;
  return kOk;
}

Result<SocketAddress> NetlinkSocket::LocalAddress() {
  absl::MutexLock lock(&mu_);
  return NameOf(port_, static_cast<uint32_t>(groups_));
}

Result<SocketAddress> NetlinkSocket::PeerAddress() {
  absl::MutexLock lock(&mu_);
  return NameOf(peer_port_, peer_groups_);
}

uint32_t NetlinkSocket::Poll() {
  uint32_t events = POLLOUT | POLLWRNORM | POLLWRBAND;
  if (has_error()) events |= POLLERR;
  absl::MutexLock lock(&mu_);
  if (!queue_.empty()) events |= POLLIN | POLLRDNORM;
  return events;
}

NetlinkSocket::Summary NetlinkSocket::Summarize() const {
  absl::MutexLock lock(&mu_);
  return {.protocol = what().protocol,
          .port = port_,
          .groups = static_cast<uint32_t>(groups_),
          .queued = queued_bytes_,
          .inode = inode_number()};
}

Result<uint32_t> NetlinkSocket::TargetOf(const OutgoingMessage& message) {
  if (message.to == nullptr || message.to->size == 0) {
    absl::MutexLock lock(&mu_);
    return peer_port_;
  }
  if (message.to->size < sizeof(sockaddr_nl) || message.to->family() != AF_NETLINK) {
    return Errno(EINVAL);
  }
  const auto name = message.to->As<sockaddr_nl>();
  if ((name.nl_pid != 0 || name.nl_groups != 0) && !IsAdmin(Task::Current())) return Errno(EPERM);
  return name.nl_pid;
}

Result<size_t> NetlinkSocket::Send(IoSrc& src, OutgoingMessage& message) {
  if ((message.flags & MSG_OOB) != 0) return Errno(EOPNOTSUPP);
  const size_t size = src.remaining();
  if (size == 0) return Errno(ENODATA);
  const uint32_t target = TRY(TargetOf(message));
  const uint32_t own = EnsurePort();
  const auto room = static_cast<size_t>(std::max(0, options().send_buffer.load()));
  if (room < 32 || size > room - 32) return Errno(EMSGSIZE);
  std::string bytes(size, '\0');
  if (TRY(src.CopyIn(std::as_writable_bytes(std::span(bytes)))) != size) return Errno(EFAULT);
  if (target == 0) {
    HandleRequests(bytes);
  } else {
    TRY(space_->netlink_sockets().Find(what().protocol, target))->Deliver(std::move(bytes), own);
  }
  return size;
}

// netlink_rcv_skb() of Linux.
void NetlinkSocket::HandleRequests(std::string_view bytes) {
  if (what().protocol == NETLINK_KOBJECT_UEVENT) return;
  const Task* const task = Task::Current();
  while (bytes.size() >= sizeof(nlmsghdr)) {
    NlRequest request{.header = NlRead<nlmsghdr>(bytes),
                      .port = Port(),
                      .strict = has(kStrictChecks),
                      .may_admin = IsAdmin(task),
                      .uid = task == nullptr ? 0 : task->creds().fsuid};
    const size_t length = request.header.nlmsg_len;
    if (length < sizeof(nlmsghdr) || length > bytes.size()) return;
    request.payload = bytes.substr(sizeof(nlmsghdr), length - sizeof(nlmsghdr));
    HandleRequest(request);
    bytes.remove_prefix(std::min(NlPad(length), bytes.size()));
  }
}

void NetlinkSocket::HandleRequest(const NlRequest& request) {
  NlReply reply(request);
  Result<NlOutcome> outcome = NlOutcome::kHandled;
  if (request.has(NLM_F_REQUEST) && request.header.nlmsg_type >= NLMSG_MIN_TYPE) {
    outcome = Dispatch(request, reply);
  }
  for (std::string& datagram : reply.Take()) Deliver(std::move(datagram), 0);
  if (outcome.ok() && (*outcome == NlOutcome::kDumped || !request.has(NLM_F_ACK))) return;
  const int error = outcome.ok() ? 0 : -outcome.error().code();
  const std::string_view words = has(kExtendedAck) ? reply.words() : std::string_view();
  Deliver(NlError(request, error, has(kCappedAck), words), 0);
}

Result<NlOutcome> NetlinkSocket::Dispatch(const NlRequest& request, NlReply& reply) {
  if (what().protocol == NETLINK_SOCK_DIAG) return HandleDiag(*space_, request, reply);
  return HandleRoute(space_->devices(), request, reply);
}

bool NetlinkSocket::is_member() const {
  absl::MutexLock lock(&mu_);
  return groups_ != 0;
}

bool NetlinkSocket::IsIn(uint32_t group) const {
  absl::MutexLock lock(&mu_);
  return group != 0 && group <= kMaxGroup && (groups_ >> (group - 1) & 1) != 0;
}

void NetlinkSocket::Deliver(std::string bytes, uint32_t port, uint32_t group) {
  if (!options().filter.empty()) {
    const auto kept = options().filter.Keep(std::as_bytes(std::span(bytes)));
    if (!kept) return;
    bytes.resize(*kept);
  }
  {
    absl::MutexLock lock(&mu_);
    const auto room = static_cast<size_t>(std::max(0, options().receive_buffer.load()));
    if (queued_bytes_ <= room) {
      queued_bytes_ += bytes.size();
      queue_.push_back({std::move(bytes), port, group});
    } else if ((flags_ & kNoBufferErrors) == 0) {
      SetError(Errno(ENOBUFS));
    }
  }
  Notify(POLLIN | POLLRDNORM);
}

Result<size_t> NetlinkSocket::Receive(IoDst& dst, IncomingMessage& message) {
  if ((message.flags & MSG_OOB) != 0) return Errno(EOPNOTSUPP);
  TRY(TakeError());
  Datagram datagram;
  bool info = false;
  {
    absl::MutexLock lock(&mu_);
    if (queue_.empty()) return Errno(EAGAIN);
    if ((message.flags & MSG_PEEK) != 0) {
      datagram = queue_.front();
    } else {
      datagram = std::move(queue_.front());
      queue_.pop_front();
      queued_bytes_ -= datagram.bytes.size();
    }
    info = (flags_ & kPacketInfo) != 0;
  }
  const size_t size = std::min(dst.remaining(), datagram.bytes.size());
  if (size != 0) TRY(dst.CopyOut(std::as_bytes(std::span(datagram.bytes)).first(size)));
  message.full_size = datagram.bytes.size();
  if (size < datagram.bytes.size()) message.answer_flags |= MSG_TRUNC;
  // netlink_group_mask()
  const bool named = datagram.group != 0 && datagram.group <= 32;
  message.from = NameOf(datagram.port, named ? 1u << (datagram.group - 1) : 0);
  if (info) {
    message.control.others.push_back(
        {SOL_NETLINK, NETLINK_PKTINFO, std::string(NlBytes(nl_pktinfo{.group = datagram.group}))});
  }
  return size;
}

Result<int64_t> NetlinkSocket::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  return DeviceIoctl(task, space_->devices(), AF_NETLINK, command, arg);
}

}  // namespace sentry
