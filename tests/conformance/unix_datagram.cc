// AF_UNIX sockets with messages: SOCK_DGRAM and SOCK_SEQPACKET; unix(7), send(2), recv(2).
#include <fcntl.h>
#include <linux/sockios.h>

#include <thread>

#include "tests/conformance/unix_support.h"

namespace {

// A bound datagram socket.
struct Receiver {
  Receiver() : name(UniqueName("receiver")), fd(UnixSocketOf(SOCK_DGRAM)) {
    EXPECT_THAT(Bind(fd, UnixName(name)), Returns(0));
  }
  std::string name;
  UniqueFd fd;
};

ssize_t SendTo(const UniqueFd& fd, std::string_view text, const std::string& name, int flags = 0) {
  const UnixName to(name);
  return sendto(fd.get(), text.data(), text.size(), flags, to.get(), to.size);
}

TEST(UnixDatagram, MessagesKeepTheirBoundaries) {
  UnixPair pair(SOCK_DGRAM);
  EXPECT_THAT(SendText(pair.a.get(), "first"), Returns(5));
  EXPECT_THAT(SendText(pair.a.get(), "second"), Returns(6));
  EXPECT_EQ(Text(pair.b.get()), "first");
  EXPECT_EQ(Text(pair.b.get()), "second");
}

TEST(UnixDatagram, EmptyMessages) {
  UnixPair pair(SOCK_DGRAM);
  EXPECT_THAT(send(pair.a.get(), "", 0, 0), Returns(0));
  EXPECT_THAT(SendText(pair.a.get(), "next"), Returns(4));
  char buffer[8];
  EXPECT_THAT(recv(pair.b.get(), buffer, sizeof buffer, 0), Returns(0));
  EXPECT_EQ(Text(pair.b.get()), "next");
}

TEST(UnixDatagram, ShortReadsLoseTheRest) {
  UnixPair pair(SOCK_DGRAM);
  SendText(pair.a.get(), "abcdef");
  SendText(pair.a.get(), "next");
  const Received got = Receive(pair.b.get(), 3);
  EXPECT_EQ(got.data, "abc");
  EXPECT_EQ(got.flags & MSG_TRUNC, MSG_TRUNC);
  EXPECT_EQ(Text(pair.b.get()), "next");
}

TEST(UnixDatagram, TruncTellsTheWholeSize) {
  UnixPair pair(SOCK_DGRAM);
  SendText(pair.a.get(), "abcdef");
  char buffer[2];
  EXPECT_THAT(recv(pair.b.get(), buffer, sizeof buffer, MSG_PEEK | MSG_TRUNC), Returns(6));
  EXPECT_THAT(recv(pair.b.get(), buffer, sizeof buffer, MSG_TRUNC), Returns(6));
  EXPECT_THAT(recv(pair.b.get(), buffer, sizeof buffer, MSG_DONTWAIT), FailsWith(EAGAIN));
}

TEST(UnixDatagram, Peek) {
  UnixPair pair(SOCK_DGRAM);
  SendText(pair.a.get(), "once");
  EXPECT_EQ(Text(pair.b.get(), MSG_PEEK), "once");
  EXPECT_EQ(Text(pair.b.get()), "once");
}

TEST(UnixDatagram, SendToAName) {
  Receiver receiver;
  UniqueFd sender = UnixSocketOf(SOCK_DGRAM);
  EXPECT_THAT(SendTo(sender, "hello", receiver.name), Returns(5));
  EXPECT_EQ(Text(receiver.fd.get()), "hello");
}

TEST(UnixDatagram, TheSendersName) {
  Receiver receiver, sender;
  EXPECT_THAT(SendTo(sender.fd, "x", receiver.name), Returns(1));
  const Received got = Receive(receiver.fd.get());
  const UnixName expected(sender.name);
  EXPECT_EQ(got.name_size, expected.size);
  EXPECT_EQ(memcmp(&got.name, &expected.address, expected.size), 0);
}

TEST(UnixDatagram, ASenderWithoutAName) {
  Receiver receiver;
  UniqueFd sender = UnixSocketOf(SOCK_DGRAM);
  EXPECT_THAT(SendTo(sender, "x", receiver.name), Returns(1));
  EXPECT_EQ(Receive(receiver.fd.get()).name_size, 0u);
}

TEST(UnixDatagram, SendErrors) {
  UniqueFd sender = UnixSocketOf(SOCK_DGRAM);
  EXPECT_THAT(SendText(sender.get(), "x"), FailsWith(ENOTCONN));
  EXPECT_THAT(SendTo(sender, "x", UniqueName("nobody")), FailsWith(ECONNREFUSED));
  EXPECT_THAT(SendTo(sender, "x", "/nonexistent/s"), FailsWith(ENOENT));
  TempDir dir;
  UniqueFd stream = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(Bind(stream, UnixName(dir / "stream")), Returns(0));
  EXPECT_THAT(SendTo(sender, "x", dir / "stream"), FailsWith(EPROTOTYPE));
}

TEST(UnixDatagram, ConnectedSendAndDefaultPeer) {
  Receiver receiver;
  UniqueFd sender = UnixSocketOf(SOCK_DGRAM);
  ASSERT_THAT(Connect(sender, UnixName(receiver.name)), Returns(0));
  EXPECT_THAT(SendText(sender.get(), "by default"), Returns(10));
  EXPECT_EQ(Text(receiver.fd.get()), "by default");
  Receiver other;
  EXPECT_THAT(SendTo(sender, "elsewhere", other.name), Returns(9));
  EXPECT_EQ(Text(other.fd.get()), "elsewhere");
}

TEST(UnixDatagram, ConnectChangesAndDissolves) {
  Receiver one, two;
  UniqueFd sender = UnixSocketOf(SOCK_DGRAM);
  ASSERT_THAT(Connect(sender, UnixName(one.name)), Returns(0));
  ASSERT_THAT(Connect(sender, UnixName(two.name)), Returns(0));
  SendText(sender.get(), "x");
  EXPECT_EQ(Text(two.fd.get()), "x");
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  ASSERT_THAT(connect(sender.get(), &none, sizeof none), Returns(0));
  EXPECT_THAT(SendText(sender.get(), "x"), FailsWith(ENOTCONN));
}

TEST(UnixDatagram, ConnectedReceiversHearTheirPeerOnly) {
  Receiver one, two;
  ASSERT_THAT(Connect(one.fd, UnixName(two.name)), Returns(0));
  UniqueFd stranger = UnixSocketOf(SOCK_DGRAM);
  EXPECT_THAT(SendTo(stranger, "x", one.name), FailsWith(EPERM));
  EXPECT_THAT(Connect(stranger, UnixName(one.name)), FailsWith(EPERM));
  EXPECT_THAT(SendTo(two.fd, "x", one.name), Returns(1));
}

TEST(UnixDatagram, APeerThatHasGone) {
  UnixPair pair(SOCK_DGRAM);
  pair.b.reset();
  EXPECT_THAT(SendText(pair.a.get(), "x"), FailsWith(ECONNREFUSED));
  EXPECT_THAT(SendText(pair.a.get(), "x"), FailsWith(ENOTCONN));
}

TEST(UnixDatagram, NoSignalForABrokenPipe) {
  UnixPair pair(SOCK_DGRAM);
  ASSERT_THAT(shutdown(pair.a.get(), SHUT_WR), Returns(0));
  EXPECT_THAT(SendText(pair.a.get(), "x"), FailsWith(EPIPE));
  UnixPair other(SOCK_DGRAM);
  ASSERT_THAT(shutdown(other.b.get(), SHUT_RD), Returns(0));
  EXPECT_THAT(SendText(other.a.get(), "x"), FailsWith(EPIPE));
}

TEST(UnixDatagram, ReceiveAfterShutdown) {
  UnixPair pair(SOCK_DGRAM);
  SendText(pair.a.get(), "queued");
  ASSERT_THAT(shutdown(pair.b.get(), SHUT_RD), Returns(0));
  EXPECT_EQ(Text(pair.b.get()), "queued");
  char byte;
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, MSG_DONTWAIT), FailsWith(EAGAIN));
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, 0), Returns(0));
}

