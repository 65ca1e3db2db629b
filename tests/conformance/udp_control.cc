// Control messages, multicast and the error queue of UDP sockets: ip(7), ipv6(7), cmsg(3).
// clang-format off
#include <time.h>
#include <linux/net_tstamp.h>
#include <linux/errqueue.h>  // Needs <time.h> and does not include it.
// clang-format on
#include <sys/uio.h>

#include "tests/conformance/inet_support.h"

namespace {

// The index of "lo", in every network namespace.
constexpr int kLoopback = 1;

INET_SUITE(UdpControl);
INET_SUITE(UdpErrors);

// What recvmsg(2) tells: data, source, flags and control messages.
struct Message {
  std::string data;
  InetAddress from;
  int flags = 0;
  alignas(cmsghdr) char control[512] = {};
  msghdr header = {};

  // The payload of the first control message of this kind, or nullptr.
  template <typename T>
  const T* Find(int level, int type) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_level == level && c->cmsg_type == type && c->cmsg_len >= CMSG_LEN(sizeof(T))) {
        return reinterpret_cast<const T*>(CMSG_DATA(c));
      }
    }
    return nullptr;
  }
};

ssize_t ReceiveMessage(const UniqueFd& fd, Message& message, int flags = 0) {
  message.data.assign(4096, '\0');
  iovec io = {message.data.data(), message.data.size()};
  message.header = {.msg_name = message.from.get(),
                    .msg_namelen = message.from.size,
                    .msg_iov = &io,
                    .msg_iovlen = 1,
                    .msg_control = message.control,
                    .msg_controllen = sizeof message.control};
  const ssize_t count = recvmsg(fd.get(), &message.header, flags);
  message.data.resize(std::max<ssize_t>(count, 0));
  message.flags = message.header.msg_flags;
  return count;
}

template <typename T>
ssize_t SendWith(const UniqueFd& fd, const InetAddress& to, int level, int type, const T& value) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(T))] = {};
  InetAddress name = to;
  iovec io = {const_cast<char*>("x"), 1};
  msghdr header = {.msg_name = name.get(),
                   .msg_namelen = name.size,
                   .msg_iov = &io,
                   .msg_iovlen = 1,
                   .msg_control = control,
                   .msg_controllen = sizeof control};
  cmsghdr* c = CMSG_FIRSTHDR(&header);
  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(sizeof(T));
  memcpy(CMSG_DATA(c), &value, sizeof value);
  return sendmsg(fd.get(), &header, 0);
}

TEST_P(UdpControl, PacketInfo) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_DGRAM);
  ASSERT_THAT(Bind(fd, Any(GetParam())), Returns(0));
  const InetAddress to = Loopback(GetParam(), NameOf(fd.get()).port());
  if (GetParam() == AF_INET) {
    ASSERT_THAT(SetInt(fd, IPPROTO_IP, IP_PKTINFO, 1), Returns(0));
    ASSERT_THAT(SendTo(fd, "x", to), Returns(1));
    Message message;
    ASSERT_THAT(ReceiveMessage(fd, message), Returns(1));
    const auto* info = message.Find<in_pktinfo>(IPPROTO_IP, IP_PKTINFO);
    ASSERT_NE(info, nullptr);
    EXPECT_EQ(info->ipi_ifindex, kLoopback);
    EXPECT_EQ(ntohl(info->ipi_addr.s_addr), INADDR_LOOPBACK);
    EXPECT_EQ(ntohl(info->ipi_spec_dst.s_addr), INADDR_LOOPBACK);
  } else {
    ASSERT_THAT(SetInt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1), Returns(0));
    ASSERT_THAT(SendTo(fd, "x", to), Returns(1));
    Message message;
    ASSERT_THAT(ReceiveMessage(fd, message), Returns(1));
    const auto* info = message.Find<in6_pktinfo>(IPPROTO_IPV6, IPV6_PKTINFO);
    ASSERT_NE(info, nullptr);
    EXPECT_EQ(info->ipi6_ifindex, unsigned{kLoopback});
    EXPECT_EQ(memcmp(&info->ipi6_addr, &in6addr_loopback, 16), 0);
  }
}

