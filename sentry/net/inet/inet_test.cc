// Ports and connections without tasks: rules of sharing, ends of connections, threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "sentry/net/inet/inet_stack.h"
#include "sentry/net/inet/tcp_connection.h"

namespace sentry {
namespace {

const IpAddress kLoopback = IpAddress::LoopbackOf(true);

Ref<PortBinding> NewBinding(InetStack& stack, int domain = AF_INET) {
  return MakeRef<PortBinding>(stack, Transport::kTcp, domain);
}

struct Pair {
  explicit Pair(InetStack& stack) {
    const Endpoint to{kLoopback, 80};
    auto client = NewBinding(stack), server = NewBinding(stack);
    EXPECT_TRUE(stack.ClaimPair(*client, kLoopback, to).ok());
    stack.AddConnection(*server, to);
    connection = MakeRef<TcpConnection>(TcpEnd{client->local, MakeRef<WaitPoint>(), client},
                                        TcpEnd{to, MakeRef<WaitPoint>(), server});
    EXPECT_TRUE(connection->Establish());
  }
  Result<size_t> Send(int side, std::string_view data, uint32_t flags = 0) {
    IoSrc src(std::as_bytes(std::span(data)));
    OutgoingMessage message;
    message.flags = flags;
    return connection->Send(side, src, message);
  }
  std::string Receive(int side, size_t size = 100) {
    std::string data(size, '\0');
    IoDst dst(std::as_writable_bytes(std::span(data)));
    IncomingMessage message;
    const auto received = connection->Receive(side, dst, message, false);
    if (!received.ok()) return "error " + std::to_string(received.error().code());
    data.resize(*received);
    return data;
  }
  Ref<TcpConnection> connection;
};

TEST(InetStack, PortsAreFreedWithTheirBindings) {
  InetStack stack;
  auto first = NewBinding(stack), second = NewBinding(stack);
  EXPECT_TRUE(stack.Bind(*first, {kLoopback, 80}).ok());
  EXPECT_EQ(stack.Bind(*second, {kLoopback, 80}).error(), Errno(EADDRINUSE));
  first = nullptr;
  EXPECT_TRUE(stack.Bind(*second, {kLoopback, 80}).ok());
}

TEST(InetStack, EphemeralPortsRunOut) {
  InetStack stack;
  stack.first_ephemeral = 40000;
  stack.last_ephemeral = 40009;
  std::vector<Ref<PortBinding>> bindings;
  for (int i = 0; i < 10; i++) {
    bindings.push_back(NewBinding(stack));
    EXPECT_TRUE(stack.Bind(*bindings.back(), {kLoopback, 0}).ok());
  }
  EXPECT_EQ(stack.Bind(*NewBinding(stack), {kLoopback, 0}).error(), Errno(EADDRINUSE));
  EXPECT_EQ(stack.ClaimPair(*NewBinding(stack), kLoopback, {kLoopback, 80}).error(),
            Errno(EADDRNOTAVAIL));
}

TEST(InetStack, ConnectionsShareAPortTowardsOthers) {
  InetStack stack;
  stack.first_ephemeral = stack.last_ephemeral = 40000;
  auto first = NewBinding(stack), second = NewBinding(stack), third = NewBinding(stack);
  EXPECT_TRUE(stack.ClaimPair(*first, kLoopback, {kLoopback, 80}).ok());
  EXPECT_TRUE(stack.ClaimPair(*second, kLoopback, {kLoopback, 81}).ok());
  EXPECT_FALSE(stack.ClaimPair(*third, kLoopback, {kLoopback, 80}).ok());
}

TEST(TcpConnection, OrderlyEndWaits) {
  InetStack stack;
  Pair pair(stack);
  EXPECT_EQ(*pair.Send(0, "last"), 4u);
  pair.connection->Close(0, false);
  EXPECT_EQ(pair.connection->State(1), TCP_CLOSE_WAIT);
  EXPECT_EQ(pair.Receive(1), "last");
  EXPECT_EQ(pair.Receive(1), "");
  pair.connection->Close(1, false);
  const auto rows = stack.List(Transport::kTcp);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].state, TCP_TIME_WAIT);
  EXPECT_EQ(rows[0].remote.port, 80);
}

