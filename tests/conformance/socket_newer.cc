// Options that came late: time stamps under numbers of their own, times to send at, a range of
// ports for one socket, data that goes with a connect. net/core/sock.c, ip(7), tcp(7).
#include <linux/net_tstamp.h>
#include <sys/time.h>

#include "tests/conformance/inet_support.h"

namespace {

// Numbers that older headers lack.
constexpr int kTimestampNew = 63, kTimestampNsNew = 64, kTimestampingNew = 65, kTxTime = 61,
              kLocalPortRange = 51;

// The control message that comes with a datagram of one byte; type 0 when there is none.
struct Stamp {
  int type = 0;
  int64_t words[6] = {};
  size_t size = 0;
};

Stamp StampOfADatagram(const UniqueFd& to) {
  const UniqueFd from = NewSocket(AF_INET, SOCK_DGRAM);
  sockaddr_in name{};
  socklen_t size = sizeof name;
  Stamp stamp;
  EXPECT_THAT(getsockname(to.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  EXPECT_THAT(sendto(from.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&name), size), Returns(1));
  char byte;
  alignas(cmsghdr) char control[256];
  iovec vec{&byte, 1};
  msghdr message{};
  message.msg_iov = &vec;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  EXPECT_THAT(recvmsg(to.get(), &message, 0), Returns(1));
  const cmsghdr* const found = CMSG_FIRSTHDR(&message);
  if (found == nullptr || found->cmsg_level != SOL_SOCKET) return stamp;
  stamp.type = found->cmsg_type;
  stamp.size = found->cmsg_len - CMSG_LEN(0);
  memcpy(stamp.words, CMSG_DATA(found), std::min(stamp.size, sizeof stamp.words));
  return stamp;
}

UniqueFd BoundUdp() {
  UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), Returns(0));
  return fd;
}

TEST(NewTimestamps, ReadBackUnderTheNumberTheyWereSetBy) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  const auto values = [&] {
    std::vector<int> got;
    for (const int name : {SO_TIMESTAMP, SO_TIMESTAMPNS, kTimestampNew, kTimestampNsNew}) {
      got.push_back(GetInt(fd, SOL_SOCKET, name));
    }
    return got;
  };
  EXPECT_THAT(values(), testing::ElementsAre(0, 0, 0, 0));
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, kTimestampNew, 1), Returns(0));
  EXPECT_THAT(values(), testing::ElementsAre(0, 0, 1, 0));
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, kTimestampNsNew, 1), Returns(0));
  EXPECT_THAT(values(), testing::ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMP, 1), Returns(0));
  EXPECT_THAT(values(), testing::ElementsAre(1, 0, 0, 0));
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1), Returns(0));
  EXPECT_THAT(values(), testing::ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, kTimestampNew, 0), Returns(0));
  EXPECT_THAT(values(), testing::ElementsAre(0, 0, 0, 0));
}

TEST(NewTimestamps, MessagesHaveTheNumberAsTheirType) {
  const UniqueFd fd = BoundUdp();
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, kTimestampNew, 1), Returns(0));
  Stamp stamp = StampOfADatagram(fd);
  EXPECT_EQ(stamp.type, kTimestampNew);
  EXPECT_EQ(stamp.size, 16u);
  EXPECT_GT(stamp.words[0], 1'000'000'000);
  EXPECT_LT(stamp.words[1], 1'000'000);
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, kTimestampNsNew, 1), Returns(0));
  stamp = StampOfADatagram(fd);
  EXPECT_EQ(stamp.type, kTimestampNsNew);
  EXPECT_EQ(stamp.size, 16u);
  EXPECT_LT(stamp.words[1], 1'000'000'000);
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1), Returns(0));
  EXPECT_EQ(StampOfADatagram(fd).type, SO_TIMESTAMPNS);
}

TEST(NewTimestamps, OfTimestamping) {
  constexpr int kSoftware = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
  const UniqueFd fd = BoundUdp();
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, kTimestampingNew, kSoftware), Returns(0));
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, kTimestampingNew), kSoftware);
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, SO_TIMESTAMPING), kSoftware);
  // Linux begins to stamp a moment after the first socket has asked for it (net_enable_timestamp).
  Stamp stamp;
  EXPECT_TRUE(Eventually([&] {
    stamp = StampOfADatagram(fd);
    return stamp.type != 0;
  }));
  EXPECT_EQ(stamp.type, kTimestampingNew);
  EXPECT_EQ(stamp.size, 48u);
  EXPECT_GT(stamp.words[0], 1'000'000'000);
  EXPECT_EQ(stamp.words[2], 0);
  ASSERT_THAT(SetInt(fd, SOL_SOCKET, SO_TIMESTAMPING, kSoftware), Returns(0));
  EXPECT_EQ(GetInt(fd, SOL_SOCKET, kTimestampingNew), 0);
  EXPECT_EQ(StampOfADatagram(fd).type, SO_TIMESTAMPING);
}

