// netlink(7): sockets, names, options, and how messages are received.
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "tests/conformance/netlink_support.h"

namespace {

int BindTo(int fd, uint32_t pid, uint32_t groups = 0, int family = AF_NETLINK,
           socklen_t size = sizeof(sockaddr_nl)) {
  sockaddr_nl name{};
  name.nl_family = static_cast<sa_family_t>(family);
  name.nl_pid = pid;
  name.nl_groups = groups;
  return bind(fd, reinterpret_cast<sockaddr*>(&name), size);
}

int ConnectTo(int fd, uint32_t pid, int family = AF_NETLINK, socklen_t size = sizeof(sockaddr_nl)) {
  sockaddr_nl name{};
  name.nl_family = static_cast<sa_family_t>(family);
  name.nl_pid = pid;
  return connect(fd, reinterpret_cast<sockaddr*>(&name), size);
}

ssize_t SendTo(int fd, std::string_view bytes, const sockaddr_nl& to,
               socklen_t size = sizeof(sockaddr_nl), int flags = 0) {
  return sendto(fd, bytes.data(), bytes.size(), flags, reinterpret_cast<const sockaddr*>(&to),
                size);
}

int Option(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof(value);
  EXPECT_THAT(getsockopt(fd, SOL_NETLINK, option, &value, &size), Returns(0));
  return value;
}

std::string LoRequest(uint16_t flags = NLM_F_REQUEST) {
  return Netlink::Request(RTM_GETLINK, flags, Bytes(LinkBody(1)));
}

TEST(NetlinkSocket, Types) {
  for (const int type : {SOCK_RAW, SOCK_DGRAM}) {
    UniqueFd fd(socket(AF_NETLINK, type, NETLINK_ROUTE));
    EXPECT_TRUE(fd.valid());
  }
  EXPECT_THAT(socket(AF_NETLINK, SOCK_STREAM, NETLINK_ROUTE), FailsWith(ESOCKTNOSUPPORT));
  EXPECT_THAT(socket(AF_NETLINK, SOCK_SEQPACKET, NETLINK_ROUTE), FailsWith(ESOCKTNOSUPPORT));
}

TEST(NetlinkSocket, ProtocolsOutOfRange) {
  EXPECT_THAT(socket(AF_NETLINK, SOCK_RAW, -1), FailsWith(EPROTONOSUPPORT));
  EXPECT_THAT(socket(AF_NETLINK, SOCK_RAW, 32), FailsWith(EPROTONOSUPPORT));
  EXPECT_THAT(socket(AF_NETLINK, SOCK_RAW, 1), FailsWith(EPROTONOSUPPORT));
  EXPECT_THAT(socket(AF_NETLINK, SOCK_RAW, 31), FailsWith(EPROTONOSUPPORT));
}

TEST(NetlinkSocket, Flags) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  EXPECT_THAT(fcntl(fd.get(), F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_NONBLOCK | O_RDWR);
  struct stat st {};
  ASSERT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_TRUE(S_ISSOCK(st.st_mode));
}

TEST(NetlinkSocket, WhatItIs) {
  Netlink nl;
  for (const auto& [option, expected] :
       {std::pair(SO_DOMAIN, AF_NETLINK), std::pair(SO_TYPE, static_cast<int>(SOCK_RAW)),
        std::pair(SO_PROTOCOL, NETLINK_ROUTE), std::pair(SO_ACCEPTCONN, 0),
        std::pair(SO_ERROR, 0)}) {
    int value = -1;
    socklen_t size = sizeof(value);
    EXPECT_THAT(getsockopt(nl.fd(), SOL_SOCKET, option, &value, &size), Returns(0)) << option;
    EXPECT_EQ(value, expected) << option;
  }
}

TEST(NetlinkSocket, UnboundHasNoName) {
  Netlink nl;
  const sockaddr_nl name = nl.Name();
  EXPECT_EQ(name.nl_family, AF_NETLINK);
  EXPECT_EQ(name.nl_pid, 0u);
  EXPECT_EQ(name.nl_groups, 0u);
}

TEST(NetlinkSocket, TheFirstIsNamedAfterTheProcess) {
  // In a child, which has no other socket.
  EXPECT_THAT(
      InChild([] {
        UniqueFd a(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
        UniqueFd b(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
        UniqueFd other(socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT));
        sockaddr_nl name[3]{};
        int i = 0;
        for (const UniqueFd* fd : {&a, &b, &other}) {
          CHILD_CHECK(BindTo(fd->get(), 0) == 0);
          socklen_t size = sizeof(name[i]);
          CHILD_CHECK(getsockname(fd->get(), reinterpret_cast<sockaddr*>(&name[i]), &size) == 0);
          ++i;
        }
        CHILD_CHECK(name[0].nl_pid == static_cast<uint32_t>(getpid()));
        CHILD_CHECK(name[1].nl_pid != name[0].nl_pid && static_cast<int32_t>(name[1].nl_pid) < 0);
        CHILD_CHECK(name[2].nl_pid == name[0].nl_pid);  // Another protocol, other names.
        return 0;
      }),
      Exited(0));
}

TEST(NetlinkSocket, AChosenName) {
  Netlink a, b;
  EXPECT_THAT(BindTo(a.fd(), 0x7654321), Returns(0));
  EXPECT_EQ(a.Name().nl_pid, 0x7654321u);
  EXPECT_THAT(BindTo(b.fd(), 0x7654321), FailsWith(EADDRINUSE));
  a.Close();
  EXPECT_THAT(BindTo(b.fd(), 0x7654321), Returns(0));
}

TEST(NetlinkSocket, ANameIsForGood) {
  Netlink nl;
  EXPECT_THAT(BindTo(nl.fd(), 0x7654322), Returns(0));
  EXPECT_THAT(BindTo(nl.fd(), 0x7654322), Returns(0));
  EXPECT_THAT(BindTo(nl.fd(), 0x7654323), FailsWith(EINVAL));
  EXPECT_THAT(BindTo(nl.fd(), 0), FailsWith(EINVAL));
}

TEST(NetlinkSocket, BindChecksTheAddress) {
  Netlink nl;
  EXPECT_THAT(BindTo(nl.fd(), 0, 0, AF_INET), FailsWith(EINVAL));
  EXPECT_THAT(BindTo(nl.fd(), 0, 0, AF_NETLINK, 8), FailsWith(EINVAL));
  EXPECT_THAT(bind(nl.fd(), reinterpret_cast<sockaddr*>(8), sizeof(sockaddr_nl)),
              FailsWith(EFAULT));
}

TEST(NetlinkSocket, GroupsShowInTheName) {
  Netlink nl;
  EXPECT_THAT(BindTo(nl.fd(), 0, RTMGRP_LINK | RTMGRP_IPV4_IFADDR), Returns(0));
  EXPECT_EQ(nl.Name().nl_groups, static_cast<uint32_t>(RTMGRP_LINK | RTMGRP_IPV4_IFADDR));
}

TEST(NetlinkSocket, Memberships) {
  Netlink nl;
  nl.Set(NETLINK_ADD_MEMBERSHIP, RTNLGRP_LINK);
  nl.Set(NETLINK_ADD_MEMBERSHIP, RTNLGRP_IPV6_ROUTE);
  EXPECT_EQ(nl.Name().nl_groups, (1u << (RTNLGRP_LINK - 1)) | (1u << (RTNLGRP_IPV6_ROUTE - 1)));
  nl.Set(NETLINK_DROP_MEMBERSHIP, RTNLGRP_LINK);
  EXPECT_EQ(nl.Name().nl_groups, 1u << (RTNLGRP_IPV6_ROUTE - 1));
  int group = 0;
  EXPECT_THAT(setsockopt(nl.fd(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)),
              FailsWith(EINVAL));
  group = 1000;
  EXPECT_THAT(setsockopt(nl.fd(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)),
              FailsWith(EINVAL));
}

TEST(NetlinkSocket, MembershipsAreListed) {
  Netlink nl;
  nl.Set(NETLINK_ADD_MEMBERSHIP, RTNLGRP_LINK);
  uint32_t words[8] = {};
  socklen_t size = sizeof(words);
  EXPECT_THAT(getsockopt(nl.fd(), SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &size), Returns(0));
  EXPECT_EQ(words[0], 1u << (RTNLGRP_LINK - 1));
  EXPECT_GE(size, 4u);
}

TEST(NetlinkSocket, SendingGivesAName) {
  Netlink nl;
  EXPECT_THAT(nl.Send(LoRequest()), Returns(static_cast<ssize_t>(LoRequest().size())));
  EXPECT_NE(nl.Name().nl_pid, 0u);
}

TEST(NetlinkSocket, ConnectingGivesAName) {
  Netlink nl;
  EXPECT_THAT(ConnectTo(nl.fd(), 0), Returns(0));
  EXPECT_NE(nl.Name().nl_pid, 0u);
  sockaddr_nl peer{};
  socklen_t size = sizeof(peer);
  EXPECT_THAT(getpeername(nl.fd(), reinterpret_cast<sockaddr*>(&peer), &size), Returns(0));
  EXPECT_EQ(size, sizeof(peer));
  EXPECT_EQ(peer.nl_family, AF_NETLINK);
  EXPECT_EQ(peer.nl_pid, 0u);
}

TEST(NetlinkSocket, ConnectChecksTheAddress) {
  Netlink nl;
  EXPECT_THAT(ConnectTo(nl.fd(), 0, AF_INET), FailsWith(EINVAL));
  EXPECT_THAT(ConnectTo(nl.fd(), 0, AF_NETLINK, 8), FailsWith(EINVAL));
  EXPECT_THAT(ConnectTo(nl.fd(), 0, AF_NETLINK, 1), FailsWith(EINVAL));
  EXPECT_THAT(ConnectTo(nl.fd(), 0, AF_UNSPEC), Returns(0));
}

TEST(NetlinkSocket, PeerOfAnUnconnectedOne) {
  Netlink nl;
  sockaddr_nl peer{};
  socklen_t size = sizeof(peer);
  EXPECT_THAT(getpeername(nl.fd(), reinterpret_cast<sockaddr*>(&peer), &size), Returns(0));
  EXPECT_EQ(peer.nl_pid, 0u);
}

TEST(NetlinkSocket, NoStreams) {
  Netlink nl;
  EXPECT_THAT(listen(nl.fd(), 5), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(accept(nl.fd(), nullptr, nullptr), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(shutdown(nl.fd(), SHUT_RDWR), FailsWith(EOPNOTSUPP));
  int pair[2];
  EXPECT_THAT(socketpair(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, pair), FailsWith(EOPNOTSUPP));
}

TEST(NetlinkSocket, SendChecksTheAddress) {
  Netlink nl;
  sockaddr_nl to{};
  to.nl_family = AF_INET;
  EXPECT_THAT(SendTo(nl.fd(), LoRequest(), to), FailsWith(EINVAL));
  to.nl_family = AF_NETLINK;
  EXPECT_THAT(SendTo(nl.fd(), LoRequest(), to, 8), FailsWith(EINVAL));
  EXPECT_THAT(SendTo(nl.fd(), LoRequest(), to, sizeof(to), MSG_OOB), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(SendTo(nl.fd(), LoRequest(), to), Succeeds());
}

TEST(NetlinkSocket, SendToNobody) {
  Netlink nl;
  sockaddr_nl to{};
  to.nl_family = AF_NETLINK;
  to.nl_pid = 0x76543ff;
  EXPECT_THAT(SendTo(nl.fd(), LoRequest(), to), FailsWith(ECONNREFUSED));
}

TEST(NetlinkSocket, SendToAnother) {
  Netlink a, b;
  ASSERT_THAT(BindTo(a.fd(), 0x7654324), Returns(0));
  ASSERT_THAT(BindTo(b.fd(), 0x7654325), Returns(0));
  sockaddr_nl to{};
  to.nl_family = AF_NETLINK;
  to.nl_pid = 0x7654325;
  EXPECT_THAT(SendTo(a.fd(), "anything", to), Returns(8));
  sockaddr_nl from{};
  socklen_t size = sizeof(from);
  char buffer[32];
  EXPECT_THAT(
      recvfrom(b.fd(), buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr*>(&from), &size),
      Returns(8));
  EXPECT_EQ(from.nl_pid, 0x7654324u);
}

TEST(NetlinkSocket, OrdinaryUsersSendToTheKernelOnly) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setresuid(65534, 65534, 65534) == 0);
                UniqueFd fd(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
                CHILD_CHECK(fd.valid());
                sockaddr_nl to{};
                to.nl_family = AF_NETLINK;
                to.nl_pid = 0x76543ff;
                CHILD_CHECK(SendTo(fd.get(), LoRequest(), to) == -1 && errno == EPERM);
                CHILD_CHECK(ConnectTo(fd.get(), 5) == -1 && errno == EPERM);
                to.nl_pid = 0;
                CHILD_CHECK(SendTo(fd.get(), LoRequest(), to) > 0);
                return 0;
              }),
              Exited(0));
}

TEST(NetlinkSocket, NothingToSend) {
  Netlink nl;
  EXPECT_THAT(send(nl.fd(), "", 0, 0), FailsWith(ENODATA));
}

TEST(NetlinkSocket, TooMuchToSend) {
  Netlink nl;
  const std::string huge(1 << 20, 'x');
  EXPECT_THAT(nl.Send(huge), FailsWith(EMSGSIZE));
}

TEST(NetlinkReceive, NothingYet) {
  Netlink nl(NETLINK_ROUTE, SOCK_RAW | SOCK_NONBLOCK);
  char byte;
  EXPECT_THAT(recv(nl.fd(), &byte, 1, 0), FailsWith(EAGAIN));
  EXPECT_THAT(read(nl.fd(), &byte, 1), FailsWith(EAGAIN));
  EXPECT_THAT(recv(nl.fd(), &byte, 1, MSG_OOB), FailsWith(EOPNOTSUPP));
  pollfd p = {nl.fd(), POLLIN | POLLOUT, 0};
  EXPECT_THAT(poll(&p, 1, 0), Returns(1));
  EXPECT_EQ(p.revents, POLLOUT);
}

TEST(NetlinkReceive, AnswersAreReadable) {
  Netlink nl;
  ASSERT_THAT(nl.Send(LoRequest()), Succeeds());
  pollfd p = {nl.fd(), POLLIN, 0};
  EXPECT_THAT(poll(&p, 1, 0), Returns(1));  // The kernel answers within the call.
  EXPECT_EQ(p.revents, POLLIN);
}

TEST(NetlinkReceive, TheTimeoutEnds) {
  Netlink nl;
  const timeval brief{0, 1000};
  ASSERT_THAT(setsockopt(nl.fd(), SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof(brief)), Returns(0));
  char byte;
  EXPECT_THAT(recv(nl.fd(), &byte, 1, 0), FailsWith(EAGAIN));
}

TEST(NetlinkReceive, FromTheKernel) {
  Netlink nl;
  ASSERT_THAT(nl.Send(LoRequest()), Succeeds());
  char buffer[8192];
  sockaddr_storage from;
  memset(&from, 0xff, sizeof(from));
  socklen_t size = sizeof(from);
  EXPECT_THAT(
      recvfrom(nl.fd(), buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr*>(&from), &size),
      Succeeds());
  EXPECT_EQ(size, sizeof(sockaddr_nl));
  const auto name = As<sockaddr_nl>({reinterpret_cast<char*>(&from), sizeof(from)});
  EXPECT_EQ(name.nl_family, AF_NETLINK);
  EXPECT_EQ(name.nl_pid, 0u);
  EXPECT_EQ(name.nl_groups, 0u);
}

TEST(NetlinkReceive, PeekTellsTheLength) {
  Netlink nl;
  ASSERT_THAT(nl.Send(LoRequest()), Succeeds());
  const ssize_t whole = recv(nl.fd(), nullptr, 0, MSG_PEEK | MSG_TRUNC);
  EXPECT_GT(whole, 100);
  char buffer[8192];
  EXPECT_THAT(recv(nl.fd(), buffer, sizeof(buffer), MSG_PEEK), Returns(whole));
  EXPECT_THAT(recv(nl.fd(), buffer, sizeof(buffer), 0), Returns(whole));
  EXPECT_THAT(recv(nl.fd(), buffer, sizeof(buffer), MSG_DONTWAIT), FailsWith(EAGAIN));
}

TEST(NetlinkReceive, WhatDoesNotFitIsLost) {
  Netlink nl;
  ASSERT_THAT(nl.Send(LoRequest()), Succeeds());
  char buffer[32];
  iovec iov{buffer, sizeof(buffer)};
  sockaddr_nl from{};
  msghdr header{};
  header.msg_name = &from;
  header.msg_namelen = sizeof(from);
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  EXPECT_THAT(recvmsg(nl.fd(), &header, 0), Returns(32));
  EXPECT_EQ(header.msg_flags, MSG_TRUNC);
  EXPECT_EQ(header.msg_namelen, sizeof(from));
  EXPECT_THAT(recv(nl.fd(), buffer, sizeof(buffer), MSG_DONTWAIT), FailsWith(EAGAIN));
}

TEST(NetlinkReceive, TheWholeLengthOnRequest) {
  Netlink nl;
  ASSERT_THAT(nl.Send(LoRequest()), Succeeds());
  char buffer[32];
  EXPECT_THAT(recv(nl.fd(), buffer, sizeof(buffer), MSG_TRUNC), testing::Gt(100));
}

TEST(NetlinkReceive, PacketInformation) {
  Netlink nl;
  nl.Set(NETLINK_PKTINFO);
  EXPECT_EQ(Option(nl.fd(), NETLINK_PKTINFO), 1);
  ASSERT_THAT(nl.Send(LoRequest()), Succeeds());
  char buffer[8192];
  char control[64];
  iovec iov{buffer, sizeof(buffer)};
  msghdr header{};
  header.msg_iov = &iov;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  EXPECT_THAT(recvmsg(nl.fd(), &header, 0), Succeeds());
  const cmsghdr* first = CMSG_FIRSTHDR(&header);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->cmsg_level, SOL_NETLINK);
  EXPECT_EQ(first->cmsg_type, NETLINK_PKTINFO);
}

