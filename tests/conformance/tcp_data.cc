// Bytes over TCP connections: send(2), recv(2), tcp(7), poll(2).
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include <thread>

#include "tests/conformance/inet_support.h"

namespace {

INET_SUITE(TcpData);
INET_SUITE(TcpUrgent);
INET_SUITE(TcpLimits);

TEST_P(TcpData, BothWays) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "question"), Returns(8));
  EXPECT_EQ(Receive(pair.server), "question");
  EXPECT_THAT(Send(pair.server, "answer"), Returns(6));
  EXPECT_EQ(Receive(pair.client), "answer");
}

TEST_P(TcpData, NoBoundaries) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "ab"), Returns(2));
  EXPECT_THAT(Send(pair.client, "cd"), Returns(2));
  EXPECT_EQ(Receive(pair.server, 3, MSG_WAITALL), "abc");
  EXPECT_EQ(Receive(pair.server), "d");
}

TEST_P(TcpData, ReadAndWrite) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(write(pair.client.get(), "plain", 5), Returns(5));
  char buffer[16];
  EXPECT_THAT(read(pair.server.get(), buffer, sizeof buffer), Returns(5));
  iovec out[2] = {{const_cast<char*>("sca"), 3}, {const_cast<char*>("tter"), 4}};
  EXPECT_THAT(writev(pair.client.get(), out, 2), Returns(7));
  char first[2], second[8];
  iovec in[2] = {{first, 2}, {second, 8}};
  EXPECT_THAT(readv(pair.server.get(), in, 2), Returns(7));
  EXPECT_EQ(std::string(second, 5), "atter");
  EXPECT_THAT(pread(pair.server.get(), buffer, 1, 0), FailsWith(ESPIPE));
  EXPECT_THAT(lseek(pair.server.get(), 0, SEEK_CUR), FailsWith(ESPIPE));
}

TEST_P(TcpData, NothingToRead) {
  const TcpPair pair(GetParam(), SOCK_NONBLOCK);
  EXPECT_EQ(Receive(pair.server), "<EAGAIN>");
  EXPECT_THAT(recv(pair.server.get(), nullptr, 0, 0), FailsWith(EAGAIN));
}

TEST_P(TcpData, DontWait) {
  const TcpPair pair(GetParam());
  EXPECT_EQ(Receive(pair.server, 10, MSG_DONTWAIT), "<EAGAIN>");
}

TEST_P(TcpData, SendingNothing) {
  const TcpPair pair(GetParam(), SOCK_NONBLOCK);
  EXPECT_THAT(Send(pair.client, ""), Returns(0));
  EXPECT_EQ(Receive(pair.server), "<EAGAIN>");
}

TEST_P(TcpData, Peek) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "peekaboo"), Returns(8));
  EXPECT_EQ(Receive(pair.server, 4, MSG_PEEK), "peek");
  EXPECT_EQ(Receive(pair.server, 100, MSG_PEEK), "peekaboo");
  EXPECT_EQ(Receive(pair.server), "peekaboo");
}

TEST_P(TcpData, PeekOffset) {
  const TcpPair pair(GetParam(), SOCK_NONBLOCK);
  int size = 0;
  socklen_t length = sizeof size;
  EXPECT_THAT(getsockopt(pair.server.get(), SOL_SOCKET, SO_PEEK_OFF, &size, &length), Returns(0));
  EXPECT_EQ(size, -1);
}

TEST_P(TcpData, WaitAllCollects) {
  const TcpPair pair(GetParam());
  const pid_t child = Start([&] {
    char buffer[6];
    CHILD_CHECK(recv(pair.server.get(), buffer, 6, MSG_WAITALL) == 6);
    CHILD_CHECK(memcmp(buffer, "onetwo", 6) == 0);
    return 0;
  });
  EXPECT_THAT(Send(pair.client, "one"), Returns(3));
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(Send(pair.client, "two"), Returns(3));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(TcpData, WaitAllEndsWithTheStream) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "one"), Returns(3));
  EXPECT_THAT(shutdown(pair.client.get(), SHUT_WR), Returns(0));
  EXPECT_EQ(Receive(pair.server, 6, MSG_WAITALL), "one");
}

TEST_P(TcpData, TruncDiscards) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "discarded"), Returns(9));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLIN));
  EXPECT_THAT(recv(pair.server.get(), nullptr, 4, MSG_TRUNC), Returns(4));
  EXPECT_EQ(Receive(pair.server), "arded");
}

