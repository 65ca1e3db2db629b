// UDP sockets: udp(7), ip(7), ipv6(7).
#include <sys/uio.h>

#include "tests/conformance/inet_support.h"

namespace {

INET_SUITE(UdpBind);
INET_SUITE(UdpData);
INET_SUITE(UdpConnect);

constexpr int kReadable = POLLIN | POLLRDNORM;
constexpr int kWritable = POLLOUT | POLLWRNORM | POLLWRBAND;

size_t MaxPayload(int family) { return family == AF_INET ? 65507 : 65527; }

TEST_P(UdpBind, FreshSocket) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_DGRAM);
  EXPECT_EQ(NameOf(fd.get()).text(), Any(GetParam()).text());
  EXPECT_EQ(PollNow(fd), kWritable);
  InetAddress peer;
  EXPECT_THAT(getpeername(fd.get(), peer.get(), &peer.size), FailsWith(ENOTCONN));
}

TEST_P(UdpBind, EphemeralPort) {
  const UniqueFd fd = NewUdp(GetParam());
  EXPECT_GE(NameOf(fd.get()).port(), 1024);
  EXPECT_THAT(Bind(fd, Loopback(GetParam())), FailsWith(EINVAL));
}

TEST_P(UdpBind, PortInUse) {
  const UniqueFd first = NewUdp(GetParam());
  const UniqueFd second = NewSocket(GetParam(), SOCK_DGRAM);
  EXPECT_THAT(Bind(second, NameOf(first.get())), FailsWith(EADDRINUSE));
  EXPECT_THAT(Bind(second, Any(GetParam(), NameOf(first.get()).port())), FailsWith(EADDRINUSE));
}

TEST_P(UdpBind, PortsOfTcpAreOthers) {
  const UniqueFd tcp = NewListener(GetParam());
  const UniqueFd udp = NewSocket(GetParam(), SOCK_DGRAM);
  EXPECT_THAT(Bind(udp, NameOf(tcp.get())), Returns(0));
}