TEST_P(UdpControl, TimeToLive) {
  const UniqueFd fd = NewUdp(GetParam());
  const bool four = GetParam() == AF_INET;
  const int level = four ? int{IPPROTO_IP} : int{IPPROTO_IPV6};
  ASSERT_THAT(SetInt(fd, level, four ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1), Returns(0));
  ASSERT_THAT(SetInt(fd, level, four ? IP_TTL : IPV6_UNICAST_HOPS, 33), Returns(0));
  ASSERT_THAT(SendTo(fd, "x", NameOf(fd.get())), Returns(1));
  Message message;
  ASSERT_THAT(ReceiveMessage(fd, message), Returns(1));
  const int* ttl = message.Find<int>(level, four ? IP_TTL : IPV6_HOPLIMIT);
  ASSERT_NE(ttl, nullptr);
  EXPECT_EQ(*ttl, 33);
}

TEST_P(UdpControl, TimeToLiveOfOneMessage) {
  const UniqueFd fd = NewUdp(GetParam());
  const bool four = GetParam() == AF_INET;
  const int level = four ? int{IPPROTO_IP} : int{IPPROTO_IPV6};
  ASSERT_THAT(SetInt(fd, level, four ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1), Returns(0));
  EXPECT_THAT(SendWith(fd, NameOf(fd.get()), level, four ? IP_TTL : IPV6_HOPLIMIT, 7), Returns(1));
  Message message;
  ASSERT_THAT(ReceiveMessage(fd, message), Returns(1));
  const int* ttl = message.Find<int>(level, four ? IP_TTL : IPV6_HOPLIMIT);
  ASSERT_NE(ttl, nullptr);
  EXPECT_EQ(*ttl, 7);
  EXPECT_THAT(SendWith(fd, NameOf(fd.get()), level, four ? IP_TTL : IPV6_HOPLIMIT, 256),
              FailsWith(EINVAL));
}

TEST_P(UdpControl, TypeOfService) {
  const UniqueFd fd = NewUdp(GetParam());
  const bool four = GetParam() == AF_INET;
  const int level = four ? int{IPPROTO_IP} : int{IPPROTO_IPV6};
  ASSERT_THAT(SetInt(fd, level, four ? IP_RECVTOS : IPV6_RECVTCLASS, 1), Returns(0));
  ASSERT_THAT(SetInt(fd, level, four ? IP_TOS : IPV6_TCLASS, 0x20), Returns(0));
  ASSERT_THAT(SendTo(fd, "x", NameOf(fd.get())), Returns(1));
  Message message;
  ASSERT_THAT(ReceiveMessage(fd, message), Returns(1));
  if (four) {
    const uint8_t* tos = message.Find<uint8_t>(level, IP_TOS);
    ASSERT_NE(tos, nullptr);
    EXPECT_EQ(*tos, 0x20);
  } else {
    const int* tclass = message.Find<int>(level, IPV6_TCLASS);
    ASSERT_NE(tclass, nullptr);
    EXPECT_EQ(*tclass, 0x20);
  }
}

TEST_P(UdpControl, OriginalDestination) {
  const UniqueFd fd = NewUdp(GetParam());
  const bool four = GetParam() == AF_INET;
  const int level = four ? int{IPPROTO_IP} : int{IPPROTO_IPV6};
  const int option = four ? 20 : 74;  // IP_RECVORIGDSTADDR, IPV6_RECVORIGDSTADDR.
  ASSERT_THAT(SetInt(fd, level, option, 1), Returns(0));
  ASSERT_THAT(SendTo(fd, "x", NameOf(fd.get())), Returns(1));
  Message message;
  ASSERT_THAT(ReceiveMessage(fd, message), Returns(1));
  const auto* port = message.Find<sockaddr_in>(level, option);
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(ntohs(port->sin_port), NameOf(fd.get()).port());
}

