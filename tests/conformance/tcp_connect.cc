// How TCP connections come about: connect(2), listen(2), accept(2), tcp(7).
#include <sys/epoll.h>

#include <atomic>
#include <thread>

#include "tests/conformance/inet_support.h"

namespace {

INET_SUITE(TcpConnect);
INET_SUITE(TcpListen);
INET_SUITE(TcpAccept);

constexpr int kFailedEvents =
    POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP | POLLERR | POLLHUP;

// A port of loopback that nobody listens on, as long as `holder` lives.
InetAddress ClosedPort(int family, UniqueFd& holder) {
  holder = NewSocket(family, SOCK_STREAM);
  EXPECT_THAT(Bind(holder, Loopback(family)), Returns(0));
  return NameOf(holder.get());
}

TEST_P(TcpConnect, BothEndsKnowTheirNames) {
  const TcpPair pair(GetParam());
  EXPECT_EQ(NameOf(pair.client.get()).text(), PeerOf(pair.server.get()).text());
  EXPECT_EQ(PeerOf(pair.client.get()).text(), NameOf(pair.server.get()).text());
  EXPECT_EQ(PeerOf(pair.client.get()).text(), NameOf(pair.listener.get()).text());
  EXPECT_EQ(NameOf(pair.client.get()).host(), Loopback(GetParam()).host());
}

TEST_P(TcpConnect, ToAnyMeansLoopback) {
  const UniqueFd listener = NewListener(GetParam());
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, Any(GetParam(), NameOf(listener.get()).port())), Returns(0));
  EXPECT_EQ(PeerOf(client.get()).host(), Loopback(GetParam()).host());
}

TEST_P(TcpConnect, Refused) {
  UniqueFd holder;
  const InetAddress closed = ClosedPort(GetParam(), holder);
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(Connect(client, closed), FailsWith(ECONNREFUSED));
  EXPECT_EQ(ErrorOf(client), 0);
  InetAddress peer;
  EXPECT_THAT(getpeername(client.get(), peer.get(), &peer.size), FailsWith(ENOTCONN));
}

TEST_P(TcpConnect, AgainAfterRefusal) {
  UniqueFd holder;
  const InetAddress closed = ClosedPort(GetParam(), holder);
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_THAT(Connect(client, closed), FailsWith(ECONNREFUSED));
  EXPECT_THAT(Connect(client, closed), FailsWith(ECONNREFUSED));
  ASSERT_THAT(listen(holder.get(), 1), Returns(0));
  EXPECT_THAT(Connect(client, closed), Returns(0));
}

TEST_P(TcpConnect, Twice) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Connect(pair.client, NameOf(pair.listener.get())), FailsWith(EISCONN));
  EXPECT_THAT(Connect(pair.server, NameOf(pair.listener.get())), FailsWith(EISCONN));
}

TEST_P(TcpConnect, NonblockingIsInProgress) {
  const UniqueFd listener = NewListener(GetParam());
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_THAT(Connect(client, NameOf(listener.get())), FailsWith(EINPROGRESS));
  EXPECT_TRUE(AwaitEvents(client, POLLOUT));
  EXPECT_EQ(PollNow(client), POLLOUT | POLLWRNORM);
  EXPECT_EQ(ErrorOf(client), 0);
  // The next connect tells the outcome, and only the one after that minds.
  EXPECT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  EXPECT_THAT(Connect(client, NameOf(listener.get())), FailsWith(EISCONN));
}

TEST_P(TcpConnect, NonblockingIsRefusedLater) {
  UniqueFd holder;
  const InetAddress closed = ClosedPort(GetParam(), holder);
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_THAT(Connect(client, closed), FailsWith(EINPROGRESS));
  EXPECT_TRUE(AwaitEvents(client, POLLOUT));
  EXPECT_EQ(PollNow(client), kFailedEvents);
  EXPECT_EQ(ErrorOf(client), ECONNREFUSED);
  EXPECT_EQ(ErrorOf(client), 0);
  EXPECT_EQ(PollNow(client), kFailedEvents & ~POLLERR);
}

TEST_P(TcpConnect, RefusalIsToldByTheNextConnect) {
  UniqueFd holder;
  const InetAddress closed = ClosedPort(GetParam(), holder);
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_THAT(Connect(client, closed), FailsWith(EINPROGRESS));
  EXPECT_TRUE(AwaitEvents(client, POLLOUT));
  EXPECT_THAT(Connect(client, closed), FailsWith(ECONNREFUSED));
  EXPECT_THAT(Connect(client, closed), FailsWith(EINPROGRESS));
}