TEST_P(TcpData, MoreAndCorkArriveInTheEnd) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "head ", MSG_MORE), Returns(5));
  EXPECT_THAT(Send(pair.client, "tail"), Returns(4));
  EXPECT_EQ(Receive(pair.server, 9, MSG_WAITALL), "head tail");
  ASSERT_THAT(SetInt(pair.client, IPPROTO_TCP, TCP_CORK, 1), Returns(0));
  EXPECT_THAT(Send(pair.client, "cork"), Returns(4));
  ASSERT_THAT(SetInt(pair.client, IPPROTO_TCP, TCP_CORK, 0), Returns(0));
  EXPECT_EQ(Receive(pair.server, 4, MSG_WAITALL), "cork");
}

TEST_P(TcpData, TheDestinationIsIgnored) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(SendTo(pair.client, "x", Loopback(GetParam(), 9)), Returns(1));
  EXPECT_EQ(Receive(pair.server), "x");
}

TEST_P(TcpData, NoSourceAddress) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "x"), Returns(1));
  InetAddress from;
  char byte;
  EXPECT_THAT(recvfrom(pair.server.get(), &byte, 1, 0, from.get(), &from.size), Returns(1));
  EXPECT_EQ(from.size, 0u);
}

TEST_P(TcpData, MessageFlagsAndControl) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "message"), Returns(7));
  char data[4], control[64];
  iovec io = {data, sizeof data};
  msghdr message = {.msg_iov = &io,
                    .msg_iovlen = 1,
                    .msg_control = control,
                    .msg_controllen = sizeof control,
                    .msg_flags = 77};
  EXPECT_THAT(recvmsg(pair.server.get(), &message, 0), Returns(4));
  EXPECT_EQ(message.msg_flags, 0);
  EXPECT_EQ(message.msg_controllen, 0u);
  EXPECT_EQ(message.msg_namelen, 0u);
}

TEST_P(TcpData, BytesWaiting) {
  const TcpPair pair(GetParam());
  int bytes = -1;
  EXPECT_THAT(ioctl(pair.server.get(), FIONREAD, &bytes), Returns(0));
  EXPECT_EQ(bytes, 0);
  EXPECT_THAT(Send(pair.client, "12345"), Returns(5));
  EXPECT_TRUE(
      Eventually([&] { return ioctl(pair.server.get(), FIONREAD, &bytes) == 0 && bytes == 5; }));
  EXPECT_TRUE(
      Eventually([&] { return ioctl(pair.client.get(), TIOCOUTQ, &bytes) == 0 && bytes == 0; }));
}

TEST_P(TcpData, PollOfAConnection) {
  const TcpPair pair(GetParam());
  EXPECT_EQ(PollNow(pair.server), POLLOUT | POLLWRNORM);
  EXPECT_THAT(Send(pair.client, "x"), Returns(1));
  EXPECT_TRUE(AwaitExactly(pair.server, POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM));
  EXPECT_EQ(Receive(pair.server), "x");
  EXPECT_EQ(PollNow(pair.server), POLLOUT | POLLWRNORM);
}

TEST_P(TcpData, PollOfAFreshSocket) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_EQ(PollNow(fd), POLLOUT | POLLWRNORM | POLLHUP);
  ASSERT_THAT(Bind(fd, Loopback(GetParam())), Returns(0));
  EXPECT_EQ(PollNow(fd), POLLOUT | POLLWRNORM | POLLHUP);
}

TEST_P(TcpData, AFreshSocketDoesNotTransfer) {
  const UniqueFd fd = NewSocket(GetParam(), SOCK_STREAM);
  EXPECT_EQ(Receive(fd), "<ENOTCONN>");
  EXPECT_THAT(Send(fd, "x"), FailsWith(EPIPE));
  EXPECT_THAT(shutdown(fd.get(), SHUT_RDWR), FailsWith(ENOTCONN));
  EXPECT_EQ(Receive(fd, 1, MSG_OOB), "<EINVAL>");
}

TEST_P(TcpData, EdgeTriggeredEpoll) {
  const TcpPair pair(GetParam());
  const UniqueFd poller(epoll_create1(0));
  epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.u64 = 5}};
  ASSERT_THAT(epoll_ctl(poller.get(), EPOLL_CTL_ADD, pair.server.get(), &event), Returns(0));
  EXPECT_THAT(epoll_wait(poller.get(), &event, 1, 0), Returns(0));
  EXPECT_THAT(Send(pair.client, "a"), Returns(1));
  EXPECT_THAT(epoll_wait(poller.get(), &event, 1, 5000), Returns(1));
  EXPECT_THAT(epoll_wait(poller.get(), &event, 1, 0), Returns(0));
  EXPECT_THAT(Send(pair.client, "b"), Returns(1));
  EXPECT_THAT(epoll_wait(poller.get(), &event, 1, 5000), Returns(1));
  EXPECT_EQ(event.data.u64, 5u);
}