TEST_P(UdpControl, Timestamps) {
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMP, 1), Returns(0));
  ASSERT_THAT(SendTo(fd, "x", NameOf(fd.get())), Returns(1));
  Message message;
  ASSERT_THAT(ReceiveMessage(fd, message), Returns(1));
  const auto* stamp = message.Find<timeval>(SOL_SOCKET, SO_TIMESTAMP);
  ASSERT_NE(stamp, nullptr);
  EXPECT_GT(stamp->tv_sec, 1'500'000'000);
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1), Returns(0));
  ASSERT_THAT(SendTo(fd, "x", NameOf(fd.get())), Returns(1));
  Message other;
  ASSERT_THAT(ReceiveMessage(fd, other), Returns(1));
  EXPECT_NE(other.Find<timespec>(SOL_SOCKET, SO_TIMESTAMPNS), nullptr);
  EXPECT_EQ(other.Find<timeval>(SOL_SOCKET, SO_TIMESTAMP), nullptr);
}

// SO_TIMESTAMPING, of what arrives: by the kernel's clock, there being no other.
TEST_P(UdpControl, TimestampsOfArrival) {
  constexpr int kFlags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMPING, kFlags), Returns(0));
  int told[2] = {-1, -1};
  socklen_t size = sizeof told;
  EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_TIMESTAMPING, told, &size), Returns(0));
  EXPECT_EQ(told[0], kFlags);
  EXPECT_EQ(told[1], 0);
  // A kernel begins to note times a little after it is asked to.
  ASSERT_TRUE(Eventually([&] {
    Message message;
    if (SendTo(fd, "x", NameOf(fd.get())) != 1 || ReceiveMessage(fd, message) != 1) return false;
    const auto* stamps = message.Find<timespec>(SOL_SOCKET, SO_TIMESTAMPING);
    return stamps != nullptr && stamps[0].tv_sec > 1'500'000'000 && stamps[1].tv_sec == 0 &&
           stamps[2].tv_sec == 0;
  }));
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMPING, 0), Returns(0));
  ASSERT_THAT(SendTo(fd, "x", NameOf(fd.get())), Returns(1));
  Message message;
  ASSERT_THAT(ReceiveMessage(fd, message), Returns(1));
  EXPECT_EQ(message.Find<timespec>(SOL_SOCKET, SO_TIMESTAMPING), nullptr);
}

TEST_P(UdpControl, TimestampsThatCannotBe) {
  const UniqueFd fd = NewUdp(GetParam());
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMPING, 1 << 30), FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_OPT_STATS),
              FailsWith(EINVAL));
}

TEST_P(UdpControl, NothingUnlessAskedFor) {
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(SendTo(fd, "x", NameOf(fd.get())), Returns(1));
  Message message;
  ASSERT_THAT(ReceiveMessage(fd, message), Returns(1));
  EXPECT_EQ(message.header.msg_controllen, 0u);
  EXPECT_EQ(message.flags, 0);
}

TEST_P(UdpControl, ShortRoomTruncates) {
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMP, 1), Returns(0));
  ASSERT_THAT(SendTo(fd, "x", NameOf(fd.get())), Returns(1));
  char byte, control[4];
  iovec io = {&byte, 1};
  msghdr header = {
      .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  EXPECT_THAT(recvmsg(fd.get(), &header, 0), Returns(1));
  EXPECT_EQ(header.msg_flags, MSG_CTRUNC);
}

TEST_P(UdpControl, Drops) {
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_RXQ_OVFL, 1), Returns(0));
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_RCVBUF, 2048), Returns(0));
  const std::string data(500, 'd');
  for (int i = 0; i < 100; i++) ASSERT_THAT(SendTo(fd, data, NameOf(fd.get())), Returns(500));
  while (Receive(fd, 1000, MSG_DONTWAIT) == data) {
  }
  ASSERT_THAT(SendTo(fd, "x", NameOf(fd.get())), Returns(1));
  Message message;
  ASSERT_THAT(ReceiveMessage(fd, message), Returns(1));
  const auto* drops = message.Find<uint32_t>(SOL_SOCKET, SO_RXQ_OVFL);
  ASSERT_NE(drops, nullptr);
  EXPECT_GT(*drops, 0u);
}