struct TxTime {
  int32_t clock;
  uint32_t flags;
};

TEST(SendTime, IsAClockWithFlags) {
  const UniqueFd fd = NewSocket(AF_INET, SOCK_DGRAM);
  TxTime value{7, 7};
  socklen_t size = sizeof value;
  ASSERT_THAT(getsockopt(fd.get(), SOL_SOCKET, kTxTime, &value, &size), Returns(0));
  EXPECT_EQ(size, sizeof value);
  EXPECT_EQ(value.clock, 0);
  EXPECT_EQ(value.flags, 0u);
  const TxTime wanted{CLOCK_MONOTONIC, 3};
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, kTxTime, &wanted, sizeof wanted), Returns(0));
  ASSERT_THAT(getsockopt(fd.get(), SOL_SOCKET, kTxTime, &value, &size), Returns(0));
  EXPECT_EQ(value.clock, CLOCK_MONOTONIC);
  EXPECT_EQ(value.flags, 3u);
  const TxTime unknown{CLOCK_MONOTONIC, 4};
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, kTxTime, &unknown, sizeof unknown),
              FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, SOL_SOCKET, kTxTime, 1), FailsWith(EINVAL));
}

// Sends one byte with a time to send it at.
ssize_t SendAt(const UniqueFd& fd, const sockaddr_in& to, uint64_t at, size_t size) {
  char byte = 'x';
  alignas(cmsghdr) char control[CMSG_SPACE(16)] = {};
  iovec vec{&byte, 1};
  msghdr message{};
  message.msg_name = const_cast<sockaddr_in*>(&to);
  message.msg_namelen = sizeof to;
  message.msg_iov = &vec;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(size);
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = kTxTime;
  header->cmsg_len = CMSG_LEN(size);
  memcpy(CMSG_DATA(header), &at, sizeof at);
  return sendmsg(fd.get(), &message, 0);
}

TEST(SendTime, GoesWithAMessageOnceThereIsAClock) {
  const UniqueFd to = BoundUdp(), fd = NewSocket(AF_INET, SOCK_DGRAM);
  sockaddr_in name{};
  socklen_t size = sizeof name;
  ASSERT_THAT(getsockname(to.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  EXPECT_THAT(SendAt(fd, name, 1, 8), FailsWith(EINVAL));
  const TxTime wanted{CLOCK_MONOTONIC, 0};
  ASSERT_THAT(setsockopt(fd.get(), SOL_SOCKET, kTxTime, &wanted, sizeof wanted), Returns(0));
  EXPECT_THAT(SendAt(fd, name, 1, 16), FailsWith(EINVAL));
  EXPECT_THAT(SendAt(fd, name, 1, 8), Returns(1));
  char byte;
  EXPECT_THAT(recv(to.get(), &byte, 1, 0), Returns(1));
}

class PortRange : public testing::TestWithParam<int> {
 protected:
  static uint32_t Range(uint32_t low, uint32_t high) { return low | high << 16; }
  UniqueFd With(uint32_t low, uint32_t high) const {
    UniqueFd fd = NewSocket(AF_INET, GetParam());
    EXPECT_THAT(SetInt(fd, IPPROTO_IP, kLocalPortRange, static_cast<int>(Range(low, high))),
                Returns(0));
    return fd;
  }
  static int BindAny(const UniqueFd& fd) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof name;
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&name), size) != 0) return -errno;
    EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
    return ntohs(name.sin_port);
  }
};
INSTANTIATE_TEST_SUITE_P(Inet, PortRange, testing::Values(SOCK_STREAM, SOCK_DGRAM));

TEST_P(PortRange, ReadsBack) {
  const UniqueFd fd = NewSocket(AF_INET, GetParam());
  EXPECT_EQ(GetInt(fd, IPPROTO_IP, kLocalPortRange), 0);
  EXPECT_EQ(static_cast<uint32_t>(GetInt(With(40000, 40100), IPPROTO_IP, kLocalPortRange)),
            Range(40000, 40100));
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, kLocalPortRange, static_cast<int>(Range(40100, 40000))),
              FailsWith(EINVAL));
  EXPECT_THAT(SetInt(fd, IPPROTO_IP, kLocalPortRange, static_cast<int>(Range(40100, 0))),
              Returns(0));
  const uint16_t half = 40000;
  EXPECT_THAT(setsockopt(fd.get(), IPPROTO_IP, kLocalPortRange, &half, sizeof half),
              FailsWith(EINVAL));
}

TEST_P(PortRange, PortsAreTakenFromItUntilThereAreNone) {
  std::vector<UniqueFd> held;
  std::vector<int> ports;
  for (int i = 0; i < 4; ++i) {
    held.push_back(With(41230, 41233));
    ports.push_back(BindAny(held.back()));
  }
  EXPECT_THAT(ports, testing::UnorderedElementsAre(41230, 41231, 41232, 41233));
  EXPECT_EQ(BindAny(With(41230, 41233)), -EADDRINUSE);
}