TEST_P(TcpData, BlockedReaderIsWoken) {
  const TcpPair pair(GetParam());
  const pid_t child = Start([&] {
    char byte = 0;
    CHILD_CHECK(read(pair.server.get(), &byte, 1) == 1 && byte == 'w');
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(Send(pair.client, "w"), Returns(1));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(TcpData, BlockedReaderIsInterrupted) {
  const TcpPair pair(GetParam());
  const pid_t child = Start([&] {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    sigaction(SIGALRM, &action, nullptr);
    alarm(1);
    char byte;
    CHILD_CHECK(read(pair.server.get(), &byte, 1) == -1 && errno == EINTR);
    return 0;
  });
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(TcpData, ReceiveTimeout) {
  const TcpPair pair(GetParam());
  const timeval timeout = {0, 10'000};
  ASSERT_THAT(setsockopt(pair.server.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout),
              Returns(0));
  EXPECT_EQ(Receive(pair.server), "<EAGAIN>");
}

TEST_P(TcpData, LowWaterMark) {
  const TcpPair pair(GetParam());
  ASSERT_THAT(SetInt(pair.server, SOL_SOCKET, SO_RCVLOWAT, 4), Returns(0));
  EXPECT_THAT(Send(pair.client, "abc"), Returns(3));
  int bytes = 0;
  ASSERT_TRUE(
      Eventually([&] { return ioctl(pair.server.get(), FIONREAD, &bytes) == 0 && bytes == 3; }));
  EXPECT_EQ(PollNow(pair.server, POLLIN), 0);
  EXPECT_THAT(Send(pair.client, "d"), Returns(1));
  EXPECT_TRUE(AwaitEvents(pair.server, POLLIN));
  EXPECT_EQ(Receive(pair.server), "abcd");
}

TEST_P(TcpData, BadBuffers) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(send(pair.client.get(), reinterpret_cast<void*>(8), 1, 0), FailsWith(EFAULT));
  EXPECT_THAT(Send(pair.client, "kept"), Returns(4));
  EXPECT_THAT(recv(pair.server.get(), reinterpret_cast<void*>(8), 4, 0), FailsWith(EFAULT));
  EXPECT_EQ(Receive(pair.server), "kept");
}

TEST_P(TcpData, MuchDataInOrder) {
  const TcpPair pair(GetParam());
  constexpr size_t kTotal = 8 << 20;
  std::thread writer([&] {
    std::vector<uint32_t> words(64 << 10);
    uint32_t next = 0;
    for (size_t sent = 0; sent < kTotal; sent += words.size() * 4) {
      for (uint32_t& word : words) word = next++;
      const char* at = reinterpret_cast<const char*>(words.data());
      for (size_t left = words.size() * 4; left > 0;) {
        const ssize_t count = send(pair.client.get(), at, left, MSG_NOSIGNAL);
        if (count <= 0) return;
        at += count, left -= count;
      }
    }
    shutdown(pair.client.get(), SHUT_WR);
  });
  std::vector<uint32_t> words(30'001);
  uint32_t expected = 0;
  size_t total = 0;
  bool ordered = true;
  for (;;) {
    const ssize_t count = recv(pair.server.get(), words.data(), words.size() * 4, MSG_WAITALL);
    if (count <= 0) break;
    total += count;
    for (ssize_t i = 0; i < count / 4; i++) ordered = ordered && words[i] == expected++;
  }
  writer.join();
  EXPECT_EQ(total, kTotal);
  EXPECT_TRUE(ordered);
}

TEST_P(TcpData, SendFile) {
  const TcpPair pair(GetParam());
  const UniqueFd file = OpenTemp(0, "from a file");
  off_t offset = 5;
  EXPECT_THAT(sendfile(pair.client.get(), file.get(), &offset, 6), Returns(6));
  EXPECT_EQ(Receive(pair.server, 6, MSG_WAITALL), "a file");
}

TEST_P(TcpLimits, SendFileStopsAtAFullBuffer) {
  const TcpPair pair(GetParam(), SOCK_NONBLOCK);
  const UniqueFd file = OpenTemp();
  ASSERT_THAT(ftruncate(file.get(), 64 << 20), Returns(0));
  off_t offset = 0;
  const ssize_t sent = sendfile(pair.client.get(), file.get(), &offset, 64 << 20);
  EXPECT_GT(sent, 0);
  EXPECT_LT(sent, 64 << 20);
  EXPECT_EQ(offset, sent);
}

TEST_P(TcpLimits, FullBufferAnswersEagain) {
  const TcpPair pair(GetParam(), SOCK_NONBLOCK);
  const std::string block(1 << 16, 'x');
  size_t sent = 0;
  ASSERT_TRUE(Eventually([&] {
    for (ssize_t count; (count = Send(pair.client, block)) > 0;) sent += count;
    return errno == EAGAIN && PollNow(pair.client, POLLOUT) == 0;
  }));
  EXPECT_GT(sent, size_t{4096});
  int pending = 0;
  EXPECT_THAT(ioctl(pair.server.get(), FIONREAD, &pending), Returns(0));
  EXPECT_GT(pending, 0);
  size_t received = 0;
  ASSERT_TRUE(Eventually([&] {
    for (std::string data; !(data = Receive(pair.server)).empty() && data[0] == 'x';) {
      received += data.size();
    }
    return received == sent;
  }));
  EXPECT_TRUE(AwaitEvents(pair.client, POLLOUT));
}

TEST_P(TcpLimits, BlockedWriterGoesOn) {
  const TcpPair pair(GetParam());
  const std::string data(16 << 20, 'y');
  const pid_t child = Start([&] {
    CHILD_CHECK(send(pair.client.get(), data.data(), data.size(), 0) ==
                static_cast<ssize_t>(data.size()));
    return 0;
  });
  size_t received = 0;
  while (received < data.size()) {
    const std::string part = Receive(pair.server, 1 << 20);
    ASSERT_EQ(part.substr(0, 1), "y");
    received += part.size();
  }
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(TcpLimits, SendTimeoutReportsWhatWasSent) {
  const TcpPair pair(GetParam());
  const timeval timeout = {0, 50'000};
  ASSERT_THAT(setsockopt(pair.client.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout),
              Returns(0));
  const std::string data(64 << 20, 'z');
  const ssize_t sent = Send(pair.client, data);
  EXPECT_GT(sent, 0);
  EXPECT_LT(sent, static_cast<ssize_t>(data.size()));
}

TEST_P(TcpUrgent, OneByteBesideTheStream) {
  const TcpPair pair(GetParam());
  EXPECT_EQ(Receive(pair.server, 1, MSG_OOB), "<EINVAL>");
  EXPECT_THAT(Send(pair.client, "abc", MSG_OOB), Returns(3));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLPRI));
  EXPECT_EQ(Receive(pair.server, 1, MSG_OOB), "c");
  EXPECT_EQ(Receive(pair.server, 1, MSG_OOB), "<EINVAL>");
  EXPECT_EQ(Receive(pair.server), "ab");
}

TEST_P(TcpUrgent, PollTellsOfIt) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "!", MSG_OOB), Returns(1));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLPRI));
  EXPECT_EQ(PollNow(pair.server), POLLPRI | POLLOUT | POLLWRNORM);
  EXPECT_EQ(Receive(pair.server, 1, MSG_OOB), "!");
  EXPECT_EQ(PollNow(pair.server), POLLOUT | POLLWRNORM);
}