TEST_P(UdpErrors, QueueTellsWhatWasRefused) {
  const bool four = GetParam() == AF_INET;
  const int level = four ? int{IPPROTO_IP} : int{IPPROTO_IPV6};
  const int option = four ? IP_RECVERR : IPV6_RECVERR;
  UniqueFd peer = NewUdp(GetParam());
  const InetAddress closed = NameOf(peer.get());
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(SetInt(fd, level, option, 1), Returns(0));
  peer.reset();
  EXPECT_THAT(SendTo(fd, "refused", closed), Returns(7));
  ASSERT_TRUE(AwaitEvents(fd, 0));
  EXPECT_EQ(PollNow(fd) & POLLERR, POLLERR);
  Message message;
  ASSERT_THAT(ReceiveMessage(fd, message, MSG_ERRQUEUE), Returns(7));
  EXPECT_EQ(message.data, "refused");
  EXPECT_EQ(message.flags, MSG_ERRQUEUE);
  EXPECT_EQ(message.from.text(), closed.text());
  const auto* error = message.Find<sock_extended_err>(level, option);
  ASSERT_NE(error, nullptr);
  EXPECT_EQ(error->ee_errno, static_cast<uint32_t>(ECONNREFUSED));
  EXPECT_EQ(error->ee_origin, four ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6);
  EXPECT_EQ(error->ee_type, four ? 3 : 1);
  EXPECT_EQ(error->ee_code, four ? 3 : 4);
  EXPECT_EQ(SO_EE_OFFENDER(error)->sa_family, GetParam());
  EXPECT_THAT(ReceiveMessage(fd, message, MSG_ERRQUEUE), FailsWith(EAGAIN));
}

TEST_P(UdpErrors, EmptyQueueDoesNotWait) {
  const UniqueFd fd = NewUdp(GetParam());
  Message message;
  EXPECT_THAT(ReceiveMessage(fd, message, MSG_ERRQUEUE), FailsWith(EAGAIN));
}

TEST_P(UdpErrors, ErrorIsAlsoPending) {
  const bool four = GetParam() == AF_INET;
  UniqueFd peer = NewUdp(GetParam());
  const InetAddress closed = NameOf(peer.get());
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(
      SetInt(fd, four ? int{IPPROTO_IP} : int{IPPROTO_IPV6}, four ? IP_RECVERR : IPV6_RECVERR, 1),
      Returns(0));
  peer.reset();
  EXPECT_THAT(SendTo(fd, "refused", closed), Returns(7));
  ASSERT_TRUE(AwaitEvents(fd, 0));
  EXPECT_EQ(ErrorOf(fd), ECONNREFUSED);
  EXPECT_EQ(PollNow(fd) & POLLERR, POLLERR);  // The queue is still not empty.
}

TEST(UdpMulticast, MembersHearTheGroup) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  ASSERT_THAT(Bind(fd, At("0.0.0.0")), Returns(0));
  ip_mreqn request = {};
  inet_pton(AF_INET, "239.1.2.3", &request.imr_multiaddr);
  request.imr_ifindex = kLoopback;
  ASSERT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request),
              Returns(0));
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request),
              FailsWith(EADDRINUSE));
  const UniqueFd sender = NewSocket(AF_INET, SOCK_DGRAM);
  const in_addr loopback = {htonl(INADDR_LOOPBACK)};
  ASSERT_THAT(setsockopt(sender.get(), IPPROTO_IP, IP_MULTICAST_IF, &loopback, sizeof loopback),
              Returns(0));
  EXPECT_THAT(SendTo(sender, "group", At("239.1.2.3", NameOf(fd.get()).port())), Returns(5));
  EXPECT_EQ(Receive(fd), "group");
  ASSERT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request),
              Returns(0));
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request),
              FailsWith(EADDRNOTAVAIL));
}