TEST_P(PortRange, OutsideOfTheSystemsItCountsForNothing) {
  const int port = BindAny(With(100, 200));
  EXPECT_GT(port, 1023);
}

TEST(PortRangeOfAConnect, HoldsForPortsThatAreChosenThere) {
  const UniqueFd listener = NewSocket(AF_INET, SOCK_STREAM);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  ASSERT_THAT(bind(listener.get(), reinterpret_cast<sockaddr*>(&name), size), Returns(0));
  ASSERT_THAT(listen(listener.get(), 5), Returns(0));
  ASSERT_THAT(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  const uint32_t range = 41240 | 41240u << 16;
  for (const int expected : {0, EADDRNOTAVAIL}) {
    static std::vector<UniqueFd> held;
    held.push_back(NewSocket(AF_INET, SOCK_STREAM));
    ASSERT_THAT(SetInt(held.back(), IPPROTO_IP, kLocalPortRange, static_cast<int>(range)),
                Returns(0));
    const int result =
        connect(held.back().get(), reinterpret_cast<sockaddr*>(&name), sizeof name) == 0 ? 0
                                                                                         : errno;
    EXPECT_EQ(result, expected);
    if (expected != 0) {
      held.clear();
      break;
    }
    sockaddr_in own{};
    ASSERT_THAT(getsockname(held.back().get(), reinterpret_cast<sockaddr*>(&own), &size),
                Returns(0));
    EXPECT_EQ(ntohs(own.sin_port), 41240);
  }
}

class FastOpen : public testing::Test {
 protected:
  void SetUp() override {
    name_.sin_family = AF_INET;
    name_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof name_;
    ASSERT_THAT(bind(listener_.get(), address(), size), Returns(0));
    ASSERT_THAT(listen(listener_.get(), 5), Returns(0));
    ASSERT_THAT(getsockname(listener_.get(), address(), &size), Returns(0));
  }
  sockaddr* address() { return reinterpret_cast<sockaddr*>(&name_); }
  ssize_t Send(const UniqueFd& fd, const char* text, int flags = 0) {
    return sendto(fd.get(), text, strlen(text), MSG_FASTOPEN | flags, address(), sizeof name_);
  }
  std::string Accepted() {
    const UniqueFd fd(accept(listener_.get(), nullptr, nullptr));
    char bytes[32] = {};
    const ssize_t size = recv(fd.get(), bytes, sizeof bytes, 0);
    return size < 0 ? "error" : std::string(bytes, static_cast<size_t>(size));
  }
  UniqueFd listener_ = NewSocket(AF_INET, SOCK_STREAM);
  UniqueFd fd_ = NewSocket(AF_INET, SOCK_STREAM);
  sockaddr_in name_{};
};

TEST_F(FastOpen, ConnectsAndSends) {
  EXPECT_THAT(Send(fd_, "hello"), Returns(5));
  EXPECT_EQ(Accepted(), "hello");
}

TEST_F(FastOpen, IsForThoseThatAreNotConnected) {
  ASSERT_THAT(connect(fd_.get(), address(), sizeof name_), Returns(0));
  EXPECT_THAT(Send(fd_, "hello", MSG_NOSIGNAL), FailsWith(EISCONN));
}

TEST_F(FastOpen, NeedsAnAddress) {
  EXPECT_THAT(send(fd_.get(), "x", 1, MSG_FASTOPEN), FailsWith(EINVAL));
  sockaddr_in none{};
  none.sin_family = AF_UNSPEC;
  EXPECT_THAT(
      sendto(fd_.get(), "x", 1, MSG_FASTOPEN, reinterpret_cast<sockaddr*>(&none), sizeof none),
      FailsWith(EOPNOTSUPP));
}

TEST_F(FastOpen, NobodyThere) {
  listener_.reset();
  EXPECT_THAT(Send(fd_, "hello"), FailsWith(ECONNREFUSED));
}

TEST_F(FastOpen, WithoutWaitingTheFirstTimeIsAConnect) {
  EXPECT_THAT(Send(fd_, "hello", MSG_DONTWAIT), FailsWith(EINPROGRESS));
  pollfd ready{fd_.get(), POLLOUT, 0};
  ASSERT_THAT(poll(&ready, 1, -1), Returns(1));
  EXPECT_THAT(send(fd_.get(), "later", 5, 0), Returns(5));
  EXPECT_EQ(Accepted(), "later");
}

TEST_F(FastOpen, ByConnect) {
  ASSERT_THAT(SetInt(fd_, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1), Returns(0));
  ASSERT_THAT(connect(fd_.get(), address(), sizeof name_), Returns(0));
  EXPECT_THAT(send(fd_.get(), "hello", 5, 0), Returns(5));
  EXPECT_EQ(Accepted(), "hello");
}

}  // namespace