TEST_P(TcpUrgent, ReadsStopAtTheMark) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "before"), Returns(6));
  EXPECT_THAT(Send(pair.client, "!", MSG_OOB), Returns(1));
  EXPECT_THAT(Send(pair.client, "after"), Returns(5));
  int bytes = 0;
  ASSERT_TRUE(AwaitEvents(pair.server, POLLPRI));
  ASSERT_TRUE(
      Eventually([&] { return ioctl(pair.server.get(), FIONREAD, &bytes) == 0 && bytes == 6; }));
  int at_mark = -1;
  EXPECT_THAT(ioctl(pair.server.get(), SIOCATMARK, &at_mark), Returns(0));
  EXPECT_EQ(at_mark, 0);
  EXPECT_EQ(Receive(pair.server), "before");
  EXPECT_THAT(ioctl(pair.server.get(), SIOCATMARK, &at_mark), Returns(0));
  EXPECT_EQ(at_mark, 1);
  EXPECT_EQ(Receive(pair.server, 5, MSG_WAITALL), "after");
  EXPECT_THAT(ioctl(pair.server.get(), SIOCATMARK, &at_mark), Returns(0));
  EXPECT_EQ(at_mark, 0);
}

TEST_P(TcpUrgent, Inline) {
  const TcpPair pair(GetParam());
  ASSERT_THAT(SetInt(pair.server, SOL_SOCKET, SO_OOBINLINE, 1), Returns(0));
  EXPECT_THAT(Send(pair.client, "ab"), Returns(2));
  EXPECT_THAT(Send(pair.client, "!", MSG_OOB), Returns(1));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLPRI));
  EXPECT_EQ(Receive(pair.server, 1, MSG_OOB), "<EINVAL>");
  EXPECT_EQ(Receive(pair.server), "ab");
  int at_mark = 0;
  EXPECT_THAT(ioctl(pair.server.get(), SIOCATMARK, &at_mark), Returns(0));
  EXPECT_EQ(at_mark, 1);
  EXPECT_EQ(Receive(pair.server), "!");
}

