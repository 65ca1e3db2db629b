#include "gofer/net/server.h"

#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "gofer/net/options.h"
#include "gofer/protocol/net_messages.h"

namespace gofer {
namespace {

constexpr uint32_t kMaxParts = 4096;  // Of one dump: 128 MiB of routes are enough.

// Addresses are of the two families, or of none (connect(2) dissolves an association with it).
bool IsAddress(NetOp op, std::span<const std::byte> data) {
  sa_family_t family = AF_UNSPEC;
  if (data.size() < sizeof(family) || data.size() > sizeof(sockaddr_storage)) return false;
  memcpy(&family, data.data(), sizeof(family));
  return family == AF_INET || family == AF_INET6 || (family == AF_UNSPEC && op == NetOp::kConnect);
}

// TCP, UDP and echo; raw sockets of ICMP for those that may (CAP_NET_RAW), which ping(8) falls back
// on. EACCES, EPROTONOSUPPORT, ESOCKTNOSUPPORT.
int CheckKind(int domain, int type, int protocol) {
  if (domain != AF_INET && domain != AF_INET6) return EAFNOSUPPORT;
  const int echo = domain == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
  switch (type) {
    case SOCK_STREAM:
      return protocol == 0 || protocol == IPPROTO_TCP ? 0 : EPROTONOSUPPORT;
    case SOCK_DGRAM:
      return protocol == 0 || protocol == IPPROTO_UDP || protocol == echo ? 0 : EPROTONOSUPPORT;
    case SOCK_RAW:
      return protocol == echo ? 0 : EPROTONOSUPPORT;
    default:
      return ESOCKTNOSUPPORT;
  }
}

// Of the body that a dump's request has; 0 for those that are not asked for.
size_t DumpBodySize(int type) {
  switch (type) {
    case RTM_GETLINK:
      return sizeof(ifinfomsg);
    case RTM_GETADDR:
      return sizeof(ifaddrmsg);
    case RTM_GETROUTE:
      return sizeof(rtmsg);
    case RTM_GETRULE:
      return sizeof(fib_rule_hdr);
    case RTM_GETNEIGH:
      return sizeof(ndmsg);
    default:
      return 0;
  }
}

class Server {
 public:
  Server(UniqueFd socket, UniqueFd route) : socket_(std::move(socket)), route_(std::move(route)) {}

  // Until the sentry is gone.
  void Run() {
    while (ServeOne()) {
    }
  }

 private:
  bool ServeOne() {
    NetRequest request;
    UniqueFd subject;
    if (!Receive(request, subject)) return false;
    if (request.op == NetOp::kDump) return Dump(request.a);
    NetReply reply;
    UniqueFd made;
    reply.error = Handle(request, subject.get(), reply, made);
    if (reply.error != 0) reply.size = 0;
    subject.reset();  // Before the answer: afterwards the sentry's copy is the last one.
    return Send(reply, {data_, reply.size}, made.get());
  }

  bool Receive(NetRequest& request, UniqueFd& subject) {
    iovec io[2] = {{.iov_base = &request, .iov_len = sizeof(request)},
                   {.iov_base = asked_, .iov_len = sizeof(asked_)}};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = io;
    header.msg_iovlen = 2;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    ssize_t count;
    do {
      count = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
    } while (count < 0 && errno == EINTR);
    if (count <= 0) return false;
    const cmsghdr* const first = CMSG_FIRSTHDR(&header);
    if (first != nullptr && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS &&
        first->cmsg_len == CMSG_LEN(sizeof(int))) {
      int fd;
      memcpy(&fd, CMSG_DATA(first), sizeof(fd));
      subject.reset(fd);
    }
    const auto size = static_cast<size_t>(count);
    if (size < sizeof(request)) request = {};
    asked_size_ = size - std::min(size, sizeof(request));
    return true;
  }

  // Sends and tells whether to go on.
  bool Send(const NetReply& reply, std::span<const std::byte> data, int fd) {
    iovec io[2] = {{.iov_base = const_cast<NetReply*>(&reply), .iov_len = sizeof(reply)},
                   {.iov_base = const_cast<std::byte*>(data.data()), .iov_len = data.size()}};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = io;
    header.msg_iovlen = 2;
    if (fd >= 0) {
      header.msg_control = control;
      header.msg_controllen = sizeof(control);
      cmsghdr* const cmsg = CMSG_FIRSTHDR(&header);
      cmsg->cmsg_level = SOL_SOCKET;
      cmsg->cmsg_type = SCM_RIGHTS;
      cmsg->cmsg_len = CMSG_LEN(sizeof(int));
      memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
    }
    return sendmsg(socket_.get(), &header, MSG_NOSIGNAL) >= 0;
  }

  int Handle(const NetRequest& request, int subject, NetReply& reply, UniqueFd& made) {
    if (request.op == NetOp::kSocket) return MakeSocket(request, made);
    if (subject < 0) return EBADF;
    switch (request.op) {
      case NetOp::kBind:
        if (!IsAddress(request.op, asked())) return EINVAL;
        return Outcome(bind(subject, Address(), AskedSize()));
      case NetOp::kConnect:
        if (!IsAddress(request.op, asked())) return EINVAL;
        return Outcome(connect(subject, Address(), AskedSize()));
      case NetOp::kListen:
        return Outcome(listen(subject, request.a));
      case NetOp::kLocalName:
      case NetOp::kPeerName:
        return Name(request.op, subject, reply);
      case NetOp::kShutdown:
        return Outcome(shutdown(subject, request.a));
      case NetOp::kSetOption:
        if (const int refused = MaySetOption(request.a, request.b, asked_size_); refused != 0) {
          return refused;
        }
        return Outcome(setsockopt(subject, request.a, request.b, asked_, AskedSize()));
      case NetOp::kGetOption:
        return GetOption(request, subject, reply);
      default:
        return EINVAL;
    }
  }