TEST(UdpMulticast, EveryMemberGetsACopy) {
  std::vector<UniqueFd> members;
  uint16_t port = 0;
  ip_mreqn request = {};
  inet_pton(AF_INET, "239.1.2.4", &request.imr_multiaddr);
  request.imr_ifindex = kLoopback;
  for (int i = 0; i < 3; i++) {
    members.push_back(NewSocket(AF_INET, SOCK_DGRAM));
    ASSERT_THAT(SetInt(members.back(), SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
    ASSERT_THAT(Bind(members.back(), At("239.1.2.4", port)), Returns(0));
    port = NameOf(members.back().get()).port();
    ASSERT_THAT(
        setsockopt(members.back().get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request),
        Returns(0));
  }
  const UniqueFd sender = NewSocket(AF_INET, SOCK_DGRAM);
  ip_mreqn interface = {};
  interface.imr_ifindex = request.imr_ifindex;
  ASSERT_THAT(setsockopt(sender.get(), IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface),
              Returns(0));
  EXPECT_THAT(SendTo(sender, "copy", At("239.1.2.4", port)), Returns(4));
  for (const UniqueFd& member : members) EXPECT_EQ(Receive(member), "copy");
}

TEST(UdpMulticast, BadMemberships) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  ip_mreqn request = {};
  inet_pton(AF_INET, "10.1.2.3", &request.imr_multiaddr);
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request),
              FailsWith(EINVAL));
  inet_pton(AF_INET, "239.1.2.3", &request.imr_multiaddr);
  request.imr_ifindex = 12345;
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request),
              FailsWith(ENODEV));
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, 4), FailsWith(EINVAL));
}

// What the member `fd` receives of two messages, the first from 127.0.0.1, the other from
// 127.0.0.2.
std::string HeardOfTwo(const UniqueFd& fd, const char* group) {
  const InetAddress to = At(group, NameOf(fd.get()).port());
  for (const char* from : {"127.0.0.1", "127.0.0.2"}) {
    const UniqueFd sender = NewSocket(AF_INET, SOCK_DGRAM);
    const in_addr loopback = {htonl(INADDR_LOOPBACK)};
    EXPECT_THAT(setsockopt(sender.get(), IPPROTO_IP, IP_MULTICAST_IF, &loopback, sizeof loopback),
                Returns(0));
    EXPECT_THAT(Bind(sender, At(from)), Returns(0));
    EXPECT_THAT(SendTo(sender, from + 8, to), Returns(1));
  }
  // One that arrives in any case ends what there is.
  EXPECT_THAT(SendTo(fd, "e", At("127.0.0.1", NameOf(fd.get()).port())), Returns(1));
  std::string heard;
  for (std::string one = Receive(fd); one != "e"; one = Receive(fd)) heard += one;
  return heard;
}

TEST(UdpMulticast, SourcesThatAreWanted) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  ASSERT_THAT(Bind(fd, At("0.0.0.0")), Returns(0));
  ip_mreq_source request = {};
  inet_pton(AF_INET, "239.1.2.9", &request.imr_multiaddr);
  inet_pton(AF_INET, "127.0.0.1", &request.imr_interface);
  inet_pton(AF_INET, "127.0.0.2", &request.imr_sourceaddr);
  const auto change = [&](int name) {
    return setsockopt(fd.get(), IPPROTO_IP, name, &request, sizeof request);
  };
  EXPECT_THAT(change(IP_BLOCK_SOURCE), FailsWith(EINVAL));
  EXPECT_THAT(change(IP_DROP_SOURCE_MEMBERSHIP), FailsWith(EINVAL));
  EXPECT_THAT(change(IP_ADD_SOURCE_MEMBERSHIP), Returns(0));
  EXPECT_THAT(change(IP_ADD_SOURCE_MEMBERSHIP), FailsWith(EADDRNOTAVAIL));
  EXPECT_THAT(change(IP_BLOCK_SOURCE), FailsWith(EINVAL));
  EXPECT_EQ(HeardOfTwo(fd, "239.1.2.9"), "2");
  inet_pton(AF_INET, "127.0.0.1", &request.imr_sourceaddr);
  EXPECT_THAT(change(IP_ADD_SOURCE_MEMBERSHIP), Returns(0));
  EXPECT_EQ(HeardOfTwo(fd, "239.1.2.9"), "12");
  EXPECT_THAT(change(IP_DROP_SOURCE_MEMBERSHIP), Returns(0));
  EXPECT_THAT(change(IP_DROP_SOURCE_MEMBERSHIP), FailsWith(EADDRNOTAVAIL));
  inet_pton(AF_INET, "127.0.0.2", &request.imr_sourceaddr);
  EXPECT_THAT(change(IP_DROP_SOURCE_MEMBERSHIP), Returns(0));
  EXPECT_THAT(change(IP_DROP_SOURCE_MEMBERSHIP), FailsWith(EINVAL));  // No member any more.
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &request, 8),
              FailsWith(EINVAL));
}

