// How TCP connections end: shutdown(2), close(2), SO_LINGER, TIME_WAIT, TCP_INFO.
#include <sys/epoll.h>

#include "tests/conformance/inet_support.h"

namespace {

INET_SUITE(TcpShutdown);
INET_SUITE(TcpClose);
INET_SUITE(TcpState);

constexpr int kReadable = POLLIN | POLLRDNORM;
constexpr int kWritable = POLLOUT | POLLWRNORM;

int TcpStateOf(const UniqueFd& fd) {
  tcp_info info = {};
  socklen_t size = sizeof info;
  EXPECT_THAT(getsockopt(fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size), Returns(0));
  return info.tcpi_state;
}
bool AwaitState(const UniqueFd& fd, int state) {
  return Eventually([&] { return TcpStateOf(fd) == state; });
}
void SetLinger(const UniqueFd& fd, int on, int seconds) {
  const linger value = {on, seconds};
  ASSERT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &value, sizeof value), Returns(0));
}

TEST_P(TcpShutdown, WritingEndsTheStream) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "last"), Returns(4));
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_WR), Returns(0));
  EXPECT_EQ(Receive(pair.server), "last");
  EXPECT_EQ(Receive(pair.server), "");
  EXPECT_EQ(Receive(pair.server), "");
  EXPECT_THAT(Send(pair.client, "x"), FailsWith(EPIPE));
  EXPECT_THAT(Send(pair.server, "half"), Returns(4));
  EXPECT_EQ(Receive(pair.client), "half");
}

TEST_P(TcpShutdown, WritingAsPollSeesIt) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_WR), Returns(0));
  EXPECT_TRUE(AwaitExactly(pair.server, kReadable | kWritable | POLLRDHUP));
  EXPECT_EQ(PollNow(pair.client), kWritable);
}

TEST_P(TcpShutdown, BothDirections) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_WR), Returns(0));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLRDHUP));
  EXPECT_THAT(shutdown(pair.server.get(), SHUT_WR), Returns(0));
  EXPECT_TRUE(AwaitExactly(pair.client, kReadable | kWritable | POLLRDHUP | POLLHUP));
  EXPECT_TRUE(AwaitExactly(pair.server, kReadable | kWritable | POLLRDHUP | POLLHUP));
  EXPECT_EQ(Receive(pair.client), "");
  EXPECT_EQ(Receive(pair.server), "");
}

TEST_P(TcpShutdown, ReadingIsLocal) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_RD), Returns(0));
  EXPECT_EQ(Receive(pair.client), "");
  EXPECT_EQ(PollNow(pair.client), kReadable | kWritable | POLLRDHUP);
  EXPECT_EQ(PollNow(pair.server), kWritable);
  EXPECT_THAT(Send(pair.server, "still"), Returns(5));
  int bytes = 0;
  ASSERT_TRUE(
      Eventually([&] { return ioctl(pair.client.get(), FIONREAD, &bytes) == 0 && bytes == 5; }));
  EXPECT_EQ(Receive(pair.client), "still");
  EXPECT_EQ(Receive(pair.client), "");
}

TEST_P(TcpShutdown, ReadingAndWriting) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_RDWR), Returns(0));
  EXPECT_EQ(PollNow(pair.client) & ~kReadable, kWritable | POLLRDHUP | POLLHUP);
  EXPECT_TRUE(AwaitExactly(pair.server, kReadable | kWritable | POLLRDHUP));
}

TEST_P(TcpShutdown, WakesAReader) {
  const TcpPair pair(GetParam());
  const pid_t child = Start([&] {
    char byte;
    CHILD_CHECK(read(pair.server.get(), &byte, 1) == 0);
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(shutdown(pair.server.get(), SHUT_RD), Returns(0));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(TcpShutdown, BadDirection) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(shutdown(pair.client.get(), 3), FailsWith(EINVAL));
  EXPECT_THAT(shutdown(pair.client.get(), -1), FailsWith(EINVAL));
}

TEST_P(TcpShutdown, Again) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_WR), Returns(0));
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_WR), Returns(0));
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_RDWR), Returns(0));
}

TEST_P(TcpShutdown, AfterBothEnded) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_WR), Returns(0));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLRDHUP));
  EXPECT_THAT(shutdown(pair.server.get(), SHUT_WR), Returns(0));
  ASSERT_TRUE(AwaitState(pair.server, TCP_CLOSE));
  EXPECT_THAT(shutdown(pair.server.get(), SHUT_WR), FailsWith(ENOTCONN));
  InetAddress peer;
  EXPECT_THAT(getpeername(pair.server.get(), peer.get(), &peer.size), FailsWith(ENOTCONN));
}