TEST_P(TcpConnect, RefusalThatWasAskedForIsAnAbort) {
  UniqueFd holder;
  const InetAddress closed = ClosedPort(GetParam(), holder);
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_THAT(Connect(client, closed), FailsWith(EINPROGRESS));
  EXPECT_TRUE(AwaitEvents(client, POLLOUT));
  EXPECT_EQ(ErrorOf(client), ECONNREFUSED);
  EXPECT_THAT(Connect(client, closed), FailsWith(ECONNABORTED));
}

TEST_P(TcpConnect, RefusalIsToldByReceive) {
  UniqueFd holder;
  const InetAddress closed = ClosedPort(GetParam(), holder);
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_THAT(Connect(client, closed), FailsWith(EINPROGRESS));
  EXPECT_TRUE(AwaitEvents(client, POLLOUT));
  EXPECT_EQ(Receive(client), "<ECONNREFUSED>");
  EXPECT_EQ(Receive(client), "");
  EXPECT_THAT(Send(client, "x"), FailsWith(EPIPE));
}

TEST_P(TcpConnect, FullQueueKeepsConnectWaiting) {
  const UniqueFd listener = NewListener(GetParam(), 0);
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(first, NameOf(listener.get())), Returns(0));
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM | SOCK_NONBLOCK);
  EXPECT_THAT(Connect(second, NameOf(listener.get())), FailsWith(EINPROGRESS));
  EXPECT_EQ(PollNow(second), 0);
  EXPECT_THAT(Connect(second, NameOf(listener.get())), FailsWith(EALREADY));
  EXPECT_THAT(Send(second, "x"), FailsWith(EAGAIN));
  EXPECT_EQ(Receive(second), "<EAGAIN>");
  AcceptOne(listener);
  EXPECT_TRUE(AwaitEvents(second, POLLOUT));  // Linux tries again after a second.
  EXPECT_EQ(ErrorOf(second), 0);
  AcceptOne(listener);
}

TEST_P(TcpConnect, SendTimeoutBoundsConnect) {
  const UniqueFd listener = NewListener(GetParam(), 0);
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(first, NameOf(listener.get())), Returns(0));
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM);
  const timeval timeout = {0, 20'000};
  ASSERT_THAT(setsockopt(second.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout),
              Returns(0));
  EXPECT_THAT(Connect(second, NameOf(listener.get())), FailsWith(EINPROGRESS));
}

TEST_P(TcpConnect, UserTimeoutBoundsConnect) {
  const UniqueFd listener = NewListener(GetParam(), 0);
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(first, NameOf(listener.get())), Returns(0));
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM | SOCK_NONBLOCK);
  ASSERT_THAT(SetInt(second, IPPROTO_TCP, TCP_USER_TIMEOUT, 100), Returns(0));
  EXPECT_THAT(Connect(second, NameOf(listener.get())), FailsWith(EINPROGRESS));
  ASSERT_TRUE(AwaitEvents(second, POLLOUT));
  EXPECT_EQ(PollNow(second), kFailedEvents);
  EXPECT_EQ(ErrorOf(second), ETIMEDOUT);
}

TEST_P(TcpConnect, OtherFamily) {
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  InetAddress address = Loopback(GetParam(), 1);
  address.storage.ss_family = AF_UNIX;
  EXPECT_THAT(connect(client.get(), address.get(), 28), FailsWith(EAFNOSUPPORT));
  EXPECT_THAT(connect(client.get(), address.get(), 1), FailsWith(EINVAL));
}

TEST_P(TcpConnect, ShortAddress) {
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  const InetAddress address = Loopback(GetParam(), 1);
  EXPECT_THAT(connect(client.get(), address.get(), GetParam() == AF_INET ? 15 : 23),
              FailsWith(EINVAL));
}

TEST_P(TcpConnect, UnspecOnAFreshSocketIsFine) {
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  const sockaddr unspec = {.sa_family = AF_UNSPEC};
  EXPECT_THAT(connect(client.get(), &unspec, sizeof unspec), Returns(0));
}

TEST_P(TcpConnect, UnspecDissolvesTheConnection) {
  const TcpPair pair(GetParam());
  const sockaddr unspec = {.sa_family = AF_UNSPEC};
  EXPECT_THAT(connect(pair.client.get(), &unspec, sizeof unspec), Returns(0));
  InetAddress peer;
  EXPECT_THAT(getpeername(pair.client.get(), peer.get(), &peer.size), FailsWith(ENOTCONN));
  EXPECT_TRUE(AwaitEvents(pair.server, POLLIN));
  EXPECT_EQ(Receive(pair.server), "<ECONNRESET>");
  EXPECT_THAT(Connect(pair.client, NameOf(pair.listener.get())), Returns(0));
}