TEST(NetlinkReceive, SeveralRequestsInOneDatagram) {
  Netlink nl;
  ASSERT_THAT(nl.Send(Netlink::Request(RTM_GETLINK, NLM_F_REQUEST, Bytes(LinkBody(1)), 5) +
                      Netlink::Request(RTM_GETLINK, NLM_F_REQUEST, Bytes(LinkBody(1)), 6)),
              Succeeds());
  const auto first = ParseMessages(nl.ReceiveBytes());
  const auto second = ParseMessages(nl.ReceiveBytes());
  ASSERT_EQ(first.size(), 1u);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(first[0].header.nlmsg_seq, 5u);
  EXPECT_EQ(second[0].header.nlmsg_seq, 6u);
}

TEST(NetlinkReceive, WriteAndReadWork) {
  Netlink nl;
  const std::string request = LoRequest();
  EXPECT_THAT(write(nl.fd(), request.data(), request.size()),
              Returns(static_cast<ssize_t>(request.size())));
  char buffer[8192];
  EXPECT_THAT(read(nl.fd(), buffer, sizeof(buffer)), testing::Gt(100));
}

TEST(NetlinkOptions, Flags) {
  Netlink nl;
  for (const int option : {NETLINK_PKTINFO, NETLINK_BROADCAST_ERROR, NETLINK_NO_ENOBUFS,
                           NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK}) {
    EXPECT_EQ(Option(nl.fd(), option), 0) << option;
    nl.Set(option);
    EXPECT_EQ(Option(nl.fd(), option), 1) << option;
    nl.Set(option, 0);
    EXPECT_EQ(Option(nl.fd(), option), 0) << option;
  }
}