TEST_P(TcpClose, IsTheEndForThePeer) {
  TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "bye"), Returns(3));
  pair.client.reset();
  EXPECT_EQ(Receive(pair.server), "bye");
  EXPECT_EQ(Receive(pair.server), "");
  EXPECT_EQ(PollNow(pair.server), kReadable | kWritable | POLLRDHUP);
}

TEST_P(TcpClose, WritingToIt) {
  TcpPair pair(GetParam());
  pair.client.reset();
  ASSERT_TRUE(AwaitEvents(pair.server, POLLRDHUP));
  // The first bytes draw a reset; only what follows can know.
  EXPECT_THAT(Send(pair.server, "x"), Returns(1));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLERR | POLLHUP));
  EXPECT_TRUE(AwaitExactly(pair.server, kReadable | kWritable | POLLRDHUP | POLLERR | POLLHUP));
  EXPECT_THAT(Send(pair.server, "x"), FailsWith(EPIPE));
  EXPECT_EQ(Receive(pair.server), "");
}

TEST_P(TcpClose, WritingToItRaisesSigpipe) {
  TcpPair pair(GetParam());
  pair.client.reset();
  ASSERT_TRUE(AwaitEvents(pair.server, POLLRDHUP));
  EXPECT_THAT(Send(pair.server, "x"), Returns(1));
  ASSERT_TRUE(Eventually([&] { return (PollNow(pair.server) & POLLHUP) != 0; }));
  EXPECT_THAT(InChild([&] { return static_cast<int>(write(pair.server.get(), "x", 1)); }),
              Killed(SIGPIPE));
}

TEST_P(TcpClose, WithUnreadDataIsAReset) {
  TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "never read"), Returns(10));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLIN));
  pair.server.reset();
  ASSERT_TRUE(AwaitEvents(pair.client, POLLIN));
  EXPECT_TRUE(AwaitExactly(pair.client, kReadable | kWritable | POLLRDHUP | POLLERR | POLLHUP));
  EXPECT_EQ(Receive(pair.client), "<ECONNRESET>");
  EXPECT_EQ(Receive(pair.client), "");
  EXPECT_THAT(Send(pair.client, "x"), FailsWith(EPIPE));
}

TEST_P(TcpClose, ResetLeavesWhatHasArrived) {
  TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "never read"), Returns(10));
  EXPECT_THAT(Send(pair.server, "arrived"), Returns(7));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLIN));
  ASSERT_TRUE(AwaitEvents(pair.client, POLLIN));
  pair.server.reset();
  ASSERT_TRUE(Eventually([&] { return (PollNow(pair.client) & POLLERR) != 0; }));
  EXPECT_EQ(Receive(pair.client), "arrived");
  EXPECT_EQ(Receive(pair.client), "<ECONNRESET>");
}

TEST_P(TcpClose, LingerZeroIsAReset) {
  TcpPair pair(GetParam());
  SetLinger(pair.client, 1, 0);
  pair.client.reset();
  ASSERT_TRUE(AwaitEvents(pair.server, POLLIN));
  EXPECT_EQ(ErrorOf(pair.server), ECONNRESET);
  EXPECT_EQ(Receive(pair.server), "");
}

TEST_P(TcpClose, LingerWithTimeIsOrderly) {
  TcpPair pair(GetParam());
  SetLinger(pair.client, 1, 5);
  EXPECT_THAT(Send(pair.client, "data"), Returns(4));
  pair.client.reset();
  EXPECT_EQ(Receive(pair.server), "data");
  EXPECT_EQ(Receive(pair.server), "");
}

TEST_P(TcpClose, ResetAfterHalfCloseIsAPipeError) {
  TcpPair pair(GetParam());
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_WR), Returns(0));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLRDHUP));
  SetLinger(pair.client, 1, 0);
  pair.client.reset();
  ASSERT_TRUE(Eventually([&] { return (PollNow(pair.server) & POLLERR) != 0; }));
  EXPECT_EQ(ErrorOf(pair.server), EPIPE);
}

TEST_P(TcpClose, OnlyTheLastDescriptor) {
  TcpPair pair(GetParam());
  const UniqueFd copy(dup(pair.client.get()));
  pair.client.reset();
  EXPECT_THAT(Send(copy, "still here"), Returns(10));
  EXPECT_EQ(Receive(pair.server), "still here");
}

TEST_P(TcpClose, OfAProcessThatDies) {
  TcpPair pair(GetParam());
  const pid_t child = Start([&] {
    pause();
    return 0;
  });
  pair.client.reset();
  EXPECT_EQ(PollNow(pair.server), kWritable);
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
  EXPECT_EQ(Receive(pair.server), "");
}