TEST_P(TcpConnect, ListenersDoNotConnect) {
  const UniqueFd listener = NewListener(GetParam());
  const UniqueFd other = NewListener(GetParam());
  EXPECT_THAT(Connect(listener, NameOf(other.get())), FailsWith(EISCONN));
}

TEST_P(TcpConnect, KeepsTheBoundPort) {
  const UniqueFd listener = NewListener(GetParam());
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Bind(client, Loopback(GetParam())), Returns(0));
  const InetAddress name = NameOf(client.get());
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  EXPECT_EQ(NameOf(client.get()).text(), name.text());
}

TEST_P(TcpConnect, OnePairOfAddressesOnce) {
  const UniqueFd listener = NewListener(GetParam());
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(first, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(SetInt(second, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(Bind(first, Loopback(GetParam())), Returns(0));
  ASSERT_THAT(Bind(second, NameOf(first.get())), Returns(0));
  ASSERT_THAT(Connect(first, NameOf(listener.get())), Returns(0));
  EXPECT_THAT(Connect(second, NameOf(listener.get())), FailsWith(EADDRNOTAVAIL));
}

TEST_P(TcpConnect, ToItself) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Bind(fd, Loopback(GetParam())), Returns(0));
  ASSERT_THAT(Connect(fd, NameOf(fd.get())), Returns(0));
  EXPECT_EQ(PeerOf(fd.get()).text(), NameOf(fd.get()).text());
  EXPECT_THAT(Send(fd, "echo"), Returns(4));
  EXPECT_EQ(Receive(fd), "echo");
  EXPECT_THAT(shutdown(fd.get(), SHUT_WR), Returns(0));
  EXPECT_EQ(Receive(fd), "");
}

TEST_P(TcpConnect, BlockedConnectIsInterrupted) {
  const UniqueFd listener = NewListener(GetParam(), 0);
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(first, NameOf(listener.get())), Returns(0));
  const pid_t child = Start([&] {
    signal(SIGUSR1, SIG_IGN);
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    const UniqueFd second(socket(GetParam(), SOCK_STREAM, 0));
    const InetAddress name = NameOf(listener.get());
    CHILD_CHECK(connect(second.get(), name.get(), name.size) == -1 && errno == EINTR);
    CHILD_CHECK(connect(second.get(), name.get(), name.size) == -1);
    CHILD_CHECK(errno == EALREADY || errno == EINTR);
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  // More than one signal: the first may come before the wait, the second connect waits again.
  int status = 0;
  EXPECT_TRUE(Eventually([&] {
    kill(child, SIGUSR1);
    return waitpid(child, &status, WNOHANG) == child;
  }));
  EXPECT_THAT(status, Exited(0));
}

TEST_P(TcpListen, NoConnectionWithoutIt) {
  const UniqueFd holder = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Bind(holder, Loopback(GetParam())), Returns(0));
  EXPECT_EQ(GetInt(holder, SOL_SOCKET, SO_ACCEPTCONN), 0);
  EXPECT_THAT(accept(holder.get(), nullptr, nullptr), FailsWith(EINVAL));
}

TEST_P(TcpListen, MayBeRepeated) {
  const UniqueFd listener = NewListener(GetParam(), 1);
  EXPECT_EQ(GetInt(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
  EXPECT_THAT(listen(listener.get(), 5), Returns(0));
  EXPECT_THAT(listen(listener.get(), -1), Returns(0));
}

TEST_P(TcpListen, NotOnAConnection) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(listen(pair.client.get(), 1), FailsWith(EINVAL));
  EXPECT_THAT(listen(pair.server.get(), 1), FailsWith(EINVAL));
}

TEST_P(TcpListen, PollsReadableWithAConnection) {
  const UniqueFd listener = NewListener(GetParam());
  EXPECT_EQ(PollNow(listener), 0);
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  EXPECT_TRUE(AwaitExactly(listener, POLLIN | POLLRDNORM));
  AcceptOne(listener);
  EXPECT_EQ(PollNow(listener), 0);
}

TEST_P(TcpListen, DoesNotTransfer) {
  const UniqueFd listener = NewListener(GetParam());
  EXPECT_EQ(Receive(listener), "<ENOTCONN>");
  EXPECT_THAT(Send(listener, "x"), FailsWith(EPIPE));
  InetAddress peer;
  EXPECT_THAT(getpeername(listener.get(), peer.get(), &peer.size), FailsWith(ENOTCONN));
  int bytes;
  EXPECT_THAT(ioctl(listener.get(), FIONREAD, &bytes), FailsWith(EINVAL));
}

TEST_P(TcpListen, CloseResetsThoseWhoWait) {
  UniqueFd listener = NewListener(GetParam());
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  listener.reset();
  EXPECT_TRUE(AwaitEvents(client, POLLIN));
  EXPECT_EQ(Receive(client), "<ECONNRESET>");
}

TEST_P(TcpListen, ShutdownForReadingEndsIt) {
  const UniqueFd listener = NewListener(GetParam());
  EXPECT_THAT(shutdown(listener.get(), SHUT_WR), Returns(0));
  EXPECT_EQ(GetInt(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
  EXPECT_THAT(shutdown(listener.get(), SHUT_RD), Returns(0));
  EXPECT_EQ(GetInt(listener, SOL_SOCKET, SO_ACCEPTCONN), 0);
  EXPECT_THAT(accept(listener.get(), nullptr, nullptr), FailsWith(EINVAL));
  EXPECT_NE(NameOf(listener.get()).port(), 0);
  EXPECT_THAT(listen(listener.get(), 1), Returns(0));
}

TEST_P(TcpListen, ShutdownWakesAccept) {
  const UniqueFd listener = NewListener(GetParam());
  const pid_t child = Start([&] {
    CHILD_CHECK(accept(listener.get(), nullptr, nullptr) == -1 && errno == EINVAL);
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(shutdown(listener.get(), SHUT_RDWR), Returns(0));
  EXPECT_THAT(Wait(child), Exited(0));
}

// Who finds nobody there takes no port from who is about to listen.
TEST_P(TcpListen, BesideThoseWhoAreRefused) {
  const UniqueFd listener = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(SetInt(listener, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  ASSERT_THAT(Bind(listener, Loopback(GetParam())), Returns(0));
  const InetAddress address = NameOf(listener.get());
  std::atomic<bool> done = false;
  std::thread clients([&] {
    while (!done) {
      const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
      constexpr linger kAbort{.l_onoff = 1, .l_linger = 0};  // No port is left in TIME_WAIT.
      setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &kAbort, sizeof(kAbort));
      // Or it was established for a moment: shutdown(2) resets those whom nobody has accepted.
      if (Connect(client, address) != 0) {
        EXPECT_THAT(errno, testing::AnyOf(ECONNREFUSED, ECONNRESET));
      }
    }
  });
  for (int i = 0; i < 3000; i++) {
    EXPECT_THAT(listen(listener.get(), 1), Returns(0));
    EXPECT_THAT(shutdown(listener.get(), SHUT_RD), Returns(0));
  }
  done = true;
  clients.join();
}

TEST_P(TcpListen, ReusePortSpreadsConnections) {
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM | SOCK_NONBLOCK);
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM | SOCK_NONBLOCK);
  for (const UniqueFd* fd : {&first, &second}) {
    ASSERT_THAT(SetInt(*fd, SOL_SOCKET, SO_REUSEPORT, 1), Returns(0));
    ASSERT_THAT(Bind(*fd, fd == &first ? Loopback(GetParam()) : NameOf(first.get())), Returns(0));
    ASSERT_THAT(listen(fd->get(), 64), Returns(0));
  }
  std::vector<UniqueFd> clients;
  int of_first = 0, of_second = 0;
  for (int i = 0; i < 60; i++) {
    clients.push_back(NewSocket(GetParam(), SOCK_STREAM));
    ASSERT_THAT(Connect(clients.back(), NameOf(first.get())), Returns(0));
  }
  EXPECT_TRUE(Eventually([&] {
    while (UniqueFd(accept(first.get(), nullptr, nullptr)).get() >= 0) of_first++;
    while (UniqueFd(accept(second.get(), nullptr, nullptr)).get() >= 0) of_second++;
    return of_first + of_second == 60;
  }));
  EXPECT_GT(of_first, 0);
  EXPECT_GT(of_second, 0);
}

TEST_P(TcpAccept, TellsThePeer) {
  const UniqueFd listener = NewListener(GetParam());
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  InetAddress peer;
  const UniqueFd server(accept(listener.get(), peer.get(), &peer.size));
  ASSERT_GE(server.get(), 0);
  EXPECT_EQ(peer.text(), NameOf(client.get()).text());
  EXPECT_EQ(peer.size, GetParam() == AF_INET ? 16u : 28u);
}

TEST_P(TcpAccept, Flags) {
  const UniqueFd listener = NewListener(GetParam());
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  EXPECT_THAT(accept4(listener.get(), nullptr, nullptr, 1), FailsWith(EINVAL));
  const UniqueFd server = AcceptOne(listener, SOCK_CLOEXEC | SOCK_NONBLOCK);
  EXPECT_EQ(fcntl(server.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(server.get(), F_GETFL), O_RDWR | O_NONBLOCK);
}

TEST_P(TcpAccept, DoesNotInheritNonblocking) {
  const UniqueFd listener = NewListener(GetParam(), 4, SOCK_NONBLOCK);
  EXPECT_THAT(accept(listener.get(), nullptr, nullptr), FailsWith(EAGAIN));
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  ASSERT_TRUE(AwaitEvents(listener, POLLIN));
  EXPECT_EQ(fcntl(AcceptOne(listener).get(), F_GETFL), O_RDWR);
}

TEST_P(TcpAccept, InheritsOptions) {
  const UniqueFd listener = NewListener(GetParam());
  ASSERT_THAT(SetInt(listener, IPPROTO_TCP, TCP_NODELAY, 1), Returns(0));
  ASSERT_THAT(SetInt(listener, SOL_SOCKET, SO_KEEPALIVE, 1), Returns(0));
  ASSERT_THAT(SetInt(listener, IPPROTO_TCP, TCP_KEEPIDLE, 77), Returns(0));
  ASSERT_THAT(SetInt(listener, SOL_SOCKET, SO_REUSEADDR, 1), Returns(0));
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  const UniqueFd server = AcceptOne(listener);
  EXPECT_EQ(GetInt(server, IPPROTO_TCP, TCP_NODELAY), 1);
  EXPECT_EQ(GetInt(server, SOL_SOCKET, SO_KEEPALIVE), 1);
  EXPECT_EQ(GetInt(server, IPPROTO_TCP, TCP_KEEPIDLE), 77);
  EXPECT_EQ(GetInt(server, SOL_SOCKET, SO_REUSEADDR), 1);
  EXPECT_EQ(GetInt(server, SOL_SOCKET, SO_ACCEPTCONN), 0);
}

TEST_P(TcpAccept, InOrder) {
  const UniqueFd listener = NewListener(GetParam());
  const UniqueFd first = NewSocket(GetParam(), SOCK_STREAM);
  const UniqueFd second = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(first, NameOf(listener.get())), Returns(0));
  ASSERT_THAT(Connect(second, NameOf(listener.get())), Returns(0));
  EXPECT_EQ(PeerOf(AcceptOne(listener).get()).text(), NameOf(first.get()).text());
  EXPECT_EQ(PeerOf(AcceptOne(listener).get()).text(), NameOf(second.get()).text());
}

TEST_P(TcpAccept, DataMayBeThereAlready) {
  const UniqueFd listener = NewListener(GetParam());
  UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  EXPECT_THAT(Send(client, "early"), Returns(5));
  client.reset();
  const UniqueFd server = AcceptOne(listener);
  EXPECT_EQ(Receive(server), "early");
  EXPECT_EQ(Receive(server), "");
}

TEST_P(TcpAccept, AResetConnectionIsAcceptedAllTheSame) {
  const UniqueFd listener = NewListener(GetParam());
  UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  const linger abort = {1, 0};
  ASSERT_THAT(setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort), Returns(0));
  client.reset();
  const UniqueFd server = AcceptOne(listener);
  EXPECT_TRUE(AwaitEvents(server, POLLIN));
  EXPECT_EQ(Receive(server), "<ECONNRESET>");
}

TEST_P(TcpAccept, WaitsForAConnection) {
  const UniqueFd listener = NewListener(GetParam());
  const pid_t child = Start([&] {
    const UniqueFd server(accept(listener.get(), nullptr, nullptr));
    CHILD_CHECK(server.get() >= 0);
    CHILD_CHECK(write(server.get(), "hi", 2) == 2);
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  const UniqueFd client = NewSocket(GetParam(), SOCK_STREAM);
  ASSERT_THAT(Connect(client, NameOf(listener.get())), Returns(0));
  EXPECT_EQ(Receive(client), "hi");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(TcpDualStack, AnyOfSixHearsBothFamilies) {
  const UniqueFd listener = NewSocket(AF_INET6, SOCK_STREAM);
  ASSERT_THAT(listen(listener.get(), 4), Returns(0));
  const uint16_t port = NameOf(listener.get()).port();
  const UniqueFd client = NewSocket(AF_INET, SOCK_STREAM);
  ASSERT_THAT(Connect(client, At("127.0.0.1", port)), Returns(0));
  const UniqueFd server = AcceptOne(listener);
  EXPECT_EQ(PeerOf(server.get()).text(), "::ffff:" + NameOf(client.get()).text());
  EXPECT_EQ(NameOf(server.get()).host(), "::ffff:127.0.0.1");
  const UniqueFd six = NewSocket(AF_INET6, SOCK_STREAM);
  ASSERT_THAT(Connect(six, At("::1", port)), Returns(0));
  EXPECT_EQ(PeerOf(AcceptOne(listener).get()).host(), "::1");
}

TEST(TcpDualStack, V6OnlyRefusesTheOtherFamily) {
  const UniqueFd listener = NewSocket(AF_INET6, SOCK_STREAM);
  ASSERT_THAT(SetInt(listener, IPPROTO_IPV6, IPV6_V6ONLY, 1), Returns(0));
  ASSERT_THAT(listen(listener.get(), 4), Returns(0));
  const UniqueFd client = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(Connect(client, At("127.0.0.1", NameOf(listener.get()).port())),
              FailsWith(ECONNREFUSED));
}

TEST(TcpDualStack, MappedAddressesReachTheOtherFamily) {
  const UniqueFd listener = NewListener(AF_INET);
  const UniqueFd client = NewSocket(AF_INET6, SOCK_STREAM);
  ASSERT_THAT(Connect(client, At("::ffff:127.0.0.1", NameOf(listener.get()).port())), Returns(0));
  EXPECT_EQ(PeerOf(client.get()).host(), "::ffff:127.0.0.1");
  EXPECT_EQ(NameOf(client.get()).host(), "::ffff:127.0.0.1");
  EXPECT_EQ(PeerOf(AcceptOne(listener).get()).host(), "127.0.0.1");
}

TEST(TcpDualStack, V6OnlyDoesNotConnectToMappedAddresses) {
  const UniqueFd listener = NewListener(AF_INET);
  const UniqueFd client = NewSocket(AF_INET6, SOCK_STREAM);
  ASSERT_THAT(SetInt(client, IPPROTO_IPV6, IPV6_V6ONLY, 1), Returns(0));
  EXPECT_THAT(Connect(client, At("::ffff:127.0.0.1", NameOf(listener.get()).port())),
              FailsWith(ENETUNREACH));
}

TEST(TcpDualStack, BothBoundTheSpecificOneWins) {
  UniqueFd six, four;
  uint16_t port = 0;
  // Of the other family somebody's connection may have had the port a moment ago.
  ASSERT_TRUE(Eventually([&] {
    six = NewSocket(AF_INET6, SOCK_STREAM);
    EXPECT_THAT(SetInt(six, IPPROTO_IPV6, IPV6_V6ONLY, 1), Returns(0));
    EXPECT_THAT(listen(six.get(), 4), Returns(0));
    port = NameOf(six.get()).port();
    four = NewSocket(AF_INET, SOCK_STREAM);
    return Bind(four, At("0.0.0.0", port)) == 0;
  }));
  ASSERT_THAT(listen(four.get(), 4), Returns(0));
  const UniqueFd client = NewSocket(AF_INET, SOCK_STREAM);
  ASSERT_THAT(Connect(client, At("127.0.0.1", port)), Returns(0));
  EXPECT_TRUE(AwaitEvents(four, POLLIN));
  EXPECT_EQ(PollNow(six), 0);
}

TEST(TcpDualStack, FourDoesNotTakeAddressesOfSix) {
  const UniqueFd client = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(Connect(client, At("::1", 1)), FailsWith(EAFNOSUPPORT));
}

TEST(TcpDualStack, MulticastIsUnreachable) {
  const UniqueFd client = NewSocket(AF_INET, SOCK_STREAM);
  EXPECT_THAT(Connect(client, At("224.0.0.1", 1)), FailsWith(ENETUNREACH));
  const UniqueFd six = NewSocket(AF_INET6, SOCK_STREAM);
  EXPECT_THAT(Connect(six, At("ff02::1", 1)), FailsWith(ENETUNREACH));
}

}  // namespace