TEST(NetlinkOptions, Errors) {
  Netlink nl;
  int value = 1;
  socklen_t size = 1;
  EXPECT_THAT(getsockopt(nl.fd(), SOL_NETLINK, NETLINK_EXT_ACK, &value, &size), FailsWith(EINVAL));
  size = sizeof(value);
  EXPECT_THAT(getsockopt(nl.fd(), SOL_NETLINK, 99, &value, &size), FailsWith(ENOPROTOOPT));
  EXPECT_THAT(setsockopt(nl.fd(), SOL_NETLINK, 99, &value, sizeof(value)), FailsWith(ENOPROTOOPT));
  EXPECT_THAT(setsockopt(nl.fd(), SOL_IP, 1, &value, sizeof(value)), FailsWith(ENOPROTOOPT));
  EXPECT_THAT(setsockopt(nl.fd(), SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &value, sizeof(value)),
              Returns(0));
}

TEST(NetlinkOptions, Buffers) {
  Netlink nl;
  int value = 100000;
  EXPECT_THAT(setsockopt(nl.fd(), SOL_SOCKET, SO_RCVBUF, &value, sizeof(value)), Returns(0));
  socklen_t size = sizeof(value);
  EXPECT_THAT(getsockopt(nl.fd(), SOL_SOCKET, SO_RCVBUF, &value, &size), Returns(0));
  EXPECT_EQ(value, 200000);
}

TEST(NetlinkUevents, BoundAndSilent) {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
  ASSERT_TRUE(fd.valid());
  EXPECT_THAT(BindTo(fd.get(), 0, 1), Returns(0));
  char byte;
  EXPECT_THAT(recv(fd.get(), &byte, 1, 0), FailsWith(EAGAIN));
}

}  // namespace