TEST_P(TcpClose, EpollHearsOfTheHangup) {
  TcpPair pair(GetParam());
  const UniqueFd poller(epoll_create1(0));
  epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
  ASSERT_THAT(epoll_ctl(poller.get(), EPOLL_CTL_ADD, pair.server.get(), &event), Returns(0));
  pair.client.reset();
  ASSERT_THAT(epoll_wait(poller.get(), &event, 1, 5000), Returns(1));
  EXPECT_EQ(event.events, static_cast<uint32_t>(EPOLLIN | EPOLLRDHUP));
}

TEST_P(TcpState, OfAListenerAndAConnection) {
  const UniqueFd fresh = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_EQ(TcpStateOf(fresh), TCP_CLOSE);
  const TcpPair pair(GetParam());
  EXPECT_EQ(TcpStateOf(pair.listener), TCP_LISTEN);
  EXPECT_EQ(TcpStateOf(pair.client), TCP_ESTABLISHED);
  EXPECT_EQ(TcpStateOf(pair.server), TCP_ESTABLISHED);
}

TEST_P(TcpState, OfAHalfClose) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_WR), Returns(0));
  EXPECT_TRUE(AwaitState(pair.client, TCP_FIN_WAIT2));
  EXPECT_TRUE(AwaitState(pair.server, TCP_CLOSE_WAIT));
  EXPECT_THAT(shutdown(pair.server.get(), SHUT_WR), Returns(0));
  EXPECT_TRUE(AwaitState(pair.server, TCP_CLOSE));
  EXPECT_TRUE(AwaitState(pair.client, TCP_CLOSE));
}

TEST_P(TcpState, OfAReset) {
  TcpPair pair(GetParam());
  SetLinger(pair.client, 1, 0);
  pair.client.reset();
  EXPECT_TRUE(AwaitState(pair.server, TCP_CLOSE));
}

TEST_P(TcpState, InfoMayBeShort) {
  const TcpPair pair(GetParam());
  tcp_info info;
  memset(&info, 0x55, sizeof info);
  socklen_t size = 1;
  EXPECT_THAT(getsockopt(pair.client.get(), IPPROTO_TCP, TCP_INFO, &info, &size), Returns(0));
  EXPECT_EQ(size, 1u);
  EXPECT_EQ(info.tcpi_state, TCP_ESTABLISHED);
  EXPECT_EQ(info.tcpi_ca_state, 0x55);
}

TEST_P(TcpState, InfoCountsTheBacklog) {
  const UniqueFd listener = NewListener(GetParam(), 9);
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  EXPECT_TRUE(Eventually([&] {
    tcp_info info = {};
    socklen_t size = sizeof info;
    EXPECT_THAT(getsockopt(listener.get(), IPPROTO_TCP, TCP_INFO, &info, &size), Returns(0));
    EXPECT_EQ(info.tcpi_sacked, 9u);
    return info.tcpi_unacked == 1u;
  }));
}

TEST_P(TcpState, TimeWaitKeepsThePort) {
  TcpPair pair(GetParam());
  const InetAddress name = NameOf(pair.listener.get());
  pair.server.reset();  // The active end.
  EXPECT_EQ(Receive(pair.client), "");
  pair.client.reset();
  pair.listener.reset();
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(Bind(fd, name), FailsWith(EADDRINUSE));
}

TEST_P(TcpState, TimeWaitYieldsToReuseAddress) {
  UniqueFd listener = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(listener, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(Bind(listener, Loopback(GetParam())), Returns(0));
  ASSERT_THAT(listen(listener.get(), 1), Returns(0));
  const InetAddress name = NameOf(listener.get());
  UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, name), Returns(0));
  AcceptOne(listener).reset();
  EXPECT_EQ(Receive(client), "");
  client.reset();
  listener.reset();
  const UniqueFd again = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(again, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  EXPECT_THAT(Bind(again, name), Returns(0));
  EXPECT_THAT(listen(again.get(), 1), Returns(0));
}

TEST_P(TcpState, LiveConnectionsKeepThePort) {
  TcpPair pair(GetParam());
  const InetAddress name = NameOf(pair.listener.get());
  pair.listener.reset();
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(Bind(fd, name), FailsWith(EADDRINUSE));
}

TEST_P(TcpState, ResetLeavesNoTimeWait) {
  TcpPair pair(GetParam());
  const InetAddress name = NameOf(pair.listener.get());
  SetLinger(pair.server, 1, 0);
  pair.server.reset();
  EXPECT_EQ(Receive(pair.client), "<ECONNRESET>");
  pair.listener.reset();
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(Bind(fd, name), Returns(0));
}

}  // namespace