  static int Outcome(int result) { return result == 0 ? 0 : errno; }
  // What came behind the request.
  std::span<const std::byte> asked() const { return {asked_, asked_size_}; }
  socklen_t AskedSize() const { return static_cast<socklen_t>(asked_size_); }
  const sockaddr* Address() const { return reinterpret_cast<const sockaddr*>(asked_); }

  static int MakeSocket(const NetRequest& request, UniqueFd& made) {
    const int refused = CheckKind(request.a, request.b, request.c);
    if (refused != 0) return refused;
    made.reset(socket(request.a, request.b | SOCK_NONBLOCK | SOCK_CLOEXEC, request.c));
    return made.valid() ? 0 : errno;
  }

  int Name(NetOp op, int subject, NetReply& reply) {
    socklen_t size = sizeof(sockaddr_storage);
    auto* const name = reinterpret_cast<sockaddr*>(data_);
    const int result = op == NetOp::kLocalName ? getsockname(subject, name, &size)
                                               : getpeername(subject, name, &size);
    reply.size = size;
    return Outcome(result);
  }

  int GetOption(const NetRequest& request, int subject, NetReply& reply) {
    if (!MayGetOption(request.a, request.b)) return ENOPROTOOPT;
    if (request.c < 0) return EINVAL;
    auto size = static_cast<socklen_t>(std::min<size_t>(static_cast<size_t>(request.c), kNetData));
    if (const EntryList list = EntriesOf(request.a, request.b); list.header > 0) {
      if (asked_size_ != list.header || size < list.header) return EINVAL;
      memcpy(data_, asked_, list.header);
      // The kernel believes this number, so that it must not exceed our buffer.
      uint32_t count;
      std::byte* const at = data_ + list.header - sizeof(count);
      memcpy(&count, at, sizeof(count));
      const size_t fit = (size - list.header) / list.entry;
      count = std::min(count, static_cast<uint32_t>(fit));
      memcpy(at, &count, sizeof(count));
    }
    const int result = getsockopt(subject, request.a, request.b, data_, &size);
    reply.size = std::min<uint32_t>(size, kNetData);
    return Outcome(result);
  }

  bool Fail(int error) { return Send({.error = error}, {}, -1); }

  bool Dump(int type) {
    const size_t body = DumpBodySize(type);
    if (body == 0) return Fail(EINVAL);
    if (!route_.valid()) return Fail(EOPNOTSUPP);
    struct {
      nlmsghdr header;
      char body[16];  // Zeroes: everything of the kind.
    } ask{};
    ask.header.nlmsg_len = static_cast<uint32_t>(sizeof(ask.header) + body);
    ask.header.nlmsg_type = static_cast<uint16_t>(type);
    ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    iovec io{.iov_base = &ask, .iov_len = ask.header.nlmsg_len};
    msghdr header{};
    header.msg_iov = &io;
    header.msg_iovlen = 1;
    if (sendmsg(route_.get(), &header, MSG_NOSIGNAL) < 0) return Fail(errno);
    return PassDumpOn();
  }

  bool PassDumpOn() {
    for (uint32_t part = 0; part < kMaxParts; ++part) {
      iovec io{.iov_base = dump_, .iov_len = sizeof(dump_)};
      msghdr header{};
      header.msg_iov = &io;
      header.msg_iovlen = 1;
      const ssize_t count = recvmsg(route_.get(), &header, 0);
      if (count < 0) return Fail(errno);
      const bool last = HasEnd({dump_, static_cast<size_t>(count)});
      const NetReply reply{.size = static_cast<uint32_t>(count), .more = last ? 0u : 1u};
      if (!Send(reply, {dump_, reply.size}, -1)) return false;
      if (last) return true;
    }
    return false;
  }

  // NLMSG_DONE, NLMSG_ERROR, or nothing that could be followed.
  static bool HasEnd(std::span<const std::byte> bytes) {
    while (bytes.size() >= sizeof(nlmsghdr)) {
      nlmsghdr header;
      memcpy(&header, bytes.data(), sizeof(header));
      if (header.nlmsg_type == NLMSG_DONE || header.nlmsg_type == NLMSG_ERROR) return true;
      if (header.nlmsg_len < sizeof(header)) return true;
      bytes = bytes.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), bytes.size()));
    }
    return false;
  }

  const UniqueFd socket_, route_;
  alignas(8) std::byte asked_[kNetData] = {};
  size_t asked_size_ = 0;
  alignas(8) std::byte data_[kNetData] = {};
  alignas(8) std::byte dump_[kNetDumpPart] = {};
};

}  // namespace

int ServeNetwork(UniqueFd socket, const std::function<bool()>& lock_down) {
  UniqueFd route(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  static Server* const server = new Server(std::move(socket), std::move(route));
  if (lock_down && !lock_down()) return 1;
  server->Run();
  return 0;
}

}  // namespace gofer