TEST(TcpConnection, UnreadBytesMakeAReset) {
  InetStack stack;
  Pair pair(stack);
  EXPECT_EQ(*pair.Send(0, "unread"), 6u);
  EXPECT_EQ(*pair.Send(1, "read"), 4u);
  pair.connection->Close(1, false);
  EXPECT_EQ(pair.Receive(0), "read");
  EXPECT_EQ(pair.Receive(0), "error " + std::to_string(ECONNRESET));
  EXPECT_EQ(pair.Receive(0), "");
  EXPECT_TRUE(stack.List(Transport::kTcp).empty());
}

TEST(TcpConnection, RefusedOnes) {
  InetStack stack;
  const Endpoint to{kLoopback, 80};
  auto client = NewBinding(stack), server = NewBinding(stack);
  ASSERT_TRUE(stack.ClaimPair(*client, kLoopback, to).ok());
  auto point = MakeRef<WaitPoint>();
  auto connection = MakeRef<TcpConnection>(TcpEnd{client->local, point, client},
                                           TcpEnd{to, MakeRef<WaitPoint>(), server});
  connection->Refuse(Errno(ECONNREFUSED));
  EXPECT_EQ(point->error, ECONNREFUSED);
  EXPECT_FALSE(connection->Establish());
  EXPECT_EQ(connection->State(0), TCP_CLOSE);
}

TEST(TcpConnection, UrgentByteIsSkipped) {
  InetStack stack;
  Pair pair(stack);
  EXPECT_EQ(*pair.Send(0, "before"), 6u);
  EXPECT_EQ(*pair.Send(0, "!", MSG_OOB), 1u);
  EXPECT_EQ(*pair.Send(0, "after"), 5u);
  EXPECT_EQ(pair.connection->Poll(1, 1, false) & POLLPRI, uint32_t{POLLPRI});
  EXPECT_EQ(pair.Receive(1), "before");
  EXPECT_TRUE(pair.connection->AtMark(1));
  EXPECT_EQ(pair.Receive(1), "after");
  EXPECT_FALSE(pair.connection->AtMark(1));
}

TEST(TcpConnection, AReadThatIsUnderWayLeavesTheUrgentByte) {
  InetStack stack;
  for (int i = 0; i < 2000; i++) {
    Pair pair(stack);
    std::atomic<bool> stop{false};
    std::string got;
    std::thread reader([&] {
      while (!stop) {
        const std::string piece = pair.Receive(1);
        if (!piece.starts_with("error")) got += piece;
      }
    });
    const std::string before(20'000, 'z');
    (void)pair.Send(0, before);
    (void)pair.Send(0, "!", MSG_OOB);
    stop = true;
    reader.join();
    for (std::string piece; !(piece = pair.Receive(1)).starts_with("error");) got += piece;
    ASSERT_EQ(got, before);
  }
}

TEST(TcpConnection, BothCloseAtOnce) {
  InetStack stack;
  for (int i = 0; i < 300; i++) {
    Pair pair(stack);
    std::thread other([&] {
      (void)pair.Send(1, "x");
      pair.connection->Close(1, i % 3 == 0);
    });
    (void)pair.Send(0, "y", i % 2 == 0 ? uint32_t{MSG_OOB} : 0);
    (void)pair.Receive(0);
    pair.connection->Close(0, false);
    other.join();
  }
  // The other ends, and nothing else, may be remembered.
  for (const InetRow& row : stack.List(Transport::kTcp)) EXPECT_EQ(row.state, TCP_TIME_WAIT);
}

TEST(TcpConnection, BytesArriveInOrderAcrossThreads) {
  InetStack stack;
  Pair pair(stack);
  constexpr size_t kTotal = 4 << 20;
  std::thread writer([&] {
    std::string block(10'000, '\0');
    for (size_t sent = 0; sent < kTotal;) {
      for (size_t i = 0; i < block.size(); i++) block[i] = static_cast<char>((sent + i) % 251);
      const auto count = pair.Send(0, block);
      if (count.ok()) sent += *count;
    }
    (void)pair.connection->Shutdown(0, SHUT_WR);
  });
  size_t received = 0;
  bool ordered = true;
  for (;;) {
    const std::string data = pair.Receive(1, 7'000);
    if (data.empty()) break;
    if (data.starts_with("error")) continue;
    for (const char c : data) ordered = ordered && c == static_cast<char>(received++ % 251);
  }
  writer.join();
  EXPECT_GE(received, kTotal);
  EXPECT_TRUE(ordered);
}

}  // namespace
}  // namespace sentry