TEST(UnixDatagram, TheLargestMessage) {
  UnixPair pair(SOCK_DGRAM);
  const int limit = GetInt(pair.a.get(), SO_SNDBUF);
  std::string large(static_cast<size_t>(limit) - 32 + 1, 'x');
  EXPECT_THAT(SendText(pair.a.get(), large), FailsWith(EMSGSIZE));
  large.resize(100'000);
  EXPECT_THAT(SendText(pair.a.get(), large), Returns(100'000));
  EXPECT_EQ(Text(pair.b.get(), 0, 200'000).size(), 100'000u);
}

TEST(UnixDatagram, AFullReceiverStopsUnconnectedSenders) {
  Receiver receiver;
  UniqueFd sender = UnixSocketOf(SOCK_DGRAM);
  int sent = 0;
  while (SendTo(sender, "x", receiver.name, MSG_DONTWAIT) == 1) ++sent;
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_GE(sent, 2);
  EXPECT_LT(sent, 1000);
  EXPECT_EQ(Text(receiver.fd.get()), "x");
  EXPECT_THAT(SendTo(sender, "x", receiver.name, MSG_DONTWAIT), Returns(1));
}

TEST(UnixDatagram, AFullReceiverIsSeenByPoll) {
  Receiver receiver;
  UniqueFd sender = UnixSocketOf(SOCK_DGRAM);
  ASSERT_THAT(Connect(sender, UnixName(receiver.name)), Returns(0));
  EXPECT_EQ(PollNow(sender.get()), POLLOUT);
  int sent = 0;
  while (SendText(sender.get(), "x", MSG_DONTWAIT) == 1) ++sent;
  EXPECT_EQ(PollNow(sender.get()), 0);
  // At once where the queue was full; where queues are long (max_dgram_qlen) it was the buffer.
  while (sent > 0 && PollNow(sender.get()) == 0) {
    EXPECT_EQ(Text(receiver.fd.get()), "x");
    --sent;
  }
  EXPECT_EQ(PollNow(sender.get()), POLLOUT);
  EXPECT_GT(sent, 0);
}

TEST(UnixDatagram, ABlockedSenderGoesOn) {
  Receiver receiver;
  UniqueFd sender = UnixSocketOf(SOCK_DGRAM);
  int sent = 0;
  while (SendTo(sender, "x", receiver.name, MSG_DONTWAIT) == 1) ++sent;
  std::thread blocked([&] { EXPECT_THAT(SendTo(sender, "last", receiver.name), Returns(4)); });
  for (int i = 0; i < sent; ++i) EXPECT_EQ(Text(receiver.fd.get()), "x");
  EXPECT_EQ(Text(receiver.fd.get()), "last");
  blocked.join();
}

TEST(UnixDatagram, ASenderWaitingForRoomLearnsOfTheReceiversEnd) {
  Receiver receiver;
  UniqueFd sender = UnixSocketOf(SOCK_DGRAM);
  while (SendTo(sender, "x", receiver.name, MSG_DONTWAIT) == 1) {
  }
  std::thread blocked(
      [&] { EXPECT_THAT(SendTo(sender, "x", receiver.name), FailsWith(ECONNREFUSED)); });
  receiver.fd.reset();
  blocked.join();
}

TEST(UnixDatagram, QueueSizeIsThatOfTheFirst) {
  UnixPair pair(SOCK_DGRAM);
  SendText(pair.a.get(), "123");
  SendText(pair.a.get(), "45678");
  int count = -1;
  EXPECT_THAT(ioctl(pair.b.get(), FIONREAD, &count), Returns(0));
  EXPECT_EQ(count, 3);
}

TEST(UnixDatagram, PollStates) {
  UniqueFd idle = UnixSocketOf(SOCK_DGRAM);
  EXPECT_EQ(PollNow(idle.get()), POLLOUT);
  UnixPair pair(SOCK_DGRAM);
  SendText(pair.a.get(), "x");
  EXPECT_EQ(PollNow(pair.b.get()), POLLIN | POLLOUT);
  shutdown(pair.b.get(), SHUT_RDWR);
  EXPECT_EQ(PollNow(pair.b.get()), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
}

TEST(UnixDatagram, NoConnections) {
  UniqueFd fd = UnixSocketOf(SOCK_DGRAM);
  EXPECT_THAT(accept(fd.get(), nullptr, nullptr), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(send(fd.get(), "x", 1, MSG_OOB), FailsWith(EOPNOTSUPP));
}

TEST(UnixDatagram, ManyAtOnce) {
  UnixPair pair(SOCK_DGRAM);
  char texts[3][4] = {"one", "two", "six"};
  iovec pieces[3];
  mmsghdr messages[3] = {};
  for (int i = 0; i < 3; ++i) {
    pieces[i] = {texts[i], 3};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  EXPECT_THAT(sendmmsg(pair.a.get(), messages, 3, 0), Returns(3));
  EXPECT_EQ(messages[2].msg_len, 3u);
  char room[4][8] = {};
  mmsghdr in[4] = {};
  iovec parts[4];
  for (int i = 0; i < 4; ++i) {
    parts[i] = {room[i], sizeof room[i]};
    in[i].msg_hdr.msg_iov = &parts[i];
    in[i].msg_hdr.msg_iovlen = 1;
  }
  EXPECT_THAT(recvmmsg(pair.b.get(), in, 4, MSG_WAITFORONE, nullptr), Returns(3));
  EXPECT_STREQ(room[1], "two");
  EXPECT_EQ(in[1].msg_len, 3u);
  EXPECT_THAT(recvmmsg(pair.b.get(), in, 4, MSG_DONTWAIT, nullptr), FailsWith(EAGAIN));
  EXPECT_THAT(sendmmsg(pair.a.get(), messages, 0, 0), Returns(0));
}

TEST(UnixDatagram, ManyWithABadOneInBetween) {
  UnixPair pair(SOCK_DGRAM);
  char text[] = "x";
  iovec good{text, 1}, bad{reinterpret_cast<void*>(8), 1};
  mmsghdr messages[2] = {};
  messages[0].msg_hdr.msg_iov = &good;
  messages[0].msg_hdr.msg_iovlen = 1;
  messages[1].msg_hdr.msg_iov = &bad;
  messages[1].msg_hdr.msg_iovlen = 1;
  EXPECT_THAT(sendmmsg(pair.a.get(), messages, 2, 0), Returns(1));
  EXPECT_THAT(sendmmsg(pair.a.get(), messages + 1, 1, 0), FailsWith(EFAULT));
}

TEST(UnixDatagram, RecvmmsgTimeoutArgument) {
  UnixPair pair(SOCK_DGRAM);
  mmsghdr message{};
  timespec bad{.tv_sec = 0, .tv_nsec = 1'000'000'000};
  EXPECT_THAT(recvmmsg(pair.b.get(), &message, 1, 0, &bad), FailsWith(EINVAL));
  SendText(pair.a.get(), "x");
  timespec zero{};
  EXPECT_THAT(recvmmsg(pair.b.get(), &message, 1, 0, &zero), Returns(1));
}

TEST(UnixSeqpacket, ConnectedMessages) {
  Listener listener(SOCK_SEQPACKET);
  UniqueFd client = listener.Client();
  UniqueFd server = listener.Accept();
  SendText(client.get(), "one");
  SendText(client.get(), "two");
  EXPECT_EQ(Text(server.get(), 0, 2), "on");
  EXPECT_EQ(Text(server.get()), "two");
  client.reset();
  EXPECT_EQ(Text(server.get()), "");
  EXPECT_THAT(send(server.get(), "x", 1, MSG_NOSIGNAL), FailsWith(EPIPE));
}

TEST(UnixSeqpacket, NotConnected) {
  UniqueFd fd = UnixSocketOf(SOCK_SEQPACKET);
  char byte = 0;
  EXPECT_THAT(send(fd.get(), &byte, 1, 0), FailsWith(ENOTCONN));
  EXPECT_THAT(recv(fd.get(), &byte, 1, 0), FailsWith(ENOTCONN));
  EXPECT_EQ(PollNow(fd.get()), POLLOUT | POLLHUP);
}

TEST(UnixSeqpacket, AnAddressIsIgnored) {
  UnixPair pair(SOCK_SEQPACKET);
  const UnixName name(UniqueName("ignored"));
  EXPECT_THAT(sendto(pair.a.get(), "x", 1, 0, name.get(), name.size), Returns(1));
  EXPECT_EQ(Text(pair.b.get()), "x");
}

TEST(UnixSeqpacket, ShutdownEndsTheMessages) {
  UnixPair pair(SOCK_SEQPACKET);
  SendText(pair.a.get(), "last");
  ASSERT_THAT(shutdown(pair.a.get(), SHUT_WR), Returns(0));
  EXPECT_EQ(Text(pair.b.get()), "last");
  char byte;
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, MSG_DONTWAIT), Returns(0));
  EXPECT_EQ(PollNow(pair.b.get()), POLLIN | POLLOUT | POLLRDHUP);
}

TEST(UnixSeqpacket, AReset) {
  UnixPair pair(SOCK_SEQPACKET);
  SendText(pair.b.get(), "unread");
  pair.a.reset();
  char byte;
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, 0), FailsWith(ECONNRESET));
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, 0), Returns(0));
}

TEST(UnixSeqpacket, QueueSizeIsThatOfAll) {
  UnixPair pair(SOCK_SEQPACKET);
  SendText(pair.a.get(), "123");
  SendText(pair.a.get(), "45678");
  int count = -1;
  EXPECT_THAT(ioctl(pair.b.get(), SIOCINQ, &count), Returns(0));
  EXPECT_EQ(count, 8);
}

TEST(UnixSeqpacket, EmptyMessagesAndTheEndLookAlike) {
  UnixPair pair(SOCK_SEQPACKET);
  EXPECT_THAT(send(pair.a.get(), "", 0, 0), Returns(0));
  SendText(pair.a.get(), "x");
  EXPECT_EQ(Text(pair.b.get()), "");
  EXPECT_EQ(Text(pair.b.get()), "x");
}

}  // namespace