TEST_P(TcpUrgent, PeekLeavesIt) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "!", MSG_OOB), Returns(1));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLPRI));
  EXPECT_EQ(Receive(pair.server, 1, MSG_OOB | MSG_PEEK), "!");
  EXPECT_EQ(Receive(pair.server, 1, MSG_OOB), "!");
}

// An urgent byte is one of the buffer's: it waits for room as others do, and who waits for room
// afterwards is told of it.
TEST_P(TcpUrgent, WaitsForRoom) {
  const TcpPair pair(GetParam());
  const std::string block(65536, 'z');
  size_t total = 0;
  ssize_t sent;
  while ((sent = Send(pair.client, block, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
    total += static_cast<size_t>(sent);
  }
  EXPECT_THAT(send(pair.client.get(), "!", 1, MSG_OOB | MSG_DONTWAIT), FailsWith(EAGAIN));
  const pid_t child = Start([&] {
    CHILD_CHECK(send(pair.client.get(), "!", 1, MSG_OOB | MSG_NOSIGNAL) == 1);
    CHILD_CHECK(Send(pair.client, block + block) == 2 * 65536);
    return 0;
  });
  size_t received = 0;
  while (received < total + 2 * block.size()) {
    const std::string got = Receive(pair.server, 65536);
    ASSERT_FALSE(got.empty());
    ASSERT_EQ(got.find_first_not_of('z'), got.npos);  // The urgent byte is not among them.
    received += got.size();
  }
  EXPECT_THAT(Wait(child), Exited(0));
}

// What lies in front of it goes first, in several pieces if it must.
TEST_P(TcpUrgent, BehindALargeMessage) {
  const TcpPair pair(GetParam());
  std::string data(300'000, 'z');
  data.back() = '!';
  const pid_t child =
      Start([&] { return Send(pair.client, data, MSG_OOB | MSG_NOSIGNAL) == 300'000 ? 0 : 1; });
  size_t received = 0;
  while (received < data.size() - 1) {
    const std::string got = Receive(pair.server, 65536);
    ASSERT_EQ(got.find_first_not_of('z'), got.npos);
    received += got.size();
  }
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(Receive(pair.server, 1, MSG_OOB), "!");
}

TEST_P(TcpUrgent, MessageFlags) {
  const TcpPair pair(GetParam());
  EXPECT_THAT(Send(pair.client, "!", MSG_OOB), Returns(1));
  ASSERT_TRUE(AwaitEvents(pair.server, POLLPRI));
  char byte;
  iovec io = {&byte, 1};
  msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
  EXPECT_THAT(recvmsg(pair.server.get(), &message, MSG_OOB), Returns(1));
  EXPECT_EQ(message.msg_flags, MSG_OOB);
}

TEST_P(TcpUrgent, SignalsTheOwner) {
  const TcpPair pair(GetParam());
  const ScopedBlock block({SIGURG});
  ASSERT_THAT(fcntl(pair.server.get(), F_SETOWN, getpid()), Returns(0));
  EXPECT_THAT(fcntl(pair.server.get(), F_GETOWN), Returns(getpid()));
  EXPECT_THAT(Send(pair.client, "!", MSG_OOB), Returns(1));
  const sigset_t set = SetOf({SIGURG});
  const timespec timeout = {5, 0};
  EXPECT_THAT(sigtimedwait(&set, nullptr, &timeout), Returns(SIGURG));
}

}  // namespace