TEST(UdpMulticast, SourcesThatAreNotWanted) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  ASSERT_THAT(Bind(fd, At("0.0.0.0")), Returns(0));
  group_source_req request = {};
  request.gsr_interface = kLoopback;
  auto& group = reinterpret_cast<sockaddr_in&>(request.gsr_group);
  auto& source = reinterpret_cast<sockaddr_in&>(request.gsr_source);
  group.sin_family = source.sin_family = AF_INET;
  inet_pton(AF_INET, "239.1.2.10", &group.sin_addr);
  inet_pton(AF_INET, "127.0.0.1", &source.sin_addr);
  const auto change = [&](int name, size_t size = sizeof(group_source_req)) {
    return setsockopt(fd.get(), IPPROTO_IP, name, &request, static_cast<socklen_t>(size));
  };
  EXPECT_THAT(change(MCAST_JOIN_GROUP, sizeof(group_req)), Returns(0));
  EXPECT_THAT(change(MCAST_JOIN_GROUP, sizeof(group_req)), FailsWith(EADDRINUSE));
  EXPECT_EQ(HeardOfTwo(fd, "239.1.2.10"), "12");
  EXPECT_THAT(change(MCAST_BLOCK_SOURCE), Returns(0));
  EXPECT_EQ(HeardOfTwo(fd, "239.1.2.10"), "2");
  EXPECT_THAT(change(MCAST_JOIN_SOURCE_GROUP), FailsWith(EINVAL));  // Of the other mode.
  EXPECT_THAT(change(MCAST_UNBLOCK_SOURCE), Returns(0));
  EXPECT_THAT(change(MCAST_UNBLOCK_SOURCE), FailsWith(EADDRNOTAVAIL));
  EXPECT_EQ(HeardOfTwo(fd, "239.1.2.10"), "12");
  EXPECT_THAT(change(MCAST_LEAVE_GROUP, sizeof(group_req)), Returns(0));
  EXPECT_THAT(change(MCAST_LEAVE_GROUP, sizeof(group_req)), FailsWith(EADDRNOTAVAIL));
  EXPECT_THAT(change(MCAST_JOIN_SOURCE_GROUP), Returns(0));
  EXPECT_EQ(HeardOfTwo(fd, "239.1.2.10"), "1");
  EXPECT_THAT(change(MCAST_LEAVE_SOURCE_GROUP), Returns(0));
  EXPECT_THAT(change(MCAST_JOIN_GROUP, 100), FailsWith(EINVAL));
  source.sin_family = AF_INET6;
  EXPECT_THAT(change(MCAST_JOIN_SOURCE_GROUP), FailsWith(EADDRNOTAVAIL));
}

TEST(UdpMulticast, LoopAndTimeToLive) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_MULTICAST_LOOP), 1);
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_MULTICAST_TTL), 1);
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_MULTICAST_TTL, 9), Returns(0));
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_MULTICAST_TTL), 9);
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, IP_MULTICAST_TTL, 256), FailsWith(EINVAL));
  const uint8_t off = 0;
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IP, IP_MULTICAST_LOOP, &off, 1), Returns(0));
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, IP_MULTICAST_LOOP), 0);
  const UniqueFd tcp = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(SetInt(tcp, IPPROTO_IP, IP_MULTICAST_TTL, 9), FailsWith(EINVAL));
}

TEST(UdpMulticast, SixMembers) {
  const UniqueFd fd = NewSocket(AF_INET6, SOCK_DGRAM);
  ASSERT_THAT(Bind(fd, At("::")), Returns(0));
  ipv6_mreq request = {};
  inet_pton(AF_INET6, "ff01::1234", &request.ipv6mr_multiaddr);
  request.ipv6mr_interface = kLoopback;
  ASSERT_THAT(setsockopt(fd.get(), IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request),
              Returns(0));
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request, sizeof request),
              FailsWith(EADDRINUSE));
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &request, sizeof request),
              Returns(0));
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IPV6, IPV6_DROP_MEMBERSHIP, &request, sizeof request),
              FailsWith(EADDRNOTAVAIL));
}

}  // namespace