TEST_P(UdpBind, ReuseAddressShares) {
  const UniqueFd first = NewSocket(GetParam(), SOCK_DGRAM);
  ASSERT_THAT(SetInt(first, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(Bind(first, Loopback(GetParam())), Returns(0));
  const UniqueFd second = NewSocket(GetParam(), SOCK_DGRAM);
  EXPECT_THAT(Bind(second, NameOf(first.get())), FailsWith(EADDRINUSE));
  ASSERT_THAT(SetInt(second, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  EXPECT_THAT(Bind(second, NameOf(first.get())), Returns(0));
}

TEST_P(UdpBind, ReusePortSpreads) {
  const UniqueFd first = NewSocket(GetParam(), SOCK_DGRAM);
  const UniqueFd second = NewSocket(GetParam(), SOCK_DGRAM);
  ASSERT_THAT(SetInt(first, SOL_SOCKET, SO_REUSEPORT, 1), Returns(0));
  ASSERT_THAT(SetInt(second, SOL_SOCKET, SO_REUSEPORT, 1), Returns(0));
  ASSERT_THAT(Bind(first, Loopback(GetParam())), Returns(0));
  ASSERT_THAT(Bind(second, NameOf(first.get())), Returns(0));
  for (int i = 0; i < 40; i++) {
    const UniqueFd sender = NewSocket(GetParam(), SOCK_DGRAM);
    ASSERT_THAT(SendTo(sender, "x", NameOf(first.get())), Returns(1));
  }
  int of_first = 0, of_second = 0;
  EXPECT_TRUE(Eventually([&] {
    while (Receive(first, 1, MSG_DONTWAIT) == "x") of_first++;
    while (Receive(second, 1, MSG_DONTWAIT) == "x") of_second++;
    return of_first + of_second == 40;
  }));
  EXPECT_GT(of_first, 0);
  EXPECT_GT(of_second, 0);
}

TEST_P(UdpBind, NotLocal) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_DGRAM);
  EXPECT_THAT(Bind(fd, At(GetParam() == AF_INET ? "203.0.113.7" : "2001:db8::7")),
              FailsWith(EADDRNOTAVAIL));
}

TEST_P(UdpBind, DoesNotListen) {
  const UniqueFd fd = NewUdp(GetParam());
  EXPECT_THAT(listen(fd.get(), 1), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(accept(fd.get(), nullptr, nullptr), FailsWith(EOPNOTSUPP));
}

TEST_P(UdpData, WithAddresses) {
  const UniqueFd receiver = NewUdp(GetParam());
  const UniqueFd sender = NewUdp(GetParam());
  EXPECT_THAT(SendTo(sender, "datagram", NameOf(receiver.get())), Returns(8));
  InetAddress from;
  char data[16];
  EXPECT_THAT(recvfrom(receiver.get(), data, sizeof data, 0, from.get(), &from.size), Returns(8));
  EXPECT_EQ(from.text(), NameOf(sender.get()).text());
  EXPECT_EQ(from.size, GetParam() == AF_INET ? 16u : 28u);
}

TEST_P(UdpData, SendingBinds) {
  const UniqueFd receiver = NewUdp(GetParam());
  const UniqueFd sender = NewSocket(GetParam(), SOCK_DGRAM);
  EXPECT_THAT(SendTo(sender, "x", NameOf(receiver.get())), Returns(1));
  EXPECT_NE(NameOf(sender.get()).port(), 0);
  EXPECT_EQ(NameOf(sender.get()).host(), Any(GetParam()).host());
}

TEST_P(UdpData, Boundaries) {
  const UniqueFd fd = NewUdp(GetParam());
  EXPECT_THAT(SendTo(fd, "one", NameOf(fd.get())), Returns(3));
  EXPECT_THAT(SendTo(fd, "", NameOf(fd.get())), Returns(0));
  EXPECT_THAT(SendTo(fd, "three", NameOf(fd.get())), Returns(5));
  EXPECT_EQ(Receive(fd), "one");
  EXPECT_EQ(Receive(fd), "");
  EXPECT_EQ(Receive(fd), "three");
  EXPECT_EQ(Receive(fd, 10, MSG_DONTWAIT), "<EAGAIN>");
}

TEST_P(UdpData, ShortReadsLoseTheRest) {
  const UniqueFd fd = NewUdp(GetParam());
  EXPECT_THAT(SendTo(fd, "0123456789", NameOf(fd.get())), Returns(10));
  EXPECT_THAT(SendTo(fd, "next", NameOf(fd.get())), Returns(4));
  EXPECT_EQ(Receive(fd, 4), "0123");
  EXPECT_EQ(Receive(fd), "next");
}

TEST_P(UdpData, TruncTellsTheLength) {
  const UniqueFd fd = NewUdp(GetParam());
  EXPECT_THAT(SendTo(fd, "0123456789", NameOf(fd.get())), Returns(10));
  char data[4];
  EXPECT_THAT(recv(fd.get(), data, 4, MSG_PEEK | MSG_TRUNC), Returns(10));
  iovec io = {data, 4};
  msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
  EXPECT_THAT(recvmsg(fd.get(), &message, 0), Returns(4));
  EXPECT_EQ(message.msg_flags, MSG_TRUNC);
}

TEST_P(UdpData, Peek) {
  const UniqueFd fd = NewUdp(GetParam());
  EXPECT_THAT(SendTo(fd, "peek", NameOf(fd.get())), Returns(4));
  EXPECT_EQ(Receive(fd, 10, MSG_PEEK), "peek");
  EXPECT_EQ(Receive(fd, 10, MSG_PEEK), "peek");
  EXPECT_EQ(Receive(fd), "peek");
}

TEST_P(UdpData, LargestDatagram) {
  const UniqueFd fd = NewUdp(GetParam());
  const std::string most(MaxPayload(GetParam()), 'm');
  EXPECT_THAT(SendTo(fd, most, NameOf(fd.get())), Returns(most.size()));
  EXPECT_EQ(Receive(fd, 1 << 17), most);
  EXPECT_THAT(SendTo(fd, most + "x", NameOf(fd.get())), FailsWith(EMSGSIZE));
  EXPECT_THAT(SendTo(fd, std::string(1 << 20, 'x'), NameOf(fd.get())), FailsWith(EMSGSIZE));
}

TEST_P(UdpData, NeedsADestination) {
  const UniqueFd fd = NewUdp(GetParam());
  EXPECT_THAT(Send(fd, "x"), FailsWith(EDESTADDRREQ));
  EXPECT_THAT(SendTo(fd, "x", Loopback(GetParam(), 0)), FailsWith(EINVAL));
}

TEST_P(UdpData, BadDestination) {
  const UniqueFd fd = NewUdp(GetParam());
  InetAddress to = NameOf(fd.get());
  EXPECT_THAT(sendto(fd.get(), "x", 1, 0, to.get(), 10), FailsWith(EINVAL));
  to.storage.ss_family = AF_UNIX;
  EXPECT_THAT(sendto(fd.get(), "x", 1, 0, to.get(), to.size),
              FailsWith(GetParam() == AF_INET ? EAFNOSUPPORT : EINVAL));
}

TEST_P(UdpData, OutOfBandIsUnknown) {
  const UniqueFd fd = NewUdp(GetParam());
  const ssize_t sent = SendTo(fd, "x", NameOf(fd.get()), MSG_OOB);
  if (GetParam() == AF_INET) {
    EXPECT_THAT(sent, FailsWith(EOPNOTSUPP));
  } else {
    EXPECT_THAT(sent, Returns(1));  // IPv6 does not look.
  }
}

TEST_P(UdpData, PollTellsOfDatagrams) {
  const UniqueFd fd = NewUdp(GetParam());
  EXPECT_EQ(PollNow(fd), kWritable);
  EXPECT_THAT(SendTo(fd, "", NameOf(fd.get())), Returns(0));
  EXPECT_TRUE(AwaitExactly(fd, kWritable | kReadable));
  EXPECT_EQ(Receive(fd), "");
  EXPECT_EQ(PollNow(fd), kWritable);
}

TEST_P(UdpData, NextLength) {
  const UniqueFd fd = NewUdp(GetParam());
  int bytes = -1;
  EXPECT_THAT(ioctl(fd.get(), FIONREAD, &bytes), Returns(0));
  EXPECT_EQ(bytes, 0);
  EXPECT_THAT(SendTo(fd, "four", NameOf(fd.get())), Returns(4));
  EXPECT_THAT(SendTo(fd, "seventy", NameOf(fd.get())), Returns(7));
  ASSERT_TRUE(AwaitEvents(fd, POLLIN));
  EXPECT_THAT(ioctl(fd.get(), FIONREAD, &bytes), Returns(0));
  EXPECT_EQ(bytes, 4);
  EXPECT_THAT(ioctl(fd.get(), TIOCOUTQ, &bytes), Returns(0));
}

TEST_P(UdpData, FullBuffersDrop) {
  const UniqueFd receiver = NewUdp(GetParam());
  const UniqueFd sender = NewUdp(GetParam());
  ASSERT_THAT(SetInt(receiver, SOL_SOCKET, SO_RCVBUF, 4096), Returns(0));
  const std::string data(1000, 'd');
  for (int i = 0; i < 200; i++) {
    ASSERT_THAT(SendTo(sender, data, NameOf(receiver.get())), Returns(1000));
  }
  ASSERT_TRUE(AwaitEvents(receiver, POLLIN));
  int received = 0;
  while (Receive(receiver, 2000, MSG_DONTWAIT) == data) received++;
  EXPECT_GT(received, 0);
  EXPECT_LT(received, 200);
}

TEST_P(UdpData, GatheredAndScattered) {
  const UniqueFd fd = NewUdp(GetParam());
  InetAddress to = NameOf(fd.get());
  iovec out[2] = {{const_cast<char*>("ab"), 2}, {const_cast<char*>("cde"), 3}};
  msghdr message = {.msg_name = to.get(), .msg_namelen = to.size, .msg_iov = out, .msg_iovlen = 2};
  EXPECT_THAT(sendmsg(fd.get(), &message, 0), Returns(5));
  EXPECT_EQ(Receive(fd), "abcde");
}

TEST_P(UdpData, ManyAtOnce) {
  const UniqueFd fd = NewUdp(GetParam());
  InetAddress to = NameOf(fd.get());
  iovec out[2] = {{const_cast<char*>("first"), 5}, {const_cast<char*>("second"), 6}};
  mmsghdr messages[2] = {};
  for (int i = 0; i < 2; i++) {
    messages[i].msg_hdr = {
        .msg_name = to.get(), .msg_namelen = to.size, .msg_iov = &out[i], .msg_iovlen = 1};
  }
  EXPECT_THAT(sendmmsg(fd.get(), messages, 2, 0), Returns(2));
  EXPECT_EQ(messages[1].msg_len, 6u);
  ASSERT_TRUE(AwaitEvents(fd, POLLIN));
  char data[2][16];
  iovec in[2] = {{data[0], 16}, {data[1], 16}};
  for (int i = 0; i < 2; i++) messages[i].msg_hdr = {.msg_iov = &in[i], .msg_iovlen = 1};
  EXPECT_THAT(recvmmsg(fd.get(), messages, 2, 0, nullptr), Returns(2));
  EXPECT_EQ(messages[0].msg_len, 5u);
  EXPECT_EQ(messages[1].msg_len, 6u);
}

TEST_P(UdpData, CorkJoins) {
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(Connect(fd, NameOf(fd.get())), Returns(0));
  EXPECT_THAT(Send(fd, "ab", MSG_MORE), Returns(2));
  EXPECT_THAT(Send(fd, "cd"), Returns(2));
  EXPECT_EQ(Receive(fd), "abcd");
  ASSERT_THAT(SetInt(fd, IPPROTO_UDP, 1 /* UDP_CORK */, 1), Returns(0));
  EXPECT_THAT(Send(fd, "ef"), Returns(2));
  EXPECT_THAT(Send(fd, "gh"), Returns(2));
  EXPECT_EQ(Receive(fd, 10, MSG_DONTWAIT), "<EAGAIN>");
  ASSERT_THAT(SetInt(fd, IPPROTO_UDP, 1, 0), Returns(0));
  EXPECT_EQ(Receive(fd), "efgh");
}

TEST_P(UdpData, CorkIsLimited) {
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(Connect(fd, NameOf(fd.get())), Returns(0));
  const std::string half(40'000, 'h');
  EXPECT_THAT(Send(fd, half, MSG_MORE), Returns(40'000));
  EXPECT_THAT(Send(fd, half, MSG_MORE), FailsWith(EMSGSIZE));
  EXPECT_THAT(Send(fd, "alone"), Returns(5));
  EXPECT_EQ(Receive(fd), "alone");
}

TEST_P(UdpData, LiteIsAnotherProtocol) {
  const UniqueFd lite(socket(GetParam(), SOCK_DGRAM, IPPROTO_UDPLITE));
  if (lite.get() < 0 && errno == EPROTONOSUPPORT) GTEST_SKIP();  // Gone from Linux 7.
  const UniqueFd udp = NewUdp(GetParam());
  ASSERT_THAT(Bind(lite, NameOf(udp.get())), Returns(0));
  EXPECT_THAT(SendTo(lite, "lite", NameOf(lite.get())), Returns(4));
  EXPECT_EQ(Receive(lite), "lite");
  EXPECT_EQ(Receive(udp, 4, MSG_DONTWAIT), "<EAGAIN>");
  EXPECT_EQ(GetInt(lite, SOL_SOCKET, SO_PROTOCOL), IPPROTO_UDPLITE);
}

TEST_P(UdpConnect, DefaultDestination) {
  const UniqueFd receiver = NewUdp(GetParam());
  const UniqueFd sender = NewSocket(GetParam(), SOCK_DGRAM);
  ASSERT_THAT(Connect(sender, NameOf(receiver.get())), Returns(0));
  EXPECT_EQ(PeerOf(sender.get()).text(), NameOf(receiver.get()).text());
  EXPECT_EQ(NameOf(sender.get()).host(), Loopback(GetParam()).host());
  EXPECT_THAT(Send(sender, "x"), Returns(1));
  EXPECT_EQ(Receive(receiver), "x");
}

TEST_P(UdpConnect, OtherDestinationsAreStillAllowed) {
  const UniqueFd first = NewUdp(GetParam());
  const UniqueFd second = NewUdp(GetParam());
  const UniqueFd sender = NewUdp(GetParam());
  ASSERT_THAT(Connect(sender, NameOf(first.get())), Returns(0));
  EXPECT_THAT(SendTo(sender, "x", NameOf(second.get())), Returns(1));
  EXPECT_EQ(Receive(second), "x");
}

TEST_P(UdpConnect, OnlyThePeerIsHeard) {
  const UniqueFd peer = NewUdp(GetParam());
  const UniqueFd stranger = NewUdp(GetParam());
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(Connect(fd, NameOf(peer.get())), Returns(0));
  EXPECT_THAT(SendTo(stranger, "stranger", NameOf(fd.get())), Returns(8));
  EXPECT_THAT(SendTo(peer, "peer", NameOf(fd.get())), Returns(4));
  EXPECT_EQ(Receive(fd), "peer");
  EXPECT_EQ(Receive(fd, 10, MSG_DONTWAIT), "<EAGAIN>");
}

TEST_P(UdpConnect, NobodyThereIsRefused) {
  UniqueFd peer = NewUdp(GetParam());
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(Connect(fd, NameOf(peer.get())), Returns(0));
  peer.reset();
  EXPECT_THAT(Send(fd, "x"), Returns(1));
  ASSERT_TRUE(AwaitEvents(fd, POLLIN));
  EXPECT_EQ(PollNow(fd), kWritable | POLLERR);
  EXPECT_EQ(Receive(fd), "<ECONNREFUSED>");
  EXPECT_EQ(Receive(fd, 1, MSG_DONTWAIT), "<EAGAIN>");
}

TEST_P(UdpConnect, RefusalIsToldBySend) {
  UniqueFd peer = NewUdp(GetParam());
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(Connect(fd, NameOf(peer.get())), Returns(0));
  peer.reset();
  EXPECT_THAT(Send(fd, "x"), Returns(1));
  ASSERT_TRUE(AwaitEvents(fd, 0));
  EXPECT_THAT(Send(fd, "x"), FailsWith(ECONNREFUSED));
}

TEST_P(UdpConnect, UnconnectedSocketsAreNotTold) {
  UniqueFd peer = NewUdp(GetParam());
  const InetAddress name = NameOf(peer.get());
  const UniqueFd fd = NewUdp(GetParam());
  peer.reset();
  EXPECT_THAT(SendTo(fd, "x", name), Returns(1));
  EXPECT_THAT(SendTo(fd, "x", name), Returns(1));
  EXPECT_EQ(ErrorOf(fd), 0);
}

TEST_P(UdpConnect, AgainToAnother) {
  const UniqueFd first = NewUdp(GetParam());
  const UniqueFd second = NewUdp(GetParam());
  const UniqueFd fd = NewSocket(GetParam(), SOCK_DGRAM);
  ASSERT_THAT(Connect(fd, NameOf(first.get())), Returns(0));
  ASSERT_THAT(Connect(fd, NameOf(second.get())), Returns(0));
  EXPECT_THAT(Send(fd, "x"), Returns(1));
  EXPECT_EQ(Receive(second), "x");
}

TEST_P(UdpConnect, UnspecDissolves) {
  const UniqueFd peer = NewUdp(GetParam());
  const UniqueFd fd = NewSocket(GetParam(), SOCK_DGRAM);
  ASSERT_THAT(Connect(fd, NameOf(peer.get())), Returns(0));
  const sockaddr unspec = {.sa_family = AF_UNSPEC};
  EXPECT_THAT(connect(fd.get(), &unspec, sizeof unspec), Returns(0));
  InetAddress name;
  EXPECT_THAT(getpeername(fd.get(), name.get(), &name.size), FailsWith(ENOTCONN));
  EXPECT_EQ(NameOf(fd.get()).text(), Any(GetParam()).text());
  EXPECT_THAT(Send(fd, "x"), FailsWith(EDESTADDRREQ));
}

TEST_P(UdpConnect, UnspecFreesAPortThatNobodyChose) {
  const UniqueFd peer = NewUdp(GetParam());
  const UniqueFd fd = NewUdp(GetParam());
  ASSERT_THAT(Connect(fd, NameOf(peer.get())), Returns(0));
  const sockaddr unspec = {.sa_family = AF_UNSPEC};
  EXPECT_THAT(connect(fd.get(), &unspec, sizeof unspec), Returns(0));
  EXPECT_EQ(NameOf(fd.get()).text(), Loopback(GetParam()).text());
}

TEST_P(UdpConnect, UnspecKeepsABoundPort) {
  const UniqueFd peer = NewUdp(GetParam());
  UniqueFd former = NewUdp(GetParam());
  const InetAddress name = NameOf(former.get());
  former.reset();
  const UniqueFd fd = NewSocket(GetParam(), SOCK_DGRAM);
  ASSERT_THAT(Bind(fd, name), Returns(0));
  ASSERT_THAT(Connect(fd, NameOf(peer.get())), Returns(0));
  const sockaddr unspec = {.sa_family = AF_UNSPEC};
  EXPECT_THAT(connect(fd.get(), &unspec, sizeof unspec), Returns(0));
  EXPECT_EQ(NameOf(fd.get()).text(), name.text());
}

TEST_P(UdpConnect, ConnectedSocketsComeFirst) {
  const UniqueFd peer = NewUdp(GetParam());
  const UniqueFd wide = NewSocket(GetParam(), SOCK_DGRAM);
  const UniqueFd narrow = NewSocket(GetParam(), SOCK_DGRAM);
  ASSERT_THAT(SetInt(wide, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(SetInt(narrow, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(Bind(narrow, Loopback(GetParam())), Returns(0));
  ASSERT_THAT(Connect(narrow, NameOf(peer.get())), Returns(0));
  ASSERT_THAT(Bind(wide, NameOf(narrow.get())), Returns(0));
  EXPECT_THAT(SendTo(peer, "x", NameOf(wide.get())), Returns(1));
  EXPECT_EQ(Receive(narrow), "x");
}

TEST_P(UdpConnect, ShutdownEndsReading) {
  const UniqueFd peer = NewUdp(GetParam());
  const UniqueFd fd = NewUdp(GetParam());
  EXPECT_THAT(shutdown(fd.get(), SHUT_RD), FailsWith(ENOTCONN));
  ASSERT_THAT(Connect(fd, NameOf(peer.get())), Returns(0));
  EXPECT_THAT(shutdown(fd.get(), SHUT_RD), Returns(0));
  EXPECT_EQ(Receive(fd), "");
  EXPECT_EQ(PollNow(fd), kReadable | kWritable | POLLRDHUP);
  EXPECT_THAT(shutdown(fd.get(), SHUT_WR), Returns(0));
  EXPECT_THAT(Send(fd, "x"), FailsWith(EPIPE));
  EXPECT_EQ(PollNow(fd), kReadable | kWritable | POLLRDHUP | POLLHUP);
}

TEST_P(UdpConnect, WaitingReaderIsWoken) {
  const UniqueFd fd = NewUdp(GetParam());
  const pid_t child = Start([&] {
    char byte;
    CHILD_CHECK(recv(fd.get(), &byte, 1, 0) == 1 && byte == 'w');
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(SendTo(fd, "w", NameOf(fd.get())), Returns(1));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(UdpDualStack, SixHearsFour) {
  const UniqueFd six = NewSocket(AF_INET6, SOCK_DGRAM);
  ASSERT_THAT(Bind(six, At("::")), Returns(0));
  const UniqueFd four = NewUdp(AF_INET);
  EXPECT_THAT(SendTo(four, "x", At("127.0.0.1", NameOf(six.get()).port())), Returns(1));
  InetAddress from;
  char byte;
  EXPECT_THAT(recvfrom(six.get(), &byte, 1, 0, from.get(), &from.size), Returns(1));
  EXPECT_EQ(from.text(), "::ffff:" + NameOf(four.get()).text());
  EXPECT_THAT(SendTo(six, "y", from), Returns(1));
  EXPECT_EQ(Receive(four), "y");
}

TEST(UdpDualStack, V6OnlyDoesNotSendToFour) {
  const UniqueFd six = NewSocket(AF_INET6, SOCK_DGRAM);
  ASSERT_THAT(SetInt(six, IPPROTO_IPV6, IPV6_V6ONLY, 1), Returns(0));
  EXPECT_THAT(SendTo(six, "x", At("::ffff:127.0.0.1", 9)), FailsWith(ENETUNREACH));
}

TEST(UdpDualStack, SixTakesAddressesOfFour) {
  const UniqueFd four = NewUdp(AF_INET);
  const UniqueFd six = NewSocket(AF_INET6, SOCK_DGRAM);
  EXPECT_THAT(SendTo(six, "x", NameOf(four.get())), Returns(1));
  EXPECT_EQ(Receive(four), "x");
}

TEST(UdpBroadcast, NeedsTheOption) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  EXPECT_THAT(SendTo(fd, "x", At("127.255.255.255", 9)), FailsWith(EACCES));
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_BROADCAST, 1), Returns(0));
  EXPECT_THAT(SendTo(fd, "x", At("127.255.255.255", 9)), Returns(1));
}

TEST(UdpBroadcast, ReachesAllWhoListen) {
  const UniqueFd first = NewSocket(AF_INET, SOCK_DGRAM);
  const UniqueFd second = NewSocket(AF_INET, SOCK_DGRAM);
  ASSERT_THAT(SetInt(first, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(SetInt(second, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(Bind(first, At("0.0.0.0")), Returns(0));
  ASSERT_THAT(Bind(second, At("0.0.0.0", NameOf(first.get()).port())), Returns(0));
  const UniqueFd sender = NewSocket(AF_INET, SOCK_DGRAM);
  ASSERT_THAT(SetInt(sender, SOL_SOCKET, SO_BROADCAST, 1), Returns(0));
  EXPECT_THAT(SendTo(sender, "all", At("127.255.255.255", NameOf(first.get()).port())), Returns(3));
  EXPECT_EQ(Receive(first), "all");
  EXPECT_EQ(Receive(second), "all");
}

}  // namespace
